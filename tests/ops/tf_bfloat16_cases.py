"""bfloat16: what is rounded, how often, and in which dtype it is computed; values are equal to the last bit."""

import numpy as np

from .tf_case import CUBE, FINITE, INF, LOGITS, NAN, ONE_HOT, REAL, SMALL, TIES, Case, find, pairs

B = ("bfloat16",)
ULP = 2.0**-7  # one unit in the last place of numbers just above a power of two
ODD = [1 / 3, -2 / 3, 7.7, 1e-3, 123.456, -0.1]
HALFWAY = [1 + 2.0**-8, 1 + 3 * 2.0**-8, 257.0, 259.0, 3.4e38, 1e-40, -1 - 2.0**-8, 1 + 2.0**-8 + 2.0**-20]
MATRIX = (np.arange(35.0).reshape(5, 7) * 0.37 % 2 - 1).tolist()
OTHER = (np.arange(21.0).reshape(7, 3) * 0.71 % 2 - 1).tolist()


def unary(name, values, tolerance=1e-12):
    return Case(lambda tf, x: find(tf, name)(x), (values,), B, tolerance=tolerance)


def binary(name, values=SMALL, tolerance=1e-12):
    return Case(lambda tf, x, y: find(tf, name)(x, y), pairs(values), B, tolerance=tolerance)


_CASES = {
    "cast from float32": Case(lambda tf, x: tf.cast(tf.cast(x, tf.bfloat16), tf.float32), (
        [*HALFWAY, NAN, INF, -INF, 0.0, -0.0],), ("float32", "float64")),
    "cast from integers": Case(lambda tf, x: tf.to_bfloat16(x), (np.array([0, 255, 257, 259, -1000, 123456]),)),
    "casts to others": Case(lambda tf, x: [
        tf.cast(x, d) for d in (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64, tf.bool)], (ODD,), B),
    "constant": Case(lambda tf: tf.constant([0.1, 257.0, 259.0], tf.bfloat16), (), ("float32",)),
    **{name: unary(name, [*FINITE, *ODD]) for name in (
        "negative", "abs", "sign", "square", "floor", "ceil", "round", "identity", "zeros_like")},
    **{name: unary(name, [abs(x) for x in ODD]) for name in ("sqrt", "log")},
    **{name: unary(name, ODD, 2 * ULP) for name in ("exp", "tanh", "sigmoid", "sin", "cos", "nn.relu", "nn.elu")},
    **{name: unary(name, [abs(x) for x in ODD], 2 * ULP) for name in ("rsqrt", "reciprocal", "log1p")},
    **{name: binary(name) for name in ("add", "subtract", "multiply", "maximum", "minimum")},
    "divide": binary("divide", [1.0, -2.5, 3.0, 0.3], ULP),
    **{name: binary(name, REAL) for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")},
    **{name: Case(lambda tf, x, f=name: [getattr(tf, f)(x), getattr(tf, f)(x, 1)], (CUBE,), B, tolerance=ULP)
       for name in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min")},
    "sum of many": Case(lambda tf, x: tf.reduce_sum(tf.fill([3000], 1.0) * x[0]), ([1.0],), ("float32",)),
    "sums in float32": Case(lambda tf, x: [tf.reduce_sum(tf.tile(x, [1000])), tf.reduce_mean(tf.tile(x, [1000]))], (
        [1.0, 0.5],), B, gradients=False),
    "matmul": Case(lambda tf, x, y: [tf.matmul(x, y), tf.matmul(y, x, True, True)], (MATRIX, OTHER), B,
                   tolerance=2 * ULP),
    "softmax": Case(lambda tf, x: [tf.nn.softmax(x), tf.nn.log_softmax(x)], ([LOGITS[0], LOGITS[3]],), B,
                    tolerance=2 * ULP),
    "cross entropy": Case(lambda tf, x, y: tf.nn.softmax_cross_entropy_with_logits_v2(
        labels=tf.stop_gradient(y), logits=x), ([LOGITS[0], LOGITS[3]], ONE_HOT[:2]), B, tolerance=2 * ULP),
    "shapes": Case(lambda tf, x: [
        tf.transpose(x), tf.reshape(x, [-1]), tf.concat([x, x], 0), x[1:, ::2], tf.pad(x, [[1, 0], [0, 1]]),
        tf.gather(x, [2, 0]), tf.tile(x, [2, 1]), tf.stack([x, x]), tf.reverse(x, [0]),
    ], (TIES,), B),
    "choices": Case(lambda tf, x, y: [tf.where(x > y, x, y), tf.argmax(x, 1), tf.nn.top_k(x, 2).values], (
        TIES, [[2.0, 3.0, 1.0]] * 3), B),
    "clip": Case(lambda tf, x: tf.clip_by_value(x, -1.0, 2.0), (SMALL,), B),
}
CASES = {f"bfloat16: {name}": case for name, case in _CASES.items()}
