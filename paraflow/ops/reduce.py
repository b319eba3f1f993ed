"""Reductions over one axis, several or all of them.

``axis`` is None for all axes, a number (from the back when negative) or a list of them; ``keepdims`` leaves them with
size 1. Sums are pairwise along the axis that is contiguous in memory and row by row along others, so a float32 sum
loses about log2(n) roundings in the one case and up to n in the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.graph.dtypes import (
    DType,
    as_dtype,
    float32,
    float64,
    int64,
    is_floating,
    is_integer,
    is_short,
    is_signed,
    limits,
    sum_dtype,
)
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.partial import sizes_spec
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Dims, Spec, normal_axes
from paraflow.ops.array import broadcast_to, cast, known_shape, reshape, size
from paraflow.ops.logic import equal, greater, greater_equal, not_equal
from paraflow.ops.math import multiply, sqrt, square
from paraflow.ops.scan import cumprod
from paraflow.ops.transcendental import exp

Array = np.ndarray[Any, Any]
Axis = int | Sequence[int] | None


def reduced_dims(shape: Dims, axis: Any, keepdims: bool) -> Dims:
    """The shape after reducing ``axis`` (None: all axes)."""
    if shape is None:
        return () if axis is None and not keepdims else None
    axes = normal_axes(axis, len(shape))
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def same_dtype(x: Spec, axis: Any, keepdims: bool) -> Spec:
    """Shape rule of reductions that keep the dtype."""
    return Spec(x.dtype, reduced_dims(x.shape, axis, keepdims))


@op(same=(), shape_only=True)
def kept_shape(x, axis=None):
    """The shape of ``x`` with size 1 along the reduced axes, an int32 vector."""
    axes = normal_axes(axis, np.ndim(x))
    return np.array([1 if i in axes else n for i, n in enumerate(np.shape(x))], np.int32)


@kept_shape.shape
def _(x: Spec, axis: Any) -> Spec:
    return sizes_spec(np.dtype("int32"), reduced_dims(x.shape, axis, True))


def keep_axes(t: Tensor, x: Tensor, axis: Any) -> Tensor:
    """``t``, a reduction of ``x`` over ``axis``, with the reduced axes put back as size 1, so that it broadcasts."""
    tensor: Tensor = reshape(t, kept_shape(x, axis=axis))
    return tensor


def spread(t: Tensor, x: Tensor, axis: Any) -> Tensor:
    """Undo a reduction's shape: ``t`` repeated along the reduced axes until it has the shape of ``x``."""
    tensor: Tensor = broadcast_to(keep_axes(t, x, axis), known_shape(x))
    return tensor


def reduced_count(x: Tensor, y: Tensor) -> Tensor:
    """How many elements of ``x`` went into each of its reduction ``y``, in the dtype of ``y``."""
    count: Tensor = cast(size(x), dtype=y.dtype) / cast(size(y), dtype=y.dtype)
    return count


@op(dtypes="numeric", early=True)
def reduce_sum(input_tensor, axis=None, keepdims=False):
    """The sum over ``axis`` in the tensor's own dtype, of 16 bits made in float32; 0 over no elements."""
    dtype = input_tensor.dtype
    return np.sum(input_tensor, axis=axis, keepdims=keepdims, dtype=sum_dtype(dtype)).astype(dtype, copy=False)


reduce_sum.shape(same_dtype)


@reduce_sum.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return spread(dy, y.op.inputs[0], y.op.attrs["axis"])


