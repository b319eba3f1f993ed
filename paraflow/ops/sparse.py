"""Sparse tensors: the elements that are there, where they are, and the shape of the whole.

They are what labels of sequences, decoded sequences and ids of bags of words come in. Operations on them are records
that say which element goes where, and gathers and scatters of the values, so gradients to values and to dense operands
are those of these. Here are the tensors themselves and the way to dense ones; `paraflow.ops.sparse_arrays` moves, cuts
and joins them, `paraflow.ops.sparse_math` computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.context import Runner, session_or_default
from paraflow.graph.dtypes import DType, as_dtype, int64, is_bool
from paraflow.graph.graph import Graph, get_default_graph, name_scope
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.partial import entries
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, TensorShape, as_dims, compatible, format_dims, merge
from paraflow.ops import array
from paraflow.ops.array import (
    Array,
    convert_to_tensor,
    known_shape,
    make_placeholder,
    reshape,
    value_dims,
    zeros_like,
)
from paraflow.ops.gathering import boolean_mask, gather, gather_nd
from paraflow.ops.logic import not_equal, where
from paraflow.ops.math import divide, multiply
from paraflow.ops.reduce import reduce_sum
from paraflow.ops.slices import IndexedSlices, consumers_of

# The collection of placeholders for parts of sparse tensors, whose first sizes do not count samples.
SPARSE_PARTS = "sparse_parts"


class SparseTensor:
    """A tensor of shape ``dense_shape`` that is ``values[i]`` at ``indices[i]`` and zero (or blank) elsewhere.

    ``indices`` are int64 [n, rank], ``values`` [n], ``dense_shape`` int64 [rank]. Most operations want the indices in
    row-major order, as `sparse_reorder` puts them. A session returns a `SparseTensorValue`, and a run is fed one, or a
    tuple of its three parts, for a sparse tensor. Raises GraphError for parts of other dtypes or ranks.
    """

    def __init__(self, indices: Any, values: Any, dense_shape: Any) -> None:
        with name_scope("SparseTensor"):
            self.indices: Tensor = _int64(indices, "indices")
            self.values: Tensor = convert(values)
            self.dense_shape: Tensor = _int64(dense_shape, "dense_shape")
        ranks = [(self.indices, 2), (self.values, 1), (self.dense_shape, 1)]
        if any(t.spec.rank not in (rank, None) for t, rank in ranks):
            shapes = ", ".join(format_dims(t.spec.shape) for t, _ in ranks)
            raise GraphError(
                f"a SparseTensor has indices [n, rank], values [n] and dense_shape [rank], not {shapes}{at_user_line()}"
            )

    @property
    def dtype(self) -> DType:
        """Element type of the values."""
        return self.values.dtype

    @property
    def op(self) -> Operation:
        """The operation that makes the values."""
        return self.values.op

    @property
    def name(self) -> str:
        """The name of the values."""
        return self.values.name

    @property
    def graph(self) -> Graph:
        """The graph it belongs to."""
        return self.values.graph

    def eval(self, feed_dict: Mapping[Any, Any] | None = None, session: Runner | None = None) -> Any:
        """The `SparseTensorValue` in ``session`` or in the default session."""
        return session_or_default(session, "SparseTensor.eval").run(self, feed_dict)

    @property
    def shape(self) -> TensorShape:
        """The static shape of the whole."""
        rank = self.indices.spec.shape and self.indices.spec.shape[-1]
        return TensorShape(merge(entries(self.dense_shape.spec), (None,) * rank if rank else None))

    def get_shape(self) -> TensorShape:
        """The static shape of the whole."""
        return self.shape

    __array_ufunc__ = None  # an array times a sparse tensor is the sparse tensor's business

    def consumers(self) -> list[Operation]:
        """The operations that have one of its parts as an input."""
        return consumers_of(self.indices, self.values, self.dense_shape)

    def with_values(self, new_values: Tensor) -> SparseTensor:
        """Other values at the same places."""
        return SparseTensor(self.indices, new_values, self.dense_shape)

    def __mul__(self, other: Any) -> SparseTensor:
        """The product with a dense tensor that broadcasts to the whole; what is not there stays 0."""
        return self.with_values(multiply(self.values, self._beside(other)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SparseTensor:
        """The quotient by a dense tensor that broadcasts to the whole; what is not there stays 0."""
        return self.with_values(divide(self.values, self._beside(other)))

    def _beside(self, other: Any) -> Tensor:
        """The elements of a dense operand at the places of the values."""
        if isinstance(other, SparseTensor):
            raise TypeError(f"a SparseTensor is multiplied and divided by dense tensors only{at_user_line()}")
        dense = convert(other, self.dtype)
        if dense.spec.rank == 0:
            return dense
        there: Tensor = gather_nd(array.broadcast_to(dense, self.dense_shape), self.indices)
        return there

    @classmethod
    def from_value(cls, sparse_tensor_value: Any) -> SparseTensor:
        """A sparse tensor of three arrays, or the one that it is."""
        given = sparse_tensor_value
        return given if isinstance(given, SparseTensor) else cls(*given)

    def __repr__(self) -> str:
        return f"<paraflow.SparseTensor indices={self.indices!r} values={self.values!r} shape={self.shape}>"


class SparseTensorValue(NamedTuple):
    """The arrays of a sparse tensor: what a session returns, and what a run is fed."""

    indices: Array
    values: Array
    dense_shape: Array


def _int64(value: Any, what: str) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind == "i":
        value = value.astype(np.int64)
    tensor = convert(value, int64)
    if tensor.dtype != int64:
        raise InvalidTypeError(f"the {what} of a SparseTensor are int64, not {tensor.dtype.name}{at_user_line()}")
    return tensor


def as_sparse(value: Any, what: str) -> SparseTensor:
    """``value``, a SparseTensor or the arrays of one; raises TypeError for what is none."""
    if not isinstance(value, (SparseTensor, SparseTensorValue)):
        raise TypeError(f"{what} is a SparseTensor, not {value!r}{at_user_line()}")
    return SparseTensor.from_value(value)


def rank_of(sp: SparseTensor, what: str) -> int:
    """The rank of a sparse tensor; raises GraphError where it is not known."""
    if sp.shape.rank is None:
        raise GraphError(f"{what} needs a sparse tensor of known rank{at_user_line()}")
    return int(sp.shape.rank)


def named_errors(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` gives; a GraphError of it says in which operation it is, and on which of the user's lines."""
    try:
        return function(*arguments)
    except GraphError as error:
        raise GraphError(f"{what}: {error}{at_user_line()}") from None


