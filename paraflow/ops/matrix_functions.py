"""LU factors, square roots and logarithms of matrices, and tridiagonal systems, in plain numpy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import as_dtype, int32
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, compatible, format_dims, merge
from paraflow.ops.array import Array, size_along, zeros_like
from paraflow.ops.batches import gather
from paraflow.ops.complexes import conj, dual
from paraflow.ops.joining import concat, stack
from paraflow.ops.linalg import (
    adjoint_of,
    eye,
    matmul,
    matrix_band_part,
    matrix_diag_part,
    matrix_set_diag,
    matrix_transpose,
)
from paraflow.ops.ordering import argsort
from paraflow.ops.rearrange import expand_dims, squeeze
from paraflow.ops.reduce import reduce_sum
from paraflow.ops.solving import (
    by_lapack,
    matrix_triangular_solve,
    need_square,
    square_dims,
    upper_right,
    with_upper_right,
)

# -- LU ---------------------------------------------------------------------------------------------------------------


class Lu(NamedTuple):
    """The factors of a matrix in one, L below the diagonal and U from it on, and the order of its rows."""

    lu: Tensor
    p: Tensor


def _eliminated(a: Array) -> tuple[Array, Array]:
    """Gaussian elimination with the largest element of a column as its pivot (Golub & Van Loan, section 3.4)."""
    lu, order = np.array(a), np.arange(len(a))
    for k in range(len(a)):
        pivot = k + int(np.argmax(np.abs(lu[k:, k])))
        if lu[pivot, k] == 0:
            raise InvalidArgumentError("a singular matrix has no LU factors")
        lu[[k, pivot]], order[[k, pivot]] = lu[[pivot, k]], order[[pivot, k]]
        lu[k + 1 :, k] /= lu[k, k]
        lu[k + 1 :, k + 1 :] -= np.outer(lu[k + 1 :, k], lu[k, k + 1 :])
    return lu, order


@op(dtypes="float or complex", holomorphic=False)
def lu_factors(input, output_idx_type="int32"):
    """(L and U in one matrix, p): L U are the rows p of the square matrix, and L has ones on its diagonal."""
    lu, order = np.array(input), np.zeros(input.shape[:-1], output_idx_type)
    for index in np.ndindex(input.shape[:-2]):
        lu[index], order[index] = _eliminated(input[index])
    return lu, order


@lu_factors.shape
def _(input: Spec, output_idx_type: Any) -> tuple[Spec, Spec]:
    need_square(input)
    dims = square_dims(input.shape)
    return Spec(input.dtype, dims), Spec(as_dtype(output_idx_type), None if dims is None else dims[:-1])


def _lower(lu: Tensor) -> Tensor:
    ones = matrix_diag_part(lu) * 0 + 1
    lower: Tensor = matrix_set_diag(matrix_band_part(lu, -1, 0), ones)
    return lower


@lu_factors.gradient
def _(y: tuple[Tensor, Tensor], dy: tuple[Tensor | None, Tensor | None]) -> Tensor | None:
    lu, order = y
    if dy[0] is None:
        return None
    lower, upper = _lower(lu), matrix_band_part(lu, 0, -1)
    of_lower = matmul(dual(lower), matrix_band_part(dy[0], -1, 0) - matrix_band_part(dy[0], 0, 0), transpose_a=True)
    of_upper = matmul(matrix_band_part(dy[0], 0, -1), dual(upper), transpose_b=True)
    middle = matrix_band_part(of_lower, -1, 0) - matrix_band_part(of_lower, 0, 0) + matrix_band_part(of_upper, 0, -1)
    left = matrix_triangular_solve(lower, middle, adjoint=True)
    permuted = adjoint_of(matrix_triangular_solve(upper, adjoint_of(left), lower=False))
    return _rows(permuted, argsort(order))


def _rows(x: Tensor, order: Tensor) -> Tensor:
    """The rows of matrices, each in an order of its own."""
    if order.spec.rank is None:
        raise GraphError(f"the order of rows needs a known rank{at_user_line()}")
    return gather(x, order, batch_dims=order.spec.rank - 1)


def lu(input: Any, output_idx_type: Any = int32, name: str | None = None) -> Lu:
    """``lu``, L and U of square matrices in one, and ``p``, the order of rows: L U = A[p]; L has ones on its diagonal.

    Pivots are the largest elements of the columns. Raises InvalidArgumentError for a singular matrix.
    """
    return Lu(*lu_factors(input, as_dtype(output_idx_type).name, name=name or "Lu"))


def lu_solve(
    lower_upper: Any, perm: Any, rhs: Any, validate_args: bool = False, name: str | None = None
) -> Tensor:
    """The solutions x of A x = rhs [..., n, k], given what `lu` makes of A. Shapes are always checked."""
    with name_scope(name or "lu_solve") as scope:
        factors = convert(lower_upper)
        half = matrix_triangular_solve(_lower(factors), _rows(convert(rhs, factors.dtype), convert(perm)))
        solution: Tensor = matrix_triangular_solve(factors, half, lower=False, name=scope)
        return solution


def lu_matrix_inverse(lower_upper: Any, perm: Any, validate_args: bool = False, name: str | None = None) -> Tensor:
    """The inverses of the matrices of which `lu` made this."""
    factors = convert(lower_upper)
    batch = None if factors.spec.rank == 2 else factors.shape[:-2]
    unit = eye(size_along(factors, -1), batch_shape=batch, dtype=factors.dtype)
    return lu_solve(factors, perm, unit, name=name or "lu_matrix_inverse")


def lu_reconstruct(lower_upper: Any, perm: Any, validate_args: bool = False, name: str | None = None) -> Tensor:
    """The matrices of which `lu` made this."""
    with name_scope(name or "lu_reconstruct"):
        factors = convert(lower_upper)
        return _rows(matmul(_lower(factors), matrix_band_part(factors, 0, -1)), argsort(convert(perm)))


# -- functions of matrices --------------------------------------------------------------------------------------------

STEPS = 50


def _square_root(a: Array) -> Array:
    """By the product form of the iteration of Denman & Beavers (Higham, "Functions of matrices", 2008, 6.3)."""
    unit = np.eye(a.shape[-1], dtype=a.dtype)
    enough = 4 * a.shape[-1] * np.finfo(a.dtype).eps
    root, product = np.array(a), np.array(a)
    for _ in range(STEPS):
        inverse = np.linalg.inv(product)
        root = root @ (unit + inverse) / 2
        product = (unit + (product + inverse) / 2) / 2
        if not np.all(np.isfinite(product)) or np.max(np.abs(product - unit), initial=0) < enough:
            break
    again = root - (root @ root - a) @ np.linalg.inv(root) / 2  # one step of Newton for what rounding has left
    if not np.allclose(again @ again, a, 1e-3, 1e-3 * np.max(np.abs(a), initial=0)):
        raise InvalidArgumentError("the matrix has no square root in its dtype: an eigenvalue is 0 or negative")
    return again


def _logarithm(a: Array) -> Array:
    """Square roots until the matrix is near 1, then the integral of X (1 + t X)^-1 over [0, 1] (Higham 2008, 11.5)."""
    unit, times = np.eye(a.shape[-1], dtype=a.dtype), 0
    while np.max(np.sum(np.abs(a - unit), -2), initial=0) > 0.25:
        if times > STEPS:
            raise InvalidArgumentError("the matrix has no logarithm: an eigenvalue is 0")
        a, times = _square_root(a), times + 1
    rest = a - unit
    nodes, weights = np.polynomial.legendre.leggauss(8)
    total = np.zeros_like(a)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total += weight * np.linalg.solve(unit + node * rest, rest)
    return total * 2.0**times


@op(dtypes="float or complex")
def sqrtm(input):
    """The square roots of square matrices without eigenvalues on the negative real axis, with real parts above 0.

    Raises InvalidArgumentError where there is none in the dtype.
    """
    return by_lapack(_square_root, input).astype(input.dtype, copy=False) if input.size else np.array(input)


@op(dtypes="complex")
def logm(input):
    """The principal logarithms of square matrices of complex numbers."""
    return by_lapack(_logarithm, input).astype(input.dtype, copy=False) if input.size else np.array(input)


def _same(input: Spec) -> Spec:
    need_square(input)
    return Spec(input.dtype, square_dims(input.shape))


def _of_blocks(y: Tensor, dy: Tensor) -> Tensor:
    # f([[A^T, dY], [0, A^T]]) has the derivative of f at its upper right (Mathias 1996).
    return upper_right(y.op.record(with_upper_right(matrix_transpose(y.op.inputs[0]), dy)))


for _record in (sqrtm, logm):
    _record.shape(_same)
    _record.gradient(_of_blocks)


# -- tridiagonal systems ----------------------------------------------------------------------------------------------


@op(dtypes="float or complex")
def tridiagonal(diagonals, rhs):
    """The solutions [..., m, k] of systems with the diagonals [..., 3, m]: above, main (0) and below, rows aligned."""
    above, main, below = (np.array(diagonals[..., i, :]) for i in range(3))
    second, x = np.zeros_like(above), np.array(rhs)
    m = main.shape[-1]
    for i in range(m - 1):
        # The larger of two elements is the pivot; exchanging rows puts an element two above the diagonal.
        swap = np.abs(below[..., i + 1]) > np.abs(main[..., i])
        rows = [(main, i, below, i + 1), (above, i, main, i + 1), *([(second, i, above, i + 1)] if i + 2 < m else [])]
        for first, p, other, q in rows:
            first[..., p], other[..., q] = (
                np.where(swap, other[..., q], first[..., p]), np.where(swap, first[..., p], other[..., q]),
            )  # fmt: skip
        x[..., i, :], x[..., i + 1, :] = (
            np.where(swap[..., None], x[..., i + 1, :], x[..., i, :]),
            np.where(swap[..., None], x[..., i, :], x[..., i + 1, :]),
        )
        if not np.all(main[..., i]):
            raise InvalidArgumentError("a tridiagonal matrix is singular")
        factor = below[..., i + 1] / main[..., i]
        main[..., i + 1] -= factor * above[..., i]
        if i + 2 < m:
            above[..., i + 1] -= factor * second[..., i]
        x[..., i + 1, :] -= factor[..., None] * x[..., i, :]
    if m and not np.all(main[..., m - 1]):
        raise InvalidArgumentError("a tridiagonal matrix is singular")
    for i in reversed(range(m)):
        if i + 1 < m:
            x[..., i, :] -= above[..., i, None] * x[..., i + 1, :]
        if i + 2 < m:
            x[..., i, :] -= second[..., i, None] * x[..., i + 2, :]
        x[..., i, :] /= main[..., i, None]
    return x


@tridiagonal.shape
def _(diagonals: Spec, rhs: Spec) -> Spec:
    if (diagonals.rank or 2) < 2 or (diagonals.shape is not None and diagonals.shape[-2] not in (3, None)):
        raise GraphError(f"three diagonals are [..., 3, m], not {format_dims(diagonals.shape)}")
    if diagonals.shape is None or rhs.shape is None:
        return Spec(rhs.dtype, rhs.shape)
    dims = (*diagonals.shape[:-2], diagonals.shape[-1], rhs.shape[-1] if rhs.shape else None)
    if not compatible(dims, rhs.shape):
        raise GraphError(f"diagonals {format_dims(diagonals.shape)} do not fit right sides {format_dims(rhs.shape)}")
    return Spec(rhs.dtype, merge(dims, rhs.shape))


def _moved(x: Tensor, step: int, axis: int) -> Tensor:
    """Elements ``step`` further on along an axis counted from the back; zeros come in."""
    first = [slice(None)] * (-axis - 1)
    edge = zeros_like(x[(..., slice(0, 1), *first)])
    if step > 0:
        return concat([x[(..., slice(1, None), *first)], edge], axis)
    return concat([edge, x[(..., slice(0, -1), *first)]], axis)


@tridiagonal.gradient
def _(x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
    diagonals = x.op.inputs[0]
    above, main, below = (diagonals[..., i, :] for i in range(3))
    transposed = stack([_moved(below, 1, -1), main, _moved(above, -1, -1)], -2)
    db = tridiagonal(transposed, dx)
    beside = [_moved(x, 1, -2), x, _moved(x, -1, -2)]
    return stack([-reduce_sum(db * other, -1) for other in beside], -2), db


def tridiagonal_solve(
    diagonals: Any,
    rhs: Any,
    diagonals_format: str = "compact",
    transpose_rhs: bool = False,
    conjugate_rhs: bool = False,
    name: str | None = None,
    partial_pivoting: bool = True,
    perturb_singular: bool = False,
) -> Tensor:
    """The solutions of tridiagonal systems, by Gaussian elimination with pivots, for ``rhs`` [..., m] or [..., m, k].

    ``diagonals`` are in one tensor [..., 3, m] ("compact": above, main, below, of which the last and the first element
    count for nothing), in a "sequence" of these three, or in "matrix" form [..., m, m]. Raises InvalidArgumentError
    for a singular matrix; pivots are taken whether ``partial_pivoting`` asks for them or not.
    """
    if perturb_singular:
        raise GraphError(f"tridiagonal_solve: singular systems are not perturbed here{at_user_line()}")
    with name_scope(name or "tridiagonal_solve"):
        compact = _compact(diagonals, diagonals_format)
        b = convert(rhs, compact.dtype)
        vector = b.spec.rank is not None and compact.spec.rank is not None and b.spec.rank == compact.spec.rank - 1
        b = conj(b) if conjugate_rhs else b
        if vector:
            return squeeze(tridiagonal(compact, expand_dims(b, -1)), -1)
        solution: Tensor = tridiagonal(compact, matrix_transpose(b) if transpose_rhs else b)
        return solution


def _compact(diagonals: Any, form: str) -> Tensor:
    if form == "compact":
        return convert(diagonals)
    if form == "matrix":
        matrix = convert(diagonals)
        above, main, below = (matrix_diag_part(matrix, k=k) for k in (1, 0, -1))
    elif form == "sequence":
        above, main, below = (convert(d) for d in diagonals)
    else:
        raise GraphError(f"diagonals_format is compact, sequence or matrix, not {form!r}{at_user_line()}")
    edge = zeros_like(main[..., :1])
    short = main.spec.shape is not None and above.spec.shape is not None and main.spec.shape[-1] != above.spec.shape[-1]
    if short:
        above = concat([above, edge], -1)
    if main.spec.shape is not None and below.spec.shape is not None and main.spec.shape[-1] != below.spec.shape[-1]:
        below = concat([edge, below], -1)
    return stack([above, main, below], -2)
