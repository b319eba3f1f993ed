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
    gather,
    gather_nd,
    repeat,
    tensor_scatter_nd_add,
    tensor_scatter_nd_sub,
    tensor_scatter_nd_update,
)
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
    to_bfloat16,
    to_complex64,
    to_complex128,
    to_double,
    to_float,
    to_int32,
    to_int64,
)
from paraflow.ops.clip import clip_by_average_norm, clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from paraflow.ops.complexes import angle, complex, conj, imag, real
from paraflow.ops.contraction import einsum, tensordot
from paraflow.ops.decompositions import qr, self_adjoint_eig, self_adjoint_eigvals, svd
from paraflow.ops.gathering import boolean_mask, scatter_nd
from paraflow.ops.indexing import slice, strided_slice
from paraflow.ops.joining import concat, split, stack, unstack
from paraflow.ops.linalg import (
    diag,
    diag_part,
    eye,
    matrix_band_part,
    matrix_diag,
    matrix_diag_part,
    matrix_set_diag,
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
    where_v2,
)
from paraflow.ops.math import (
    abs,
    accumulate_n,
    add,
    add_n,
    approximate_equal,
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
    rint,
    round,
    rsqrt,
    scalar_mul,
    sign,
    sqrt,
    square,
    squared_difference,
    subtract,
    truncatediv,
    truncatemod,
)
from paraflow.ops.math import divide as realdiv
from paraflow.ops.math import divide as truediv
from paraflow.ops.math import floordiv as floor_div
from paraflow.ops.math import floormod as mod
from paraflow.ops.norms import norm
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
from paraflow.ops.products import cross, matmul, matrix_transpose, transpose
from paraflow.ops.random import (
    random_crop,
    random_normal,
    random_shuffle,
    random_uniform,
    set_random_seed,
    truncated_normal,
)
from paraflow.ops.rearrange import expand_dims, pad, reverse, reverse_sequence, roll, squeeze, tile
from paraflow.ops.rearrange import reverse as reverse_v2
from paraflow.ops.reduce import (
    argmax,
    argmin,
    count_nonzero,
    is_non_decreasing,
    is_strictly_increasing,
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
from paraflow.ops.segments import (
    segment_max,
    segment_mean,
    segment_min,
    segment_prod,
    segment_sum,
    sparse_segment_mean,
    sparse_segment_sqrt_n,
    sparse_segment_sum,
    unsorted_segment_max,
    unsorted_segment_mean,
    unsorted_segment_min,
    unsorted_segment_prod,
    unsorted_segment_sqrt_n,
    unsorted_segment_sum,
)
from paraflow.ops.sequences import invert_permutation, linspace, meshgrid, one_hot, range, sequence_mask
from paraflow.ops.sequences import linspace as lin_space
from paraflow.ops.shapes import broadcast_dynamic_shape, broadcast_static_shape, ensure_shape, identity_n, shape_n
from paraflow.ops.solving import (
    cholesky,
    cholesky_solve,
    matrix_determinant,
    matrix_inverse,
    matrix_solve,
    matrix_solve_ls,
    matrix_triangular_solve,
)
from paraflow.ops.special import betainc, digamma, igamma, igammac, lbeta, lgamma, polygamma, zeta
from paraflow.ops.transcendental import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    expm1,
    log1p,
    log_sigmoid,
    sigmoid,
    sin,
    sinh,
    tan,
    tanh,
)

# fmt: off
__all__ = [
    "abs", "accumulate_n", "acos", "acosh", "add", "add_n", "angle", "approximate_equal", "arg_max", "arg_min",
    "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atan2", "atanh", "batch_gather", "batch_to_space",
    "batch_to_space_nd", "betainc", "bincount", "bitcast", "boolean_mask", "broadcast_dynamic_shape",
    "broadcast_static_shape", "broadcast_to", "cast", "ceil", "cholesky", "cholesky_solve", "clip_by_average_norm",
    "clip_by_global_norm", "clip_by_norm", "clip_by_value", "complex", "concat", "confusion_matrix", "conj",
    "constant", "cos", "cosh", "count_nonzero", "cross", "cumprod", "cumsum", "depth_to_space", "diag", "diag_part",
    "digamma", "div", "div_no_nan", "divide", "dynamic_partition", "dynamic_stitch", "einsum", "ensure_shape",
    "equal", "erf", "erfc", "exp", "expand_dims", "expm1", "eye", "fill", "floor", "floor_div", "floordiv",
    "floormod", "gather", "gather_nd", "global_norm", "greater", "greater_equal", "group", "histogram_fixed_width",
    "histogram_fixed_width_bins", "identity", "identity_n", "igamma", "igammac", "imag", "invert_permutation",
    "is_finite", "is_inf", "is_nan", "is_non_decreasing", "is_strictly_increasing", "lbeta", "less", "less_equal",
    "lgamma", "lin_space", "linspace", "log", "log1p", "log_sigmoid", "logical_and", "logical_not", "logical_or",
    "logical_xor", "matmul", "matrix_band_part", "matrix_determinant", "matrix_diag", "matrix_diag_part",
    "matrix_inverse", "matrix_set_diag", "matrix_solve", "matrix_solve_ls", "matrix_transpose",
    "matrix_triangular_solve", "maximum", "meshgrid", "minimum", "mod", "multiply", "negative", "no_op", "norm",
    "not_equal", "one_hot", "ones", "ones_like", "pad", "placeholder", "placeholder_with_default", "polygamma",
    "pow", "qr", "random_crop", "random_normal", "random_shuffle", "random_uniform", "range", "rank", "real",
    "realdiv", "reciprocal", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max", "reduce_mean",
    "reduce_min", "reduce_prod", "reduce_sum", "repeat", "required_space_to_batch_paddings", "reshape", "reverse",
    "reverse_sequence", "reverse_v2", "rint", "roll", "round", "rsqrt", "saturate_cast", "scalar_mul", "scatter_nd",
    "searchsorted", "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum", "self_adjoint_eig",
    "self_adjoint_eigvals", "sequence_mask", "set_random_seed", "setdiff1d", "shape", "shape_n", "sigmoid", "sign",
    "sin", "sinh", "size", "slice", "sort", "space_to_batch", "space_to_batch_nd", "space_to_depth",
    "sparse_segment_mean", "sparse_segment_sqrt_n", "sparse_segment_sum", "split", "sqrt", "square",
    "squared_difference", "squeeze", "stack", "stop_gradient", "strided_slice", "subtract", "svd", "tan", "tanh",
    "tensor_scatter_add", "tensor_scatter_nd_add", "tensor_scatter_nd_sub", "tensor_scatter_nd_update",
    "tensor_scatter_sub", "tensor_scatter_update", "tensordot", "tile", "to_bfloat16", "to_complex64", "to_complex128",
    "to_double", "to_float", "to_int32", "to_int64", "trace", "transpose", "truediv", "truncated_normal",
    "truncatediv", "truncatemod", "unique", "unique_with_counts", "unravel_index", "unsorted_segment_max",
    "unsorted_segment_mean", "unsorted_segment_min", "unsorted_segment_prod", "unsorted_segment_sqrt_n",
    "unsorted_segment_sum", "unstack", "where", "where_v2", "zeros", "zeros_like", "zeta",
]
# fmt: on
