"""Mathematics, as ``tf.math`` has it."""

from paraflow.ops.gathering import top_k, unsorted_segment_sum
from paraflow.ops.logic import (
    equal,
    greater,
    greater_equal,
    is_finite,
    is_inf,
    is_nan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
)
from paraflow.ops.math import (
    abs,
    add,
    add_n,
    ceil,
    divide,
    floor,
    floordiv,
    floormod,
    log,
    maximum,
    minimum,
    multiply,
    multiply_no_nan,
    negative,
    pow,
    reciprocal,
    round,
    rsqrt,
    sign,
    sqrt,
    square,
    squared_difference,
    subtract,
)
from paraflow.ops.math import div_no_nan as divide_no_nan
from paraflow.ops.math import divide as truediv
from paraflow.ops.math import floormod as mod
from paraflow.ops.nn import in_top_k, l2_normalize, log_softmax, softmax
from paraflow.ops.ordering import bincount, confusion_matrix
from paraflow.ops.reduce import (
    argmax,
    argmin,
    reduce_all,
    reduce_any,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
    reduce_variance,
)
from paraflow.ops.scan import cumprod, cumsum
from paraflow.ops.sequences import invert_permutation
from paraflow.ops.transcendental import (
    acos,
    asin,
    atan,
    atan2,
    cos,
    cosh,
    erf,
    exp,
    expm1,
    log1p,
    log_sigmoid,
    sigmoid,
    sin,
    sinh,
    softplus,
    tan,
    tanh,
)

# fmt: off
__all__ = [
    "abs", "acos", "add", "add_n", "argmax", "argmin", "asin", "atan", "atan2", "bincount", "ceil",
    "confusion_matrix", "cos", "cosh", "cumprod", "cumsum", "divide", "divide_no_nan", "equal", "erf", "exp",
    "expm1", "floor", "floordiv", "floormod", "greater", "greater_equal", "in_top_k", "invert_permutation",
    "is_finite", "is_inf", "is_nan", "l2_normalize", "less", "less_equal", "log", "log1p", "log_sigmoid",
    "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod",
    "multiply", "multiply_no_nan", "negative", "not_equal", "pow", "reciprocal", "reduce_all", "reduce_any",
    "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "reduce_variance",
    "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "softmax", "softplus", "sqrt", "square",
    "squared_difference", "subtract", "tan", "tanh", "top_k", "truediv", "unsorted_segment_sum",
]
# fmt: on
