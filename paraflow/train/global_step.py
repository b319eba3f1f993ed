"""The variable that counts training steps: one in a graph, found by its collection."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.context import Runner
from paraflow.graph.dtypes import is_integer
from paraflow.graph.graph import Graph, get_default_graph
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line
from paraflow.ops.state import GraphKeys, Variable


def create_global_step(graph: Graph | None = None) -> Variable:
    """Make the variable ``global_step`` of the graph, int64 and not trainable; raises ValueError if there is one."""
    graph = graph or get_default_graph()
    if get_global_step(graph) is not None:
        raise GraphError(f'"global_step" already exists: get_or_create_global_step() returns it{at_user_line()}')
    with graph.as_default(), graph.name_scope(None):
        keys = [GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP]
        return Variable(np.int64(0), trainable=False, collections=keys, name=GraphKeys.GLOBAL_STEP)


def get_global_step(graph: Graph | None = None) -> Variable | Tensor | None:
    """The one variable of the collection GLOBAL_STEP, else the one of the name ``global_step``, else None."""
    graph = graph or get_default_graph()
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        raise GraphError(f"the collection 'global_step' has {len(found)} members, so which one counts?")
    step: Variable | None = found[0] if found else graph.handles.get(GraphKeys.GLOBAL_STEP)
    if step is not None:
        assert_global_step(step)
    return step


def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """The variable that counts the graph's steps, made where there is none."""
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found


def assert_global_step(global_step_tensor: Any) -> None:
    """Raise TypeError unless it is an integer scalar."""
    if not isinstance(global_step_tensor, (Variable, Tensor)) or not is_integer(global_step_tensor.dtype):
        raise TypeError(f"a global step is an integer variable or tensor, not {global_step_tensor!r}")
    if global_step_tensor.shape.ndims not in (0, None):
        raise TypeError(f"a global step is a scalar, not {global_step_tensor!r}")


def global_step(sess: Runner, global_step_tensor: Any) -> int:
    """The number of steps so far in the session ``sess``."""
    return int(sess.run(global_step_tensor))
