"""Sums, means, products and extremes of the elements that have one id."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, ShapeError
from paraflow.graph.dtypes import int32, limits
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Spec, compatible, format_dims, need_integers
from paraflow.ops.array import cast, ones_like, size_along
from paraflow.ops.batches import gather
from paraflow.ops.gathering import check_indices
from paraflow.ops.logic import equal, select
from paraflow.ops.math import divide, maximum, sqrt

FOLDS: dict[str, np.ufunc] = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


def _nothing(kind: str, dtype: np.dtype[Any]) -> Any:
    """What stands for no elements: 0, 1, the lowest and the highest number of the dtype."""
    if kind in ("sum", "prod"):
        return int(kind == "prod")
    found = limits(dtype)
    return found.min if kind == "max" else found.max


@op(same=(0,), dtypes="numeric")
def segment_fold(data, segment_ids, num_segments, kind="sum", empty=None):
    """The sum (prod, max, min) of the elements of ``data`` that have one id: row i is that over segment_ids == i.

    Negative ids count to no row; a row without elements is ``empty``, or what is neutral where that is None. Rows are
    sorted by id and runs of one id are folded. Raises InvalidArgumentError for an id of ``num_segments`` or more.
    """
    ids = segment_ids.reshape(-1)
    inner = data.shape[segment_ids.ndim :]
    rows = data.reshape(ids.size, *inner)
    missing = _nothing(kind, data.dtype) if empty is None else empty
    result = np.full((int(num_segments), *inner), missing, data.dtype)
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    first = int(np.searchsorted(ordered, 0))
    order, ordered = order[first:], ordered[first:]
    check_indices(ordered, len(result), "segment ids")
    if not ordered.size:
        return result
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    result[ordered[starts]] = FOLDS[kind].reduceat(rows[order], starts, axis=0, dtype=data.dtype)
    return result


def _leading(data: Spec, segment_ids: Spec) -> None:
    need_integers(segment_ids, "segment ids")
    if data.shape is not None and segment_ids.shape is not None:
        lead = data.shape[: len(segment_ids.shape)]
        if not compatible(lead, segment_ids.shape):
            raise ShapeError(f"ids {format_dims(segment_ids.shape)} do not fit data {format_dims(data.shape)}")


@segment_fold.shape
def _(data: Spec, segment_ids: Spec, num_segments: Spec, kind: str, empty: Any) -> Spec:
    _leading(data, segment_ids)
    if data.shape is None or segment_ids.shape is None:
        return Spec(data.dtype, None)
    rows = None if num_segments.value is None else int(num_segments.value)
    return Spec(data.dtype, (rows, *data.shape[len(segment_ids.shape) :]))


@segment_fold.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    data, ids, count = y.op.inputs
    kind = y.op.attrs["kind"]
    passed = from_segments(dy, ids)
    if kind == "sum":
        return passed, None, None
    if kind == "prod":
        # The product of the others, without division by the zeros that are among them.
        zero = equal(data, 0)
        zeros = from_segments(segment_fold(cast(zero, data.dtype), ids, count), ids)
        nonzero = select(zero, 1, data)
        others = from_segments(segment_fold(nonzero, ids, count, "prod"), ids)
        of_zero = select(equal(zeros, 1), others, 0)
        return passed * select(zero, of_zero, select(equal(zeros, 0), others / nonzero, 0)), None, None
    hit = cast(equal(data, from_segments(y, ids)), data.dtype)
    ties = from_segments(segment_fold(hit, ids, count), ids)
    return hit * passed / maximum(ties, 1), None, None


@op(same=(0,), dtypes="numeric")
def from_segments(values, segment_ids):
    """The row of ``values`` of each id; zeros for negative ids."""
    ids = np.maximum(segment_ids, 0)
    check_indices(ids, len(values), "segment ids")
    if not len(values):
        return np.zeros((*ids.shape, *values.shape[1:]), values.dtype)
    rows = np.take(values, ids, 0)
    rows[segment_ids < 0] = 0
    return rows


@from_segments.shape
def _(values: Spec, segment_ids: Spec) -> Spec:
    if values.shape is None or segment_ids.shape is None:
        return Spec(values.dtype, None)
    return Spec(values.dtype, (*segment_ids.shape, *values.shape[1:]))


@from_segments.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    values, ids = y.op.inputs
    return segment_fold(dy, ids, size_along(values, 0)), None


@op(same=())
def segment_count(segment_ids):
    """One more than the last of ids that never fall; raises InvalidArgumentError where they do or one is negative."""
    if segment_ids.size and (segment_ids[0] < 0 or np.any(np.diff(segment_ids) < 0)):
        raise InvalidArgumentError(f"segment ids must be sorted and not negative: {segment_ids.tolist()}")
    return np.array(segment_ids[-1] + 1 if segment_ids.size else 0, np.int32)


@segment_count.shape
def _(segment_ids: Spec) -> Spec:
    need_integers(segment_ids, "segment ids")
    if segment_ids.rank not in (1, None):
        raise GraphError(f"segment ids are a vector, not {format_dims(segment_ids.shape)}")
    return Spec(int32, ())


def _mean(x: Tensor, ids: Tensor, count: Any, name: str, root: bool = False) -> Tensor:
    """The sum by the number of elements, or by its root."""
    with name_scope(name) as scope:
        elements = maximum(segment_fold(ones_like(x), ids, count), 1)
        mean: Tensor = divide(segment_fold(x, ids, count), sqrt(elements) if root else elements, name=scope)
        return mean


def _sorted(kind: str, data: Any, segment_ids: Any, name: str | None, empty: Any = 0) -> Tensor:
    ids = convert(segment_ids)
    folded: Tensor = segment_fold(
        data, ids, segment_count(ids), kind, empty, name=name or f"Segment{kind.capitalize()}"
    )
    return folded


def segment_sum(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The sums of the rows of ``data`` that have one id, ids never falling; 0 for an id that is left out."""
    return _sorted("sum", data, segment_ids, name)


