"""Rows for paraflow.ops.solving and decompositions: the oracles are written out, element by element."""

import functools
import itertools
import math

import numpy as np

from paraflow.ops import decompositions, solving
from paraflow.ops.linalg import matmul, matrix_diag
from paraflow.ops.math import abs as magnitude

from .rows import Row, given, normal

FLOATS = ("float32", "float64")
EITHER = ("float32", "float64", "complex64")


def regular(*shape):
    """Matrices that are far from singular."""
    noise = normal(*shape)
    return lambda rng, dtype: noise(rng, dtype) + (4 * np.eye(*shape[-2:])).astype(dtype)


def of_each(function):
    """An oracle for one matrix (and more arrays) made one for a batch of them."""

    def apply(*arrays, **attrs):
        batch = arrays[0].shape[:-2]
        parts = {i: function(*(a[i] for a in arrays), **attrs) for i in np.ndindex(*batch)}
        first = next(iter(parts.values()))
        if not isinstance(first, tuple):
            return np.array(list(parts.values())).reshape((*batch, *np.shape(first)))
        stacked = [np.array(column) for column in zip(*parts.values(), strict=True)]
        return tuple(column.reshape(batch + column.shape[1:]) for column in stacked)

    return apply


def eliminated(a, b):
    """The solution by Gauss's elimination."""
    a, b = a.copy(), b.copy()
    n = len(a)
    for i in range(n):
        p = i + int(np.argmax(np.abs(a[i:, i])))
        a[[i, p]], b[[i, p]] = a[[p, i]], b[[p, i]]
        for j in range(n):
            if j != i:
                factor = a[j, i] / a[i, i]
                a[j] -= factor * a[i]
                b[j] -= factor * b[i]
    return b / np.diagonal(a)[:, None]


def inverse(a, adjoint=False):
    return eliminated(np.conj(a.T) if adjoint else a, np.eye(len(a), dtype=a.dtype))


def solution(a, b, adjoint=False):
    return eliminated(np.conj(a.T) if adjoint else a, b)


def triangular(a, b, lower=True, adjoint=False):
    return solution(np.tril(a) if lower else np.triu(a), b, adjoint)


def determinant(a):
    """Leibniz's sum over all permutations."""
    total = 0
    for order in itertools.permutations(range(len(a))):
        swaps = sum(x > y for x, y in itertools.combinations(order, 2))
        total = total + (-1) ** swaps * math.prod(a[i, j] for i, j in enumerate(order))
    return total


def signed(a):
    return np.sign(determinant(a)), np.log(np.abs(determinant(a)))


def positive(x):
    return matmul(x, x, transpose_b=True)


def definite(function):
    """``function`` of positive definite matrices, made of any."""

    @functools.wraps(function)
    def build(x, *others, **attrs):
        return function(positive(x), *others, **attrs)

    return build


def cholesky_rows(x):
    a = x @ x.T
    lower = np.zeros_like(a)
    for i in range(len(a)):
        for j in range(i + 1):
            rest = a[i, j] - lower[i, :j] @ lower[j, :j]
            lower[i, j] = np.sqrt(rest) if i == j else rest / lower[j, j]
    return lower


def cholesky_solved(x, b):
    return solving.cholesky_solve(solving.cholesky(positive(x)), b)


def series(a):
    term = total = np.eye(len(a))
    for n in range(1, 60):
        term = term @ a / n
        total = total + term
    return total


def orthonormal(x):
    """Gram and Schmidt's q and r, with the signs that LAPACK's reflections give: r's diagonal is negative."""
    q, r = np.zeros_like(x), np.zeros((x.shape[1],) * 2)
    for j in range(x.shape[1]):
        rest = x[:, j].copy()
        for i in range(j):
            r[i, j] = q[:, i] @ rest
            rest -= r[i, j] * q[:, i]
        r[j, j] = -np.sqrt(rest @ rest)
        q[:, j] = rest / r[j, j]
    return q, r


def qr_up_to_signs(x, **attrs):
    """|q|, |r| and their product: what does not depend on signs."""
    q, r = decompositions.qr(x, **attrs)
    return magnitude(q), magnitude(r), matmul(q, r)


def unsigned(x, full_matrices=False):
    q, r = orthonormal(x)
    return np.abs(q), np.abs(r), x


