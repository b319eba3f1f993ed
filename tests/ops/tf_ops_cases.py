"""Arithmetic, logic, reductions, clipping, and the operations of networks, at ties, zeros, infinities and NaN."""

import numpy as np

from .tf_case import (
    CONDITION,
    CUBE,
    FINITE,
    INF,
    LARGE,
    LOGITS,
    NAN,
    ONE_HOT,
    REAL,
    SMALL,
    SPECIAL,
    TIES,
    WHOLE,
    ZEROS,
    Case,
    binary,
    pairs,
    unary,
)

CASES = {
    **{name: unary(name) for name in (
        "negative", "abs", "square", "reciprocal", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "sin", "cos",
        "atan", "tanh", "sigmoid", "floor", "ceil", "round", "is_nan", "is_inf", "is_finite", "nn.relu",
        "nn.relu6", "nn.elu", "nn.softplus",
    )},
    **{name: unary(name, FINITE) for name in ("sign", "nn.l2_loss", "sinh", "cosh", "erf")},
    "nn.selu": unary("nn.selu", [x for x in SPECIAL if abs(x) != 1e-8]),  # TensorFlow's exp(x) - 1 is 0 there
    "nn.leaky_relu": Case(lambda tf, x: tf.nn.leaky_relu(x, alpha=0.25), (SPECIAL,)),
    **{name: unary(name, [-1.0, -0.5, 0.0, 0.25, 1.0, 2.0]) for name in ("asin", "acos", "tan")},
    **{name: binary(name, REAL) for name in (
        "add", "subtract", "multiply", "divide", "maximum", "minimum", "squared_difference", "equal", "not_equal",
        "less", "less_equal", "greater", "greater_equal", "div_no_nan",
    )},
    **{name: binary(name, SMALL) for name in ("pow", "atan2", "floordiv", "floormod", "mod", "truediv", "div")},
    **{f"{name} of integers": binary(name, WHOLE, ("int32", "int64")) for name in (
        "floordiv", "floormod", "truediv", "div", "divide", "maximum", "minimum", "squared_difference", "less",
        "multiply",
    )},
    "pow of integers": Case(lambda tf, x, y: tf.pow(x, y), ([2, -3, 0, 5], [3, 2, 0, 1]), ("int32", "int64")),
    "abs, sign and round of integers": Case(lambda tf, x: [tf.abs(x), tf.sign(x), tf.round(x)], (WHOLE,), ("int32",)),
    "operators": Case(lambda tf, x: [
        1 - x, 2 / x, x**2, 2**x, -x, abs(x), x // 2, x % 2, 7 // x, x > 1, x <= 1, (x > 0) & ~(x < 2),
        (x > 0) ^ (x < 2), (x > 2) | (x < 0),
    ], ([0.5, 2.0, -3.0],)),
    "operators on integers": Case(lambda tf, x: [x / 2, 7 // x, x % 3, x**2, x >= 2], ([1, 2, 5],), ("int32", "int64")),
    "broadcasting": Case(lambda tf, x, y: [x * y, x - y, tf.maximum(x, y), x / y], (
        [[1.0], [2.0]], [[3.0, -1.0, 2.0]])),
    "add_n": Case(lambda tf, x, y: tf.add_n([x, y, x]), ([1.0, 2.0], [3.0, NAN])),
    "logical": Case(lambda tf, x, y: [
        tf.logical_and(x > 0, y > 0), tf.logical_or(x > 0, y > 0), tf.logical_xor(x > 0, y > 0), tf.logical_not(x > 0),
    ], pairs([0.0, 1.0])),
    "where": Case(lambda tf, c, x, y: tf.where(c, x, y), (CONDITION, [1.0, NAN, 3.0], [NAN, 5.0, INF])),
    "where chooses rows": Case(lambda tf, c, x, y: tf.where(c, x, y), (CONDITION, TIES, ZEROS)),
    "where gives indices": Case(lambda tf, x: tf.where(x > 0), (TIES,)),
    "guarded roots": Case(lambda tf, x: [
        tf.where(x > 0, f(x), 0 * x) for f in (tf.sqrt, tf.rsqrt, tf.reciprocal)
    ], ([1.0, 4.0, 0.0, -1.0],)),
    "clip_by_value": Case(lambda tf, x, a, b: tf.clip_by_value(x, a, b), ([-2.0, -1.0, 0.0, 1.0, 2.0], -1.0, 1.0)),
    "clip_by_value, crossed": Case(lambda tf, x, a, b: tf.clip_by_value(x, a, b), (
        [-2.0, -1.0, 0.0, 1.0, 2.0], 1.0, -1.0)),
    "clip_by_norm": Case(lambda tf, x: [
        tf.clip_by_norm(x, 2.0), tf.clip_by_norm(x, 100.0), tf.clip_by_norm(x, 2.0, axes=[1]),
    ], (ZEROS,)),
    "clip_by_norm of zeros": Case(lambda tf, x: tf.clip_by_norm(x, 2.0), ([0.0, 0.0],)),
    "clip_by_global_norm": Case(lambda tf, x, y: [
        *tf.clip_by_global_norm([x, y], 2.0)[0], *tf.clip_by_global_norm([x, y], 100.0)[0],
        tf.global_norm([x, None, y]),
    ], (ZEROS, [3.0, 4.0])),
    "clip_by_global_norm of infinity": Case(lambda tf, x, y: tf.clip_by_global_norm([x, y], 2.0)[0], (
        [INF, 1.0], [2.0]), ("float64",)),
    **{f"reduce_{name}": Case(lambda tf, x, f=f"reduce_{name}": [
        getattr(tf, f)(x), getattr(tf, f)(x, axis=1), getattr(tf, f)(x, axis=[0, -1], keepdims=True),
        getattr(tf, f)(x, []),
    ], (CUBE,)) for name in ("sum", "mean", "max", "min", "logsumexp")},
    **{f"reduce_{name} with ties": Case(lambda tf, x, f=f"reduce_{name}": [
        getattr(tf, f)(x), getattr(tf, f)(x, axis=1),
    ], (TIES,)) for name in ("max", "min")},
    "reduce_prod with zeros": Case(lambda tf, x: [
        tf.reduce_prod(x), tf.reduce_prod(x, axis=1), tf.reduce_prod(x, axis=0, keepdims=True),
    ], (ZEROS,)),
    "reduce_prod": Case(lambda tf, x: [tf.reduce_prod(x, axis=[0, 2]), tf.reduce_prod(x)], (CUBE,)),
    "reduce_all, reduce_any": Case(lambda tf, x: [
        tf.reduce_all(x > 1, axis=1), tf.reduce_any(x > 1, axis=0), tf.reduce_all(x > -5), tf.reduce_any(x > 9),
    ], (ZEROS,)),
    "reductions of nothing": Case(lambda tf, x: [
        tf.reduce_sum(x, 0), tf.reduce_prod(x, 0), tf.reduce_max(x, 0), tf.reduce_min(x, 0), tf.reduce_mean(x, 0),
        tf.reduce_logsumexp(x, 0), tf.reduce_all(x > 0, 0), tf.reduce_any(x > 0, 0), tf.nn.l2_loss(x),
    ], (np.zeros((0, 3)),), ("float64",)),
    "logsumexp of large numbers": Case(lambda tf, x: tf.reduce_logsumexp(x, axis=1), (LARGE,)),
    "argmax, argmin": Case(lambda tf, x: [
        tf.argmax(x), tf.argmin(x), tf.argmax(x, 1), tf.argmin(x, -1), tf.argmax(x, axis=1, output_type=tf.int32),
    ], (TIES,), ("float32", "int32")),
    **{name: Case(lambda tf, x, f=name: [
        getattr(tf, f)(x), getattr(tf, f)(x, 1, True), getattr(tf, f)(x, -1, False, True),
        getattr(tf, f)(x, 1, True, True),
    ], ([[2.0, 3.0, -1.0], [0.5, 4.0, 5.0]],)) for name in ("cumsum", "cumprod")},
    "softmax": Case(lambda tf, x: [tf.nn.softmax(x), tf.nn.log_softmax(x), tf.nn.softmax(x, axis=0)], (LOGITS,)),
    "softmax of large numbers": Case(lambda tf, x: [tf.nn.softmax(x), tf.nn.log_softmax(x)], (LARGE[:2],)),
    "softmax_cross_entropy": Case(lambda tf, z, y: [
        tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=z),
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=z),
    ], (LOGITS, ONE_HOT)),
    "sparse_softmax_cross_entropy": Case(lambda tf, z, y: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=y, logits=z), (LOGITS, np.array([0, 2, 1, 2], np.int32))),
    "sigmoid_cross_entropy": Case(lambda tf, z, y: tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=z), (
        [-100.0, -1.0, 0.0, 0.0, 1.0, 30.0, 100.0], [0.0, 1.0, 0.0, 0.5, 0.25, 1.0, 0.0])),
    "bias_add": Case(lambda tf, x, b: tf.nn.bias_add(x, b), (ZEROS, [1.0, 2.0, 3.0])),
    "xw_plus_b": Case(lambda tf, x, w, b: tf.nn.xw_plus_b(x, w, b), (ZEROS, TIES, [1.0, 2.0, 3.0])),
    "l2_normalize": Case(lambda tf, x: [tf.nn.l2_normalize(x, axis=1), tf.nn.l2_normalize(x)], (ZEROS,)),
    "l2_normalize of zeros": Case(lambda tf, x: tf.nn.l2_normalize(x, 0), ([0.0, 0.0],)),
    "moments": Case(lambda tf, x: [*tf.nn.moments(x, [0]), *tf.nn.moments(x, [0, 2], keep_dims=True)], (CUBE,)),
    "in_top_k": Case(lambda tf, x, y: [tf.nn.in_top_k(x, y, 1), tf.nn.in_top_k(x, y, 2)], (
        [[1.0, 3.0, 2.0], [2.0, 2.0, 2.0], [3.0, 1.0, NAN], [INF, 1.0, 0.0]], np.array([2, 0, 0, 1], np.int32)), (
        "float32",)),
}
