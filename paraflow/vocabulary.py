"""The operations of the root namespace: arrays, mathematics, linear algebra, random numbers."""

from paraflow.ops.array import (
    broadcast_to,
    cast,
    fill,
    group,
    identity,
    no_op,
    ones,
    ones_like,
    rank,
    reshape,
    shape,
    size,
    stop_gradient,
    zeros,
    zeros_like,
)
from paraflow.ops.array import make_constant as constant
from paraflow.ops.array import make_placeholder as placeholder
from paraflow.ops.array import make_placeholder_with_default as placeholder_with_default
from paraflow.ops.batches import (
    batch_gather,
    dynamic_partition,
    dynamic_stitch,
    repeat,
    tensor_scatter_nd_add,
    tensor_scatter_nd_sub,
    tensor_scatter_nd_update,
)
from paraflow.ops.batches import gather_nd_of as gather_nd
from paraflow.ops.batches import gather_of as gather
from paraflow.ops.batches import tensor_scatter_nd_add as tensor_scatter_add
from paraflow.ops.batches import tensor_scatter_nd_sub as tensor_scatter_sub
from paraflow.ops.batches import tensor_scatter_nd_update as tensor_scatter_update
from paraflow.ops.blocks import (
    batch_to_space,
    batch_to_space_nd,
    depth_to_space,
    required_space_to_batch_paddings,
    space_to_batch,
    space_to_batch_nd,
    space_to_depth,
)
from paraflow.ops.casting import (
    bitcast,
    saturate_cast,
    to_complex64,
    to_complex128,
    to_double,
    to_float,
    to_int32,
    to_int64,
)
from paraflow.ops.clip import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from paraflow.ops.contraction import einsum, tensordot
from paraflow.ops.gathering import boolean_mask, scatter_nd, unsorted_segment_sum
from paraflow.ops.indexing import slice, strided_slice
from paraflow.ops.joining import concat, split, stack, unstack
from paraflow.ops.linalg import (
    diag,
    diag_part,
    eye,
    matmul,
    matrix_band_part,
    matrix_diag,
    matrix_diag_part,
    matrix_transpose,
    norm,
    trace,
)
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
    where,
)
from paraflow.ops.math import (
    abs,
    add,
    add_n,
    ceil,
    div,
    div_no_nan,
    divide,
    floor,
    floordiv,
    floormod,
    log,
    maximum,
    minimum,
    multiply,
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
from paraflow.ops.math import divide as truediv
from paraflow.ops.math import floordiv as floor_div
from paraflow.ops.math import floormod as mod
from paraflow.ops.ordering import (
    argsort,
    bincount,
    confusion_matrix,
    histogram_fixed_width,
    histogram_fixed_width_bins,
    searchsorted,
    setdiff1d,
    sort,
    unique,
    unique_with_counts,
    unravel_index,
)
from paraflow.ops.random import random_normal, random_shuffle, random_uniform, set_random_seed, truncated_normal
from paraflow.ops.rearrange import expand_dims, pad, reverse, reverse_sequence, roll, squeeze, tile, transpose
from paraflow.ops.rearrange import reverse as reverse_v2
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
)
from paraflow.ops.reduce import argmax as arg_max
from paraflow.ops.reduce import argmin as arg_min
from paraflow.ops.scan import cumprod, cumsum
from paraflow.ops.sequences import invert_permutation, linspace, meshgrid, one_hot, range, sequence_mask
from paraflow.ops.sequences import linspace as lin_space
from paraflow.ops.shapes import broadcast_dynamic_shape, broadcast_static_shape, ensure_shape, identity_n, shape_n
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
    sigmoid,
    sin,
    sinh,
    tan,
    tanh,
)

# fmt: off
__all__ = [
    "abs", "acos", "add", "add_n", "arg_max", "arg_min", "argmax", "argmin", "argsort", "asin", "atan", "atan2",
    "batch_gather", "batch_to_space", "batch_to_space_nd", "bincount", "bitcast", "boolean_mask",
    "broadcast_dynamic_shape", "broadcast_static_shape", "broadcast_to", "cast", "ceil", "clip_by_global_norm",
    "clip_by_norm", "clip_by_value", "concat", "confusion_matrix", "constant", "cos", "cosh", "cumprod", "cumsum",
    "depth_to_space", "diag", "diag_part", "div", "div_no_nan", "divide", "dynamic_partition", "dynamic_stitch",
    "einsum", "ensure_shape", "equal", "erf", "exp", "expand_dims", "expm1", "eye", "fill", "floor", "floor_div",
    "floordiv", "floormod", "gather", "gather_nd", "global_norm", "greater", "greater_equal", "group",
    "histogram_fixed_width", "histogram_fixed_width_bins", "identity", "identity_n", "invert_permutation",
    "is_finite", "is_inf", "is_nan", "less", "less_equal", "lin_space", "linspace", "log", "log1p", "logical_and",
    "logical_not", "logical_or", "logical_xor", "matmul", "matrix_band_part", "matrix_diag", "matrix_diag_part",
    "matrix_transpose", "maximum", "meshgrid", "minimum", "mod", "multiply", "negative", "no_op", "norm",
    "not_equal", "one_hot", "ones", "ones_like", "pad", "placeholder", "placeholder_with_default", "pow",
    "random_normal", "random_shuffle", "random_uniform", "range", "rank", "reciprocal", "reduce_all", "reduce_any",
    "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "repeat",
    "required_space_to_batch_paddings", "reshape", "reverse", "reverse_sequence", "reverse_v2", "roll", "round",
    "rsqrt", "saturate_cast", "scatter_nd", "searchsorted", "sequence_mask", "set_random_seed", "setdiff1d",
    "shape", "shape_n", "sigmoid", "sign", "sin", "sinh", "size", "slice", "sort", "space_to_batch",
    "space_to_batch_nd", "space_to_depth", "split", "sqrt", "square", "squared_difference", "squeeze", "stack",
    "stop_gradient", "strided_slice", "subtract", "tan", "tanh", "tensor_scatter_add", "tensor_scatter_nd_add",
    "tensor_scatter_nd_sub", "tensor_scatter_nd_update", "tensor_scatter_sub", "tensor_scatter_update", "tensordot",
    "tile", "to_complex64", "to_complex128", "to_double", "to_float", "to_int32", "to_int64", "trace", "transpose",
    "truediv", "truncated_normal", "unique", "unique_with_counts", "unravel_index", "unsorted_segment_sum",
    "unstack", "where", "zeros", "zeros_like",
]
# fmt: on
