"""Matrices: products, diagonals, bands, norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import DType, float32
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, as_dims, broadcast, format_dims, num_elements
from paraflow.ops.array import broadcast_to, known_shape, reshape, shape_tensor, size_along, unbroadcast
from paraflow.ops.joining import concat
from paraflow.ops.math import multiply, sqrt
from paraflow.ops.rearrange import squeeze
from paraflow.ops.reduce import reduce_max, reduce_prod, reduce_sum


def swapped(x: Any, swap: bool) -> Any:
    """``x`` with its last two axes exchanged when ``swap`` (a view)."""
    return np.swapaxes(x, -1, -2) if swap else x


@op(dtypes="numeric")
def matmul(a, b, transpose_a=False, transpose_b=False):
    """The matrix product of the last two axes; leading axes are a batch and broadcast."""
    return np.matmul(swapped(a, transpose_a), swapped(b, transpose_b))


@matmul.shape
def _(a: Spec, b: Spec, transpose_a: bool, transpose_b: bool) -> Spec:
    if a.shape is None or b.shape is None:
        return Spec(a.dtype, None)
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise GraphError("both operands need at least two dimensions")
    rows, inner_a = a.shape[:-3:-1] if transpose_a else a.shape[-2:]
    inner_b, columns = b.shape[:-3:-1] if transpose_b else b.shape[-2:]
    if None not in (inner_a, inner_b) and inner_a != inner_b:
        raise GraphError(f"the inner sizes {inner_a} and {inner_b} differ")
    batch = broadcast(a.shape[:-2], b.shape[:-2]) or ()
    return Spec(a.dtype, (*batch, rows, columns))


@matmul.gradient
def _(c: Tensor, dc: Tensor) -> tuple[Tensor, Tensor]:
    a, b = c.op.inputs
    ta, tb = c.op.attrs["transpose_a"], c.op.attrs["transpose_b"]
    da = matmul(b, dc, tb, True) if ta else matmul(dc, b, False, not tb)
    db = matmul(dc, a, True, ta) if tb else matmul(a, dc, not ta, False)
    return _unbatch(da, a), _unbatch(db, b)


def _unbatch(gradient: Tensor, operand: Tensor) -> Tensor:
    """Sum over batch axes that broadcasting gave to ``operand``."""
    from_rank, to_rank = gradient.spec.rank, operand.spec.rank
    if from_rank == 2 and to_rank == 2:
        return gradient
    return unbroadcast(gradient, operand)


@op(view=True)
def matrix_transpose(a):
    """The last two axes exchanged."""
    return np.swapaxes(a, -1, -2)


@matrix_transpose.shape
def _(a: Spec) -> Spec:
    if a.shape is None:
        return Spec(a.dtype, None)
    if len(a.shape) < 2:
        raise GraphError("needs at least two dimensions")
    return Spec(a.dtype, (*a.shape[:-2], a.shape[-1], a.shape[-2]))


@matrix_transpose.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return matrix_transpose(dy)


@op(view=True)
def matrix_diag_part(input):
    """The main diagonals of the last two axes: [..., m, n] becomes [..., min(m, n)]."""
    return np.diagonal(input, axis1=-2, axis2=-1)


@matrix_diag_part.shape
def _(input: Spec) -> Spec:
    if input.shape is None:
        return Spec(input.dtype, None)
    if len(input.shape) < 2:
        raise GraphError("needs at least two dimensions")
    rows, columns = input.shape[-2:]
    return Spec(input.dtype, (*input.shape[:-2], None if rows is None or columns is None else min(rows, columns)))


@matrix_diag_part.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x = y.op.inputs[0]
    matrix: Tensor = diagonal_matrix(dy, size_along(x, -2), size_along(x, -1))
    return matrix


@op(same=(0,))
def diagonal_matrix(diagonal, num_rows, num_columns):
    """Matrices [..., num_rows, num_columns] of zeros, but ``diagonal`` on their main diagonals."""
    result = np.zeros((*diagonal.shape[:-1], int(num_rows), int(num_columns)), diagonal.dtype)
    places = np.arange(diagonal.shape[-1])
    result[..., places, places] = diagonal
    return result


@diagonal_matrix.shape
def _(diagonal: Spec, num_rows: Spec, num_columns: Spec) -> Spec:
    if diagonal.shape is None:
        return Spec(diagonal.dtype, None)
    if not diagonal.shape:
        raise GraphError("the diagonal needs at least one dimension")
    sizes = [None if n.value is None else int(n.value) for n in (num_rows, num_columns)]
    return Spec(diagonal.dtype, (*diagonal.shape[:-1], *sizes))


@diagonal_matrix.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return matrix_diag_part(dy), None, None


def matrix_diag(diagonal: Any, name: str = "MatrixDiag") -> Tensor:
    """Square matrices with ``diagonal`` [..., n] on their main diagonals: [..., n, n]."""
    d = convert(diagonal)
    n = size_along(d, -1) if d.spec.shape != () else 0
    matrix: Tensor = diagonal_matrix(d, n, n, name=name)
    return matrix


def diag(diagonal: Any, name: str = "Diag") -> Tensor:
    """A tensor of twice the rank with ``diagonal`` where both halves of the index are equal, zeros elsewhere."""
    d = convert(diagonal)
    matrix = matrix_diag(reshape(d, [-1]), name=name)
    if d.spec.rank == 1:
        return matrix
    sizes = known_shape(d)
    tensor: Tensor = reshape(matrix, concat([sizes, sizes], 0))
    return tensor


def diag_part(input: Any, name: str = "DiagPart") -> Tensor:
    """The elements of a tensor of even rank for which both halves of the index are equal; the inverse of `diag`."""
    x = convert(input)
    if not x.spec.rank or x.spec.rank % 2:
        raise GraphError(f"diag_part needs a tensor of known even rank, not {x.shape}{at_user_line()}")
    half = x.spec.rank // 2
    dims = x.spec.shape or ()
    if any(None not in (m, n) and m != n for m, n in zip(dims[:half], dims[half:], strict=True)):
        raise GraphError(f"diag_part: the halves of shape {x.shape} differ{at_user_line()}")
    if half == 1:
        part: Tensor = matrix_diag_part(x, name=name)
        return part
    sizes = known_shape(x)[:half]
    total = num_elements(dims[:half])
    rows = reduce_prod(sizes) if total is None else total
    elements: Tensor = reshape(matrix_diag_part(reshape(x, convert([rows, rows]))), sizes, name=name)
    return elements


@op(same=())
def identity_matrix(num_rows, num_columns, dtype=float32):
    """Ones on the main diagonal, zeros elsewhere."""
    return np.eye(int(num_rows), int(num_columns), dtype=dtype)


@identity_matrix.shape
def _(num_rows: Spec, num_columns: Spec, dtype: DType) -> Spec:
    return Spec(dtype, as_dims([None if n.value is None else int(n.value) for n in (num_rows, num_columns)]))


def eye(
    num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = float32, name: str = "eye"
) -> Tensor:
    """The identity matrix [num_rows, num_columns], square by default, repeated for every index of ``batch_shape``."""
    matrix: Tensor = identity_matrix(num_rows, num_rows if num_columns is None else num_columns, dtype, name=name)
    if batch_shape is None:
        return matrix
    batch: Tensor = broadcast_to(matrix, concat([shape_tensor(batch_shape), known_shape(matrix)], 0))
    return batch


@op(dtypes="float")
def orthonormal(a):
    """The Q of a = Q R, with R's diagonal positive: orthonormal columns that span those of ``a`` [n, m], m <= n."""
    wide = a.astype(np.float32) if a.dtype == np.float16 else a
    q, r = np.linalg.qr(wide)
    return (q * np.where(np.diagonal(r) < 0, -1, 1)).astype(a.dtype)


