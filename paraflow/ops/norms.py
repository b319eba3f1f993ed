"""Norms of vectors and matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import normal_axis
from paraflow.ops.complexes import dual
from paraflow.ops.decompositions import svd
from paraflow.ops.math import multiply, sqrt
from paraflow.ops.rearrange import expand_dims, squeeze, transpose
from paraflow.ops.reduce import reduce_max, reduce_sum


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The norm of vectors (``axis`` an int, or None: of all elements as one vector) or matrices (two axes).

    ``ord``: "euclidean", 1, 2, inf, any p > 0 for vectors; "euclidean", "fro", 1, inf or 2 (the largest singular value)
    for matrices. The gradient of the Euclidean norm at 0 is NaN. ``keep_dims`` is the older name of ``keepdims``.
    """
    x, keepdims = convert(tensor), bool(keepdims or keep_dims)
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else None
    if axes is not None and len(axes) == 1:
        axis, axes = axes[0], None
    with x.graph.name_scope(name or "norm"):
        if ord == "euclidean" or (ord == "fro" and axes) or (ord == 2 and not axes):
            return sqrt(reduce_sum(multiply(x, dual(x)), axes or axis, keepdims))
        if axes is not None:
            return _spectral(x, axes, keepdims) if ord == 2 else _matrix_norm(abs(x), ord, axes, keepdims)
        if not isinstance(ord, (int, float)) or ord <= 0:
            raise GraphError(f"norm: a vector has no norm of order {ord!r}{at_user_line()}")
        if ord == np.inf:
            return reduce_max(abs(x), axis, keepdims)
        if ord == 1:
            return reduce_sum(abs(x), axis, keepdims)
        return reduce_sum(abs(x) ** ord, axis, keepdims) ** (1.0 / ord)


def normalize(
    tensor: Any, ord: Any = "euclidean", axis: Any = None, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """``tensor`` by its `norm` over ``axis``, and that norm with the axes kept."""
    x = convert(tensor)
    with x.graph.name_scope(name or "normalize"):
        length = norm(x, ord, axis, keepdims=True)
        return x / length, length


def _matrix_norm(magnitude: Tensor, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """The largest sum of a column (order 1) or of a row (inf)."""
    if len(axes) != 2 or ord not in (1, np.inf):
        raise GraphError(f"norm: no norm of order {ord!r} over axes {list(axes)}{at_user_line()}")
    summed, compared = axes if ord == 1 else axes[::-1]
    largest = reduce_max(reduce_sum(magnitude, summed, True), compared, True)
    return largest if keepdims else squeeze(largest, axes)


def _spectral(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """The largest singular value."""
    if x.spec.rank is None or len(axes) != 2:
        raise GraphError(f"norm: order 2 needs a tensor of known rank and two axes, not {list(axes)}{at_user_line()}")
    last = [normal_axis(a, x.spec.rank) for a in axes]
    order = [i for i in range(x.spec.rank) if i not in last] + last
    largest = reduce_max(svd(transpose(x, order), compute_uv=False), -1)
    if not keepdims:
        return largest
    for axis in sorted(last):
        largest = expand_dims(largest, axis)
    return largest
