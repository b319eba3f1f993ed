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

import importlib
from typing import TYPE_CHECKING, Any

from paraflow import (
    bitwise,
    debugging,
    dtypes,
    errors,
    graph_util,
    linalg,
    manip,
    math,
    nn,
    random,
    signal,
    sparse,
    train,
    vocabulary,
)
from paraflow import signal as spectral
from paraflow.autodiff import UnconnectedGradients, gradients, hessians
from paraflow.control.branches import case, cond, switch_case
from paraflow.control.functional import foldl, foldr, map_fn, scan
from paraflow.control.loops import while_loop
from paraflow.control.printing import print_ as print  # noqa: F401
from paraflow.control.tensor_array import TensorArray
from paraflow.errors import OpError
from paraflow.graph.dimension import Dimension
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
    colocate_with,
    control_dependencies,
    device,
    get_collection,
    get_collection_ref,
    get_default_graph,
    init_scope,
    name_scope,
    op_scope,
    reset_default_graph,
)
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, TensorShape, dimension_at_index, dimension_value
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
from paraflow.nn.template import make_template
from paraflow.nn.variable_scope import (
    AUTO_REUSE,
    VariableScope,
    get_local_variable,
    get_variable,
    get_variable_scope,
    no_regularizer,
    variable_op_scope,
    variable_scope,
)
from paraflow.ops.checks import assert_ as Assert  # noqa: N812
from paraflow.ops.checks import (
    assert_equal,
    assert_greater,
    assert_greater_equal,
    assert_integer,
    assert_less,
    assert_less_equal,
    assert_near,
    assert_negative,
    assert_non_negative,
    assert_non_positive,
    assert_none_equal,
    assert_positive,
    assert_rank,
    assert_rank_at_least,
    assert_rank_in,
    assert_scalar,
    assert_type,
)
from paraflow.ops.collective import exchange
from paraflow.ops.debugging import (
    AggregationMethod,
    add_check_numerics_ops,
    assert_proper_iterable,
    assert_same_float_dtype,
    assert_variables_initialized,
    check_numerics,
    convert_to_tensor_or_indexed_slices,
    get_static_value,
    is_numeric_tensor,
    is_tensor,
    verify_tensor_all_finite,
)
from paraflow.ops.graph_defs import import_graph_def
from paraflow.ops.python import RegisterGradient, custom_gradient, grad_pass_through, numpy_function, py_func
from paraflow.ops.python import print_ as Print  # noqa: N812
from paraflow.ops.python import tuple_ as tuple
from paraflow.ops.random import get_seed
from paraflow.ops.recompute import recompute_grad
from paraflow.ops.rows import scatter_add_to as scatter_add
from paraflow.ops.rows import scatter_sub, scatter_update
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
from paraflow.ops.summaries import Summary
from paraflow.ops.variables import (
    batch_scatter_update,
    count_up_to,
    is_variable_initialized,
    local_variables,
    local_variables_initializer,
    model_variables,
    moving_average_variables,
    report_uninitialized_variables,
    scatter_div,
    scatter_max,
    scatter_min,
    scatter_mul,
    scatter_nd_add,
    scatter_nd_sub,
    scatter_nd_update,
)
from paraflow.ops.variables import local_variables_initializer as initialize_local_variables
from paraflow.vocabulary import *  # noqa: F403

if TYPE_CHECKING:  # loaded by __getattr__ when first used
    from paraflow import (
        app,
        comm,
        compat,
        data,
        flags,
        gfile,
        logging,
        metrics,
        nest,
        parallel,
        summary,
        sysconfig,
        testing,
    )
    from paraflow.compiler.pipeline import CompilerOptions
    from paraflow.dtypes import DType, bfloat16
    from paraflow.kernels.user import native_kernel
    from paraflow.logging import get_logger
    from paraflow.runtime.config import (
        ConfigProto,
        GPUOptions,
        GraphOptions,
        OptimizerOptions,
        RunMetadata,
        RunOptions,
    )
    from paraflow.runtime.interactive import InteractiveSession, get_default_session
    from paraflow.runtime.session import Session
    from paraflow.switches import (
        disable_control_flow_v2,
        disable_eager_execution,
        disable_resource_variables,
        disable_tensor_equality,
        disable_v2_behavior,
        disable_v2_tensorshape,
        enable_resource_variables,
        executing_eagerly,
        resource_variables_enabled,
    )

newaxis = None  # in a tensor's key: a new axis of size 1

