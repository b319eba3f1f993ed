"""Systems of linear equations, inverses and determinants of matrices in the last two axes; other axes are a batch.

Bodies are LAPACK's by numpy; float16 is computed in float32. A matrix that has no inverse raises InvalidArgumentError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import is_complex, is_short, widened
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, merge
from paraflow.ops.array import Array, size_along
from paraflow.ops.complexes import dual, real
from paraflow.ops.linalg import adjoint_of, eye, matmul, matrix_band_part, matrix_diag_part, matrix_transpose
from paraflow.ops.math import log
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.reduce import reduce_sum

LEAF = 32  # triangular systems of this size are left to LAPACK's general solver


def by_lapack(function: Callable[..., Any], *arrays: Array) -> Any:
    """What numpy.linalg makes of the arrays, in their dtype; raises InvalidArgumentError for a singular matrix."""
    dtype = arrays[0].dtype
    wide = [widened(a) for a in arrays]
    try:
        result = function(*wide)
    except np.linalg.LinAlgError as error:
        raise InvalidArgumentError(f"{error}") from None
    if not is_short(dtype):
        return result
    return tuple(r.astype(dtype) for r in result) if isinstance(result, tuple) else result.astype(dtype)


def adjoint_array(a: Array) -> Array:
    """The conjugate transposes, a view of real matrices."""
    swapped = np.swapaxes(a, -1, -2)
    return np.conjugate(swapped) if is_complex(a.dtype) else swapped


def need_matrices(a: Spec) -> None:
    """Refuse a tensor of fewer than two dimensions; raises GraphError."""
    if a.rank is not None and a.rank < 2:
        raise GraphError(f"matrices need two dimensions, not shape {format_dims(a.shape)}")


def need_square(a: Spec) -> None:
    """Refuse what are no square matrices; raises GraphError."""
    need_matrices(a)
    if a.shape is not None and not compatible(a.shape[-1:], a.shape[-2:-1]):
        raise GraphError(f"square matrices are needed, not shape {format_dims(a.shape)}")


def square_dims(dims: Dims) -> Dims:
    """The shape of square matrices, where one of the last two sizes may not be known."""
    if dims is None:
        return None
    n = dims[-2] if dims[-1] is None else dims[-1]
    return (*dims[:-2], n, n)


@op(dtypes="float or complex", holomorphic=False)
def matrix_inverse(input, adjoint=False):
    """The inverses of square matrices, or of their adjoints."""
    return by_lapack(np.linalg.inv, adjoint_array(input) if adjoint else input)


@matrix_inverse.shape
def _(input: Spec, adjoint: bool) -> Spec:
    need_square(input)
    return Spec(input.dtype, square_dims(input.shape))


@matrix_inverse.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    conjugate = dual(y)
    dx = -matmul(conjugate, matmul(dy, conjugate, transpose_b=True), transpose_a=True)
    return adjoint_of(dx) if y.op.attrs["adjoint"] else dx


@op(dtypes="float or complex", holomorphic=False)
def matrix_solve(matrix, rhs, adjoint=False):
    """The solutions x of matrix x = rhs, for square matrices [..., n, n] (or their adjoints) and rhs [..., n, k]."""
    return by_lapack(np.linalg.solve, adjoint_array(matrix) if adjoint else matrix, rhs)


def _solution(matrix: Spec, rhs: Spec, **_: Any) -> Spec:
    need_square(matrix)
    need_matrices(rhs)
    if matrix.shape is None or rhs.shape is None:
        return Spec(matrix.dtype, rhs.shape)
    rows = square_dims(matrix.shape)
    dims = (*(rows or ())[:-1], rhs.shape[-1])
    if not compatible(dims, rhs.shape):
        raise GraphError(f"matrices {format_dims(matrix.shape)} do not fit right sides {format_dims(rhs.shape)}")
    return Spec(matrix.dtype, merge(dims, rhs.shape))


matrix_solve.shape(_solution)


def _outer(x: Tensor, db: Tensor, adjoint: bool) -> Tensor:
    """The cotangent of the matrix, given the solution and the cotangent of the right side."""
    product: Tensor = matmul(x, dual(db), transpose_b=True) if adjoint else matmul(db, dual(x), transpose_b=True)
    return -product


@matrix_solve.gradient
def _(x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
    adjoint = x.op.attrs["adjoint"]
    db = matrix_solve(x.op.inputs[0], dx, not adjoint)
    return _outer(x, db, adjoint), db


@op(dtypes="float or complex", holomorphic=False)
def matrix_triangular_solve(matrix, rhs, lower=True, adjoint=False):
    """`matrix_solve` for triangular matrices, of which the other triangle is not read."""
    triangle = np.tril(matrix) if lower else np.triu(matrix)
    if not np.all(np.diagonal(triangle, axis1=-2, axis2=-1)):
        raise InvalidArgumentError("a triangular matrix with a zero on its diagonal has no inverse")
    if adjoint:
        triangle, lower = adjoint_array(triangle), not lower
    if lower:  # turned about, so that the general solver has nothing to exchange
        triangle, rhs = triangle[..., ::-1, ::-1], rhs[..., ::-1, :]
    solution = by_lapack(_solve_upper, triangle, rhs)
    return np.ascontiguousarray(solution[..., ::-1, :]) if lower else solution


def _solve_upper(matrix: Array, rhs: Array) -> Array:
    """By halves: the lower one first, then the upper one without what the lower gives."""
    n = matrix.shape[-1]
    if n <= LEAF:
        return np.linalg.solve(matrix, rhs)
    h = n // 2
    low = _solve_upper(matrix[..., h:, h:], rhs[..., h:, :])
    high = _solve_upper(matrix[..., :h, :h], rhs[..., :h, :] - np.matmul(matrix[..., :h, h:], low))
    return np.concatenate([high, low], -2)


matrix_triangular_solve.shape(_solution)


@matrix_triangular_solve.gradient
def _(x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
    lower, adjoint = x.op.attrs["lower"], x.op.attrs["adjoint"]
    db = matrix_triangular_solve(x.op.inputs[0], dx, lower, not adjoint)
    return matrix_band_part(_outer(x, db, adjoint), *((-1, 0) if lower else (0, -1))), db


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Tensor:
    """The solutions x of A x = rhs, given the Cholesky factors ``chol`` of A."""
    with name_scope(name or "cholesky_solve") as scope:
        factor = convert(chol)
        half = matrix_triangular_solve(factor, rhs)
        solution: Tensor = matrix_triangular_solve(factor, half, adjoint=True, name=scope)
        return solution


def _one_each(input: Spec) -> Dims:
    need_square(input)
    return None if input.shape is None else input.shape[:-2]


@op(dtypes="float or complex")
def matrix_determinant(input):
    """The determinants of square matrices."""
    return np.asarray(by_lapack(lambda a: np.asarray(np.linalg.det(a)), input))


@matrix_determinant.shape
def _(input: Spec) -> Spec:
    return Spec(input.dtype, _one_each(input))


def _per_matrix(t: Tensor) -> Tensor:
    spread: Tensor = expand_dims(expand_dims(t, -1), -1)
    return spread


@matrix_determinant.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return _per_matrix(dy * y) * matrix_transpose(matrix_inverse(y.op.inputs[0]))


class LogMatrixDeterminant(NamedTuple):
    """The signs of determinants and the logarithms of their absolute values."""

    sign: Tensor
    log_abs_determinant: Tensor


@op(dtypes="float or complex", holomorphic=False)
def log_determinant(input):
    """The signs of the determinants of square matrices, and the logarithms of their absolute values."""
    sign, size = by_lapack(lambda a: tuple(map(np.asarray, np.linalg.slogdet(a))), input)
    return sign, size.astype(input.dtype, copy=False)


@log_determinant.shape
def _(input: Spec) -> tuple[Spec, Spec]:
    dims = _one_each(input)
    return Spec(input.dtype, dims), Spec(input.dtype, dims)


@log_determinant.gradient
def _(y: tuple[Tensor, Tensor], dy: tuple[Tensor | None, Tensor | None]) -> Tensor | None:
    return None if dy[1] is None else _per_matrix(dy[1]) * matrix_inverse(y[0].op.inputs[0], True)


def slogdet(input: Any, name: str | None = None) -> LogMatrixDeterminant:
    """The ``sign`` of each determinant and the ``log_abs_determinant``, without overflow. The sign has no gradient."""
    return LogMatrixDeterminant(*log_determinant(input, name=name or "LogMatrixDeterminant"))


@op(dtypes="float or complex", holomorphic=False)
def cholesky(input):
    """The lower triangular L with L L^H = A for positive definite A, of which the lower triangle is read.

    The gradient is symmetric, as if both triangles were read. Raises InvalidArgumentError for another matrix.
    """
    return by_lapack(np.linalg.cholesky, input)


@cholesky.shape
def _(input: Spec) -> Spec:
    need_square(input)
    return Spec(input.dtype, square_dims(input.shape))


@cholesky.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    # Murray, "Differentiation of the Cholesky decomposition" (2016).
    middle = matmul(dual(y), dy, transpose_a=True)
    middle = matrix_band_part(middle, -1, 0) - 0.5 * matrix_band_part(middle, 0, 0)
    right = matrix_triangular_solve(y, adjoint_of(middle), adjoint=True)  # L^-H middle^H
    dx = matrix_triangular_solve(y, adjoint_of(right), adjoint=True)
    return 0.5 * (dx + adjoint_of(dx))


def logdet(matrix: Any, name: str | None = None) -> Tensor:
    """The logarithms of the determinants of positive definite matrices."""
    with name_scope(name or "logdet"):
        diagonal = matrix_diag_part(cholesky(convert(matrix)))
        total: Tensor = 2 * reduce_sum(log(real(diagonal) if is_complex(diagonal.dtype) else diagonal), -1)
        return total


@op(dtypes="float or complex")
def pseudo_solve(matrix, rhs):
    """The solutions x of least length of all that make matrix x - rhs shortest."""
    return by_lapack(lambda a, b: np.matmul(np.linalg.pinv(a), b), matrix, rhs)


@pseudo_solve.shape
def _(matrix: Spec, rhs: Spec) -> Spec:
    need_matrices(matrix)
    need_matrices(rhs)
    if matrix.shape is None or rhs.shape is None:
        return Spec(matrix.dtype, None)
    if not compatible(matrix.shape[:-1], rhs.shape[:-1]):
        raise GraphError(f"matrices {format_dims(matrix.shape)} do not fit right sides {format_dims(rhs.shape)}")
    batch = merge(matrix.shape[:-2], rhs.shape[:-2]) or ()
    return Spec(matrix.dtype, (*batch, matrix.shape[-1], rhs.shape[-1]))


def matrix_solve_ls(
    matrix: Any, rhs: Any, l2_regularizer: float = 0.0, fast: bool = True, name: str | None = None
) -> Tensor:
    """The solutions x [..., n, k] of matrix [..., m, n] x = rhs [..., m, k] in the sense of least squares.

    ``fast`` solves the normal equations, with ``l2_regularizer`` times the square of x added to what is made small;
    otherwise x is the shortest of the solutions, by singular values, and has no gradient.
    """
    with name_scope(name or "matrix_solve_ls") as scope:
        a = convert(matrix)
        b = convert(rhs, a.dtype)
        if not fast:
            shortest: Tensor = pseudo_solve(a, b, name=scope)
            return shortest
        rows, columns = size_along(a, -2), size_along(a, -1)
        if not (isinstance(rows, int) and isinstance(columns, int)):
            raise GraphError(f"matrix_solve_ls needs matrices of known size, not {a.shape}{at_user_line()}")
        adjoint = adjoint_of(a)
        tall = rows >= columns
        gram = matmul(adjoint, a) if tall else matmul(a, adjoint)
        regular = gram + l2_regularizer * eye(min(rows, columns), dtype=a.dtype)
        if tall:
            return cholesky_solve(cholesky(regular), matmul(adjoint, b))
        solution: Tensor = matmul(adjoint, cholesky_solve(cholesky(regular), b))
        return solution


@op(dtypes="float or complex")
def expm(input):
    """The exponentials of square matrices, sum of A^n / n!, by scaling and squaring (Higham 2005)."""
    return by_lapack(_exponential, input)


# Numerator of the diagonal Pade approximant of order 13 of exp (Higham, "The scaling and squaring method", 2005).
PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
    670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip


def _exponential(a: Array) -> Array:
    n = a.shape[-1]
    if not a.size:
        return np.array(a)
    size = np.max(np.sum(np.abs(a), -2), -1)  # the 1-norm
    times = np.maximum(0, np.ceil(np.log2(np.maximum(size, 1e-30) / 4.0))).astype(int)
    scaled = a / np.exp2(times)[..., None, None].astype(a.real.dtype)
    square = scaled @ scaled
    power = np.broadcast_to(np.eye(n, dtype=a.dtype), a.shape)
    even, odd = (np.zeros_like(scaled) for _ in range(2))
    for k in range(0, 14, 2):
        even = even + PADE[k] * power
        odd = odd + PADE[k + 1] * power
        power = power @ square
    odd = scaled @ odd
    result = np.linalg.solve(even - odd, even + odd)
    for step in range(int(np.max(times))):
        again = (times > step)[..., None, None]
        result = np.where(again, result @ result, result)
    return result


@expm.shape
def _(input: Spec) -> Spec:
    need_square(input)
    return Spec(input.dtype, square_dims(input.shape))


@expm.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    # The exponential of [[A^T, dY], [0, A^T]] has the derivative at its upper right (Van Loan 1978).
    x = matrix_transpose(y.op.inputs[0])
    return upper_right(expm(with_upper_right(x, dy)))


@op
def with_upper_right(a, b):
    """[[a, b], [0, a]] for square matrices of one size."""
    return np.concatenate([np.concatenate([a, b], -1), np.concatenate([np.zeros_like(a), a], -1)], -2)


@with_upper_right.shape
def _(a: Spec, b: Spec) -> Spec:
    dims = merge(square_dims(a.shape), square_dims(b.shape))
    return Spec(a.dtype, dims and (*dims[:-2], *(n and 2 * n for n in dims[-2:])))


@with_upper_right.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    n = size_along(y.op.inputs[0], -1)
    return dy[..., :n, :n] + dy[..., n:, n:], dy[..., :n, n:]


def upper_right(x: Tensor) -> Tensor:
    """The upper right quarter of each matrix."""
    n = size_along(x, -1) // 2
    part: Tensor = x[..., :n, n:]
    return part