def turned(a, sweeps=60):
    """Jacobi's rotations: eigenvalues and eigenvectors of a symmetric matrix."""
    a, v = a.copy(), np.eye(len(a))
    for _ in range(sweeps):
        for p, q in itertools.combinations(range(len(a)), 2):
            angle = 0.5 * np.arctan2(2 * a[p, q], a[q, q] - a[p, p])
            g = np.eye(len(a))
            g[[p, p, q, q], [p, q, p, q]] = np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)
            a, v = g.T @ a @ g, v @ g
    order = np.argsort(np.diagonal(a))
    return np.diagonal(a)[order], v[:, order]


def symmetric(a):
    return np.tril(a) + np.tril(a, -1).T


def eigen_up_to_signs(x):
    e, v = decompositions.self_adjoint_eig(x)
    return e, magnitude(v), matmul(v * e[..., None, :], v, transpose_b=True)


def eigen_unsigned(x):
    e, v = turned(symmetric(x))
    return e, np.abs(v), symmetric(x)


def svd_up_to_signs(x, **attrs):
    s, u, v = decompositions.svd(x, **attrs)
    k = min(x.spec.shape[-2:]) if x.spec.static else None
    whole = matmul(matmul(u, matrix_diag(s)), v, transpose_b=True) if not attrs else x
    return s, magnitude(u[..., :k]), magnitude(v[..., :k]), whole


def svd_unsigned(x, full_matrices=False):
    e, u = turned(x @ x.T)
    e, u = e[::-1][: min(x.shape)], u[:, ::-1][:, : min(x.shape)]
    s = np.sqrt(e)
    return s, np.abs(u), np.abs(x.T @ u / s), x


def svd_unsigned_of_tall(x):
    s, v, u, _ = svd_unsigned(x.T)
    return s, u, v, x


def values_of(function, **attrs):
    def build(x):
        return function(x, **attrs)

    build.__name__ = function.__name__
    return build


SOLVING = [
    Row(solving.matrix_inverse, (regular(2, 3, 3),), of_each(inverse), tolerance=64, empty=None,
        dtypes=("float16", "bfloat16", *EITHER)),
    Row(solving.matrix_inverse, (regular(3, 3),), of_each(inverse), {"adjoint": True}, EITHER, tolerance=64,
        empty=None),
    Row(solving.matrix_solve, (regular(2, 3, 3), normal(2, 3, 2)), of_each(solution), dtypes=EITHER, tolerance=64,
        empty=None),
    Row(solving.matrix_solve, (regular(3, 3), normal(3, 2)), of_each(solution), {"adjoint": True}, EITHER, tolerance=64,
        empty=None),
    *(
        Row(solving.matrix_triangular_solve, (regular(2, 3, 3), normal(2, 3, 2)), of_each(triangular),
            {"lower": lower, "adjoint": adjoint}, EITHER, tolerance=64, empty=None)
        for lower in (True, False) for adjoint in (True, False)
    ),
    Row(solving.matrix_triangular_solve, (regular(70, 70), normal(70, 1)), of_each(triangular), {"lower": False},
        ("float64",), tolerance=1e4, differentiable=(), empty=None),
    Row(solving.matrix_determinant, (normal(2, 3, 3),), of_each(determinant), dtypes=EITHER, tolerance=64, empty=None),
    Row(solving.matrix_determinant, (normal(2, 2),), of_each(determinant), dtypes=FLOATS, tolerance=64, empty=None),
    Row(solving.log_determinant, (normal(2, 3, 3),), of_each(signed), dtypes=FLOATS, tolerance=64, empty=None),
    Row(solving.cholesky, (given([[4, 9, 9], [2, 5, 9], [1, -1, 6]]),),
        lambda a: cholesky_rows(np.linalg.cholesky(symmetric(a))), differentiable=(), tolerance=64, empty=None,
        dtypes=("float16", "bfloat16", *FLOATS)),
    Row(definite(solving.cholesky), (regular(2, 3, 3),), of_each(cholesky_rows), dtypes=FLOATS, tolerance=64,
        empty=None),
    Row(cholesky_solved, (regular(3, 3), normal(3, 2)), of_each(lambda x, b: eliminated(x @ x.T, b)), dtypes=FLOATS,
        tolerance=640, empty=None),
    Row(definite(solving.logdet), (regular(2, 3, 3),), of_each(lambda x: np.log(determinant(x @ x.T))), dtypes=FLOATS,
        tolerance=64, empty=None),
    Row(solving.pseudo_solve, (normal(4, 2), normal(4, 3)), of_each(lambda a, b: eliminated(a.T @ a, a.T @ b)),
        dtypes=FLOATS, differentiable=(), tolerance=640, empty=None),
    Row(solving.expm, (normal(2, 3, 3),), of_each(series), dtypes=FLOATS, tolerance=64, empty=None),
    Row(solving.expm, (given([[[0, 9.0], [-9, 0]], [[0, 0], [0, 0]]]),), of_each(lambda a: np.array(
        [[np.cos(a[0, 1]), np.sin(a[0, 1])], [-np.sin(a[0, 1]), np.cos(a[0, 1])]])), dtypes=FLOATS, tolerance=200,
        empty=None),
    Row(solving.with_upper_right, (normal(2, 2), normal(2, 2)), lambda a, b: np.block([[a, b], [0 * a, a]]),
        empty=None),
]