@orthonormal.shape
def _(a: Spec) -> Spec:
    if a.shape is not None and len(a.shape) != 2:
        raise GraphError(f"a matrix is needed, not {format_dims(a.shape)}")
    return Spec(a.dtype, a.shape)


@op
def matrix_band_part(input, num_lower=-1, num_upper=-1):
    """The band of each matrix: ``num_lower`` diagonals below the main one and ``num_upper`` above (-1: all) are kept.

    Elsewhere the result is zero: (-1, 0) gives the lower triangles, (0, -1) the upper, (0, 0) the diagonals.
    """
    rows, columns = input.shape[-2:]
    above = np.arange(columns) - np.arange(rows)[:, None]
    keep = np.ones((rows, columns), bool)
    if num_lower >= 0:
        keep &= above >= -num_lower
    if num_upper >= 0:
        keep &= above <= num_upper
    return np.where(keep, input, input.dtype.type(0))


@matrix_band_part.shape
def _(input: Spec, num_lower: int, num_upper: int) -> Spec:
    if input.rank is not None and input.rank < 2:
        raise GraphError("needs at least two dimensions")
    return Spec(input.dtype, input.shape)


@matrix_band_part.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    band: Tensor = matrix_band_part(dy, y.op.attrs["num_lower"], y.op.attrs["num_upper"])
    return band


def trace(x: Any, name: str = "trace") -> Tensor:
    """The sums of the main diagonals of the last two axes."""
    total: Tensor = reduce_sum(matrix_diag_part(x), axis=-1, name=name)
    return total


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool = False,
    name: str = "norm",
    keep_dims: bool = False,
) -> Tensor:
    """The norm of vectors (``axis`` an int, or None: of all elements as one vector) or matrices (two axes).

    ``ord``: "euclidean" (or 2, for vectors), 1, inf, any p > 0 for vectors; "euclidean", "fro", 1 or inf for matrices.
    The gradient of the Euclidean norm at 0 is NaN. ``keep_dims`` is the older name of ``keepdims``.
    """
    x, keepdims = convert(tensor), keepdims or keep_dims
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else None
    if axes is not None and len(axes) == 1:
        axis, axes = axes[0], None
    with x.graph.name_scope(name):
        if ord == "euclidean" or (ord == "fro" and axes) or (ord == 2 and not axes):
            return sqrt(reduce_sum(multiply(x, x), axes or axis, keepdims))
        if axes is not None:
            return _matrix_norm(abs(x), ord, axes, keepdims)
        if not isinstance(ord, (int, float)) or ord <= 0:
            raise GraphError(f"norm: a vector has no norm of order {ord!r}{at_user_line()}")
        if ord == np.inf:
            return reduce_max(abs(x), axis, keepdims)
        if ord == 1:
            return reduce_sum(abs(x), axis, keepdims)
        return reduce_sum(abs(x) ** ord, axis, keepdims) ** (1.0 / ord)


def _matrix_norm(magnitude: Tensor, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """The largest sum of a column (order 1) or of a row (inf)."""
    if len(axes) != 2 or ord not in (1, np.inf):
        raise GraphError(f"norm: no norm of order {ord!r} over axes {list(axes)}{at_user_line()}")
    summed, compared = axes if ord == 1 else axes[::-1]
    largest = reduce_max(reduce_sum(magnitude, summed, True), compared, True)
    return largest if keepdims else squeeze(largest, axes)
