"""The gradients of convolutions as functions, and the transposes of convolutions, which are the same functions.

The transpose of a convolution is what its gradient does: it gives each pixel of the result what the windows that see
it hold. Zeiler et al., "Deconvolutional networks" (CVPR 2010).
"""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line
from paraflow.nn.convolution import Numbers, Windows, one_of, operands
from paraflow.ops.array import shape_tensor
from paraflow.ops.convolution import convolution_filter_gradient, convolution_input_gradient
from paraflow.ops.depthwise import depthwise_filter_gradient, depthwise_input_gradient


def _to_input(
    w: Any, dy: Any, sizes: Any, windows: Windows, name: str, record: Any = convolution_input_gradient
) -> Tensor:
    """The gradient to an input of shape ``sizes``, by the record that makes it."""
    dy, w = operands(dy, w)
    attributes = windows.attributes
    if not windows.channels_first:
        dx: Tensor = record(w, dy, shape_tensor(sizes), **attributes, name=name)
        return dx
    with name_scope(name) as scope:
        dx = record(w, windows.last(dy), windows.sizes_last(sizes), **attributes)
        return windows.first(dx, scope)


def _to_filter(
    x: Any, dy: Any, sizes: Any, windows: Windows, name: str, record: Any = convolution_filter_gradient
) -> Tensor:
    x, dy = operands(x, dy)
    dw: Tensor = record(windows.last(x), windows.last(dy), shape_tensor(sizes), **windows.attributes, name=name)
    return dw


def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any = None,
    out_backprop: Any = None,
    strides: Numbers = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Numbers = None,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """The gradient of `conv2d` with respect to an input of shape ``input_sizes``, given that to its result."""
    windows = Windows(2, data_format, strides, padding, dilations)
    w, dy = one_of(filter=filter, filters=filters), one_of(out_backprop=out_backprop)
    return _to_input(w, dy, input_sizes, windows, name or "Conv2DBackpropInput")


def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Numbers,
    padding: Any,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Numbers = None,
    name: str | None = None,
) -> Tensor:
    """The gradient of `conv2d` with respect to a filter of shape ``filter_sizes``, given that to its result."""
    windows = Windows(2, data_format, strides, padding, dilations)
    return _to_filter(input, out_backprop, filter_sizes, windows, name or "Conv2DBackpropFilter")


def conv3d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Numbers,
    padding: Any,
    data_format: str = "NDHWC",
    dilations: Numbers = None,
    name: str | None = None,
) -> Tensor:
    """The gradient of `conv3d` with respect to a filter of shape ``filter_sizes``, given that to its result."""
    windows = Windows(3, data_format, strides, padding, dilations)
    return _to_filter(input, out_backprop, filter_sizes, windows, name or "Conv3DBackpropFilterV2")


def depthwise_conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Numbers,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Numbers = None,
    name: str | None = None,
) -> Tensor:
    """The gradient of `depthwise_conv2d` with respect to an input of shape ``input_sizes``."""
    windows = Windows(2, data_format, strides, padding, dilations)
    name = name or "DepthwiseConv2dNativeBackpropInput"
    return _to_input(filter, out_backprop, input_sizes, windows, name, depthwise_input_gradient)


def depthwise_conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Numbers,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Numbers = None,
    name: str | None = None,
) -> Tensor:
    """The gradient of `depthwise_conv2d` with respect to a filter of shape ``filter_sizes``."""
    windows = Windows(2, data_format, strides, padding, dilations)
    name = name or "DepthwiseConv2dNativeBackpropFilter"
    return _to_filter(input, out_backprop, filter_sizes, windows, name, depthwise_filter_gradient)


def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Numbers,
    padding: Any = "SAME",
    data_format: str = "NWC",
    dilations: Numbers = None,
    name: str | None = None,
) -> Tensor:
    """The transpose of `conv1d`: [n, w, channels] to ``output_shape``; ``filters`` are [width, outputs, channels]."""
    windows = Windows(1, data_format, strides, padding, dilations)
    return _to_input(filters, input, output_shape, windows, name or "conv1d_transpose")


def conv2d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Numbers = None,
    padding: Any = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Numbers = None,
) -> Tensor:
    """The transpose of `conv2d`, also called deconvolution: [n, h, w, channels] to ``output_shape``.

    ``filter`` is [height, width, outputs, channels].
    """
    windows = Windows(2, data_format, strides, padding, dilations)
    y, w = one_of(value=value, input=input), one_of(filter=filter, filters=filters)
    return _to_input(w, y, one_of(output_shape=output_shape), windows, name or "conv2d_transpose")


def conv3d_transpose(
    value: Any,
    filter: Any = None,
    output_shape: Any = None,
    strides: Numbers = None,
    padding: Any = "SAME",
    data_format: str = "NDHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Numbers = None,
) -> Tensor:
    """The transpose of `conv3d`; ``filter`` is [depth, height, width, outputs, channels]."""
    windows = Windows(3, data_format, strides, padding, dilations)
    y, w = one_of(value=value, input=input), one_of(filter=filter, filters=filters)
    return _to_input(w, y, one_of(output_shape=output_shape), windows, name or "conv3d_transpose")


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Numbers,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Numbers = None,
    name: str | None = None,
) -> Tensor:
    """`conv1d_transpose`, `conv2d_transpose` or `conv3d_transpose`, as the length of ``output_shape`` says."""
    sizes = shape_tensor(output_shape)
    dims = sizes.spec.shape
    if dims is None or dims[0] not in (3, 4, 5):
        raise GraphError(f"output_shape has 3 to 5 sizes, not {sizes!r}{at_user_line()}")
    windows = Windows(dims[0] - 2, data_format, strides, padding, dilations)
    return _to_input(filters, input, sizes, windows, name or "conv_transpose")


def atrous_conv2d_transpose(
    value: Any, filters: Any, output_shape: Any, rate: int, padding: str, name: str | None = None
) -> Tensor:
    """The transpose of `atrous_conv2d`: [n, h, w, channels] to ``output_shape``."""
    windows = Windows(2, None, None, padding, rate)
    return _to_input(filters, value, output_shape, windows, name or "atrous_conv2d_transpose")