def convert_to_tensor_or_sparse_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Any:
    """A sparse tensor where ``value`` is one or a `SparseTensorValue`, else a tensor.

    Raises RuntimeError for a sparse tensor of another dtype than ``dtype``.
    """
    if not isinstance(value, (SparseTensor, SparseTensorValue)):
        return convert_to_tensor(value, dtype, name or "Const")
    wanted = None if dtype is None else as_dtype(dtype)
    sp = SparseTensor.from_value(value)
    if wanted not in (None, sp.dtype):
        raise RuntimeError(f"the sparse tensor is {sp.dtype.name}, not {wanted}{at_user_line()}")
    return sp


def sparse_placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> SparseTensor:
    """A sparse tensor that every run is fed: a `SparseTensorValue` or a tuple (indices, values, dense_shape).

    ``shape``, where it is given, says its rank; its sizes are those that are fed.
    """
    dims = as_dims(shape)
    rank = None if dims is None else len(dims)
    with name_scope(name or "SparsePlaceholder"):
        parts = [
            make_placeholder(int64, (None, rank), "indices"), make_placeholder(dtype, (None,), "values"),
            make_placeholder(int64, (rank,), "shape"),
        ]  # fmt: skip
        for part in parts:
            get_default_graph().add_to_collection(SPARSE_PARTS, part)
        return SparseTensor(*parts)


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """Elements converted to ``dtype``; a float becomes an integer by truncation, a complex number its real part.

    Of a `SparseTensor` or of `IndexedSlices` the values are converted.
    """
    if isinstance(x, (SparseTensor, IndexedSlices)):
        return x.with_values(array.cast(x.values, dtype, name=name))
    return array.cast(x, dtype, name=name)


# -- to dense tensors and back ----------------------------------------------------------------------------------------


@op(same=(0, 1))
def placed(values, default, indices, shape, ordered=True):
    """A tensor of ``shape``, ``values`` [n] at ``indices`` [n, rank] and ``default`` elsewhere.

    Raises InvalidArgumentError for indices out of range and, with ``ordered``, for such as are not in row-major order
    or come twice.
    """
    sizes = tuple(int(n) for n in shape)
    check_places(indices, sizes, ordered)
    result = np.full(sizes, default, values.dtype)
    result[tuple(indices.T)] = values
    return result


def check_places(indices: Array, sizes: tuple[int, ...], ordered: bool) -> None:
    """Raise InvalidArgumentError unless each index is one of a tensor of these sizes, and in order."""
    if indices.shape[-1] != len(sizes):
        raise InvalidArgumentError(f"indices of {indices.shape[-1]} numbers for a dense_shape {sizes}")
    outside = np.flatnonzero(((indices < 0) | (indices >= np.array(sizes))).any(1))
    if outside.size:
        raise InvalidArgumentError(f"index {indices[outside[0]].tolist()} is outside of the dense_shape {sizes}")
    if ordered and len(indices) > 1:
        flat = numbers_of(indices, sizes)
        wrong = np.flatnonzero(flat[1:] <= flat[:-1])
        if wrong.size:
            at = int(wrong[0]) + 1
            raise InvalidArgumentError(
                f"index {indices[at].tolist()} comes after {indices[at - 1].tolist()}: indices are in row-major order "
                "and none comes twice (see sparse_reorder)"
            )


