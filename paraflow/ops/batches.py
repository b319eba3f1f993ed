"""Gathering with leading axes in common, partitions, and putting slices at indices into a tensor."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, merge, need_integers, normal_axis
from paraflow.ops import gathering
from paraflow.ops.array import broadcast_to, cast, known_shape, reshape, size_along
from paraflow.ops.gathering import boolean_mask, check_indices, multi_index, scatter_nd
from paraflow.ops.joining import concat
from paraflow.ops.logic import equal
from paraflow.ops.ordering import searchsorted
from paraflow.ops.rearrange import expand_dims, transpose
from paraflow.ops.reduce import reduce_sum
from paraflow.ops.scan import cumsum
from paraflow.ops.sequences import range


def _rank(x: Tensor, what: str) -> int:
    if x.spec.rank is None:
        raise GraphError(f"{what} needs tensors of known rank, not {x.name}; give it with set_shape{at_user_line()}")
    return x.spec.rank


def _numbered(indices: Tensor, batch_dims: int) -> Tensor:
    """Multi-indices [..., d] with the numbers of their leading axes in front: [..., batch_dims + d]."""
    sizes = known_shape(indices)
    column = concat([sizes[:-1], [1]], 0)
    rank = _rank(indices, "gather")
    numbers = [
        broadcast_to(
            reshape(
                range(cast(sizes[axis], indices.dtype), dtype=indices.dtype),
                [1] * axis + [-1] + [1] * (rank - axis - 1),
            ),
            column,
        )
        for axis in builtins.range(batch_dims)
    ]
    return concat([*numbers, indices], -1)


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Tensor:
    """The slices of ``params`` at the multi-indices in the last axis of ``indices``.

    The first ``batch_dims`` axes are common to both, and the multi-indices name the axes after them. Raises
    InvalidArgumentError for an index outside [0, size).
    """
    at = convert(indices)
    if batch_dims:
        if not 0 < batch_dims < _rank(at, "gather_nd"):
            raise GraphError(f"gather_nd: batch_dims {batch_dims} for indices of rank {at.spec.rank}{at_user_line()}")
        at = _numbered(at, batch_dims)
    picked: Tensor = gathering.gather_nd(params, at, name=name)
    return picked


def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    name: str | None = None,
    axis: int | None = None,
    batch_dims: int = 0,
) -> Tensor:
    """The slices of ``params`` at ``indices`` along ``axis``; the axes of ``indices`` take that axis's place.

    The first ``batch_dims`` axes are common to both; ``axis`` is the one after them by default. Indices are always
    checked: raises InvalidArgumentError for one outside [0, size).
    """
    if not batch_dims:
        picked: Tensor = gathering.gather(params, indices, 0 if axis is None else axis, name=name)
        return picked
    x, at = convert(params), convert(indices)
    rank, index_rank = _rank(x, "gather"), _rank(at, "gather")
    common = normal_axis(batch_dims, index_rank + 1, "batch_dims")
    where = common if axis is None else normal_axis(axis, rank)
    if where < common:
        raise GraphError(f"gather: axis {axis} is one of the {common} common axes{at_user_line()}")
    with name_scope(name or "gather"):
        between = list(builtins.range(common, where))
        after = list(builtins.range(where + 1, rank))
        first = transpose(x, [*builtins.range(common), where, *between, *after]) if between else x
        taken = gathering.gather_nd(first, _numbered(expand_dims(at, -1), common))
        if not between:
            return taken
        inner = index_rank - common  # axes that the indices bring
        order = [*builtins.range(common), *(n + inner for n in between), *builtins.range(common, common + inner)]
        return transpose(taken, [*order, *builtins.range(len(order), len(order) + len(after))])


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """`gather` along the last axis of ``indices``, whose other axes are common to both."""
    at = convert(indices)
    return gather(params, at, name=name, batch_dims=_rank(at, "batch_gather") - 1)


def repeat(input: Any, repeats: Any, axis: int | None = None, name: str | None = None) -> Tensor:
    """Each slice along ``axis`` (None: each element, the result flat) so many times in a row.

    ``repeats`` is a number for all slices or a vector with one for each.
    """
    x = convert(input)
    with name_scope(name or "repeat"):
        if axis is None:
            x, axis = reshape(x, [-1]), 0
        times = convert(repeats)
        if _rank(times, "repeat") == 0:
            times = broadcast_to(times, convert([size_along(x, axis)]))
        ends = cumsum(times)
        places = range(reduce_sum(times), dtype=times.dtype)
        return gather(x, searchsorted(ends, places, "right"), axis=axis)


@op(dtypes="int")
def below(numbers, limit=0):
    """``numbers``; raises InvalidArgumentError unless all are in [0, limit)."""
    check_indices(numbers, limit, "dynamic_partition")
    return numbers.copy()


@below.shape
def _(numbers: Spec, limit: int) -> Spec:
    return Spec(numbers.dtype, numbers.shape)


@below.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


def dynamic_partition(data: Any, partitions: Any, num_partitions: int, name: str | None = None) -> list[Tensor]:
    """``data`` split by number: the i-th tensor has the slices whose place in ``partitions`` holds i.

    A run raises InvalidArgumentError where a number is not in [0, num_partitions).
    """
    x, numbers = convert(data), convert(partitions)
    if _rank(numbers, "dynamic_partition") == 0:
        x, numbers = expand_dims(x, 0), expand_dims(numbers, 0)
    with name_scope(name or "DynamicPartition"):
        numbers = below(numbers, limit=num_partitions)
        return [boolean_mask(x, equal(numbers, i), axis=0) for i in builtins.range(num_partitions)]


@op(same=())
def stitch(*values):
    """Tensors of indices and then as many of slices: each slice at its index, the last of those at one index."""
    half = len(values) // 2
    indices, slices = values[:half], values[half:]
    inner = slices[0].shape[indices[0].ndim :]
    count = max((int(i.max()) + 1 for i in indices if i.size), default=0)
    result = np.zeros((count, *inner), slices[0].dtype)
    for at, block in zip(indices, slices, strict=True):
        if at.size and at.min() < 0:
            raise InvalidArgumentError(f"dynamic_stitch: index {at.min()} is negative")
        result[at.reshape(-1)] = block.reshape(-1, *inner)
    return result


@stitch.shape
def _(*values: Spec) -> Spec:
    half = len(values) // 2
    inner: Dims = None
    for at, block in zip(values[:half], values[half:], strict=True):
        need_integers(at, "indices")
        if block.dtype != values[half].dtype:
            raise InvalidTypeError(f"data are of one dtype, not {values[half].dtype.name} and {block.dtype.name}")
        if at.shape is not None and block.shape is not None:
            if not compatible(at.shape, block.shape[: len(at.shape)]):
                raise GraphError(f"data {format_dims(block.shape)} does not begin with {format_dims(at.shape)}")
            inner = merge(inner, block.shape[len(at.shape) :])
    return Spec(values[half].dtype, None if inner is None else (None, *inner))


@stitch.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    half = len(y.op.inputs) // 2
    return *((None,) * half), *(gathering.gather(dy, at) for at in y.op.inputs[:half])


def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], name: str | None = None) -> Tensor:
    """The slices of all ``data`` put at their ``indices``: result[indices[m][i]] = data[m][i].

    Of several slices at one index the last counts; the gradient reaches all of them, as in TensorFlow. The inverse of
    `dynamic_partition`.
    """
    if len(indices) != len(data) or not indices:
        raise InvalidArgumentError(f"dynamic_stitch: {len(indices)} indices for {len(data)} data{at_user_line()}")
    stitched: Tensor = stitch(*indices, *data, name=name or "DynamicStitch")
    return stitched


@op(same=(0, 2))
def tensor_scatter_nd_update(tensor, indices, updates):
    """``tensor`` with the slices ``updates`` at the multi-indices in the last axis of ``indices``."""
    result = np.array(tensor)
    whole, parts = multi_index(indices, result, "tensor_scatter_nd_update")
    whole[parts] = updates
    return result


@tensor_scatter_nd_update.shape
def _(tensor: Spec, indices: Spec, updates: Spec) -> Spec:
    need_integers(indices, "indices")
    return Spec(tensor.dtype, tensor.shape)


@tensor_scatter_nd_update.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    _, indices, updates = y.op.inputs
    return tensor_scatter_nd_update(dy, indices, updates * 0), None, gathering.gather_nd(dy, indices)


def tensor_scatter_nd_add(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """``tensor`` with the slices ``updates`` added at the multi-indices in the last axis of ``indices``."""
    x = convert(tensor)
    with name_scope(name or "TensorScatterAdd"):
        return x + scatter_nd(indices, convert(updates, x.dtype), known_shape(x))


def tensor_scatter_nd_sub(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """``tensor`` with the slices ``updates`` subtracted at the multi-indices in the last axis of ``indices``."""
    x = convert(tensor)
    with name_scope(name or "TensorScatterSub"):
        return x - scatter_nd(indices, convert(updates, x.dtype), known_shape(x))