def segment_prod(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The products of the rows of ``data`` that have one id, ids never falling; 1 for an id that is left out."""
    return _sorted("prod", data, segment_ids, name, 1)


def segment_max(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The largest of the rows of ``data`` that have one id, ids never falling; 0 for an id that is left out."""
    return _sorted("max", data, segment_ids, name)


def segment_min(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The smallest of the rows of ``data`` that have one id, ids never falling; 0 for an id that is left out."""
    return _sorted("min", data, segment_ids, name)


def segment_mean(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The means of the rows of ``data`` that have one id, ids never falling; 0 for an id that is left out."""
    ids = convert(segment_ids)
    return _mean(convert(data), ids, segment_count(ids), name or "SegmentMean")


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """The sums of the elements of ``data`` that have one id: row i is the sum over segment_ids == i.

    ``segment_ids`` gives an id below num_segments to each of the leading indices of ``data``; what has a negative one
    is left out.
    """
    sums: Tensor = segment_fold(data, segment_ids, num_segments, name=name or "UnsortedSegmentSum")
    return sums


def unsorted_segment_prod(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """`unsorted_segment_sum` with products; 1 for an id that is left out."""
    products: Tensor = segment_fold(data, segment_ids, num_segments, "prod", name=name or "UnsortedSegmentProd")
    return products


def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """`unsorted_segment_sum` with the largest; the lowest number of the dtype for an id that is left out."""
    largest: Tensor = segment_fold(data, segment_ids, num_segments, "max", name=name or "UnsortedSegmentMax")
    return largest


def unsorted_segment_min(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """`unsorted_segment_sum` with the smallest; the highest number of the dtype for an id that is left out."""
    smallest: Tensor = segment_fold(data, segment_ids, num_segments, "min", name=name or "UnsortedSegmentMin")
    return smallest


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """`unsorted_segment_sum` by the number of elements; 0 for an id that is left out."""
    return _mean(convert(data), convert(segment_ids), num_segments, name or "UnsortedSegmentMean")


def unsorted_segment_sqrt_n(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """`unsorted_segment_sum` by the root of the number of elements; 0 for an id that is left out."""
    return _mean(convert(data), convert(segment_ids), num_segments, name or "UnsortedSegmentSqrtN", root=True)


def _picked(data: Any, indices: Any, segment_ids: Any, num_segments: Any) -> tuple[Tensor, Tensor, Any]:
    ids = convert(segment_ids)
    sorted_count = segment_count(ids)  # refuses ids that fall
    return gather(data, indices), ids, sorted_count if num_segments is None else num_segments


def sparse_segment_sum(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """`segment_sum` of the rows of ``data`` at ``indices``; ``num_segments`` rows, or one more than the last id."""
    sums: Tensor = segment_fold(*_picked(data, indices, segment_ids, num_segments), name=name or "SparseSegmentSum")
    return sums


def sparse_segment_mean(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """`segment_mean` of the rows of ``data`` at ``indices``."""
    return _mean(*_picked(data, indices, segment_ids, num_segments), name or "SparseSegmentMean")


def sparse_segment_sqrt_n(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """`sparse_segment_sum` by the root of the number of rows."""
    return _mean(*_picked(data, indices, segment_ids, num_segments), name or "SparseSegmentSqrtN", root=True)
