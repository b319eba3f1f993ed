"""Matrices: products, diagonals, bands, norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, ShapeError
from paraflow.graph.dtypes import DType, float32, widened
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, as_dims, broadcast, compatible, format_dims, num_elements
from paraflow.ops.array import broadcast_to, known_shape, reshape, shape_tensor, size_along, unbroadcast, zeros_like
from paraflow.ops.complexes import dual
from paraflow.ops.joining import concat
from paraflow.ops.reduce import reduce_prod, reduce_sum


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


def adjoint_of(x: Tensor) -> Tensor:
    """The conjugate transposes."""
    turned: Tensor = matrix_transpose(dual(x))
    return turned


@op(view=True)
def matrix_diag_part(input, name=None, k=0, padding_value=0):
    """The diagonal of each matrix that lies ``k`` above the main one (below for k < 0): [..., m, n] to [..., length].

    ``padding_value`` is for several diagonals of different length, which there are none of here.
    """
    return np.diagonal(input, k, -2, -1)


def _length(sizes: Sequence[int | None], k: Any) -> int | None:
    """How many elements diagonal ``k`` has; raises GraphError unless it is one diagonal of the matrix."""
    if not isinstance(k, int):
        raise GraphError(f"k is the number of one diagonal, not {k!r}")
    rows, columns = sizes
    if rows is None or columns is None:
        return None
    if k and not -rows < k < columns:
        raise GraphError(f"a matrix of {rows} x {columns} has no diagonal {k}")
    return min(rows + min(k, 0), columns - max(k, 0))


@matrix_diag_part.shape
def _(input: Spec, k: Any, padding_value: Any) -> Spec:
    if input.shape is None:
        return Spec(input.dtype, None)
    if len(input.shape) < 2:
        raise GraphError("needs at least two dimensions")
    return Spec(input.dtype, (*input.shape[:-2], _length(input.shape[-2:], k)))


@matrix_diag_part.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x = y.op.inputs[0]
    matrix: Tensor = diagonal_matrix(dy, size_along(x, -2), size_along(x, -1), y.op.attrs["k"])
    return matrix


@op(same=(0,))
def diagonal_matrix(diagonal, num_rows, num_columns, k=0, padding_value=0):
    """Matrices [..., num_rows, num_columns] with ``diagonal`` on diagonal k and ``padding_value`` elsewhere."""
    result = np.full((*diagonal.shape[:-1], int(num_rows), int(num_columns)), padding_value, diagonal.dtype)
    places = np.arange(diagonal.shape[-1])
    result[..., places - min(k, 0), places + max(k, 0)] = diagonal
    return result


@diagonal_matrix.shape
def _(diagonal: Spec, num_rows: Spec, num_columns: Spec, k: Any, padding_value: Any) -> Spec:
    if diagonal.shape is None:
        return Spec(diagonal.dtype, None)
    if not diagonal.shape:
        raise GraphError("the diagonal needs at least one dimension")
    sizes = [None if n.value is None else int(n.value) for n in (num_rows, num_columns)]
    length = _length(sizes, k)
    if not compatible((length,), diagonal.shape[-1:]):
        raise GraphError(f"{diagonal.shape[-1]} elements are no diagonal {k} of a matrix of {sizes[0]} x {sizes[1]}")
    return Spec(diagonal.dtype, (*diagonal.shape[:-1], *sizes))


@diagonal_matrix.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return matrix_diag_part(dy, k=y.op.attrs["k"]), None, None


def matrix_diag(
    diagonal: Any,
    name: str = "MatrixDiag",
    k: int = 0,
    num_rows: Any = -1,
    num_cols: Any = -1,
    padding_value: Any = 0,
) -> Tensor:
    """Matrices with ``diagonal`` [..., n] on the diagonal ``k`` (above the main one for k > 0), padded elsewhere.

    They are square and no larger than need be, unless ``num_rows`` or ``num_cols`` says otherwise.
    """
    d = convert(diagonal)
    if not isinstance(k, int):
        raise GraphError(f"matrix_diag: k is the number of one diagonal, not {k!r}{at_user_line()}")
    n = size_along(d, -1) if d.spec.shape != () else 0
    least = n + max(-k, 0), n + max(k, 0)
    given = [None if isinstance(size, int) and size == -1 else size for size in (num_rows, num_cols)]
    if given == [None, None]:
        least = (n + abs(k),) * 2 if k else (n, n)
    rows, columns = (low if size is None else size for low, size in zip(least, given, strict=True))
    matrix: Tensor = diagonal_matrix(d, rows, columns, k, padding_value, name=name)
    return matrix


@op
def matrix_set_diag(input, diagonal, name=None, k=0):
    """The matrices with ``diagonal`` in the place of their diagonal ``k``."""
    result = np.array(input)
    places = np.arange(diagonal.shape[-1])
    result[..., places - min(k, 0), places + max(k, 0)] = diagonal
    return result


@matrix_set_diag.shape
def _(input: Spec, diagonal: Spec, k: Any) -> Spec:
    if input.rank in (0, 1):
        raise GraphError("needs at least two dimensions")
    if input.shape is not None and diagonal.shape is not None:
        dims = (*input.shape[:-2], _length(input.shape[-2:], k))
        if not compatible(dims, diagonal.shape):
            raise GraphError(f"{format_dims(diagonal.shape)} are no diagonals {k} of {format_dims(input.shape)}")
    return Spec(input.dtype, input.shape)


@matrix_set_diag.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    diagonal, k = y.op.inputs[1], y.op.attrs["k"]
    return matrix_set_diag(dy, zeros_like(diagonal), k=k), matrix_diag_part(dy, k=k)


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
    q, r = np.linalg.qr(widened(a))
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
        raise ShapeError("needs at least two dimensions")
    return Spec(input.dtype, input.shape)


@matrix_band_part.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    band: Tensor = matrix_band_part(dy, y.op.attrs["num_lower"], y.op.attrs["num_upper"])
    return band


def trace(x: Any, name: str = "trace") -> Tensor:
    """The sums of the main diagonals of the last two axes."""
    total: Tensor = reduce_sum(matrix_diag_part(x), axis=-1, name=name)
    return total
