"""Sums, extremes, products and softmax of sparse tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import bool_, float32, int64, is_bfloat16, is_complex, real_dtype
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, compatible, normal_axes
from paraflow.ops.array import cast, known_shape, reshape, size_along, vector_value, zeros_like
from paraflow.ops.complexes import conj
from paraflow.ops.gathering import boolean_mask, gather, scatter_add, scatter_nd
from paraflow.ops.joining import concat
from paraflow.ops.logic import greater_equal, logical_not, logical_or
from paraflow.ops.math import abs, add, maximum, minimum, multiply
from paraflow.ops.products import matmul, matrix_transpose
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.segments import from_segments, segment_fold
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
)
from paraflow.ops.sparse_arrays import count_of, covering_sizes, places_spec, rank_among, reshaped_places

# -- of two sparse tensors --------------------------------------------------------------------------------------------


@op
def union_places(a, b, a_shape, b_shape):
    """The indices [m, rank] that are in ``a`` or ``b``, in row-major order.

    Also returns where among them each of a and each of b is, and which of them [m] both have. Raises
    InvalidArgumentError for tensors of different shapes.
    """
    sizes = tuple(a_shape.tolist())
    if sizes != tuple(b_shape.tolist()):
        raise InvalidArgumentError(f"the sparse tensors have different shapes: {sizes} and {tuple(b_shape.tolist())}")
    for indices in (a, b):
        check_places(indices, sizes, False)
    numbers, at = np.unique(np.concatenate([numbers_of(a, sizes), numbers_of(b, sizes)]), return_inverse=True)
    a_at, b_at = at[: len(a)].copy(), at[len(a) :].copy()
    both = np.isin(np.arange(len(numbers)), a_at) & np.isin(np.arange(len(numbers)), b_at)
    return indices_of(numbers, sizes), a_at, b_at, both


@union_places.shape
def _(a: Spec, b: Spec, a_shape: Spec, b_shape: Spec) -> tuple[Spec, Spec, Spec, Spec]:
    known = [vector_value(s) for s in (a_shape, b_shape)]
    if not compatible(*known):
        raise GraphError(f"the sparse tensors have different shapes: {known[0]} and {known[1]}")
    a_at, b_at = (Spec(int64, (count_of(x),)) for x in (a, b))
    return places_spec(None, rank_among(a, b, a_shape, b_shape)), a_at, b_at, Spec(bool_, (None,))


def _side_by_side(a: SparseTensor, b: SparseTensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The indices that either of two sparse tensors has, the values of both there (0 for none), and what both have."""
    indices, a_at, b_at, both = union_places(a.indices, b.indices, a.dense_shape, b.dense_shape)
    count = size_along(indices, 0)
    return indices, segment_fold(a.values, a_at, count), segment_fold(b.values, b_at, count), both


def sparse_add(a: Any, b: Any, threshold: Any = None, thresh: Any = None) -> Any:
    """The sum of two sparse tensors of one shape, a sparse one, or of a sparse and a dense one, a dense one.

    Where both sparse tensors have an element, it is left out if the size of the sum is below ``threshold`` (``thresh``,
    an older name). Raises TypeError where neither is sparse.
    """
    if isinstance(b, (SparseTensor, SparseTensorValue)) and not isinstance(a, (SparseTensor, SparseTensorValue)):
        a, b = b, a
    first, least = as_sparse(a, "one of the operands of sparse_add"), thresh if threshold is None else threshold
    with name_scope("SparseAdd"):
        if not isinstance(b, (SparseTensor, SparseTensorValue)):
            dense = convert(b, first.dtype)
            sizes = covering_sizes(first.dense_shape, cast(known_shape(dense), int64), exact=True)
            placed = scatter_nd(first.indices, first.values, sizes)
            return add(placed, dense)
        indices, ours, theirs, both = _side_by_side(first, as_sparse(b, "b"))
        total = add(ours, theirs)
        if least is None:
            return SparseTensor(indices, total, first.dense_shape)
        large = greater_equal(abs(total), convert(least, real_dtype(total.dtype)))
        kept = logical_or(large, logical_not(both))
        return SparseTensor(boolean_mask(indices, kept), boolean_mask(total, kept), first.dense_shape)