DECOMPOSITIONS = [
    Row(decompositions.pseudo_inverse, (normal(2, 4, 3),), of_each(lambda a: eliminated(a.T @ a, a.T)), dtypes=FLOATS,
        tolerance=640, empty=None),
    Row(decompositions.pinv, (normal(2, 3),), of_each(lambda a: eliminated(a @ a.T, a).T), dtypes=FLOATS,
        tolerance=640, empty=None),
    Row(decompositions.pseudo_inverse, (given([[2, 0], [0, 1e-9]]),), lambda a, rcond: np.array([[0.5, 0], [0, 0]]),
        {"rcond": 1e-6}, FLOATS, differentiable=(), empty=None),
    Row(qr_up_to_signs, (normal(3, 2),), of_each(unsigned), dtypes=FLOATS, tolerance=640, empty=None),
    Row(decompositions.qr_factors, (regular(2, 4, 3),), of_each(orthonormal), tolerance=64,
        differentiable=(), empty=None, dtypes=("float16", "bfloat16", *FLOATS)),
    Row(decompositions.qr_factors, (regular(3, 2),), of_each(orthonormal), dtypes=FLOATS, tolerance=64, empty=None),
    Row(decompositions.eigen, (normal(3, 3),), lambda x, compute_v: eigen_unsigned(x)[0], {"compute_v": False},
        ("float16", "bfloat16", *FLOATS), tolerance=64, empty=None),
    Row(decompositions.singular, (normal(3, 2),), lambda x, **_: svd_unsigned(x.T)[0], {"compute_uv": False},
        ("float16", "bfloat16", *FLOATS), tolerance=64, empty=None),
    Row(qr_up_to_signs, (normal(3, 3),), of_each(unsigned), {"full_matrices": True}, FLOATS, tolerance=640,
        empty=None),
    Row(eigen_up_to_signs, (normal(2, 3, 3),), of_each(eigen_unsigned), dtypes=FLOATS, tolerance=640, empty=None),
    Row(values_of(decompositions.self_adjoint_eigvals), (normal(3, 3),), of_each(lambda x: eigen_unsigned(x)[0]),
        dtypes=FLOATS, tolerance=640, empty=None),
    Row(svd_up_to_signs, (normal(2, 4, 3),), of_each(svd_unsigned), dtypes=FLOATS, tolerance=6400, empty=None,
        differentiable=()),
    Row(svd_up_to_signs, (normal(3, 2),), of_each(svd_unsigned_of_tall), dtypes=FLOATS, tolerance=6400, empty=None),
    Row(decompositions.matrix_rank, (given([[[1, 2], [2, 4]], [[1, 0], [0, 1]]]),), lambda x: np.array([1, 2]),
        dtypes=FLOATS, differentiable=(), empty=None),
    Row(svd_up_to_signs, (normal(2, 3),), of_each(svd_unsigned), dtypes=FLOATS, tolerance=6400, empty=None),
    Row(values_of(decompositions.svd, compute_uv=False), (normal(3, 2),), of_each(lambda x: svd_unsigned(x.T)[0]),
        dtypes=FLOATS, tolerance=6400, empty=None),
]

ROWS = [*SOLVING, *DECOMPOSITIONS]
