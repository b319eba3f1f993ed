"""Rows for paraflow.ops.math, transcendental, logic and clip."""

import cmath
import math
import operator

import numpy as np

from paraflow.ops import bits, clip, complexes, logic, transcendental
from paraflow.ops import math as ops

from .rows import Row, each, given, nonzero, normal, positive, uniform

SIGN = each(lambda x: (x > 0) - (x < 0), of_complex=lambda z: z / abs(z) if z else 0)
MASK = np.array([[True, False, True], [False, False, True]])
INTEGERS = ("int32", "int64")
FLOATS = ("float16", "bfloat16", "float32", "float64")


def expm1(x):
    return cmath.exp(x) - 1 if isinstance(x, complex) else math.expm1(x)


def masked(function, otherwise):
    """``function`` of y where the last argument is not 0."""
    return each(lambda x, y: function(x, y) if y else otherwise)


def softplus(x):
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def global_norm(*arrays):
    return math.sqrt(sum(float(np.sum(a * a)) for a in arrays))


def global_norm_of(a, b, **attrs):
    return clip.global_norm([a, None, b], **attrs)


def clip_by_global_norm_of(a, b, clip_norm):
    clipped, norm = clip.clip_by_global_norm([a, None, b], clip_norm)
    assert clipped[1] is None
    return clipped[0], clipped[2], norm


def clipped_globally(a, b, clip_norm):
    norm = global_norm(a, b)
    factor = min(1.0, clip_norm / norm) if norm else 1.0
    return a * factor, b * factor, np.array(norm)


def clipped_norm(t, clip_norm, axes=None):
    norm = np.sqrt(np.sum(t * t, axis=axes, keepdims=True))
    return t * np.minimum(1, clip_norm / np.where(norm == 0, 1, norm))


def add_n_of(*values):
    return ops.add_n(list(values))


def accumulated(a, b):
    return ops.accumulate_n([a, b], shape=a.shape, tensor_dtype=a.dtype)


def polynomial(x, a):
    return ops.polyval([2.0, -a, 3], x)


EITHER = ("float32", "float64", "complex64")

