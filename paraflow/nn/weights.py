"""Variables of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paraflow.graph.graph import get_default_graph
from paraflow.graph.node import Tensor
from paraflow.nn.initializers import Initializer
from paraflow.ops.nn import bias_add
from paraflow.ops.state import GraphKeys, Variable

Activation = Callable[[Tensor], Tensor]
Regularizer = Callable[[Any], Any]


def layer_variable(
    name: str,
    shape: Sequence[int],
    dtype: Any,
    initializer: Initializer,
    regularizer: Regularizer | None = None,
    trainable: bool = True,
) -> Variable:
    """A variable of a layer; what ``regularizer`` makes of it joins the collection of regularisation losses."""
    variable = Variable(initializer([*shape], dtype), trainable, name=name)
    regularise(variable, regularizer)
    return variable


def regularise(value: Any, regularizer: Regularizer | None) -> None:
    """Add the loss that ``regularizer`` makes of a variable or of outputs to the collection, if there is one."""
    loss = None if regularizer is None else regularizer(value)
    if loss is not None:
        get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)


def finished(
    outputs: Tensor,
    bias: Variable | None,
    activation: Activation | None,
    activity_regularizer: Regularizer | None,
    data_format: str = "NHWC",
) -> Tensor:
    """What a layer returns: activation(outputs + bias)."""
    y = outputs if bias is None else bias_add(outputs, bias, data_format)
    y = y if activation is None else activation(y)
    regularise(y, activity_regularizer)
    return y
