"""Tensors of which few rows are not zero, kept as these rows: the gradients of variables that are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from paraflow.errors import GraphError, InvalidTypeError
from paraflow.graph.dtypes import DType, int32, is_integer
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.partial import entries
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, TensorShape, format_dims, known, need_integers
from paraflow.ops.array import Array, reshape
from paraflow.ops.gathering import gather, scatter_add
from paraflow.ops.joining import concat


class IndexedSlices:
    """A tensor that is zero but for some rows: ``values[i]`` is to be added to row ``indices[i]``.

    ``values`` has shape (n, ...), ``indices`` (n,) integers, in any order and perhaps with duplicates, ``dense_shape``
    is the shape of the whole. It is what `gradients` returns for a variable that is only looked up. Used as an operand
    it becomes the whole tensor; a session returns it as an `IndexedSlicesValue`. Indices of more axes are for the
    methods of variables alone, `Variable.batch_scatter_update` and its kin.
    """

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self.values: Tensor = convert(values)
        self.indices: Tensor = convert(indices)
        self.dense_shape: Tensor | None = None if dense_shape is None else convert(dense_shape)
        if not is_integer(self.indices.dtype):
            raise InvalidTypeError(f"the indices of IndexedSlices are integers, not {self.indices!r}")

    def __tensor__(self) -> Tensor:
        """The whole tensor, the rows of one index added up."""
        if self.dense_shape is None:
            raise GraphError(f"IndexedSlices without a dense_shape cannot become a tensor{at_user_line()}")
        whole: Tensor = scatter_add(self.values, self.indices, self.dense_shape)
        return whole

    @property
    def name(self) -> str:
        """The name of the values."""
        return self.values.name

    @property
    def op(self) -> Operation:
        """The operation that makes the values."""
        return self.values.op

    @property
    def dtype(self) -> DType:
        """Element type of the values."""
        return self.values.dtype

    @property
    def graph(self) -> Graph:
        """The graph it belongs to."""
        return self.values.graph

    @property
    def shape(self) -> TensorShape:
        """The static shape of the whole."""
        return TensorShape(None if self.dense_shape is None else entries(self.dense_shape.spec))

    @property
    def device(self) -> str:
        """The device that the author asked for, or nothing."""
        return self.values.device

    def consumers(self) -> list[Operation]:
        """The operations that have one of its parts as an input."""
        return consumers_of(self.values, self.indices, self.dense_shape)

    def with_values(self, values: Tensor) -> IndexedSlices:
        """Other values for the same rows."""
        return IndexedSlices(values, self.indices, self.dense_shape)

    def __neg__(self) -> IndexedSlices:
        return self.with_values(-self.values)

    def __repr__(self) -> str:
        return f"<paraflow.IndexedSlices values={self.values!r} indices={self.indices!r}>"


def consumers_of(*parts: Tensor | None) -> list[Operation]:
    """The operations that have one of ``parts`` as an input, each once."""
    return list(dict.fromkeys(operation for part in parts if part is not None for operation in part.consumers()))


class IndexedSlicesValue(NamedTuple):
    """What a session returns for `IndexedSlices`: arrays."""

    values: Array
    indices: Array
    dense_shape: Array | None = None


def slices_of(parts: Sequence[Tensor]) -> IndexedSlices | None:
    """The sum of ``parts`` as rows, where each of them was made of rows (by `scatter_add` along axis 0); else None.

    They are the cotangents that the lookups of one variable contribute.
    """
    if not parts or not all(_of_rows(t) for t in parts):
        return None
    values, indices = [], []
    for part in parts:
        updates, at, _ = part.op.inputs
        if at.spec.rank != 1:
            updates = reshape(updates, [-1, *known(part.spec.shape)[1:]])
            at = reshape(at, [-1])
        values.append(updates)
        indices.append(at)
    if len({t.dtype for t in indices}) > 1:
        return None
    shape = parts[0].op.inputs[2]
    if len(parts) == 1:
        return IndexedSlices(values[0], indices[0], shape)
    return IndexedSlices(concat(values, 0), concat(indices, 0), shape)


def _of_rows(tensor: Tensor) -> bool:
    return (
        tensor.op.record is scatter_add
        and tensor.spec.static
        and tensor.op.attrs["axis"] % len(known(tensor.spec.shape)) == 0
        and tensor.op.inputs[1].spec.rank is not None
    )


def merge_rows(values: Array, indices: Array) -> tuple[Array, Array, Array]:
    """The sums of the rows of one index, in rising order of indices, added in the order in which they stand.

    Returns the sums, their indices, and for each row of ``values`` the place of its sum.
    """
    order = np.argsort(indices, kind="stable")
    ordered = indices[order]
    first = np.ones(len(order), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    places = np.empty(len(order), np.int32)
    places[order] = np.cumsum(first) - 1
    if first.all():
        return values[order], ordered, places
    starts = np.flatnonzero(first)
    return np.add.reduceat(values[order], starts, axis=0, dtype=values.dtype), ordered[starts], places


@op(same=(0,), dtypes="numeric")
def unique_rows(values, indices):
    """The rows of IndexedSlices with each index once: sums of rows, their indices in rising order, and ``places``.

    Row i of ``values`` is part of the sum places[i].
    """
    return merge_rows(values, indices)


@unique_rows.shape
def _(values: Spec, indices: Spec) -> tuple[Spec, ...]:
    need_integers(indices, "indices of rows")
    if indices.rank not in (1, None):
        raise GraphError(f"indices of rows are a vector, not {format_dims(indices.shape)}")
    count = None if indices.shape is None else indices.shape[0]
    rows = None if values.shape is None else (None, *values.shape[1:])
    return Spec(values.dtype, rows), Spec(indices.dtype, (None,)), Spec(int32, (count,))


@unique_rows.gradient
def _(outputs: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor | None, None]:
    return None if cotangents[0] is None else gather(cotangents[0], outputs[2]), None