def mean_of(x: Array, axis: Any, keepdims: bool) -> Any:
    """The mean in the dtype of ``x``, float16 summed in float32; NaN over no elements, without numpy's warning.

    That of integers loses its fraction. Raises InvalidArgumentError for that of none.
    """
    if is_integer(x.dtype):
        whole = np.sum(x, axis=axis, keepdims=keepdims, dtype=np.int64 if is_signed(x.dtype) else np.uint64)
        if not x.size and whole.size:
            raise InvalidArgumentError("the mean of no integers is not defined")
        count = whole.dtype.type(x.size // max(whole.size, 1))
        return (np.sign(whole) * (np.abs(whole) // max(count, 1))).astype(x.dtype)
    total = np.sum(x, axis=axis, keepdims=keepdims, dtype=sum_dtype(x.dtype))
    return np.divide(total, x.size / total.size if total.size else 1.0).astype(x.dtype, copy=False)


@op(dtypes="numeric")
def reduce_mean(input_tensor, axis=None, keepdims=False):
    """The mean over ``axis``; NaN over no elements. Of integers it is one as well, without its fraction."""
    return mean_of(input_tensor, axis, keepdims)


reduce_mean.shape(same_dtype)


@reduce_mean.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x = y.op.inputs[0]
    return spread(dy / reduced_count(x, y), x, y.op.attrs["axis"])


@op(dtypes="numeric", early=True)
def reduce_prod(input_tensor, axis=None, keepdims=False):
    """The product over ``axis``, in the tensor's own dtype; 1 over no elements."""
    return np.prod(input_tensor, axis=axis, keepdims=keepdims, dtype=input_tensor.dtype)


reduce_prod.shape(same_dtype)


@reduce_prod.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x, axis = y.op.inputs[0], y.op.attrs["axis"]
    if axis is None:
        flat = reshape(x, [-1])
        return reshape(_product_of_others(flat, 0) * reshape(dy, [1]), known_shape(x))
    # One axis after the other, since the product of all but one element is a scan along an axis.
    axes = (axis,) if isinstance(axis, int) else axis
    partial = [x]
    for a in axes[:-1]:
        partial.append(reduce_prod(partial[-1], a, True))
    cotangent = keep_axes(dy, x, axis)
    for a, t in zip(reversed(axes), reversed(partial), strict=False):
        cotangent = cotangent * _product_of_others(t, a)
    return cotangent


def _product_of_others(x: Tensor, axis: int) -> Tensor:
    """For every element the product of the others along ``axis``, without division, so right at zeros too."""
    others: Tensor = cumprod(x, axis, exclusive=True) * cumprod(x, axis, exclusive=True, reverse=True)
    return others


def lowest(dtype: DType) -> Any:
    """The identity of the maximum: minus infinity, or the smallest integer."""
    return -np.inf if is_floating(dtype) else limits(dtype).min


def highest(dtype: DType) -> Any:
    """The identity of the minimum: infinity, or the largest integer."""
    return np.inf if is_floating(dtype) else limits(dtype).max


@op(dtypes="real", early=True)
def reduce_max(input_tensor, axis=None, keepdims=False):
    """The largest element over ``axis``; -inf (the smallest integer) over none. Ties share the gradient equally."""
    return np.max(input_tensor, axis=axis, keepdims=keepdims, initial=lowest(input_tensor.dtype))


@op(dtypes="real", early=True)
def reduce_min(input_tensor, axis=None, keepdims=False):
    """The smallest element over ``axis``; inf (the largest integer) over none. Ties share the gradient equally."""
    return np.min(input_tensor, axis=axis, keepdims=keepdims, initial=highest(input_tensor.dtype))


def _to_the_extreme(y: Tensor, dy: Tensor) -> Tensor:
    x, axis = y.op.inputs[0], y.op.attrs["axis"]
    hit = cast(equal(x, keep_axes(y, x, axis)), dtype=y.dtype)
    return hit * (keep_axes(dy, x, axis) / reduce_sum(hit, axis, True))


reduce_max.shape(same_dtype)
reduce_min.shape(same_dtype)
reduce_max.gradient(_to_the_extreme)
reduce_min.gradient(_to_the_extreme)


@op(dtypes="bool")
def reduce_all(input_tensor, axis=None, keepdims=False):
    """Whether all elements over ``axis`` hold; True over none."""
    return np.all(input_tensor, axis=axis, keepdims=keepdims)


@op(dtypes="bool")
def reduce_any(input_tensor, axis=None, keepdims=False):
    """Whether some element over ``axis`` holds; False over none."""
    return np.any(input_tensor, axis=axis, keepdims=keepdims)


reduce_all.shape(same_dtype)
reduce_any.shape(same_dtype)


@op(dtypes="float")
def reduce_logsumexp(input_tensor, axis=None, keepdims=False):
    """log(sum(exp(x))) over ``axis``, shifted by the largest element so that nothing overflows; -inf over none."""
    peak = np.max(input_tensor, axis=axis, keepdims=True, initial=-np.inf)
    peak = np.where(np.isfinite(peak), peak, np.zeros((), peak.dtype))
    total = np.log(np.sum(np.exp(input_tensor - peak), axis=axis, keepdims=keepdims))
    return total + peak.reshape(np.shape(total))


reduce_logsumexp.shape(same_dtype)


@reduce_logsumexp.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x, axis = y.op.inputs[0], y.op.attrs["axis"]
    return exp(x - keep_axes(y, x, axis)) * keep_axes(dy, x, axis)


# The elements of a row are added in so many sums, element i to sum i % LANES, and these by halves.
LANES = 64
# Rows are added to each other so many at a time.
ROWS = 64


def row_sums(rows: Array) -> Array:
    """The sum of each row of [rows, n] by `LANES`: [rows, 1]."""
    width = min(LANES, 1 << max(rows.shape[1] - 1, 0).bit_length())
    lanes = np.zeros((len(rows), width), rows.dtype)
    for start in range(0, rows.shape[1], LANES):
        part = rows[:, start : start + LANES]
        lanes[:, : part.shape[1]] += part
    while width > 1:
        width //= 2
        lanes = lanes[:, :width] + lanes[:, width:]
    return lanes


def sums_in_lanes(x: Array, axis: int) -> bool:
    """Whether `sums_along` has the order of `row_sums`, which paraflow/kernels/softmax.c has too."""
    return axis in (-1, x.ndim - 1) and x.shape[-1] >= LANES and not is_short(x.dtype)


def sums_along(x: Array, axis: int) -> Array:
    """The sums along ``axis``, which is kept."""
    if not sums_in_lanes(x, axis):
        total: Array = np.sum(x, axis=axis, keepdims=True)
        return total
    return row_sums(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], 1)


def add_rows(total: Array, rows: Array) -> None:
    """Add to ``total`` [n] the sum over `ROWS` of [rows, n] or fewer."""
    # Along a single column numpy would take several elements at a time.
    total += np.add.reduce(rows, 0) if rows.shape[1] > 1 else np.add.accumulate(rows, 0)[-1]


def _column_sums(rows: Array) -> Array:
    total = np.zeros(rows.shape[1], rows.dtype)
    for start in range(0, len(rows), ROWS):
        add_rows(total, rows[start : start + ROWS])
    return total


def matrix_of(x: Array, axes: Axis) -> tuple[Array, bool] | None:
    """``x`` as a contiguous matrix, and whether its rows are reduced where ``axes`` are, rather than its columns.

    None unless these are some of the first axes or of the last, of numbers of 32 or 64 bits.
    """
    over, rank = normal_axes(axes, x.ndim), x.ndim
    leading, trailing = over == tuple(range(len(over))), over == tuple(range(rank - len(over), rank))
    if not x.size or is_short(x.dtype) or not 0 < len(over) < rank or not (leading or trailing):
        return None
    rows = math.prod(x.shape[: len(over) if leading else rank - len(over)])
    return np.ascontiguousarray(x).reshape(rows, -1), trailing


@op(dtypes="float")
def moments_of(x, axes=None, keepdims=False):
    """Mean and variance (the mean squared distance from the mean) over ``axes``.

    Over first or last axes the order of sums is fixed; paraflow/kernels/normalization.py has the same bits.
    """
    found = matrix_of(x, axes)
    if found is not None:
        matrix, each_row = found
        sums, count = (row_sums, matrix.shape[1]) if each_row else (_column_sums, len(matrix))
        mean = sums(matrix) / x.dtype.type(count)
        distance = matrix - mean
        variance = sums(distance * distance) / x.dtype.type(count)
        shape = reduced_dims(x.shape, axes, keepdims)
        return mean.reshape(shape), variance.reshape(shape)
    mean = mean_of(x, axes, True)
    distance = x - mean
    distance *= distance
    variance = mean_of(distance, axes, keepdims)
    return mean.reshape(np.shape(variance)), variance


@moments_of.shape
def _(x: Spec, axes: Any, keepdims: bool) -> tuple[Spec, Spec]:
    spec = same_dtype(x, axes, keepdims)
    return spec, spec


@moments_of.gradient
def _(y: tuple[Tensor, Tensor], dy: tuple[Tensor | None, Tensor | None]) -> Tensor:
    mean, (d_mean, d_variance) = y[0], dy
    x, axes = mean.op.inputs[0], mean.op.attrs["axes"]
    count = reduced_count(x, mean)
    parts = []
    if d_mean is not None:
        parts.append(spread(d_mean / count, x, axes))
    if d_variance is not None:
        parts.append((x - keep_axes(mean, x, axes)) * keep_axes(2 * d_variance / count, x, axes))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def reduce_variance(input_tensor: Any, axis: Axis = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The mean squared distance from the mean over ``axis``."""
    variance: Tensor = moments_of(input_tensor, axis, keepdims, name=name or "reduce_variance")[1]
    return variance


def reduce_std(input_tensor: Any, axis: Axis = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The standard deviation over ``axis``, the root of `reduce_variance`; its gradient is NaN where it is 0."""
    deviation: Tensor = sqrt(reduce_variance(input_tensor, axis, keepdims), name=name or "reduce_std")
    return deviation


def reduce_euclidean_norm(
    input_tensor: Any, axis: Axis = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """The root of the sum of squares over ``axis``, of integers without its fraction; its gradient is NaN at 0."""
    squares = reduce_sum(square(convert(input_tensor)), axis, keepdims)
    label = name or "reduce_euclidean_norm"
    if is_integer(squares.dtype):
        return cast(sqrt(cast(squares, dtype=float64)), dtype=squares.dtype, name=label)
    length: Tensor = sqrt(squares, name=label)
    return length


def count_nonzero(
    input_tensor: Any = None,
    axis: Axis = None,
    keepdims: bool | None = None,
    dtype: Any = int64,
    name: str | None = None,
    reduction_indices: Axis = None,
    keep_dims: bool | None = None,
    input: Any = None,
) -> Tensor:
    """How many elements over ``axis`` are not 0 (False), in ``dtype``; the last three arguments are older names."""
    x = convert(input if input_tensor is None else input_tensor)
    hits = cast(not_equal(x, np.zeros((), x.dtype)), as_dtype(dtype))
    over = reduction_indices if axis is None else axis
    count: Tensor = reduce_sum(hits, over, bool(keepdims or keep_dims), name=name or "count_nonzero")
    return count


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of the elements that are 0, float32; NaN of no elements."""
    x = convert(value)
    share: Tensor = reduce_mean(cast(equal(x, np.zeros((), x.dtype)), float32), name=name or "zero_fraction")
    return share


def _steps(x: Any, holds: Any, name: str) -> Tensor:
    """Whether ``holds`` is true of every element, in row-major order, and the one before it."""
    flat = reshape(x, [-1])
    result: Tensor = reduce_all(holds(flat[1:], flat[:-1]), name=name)
    return result


def is_non_decreasing(x: Any, name: str | None = None) -> Tensor:
    """Whether no element, in row-major order, is smaller than the one before it."""
    return _steps(x, greater_equal, name or "is_non_decreasing")


def is_strictly_increasing(x: Any, name: str | None = None) -> Tensor:
    """Whether every element, in row-major order, is larger than the one before it."""
    return _steps(x, greater, name or "is_strictly_increasing")


@op(dtypes="real")
def argmax(input, axis=None, name=None, output_type="int64"):
    """The index of the largest element along one ``axis`` (0 by default), the first of several; a NaN is largest."""
    return np.argmax(input, axis=axis or 0).astype(output_type)


@op(dtypes="real")
def argmin(input, axis=None, name=None, output_type="int64"):
    """The index of the smallest element along one ``axis`` (0 by default), the first of several; a NaN is smallest."""
    return np.argmin(input, axis=axis or 0).astype(output_type)


def _index(input: Spec, axis: int | None, output_type: Any) -> Spec:
    return Spec(np.dtype(output_type), reduced_dims(input.shape, axis or 0, False))


argmax.shape(_index)
argmin.shape(_index)


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """Half the sum of squares, sum(t * t) / 2."""
    with name_scope(name or "l2_loss") as scope:
        loss: Tensor = multiply(reduce_sum(square(t)), 0.5, name=scope)
        return loss