__all__ = [
    "AUTO_REUSE",
    "AggregationMethod",
    "Assert",
    "CompilerOptions",
    "ConfigProto",
    "DType",
    "Dimension",
    "GPUOptions",
    "Graph",
    "GraphKeys",
    "GraphOptions",
    "IndexedSlices",
    "IndexedSlicesValue",
    "InteractiveSession",
    "OpError",
    "Operation",
    "OptimizerOptions",
    "Print",
    "RegisterGradient",
    "RunMetadata",
    "RunOptions",
    "Session",
    "Spec",
    "Summary",
    "Tensor",
    "TensorArray",
    "TensorShape",
    "UnconnectedGradients",
    "Variable",
    "VariableScope",
    "add_check_numerics_ops",
    "add_to_collection",
    "add_to_collections",
    "all_variables",
    "app",
    "as_dtype",
    "assert_equal",
    "assert_greater",
    "assert_greater_equal",
    "assert_integer",
    "assert_less",
    "assert_less_equal",
    "assert_near",
    "assert_negative",
    "assert_non_negative",
    "assert_non_positive",
    "assert_none_equal",
    "assert_positive",
    "assert_proper_iterable",
    "assert_rank",
    "assert_rank_at_least",
    "assert_rank_in",
    "assert_same_float_dtype",
    "assert_scalar",
    "assert_type",
    "assert_variables_initialized",
    "assign",
    "assign_add",
    "assign_sub",
    "batch_scatter_update",
    "bfloat16",
    "bitwise",
    "bool",
    "case",
    "check_numerics",
    "colocate_with",
    "comm",
    "compat",
    "complex64",
    "complex128",
    "cond",
    "constant_initializer",
    "control_dependencies",
    "convert_to_tensor_or_indexed_slices",
    "count_up_to",
    "custom_gradient",
    "data",
    "debugging",
    "device",
    "dimension_at_index",
    "dimension_value",
    "disable_control_flow_v2",
    "disable_eager_execution",
    "disable_resource_variables",
    "disable_tensor_equality",
    "disable_v2_behavior",
    "disable_v2_tensorshape",
    "double",
    "dtypes",
    "enable_resource_variables",
    "errors",
    "exchange",
    "executing_eagerly",
    "flags",
    "float16",
    "float32",
    "float64",
    "foldl",
    "foldr",
    "get_collection",
    "get_collection_ref",
    "get_default_graph",
    "get_default_session",
    "get_local_variable",
    "get_logger",
    "get_seed",
    "get_static_value",
    "get_variable",
    "get_variable_scope",
    "gfile",
    "global_variables",
    "global_variables_initializer",
    "glorot_normal_initializer",
    "glorot_uniform_initializer",
    "grad_pass_through",
    "gradients",
    "graph_util",
    "half",
    "hessians",
    "import_graph_def",
    "init_scope",
    "initialize_all_variables",
    "initialize_local_variables",
    "initialize_variables",
    "initializers",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_numeric_tensor",
    "is_tensor",
    "is_variable_initialized",
    "layers",
    "linalg",
    "local_variables",
    "local_variables_initializer",
    "logging",
    "losses",
    "make_template",
    "manip",
    "map_fn",
    "math",
    "metrics",
    "model_variables",
    "moving_average_variables",
    "name_scope",
    "native_kernel",
    "nest",
    "newaxis",
    "nn",
    "no_regularizer",
    "numpy_function",
    "ones_initializer",
    "op",
    "op_scope",
    "orthogonal_initializer",
    "parallel",
    "py_func",
    "random",
    "random_normal_initializer",
    "random_uniform_initializer",
    "recompute_grad",
    "report_uninitialized_variables",
    "reset_default_graph",
    "resource_variables_enabled",
    "scan",
    "scatter_add",
    "scatter_div",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
    "scatter_nd_add",
    "scatter_nd_sub",
    "scatter_nd_update",
    "scatter_sub",
    "scatter_update",
    "signal",
    "sparse",
    "spectral",
    "summary",
    "switch_case",
    "sysconfig",
    "testing",
    "train",
    "trainable_variables",
    "truncated_normal_initializer",
    "tuple",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "uniform_unit_scaling_initializer",
    "variable_op_scope",
    "variable_scope",
    "variables_initializer",
    "variance_scaling_initializer",
    "verify_tensor_all_finite",
    "while_loop",
    "zeros_initializer",
]
__all__ += vocabulary.__all__
# Not `print`, of which no program would say that a star import has taken its own away.


# Public name -> the module that has it, where a program that builds graphs may do without it. What runs graphs is here
# too, since ranks, sessions and compiler are half of paraflow. Modules of ops are not: a graph that is read from a file
# needs the records of all.
_LATER = {
    **dict.fromkeys(
        ("ConfigProto", "GPUOptions", "GraphOptions", "OptimizerOptions", "RunMetadata", "RunOptions"),
        "paraflow.runtime.config",
    ),
    **dict.fromkeys(
        ("disable_control_flow_v2", "disable_eager_execution", "disable_resource_variables", "disable_tensor_equality",
         "disable_v2_behavior", "disable_v2_tensorshape", "enable_resource_variables", "executing_eagerly",
         "resource_variables_enabled"),
        "paraflow.switches",
    ),
    **{
        name: f"paraflow.{name}"
        for name in ("app", "comm", "compat", "data", "flags", "gfile", "logging", "metrics", "nest", "parallel",
                     "summary", "sysconfig", "testing")
    },
    "DType": "paraflow.dtypes",
    "CompilerOptions": "paraflow.compiler.pipeline",
    "InteractiveSession": "paraflow.runtime.interactive",
    "Session": "paraflow.runtime.session",
    "bfloat16": "paraflow.dtypes",
    "get_logger": "paraflow.logging",
    "get_default_session": "paraflow.runtime.interactive",
    "native_kernel": "paraflow.kernels.user",
}


def __getattr__(name: str) -> Any:
    """Load what is in ``_LATER`` when it is first used (PEP 562); say of what there is not what serves instead."""
    if name not in _LATER:
        raise importlib.import_module("paraflow.absent").refusal(__name__, name)
    module = importlib.import_module(_LATER[name])
    thing = module if module.__name__ == f"paraflow.{name}" else getattr(module, name)
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    return __all__
