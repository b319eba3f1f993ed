"""Layers: functions that add variables and operations to the graph. Names and arguments of ``tf.layers``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.graph.shape import format_dims
from paraflow.nn import initializers
from paraflow.nn.initializers import Initializer
from paraflow.nn.normalization import batch_normalization
from paraflow.ops.contraction import tensordot
from paraflow.ops.linalg import matmul
from paraflow.ops.nn import bias_add, relu
from paraflow.ops.rearrange import flatten
from paraflow.ops.state import Variable

__all__ = ["batch_normalization", "dense", "flatten", "mlp"]

Activation = Callable[[Tensor], Tensor]


def dense(
    inputs: Any,
    units: int,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
    trainable: bool = True,
    name: str | None = None,
) -> Tensor:
    """activation(inputs @ kernel + bias): inputs [..., n] become [..., units].

    Makes the variables NAME/kernel [n, units], Glorot-uniform by default, and NAME/bias [units], by default zeros, of
    the inputs' dtype; NAME is "dense" by default, made unique. Raises GraphError if n is not known.
    """
    x = convert(inputs)
    rank = x.spec.rank
    width = None if not x.spec.shape else x.spec.shape[-1]
    if rank is None or rank < 2 or width is None:
        raise GraphError(
            f"dense needs inputs [..., n] of known rank and known n, not {format_dims(x.spec.shape)}: "
            f"give {x.op.where()} a shape"
        )
    with name_scope(name or "dense"):
        start = (kernel_initializer or initializers.glorot_uniform())([width, units], x.dtype)
        kernel = Variable(start, trainable, name="kernel")
        outputs = matmul(x, kernel) if rank == 2 else tensordot(x, kernel, 1)
        outputs.set_shape([*x.shape.as_list()[:-1], units])
        if use_bias:
            start = (bias_initializer or initializers.zeros())([units], x.dtype)
            outputs = bias_add(outputs, Variable(start, trainable, name="bias"))
        return outputs if activation is None else activation(outputs)


def mlp(
    inputs: Any,
    units: Sequence[int],
    activation: Activation = relu,
    kernel_initializer: Initializer | None = None,
    name: str = "mlp",
    normalizer: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """A multi-layer perceptron: one dense layer for each number in ``units``, ``activation`` after all but the last.

    With a ``normalizer`` (`batch_normalization`, say) these layers have no bias, and it stands before the activation.
    Inputs [n, d...] are flattened; the outputs are [n, units[-1]].
    """
    with name_scope(name):
        x = flatten(inputs) if convert(inputs).spec.rank != 2 else convert(inputs)
        for width in units[:-1]:
            if normalizer is None:
                x = dense(x, width, activation, kernel_initializer=kernel_initializer)
            else:
                x = activation(normalizer(dense(x, width, None, False, kernel_initializer=kernel_initializer)))
        return dense(x, units[-1], kernel_initializer=kernel_initializer)
