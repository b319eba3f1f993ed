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

from paraflow import bitwise, comm, data, dtypes, errors, linalg, manip, math, nn, parallel, random, train, vocabulary
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
from paraflow.ops.collective import exchange
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
from paraflow.runtime.session import Session, get_default_session
from paraflow.vocabulary import *  # noqa: F403

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
    "add_to_collection",
    "add_to_collections",
    "all_variables",
    "as_dtype",
    "assign",
    "assign_add",
    "assign_sub",
    "bitwise",
    "bool",
    "comm",
    "complex64",
    "complex128",
    "constant_initializer",
    "control_dependencies",
    "convert_to_tensor",
    "data",
    "double",
    "dtypes",
    "errors",
    "exchange",
    "float16",
    "float32",
    "float64",
    "get_collection",
    "get_collection_ref",
    "get_default_graph",
    "get_default_session",
    "global_variables",
    "global_variables_initializer",
    "glorot_normal_initializer",
    "glorot_uniform_initializer",
    "gradients",
    "half",
    "initialize_all_variables",
    "initialize_variables",
    "initializers",
    "int8",
    "int16",
    "int32",
    "int64",
    "layers",
    "linalg",
    "losses",
    "manip",
    "math",
    "name_scope",
    "newaxis",
    "nn",
    "ones_initializer",
    "op",
    "orthogonal_initializer",
    "parallel",
    "random",
    "random_normal_initializer",
    "random_uniform_initializer",
    "reset_default_graph",
    "scatter_add",
    "scatter_sub",
    "scatter_update",
    "train",
    "trainable_variables",
    "truncated_normal_initializer",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "uniform_unit_scaling_initializer",
    "variables_initializer",
    "variance_scaling_initializer",
    "zeros_initializer",
]
__all__ += vocabulary.__all__


def __dir__() -> list[str]:
    return __all__
