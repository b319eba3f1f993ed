"""Mathematics: hyperbolic functions, the gamma function's family, guarded products, complex numbers, bits, sums."""

import numpy as np

from .tf_case import CUBE, FINITE, INF, NAN, REAL, SMALL, SPECIAL, TIES, WHOLE, ZEROS, Case, binary, pairs, unary

GAMMA = [0.1, 0.5, 1.0, 1.7, 3.0, 12.5, 40.0]
POINTS = [0.01, 0.3, 1.0, 2.5, 7.0, 30.0]
Z = np.array([1 + 2j, -0.5 - 1j, 3 + 0j, 0.25j], np.complex64)
BYTES = np.array([-7, 0, 3, 100], np.int8)


def of_complex(*names):
    return Case(lambda tf, z: [getattr(tf, name)(z) for name in names], (Z,), ("float32",), tolerance=3e-6)


CASES = {
    **{name: unary(name) for name in ("asinh", "rint", "math.softsign", "math.reciprocal_no_nan", "log_sigmoid")},
    "acosh": unary("acosh", [1.5, 2.0, 17.0, 1e5, INF, 0.5, NAN]),
    "atanh": unary("atanh", [-0.9, -0.5, 0.0, 1e-8, 0.99, 1.0, -1.0, 1.5]),
    "erfc": unary("erfc", [*FINITE, 5.0, 8.5]),
    "xlogy": binary("math.xlogy", [0.0, 1.0, 2.0, 0.5]),
    "xdivy": binary("math.xdivy", SMALL),
    "multiply_no_nan": binary("math.multiply_no_nan", REAL),
    "divide_no_nan": binary("math.divide_no_nan", SMALL),
    "nextafter": Case(lambda tf, x, y: tf.math.nextafter(x, y), pairs([0.0, 1.0, -2.5])),
    "realdiv": binary("realdiv", SMALL),
    **{f"{name} of integers": Case(lambda tf, x, y, f=name: getattr(tf, f)(x, y), pairs(WHOLE), ("int32", "int64"))
       for name in ("truncatediv", "truncatemod", "floor_div")},
    "truncatemod": Case(lambda tf, x, y: tf.truncatemod(x, y), pairs([1.0, -2.5, 7.0, -0.5]), gradients=False),
    # The gamma function's family
    "lgamma": unary("lgamma", [*GAMMA, -0.5, -3.7, 0.0, 1e-5, INF]),
    "digamma": unary("digamma", [*GAMMA, -0.5, -3.7, 1e-5]),
    "polygamma": Case(lambda tf, x: [tf.polygamma(n * tf.ones_like(x), x) for n in (0, 1, 2)], (GAMMA,),
                      tolerance=1e-11),
    "zeta": Case(lambda tf, x, q: tf.zeta(x, q), pairs([1.5, 2.0, 4.0, 9.0]), tolerance=1e-11),
    "igamma": Case(lambda tf, a, x: [tf.igamma(a, x), tf.igammac(a, x)], (
        [a for a in GAMMA for _ in POINTS], POINTS * len(GAMMA)), ("float64",), tolerance=1e-11),
    "igamma in float32": Case(lambda tf, a, x: [tf.igamma(a, x), tf.igammac(a, x)], (
        [a for a in GAMMA for _ in POINTS], POINTS * len(GAMMA)), ("float32",), gradients=False, tolerance=1e-5),
    "betainc": Case(lambda tf, a, b, x: tf.betainc(a, b, x), ([0.5, 1.0, 3.0, 8.0, 2.0], [2.0, 1.0, 0.5, 12.0, 2.0], [
        0.1, 0.5, 0.9, 0.4, 0.99]), tolerance=1e-5),
    "lbeta": Case(lambda tf, x: tf.lbeta(x), ([[1.0, 2.0, 3.5], [0.5, 0.5, 7.0]],)),
    "bessel": Case(lambda tf, x: [getattr(tf.math, f"bessel_{f}")(x) for f in ("i0", "i1", "i0e", "i1e")], (
        [-12.0, -1.0, 0.25, 3.0, 20.0],)),
    # Complex numbers
    "functions of complex numbers": of_complex(
        "exp", "log", "sqrt", "sin", "cos", "tanh", "sinh", "cosh", "square", "reciprocal", "rsqrt", "negative",
        "sigmoid", "asinh", "abs", "real", "imag", "conj", "angle", "log1p", "expm1", "reduce_sum", "reduce_prod",
        "cumsum",
    ),
    "arithmetic of complex numbers": Case(lambda tf, z: [
        z + z, z * z, z / (z + 1), z - 2, tf.pow(z, z), tf.equal(z, tf.conj(z)), tf.matmul(z[None], z[:, None]),
        tf.matmul(z[None], z[None], adjoint_b=True), tf.transpose(z[None], conjugate=True),
        tf.linalg.adjoint(z[None]),
    ], (Z,), ("float32",), tolerance=1e-5),
    "complex": Case(lambda tf, x, y: [tf.complex(x, y), tf.real(tf.complex(x, y))], pairs(SMALL), gradients=False),
    "parts of real numbers": Case(lambda tf, x: [tf.conj(x), tf.math.real(x)], (SMALL,)),
    # Bits
    "bits": Case(lambda tf, x, y: [
        tf.bitwise.bitwise_and(x, y), tf.bitwise.bitwise_or(x, y), tf.bitwise.bitwise_xor(x, y), tf.bitwise.invert(x),
        tf.bitwise.left_shift(x, y), tf.bitwise.right_shift(x, y),
    ], (BYTES, np.array([3, 1, 2, 5], np.int8))),
    # Sums and tests
    "reduce_variance": Case(lambda tf, x: [
        tf.math.reduce_variance(x), tf.math.reduce_std(x, axis=1), tf.math.reduce_euclidean_norm(x, [0, 2], True),
    ], (CUBE,)),
    "counts": Case(lambda tf, x: [
        tf.count_nonzero(x), tf.count_nonzero(x, axis=1, dtype=tf.int32), tf.count_nonzero(x > 1, 0, True),
        tf.math.zero_fraction(x), tf.is_non_decreasing(x), tf.is_strictly_increasing(x[1:, 1:2]),
    ], (ZEROS,), gradients=False),
    "polynomials and sums": Case(lambda tf, x, y: [
        tf.math.polyval([2 * tf.ones_like(x), x, 3 * x], y), tf.accumulate_n([x, y, x]),
        tf.scalar_mul(y[1], x), tf.scalar_mul(y[0], x),
    ], ([1.0, 2.0, -0.5], [3.0, -1.0, 0.5])),
    "tensors for axes": Case(lambda tf, x: [
        tf.reduce_sum(x, tf.constant([0])), tf.reduce_sum(x, tf.range(tf.rank(x))), tf.argmax(x, tf.constant(1)),
        tf.transpose(x, tf.constant([1, 0])), tf.reduce_max(x, axis=tf.rank(x) - 1),
    ], (TIES,)),
    "where_v2": Case(lambda tf, c, x, y: [tf.where_v2(c, x, y), tf.where_v2(c, x, 0.0), tf.where_v2(x > y)], (
        np.array([True, False, True]), TIES, ZEROS), ("float32",)),
    "names by position": Case(lambda tf, x, y: [
        tf.add(x, y, "sum"), tf.reduce_sum(x, 0, False, "total"), tf.argmax(x, 0, "largest"),
        tf.cast(x, tf.int32, "whole"), tf.expand_dims(x, 0, "wide"), tf.shape(x, "sizes", tf.int64),
        tf.pad(x, [[1, 1]], "CONSTANT", "edges", 7),
        tf.square(x, "squares"), tf.gather(x, [0], None, "first", 0),
    ], ([1.0, 2.0], [3.0, 5.0])),
    "math.l2_normalize": Case(lambda tf, x: [tf.math.l2_normalize(x, 1), tf.linalg.l2_normalize(x)], (ZEROS,)),
    "special values of the gamma function's family": Case(lambda tf, x: [
        tf.lgamma(x), tf.erfc(x), tf.acosh(x), tf.atanh(x),
    ], (SPECIAL[:5],), gradients=False),
}
