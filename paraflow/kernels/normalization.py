"""Moments and layer normalisation by compiled loops, where there is a C compiler; see normalization.c.

A row stays in the core's cache while its statistics and its result are made, so memory is read and written once. The
bits are those of the bodies (paraflow/ops/reduce.py, layer_normalization.py), which do the work otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.kernels.sources import by_body, call, usable
from paraflow.ops import layer_normalization as by_numpy
from paraflow.ops import reduce
from paraflow.ops.layer_normalization import along_rows, as_rows, folded

Array = np.ndarray[Any, Any]

COMPILE_FROM = 1 << 14  # elements; below, a compilation (0.2 s, once in a machine's life) is not worth it
_SOURCE = "lanes.c", "normalization.c"


def moments(x: Array, axes: Any, keepdims: bool, mean: Array, variance: Array) -> None:
    """The results of `paraflow.ops.reduce.moments_of`, in the last two."""
    found = reduce.matrix_of(x, axes) if mean.flags.c_contiguous else None
    library = usable(_SOURCE, (x, variance), COMPILE_FROM) if found else None
    if found is None or library is None:
        by_body(reduce.moments_of, (x,), (axes, keepdims), (mean, variance))
        return
    matrix, each_row = found
    if each_row:
        call(library.moments_of_rows, *matrix.shape, mean, variance, matrix)
    else:
        call(library.moments_of_columns, *matrix.shape, mean, variance, np.empty_like(mean), matrix)


def normalize(x: Array, gamma: Array, beta: Array, axes: int, epsilon: float, y: Array) -> None:
    """The result of `paraflow.ops.layer_normalization.layer_normalization`, in ``y``."""
    library = usable(_SOURCE, (x, y), COMPILE_FROM)
    if library is None:
        by_body(by_numpy.layer_normalization, (x, gamma, beta), (axes, epsilon), (y,))
        return
    rows = as_rows(x, axes)
    n = rows.shape[1]
    call(library.normalize, *rows.shape, epsilon, y, rows, along_rows(gamma, n), along_rows(beta, n))


def gradients(
    dy: Array, x: Array, gamma: Array, axes: int, epsilon: float, dx: Array, d_gamma: Array, d_beta: Array
) -> None:
    """The results of `paraflow.ops.layer_normalization.layer_normalization_gradient`, in the last three."""
    library = usable(_SOURCE, (dy, x, dx), COMPILE_FROM)
    if library is None:
        record = by_numpy.layer_normalization_gradient
        by_body(record, (dy, x, gamma), (axes, epsilon), (dx, d_gamma, d_beta))
        return
    rows, given = as_rows(x, axes), as_rows(dy, axes)
    factor = along_rows(gamma, rows.shape[1])
    to_gamma, to_beta, part_gamma, part_beta = (np.empty_like(factor) for _ in range(4))
    call(library.gradients, *rows.shape, epsilon, dx, to_gamma, to_beta, part_gamma, part_beta, given, rows, factor)
    d_gamma[...] = folded(to_gamma, gamma.shape)
    d_beta[...] = folded(to_beta, gamma.shape)
