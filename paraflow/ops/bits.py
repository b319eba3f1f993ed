"""The bits of integers, elementwise."""

from __future__ import annotations

import numpy as np

from paraflow.graph.record import op


@op(elementwise=True, dtypes="int")
def bitwise_and(x, y):
    """The bits that both have."""
    return np.bitwise_and(x, y)


@op(elementwise=True, dtypes="int")
def bitwise_or(x, y):
    """The bits that at least one has."""
    return np.bitwise_or(x, y)


@op(elementwise=True, dtypes="int")
def bitwise_xor(x, y):
    """The bits that exactly one has."""
    return np.bitwise_xor(x, y)


@op(elementwise=True, dtypes="int")
def invert(x):
    """The bits that x does not have."""
    return np.invert(x)


@op(elementwise=True, dtypes="int")
def left_shift(x, y):
    """The bits moved ``y`` places up, zeros coming in."""
    return np.left_shift(x, y)


@op(elementwise=True, dtypes="int")
def right_shift(x, y):
    """The bits moved ``y`` places down, the sign coming in where there is one."""
    return np.right_shift(x, y)