ROWS = [
    # Arithmetic
    Row(ops.add, (normal(2, 3), normal(2, 3)), operator.add),
    Row(ops.add, (normal(2, 1, 3), normal(4, 1)), operator.add, empty=(normal(2, 1, 0), normal(4, 1))),
    Row(ops.add, (normal(2, 3), normal()), operator.add),
    Row(ops.subtract, (normal(2, 3), normal(3)), operator.sub, empty=(normal(0, 3), normal(3))),
    Row(ops.multiply, (normal(2, 3), normal(2, 1)), operator.mul),
    Row(ops.divide, (normal(2, 3), nonzero(3)), operator.truediv, empty=(normal(0, 3), nonzero(3))),
    Row(ops.divide, (normal(4), nonzero(4)), operator.truediv, dtypes=("int8", "int16", "uint8", "int64")),
    Row(ops.div_no_nan, (normal(2, 3), nonzero(2, 3)), operator.truediv,
        dtypes=("float32", "float64", "complex64"), empty=(normal(0, 3), nonzero(0, 3))),
    Row(ops.div_no_nan, (normal(4), given([0, 2, 0, -3])), masked(operator.truediv, 0.0), dtypes=("float32", "float64"),
        differentiable=(0,)),
    Row(ops.multiply_no_nan, (normal(2, 3), nonzero(3)), operator.mul, empty=(normal(0, 3), nonzero(3))),
    Row(ops.multiply_no_nan, (given([np.inf, np.nan, 3, 1]), given([0, 0, 0, 2])), lambda *_: np.array([0, 0, 0, 2.0]),
        dtypes=FLOATS, differentiable=(), empty=None),
    Row(ops.div, (normal(4), nonzero(4)), operator.truediv, dtypes=("float32",)),
    Row(ops.div, (normal(6), nonzero(6)), lambda x, y: np.floor(x / y).astype(x.dtype), dtypes=INTEGERS),
    Row(ops.floordiv, (normal(2, 3), nonzero(2, 3)), lambda x, y: np.floor(x / y).astype(x.dtype), differentiable=()),
    Row(ops.floormod, (normal(2, 3), nonzero(2, 3)), each(operator.mod), dtypes=("float32", "float64", *INTEGERS)),
    Row(ops.floormod, (normal(3, 1), nonzero(2)), each(operator.mod), dtypes=("float64", "int32"),
        empty=(normal(0, 1), nonzero(2))),
    Row(ops.negative, (normal(2, 3),), operator.neg),
    Row(ops.abs, (nonzero(2, 3),), np.abs, dtypes=(*FLOATS, *INTEGERS)),
    Row(ops.abs, (nonzero(2, 3),), lambda x: np.hypot(x.real, x.imag), dtypes=("complex64",)),
    Row(ops.sign, (given([-2, 0, 3, -1]),), SIGN, differentiable=()),
    Row(ops.sign, (nonzero(4),), SIGN, dtypes=("float64", "complex64")),
    Row(ops.square, (normal(2, 3),), lambda x: x**2),
    Row(ops.squared_difference, (normal(2, 3), normal(2, 1)), lambda x, y: (x - y) ** 2, tolerance=64,
        dtypes=(*FLOATS, *INTEGERS), empty=(normal(0, 3), normal(0, 1))),
    Row(ops.squared_difference, (normal(2, 3), normal(3)), lambda x, y: np.abs(x - y) ** 2, tolerance=64,
        dtypes=("float32", "complex64"), empty=(normal(0, 3), normal(3)), differentiable=()),
    Row(ops.reciprocal, (nonzero(2, 3),), lambda x: x**-1.0),
    Row(ops.sqrt, (positive(2, 3),), lambda x: x**0.5),
    Row(ops.rsqrt, (positive(2, 3),), lambda x: x**-0.5),
    Row(ops.truncatediv, (normal(2, 3), nonzero(2, 3)), lambda x, y: np.trunc(x / y).astype(x.dtype),
        differentiable=()),
    Row(ops.truncatemod, (normal(2, 3), nonzero(2, 3)), each(math.fmod), dtypes=("float32", "float64", *INTEGERS)),
    Row(ops.nextafter, (normal(4), nonzero(4)), lambda x, y: x, dtypes=("float32", "float64"), differentiable=()),
    Row(accumulated, (normal(2, 3), normal(2, 3)), operator.add),
    Row(ops.scalar_mul, (given(2.5), normal(2, 3)), operator.mul, dtypes=("float32", "float64")),
    Row(ops.reciprocal_no_nan, (given([2, 0, -4]),), lambda x: np.array([0.5, 0, -0.25]), dtypes=("float32", "float64"),
        differentiable=(), empty=None),
    Row(ops.approximate_equal, (given([1, 2, 3]), given([1.01, 2, 3.2])), lambda x, y, tolerance: np.abs(x - y) < 0.1,
        {"tolerance": 0.1}, differentiable=()),
    Row(polynomial, (normal(2, 3), normal()), lambda x, a: 2 * x * x - a * x + 3, tolerance=32),
    Row(ops.pow, (positive(2, 3), normal(2, 3)), each(math.pow), dtypes=("float32", "float64"), tolerance=32),
    Row(ops.pow, (positive(2, 3), positive(3)), operator.pow, tolerance=64, empty=(positive(0, 3), positive(3))),
    *(
        Row(ops.pow, (nonzero(2, 3), given(exponent)), operator.pow, dtypes=FLOATS,
            differentiable=(0,))
        for exponent in (3, 4, -2)
    ),
    Row(ops.pow, (nonzero(2, 3), given(3)), operator.pow, dtypes=("int32", "int64")),
    Row(ops.log, (positive(2, 3),), each(math.log, cmath.log), tolerance=16),
    Row(ops.sum_of, (normal(2, 3), normal(2, 3), normal(2, 3)), lambda *v: v[0] + v[1] + v[2], tolerance=64),
    Row(ops.sum_of, (normal(4),), np.copy),
    Row(add_n_of, (normal(2, 2), normal(2, 2)), operator.add),
    # Rounding and extremes
    Row(ops.floor, (normal(2, 3),), each(math.floor), differentiable=()),
    Row(ops.ceil, (normal(2, 3),), each(math.ceil), differentiable=()),
    Row(ops.round, (given([-2.5, -1.5, -0.4, 0.5, 1.5, 2.6]),), each(round), dtypes=FLOATS,
        differentiable=()),
    Row(ops.round, (normal(5),), np.copy, dtypes=INTEGERS),
    Row(ops.rint, (given([-2.5, -1.5, -0.4, 0.5, 1.5, 2.6]),), each(round), differentiable=()),
    Row(ops.maximum, (normal(2, 3), normal(2, 3)), each(max), dtypes=(*FLOATS, *INTEGERS)),
    Row(ops.maximum, (normal(2, 3), normal(3)), each(max), dtypes=("float64",), empty=(normal(0, 3), normal(3))),
    Row(ops.minimum, (normal(2, 3), normal()), each(min), dtypes=(*FLOATS, *INTEGERS)),
    # Exponentials, logarithms, trigonometric and hyperbolic functions
    *(
        Row(op, (normal(2, 3),), each(oracle, getattr(cmath, oracle.__name__, oracle)), tolerance=32)
        for op, oracle in [
            (transcendental.exp, math.exp),
            (transcendental.expm1, expm1),
            (transcendental.sin, math.sin),
            (transcendental.cos, math.cos),
            (transcendental.tan, math.tan),
            (transcendental.atan, math.atan),
            (transcendental.sinh, math.sinh),
            (transcendental.cosh, math.cosh),
            (transcendental.tanh, math.tanh),
            (transcendental.asinh, math.asinh),
            (transcendental.erfc, math.erfc),
            (transcendental.softsign, lambda x: x / (1 + abs(x))),
            (transcendental.erf, math.erf),
            (transcendental.sigmoid, lambda x: 1 / (1 + cmath.exp(-x) if isinstance(x, complex) else 1 + math.exp(-x))),
            (transcendental.softplus, lambda x: math.log1p(math.exp(x))),
            (transcendental.log_sigmoid, lambda x: -math.log1p(math.exp(-x))),
        ]
    ),
    Row(transcendental.log1p, (uniform(-0.9, 3, 2, 3),), each(math.log1p, lambda x: cmath.log(1 + x)), tolerance=32),
    Row(transcendental.asin, (uniform(-0.9, 0.9, 2, 3),), each(math.asin, cmath.asin), tolerance=32),
    Row(transcendental.acos, (uniform(-0.9, 0.9, 2, 3),), each(math.acos, cmath.acos), tolerance=32),
    Row(transcendental.atan2, (normal(2, 3), nonzero(3)), each(math.atan2),
        empty=(normal(0, 3), nonzero(3))),
    Row(transcendental.sigmoid, (given([-80, -20, 20, 500]),), each(lambda x: 1 / (1 + math.exp(-x))),
        dtypes=("float32", "float64"), tolerance=16, differentiable=()),
    Row(transcendental.softplus, (given([-80, -20, 20, 500]),), each(softplus), dtypes=("float32", "float64"),
        tolerance=16, differentiable=()),
    Row(transcendental.erf, (uniform(-6, 6, 20_001),), each(math.erf), dtypes=("float32", "float64"),
        differentiable=(), tolerance=4),
    Row(transcendental.acosh, (uniform(1.2, 4, 2, 3),), each(math.acosh, cmath.acosh), tolerance=32),
    Row(transcendental.atanh, (uniform(-0.9, 0.9, 2, 3),), each(math.atanh, cmath.atanh), tolerance=32),
    Row(transcendental.erfc, (uniform(-6, 26, 20_001),), each(math.erfc), dtypes=("float32", "float64"),
        differentiable=(), tolerance=16),
    Row(transcendental.xlogy, (normal(2, 3), positive(3)),
        each(lambda x, y: x * math.log(y), lambda x, y: x * cmath.log(y)),
        empty=(normal(0, 3), positive(3)), tolerance=32),
    Row(transcendental.xlogy, (given([0, 2, 0]), given([0, 0, -1])), lambda x, y: np.array([0, -np.inf, 0]),
        dtypes=FLOATS, differentiable=(), empty=None),
    Row(transcendental.xdivy, (nonzero(2, 3), nonzero(3)), operator.truediv, empty=(normal(0, 3), positive(3))),
    Row(transcendental.xdivy, (given([0, 2, 0]), given([0, 4, -1])), lambda x, y: np.array([0, 0.5, 0]),
        differentiable=(), empty=None),
    # Complex numbers and their parts
    Row(complexes.real, (normal(2, 3),), np.real, dtypes=EITHER),
    Row(complexes.imag, (normal(2, 3),), np.imag, dtypes=EITHER, differentiable=()),
    Row(complexes.conj, (normal(2, 3),), np.conj, dtypes=EITHER),
    Row(complexes.angle, (normal(2, 3),), lambda z: np.arctan2(np.imag(z), np.real(z)), dtypes=EITHER,
        differentiable=()),
    Row(complexes.complex, (normal(2, 3), normal(3)), lambda x, y: x + 1j * y, dtypes=("float32", "float64"),
        empty=(normal(0, 3), normal(3)), differentiable=()),
    # Bits
    Row(bits.bitwise_and, (normal(2, 3), normal(3)), operator.and_, empty=(normal(0, 3), normal(3))),
    Row(bits.bitwise_or, (normal(2, 3), normal(2, 3)), operator.or_),
    Row(bits.bitwise_xor, (normal(2, 3), normal(2, 3)), operator.xor),
    Row(bits.invert, (normal(2, 3),), operator.invert),
    Row(bits.left_shift, (normal(2, 3), positive(2, 3)), lambda x, n: x * 2**n),
    Row(bits.right_shift, (normal(2, 3), positive(2, 3)), lambda x, n: x // 2**n),
    # Comparisons, logic, choice
    Row(logic.equal, (given([1, 2, 3, 1]), given([1, 0, 3, 2])), lambda x, y: x == y),
    Row(logic.not_equal, (given([1, 2, 3, 1]), given([1, 0, 3, 2])), lambda x, y: x != y),
    Row(logic.equal, (normal(2, 2), normal(2, 2)), lambda x, y: x == y, dtypes=("bool",)),
    Row(logic.less, (given([1, 2, 3]), given([2, 2, 1])), lambda x, y: x < y),
    Row(logic.less_equal, (given([1, 2, 3]), given([2, 2, 1])), lambda x, y: x <= y),
    Row(logic.greater, (given([1, 2, 3]), given([2, 2, 1])), lambda x, y: x > y),
    Row(logic.greater_equal, (given([[1], [2], [3]]), given([2, 1])), lambda x, y: x >= y,
        empty=(normal(0, 1), normal(2))),
    Row(logic.logical_and, (normal(4, 4), normal(4, 4)), operator.and_),
    Row(logic.logical_or, (normal(4, 4), normal(4)), operator.or_, empty=(normal(0, 4), normal(4))),
    Row(logic.logical_xor, (normal(4, 4), normal(4, 4)), operator.xor),
    Row(logic.logical_not, (normal(4, 4),), operator.invert),
    Row(logic.is_nan, (given([np.nan, np.inf, 1]),), lambda x: x != x),
    Row(logic.is_inf, (given([np.nan, np.inf, 1, -np.inf]),), lambda x: np.abs(x) == np.inf),
    Row(logic.is_finite, (given([np.nan, np.inf, 1]),), lambda x: x - x == 0),
    Row(logic.select, (MASK, normal(2, 3), normal(2, 3)), lambda c, x, y: c * x + ~c * y, differentiable=(1, 2),
        dtypes=("float32", "float64", "int32", "complex64"), empty=(MASK[:0], normal(0, 3), normal(0, 3))),
    Row(logic.select, (MASK, normal(), normal(3)), lambda c, x, y: c * x + ~c * y, dtypes=("float64",),
        empty=(MASK[:0], normal(), normal(3))),
    Row(logic.select, (np.arange(2100).reshape(50, 42) % 3 == 0, normal(50, 42), normal(42)),
        lambda c, x, y: c * x + ~c * y, dtypes=("float16", "bfloat16", "float32", "float64", "int32", "complex64"),
        differentiable=(), empty=(MASK[:0], normal(0, 3), normal(3))),
    Row(logic.where_v2, (MASK[0], normal(2, 3), normal(2, 1)), lambda c, x, y: c * x + ~c * y, differentiable=(1, 2),
        dtypes=("float64",), empty=None),
    Row(logic.true_indices, (given([[1, 0, 1], [0, 0, 1]]),), lambda c: np.stack(np.nonzero(c), 1), exact=False),
    # Clipping
    Row(clip.clip_by_value, (normal(2, 3), uniform(-1, -0.2, 2, 3), uniform(0.2, 1, 2, 3)),
        each(lambda t, low, high: max(low, min(high, t)))),
    Row(clip.clip_by_value, (normal(2, 5), given(-1), given(1)), each(lambda t, low, high: max(low, min(high, t)))),
    Row(clip.clip_by_value, (normal(2, 5), given(1), given(-1)), each(lambda t, low, high: low)),
    Row(clip.clip_by_norm, (normal(2, 3), given(0.7)), clipped_norm, differentiable=(0, 1)),
    Row(clip.clip_by_norm, (normal(2, 3), given(1.2)), clipped_norm, {"axes": (1,)}, differentiable=(0, 1)),
    Row(clip.clip_by_average_norm, (normal(2, 3), given(0.2)), lambda t, c: t * np.minimum(
        1, c * t.size / np.sqrt(np.sum(t * t))), dtypes=("float32", "float64"), differentiable=(0, 1), empty=None),
    Row(global_norm_of, (normal(2, 3), normal(4)), global_norm, differentiable=(0, 1), empty=(normal(0), normal(4))),
    Row(clip_by_global_norm_of, (normal(2, 3), normal(4)), clipped_globally, {"clip_norm": 1.5},
        empty=(normal(0), normal(4)), differentiable=(0, 1)),
    Row(clip_by_global_norm_of, (normal(2, 3), normal(4)), clipped_globally, {"clip_norm": 100.0},
        empty=(normal(0), normal(4)), differentiable=(0, 1)),
]