def _elementwise(sp_a: Any, sp_b: Any, name: str, function: Any) -> SparseTensor:
    a, b = as_sparse(sp_a, "sp_a"), as_sparse(sp_b, "sp_b")
    with name_scope(name):
        indices, ours, theirs, _ = _side_by_side(a, b)
        return SparseTensor(indices, function(ours, theirs), a.dense_shape)


def sparse_maximum(sp_a: Any, sp_b: Any, name: str | None = None) -> SparseTensor:
    """The larger of the elements of two sparse tensors of one shape, 0 for what is missing in one of them."""
    return _elementwise(sp_a, sp_b, name or "SparseSparseMaximum", maximum)


def sparse_minimum(sp_a: Any, sp_b: Any, name: str | None = None) -> SparseTensor:
    """The smaller of the elements of two sparse tensors of one shape, 0 for what is missing in one of them."""
    return _elementwise(sp_a, sp_b, name or "SparseSparseMinimum", minimum)


# -- reductions -------------------------------------------------------------------------------------------------------


@op
def grouped_places(indices):
    """The different indices among [n, rank], in row-major order, and which of them each one is: [m, rank], [n]."""
    order = row_major(indices)
    ordered = indices[order]
    first = np.ones(len(order), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(1)
    which = np.empty(len(order), np.int64)
    which[order] = np.cumsum(first) - 1
    return ordered[first], which


@grouped_places.shape
def _(indices: Spec) -> tuple[Spec, Spec]:
    return places_spec(None, rank_among(indices)), Spec(int64, (count_of(indices),))


class _Reduction:
    """A reduction of a sparse tensor: the axes that go and that are left, and the indices along the latter."""

    def __init__(self, what: str, sp_input: Any, axis: Any, keepdims: Any, older_axis: Any, older_keep: Any) -> None:
        if axis is not None and older_axis is not None:
            raise GraphError(f"{what} takes one of axis and reduction_axes{at_user_line()}")
        self.sp = as_sparse(sp_input, "sp_input")
        self.rank = rank_of(self.sp, what)
        self.gone = named_errors(what, normal_axes, older_axis if axis is None else axis, self.rank)
        self.left = [i for i in range(self.rank) if i not in self.gone]
        self.keepdims = bool(keepdims or older_keep)
        self.places = gather(self.sp.indices, convert(np.array(self.left, np.int64)), axis=1)

    def sizes(self, keepdims: bool) -> Tensor:
        """The shape of the result, with or without the axes that go."""
        kept = [self.sp.dense_shape[i] if i in self.left else 1 for i in range(self.rank)]
        return convert(kept if keepdims else [kept[i] for i in self.left], int64)

    def dense(self, kind: str) -> Tensor:
        """The result as a dense tensor, 0 where nothing is."""
        numbers, count = reshaped_places(self.places, self.sizes(False), np.array([-1]))
        folded = segment_fold(self.sp.values, numbers[:, 0], count[0], kind, 0)
        whole: Tensor = reshape(folded, self.sizes(self.keepdims))
        return whole

    def sparse(self, kind: str) -> SparseTensor:
        """The result as a sparse tensor of the rows that have something."""
        places, which = grouped_places(self.places)
        values = segment_fold(self.sp.values, which, size_along(places, 0), kind)
        if self.keepdims:
            zeros = expand_dims(zeros_like(places[:, 0] if self.left else values, int64), 1)
            columns = [self.left.index(i) if i in self.left else len(self.left) for i in range(self.rank)]
            places = gather(concat([places, zeros], 1), columns, axis=1)
        return SparseTensor(places, values, self.sizes(self.keepdims))


def _reduction(kind: str, sparse: bool, text: str) -> Callable[..., Any]:
    name = f"sparse_reduce_{kind}{'_sparse' * sparse}"
    scope = "".join(word.title() for word in name.split("_"))

    def reduction(
        sp_input: Any,
        axis: Any = None,
        keepdims: bool | None = None,
        reduction_axes: Any = None,
        keep_dims: bool | None = None,
    ) -> Any:
        with name_scope(scope):
            found = _Reduction(name, sp_input, axis, keepdims, reduction_axes, keep_dims)
            return found.sparse(kind) if sparse else found.dense(kind)

    reduction.__name__ = reduction.__qualname__ = name
    reduction.__doc__ = text
    return reduction


sparse_reduce_sum = _reduction(
    "sum",
    False,
    """The sums of a sparse tensor over ``axis`` (all axes where it is None), as a dense tensor.

    ``reduction_axes`` and ``keep_dims`` are older names.
    """,
)
sparse_reduce_max = _reduction(
    "max",
    False,
    """The largest of the elements that are there, over ``axis`` (all axes where it is None), as a dense tensor.

    0 where there is none: zeros that a sparse tensor leaves out do not count. Equal largest ones share the gradient.
    """,
)
sparse_reduce_sum_sparse = _reduction(
    "sum", True, "`sparse_reduce_sum` as a sparse tensor, with an element for each row that has some."
)
sparse_reduce_max_sparse = _reduction(
    "max", True, "`sparse_reduce_max` as a sparse tensor, with an element for each row that has some."
)


@op(same=(0,), dtypes="float")
def segment_softmax(values, segment_ids):
    """The exponentials of the values [n] as shares of the sum of those that have one id; ids are numbers from 0 on."""
    count = int(segment_ids.max(initial=-1)) + 1
    highest = np.full(count, -np.inf, values.dtype)
    np.maximum.at(highest, segment_ids, values)
    shares = np.exp(values - highest[segment_ids])
    sums = np.zeros(count, values.dtype)
    np.add.at(sums, segment_ids, shares)
    return shares / sums[segment_ids]


@segment_softmax.shape
def _(values: Spec, segment_ids: Spec) -> Spec:
    if not compatible(values.shape, segment_ids.shape):
        raise GraphError("there is one id for each value")
    return Spec(values.dtype, values.shape)


@segment_softmax.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    ids = y.op.inputs[1]
    passed = multiply(dy, y)
    return passed - y * from_segments(segment_fold(passed, ids, size_along(y, 0)), ids), None


def sparse_softmax(sp_input: Any, name: str | None = None) -> SparseTensor:
    """The softmax of the elements that are there along the last axis; what a sparse tensor leaves out stays so."""
    sp = as_sparse(sp_input, "sp_input")
    if rank_of(sp, "sparse_softmax") < 2:
        raise GraphError(f"sparse_softmax needs two axes or more, not {sp.shape}{at_user_line()}")
    with name_scope(name or "SparseSoftmax"):
        _, rows = grouped_places(sp.indices[:, :-1])
        return sp.with_values(segment_softmax(sp.values, rows))


# -- products ---------------------------------------------------------------------------------------------------------


def sparse_tensor_dense_matmul(
    sp_a: Any, b: Any, adjoint_a: bool = False, adjoint_b: bool = False, name: str | None = None
) -> Tensor:
    """The product of a sparse matrix [n, k] and a dense one [k, m], or of their conjugate transposes.

    Indices may come in any order, and twice: such values add up. Gradients are to the values and to ``b``.
    """
    with name_scope(name or "SparseTensorDenseMatMul") as scope:
        a = as_sparse(sp_a, "sp_a")
        dense = convert(b, a.dtype)
        values = conj(a.values) if adjoint_a and is_complex(a.dtype) else a.values
        if adjoint_b:
            dense = matrix_transpose(conj(dense) if is_complex(a.dtype) else dense)
        row, column = (1, 0) if adjoint_a else (0, 1)
        products = expand_dims(values, 1) * gather(dense, a.indices[:, column])
        sizes = convert([a.dense_shape[row], cast(size_along(dense, 1), int64)])
        product: Tensor = scatter_add(products, a.indices[:, row], sizes, name=scope)
        return product


def sparse_matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product in float32 of two dense matrices of float32 or bfloat16, of which many elements may be 0.

    ``a_is_sparse`` and ``b_is_sparse`` say so, which makes no difference here.
    """
    with name_scope(name or "SparseMatMul"):
        x, y = convert(a, float32), convert(b, float32)
        if any(t.dtype != float32 and not is_bfloat16(t.dtype) for t in (x, y)):
            dtypes = f"{x.dtype} and {y.dtype}"
            raise InvalidTypeError(f"sparse_matmul takes float32 and bfloat16, not {dtypes}{at_user_line()}")
        return matmul(cast(x, float32), cast(y, float32), transpose_a, transpose_b)
