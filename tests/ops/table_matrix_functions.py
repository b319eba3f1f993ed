"""Rows for paraflow.ops.matrix_functions: the oracles are products of the results, and numpy's general solver."""

import numpy as np

from paraflow.ops import linalg, matrix_functions

from .rows import Row, normal

EITHER = ("float32", "float64", "complex64")
DOUBLE = ("float64",)
FLOATS = ("float32", "float64")


def near_unit(*shape):
    """Matrices whose eigenvalues lie around 3, well apart from those that have no root or logarithm."""
    draw = normal(*shape)
    return lambda rng, dtype: (3 * np.eye(shape[-1]) + 0.5 * draw(rng, dtype)).astype(dtype)


def squared_root(a):
    return linalg.matmul(matrix_functions.sqrtm(a), matrix_functions.sqrtm(a))


def by_eigenvectors(function):
    def oracle(a):
        if not a.size:
            return a
        values, vectors = np.linalg.eig(a.astype(complex))
        result = vectors @ (function(values)[..., None] * np.linalg.inv(vectors))
        return result if np.iscomplexobj(a) else result.real

    return oracle


def eliminated(a, output_idx_type="int32"):
    lu, order = np.zeros_like(a), np.zeros(a.shape[:-1], int)
    for index in np.ndindex(a.shape[:-2]):
        rest, rows = np.array(a[index]), list(range(a.shape[-1]))
        upper, lower = np.zeros_like(rest), np.eye(len(rest), dtype=rest.dtype)
        for k in range(len(rest)):
            best = max(range(k, len(rest)), key=lambda i, k=k, rest=rest: abs(rest[i, k]))
            rest[[k, best]] = rest[[best, k]]
            lower[[k, best], :k] = lower[[best, k], :k]
            rows[k], rows[best] = rows[best], rows[k]
            upper[k, k:] = rest[k, k:]
            lower[k + 1 :, k] = rest[k + 1 :, k] / rest[k, k]
            rest[k + 1 :] -= lower[k + 1 :, k, None] * rest[k]
        lu[index], order[index] = lower - np.eye(len(rest)) + upper, rows
    return lu, order


def dense(diagonals, rhs):
    above, main, below = (diagonals[..., i, :] for i in range(3))
    n = main.shape[-1]
    matrix = np.zeros((*main.shape, n), diagonals.dtype)
    i = np.arange(n)
    matrix[..., i, i] = main
    matrix[..., i[:-1], i[1:]] = above[..., :-1]
    matrix[..., i[1:], i[:-1]] = below[..., 1:]
    return np.linalg.solve(matrix, rhs)


ROWS = [
    Row(matrix_functions.lu_factors, (normal(2, 4, 4),), eliminated, {}, EITHER, tolerance=640, empty=None),
    Row(matrix_functions.sqrtm, (near_unit(2, 3, 3),), by_eigenvectors(np.sqrt), dtypes=EITHER, tolerance=64),
    Row(squared_root, (near_unit(3, 3),), np.array, dtypes=FLOATS, tolerance=64, empty=None),
    Row(matrix_functions.logm, (near_unit(2, 3, 3),), by_eigenvectors(np.log), {}, ("complex64", "complex128"), (0,),
        tolerance=640, complex=True),
    Row(matrix_functions.tridiagonal, (normal(2, 3, 5), normal(2, 5, 2)), dense, dtypes=EITHER, tolerance=640,
        empty=None),
    Row(matrix_functions.tridiagonal, (normal(3, 1), normal(1, 2)), dense, {}, DOUBLE, tolerance=64, empty=None),
    Row(matrix_functions.tridiagonal, (normal(3, 2), normal(2, 1)), dense, {}, DOUBLE, tolerance=64, empty=None),
]
