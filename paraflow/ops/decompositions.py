"""Decompositions of matrices in the last two axes: QR, eigenvalues of self-adjoint matrices, singular values.

Bodies are LAPACK's by numpy; float16 is computed in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import int32, is_complex, limits, real_dtype
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Spec
from paraflow.ops.array import cast, size_along, zeros_like
from paraflow.ops.complexes import dual
from paraflow.ops.joining import concat
from paraflow.ops.linalg import adjoint_of, eye, matmul, matrix_band_part, matrix_diag, matrix_transpose
from paraflow.ops.logic import greater
from paraflow.ops.math import maximum, reciprocal
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.reduce import reduce_max, reduce_sum
from paraflow.ops.solving import by_lapack, matrix_triangular_solve, need_matrices, need_square, square_dims


def _given(y: Any, dy: Any) -> list[Tensor]:
    return [zeros_like(output) if d is None else d for output, d in zip(y, dy, strict=True)]


class Qr(NamedTuple):
    """The factors of a matrix."""

    q: Tensor
    r: Tensor


@op(dtypes="float or complex", holomorphic=False)
def qr_factors(input, full_matrices=False):
    """Q with orthonormal columns and upper triangular R, whose product is the matrix."""
    return tuple(by_lapack(lambda a: tuple(np.linalg.qr(a, "complete" if full_matrices else "reduced")), input))


@qr_factors.shape
def _(input: Spec, full_matrices: bool) -> tuple[Spec, Spec]:
    need_matrices(input)
    if input.shape is None:
        return Spec(input.dtype, None), Spec(input.dtype, None)
    *batch, m, n = input.shape
    k = m if full_matrices else None if m is None or n is None else min(m, n)
    return Spec(input.dtype, (*batch, m, k)), Spec(input.dtype, (*batch, k, n))


@qr_factors.gradient
def _(y: tuple[Tensor, Tensor], dy: tuple[Tensor | None, Tensor | None]) -> Tensor:
    q, r = y
    rows, columns = (size_along(q.op.inputs[0], i) for i in (-2, -1))
    known = isinstance(rows, int) and isinstance(columns, int)
    if known and rows > columns and q.op.attrs["full_matrices"]:
        raise GraphError(f"the gradient of {q.op.where()} is not defined with full_matrices")
    dq, dr = _given(y, dy)
    if not (known and rows < columns):
        return _of_columns(q, r, dq, dr)
    # The first columns make Q, and the others are Q times those of R.
    rest, of_rest = q.op.inputs[0][..., rows:], dr[..., rows:]
    dq = dq + matmul(rest, dual(of_rest), transpose_b=True)
    return concat([_of_columns(q, r[..., :rows], dq, dr[..., :rows]), matmul(q, of_rest)], -1)


def _of_columns(q: Tensor, r: Tensor, dq: Tensor, dr: Tensor) -> Tensor:
    """The cotangent of Q R with at least as many rows as columns."""
    inner = matmul(dual(q), dq, transpose_a=True)
    of_r = matmul(r, dual(dr), transpose_b=True)
    skew = (inner - adjoint_of(inner)) + (of_r - adjoint_of(of_r))
    lower = matrix_band_part(skew, -1, 0)
    if is_complex(q.dtype):
        # R has a real diagonal, so of the imaginary numbers on the diagonal half are to go.
        lower = lower - 0.5 * matrix_band_part(skew, 0, 0)
    return matmul(q, dr + _over(lower, r)) + _over(dq - matmul(q, inner), r)


def _over(x: Tensor, r: Tensor) -> Tensor:
    """x R^-H for upper triangular R."""
    return adjoint_of(matrix_triangular_solve(r, adjoint_of(x), lower=False))


def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> Qr:
    """Q [..., m, k] with orthonormal columns and upper triangular R [..., k, n]: their product is the matrix [m, n].

    k is min(m, n), or m with ``full_matrices``. The signs are LAPACK's.
    """
    return Qr(*qr_factors(input, full_matrices, name=name or "qr"))


@op(dtypes="float or complex", holomorphic=False)
def eigen(input, compute_v=True):
    """Eigenvalues in rising order and orthonormal eigenvectors (columns) of self-adjoint matrices, or values alone.

    Only the lower triangle is read, and has a gradient.
    """
    if not compute_v:
        return by_lapack(np.linalg.eigvalsh, input)
    return tuple(by_lapack(lambda a: tuple(np.linalg.eigh(a)), input))


@eigen.shape
def _(input: Spec, compute_v: bool) -> tuple[Spec, ...]:
    need_square(input)
    dims = square_dims(input.shape)
    values = Spec(real_dtype(input.dtype), None if dims is None else dims[:-1])
    return (values, Spec(input.dtype, dims)) if compute_v else (values,)


@eigen.gradient
def _(y: Any, dy: Any) -> Tensor:
    if isinstance(y, Tensor):
        e, v = eigen(y.op.inputs[0])
        middle = matrix_diag(cast(dy, v.dtype))
    else:
        e, v = y
        de, dv = _given(y, dy)
        # The difference of two equal eigenvalues divides by 0; on the diagonal it is left out.
        unit = eye(size_along(e, -1), dtype=e.dtype)
        apart = reciprocal(expand_dims(e, -2) - expand_dims(e, -1) + unit) - unit
        middle = matrix_diag(cast(de, v.dtype)) + cast(apart, v.dtype) * matmul(dual(v), dv, transpose_a=True)
    dx = matmul(v, matmul(middle, dual(v), transpose_b=True))
    both = dx + adjoint_of(dx)
    return matrix_band_part(both, -1, 0) - 0.5 * matrix_band_part(both, 0, 0)


def self_adjoint_eig(tensor: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """Eigenvalues [..., n] in rising order and orthonormal eigenvectors [..., n, n] of self-adjoint matrices.

    Both have the dtype of the matrices. Eigenvectors are columns. Only the lower triangle is read. Eigenvectors have a
    gradient where eigenvalues differ.
    """
    e, v = eigen(tensor, name=name or "self_adjoint_eig")
    return cast(e, v.dtype), v


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """The eigenvalues [..., n] of self-adjoint matrices in rising order, in the dtype of the matrices."""
    x = convert(tensor)
    values: Tensor = eigen(x, compute_v=False, name=name or "self_adjoint_eigvals")
    return cast(values, x.dtype)


@op(dtypes="float or complex", holomorphic=False)
def singular(tensor, full_matrices=False, compute_uv=True):
    """Singular values in falling order and the matrices U and V with A = U diag(s) V^H, or the values alone."""
    if not compute_uv:
        return by_lapack(lambda a: np.linalg.svd(a, compute_uv=False), tensor)

    def factors(a: Any) -> tuple[Any, ...]:
        u, s, vh = np.linalg.svd(a, full_matrices)
        return s, u, np.conjugate(np.swapaxes(vh, -1, -2))

    return by_lapack(factors, tensor)


@singular.shape
def _(tensor: Spec, full_matrices: bool, compute_uv: bool) -> tuple[Spec, ...]:
    need_matrices(tensor)
    part = real_dtype(tensor.dtype)
    if tensor.shape is None:
        specs: tuple[Spec, ...] = (Spec(part, None), Spec(tensor.dtype, None), Spec(tensor.dtype, None))
    else:
        *batch, m, n = tensor.shape
        k = None if m is None or n is None else min(m, n)
        p, q = (m, n) if full_matrices else (k, k)
        specs = (Spec(part, (*batch, k)), Spec(tensor.dtype, (*batch, m, p)), Spec(tensor.dtype, (*batch, n, q)))
    return specs if compute_uv else specs[:1]


@singular.gradient
def _(y: Any, dy: Any) -> Tensor:
    if isinstance(y, Tensor):
        s, u, v = singular(y.op.inputs[0])
        return matmul(u, matmul(matrix_diag(cast(dy, u.dtype)), dual(v), transpose_b=True))
    s, u, v = y
    if s.op.attrs["full_matrices"] and not (u.spec.static and u.spec.shape == v.spec.shape):
        raise GraphError(f"the gradient of {s.op.where()} is defined without full_matrices, or for square matrices")
    if is_complex(u.dtype):
        raise GraphError(f"{s.op.where()}: of complex matrices only singular values, without u and v, have a gradient")
    ds, du, dv = _given(y, dy)
    # Townsend, "Differentiating the singular value decomposition" (2016).
    unit = eye(size_along(s, -1), dtype=s.dtype)
    squares = s * s
    apart = reciprocal(expand_dims(squares, -2) - expand_dims(squares, -1) + unit) - unit
    of_u, of_v = matmul(u, du, transpose_a=True), matmul(v, dv, transpose_a=True)
    columns = expand_dims(s, -2)
    inner = (apart * (of_u - matrix_transpose(of_u))) * columns + matrix_diag(ds)
    inner = inner + expand_dims(s, -1) * (apart * (of_v - matrix_transpose(of_v)))
    dx = matmul(u, matmul(inner, v, transpose_b=True))
    outside_u = (du - matmul(u, of_u)) / columns
    outside_v = (dv - matmul(v, of_v)) / columns
    return dx + matmul(outside_u, v, transpose_b=True) + matmul(u, outside_v, transpose_b=True)


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """(s, u, v) with matrix = u diag(s) v^H: s [..., k] in falling order, u [..., m, k], v [..., n, k], k = min(m, n).

    With ``full_matrices`` u and v are square; without ``compute_uv`` s alone is returned. The gradient is defined where
    singular values differ and none is 0.
    """
    return singular(tensor, full_matrices, compute_uv, name=name or "svd")


@op(dtypes="float or complex", holomorphic=False)
def pseudo_inverse(a, rcond=None):
    """The pseudo-inverses of matrices; singular values up to ``rcond`` times the largest count as 0."""
    limit = 10 * max(a.shape[-2:]) * limits(a.dtype).eps if rcond is None else rcond
    return by_lapack(lambda x: np.linalg.pinv(x, limit), a)


@pseudo_inverse.shape
def _(a: Spec, rcond: float | None) -> Spec:
    need_matrices(a)
    return Spec(a.dtype, None if a.shape is None else (*a.shape[:-2], a.shape[-1], a.shape[-2]))


@pseudo_inverse.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    # Golub & Pereyra, "The differentiation of pseudo-inverses" (1973), for matrices of constant rank.
    x = y.op.inputs[0]
    g = adjoint_of(dy)  # the cotangent in the shape of x
    yt = adjoint_of(y)
    dx = -matmul(yt, matmul(dy, yt))
    rest_rows = g - matmul(x, matmul(y, g))  # (I - x y) g
    dx = dx + matmul(rest_rows, matmul(y, yt))
    rest_columns = g - matmul(matmul(g, y), x)  # g (I - y x)
    return dx + matmul(matmul(yt, y), rest_columns)


def pinv(a: Any, rcond: float | None = None, validate_args: bool = False, name: str | None = None) -> Tensor:
    """The pseudo-inverses [..., n, m] of matrices [..., m, n] (Moore and Penrose).

    Singular values up to ``rcond`` (10 max(m, n) eps) times the largest count as 0. Shapes are always checked.
    """
    inverse: Tensor = pseudo_inverse(a, rcond, name=name or "pinv")
    return inverse


def matrix_rank(a: Any, tol: Any = None, validate_args: bool = False, name: str | None = None) -> Tensor:
    """How many singular values of each matrix are above ``tol`` (eps max(m, n) times the largest), int32.

    Shapes are always checked.
    """
    x = convert(a)
    with name_scope(name or "matrix_rank") as scope:
        values = svd(x, compute_uv=False)
        if tol is None:
            largest = cast(maximum(size_along(x, -2), size_along(x, -1)), values.dtype)
            tol = float(limits(values.dtype).eps) * largest * reduce_max(values, -1, True)
        count: Tensor = reduce_sum(cast(greater(values, tol), int32), -1, name=scope)
        return count