def _strides(sizes: tuple[int, ...]) -> Array:
    """How far apart in row-major order elements are that are neighbours along each axis: int64 [rank].

    Raises InvalidArgumentError where int64 cannot number the elements of a tensor of these sizes.
    """
    if math.prod(n or 1 for n in sizes) > np.iinfo(np.int64).max:
        raise InvalidArgumentError(f"int64 cannot number the elements of the dense_shape {sizes}")
    return np.array([math.prod(n or 1 for n in sizes[i + 1 :]) for i in range(len(sizes))], np.int64)


def numbers_of(indices: Array, sizes: tuple[int, ...]) -> Array:
    """The number in row-major order of each of the indices [n, rank] of a tensor of these sizes: int64 [n]."""
    numbers: Array = indices @ _strides(sizes)
    return numbers


def indices_of(numbers: Array, sizes: tuple[int, ...]) -> Array:
    """The indices [n, rank] of the elements of these numbers [n]: what `numbers_of` is given."""
    indices: Array = numbers[:, None] // _strides(sizes) % np.maximum(np.array(sizes, np.int64), 1)
    return indices


@placed.shape
def _(values: Spec, default: Spec, indices: Spec, shape: Spec, ordered: bool) -> Spec:
    count = None if indices.shape is None else indices.shape[:1]
    if default.rank not in (0, None) or not compatible(values.shape, count):
        raise GraphError("there is one value for each index, and one default")
    return Spec(values.dtype, value_dims(shape))


@placed.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, None, None]:
    there = gather_nd(dy, y.op.inputs[2])
    return there, reduce_sum(dy) - reduce_sum(there), None, None


def sparse_to_dense(
    sparse_indices: Any,
    output_shape: Any,
    sparse_values: Any,
    default_value: Any = 0,
    validate_indices: bool = True,
    name: str | None = None,
) -> Tensor:
    """A tensor of ``output_shape`` that is ``sparse_values`` at ``sparse_indices`` and ``default_value`` elsewhere.

    Indices are [n, rank], or [n] of a vector, or one number; values are [n], or one for all. With ``validate_indices``
    indices that are not in row-major order, or come twice, are an error of the run.
    """
    with name_scope(name or "SparseToDense") as scope:
        at, values = convert(sparse_indices), convert(sparse_values)
        if at.spec.rank is None or values.spec.rank is None:
            raise GraphError(f"sparse_to_dense needs indices and values of known rank{at_user_line()}")
        at = at if at.spec.rank == 2 else reshape(at, [-1, 1])
        if values.spec.rank == 0:
            values = values + zeros_like(at[:, 0], dtype=values.dtype)
        rest = convert(bool(default_value) if is_bool(values.dtype) else default_value, values.dtype)
        dense: Tensor = placed(values, rest, at, convert(output_shape), ordered=validate_indices, name=scope)
        return dense


def sparse_tensor_to_dense(
    sp_input: Any, default_value: Any = None, validate_indices: bool = True, name: str | None = None
) -> Tensor:
    """The dense tensor, ``default_value`` (0) where nothing is; `sparse_to_dense` says the rest."""
    sp = as_sparse(sp_input, "sp_input")
    return sparse_to_dense(
        sp.indices, sp.dense_shape, sp.values, 0 if default_value is None else default_value, validate_indices,
        name or "SparseToDense",
    )  # fmt: skip


def row_major(indices: Array) -> Array:
    """The order in which indices [n, rank] are row-major, those of one place as they stand: int64 [n]."""
    return np.lexsort(indices.T[::-1]) if indices.shape[-1] else np.arange(len(indices))


@op
def row_major_order(indices):
    """`row_major` in the graph."""
    return row_major(indices)


@row_major_order.shape
def _(indices: Spec) -> Spec:
    return Spec(int64, None if indices.shape is None else indices.shape[:1])


def sparse_reorder(sp_input: Any, name: str | None = None) -> SparseTensor:
    """The same sparse tensor with its indices in row-major order."""
    sp = as_sparse(sp_input, "sp_input")
    with name_scope(name or "SparseReorder"):
        order = row_major_order(sp.indices)
        return SparseTensor(gather(sp.indices, order), gather(sp.values, order), sp.dense_shape)


def sparse_retain(sp_input: Any, to_retain: Any) -> SparseTensor:
    """The elements of a sparse tensor for which ``to_retain`` [n] is True."""
    sp = as_sparse(sp_input, "sp_input")
    with name_scope("SparseRetain"):
        kept = convert(to_retain)
        return SparseTensor(boolean_mask(sp.indices, kept), boolean_mask(sp.values, kept), sp.dense_shape)


def from_dense(tensor: Any, name: str | None = None) -> SparseTensor:
    """The elements of a tensor that are not zero, in row-major order."""
    with name_scope(name or "dense_to_sparse"):
        t = convert(tensor)
        at = where(not_equal(t, zeros_like(t)))
        return SparseTensor(at, gather_nd(t, at), array.cast(known_shape(t), int64))
