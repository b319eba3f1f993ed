"""Linear algebra and segments: what does not depend on the signs that eigenvectors and the like are free to have."""

import numpy as np

from .tf_case import CUBE, TIES, ZEROS, Case

SQUARE = [[[4.0, 1.0, -0.5], [0.5, 3.0, 1.0], [-1.0, 0.25, 5.0]], [[2.0, 0.0, 1.0], [1.0, 4.0, 0.5], [0.0, -1.0, 3.0]]]
RIGHT = [[[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]], [[-1.0, 0.5], [2.0, 2.0], [0.25, 1.0]]]
TALL = [[1.0, 2.0], [0.5, -1.0], [3.0, 0.25], [-2.0, 1.0]]
VECTORS = [[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]]
IDS = np.array([0, 0, 2], np.int32)
MIXED = np.array([2, -1, 0], np.int32)


def definite(tf, x):
    return tf.matmul(x, x, transpose_b=True)


LU = np.array([
    [[2.0, 1.0, -1.0], [4.0, 0.5, 3.0], [-1.0, 2.0, 0.25]],
    [[0.0, 1.0, 2.0], [1.5, -1.0, 0.5], [3.0, 2.0, 1.0]],
])
DIAGONALS = [[1.0, -0.5, 2.0, 9.0], [3.0, 0.1, 2.5, -1.0], [9.0, 1.5, 2.0, 0.5]]

