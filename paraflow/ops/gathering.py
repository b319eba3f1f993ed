"""Taking elements by tensors of indices or by a mask, and adding elements at indices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import int32
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, compatible, format_dims, merge, need_integers, normal_axis, num_elements
from paraflow.ops.array import Array, known_shape, reshape, size_along, value_dims, vector_value
from paraflow.ops.logic import true_indices


def check_indices(indices: Array, size: int, what: str) -> None:
    """Every index must lie in [0, size): what counts from the end elsewhere is more often a mistake here."""
    if indices.size and not (indices.min() >= 0 and indices.max() < size):
        worst = indices.min() if indices.min() < 0 else indices.max()
        raise InvalidArgumentError(f"{what}: index {worst} is not in [0, {size})")


@op(same=(0,), holomorphic=False, early=True)
def gather(params, indices, axis=0):
    """The slices of ``params`` at ``indices`` along ``axis``; the axes of ``indices`` take that axis's place.

    Raises InvalidArgumentError for an index outside [0, size).
    """
    check_indices(indices, params.shape[axis], "gather")
    return np.take(params, indices, axis)


@gather.shape
def _(params: Spec, indices: Spec, axis: int) -> Spec:
    need_integers(indices, "indices")
    if params.shape is None or indices.shape is None:
        return Spec(params.dtype, None)
    at = normal_axis(axis, len(params.shape))
    return Spec(params.dtype, (*params.shape[:at], *indices.shape, *params.shape[at + 1 :]))


@gather.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    params, indices = y.op.inputs
    return scatter_add(dy, indices, known_shape(params), y.op.attrs["axis"]), None


@op(same=(0,), dtypes="numeric")
def scatter_add(updates, indices, shape, axis=0):
    """Zeros of ``shape``, with the slices ``updates`` added at ``indices`` along ``axis``, the transpose of `gather`.

    Slices are sorted by index and runs of one index are summed, which is faster than adding them one by one.
    """
    result = np.zeros(tuple(shape), updates.dtype)
    at = axis % result.ndim
    check_indices(indices, result.shape[at], "scatter_add")
    if not updates.size:
        return result
    rest = result.shape[:at] + result.shape[at + 1 :]
    rows = np.moveaxis(updates, range(at, at + indices.ndim), range(indices.ndim)).reshape(indices.size, *rest)
    order = np.argsort(indices, axis=None, kind="stable")
    ordered = indices.reshape(-1)[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    np.moveaxis(result, at, 0)[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0, dtype=updates.dtype)
    return result


@scatter_add.shape
def _(updates: Spec, indices: Spec, shape: Spec, axis: int) -> Spec:
    need_integers(indices, "indices")
    return Spec(updates.dtype, value_dims(shape))


@scatter_add.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return gather(dy, y.op.inputs[1], y.op.attrs["axis"]), None, None


@op(same=(0,), holomorphic=False, early=True)
def gather_nd(params, indices):
    """The slices of ``params`` at the multi-indices in the last axis of ``indices``, which name leading axes.

    The result has shape indices.shape[:-1] + params.shape[indices.shape[-1]:]. Raises InvalidArgumentError for an index
    outside [0, size).
    """
    whole, parts = multi_index(indices, params, "gather_nd")
    return whole[parts]


def multi_index(indices: Array, array: Array, what: str) -> tuple[Array, tuple[Array, ...]]:
    """A view of ``array`` and the indices into it as numpy takes them, every one in its range.

    Indices of no numbers each name the whole array, which is the one row of the view.
    """
    parts = tuple(np.moveaxis(indices, -1, 0))
    for part, size in zip(parts, array.shape, strict=False):
        check_indices(part, size, what)
    return (array, parts) if parts else (array[np.newaxis], (np.zeros(indices.shape[:-1], np.intp),))


@gather_nd.shape
def _(params: Spec, indices: Spec) -> Spec:
    need_integers(indices, "indices")
    if indices.shape == ():
        raise GraphError("indices need at least one dimension")
    depth = None if indices.shape is None else indices.shape[-1]
    if params.shape is None or indices.shape is None or depth is None:
        return Spec(params.dtype, None)
    if depth > len(params.shape):
        raise GraphError(f"multi-indices of {depth} numbers for {len(params.shape)} axes")
    return Spec(params.dtype, (*indices.shape[:-1], *params.shape[depth:]))


@gather_nd.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    params, indices = y.op.inputs
    return scatter_nd(indices, dy, known_shape(params)), None


@op(same=(1,), dtypes="numeric")
def scatter_nd(indices, updates, shape):
    """Zeros of ``shape``, with the slices ``updates`` added at ``indices``: the transpose of `gather_nd`."""
    result = np.zeros(tuple(shape), updates.dtype)
    whole, parts = multi_index(indices, result, "scatter_nd")
    np.add.at(whole, parts, updates)
    return result


@scatter_nd.shape
def _(indices: Spec, updates: Spec, shape: Spec) -> Spec:
    need_integers(indices, "indices")
    sizes = vector_value(shape)
    if sizes is not None and indices.shape and indices.shape[-1] is not None:
        merge(updates.shape, (*indices.shape[:-1], *sizes[indices.shape[-1] :]))
    return Spec(updates.dtype, value_dims(shape))


@scatter_nd.gradient
def _(y: Tensor, dy: Tensor) -> tuple[None, Tensor, None]:
    return None, gather_nd(dy, y.op.inputs[0]), None


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: int | None = None) -> Tensor:
    """The slices of ``tensor`` where ``mask`` is True; the axes of the mask, from ``axis`` (0) on, become one.

    Raises GraphError when the mask's rank is not known or 0 or its shape is not that of the tensor's axes.
    """
    x, m = convert(tensor), convert(mask)
    if not m.spec.rank or x.spec.shape is None:
        raise GraphError(f"boolean_mask needs a tensor and a mask of known rank, the mask's not 0{at_user_line()}")
    at = normal_axis(axis or 0, len(x.spec.shape))
    masked = x.spec.shape[at : at + m.spec.rank]
    if not compatible(masked, m.spec.shape):
        raise GraphError(
            f"boolean_mask: a mask {format_dims(m.spec.shape)} does not fit axes {format_dims(masked)}{at_user_line()}"
        )
    if m.spec.rank > 1:
        merged = num_elements(masked)
        outer = [size_along(x, i) for i in range(at)]
        inner = [size_along(x, i) for i in range(at + m.spec.rank, len(x.spec.shape))]
        x = reshape(x, convert([*outer, -1 if merged is None else merged, *inner]))
    picked: Tensor = gather(x, reshape(true_indices(reshape(m, [-1])), [-1]), at, name=name)
    return picked


@op(same=(0,))
def take_along(x, indices):
    """For each row of the last axis the elements at the row's own indices."""
    return np.take_along_axis(x, indices, -1)


