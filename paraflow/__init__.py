"""paraflow: data-parallel training of dataflow graphs on numpy and MPI.

Build a graph of operations, run it in a `Session`, train it on one process or on many. Names and meanings are those of
TensorFlow 1.x::

    import paraflow as pf

    x = pf.placeholder(pf.float32, (None, 2))
    w = pf.Variable(pf.random_normal([2, 1], seed=1))
    loss = pf.reduce_mean(pf.square(pf.matmul(x, w)))
    step = pf.train.GradientDescentOptimizer(0.1).minimize(loss)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(step, {x: [[1.0, 2.0]]})
"""

from paraflow import comm, data, errors, nn, parallel, train
from paraflow.autodiff import gradients
from paraflow.graph.dtypes import (
    as_dtype,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from paraflow.graph.dtypes import bool_ as bool
from paraflow.graph.dtypes import float16 as half
from paraflow.graph.dtypes import float64 as double
from paraflow.graph.graph import (
    Graph,
    add_to_collection,
    add_to_collections,
    control_dependencies,
    get_collection,
    get_collection_ref,
    get_default_graph,
    name_scope,
    reset_default_graph,
)
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import convert as convert_to_tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, TensorShape
from paraflow.nn import initializers, layers, losses
from paraflow.nn.initializers import constant as constant_initializer
from paraflow.nn.initializers import glorot_normal as glorot_normal_initializer
from paraflow.nn.initializers import glorot_uniform as glorot_uniform_initializer
from paraflow.nn.initializers import ones as ones_initializer
from paraflow.nn.initializers import orthogonal as orthogonal_initializer
from paraflow.nn.initializers import random_normal as random_normal_initializer
from paraflow.nn.initializers import random_uniform as random_uniform_initializer
from paraflow.nn.initializers import truncated_normal as truncated_normal_initializer
from paraflow.nn.initializers import uniform_unit_scaling as uniform_unit_scaling_initializer
from paraflow.nn.initializers import variance_scaling as variance_scaling_initializer
from paraflow.nn.initializers import zeros as zeros_initializer
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
    to_double,
    to_float,
    to_int32,
    to_int64,
    zeros,
    zeros_like,
)
from paraflow.ops.array import make_constant as constant
from paraflow.ops.array import make_placeholder as placeholder
from paraflow.ops.clip import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from paraflow.ops.collective import exchange
from paraflow.ops.contraction import einsum, tensordot
from paraflow.ops.gathering import boolean_mask, gather, gather_nd, scatter_nd, unsorted_segment_sum
from paraflow.ops.indexing import slice
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
from paraflow.ops.random import (
    random_normal,
    random_shuffle,
    random_uniform,
    set_random_seed,
    truncated_normal,
)
from paraflow.ops.rearrange import expand_dims, pad, reverse, squeeze, tile, transpose
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
from paraflow.ops.rows import scatter_add_to as scatter_add
from paraflow.ops.rows import scatter_sub, scatter_update
from paraflow.ops.scan import cumprod, cumsum
from paraflow.ops.sequences import invert_permutation, linspace, meshgrid, one_hot, range, sequence_mask
from paraflow.ops.sequences import linspace as lin_space
from paraflow.ops.slices import IndexedSlices, IndexedSlicesValue
from paraflow.ops.state import (
    GraphKeys,
    Variable,
    assign,
    assign_add,
    assign_sub,
    global_variables,
    global_variables_initializer,
    initialize_all_variables,
    trainable_variables,
    variables_initializer,
)
from paraflow.ops.state import global_variables as all_variables
from paraflow.ops.state import variables_initializer as initialize_variables
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
from paraflow.runtime.session import Session, get_default_session

newaxis = None  # in a tensor's key: a new axis of size 1

__all__ = [
    "Graph",
    "GraphKeys",
    "IndexedSlices",
    "IndexedSlicesValue",
    "Operation",
    "Session",
    "Spec",
    "Tensor",
    "TensorShape",
    "Variable",
    "abs",
    "acos",
    "add",
    "add_n",
    "add_to_collection",
    "add_to_collections",
    "all_variables",
    "arg_max",
    "arg_min",
    "argmax",
    "argmin",
    "as_dtype",
    "asin",
    "assign",
    "assign_add",
    "assign_sub",
    "atan",
    "atan2",
    "bool",
    "boolean_mask",
    "broadcast_to",
    "cast",
    "ceil",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "comm",
    "complex64",
    "complex128",
    "concat",
    "constant",
    "constant_initializer",
    "control_dependencies",
    "convert_to_tensor",
    "cos",
    "cosh",
    "cumprod",
    "cumsum",
    "data",
    "diag",
    "diag_part",
    "div",
    "div_no_nan",
    "divide",
    "double",
    "einsum",
    "equal",
    "erf",
    "errors",
    "exchange",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "fill",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_div",
    "floordiv",
    "floormod",
    "gather",
    "gather_nd",
    "get_collection",
    "get_collection_ref",
    "get_default_graph",
    "get_default_session",
    "global_norm",
    "global_variables",
    "global_variables_initializer",
    "glorot_normal_initializer",
    "glorot_uniform_initializer",
    "gradients",
    "greater",
    "greater_equal",
    "group",
    "half",
    "identity",
    "initialize_all_variables",
    "initialize_variables",
    "initializers",
    "int8",
    "int16",
    "int32",
    "int64",
    "invert_permutation",
    "is_finite",
    "is_inf",
    "is_nan",
    "layers",
    "less",
    "less_equal",
    "lin_space",
    "linspace",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "losses",
    "matmul",
    "matrix_band_part",
    "matrix_diag",
    "matrix_diag_part",
    "matrix_transpose",
    "maximum",
    "meshgrid",
    "minimum",
    "mod",
    "multiply",
    "name_scope",
    "negative",
    "newaxis",
    "nn",
    "no_op",
    "norm",
    "not_equal",
    "one_hot",
    "ones",
    "ones_initializer",
    "ones_like",
    "op",
    "orthogonal_initializer",
    "pad",
    "parallel",
    "placeholder",
    "pow",
    "random_normal",
    "random_normal_initializer",
    "random_shuffle",
    "random_uniform",
    "random_uniform_initializer",
    "range",
    "rank",
    "reciprocal",
    "reduce_all",
    "reduce_any",
    "reduce_logsumexp",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
    "reset_default_graph",
    "reshape",
    "reverse",
    "round",
    "rsqrt",
    "scatter_add",
    "scatter_nd",
    "scatter_sub",
    "scatter_update",
    "sequence_mask",
    "set_random_seed",
    "shape",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "size",
    "slice",
    "split",
    "sqrt",
    "square",
    "squared_difference",
    "squeeze",
    "stack",
    "stop_gradient",
    "subtract",
    "tan",
    "tanh",
    "tensordot",
    "tile",
    "to_double",
    "to_float",
    "to_int32",
    "to_int64",
    "trace",
    "train",
    "trainable_variables",
    "transpose",
    "truediv",
    "truncated_normal",
    "truncated_normal_initializer",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "uniform_unit_scaling_initializer",
    "unsorted_segment_sum",
    "unstack",
    "variables_initializer",
    "variance_scaling_initializer",
    "where",
    "zeros",
    "zeros_initializer",
    "zeros_like",
]


def __dir__() -> list[str]:
    return __all__
