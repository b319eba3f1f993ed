"""Layers whose windows slide over images: functions that add variables and operations, as in ``tf.layers``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims
from paraflow.nn import convolution, initializers, pooling
from paraflow.nn.convolution import Numbers, Windows
from paraflow.nn.initializers import Initializer
from paraflow.nn.weights import Activation, Regularizer, finished, layer_variable
from paraflow.ops.array import size_along

_FORMATS = {
    "channels_last": {1: "NWC", 2: "NHWC", 3: "NDHWC"},
    "channels_first": {1: "NCW", 2: "NCHW", 3: "NCDHW"},
}


def _format(data_format: str, rank: int) -> str:
    if data_format not in _FORMATS:
        raise GraphError(f"data_format is 'channels_last' or 'channels_first', not {data_format!r}{at_user_line()}")
    return _FORMATS[data_format][rank]


def _bias_format(data_format: str) -> str:
    return "NCHW" if data_format == "channels_first" else "NHWC"


def _channels(x: Tensor, rank: int, data_format: str, layer: str) -> int:
    """The number of channels; raises GraphError unless the rank fits and the number is known."""
    dims = x.spec.shape
    channels = None if dims is None or len(dims) != rank + 2 else dims[1 if data_format == "channels_first" else -1]
    if channels is None:
        raise GraphError(
            f"{layer} needs inputs of {rank + 2} axes and a known number of channels, not {format_dims(dims)}: "
            f"give {x.op.where()} a shape"
        )
    return channels


def _bias(
    use_bias: bool,
    units: int,
    x: Tensor,
    initializer: Initializer | None,
    regularizer: Regularizer | None,
    trainable: bool,
) -> Any:
    if not use_bias:
        return None
    return layer_variable("bias", [units], x.dtype, initializer or initializers.zeros(), regularizer, trainable)


def _convolution_layer(rank: int, doc: str) -> Callable[..., Tensor]:
    """The layer over ``rank`` axes."""

    def layer(
        inputs: Any,
        filters: int,
        kernel_size: Numbers,
        strides: Numbers = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Numbers = 1,
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
        x = convert(inputs)
        channels = _channels(x, rank, data_format, f"conv{rank}d")
        layout = _format(data_format, rank)
        window = Windows(rank, layout, strides, padding).numbers(kernel_size, "kernel_size")
        with name_scope(name or f"conv{rank}d"):
            kernel = layer_variable(
                "kernel", [*window, channels, filters], x.dtype, kernel_initializer or initializers.glorot_uniform(),
                kernel_regularizer, trainable,
            )  # fmt: skip
            bias = _bias(use_bias, filters, x, bias_initializer, bias_regularizer, trainable)
            y = convolution.convolution(x, kernel, padding, strides, dilation_rate, data_format=layout)
            return finished(y, bias, activation, activity_regularizer, _bias_format(data_format))

    layer.__name__ = layer.__qualname__ = f"conv{rank}d"
    layer.__doc__ = doc
    return layer


conv2d = _convolution_layer(
    2,
    """activation(convolution of ``inputs`` + bias): [n, h, w, channels] become [n, places..., filters].

    Makes the variables NAME/kernel [*kernel_size, channels, filters], Glorot-uniform by default, and NAME/bias
    [filters], by default zeros, of the inputs' dtype; NAME is "conv2d" by default, made unique. ``padding`` is "valid"
    or "same"; with ``data_format`` "channels_first" inputs and results are [n, channels, h, w]. What the regularizers,
    functions of a tensor, return joins the collection of regularisation losses. Raises GraphError if the number of
    channels is not known.
    """,
)
conv1d = _convolution_layer(1, "`conv2d` over one axis: inputs [n, w, channels].")
conv3d = _convolution_layer(3, "`conv2d` over three axes: inputs [n, d, h, w, channels].")


def conv2d_transpose(
    inputs: Any,
    filters: int,
    kernel_size: Numbers,
    strides: Numbers = (1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
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
    """The transpose of `conv2d`, which makes images larger by ``strides``; NAME/kernel is [..., filters, channels].

    A size n becomes n * stride, and with padding "valid" larger by what the window has more elements than the stride.
    """
    x = convert(inputs)
    channels = _channels(x, 2, data_format, "conv2d_transpose")
    windows = Windows(2, _format(data_format, 2), strides, padding)
    window = windows.numbers(kernel_size, "kernel_size")
    with name_scope(name or "conv2d_transpose"):
        kernel = layer_variable(
            "kernel", [*window, filters, channels], x.dtype, kernel_initializer or initializers.glorot_uniform(),
            kernel_regularizer, trainable,
        )  # fmt: skip
        bias = _bias(use_bias, filters, x, bias_initializer, bias_regularizer, trainable)
        first = 2 if windows.channels_first else 1
        beyond = [max(k - s, 0) if windows.padding == "VALID" else 0
                  for k, s in zip(window, windows.strides, strict=True)]  # fmt: skip
        sizes = [size_along(x, first + i) * windows.strides[i] + beyond[i] for i in range(2)]
        shape = [filters, *sizes] if windows.channels_first else [*sizes, filters]
        y = convolution.conv2d_transpose(
            x, kernel, convert([size_along(x, 0), *shape]), strides, padding, _format(data_format, 2)
        )
        known = [n if isinstance(n, int) else None for n in (size_along(x, 0), *shape)]
        y.set_shape(known)
        return finished(y, bias, activation, activity_regularizer, _bias_format(data_format))


def separable_conv2d(
    inputs: Any,
    filters: int,
    kernel_size: Numbers,
    strides: Numbers = (1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
    dilation_rate: Numbers = (1, 1),
    depth_multiplier: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    depthwise_initializer: Initializer | None = None,
    pointwise_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
    *,
    depthwise_regularizer: Regularizer | None = None,
    pointwise_regularizer: Regularizer | None = None,
    bias_regularizer: Regularizer | None = None,
    activity_regularizer: Regularizer | None = None,
    trainable: bool = True,
    name: str | None = None,
) -> Tensor:
    """Each channel convolved by itself, then a mix of the channels in every pixel: `nn.separable_conv2d` as a layer.

    Makes NAME/depthwise_kernel [*kernel_size, channels, depth_multiplier], NAME/pointwise_kernel [1, 1, channels *
    depth_multiplier, filters] and NAME/bias [filters]. Chollet, "Xception" (CVPR 2017).
    """
    x = convert(inputs)
    channels = _channels(x, 2, data_format, "separable_conv2d")
    layout = _format(data_format, 2)
    window = Windows(2, layout, strides, padding).numbers(kernel_size, "kernel_size")
    uniform = initializers.glorot_uniform()
    with name_scope(name or "separable_conv2d"):
        depthwise = layer_variable(
            "depthwise_kernel", [*window, channels, depth_multiplier], x.dtype, depthwise_initializer or uniform,
            depthwise_regularizer, trainable,
        )  # fmt: skip
        pointwise = layer_variable(
            "pointwise_kernel", [1, 1, channels * depth_multiplier, filters], x.dtype,
            pointwise_initializer or uniform, pointwise_regularizer, trainable,
        )  # fmt: skip
        bias = _bias(use_bias, filters, x, bias_initializer, bias_regularizer, trainable)
        y = convolution.separable_conv2d(x, depthwise, pointwise, strides, padding, dilation_rate, None, layout)
        return finished(y, bias, activation, activity_regularizer, _bias_format(data_format))


def max_pooling1d(
    inputs: Any,
    pool_size: Numbers,
    strides: Numbers,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """`nn.max_pool1d` under the arguments of layers."""
    return pooling.max_pool1d(inputs, pool_size, strides, padding, _format(data_format, 1), name or "max_pooling1d")


def max_pooling2d(
    inputs: Any,
    pool_size: Numbers,
    strides: Numbers,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """`nn.max_pool` under the arguments of layers."""
    return pooling.max_pool(inputs, pool_size, strides, padding, _format(data_format, 2), name or "max_pooling2d")


def average_pooling1d(
    inputs: Any,
    pool_size: Numbers,
    strides: Numbers,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """`nn.avg_pool1d` under the arguments of layers."""
    return pooling.avg_pool1d(inputs, pool_size, strides, padding, _format(data_format, 1), name or "average_pooling1d")


def average_pooling2d(
    inputs: Any,
    pool_size: Numbers,
    strides: Numbers,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """`nn.avg_pool` under the arguments of layers."""
    return pooling.avg_pool(inputs, pool_size, strides, padding, _format(data_format, 2), name or "average_pooling2d")
