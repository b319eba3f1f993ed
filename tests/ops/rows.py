"""The form of the op tables: one `Row` says how to use an op and what it must give; test_table.py checks the rest.

A table is a module ``table_<family>.py`` in this folder with a list ``ROWS``.
"""

import numpy as np

from paraflow.testing import Case, given, nonzero, normal, positive, uniform

__all__ = ["Row", "each", "given", "nonzero", "normal", "positive", "uniform"]

Row = Case


def each(function, of_complex=None):
    """An oracle that applies a function of Python numbers (another to complex ones) to every element."""

    def apply(*arrays):
        if any(a.size == 0 for a in arrays):
            return np.zeros(np.broadcast_shapes(*(a.shape for a in arrays)))
        if arrays[0].dtype.kind == "c":
            return np.vectorize(of_complex, otypes=[complex])(*arrays)
        return np.vectorize(function, otypes=[float])(*arrays)

    return apply
