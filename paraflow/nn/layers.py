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
from paraflow.nn.convolution_layers import (
    average_pooling1d,
    average_pooling2d,
    conv1d,
    conv2d,
    conv2d_transpose,
    conv3d,
    max_pooling1d,
    max_pooling2d,
    separable_conv2d,
)
from paraflow.nn.initializers import Initializer
from paraflow.nn.normalization import batch_normalization
from paraflow.nn.weights import Activation, Regularizer, finished, layer_variable
from paraflow.ops import nn as ops
from paraflow.ops.contraction import tensordot
from paraflow.ops.linalg import matmul
from paraflow.ops.logic import select
from paraflow.ops.math import multiply, rsqrt
from paraflow.ops.nn import relu
from paraflow.ops.rearrange import flatten
from paraflow.ops.reduce import moments_of

__all__ = [
    "average_pooling1d",
    "average_pooling2d",
    "batch_normalization",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "dense",
    "dropout",
    "flatten",
    "layer_norm",
    "max_pooling1d",
    "max_pooling2d",
    "mlp",
    "separable_conv2d",
]


def dense(
    inputs: Any,
    units: int,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
    *,
    kernel_regularizer: Regularizer | None = None,
    bias_regularizer: Regularizer | None = None,
    activity_regularizer: Regularizer | None = None,
    trainable: bool = True,
    name: str | None = None,
) -> Tensor:
    """activation(inputs @ kernel + bias): inputs [..., n] become [..., units].

    Makes the variables NAME/kernel [n, units], Glorot-uniform by default, and NAME/bias [units], by default zeros, of
    the inputs' dtype; NAME is "dense" by default, made unique. What the regularizers, functions of a tensor, return
    joins the collection of regularisation losses. Raises GraphError if n is not known.
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
        kernel = layer_variable(
            "kernel", [width, units], x.dtype, kernel_initializer or initializers.glorot_uniform(), kernel_regularizer,
            trainable,
        )  # fmt: skip
        outputs = matmul(x, kernel) if rank == 2 else tensordot(x, kernel, 1)
        outputs.set_shape([*x.shape.as_list()[:-1], units])
        bias = None
        if use_bias:
            bias = layer_variable(
                "bias", [units], x.dtype, bias_initializer or initializers.zeros(), bias_regularizer, trainable
            )
        return finished(outputs, bias, activation, activity_regularizer)


def dropout(
    inputs: Any,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: int | None = None,
    training: Any = False,
    name: str | None = None,
) -> Tensor:
    """In training, elements are set to 0 with probability ``rate`` and the others divided by 1 - rate.

    ``training`` is a bool, or a scalar bool tensor such as a placeholder. Otherwise the inputs themselves.
    Srivastava et al., "Dropout" (2014).
    """
    with name_scope(name or "dropout"):
        x = convert(inputs)
        if isinstance(training, (bool, int)):
            return ops.dropout(x, None, noise_shape, seed, rate=rate) if training else x
        result: Tensor = select(convert(training), ops.dropout(x, None, noise_shape, seed, rate=rate), x)
        return result


def layer_norm(
    inputs: Any,
    center: bool = True,
    scale: bool = True,
    activation_fn: Activation | None = None,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    trainable: bool = True,
    scope: str | None = None,
) -> Tensor:
    """Each sample less its mean and by its standard deviation over the axes from ``begin_norm_axis``, then scaled.

    Makes NAME/beta (zeros), which is added, and NAME/gamma (ones), by which is multiplied, of the sizes of the axes
    from ``begin_params_axis``, which have to be known; NAME is "LayerNorm" by default. The arguments are those of
    ``tf.contrib.layers.layer_norm``. Ba, Kiros & Hinton, "Layer normalization" (2016).
    """
    x = convert(inputs)
    dims = x.spec.shape
    if dims is None or not -len(dims) <= begin_params_axis < len(dims) or None in dims[begin_params_axis:]:
        raise GraphError(
            f"layer_norm needs the sizes of the axes from {begin_params_axis}, not {format_dims(dims)}: "
            f"give {x.op.where()} a shape"
        )
    first = begin_norm_axis % len(dims)
    with name_scope(scope or "LayerNorm"):
        sizes = [n for n in dims[begin_params_axis:] if n is not None]
        beta = layer_variable("beta", sizes, x.dtype, initializers.zeros(), None, trainable) if center else None
        gamma = layer_variable("gamma", sizes, x.dtype, initializers.ones(), None, trainable) if scale else None
        mean, variance = moments_of(x, tuple(range(first, len(dims))), True)
        y = multiply(x - mean, rsqrt(variance + 1e-12))
        y = y if gamma is None else y * gamma
        y = y if beta is None else y + beta
        return y if activation_fn is None else activation_fn(y)


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
