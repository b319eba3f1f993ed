"""Complex numbers: values and gradients, which follow TensorFlow's convention (dL/dx + i dL/dy for a real loss L).

Where TensorFlow forgets conjugates (cumprod, xlogy, xdivy) test_table.py has the limits of difference quotients.
"""

from dataclasses import replace

import numpy as np

from .tf_case import Case, find

Z = np.array([1 + 2j, -0.5 - 1j, 3 + 0.1j, 0.25j], np.complex128)
W = np.array([0.5 - 1j, 2 + 1j, -1 + 0.5j, 1.5 - 0.25j], np.complex128)
S = Z[:3] / 3
A = np.array([[2 + 1j, 0.5j, 1], [1 - 1j, 3, 0.25], [0.5, -1j, 2 - 0.5j]])
B = np.array([[1j, 2], [1 - 2j, 0.5], [0.25, 1 + 1j]])
H = A @ A.conj().T + np.eye(3)
IDS = np.array([0, 1, 1, 0], np.int32)


def unary(name, x=Z):
    return Case(lambda tf, z: find(tf, name)(z), (x,), ("float64",))


def binary(name, x=Z, y=W):
    return Case(lambda tf, z, w: find(tf, name)(z, w), (x, y), ("float64",))


_CASES = {
    **{name: unary(name) for name in (
        "real", "imag", "conj", "angle", "abs", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan",
        "sinh", "cosh", "tanh", "asinh", "square", "reciprocal", "negative", "sigmoid", "identity",
        "reduce_sum", "reduce_mean", "reduce_prod", "cumsum", "diag", "math.reciprocal_no_nan", "norm", "sign",
    )},
    **{name: unary(name, S) for name in ("acosh", "atanh", "asin", "acos", "atan")},
    **{name: binary(name) for name in (
        "add", "subtract", "multiply", "divide", "pow", "squared_difference", "math.divide_no_nan",
    )},
    "one number and many": Case(lambda tf, z, w: [z[0] * w, w - z[1], z[:1] / w, tf.add_n([z, w, z])], (Z, W)),
    "parts": Case(lambda tf, x, y: tf.complex(x, y) * tf.complex(y, 2 * x), ([1.0, -2.0], [0.5, 3.0])),
    "a real loss": Case(lambda tf, z, w: tf.reduce_sum(tf.abs(tf.exp(z) * tf.conj(w)) + tf.real(z / w)), (Z, W)),
    "second derivatives": Case(lambda tf, z: tf.gradients(
        tf.reduce_sum(tf.abs(z * z) + tf.imag(tf.tanh(z)) + tf.real(tf.log(z))), z), (Z,)),
    "casts": Case(lambda tf, x, z: [tf.cast(x, tf.complex128) * z[:2], tf.cast(z, tf.float64)], ([1.0, 2.0], Z)),
    "narrow": Case(lambda tf, z: tf.exp(z) * tf.conj(z), (Z.astype(np.complex64),), ("float32",), tolerance=3e-5),
    "matmul": Case(lambda tf, a, b: [
        tf.matmul(a, b), tf.matmul(a, b, adjoint_a=True), tf.matmul(b, a, True, True), tf.matmul(b, a, adjoint_a=True)],
        (A, B)),
    "batches of matmul": Case(lambda tf, a, b: tf.matmul(tf.stack([a, 2j * a]), tf.stack([b, b])), (A, B)),
    "einsum": Case(lambda tf, a, b: tf.einsum("ij,jk->ki", a, b), (A, B)),
    "tensordot": Case(lambda tf, a, b: tf.tensordot(a, b, [[0], [0]]), (A, B)),
    "shapes": Case(lambda tf, a: [
        tf.reshape(a, [-1]), tf.transpose(a), tf.transpose(a, conjugate=True), tf.linalg.adjoint(a), a[1:, ::2],
        tf.concat([a, 1j * a], 1), tf.stack([a, a * a]), tf.tile(a, [1, 2]), tf.pad(a, [[1, 0], [0, 1]]),
        tf.expand_dims(a, 0), tf.reverse(a, [0]), tf.gather(a, [2, 0, 2]), tf.linalg.band_part(a, 0, -1),
        tf.linalg.diag_part(a), tf.linalg.trace(a), tf.where(tf.abs(a) > 1, a, 2 * a),
        tf.gather_nd(a, [[0, 1], [2, 2]]),
    ], (A,)),
    "reductions": Case(lambda tf, a: [
        tf.reduce_sum(a, 0), tf.reduce_mean(a, 1, True), tf.reduce_prod(a, 1), tf.cumsum(a, 1, reverse=True),
    ], (A,)),
    "segments": Case(lambda tf, z: tf.math.unsorted_segment_sum(z * z, IDS, 2), (Z,)),
    "inverse": Case(lambda tf, a: [tf.linalg.inv(a), tf.linalg.inv(a, adjoint=True)], (A,), tolerance=1e-10),
    "solve": Case(lambda tf, a, b: [tf.linalg.solve(a, b), tf.linalg.solve(a, b, adjoint=True)], (A, B),
                  tolerance=1e-10),
    "triangular_solve": Case(lambda tf, a, b: [
        tf.linalg.triangular_solve(a, b), tf.linalg.triangular_solve(a, b, lower=False, adjoint=True)], (A, B),
        tolerance=1e-10),
    "cholesky": Case(lambda tf, a: tf.linalg.cholesky(a), (H,), tolerance=1e-10),
    "eigenvalues": Case(lambda tf, a: tf.linalg.eigvalsh(a), (H,), tolerance=1e-10),
    "projections of eigenvectors": Case(lambda tf, a: tf.abs(tf.linalg.eigh(a)[1]), (H,), tolerance=1e-9),
    "projections of qr": Case(lambda tf, a: tf.abs(tf.linalg.qr(a)[1]), (A,), tolerance=1e-9),
    "logarithm of the determinant": Case(lambda tf, a: tf.linalg.slogdet(a)[1], (A,), tolerance=1e-10),
}
CASES = {f"complex: {name}": replace(case, dtypes=case.dtypes[-1:]) for name, case in _CASES.items()}
