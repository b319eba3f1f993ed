"""Sorting, searching, counting, and the different elements of a vector."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import as_dtype, int32, is_integer
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, compatible, format_dims, normal_axis
from paraflow.ops.array import cast, reshape
from paraflow.ops.gathering import scatter_nd, take_along
from paraflow.ops.joining import stack
from paraflow.ops.math import floor, maximum, minimum
from paraflow.ops.rearrange import transpose
from paraflow.ops.reduce import reduce_max


@op(dtypes="real")
def argsort(values, axis=-1, direction="ASCENDING", stable=False):
    """The places of the elements in rising (``direction`` "DESCENDING": falling) order along ``axis``, int32.

    The order is always stable: equal elements stay as they are. NaN counts as largest.
    """
    if direction == "ASCENDING":
        return np.argsort(values, axis, kind="stable").astype(np.int32)
    backward = np.argsort(np.flip(values, axis), axis, kind="stable")
    return (values.shape[axis] - 1 - np.flip(backward, axis)).astype(np.int32)


@argsort.shape
def _(values: Spec, axis: int, direction: str, stable: bool) -> Spec:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise GraphError(f"direction is 'ASCENDING' or 'DESCENDING', not {direction!r}")
    if values.shape is not None:
        normal_axis(axis, len(values.shape))
    return Spec(int32, values.shape)


@argsort.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """The elements in rising (``direction`` "DESCENDING": falling) order along ``axis``; NaN counts as largest."""
    x = convert(values)
    with name_scope(name or "sort"):
        if axis == -1:
            return take_along(x, argsort(x, -1, direction))
        if x.spec.rank is None:
            raise GraphError(f"sort along axis {axis} needs a tensor of known rank{at_user_line()}")
        at = normal_axis(axis, x.spec.rank)
        order = [i for i in range(x.spec.rank) if i != at] + [at]
        moved = transpose(x, order)
        return transpose(take_along(moved, argsort(moved, -1, direction)), np.argsort(order).tolist())


@op(dtypes="real")
def searchsorted(sorted_sequence, values, side="left", out_type=int32):
    """For each of ``values`` the first place (``side`` "right": the last) where it keeps the sequence in order.

    Rows of the last axis belong together: [..., n] and [..., m] give [..., m] of ``out_type``.
    """
    rows = zip(
        sorted_sequence.reshape(-1, sorted_sequence.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True
    )
    found = [np.searchsorted(row, wanted, side) for row, wanted in rows]
    return np.array(found, out_type).reshape(values.shape)


@searchsorted.shape
def _(sorted_sequence: Spec, values: Spec, side: str, out_type: Any) -> Spec:
    if side not in ("left", "right"):
        raise GraphError(f"side is 'left' or 'right', not {side!r}")
    a, b = sorted_sequence.shape, values.shape
    if a == () or b == () or (a is not None and b is not None and not compatible(a[:-1], b[:-1])):
        raise GraphError(f"{format_dims(a)} and {format_dims(b)} must have the same axes but the last")
    return Spec(as_dtype(out_type), b)


@searchsorted.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, None]:
    return None, None


class Unique(NamedTuple):
    """The different elements ``y`` of a vector and, for each of its elements, the place ``idx`` of it in y."""

    y: Tensor
    idx: Tensor


class UniqueWithCounts(NamedTuple):
    """As `Unique`, and ``count``: how often each of y occurs."""

    y: Tensor
    idx: Tensor
    count: Tensor  # type: ignore[assignment]  # TensorFlow calls it so


@op
def unique_elements(x, out_idx=int32):
    """The different elements in the order of their first occurrence, the place of each element among them, counts."""
    _, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return x[first[order]], places[inverse].astype(out_idx), counts[order].astype(out_idx)


@unique_elements.shape
def _(x: Spec, out_idx: Any) -> tuple[Spec, ...]:
    _need_vector(x)
    places = as_dtype(out_idx)
    return Spec(x.dtype, (None,)), Spec(places, x.shape or (None,)), Spec(places, (None,))


def _need_vector(x: Spec) -> None:
    if x.rank not in (1, None):
        raise GraphError(f"a vector is needed, not shape {format_dims(x.shape)}")


def unique(x: Any, out_idx: Any = int32, name: str | None = None) -> Unique:
    """The different elements ``y`` of a vector, by first occurrence, and ``idx`` with x[i] = y[idx[i]]."""
    return Unique(*unique_elements(x, as_dtype(out_idx), name=name or "Unique")[:2])


def unique_with_counts(x: Any, out_idx: Any = int32, name: str | None = None) -> UniqueWithCounts:
    """`unique`, and how often each element of y occurs."""
    return UniqueWithCounts(*unique_elements(x, as_dtype(out_idx), name=name or "UniqueWithCounts"))


class ListDiff(NamedTuple):
    """The elements ``out`` of one vector that another does not have, and their places ``idx``."""

    out: Tensor
    idx: Tensor


@op
def list_difference(x, y, index_dtype=int32):
    """The elements of ``x`` that are not in ``y``, in their order and as often as they occur, and their places."""
    idx = np.flatnonzero(~np.isin(x, y)).astype(index_dtype)
    return x[idx], idx


@list_difference.shape
def _(x: Spec, y: Spec, index_dtype: Any) -> tuple[Spec, Spec]:
    _need_vector(x)
    _need_vector(y)
    return Spec(x.dtype, (None,)), Spec(as_dtype(index_dtype), (None,))


def setdiff1d(x: Any, y: Any, index_dtype: Any = int32, name: str | None = None) -> ListDiff:
    """The elements of ``x`` that are not in ``y`` (in their order, as often as they occur), and their places in x."""
    return ListDiff(*list_difference(x, y, as_dtype(index_dtype), name=name or "ListDiff"))


def histogram_fixed_width_bins(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = int32, name: str | None = None
) -> Tensor:
    """For each of ``values`` the number of its bin, of ``nbins`` of equal width from value_range[0] to value_range[1].

    What lies below the range counts to the first bin, what lies above to the last.
    """
    with name_scope(name or "histogram_fixed_width_bins") as scope:
        x = convert(values)
        ends = convert(value_range, x.dtype)
        count = convert(nbins)
        # In float64, as the width of a bin is rarely a number of the dtype.
        share = (cast(x, np.float64) - cast(ends[0], np.float64)) / cast(ends[1] - ends[0], np.float64)
        bins = floor(share * cast(count, np.float64))
        inside = minimum(maximum(bins, 0.0), cast(count, np.float64) - 1.0)
        numbers: Tensor = cast(inside, as_dtype(dtype), name=scope)
        return numbers


def histogram_fixed_width(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = int32, name: str | None = None
) -> Tensor:
    """How many of ``values`` fall into each bin of `histogram_fixed_width_bins`: [nbins]."""
    with name_scope(name or "histogram_fixed_width") as scope:
        bins = reshape(histogram_fixed_width_bins(values, value_range, nbins), [-1])
        counts: Tensor = counted(bins, np.zeros(0, as_dtype(dtype)), nbins, nbins, name=scope)
        return counts


@op(same=())
def counted(arr, weights, minlength, maxlength):
    """How often each of the numbers 0, 1, ... occurs in ``arr``: the sum of their ``weights``, or of ones without any.

    The result has one element more than the largest number, at least ``minlength`` and at most ``maxlength`` (-1: no
    bound); larger numbers are left out. Raises InvalidArgumentError for a negative number.
    """
    if arr.size and arr.min() < 0:
        raise InvalidArgumentError(f"bincount: {arr.min()} is negative")
    flat = arr.reshape(-1)
    size = max(int(flat.max()) + 1 if flat.size else 0, int(minlength))
    size = size if maxlength < 0 else min(size, int(maxlength))
    kept = flat < size
    added = weights.reshape(-1) if weights.size else np.ones(flat.size, weights.dtype)
    result = np.zeros(size, weights.dtype)
    np.add.at(result, flat[kept], added[kept])
    return result


@counted.shape
def _(arr: Spec, weights: Spec, minlength: Spec, maxlength: Spec) -> Spec:
    if not is_integer(arr.dtype):
        raise InvalidTypeError(f"bincount counts integers, not {arr.dtype.name}")
    ends = [None if n.value is None else int(n.value) for n in (minlength, maxlength)]
    return Spec(weights.dtype, (ends[0] if ends[0] == ends[1] and ends[0] != -1 else None,))


@counted.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, ...]:
    return (None,) * 4


def bincount(
    arr: Any, weights: Any = None, minlength: Any = None, maxlength: Any = None, dtype: Any = int32,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """How often each of the numbers 0, 1, ... occurs in ``arr``, or the sum of their ``weights`` [the shape of arr].

    The result is as long as the largest number asks for, at least ``minlength`` and at most ``maxlength``; larger
    numbers are left out. Its dtype is ``dtype``, or that of the weights.
    """
    none = np.zeros(0, as_dtype(dtype))
    ends = [-1 if n is None else n for n in (minlength, maxlength)]
    counts: Tensor = counted(arr, none if weights is None else weights, *ends, name=name or "bincount")
    return counts


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    dtype: Any = int32,
    name: str | None = None,
    weights: Any = None,
) -> Tensor:
    """How often each class [row] was predicted as each class [column]: [num_classes, num_classes] of ``dtype``.

    ``num_classes`` is one more than the largest number when it is left out. ``weights`` count instead of ones. Raises
    InvalidArgumentError for a number outside [0, num_classes).
    """
    with name_scope(name or "confusion_matrix") as scope:
        real, said = (cast(reshape(convert(x), [-1]), np.int64) for x in (labels, predictions))
        n: Any = num_classes
        if n is None:
            n = cast(maximum(reduce_max(real), reduce_max(said)) + 1, int32)
        one = convert(np.ones((), as_dtype(dtype)) if weights is None else weights)
        counts = cast(one, as_dtype(dtype)) + cast(real * 0, as_dtype(dtype))
        matrix: Tensor = scatter_nd(stack([real, said], 1), counts, convert([n, n]), name=scope)
        return matrix


@op(same=())
def unravel_index(indices, dims):
    """The coordinates in an array of shape ``dims`` of the elements at ``indices``: [rank, number of indices]."""
    try:
        coordinates = np.unravel_index(indices, tuple(dims))
    except ValueError as error:
        raise InvalidArgumentError(f"unravel_index: {error}") from None
    return np.array(coordinates, indices.dtype).reshape(len(dims), *indices.shape)


@unravel_index.shape
def _(indices: Spec, dims: Spec) -> Spec:
    if not is_integer(indices.dtype) or indices.dtype != dims.dtype:
        raise InvalidTypeError("indices and dims are integers of one dtype")
    return Spec(indices.dtype, None if dims.shape is None or indices.shape is None else (dims.shape[0], *indices.shape))