@take_along.shape
def _(x: Spec, indices: Spec) -> Spec:
    need_integers(indices, "indices")
    return Spec(x.dtype, indices.shape)


@take_along.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    x, indices = y.op.inputs
    return add_along(dy, indices, known_shape(x)), None


@op(same=(0,), dtypes="numeric")
def add_along(values, indices, shape):
    """Zeros of ``shape``, with ``values`` added at each row's own indices along the last axis."""
    result = np.zeros(tuple(shape), values.dtype)
    rows = result.reshape(-1, result.shape[-1])
    places = indices.reshape(len(rows), indices.shape[-1])
    np.add.at(rows, (np.arange(len(rows))[:, None], places), values.reshape(places.shape))
    return result


@add_along.shape
def _(values: Spec, indices: Spec, shape: Spec) -> Spec:
    return Spec(values.dtype, value_dims(shape))


@add_along.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return take_along(dy, y.op.inputs[1]), None, None


@op(dtypes="real")
def top_indices(input, k=1):
    """The places of the ``k`` largest elements of each row, the largest first and the earlier of equals first."""
    if not 0 <= k <= input.shape[-1]:
        raise InvalidArgumentError(f"top_k: there are no {k} largest of {input.shape[-1]} elements")
    rising = np.argsort(input[..., ::-1], axis=-1, kind="stable")
    return (input.shape[-1] - 1 - rising[..., ::-1][..., :k]).astype(np.int32)


@top_indices.shape
def _(input: Spec, k: int) -> Spec:
    if input.shape is None:
        return Spec(int32, None)
    if not input.shape or not 0 <= k <= (k if input.shape[-1] is None else input.shape[-1]):
        raise GraphError(f"there are no {k} largest elements along the last axis")
    return Spec(int32, (*input.shape[:-1], k))


@top_indices.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


class TopK(NamedTuple):
    """The largest elements of each row and their places."""

    values: Tensor
    indices: Tensor


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopK:
    """The ``k`` largest elements of each row of the last axis, in falling order, and their places (int32).

    They are always ``sorted``; of equal elements the earlier comes first.
    """
    x = convert(input)
    places = top_indices(x, k, name=name or "TopK")
    return TopK(take_along(x, places), places)
