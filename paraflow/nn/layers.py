"""Layers: classes that keep their variables, and functions that use one once. Names and arguments of ``tf.layers``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paraflow.errors import GraphError, InvalidTypeError
from paraflow.graph.dtypes import float32, kind_of
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import TensorShape, as_dims, format_dims
from paraflow.nn import initializers
from paraflow.nn.activations import as_activation
from paraflow.nn.convolution_layers import (
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    SeparableConv1D,
    SeparableConv2D,
    conv1d,
    conv2d,
    conv2d_transpose,
    conv3d,
    conv3d_transpose,
    separable_conv1d,
    separable_conv2d,
)
from paraflow.nn.initializers import Initializer
from paraflow.nn.layer import Activation, Constraint, Layer, Regularizer, as_function, finished
from paraflow.nn.normalization import BatchNormalization, batch_normalization
from paraflow.nn.pooling_layers import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
    average_pooling1d,
    average_pooling2d,
    average_pooling3d,
    max_pooling1d,
    max_pooling2d,
    max_pooling3d,
)
from paraflow.nn.variable_scope import get_variable, variable_scope
from paraflow.ops import nn as ops
from paraflow.ops.array import ones, zeros
from paraflow.ops.contraction import tensordot
from paraflow.ops.layer_normalization import layer_normalization
from paraflow.ops.linalg import matmul
from paraflow.ops.logic import select
from paraflow.ops.math import multiply, rsqrt
from paraflow.ops.nn import relu
from paraflow.ops.rearrange import flatten, transpose
from paraflow.ops.reduce import moments_of

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "BatchNormalization",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "SeparableConv1D",
    "SeparableConv2D",
    "average_pooling1d",
    "average_pooling2d",
    "average_pooling3d",
    "batch_normalization",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "dense",
    "dropout",
    "flatten",
    "layer_norm",
    "max_pooling1d",
    "max_pooling2d",
    "max_pooling3d",
    "mlp",
    "separable_conv1d",
    "separable_conv2d",
]

# TensorFlow's layer_norm adds this to variances.
_EPSILON = 1e-12


class Dense(Layer):
    """activation(inputs @ kernel + bias): inputs [..., n] become [..., units].

    Makes the variables NAME/kernel [n, units], by default Glorot-uniform or as the variable scope says, and NAME/bias
    [units], by default zeros, of the inputs' dtype. What the regularizers, functions of a tensor, return joins the
    collection of regularisation losses; optimizers apply the constraints after each update. Raises GraphError if n is
    not known.
    """

    def __init__(
        self,
        units: int,
        activation: Activation | None = None,
        use_bias: bool = True,
        kernel_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
        kernel_regularizer: Regularizer | None = None,
        bias_regularizer: Regularizer | None = None,
        activity_regularizer: Regularizer | None = None,
        kernel_constraint: Constraint | None = None,
        bias_constraint: Constraint | None = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **kwargs)
        self.units, self.activation, self.use_bias = units, as_activation(activation), use_bias
        self._kernel = kernel_initializer, kernel_regularizer, kernel_constraint
        self._bias = bias_initializer or initializers.zeros(), bias_regularizer, bias_constraint
        self.kernel: Any = None
        self.bias: Any = None

    def build(self, input_shape: TensorShape) -> None:
        """Make kernel and bias."""
        if kind_of(self._dtype or float32) not in "fc":
            raise InvalidTypeError(f"{self.name} is of floating point, not of {self._dtype}: use cast{at_user_line()}")
        dims = as_dims(input_shape)
        width = None if dims is None or len(dims) < 2 else dims[-1]
        if width is None:
            raise self._unfit("[..., n] of known rank and known n", dims)
        initializer, regularizer, constraint = self._kernel
        self.kernel = self.add_weight(
            "kernel", [width, self.units], None, initializer, regularizer, constraint=constraint
        )
        if self.use_bias:
            initializer, regularizer, constraint = self._bias
            self.bias = self.add_weight("bias", [self.units], None, initializer, regularizer, constraint=constraint)

    def call(self, inputs: Tensor) -> Tensor:
        """The product, the bias, the activation."""
        outputs: Tensor = matmul(inputs, self.kernel) if inputs.spec.rank == 2 else tensordot(inputs, self.kernel, 1)
        return finished(outputs, self.bias, self.activation)


dense = as_function(Dense, "One use of the layer `Dense`; with ``reuse`` the variables of that ``name`` are shared.")


class Dropout(Layer):
    """In training, elements are set to 0 with probability ``rate`` and the others divided by 1 - rate.

    Called with ``training``, a bool or a scalar bool tensor such as a placeholder. Otherwise the inputs themselves.
    Srivastava et al., "Dropout" (2014).
    """

    _makes_variables = False

    def __init__(
        self, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def call(self, inputs: Tensor, training: Any = False) -> Tensor:
        """The inputs, in training with elements dropped."""
        if isinstance(training, (bool, int)) and not training:
            return inputs
        dropped: Tensor = ops.dropout(inputs, None, self.noise_shape, self.seed, rate=self.rate)
        if isinstance(training, (bool, int)):
            return dropped
        result: Tensor = select(convert(training), dropped, inputs)
        return result


dropout = as_function(Dropout, "One use of the layer `Dropout`: without ``training`` the inputs themselves.")


class Flatten(Layer):
    """All axes but the first merged into one; with ``data_format`` "channels_first" as if the channels came last."""

    _makes_variables = False

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if data_format not in (None, "channels_last", "channels_first"):
            raise GraphError(f"data_format is 'channels_last' or 'channels_first', not {data_format!r}{at_user_line()}")
        self.data_format = data_format

    def call(self, inputs: Tensor) -> Tensor:
        """The flat inputs, [n, elements of each]."""
        rank = inputs.spec.rank or 0
        if self.data_format == "channels_first" and rank > 2:
            inputs = transpose(inputs, [0, *range(2, rank), 1])
        flat: Tensor = flatten(inputs)
        return flat


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
    with variable_scope(scope, default_name="LayerNorm"):
        sizes = [n for n in dims[begin_params_axis:] if n is not None]
        beta = get_variable("beta", sizes, x.dtype, initializers.zeros(), trainable=trainable) if center else None
        gamma = get_variable("gamma", sizes, x.dtype, initializers.ones(), trainable=trainable) if scale else None
        if len(sizes) <= len(dims) - first:
            factor = ones(sizes, x.dtype) if gamma is None else gamma
            offset = zeros(sizes, x.dtype) if beta is None else beta
            y = layer_normalization(x, factor, offset, axes=len(dims) - first, epsilon=_EPSILON)
        else:
            mean, variance = moments_of(x, tuple(range(first, len(dims))), True)
            y = multiply(x - mean, rsqrt(variance + _EPSILON))
            y = y if gamma is None else y * gamma
            y = y if beta is None else y + beta
        return finished(y, None, as_activation(activation_fn))


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
    function = as_activation(activation)
    with variable_scope(None, default_name=name):
        x = flatten(inputs) if convert(inputs).spec.rank != 2 else convert(inputs)
        for width in units[:-1]:
            if normalizer is None:
                x = dense(x, width, function, kernel_initializer=kernel_initializer)
            else:
                x = normalizer(dense(x, width, None, False, kernel_initializer=kernel_initializer))
                x = finished(x, None, function)
        outputs: Tensor = dense(x, units[-1], kernel_initializer=kernel_initializer)
        return outputs
