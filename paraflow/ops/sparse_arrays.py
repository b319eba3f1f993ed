"""Sparse tensors cut, joined, reshaped and filled up: what becomes of the places, and the values taken along."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import as_dtype, bool_, float32, int64
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, format_dims, normal_axis
from paraflow.ops.array import Array, cast, known_early, ones, ones_like, vector_value, zeros_like
from paraflow.ops.gathering import gather
from paraflow.ops.joining import concat, stack
from paraflow.ops.math import maximum, minimum
from paraflow.ops.ordering import setdiff1d
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.sequences import range as counted
from paraflow.ops.slices import IndexedSlices
from paraflow.ops.sparse import (
    SparseTensor,
    SparseTensorValue,
    as_sparse,
    check_places,
    indices_of,
    named_errors,
    numbers_of,
    rank_of,
    row_major,
    sparse_reorder,
    sparse_tensor_to_dense,
)


def places_spec(count: int | None, rank: int | None) -> Spec:
    """What is known of indices [count, rank]."""
    return Spec(int64, (count, rank))


def count_of(indices: Spec) -> int | None:
    """How many elements have indices [n, rank], where it is known."""
    return None if indices.shape is None else indices.shape[0]


def rank_among(indices: Spec, *sizes: Spec) -> int | None:
    """The rank that indices [n, rank] and vectors of sizes [rank] agree on; raises GraphError where they do not."""
    ranks = {n for s in (indices, *sizes) if s.shape and (n := s.shape[-1]) is not None}
    if len(ranks) > 1:
        raise GraphError(f"indices and shapes are of one rank, not of {' and '.join(map(str, sorted(ranks)))}")
    return next(iter(ranks), None)


def sizes_spec(rank: int | None, made: Callable[..., Array], *known: Spec) -> Spec:
    """What is known of a dense_shape [rank]: all that ``made`` gives of vectors whose values are known."""
    values = [vector_value(sizes) for sizes in known]
    with known_early():
        value = None if None in values else made(*(np.array(v, np.int64) for v in values))
    return Spec(int64, (rank if value is None else len(value),), value)


def sparse_transpose(sp_input: Any, perm: Any = None, name: str | None = None) -> SparseTensor:
    """The sparse tensor with its axes in the order ``perm`` (turned round where it is None), in row-major order."""
    sp = as_sparse(sp_input, "sp_input")
    rank = rank_of(sp, "sparse_transpose")
    with name_scope(name or "SparseTranspose"):
        order = list(range(rank))[::-1] if perm is None else [int(axis) for axis in perm]
        if sorted(order) != list(range(rank)):
            raise GraphError(f"perm {order} is no order of {rank} axes{at_user_line()}")
        sizes = stack([sp.dense_shape[axis] for axis in order]) if order else sp.dense_shape
        return sparse_reorder(SparseTensor(gather(sp.indices, order, axis=1), sp.values, sizes))


# -- another shape ----------------------------------------------------------------------------------------------------


def _sizes_filled_in(shape: Array, sizes: Array) -> Array:
    """``sizes`` with -1 worked out, so that they have as many elements as ``shape``."""
    total, given = math.prod(shape.tolist()), math.prod(n for n in sizes.tolist() if n != -1)
    free = int((sizes == -1).sum())
    if free > 1 or (sizes < -1).any():
        raise InvalidArgumentError(f"{sizes.tolist()} is no shape: one size may be -1, the others are 0 or more")
    if not (given and total % given == 0 if free else total == given):
        raise InvalidArgumentError(f"{total} elements cannot be reshaped to {sizes.tolist()}")
    return np.where(sizes == -1, total // max(given, 1), sizes)


@op
def reshaped_places(indices, shape, sizes):
    """Indices [n, rank] into a tensor of ``shape``, and the shape, for one of ``sizes``, of which one may be -1.

    The elements keep their row-major order. Raises InvalidArgumentError for sizes that do not make as many elements.
    """
    before, filled = tuple(shape.tolist()), _sizes_filled_in(shape, sizes)
    check_places(indices, before, False)
    return indices_of(numbers_of(indices, before), tuple(filled.tolist())), filled


@reshaped_places.shape
def _(indices: Spec, shape: Spec, sizes: Spec) -> tuple[Spec, Spec]:
    rank_among(indices, shape)
    filled = sizes_spec(rank_among(sizes), _sizes_filled_in, shape, sizes)
    return places_spec(count_of(indices), rank_among(sizes)), filled


def sparse_reshape(sp_input: Any, shape: Any, name: str | None = None) -> SparseTensor:
    """The elements of a sparse tensor, in their row-major order, under another shape; one size may be -1.

    Raises GraphError, or InvalidArgumentError when it runs, for a shape of more or fewer elements.
    """
    sp = as_sparse(sp_input, "sp_input")
    with name_scope(name or "SparseReshape"):
        indices, sizes = reshaped_places(sp.indices, sp.dense_shape, cast(shape, int64))
        return SparseTensor(indices, sp.values, sizes)


def sparse_expand_dims(sp_input: Any, axis: int | None = None, name: str | None = None) -> SparseTensor:
    """The sparse tensor with a new axis of size 1 at ``axis``, by default the last."""
    sp = as_sparse(sp_input, "sp_input")
    with name_scope(name or "expand_dims"):
        rank = rank_of(sp, "sparse_expand_dims")
        at = named_errors("sparse_expand_dims", normal_axis, -1 if axis is None else axis, rank + 1)
        zeros = expand_dims(zeros_like(sp.values, int64), 1)
        indices = concat([sp.indices[:, :at], zeros, sp.indices[:, at:]], 1)
        one = np.ones(1, np.int64)
        return SparseTensor(indices, sp.values, concat([sp.dense_shape[:at], one, sp.dense_shape[at:]], 0))


@op
def tight_sizes(indices):
    """The smallest shape that has all of the indices [n, rank]; zeros where there are none."""
    return indices.max(0, initial=-1) + 1


@tight_sizes.shape
def _(indices: Spec) -> Spec:
    return Spec(int64, (rank_among(indices),))


def _covering(shape: Array, new_shape: Array, exact: bool = False) -> Array:
    """``new_shape``, which is nowhere smaller than ``shape``, or is it."""
    fits = len(shape) == len(new_shape) and bool((new_shape == shape if exact else new_shape >= shape).all())
    if not fits:
        wanted = "that shape" if exact else "a shape that is nowhere smaller"
        raise InvalidArgumentError(f"for a sparse tensor {shape.tolist()} {wanted} is needed, not {new_shape.tolist()}")
    return new_shape


@op
def covering_sizes(shape, new_shape, exact=False):
    """``new_shape``; raises InvalidArgumentError where it is smaller than ``shape`` or, with ``exact``, is not it."""
    return np.array(_covering(shape, new_shape, exact))


@covering_sizes.shape
def _(shape: Spec, new_shape: Spec, exact: bool) -> Spec:
    return sizes_spec(rank_among(shape, new_shape), lambda a, b: _covering(a, b, exact), shape, new_shape)


def sparse_reset_shape(sp_input: Any, new_shape: Any = None) -> SparseTensor:
    """The same elements in a tensor of ``new_shape``, or of the smallest shape that holds them where it is None.

    Raises GraphError, or InvalidArgumentError when it runs, for a shape that is smaller somewhere or of another rank.
    """
    sp = as_sparse(sp_input, "sp_input")
    with name_scope("SparseResetShape"):
        if new_shape is None:
            return SparseTensor(sp.indices, sp.values, tight_sizes(sp.indices))
        return SparseTensor(sp.indices, sp.values, covering_sizes(sp.dense_shape, cast(new_shape, int64)))


# -- parts ------------------------------------------------------------------------------------------------------------


def _check_not_negative(what: str, sizes: Array) -> None:
    """Raise InvalidArgumentError for a negative one of ``sizes``."""
    if (sizes < 0).any():
        raise InvalidArgumentError(f"sparse_slice: the {what} {sizes.tolist()} has a negative number")


@op
def places_within(indices, start, size):
    """Which of the indices [n, rank] lie in the block of ``size`` at ``start``, and where in it: [m] and [m, rank]."""
    if not indices.shape[1] == len(start) == len(size):
        raise InvalidArgumentError(f"sparse_slice: {start.tolist()} and {size.tolist()} are no block of the tensor")
    _check_not_negative("start", start)
    _check_not_negative("size", size)
    kept = np.flatnonzero(((indices >= start) & (indices - start < size)).all(1))
    return kept, indices[kept] - start


@places_within.shape
def _(indices: Spec, start: Spec, size: Spec) -> tuple[Spec, Spec]:
    with known_early():
        for what, numbers in (("start", start), ("size", size)):
            _check_not_negative(what, np.array(vector_value(numbers) or ()))
    return Spec(int64, (None,)), places_spec(None, rank_among(indices, start, size))


def sparse_slice(sp_input: Any, start: Any, size: Any, name: str | None = None) -> SparseTensor:
    """The block of ``size`` of a sparse tensor that begins at ``start``, as far as the tensor goes."""
    sp = as_sparse(sp_input, "sp_input")
    with name_scope(name or "SparseSlice"):
        begin, extent = cast(start, int64), cast(size, int64)
        kept, indices = places_within(sp.indices, begin, extent)
        sizes = minimum(extent, maximum(sp.dense_shape - begin, 0))
        return SparseTensor(indices, gather(sp.values, kept), sizes)


def _split_shape(shape: Array, num_split: int, axis: int) -> list[Array]:
    """The shapes of the parts: what does not go into ``num_split`` equal ones makes the first ones longer by one."""
    if not 1 <= num_split <= shape[axis]:
        raise InvalidArgumentError(f"sparse_split: axis {axis} of size {shape[axis]} is not cut into {num_split} parts")
    each, more = divmod(int(shape[axis]), num_split)
    ours = np.arange(len(shape)) == axis % len(shape)
    return [np.where(ours, each + (i < more), shape) for i in range(num_split)]


@op
def split_places(indices, shape, num_split=1, axis=0):
    """For each of ``num_split`` parts along ``axis``: which indices are in it, where there, and its shape.

    [m], [m, rank] and [rank], all int64.
    """
    parts, begin = [], 0
    for sizes in _split_shape(shape, num_split, axis):
        kept = np.flatnonzero((indices[:, axis] >= begin) & (indices[:, axis] < begin + sizes[axis]))
        places = indices[kept]
        places[:, axis] -= begin
        parts += [kept, places, sizes]
        begin += sizes[axis]
    return tuple(parts)


@split_places.shape
def _(indices: Spec, shape: Spec, num_split: int, axis: int) -> tuple[Spec, ...]:
    rank = rank_among(indices, shape)
    if rank is not None:
        normal_axis(axis, rank)

    def part(i: int) -> Spec:
        return sizes_spec(rank, lambda whole: _split_shape(whole, num_split, axis)[i], shape)

    specs = ((Spec(int64, (None,)), places_spec(None, rank), part(i)) for i in range(num_split))
    return tuple(spec for three in specs for spec in three)


def sparse_split(
    *, sp_input: Any, num_split: int, axis: int | None = None, name: str | None = None, split_dim: int | None = None
) -> list[SparseTensor]:
    """A sparse tensor cut along ``axis`` into ``num_split`` parts, of which the first are longer by one where need be.

    ``split_dim`` is an older name of ``axis``. Raises GraphError, or InvalidArgumentError when it runs, for more parts
    than the axis has elements.
    """
    sp = as_sparse(sp_input, "sp_input")
    axis = split_dim if axis is None else axis
    if axis is None or num_split < 1:
        raise GraphError(f"sparse_split needs an axis and one part or more, not {num_split}{at_user_line()}")
    with name_scope(name or "SparseSplit"):
        parts = split_places(sp.indices, sp.dense_shape, num_split=num_split, axis=axis)
        threes = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        return [SparseTensor(places, gather(sp.values, kept), sizes) for kept, places, sizes in threes]


# -- joined -----------------------------------------------------------------------------------------------------------


def _joined_shape(*shapes: Array, axis: int, expand: bool) -> Array:
    """The shape of tensors of ``shapes`` joined along ``axis``; with ``expand`` the largest of their other sizes."""
    rest = np.delete(np.stack(shapes), axis, 1)
    if not expand and (rest != rest[0]).any():
        listed = ", ".join(str(tuple(s.tolist())) for s in shapes)
        raise InvalidArgumentError(f"sparse_concat: shapes {listed} differ in more than axis {axis}")
    joined = np.max(shapes, 0)
    joined[axis] = sum(s[axis] for s in shapes)
    return joined


@op
def joined_places(*parts, axis=0, expand=False):
    """Where elements go that are joined along ``axis``; ``parts`` are the indices of all tensors, then their shapes.

    Returns the indices in row-major order, the order that they have then, and the shape. With ``expand`` other axes
    are as long as the longest. Raises InvalidArgumentError for shapes that do not fit.
    """
    places, shapes = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    whole = _joined_shape(*shapes, axis=axis, expand=expand)
    moved, begin = [], np.zeros_like(whole)
    for indices, shape in zip(places, shapes, strict=True):
        check_places(indices, tuple(shape), False)
        moved.append(indices + begin)
        begin[axis] += shape[axis]
    together = np.concatenate(moved)
    order = row_major(together)
    return together[order], order, whole


@joined_places.shape
def _(*parts: Spec, axis: int, expand: bool) -> tuple[Spec, Spec, Spec]:
    places, shapes = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    rank = rank_among(*parts)
    if rank is not None:
        normal_axis(axis, rank)
    counts = [count_of(indices) for indices in places]
    total = None if None in counts else sum(n for n in counts if n is not None)
    whole = sizes_spec(rank, lambda *sizes: _joined_shape(*sizes, axis=axis, expand=expand), *shapes)
    return places_spec(total, rank), Spec(int64, (total,)), whole


def sparse_concat(
    axis: int | None,
    sp_inputs: Sequence[Any],
    name: str | None = None,
    expand_nonconcat_dim: bool = False,
    concat_dim: int | None = None,
    expand_nonconcat_dims: bool | None = None,
) -> SparseTensor:
    """Sparse tensors joined along ``axis``, in row-major order.

    Their other sizes are equal, or with ``expand_nonconcat_dim`` (or ``expand_nonconcat_dims``) the result has the
    largest. ``concat_dim`` is an older name of ``axis``.
    """
    if not isinstance(sp_inputs, (list, tuple)) or isinstance(sp_inputs, SparseTensorValue) or not sp_inputs:
        raise InvalidArgumentError(f"sparse_concat needs a list of sparse tensors, not {sp_inputs!r}{at_user_line()}")
    tensors = [as_sparse(sp, "each of sp_inputs") for sp in sp_inputs]
    at = concat_dim if axis is None else axis
    if at is None:
        raise GraphError(f"sparse_concat needs an axis{at_user_line()}")
    with name_scope(name or "SparseConcat"):
        parts = [*(sp.indices for sp in tensors), *(sp.dense_shape for sp in tensors)]
        expand = expand_nonconcat_dim if expand_nonconcat_dims is None else expand_nonconcat_dims
        indices, order, sizes = joined_places(*parts, axis=at, expand=bool(expand))
        return SparseTensor(indices, gather(concat([sp.values for sp in tensors], 0), order), sizes)


def sparse_merge(
    sp_ids: Any, sp_values: Any, vocab_size: Any, name: str | None = None, already_sorted: bool = False
) -> SparseTensor:
    """The values at the ids of features: of [n, any] ids and values [n, vocab_size], features by number.

    ``sp_ids`` and ``sp_values`` have the same indices, of which the last number is replaced by the id (or by several,
    of a list of sparse ids with a list of as many sizes). Unless ``already_sorted`` the result is put in row-major
    order.
    """
    several = not isinstance(sp_ids, SparseTensor) and not hasattr(sp_ids, "dense_shape")
    if several and not (isinstance(sp_ids, Iterable) and isinstance(vocab_size, Iterable)):
        raise TypeError(f"of a list of sp_ids vocab_size is a list as well, not {vocab_size!r}{at_user_line()}")
    if not several and isinstance(vocab_size, (list, tuple)):
        raise TypeError(f"of one sp_ids vocab_size is one number, not {vocab_size!r}{at_user_line()}")
    ids = [as_sparse(sp, "sp_ids") for sp in (sp_ids if several else [sp_ids])]
    ends = list(vocab_size) if several else [vocab_size]
    values = as_sparse(sp_values, "sp_values")
    if not ids or len(ids) != len(ends):
        raise GraphError(f"there are {len(ids)} sp_ids and {len(ends)} sizes of vocabularies{at_user_line()}")
    with name_scope(name or "SparseMerge"):
        columns = [expand_dims(cast(sp.values, int64), 1) for sp in ids]
        indices = concat([ids[0].indices[:, :-1], *columns], 1)
        sizes = concat([ids[0].dense_shape[:-1], stack([cast(n, int64) for n in ends])], 0)
        merged = SparseTensor(indices, values.values, sizes)
        return merged if already_sorted else sparse_reorder(merged)


def sparse_to_indicator(sp_input: Any, vocab_size: Any, name: str | None = None) -> Tensor:
    """Which ids are in each row: of ids [..., any] a bool tensor [..., vocab_size].

    Raises InvalidArgumentError for an id outside [0, vocab_size).
    """
    sp = as_sparse(sp_input, "sp_input")
    with name_scope(name or "SparseToIndicator"):
        there = sp.with_values(ones_like(sp.values, bool_))
        return sparse_tensor_to_dense(sparse_merge(sp, there, vocab_size), validate_indices=False)


# -- filled up --------------------------------------------------------------------------------------------------------


@op
def filled_rows(indices, shape):
    """Indices [m, rank] of which each row of a tensor has some, in the order of rows: new ones are [row, 0, ...].

    Also returns which of the n elements is at each of them (n at a new one), and which rows [shape[0]] were empty.
    """
    check_places(indices, tuple(shape), False)
    empty = np.bincount(indices[:, 0], minlength=shape[0]) == 0
    new = np.zeros((int(empty.sum()), len(shape)), np.int64)
    new[:, 0] = np.flatnonzero(empty)
    together = np.concatenate([indices, new])
    order = np.argsort(together[:, 0], kind="stable")
    return together[order], np.minimum(order, len(indices)), empty


@filled_rows.shape
def _(indices: Spec, shape: Spec) -> tuple[Spec, Spec, Spec]:
    rank, sizes = rank_among(indices, shape), vector_value(shape)
    if rank == 0:
        raise GraphError("a tensor of rank 0 has no rows")
    return places_spec(None, rank), Spec(int64, (None,)), Spec(bool_, (None if sizes is None else sizes[0],))


def sparse_fill_empty_rows(sp_input: Any, default_value: Any, name: str | None = None) -> tuple[SparseTensor, Tensor]:
    """The sparse tensor with ``default_value`` at the beginning of each row that had nothing, and which these were.

    The second result is bool, [dense_shape[0]].
    """
    sp = as_sparse(sp_input, "sp_input")
    with name_scope(name or "SparseFillEmptyRows"):
        indices, source, empty = filled_rows(sp.indices, sp.dense_shape)
        default = convert(default_value, sp.dtype)
        if default.spec.rank not in (0, None):
            raise GraphError(f"default_value is one number, not {format_dims(default.spec.shape)}{at_user_line()}")
        values = gather(concat([sp.values, expand_dims(default, 0)], 0), source)
        return SparseTensor(indices, values, sp.dense_shape), empty


def sparse_eye(
    num_rows: Any, num_columns: Any = None, dtype: Any = float32, name: str | None = None
) -> SparseTensor:
    """The matrix [num_rows, num_columns] (square without the latter) that has ones on its diagonal."""
    with name_scope(name or "eye"):
        rows = cast(num_rows, int64)
        columns = rows if num_columns is None else cast(num_columns, int64)
        count = minimum(rows, columns)
        at = counted(count)
        return SparseTensor(stack([at, at], 1), ones(expand_dims(count, 0), as_dtype(dtype)), stack([rows, columns]))


def sparse_mask(a: IndexedSlices, mask_indices: Any, name: str | None = None) -> IndexedSlices:
    """The rows of IndexedSlices but for those at ``mask_indices`` [any]."""
    with name_scope(name or "sparse_mask"):
        kept, at = setdiff1d(a.indices, convert(mask_indices, a.indices.dtype))
        return IndexedSlices(gather(a.values, at), kept, a.dense_shape)