CASES = {
    "lu": Case(lambda tf, a: list(tf.linalg.lu(a)), (LU,), ("float64",), gradients=False, tolerance=1e-10),
    "lu_solve": Case(lambda tf, a: [
        tf.linalg.lu_solve(*tf.linalg.lu(a), a[..., :2]), tf.linalg.lu_matrix_inverse(*tf.linalg.lu(a)),
        tf.linalg.lu_reconstruct(*tf.linalg.lu(a)),
    ], (LU,), ("float64",), gradients=False, tolerance=1e-10),
    "sqrtm": Case(lambda tf, a: tf.linalg.sqrtm(a), (LU @ LU.swapaxes(1, 2) + np.eye(3),), ("float64",),
                  tolerance=1e-9),
    "logm": Case(lambda tf, a: tf.linalg.logm(a), (LU + 4j * np.eye(3),), ("float64",), gradients=False,
                 tolerance=1e-9),
    "tridiagonal_solve": Case(lambda tf, d, b: [
        tf.linalg.tridiagonal_solve(d, b), tf.linalg.tridiagonal_solve(d, b[:, 0]),
        tf.linalg.tridiagonal_solve((d[0], d[1], d[2]), b, "sequence"),
        tf.linalg.tridiagonal_solve(d, tf.transpose(b), transpose_rhs=True),
    ], (DIAGONALS, [[1.0, 2.0], [0.5, -1.0], [2.0, 0.0], [1.0, 1.0]]), tolerance=1e-5),
    "tridiagonal_solve of matrices": Case(lambda tf, a, b: tf.linalg.tridiagonal_solve(a, b, "matrix"), (
        [[3.0, 1.0, 0.0], [0.5, -2.0, 1.0], [0.0, 1.0, 2.0]], [[1.0], [2.0], [0.5]]), tolerance=1e-5),
    "matmul": Case(lambda tf, x, y: [
        tf.matmul(x, y), tf.matmul(x, y, transpose_a=True), tf.matmul(x, x, adjoint_b=True),
        tf.matmul(y, x, adjoint_a=True), tf.linalg.matvec(x, y[..., 0]),
        tf.linalg.matvec(x, y[..., 1], transpose_a=True),
    ], (SQUARE, RIGHT)),
    "einsum and tensordot": Case(lambda tf, x, y: [
        tf.einsum("bij,bjk->bik", x, y), tf.einsum("bij->bji", x), tf.tensordot(x, y, [[0, 2], [0, 1]]),
        tf.linalg.einsum("bij,bij->b", x, x),
    ], (SQUARE, RIGHT)),
    "matrix_inverse": Case(lambda tf, x: [tf.matrix_inverse(x), tf.linalg.inv(x, adjoint=True)], (SQUARE,),
                           tolerance=1e-11),
    "matrix_solve": Case(lambda tf, x, y: [tf.matrix_solve(x, y), tf.linalg.solve(x, y, True)], (SQUARE, RIGHT),
                         tolerance=1e-11),
    "matrix_triangular_solve": Case(lambda tf, x, y: [
        tf.matrix_triangular_solve(x, y, lower, adjoint) for lower in (True, False) for adjoint in (True, False)
    ], (SQUARE, RIGHT), tolerance=1e-11),
    "determinants": Case(lambda tf, x: [
        tf.matrix_determinant(x), tf.linalg.det(-x), *tf.linalg.slogdet(-x), tf.linalg.slogdet(x).log_abs_determinant,
        tf.linalg.logdet(definite(tf, x)),
    ], (SQUARE,), tolerance=2e-5),
    "cholesky": Case(lambda tf, x, y: [
        tf.cholesky(definite(tf, x)), tf.cholesky_solve(tf.cholesky(definite(tf, x)), y),
    ], (SQUARE, RIGHT), tolerance=2e-5),
    "cholesky reads the lower triangle": Case(lambda tf, x: tf.cholesky(x), ([[4.0, 9.0], [1.0, 3.0]],)),
    "matrix_solve_ls": Case(lambda tf, a, b: [
        tf.matrix_solve_ls(a, b), tf.matrix_solve_ls(a, b, 0.5), tf.linalg.lstsq(tf.transpose(a), b[:2], 0.1),
    ], (TALL, TALL), tolerance=2e-5),
    "matrix_solve_ls, not fast": Case(lambda tf, a, b: tf.matrix_solve_ls(a, b, fast=False), (TALL, TALL),
                                      gradients=False, tolerance=2e-5),
    "qr": Case(lambda tf, x: [*tf.qr(x), *tf.qr(x[0])], (SQUARE,), tolerance=2e-5),
    "qr of tall matrices": Case(lambda tf, x: [*tf.linalg.qr(x)], (TALL,),
                                tolerance=2e-5),
    "self_adjoint_eig": Case(lambda tf, x: [
        tf.self_adjoint_eig(x)[0], tf.abs(tf.self_adjoint_eig(x)[1]), tf.self_adjoint_eigvals(x), tf.linalg.eigvalsh(x),
    ], (SQUARE,), tolerance=5e-5),
    "svd": Case(lambda tf, x: [
        tf.svd(x)[0], tf.abs(tf.svd(x)[1]), tf.abs(tf.svd(x)[2]), tf.svd(x, compute_uv=False),
    ], (SQUARE,), tolerance=5e-5),
    "pinv": Case(lambda tf, x: [tf.linalg.pinv(x), tf.linalg.pinv(tf.transpose(x))], (TALL,), tolerance=5e-5),
    "matrix_rank": Case(lambda tf, x: [tf.linalg.matrix_rank(x), tf.linalg.matrix_rank(tf.stack([x, x * 0])),
                                       tf.linalg.matrix_rank(x, tol=3.0)], (TALL,), gradients=False),
    "svd of tall matrices": Case(lambda tf, x: [
        *map(tf.abs, tf.svd(x)), tf.svd(tf.transpose(x), compute_uv=False),
    ], (TALL,), tolerance=5e-5),
    "expm": Case(lambda tf, x: tf.linalg.expm(x), (SQUARE,), ("float64",), gradients=False),
    "norms": Case(lambda tf, x: [
        tf.norm(x, 2, [-2, -1]), tf.norm(x, 2, [-2, -1], True), tf.linalg.norm(x, "fro", [0, 1]),
        *tf.linalg.normalize(x, axis=1), tf.norm(x, np.inf, axis=[1, 2]),
    ], (SQUARE,), tolerance=2e-5),
    "diagonals": Case(lambda tf, x, d: [
        tf.matrix_diag_part(x), tf.matrix_diag_part(x, k=1), tf.linalg.diag_part(x, k=-2), tf.matrix_diag(d),
        tf.matrix_diag(d, k=-1), tf.linalg.diag(d, k=1, num_rows=3, num_cols=5, padding_value=7),
        tf.matrix_set_diag(x, d), tf.linalg.set_diag(x, d[:, :2], k=1),
        tf.diag(d[0]), tf.linalg.tensor_diag_part(x[0]), tf.trace(x),
        tf.matrix_band_part(x, 1, 0), tf.linalg.band_part(x, 0, -1), tf.matrix_transpose(x), tf.eye(2, 3),
    ], (SQUARE, VECTORS)),
    "cross": Case(lambda tf, x, y: [tf.cross(x, y), tf.linalg.cross(y, x)], (VECTORS, VECTORS[::-1])),
    "clip_by_average_norm": Case(lambda tf, x: [
        tf.clip_by_average_norm(x, 0.3), tf.clip_by_average_norm(x, 30.0),
    ], (ZEROS,), ("float32",)),
    # Segments
    **{f"segment_{name}": Case(lambda tf, x, f=name: [
        getattr(tf, f"segment_{f}")(x, IDS), getattr(tf.math, f"segment_{f}")(x[:0], IDS[:0]),
    ], (TIES,)) for name in ("sum", "mean", "max", "min")},
    "qr of whole matrices": Case(lambda tf, x: tf.abs(tf.qr(x, full_matrices=True)[1]), (TALL,), gradients=False,
                                 tolerance=2e-5),
    "segment_prod": Case(lambda tf, x: tf.segment_prod(x, IDS), (ZEROS,), gradients=False),
    **{f"unsorted_segment_{name}": Case(lambda tf, x, f=name: [
        getattr(tf, f"unsorted_segment_{f}")(x, MIXED, 3), getattr(tf, f"unsorted_segment_{f}")(x, [1, 0, 1], 2),
    ], (TIES,)) for name in ("sum", "mean", "max", "min", "prod", "sqrt_n")},
    "unsorted_segment_prod with zeros": Case(lambda tf, x: tf.unsorted_segment_prod(x, [1, 0, 1], 2), (ZEROS,)),
    "unsorted segments of pairs": Case(lambda tf, x: tf.unsorted_segment_sum(x, [[0, 1, 3], [0, 0, -1]], 4), (CUBE,)),
    "unsorted segments of integers": Case(lambda tf, x: [
        tf.unsorted_segment_max(x, MIXED, 3), tf.unsorted_segment_min(x, MIXED, 3), tf.segment_sum(x, IDS),
    ], ([7, -2, 3],), ("int32",)),
    "sparse segments": Case(lambda tf, x: [
        tf.sparse_segment_sum(x, [2, 0, 2], IDS), tf.sparse_segment_mean(x, [2, 0, 1], IDS, num_segments=4),
        tf.sparse_segment_sqrt_n(x, [2, 0, 2], IDS),
    ], (ZEROS,)),
}
