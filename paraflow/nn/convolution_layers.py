"""Layers whose windows slide over images, as in ``tf.layers``."""

from __future__ import annotations

from typing import Any, ClassVar

from paraflow.errors import GraphError
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import TensorShape, as_dims
from paraflow.nn import convolution, convolution_gradients, initializers
from paraflow.nn.activations import as_activation
from paraflow.nn.convolution import Numbers, Windows
from paraflow.nn.initializers import Initializer
from paraflow.nn.layer import Activation, Constraint, Layer, Regularizer, as_function, finished
from paraflow.ops.array import size_along
from paraflow.ops.rearrange import expand_dims, squeeze

_FORMATS = {
    "channels_last": {1: "NWC", 2: "NHWC", 3: "NDHWC"},
    "channels_first": {1: "NCW", 2: "NCHW", 3: "NCDHW"},
}


def layout(data_format: str, rank: int) -> str:
    """TensorFlow's name of the layout; raises GraphError for what is none."""
    if data_format not in _FORMATS:
        raise GraphError(f"data_format is 'channels_last' or 'channels_first', not {data_format!r}{at_user_line()}")
    return _FORMATS[data_format][rank]


class Conv2D(Layer):
    """activation(convolution of the inputs + bias): [n, h, w, channels] become [n, places..., filters].

    Makes the variables NAME/kernel [*kernel_size, channels, filters], by default Glorot-uniform or as the variable
    scope says, and NAME/bias [filters], by default zeros, of the inputs' dtype. ``padding`` is "valid" or "same"; with
    ``data_format`` "channels_first" inputs and results are [n, channels, h, w]. What the regularizers, functions of a
    tensor, return joins the collection of regularisation losses; optimizers apply the constraints after each update.
    Raises GraphError if the number of channels is not known.
    """

    _rank: ClassVar[int] = 2

    def __init__(
        self,
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
        self.filters = filters
        self.strides, self.padding, self.dilation_rate = strides, padding, dilation_rate
        self.data_format = data_format
        self.activation, self.use_bias = as_activation(activation), use_bias
        self._layout = layout(data_format, self._rank)
        self.kernel_size = Windows(self._rank, self._layout, strides, padding).numbers(kernel_size, "kernel_size")
        self._kernel: dict[str, Any] = {
            "initializer": kernel_initializer, "regularizer": kernel_regularizer, "constraint": kernel_constraint
        }  # fmt: skip
        self._bias: dict[str, Any] = {
            "initializer": bias_initializer or initializers.zeros(), "regularizer": bias_regularizer,
            "constraint": bias_constraint,
        }  # fmt: skip
        self.kernel: Any = None
        self.bias: Any = None

    def build(self, input_shape: TensorShape) -> None:
        """Make kernel and bias."""
        self.kernel = self.add_weight("kernel", self._kernel_shape(self._channels(input_shape)), **self._kernel)
        self._make_bias()

    def _make_bias(self) -> None:
        if self.use_bias:
            self.bias = self.add_weight("bias", [self.filters], **self._bias)

    def _kernel_shape(self, channels: int) -> list[int]:
        return [*self.kernel_size, channels, self.filters]

    def _channels(self, input_shape: TensorShape) -> int:
        """The number of channels; raises GraphError unless the rank fits and the number is known."""
        dims = as_dims(input_shape)
        place = 1 if self.data_format == "channels_first" else -1
        channels = None if dims is None or len(dims) != self._rank + 2 else dims[place]
        if channels is None:
            raise self._unfit(f"of {self._rank + 2} axes and a known number of channels", dims)
        return channels

    def _finished(self, y: Tensor) -> Tensor:
        return finished(y, self.bias, self.activation, "NCHW" if self.data_format == "channels_first" else "NHWC")

    def call(self, inputs: Tensor) -> Tensor:
        """The convolution."""
        y = convolution.convolution(
            inputs, self.kernel, self.padding, self.strides, self.dilation_rate, data_format=self._layout
        )
        return self._finished(y)


class Conv1D(Conv2D):
    """`Conv2D` over one axis: inputs [n, w, channels]."""

    _rank = 1


class Conv3D(Conv2D):
    """`Conv2D` over three axes: inputs [n, d, h, w, channels]."""

    _rank = 3


class Conv2DTranspose(Conv2D):
    """The transpose of `Conv2D`, which makes images larger by ``strides``; NAME/kernel is [..., filters, channels].

    A size n becomes n * stride, and with padding "valid" larger by what the window has more elements than the stride.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Numbers,
        strides: Numbers = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
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
        super().__init__(
            filters, kernel_size, strides, padding, data_format, 1, activation, use_bias, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, trainable, name, **kwargs,
        )  # fmt: skip

    def _kernel_shape(self, channels: int) -> list[int]:
        return [*self.kernel_size, self.filters, channels]

    def call(self, inputs: Tensor) -> Tensor:
        """The transpose of a convolution."""
        windows = Windows(self._rank, self._layout, self.strides, self.padding)
        first = 2 if windows.channels_first else 1
        beyond = [max(k - s, 0) if windows.padding == "VALID" else 0
                  for k, s in zip(self.kernel_size, windows.strides, strict=True)]  # fmt: skip
        sizes = [size_along(inputs, first + i) * windows.strides[i] + beyond[i] for i in range(self._rank)]
        inner = [self.filters, *sizes] if windows.channels_first else [*sizes, self.filters]
        shape = [size_along(inputs, 0), *inner]
        y = convolution_gradients.conv_transpose(
            inputs, self.kernel, convert(shape), self.strides, self.padding, self._layout
        )
        return self._finished(y)


class Conv3DTranspose(Conv2DTranspose):
    """`Conv2DTranspose` over three axes: inputs [n, d, h, w, channels]."""

    _rank = 3


class SeparableConv2D(Conv2D):
    """Each channel convolved by itself, then a mix of the channels in every pixel: `nn.separable_conv2d` as a layer.

    Makes NAME/depthwise_kernel [*kernel_size, channels, depth_multiplier], NAME/pointwise_kernel [1, 1, channels *
    depth_multiplier, filters] and NAME/bias [filters]. Chollet, "Xception" (CVPR 2017).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Numbers,
        strides: Numbers = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Numbers = 1,
        depth_multiplier: int = 1,
        activation: Activation | None = None,
        use_bias: bool = True,
        depthwise_initializer: Initializer | None = None,
        pointwise_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
        depthwise_regularizer: Regularizer | None = None,
        pointwise_regularizer: Regularizer | None = None,
        bias_regularizer: Regularizer | None = None,
        activity_regularizer: Regularizer | None = None,
        depthwise_constraint: Constraint | None = None,
        pointwise_constraint: Constraint | None = None,
        bias_constraint: Constraint | None = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            pointwise_initializer, bias_initializer, pointwise_regularizer, bias_regularizer, activity_regularizer,
            pointwise_constraint, bias_constraint, trainable, name, **kwargs,
        )  # fmt: skip
        self.depth_multiplier = depth_multiplier
        self._depthwise: dict[str, Any] = {
            "initializer": depthwise_initializer, "regularizer": depthwise_regularizer,
            "constraint": depthwise_constraint,
        }  # fmt: skip
        self.depthwise_kernel: Any = None
        self.pointwise_kernel: Any = None

    def build(self, input_shape: TensorShape) -> None:
        """Make both kernels and the bias."""
        channels = self._channels(input_shape)
        depth = [*self.kernel_size, channels, self.depth_multiplier]
        mixed = [*(1 for _ in self.kernel_size), channels * self.depth_multiplier, self.filters]
        self.depthwise_kernel = self.add_weight("depthwise_kernel", depth, **self._depthwise)
        self.pointwise_kernel = self.add_weight("pointwise_kernel", mixed, **self._kernel)
        self._make_bias()

    def call(self, inputs: Tensor) -> Tensor:
        """The convolution of each channel, and the mix."""
        y = convolution.separable_conv2d(
            inputs, self.depthwise_kernel, self.pointwise_kernel, self.strides, self.padding, self.dilation_rate, None,
            self._layout,
        )  # fmt: skip
        return self._finished(y)


class SeparableConv1D(SeparableConv2D):
    """`SeparableConv2D` over one axis: inputs [n, w, channels], kernels of one axis."""

    _rank = 1

    def call(self, inputs: Tensor) -> Tensor:
        """As over images of height 1."""
        windows = Windows(1, self._layout, self.strides, self.padding, self.dilation_rate)
        axis = 2 if windows.channels_first else 1
        y = convolution.separable_conv2d(
            expand_dims(inputs, axis), expand_dims(self.depthwise_kernel, 0), expand_dims(self.pointwise_kernel, 0),
            windows.strides[0], self.padding, windows.dilations[0], None, layout(self.data_format, 2),
        )  # fmt: skip
        return self._finished(squeeze(y, [axis]))


_ONE_USE = "One use of the layer `{}`; with ``reuse`` the variables of that ``name`` are shared."

conv1d = as_function(Conv1D, _ONE_USE.format("Conv1D"))
conv2d = as_function(Conv2D, _ONE_USE.format("Conv2D"))
conv3d = as_function(Conv3D, _ONE_USE.format("Conv3D"))
conv2d_transpose = as_function(Conv2DTranspose, _ONE_USE.format("Conv2DTranspose"))
conv3d_transpose = as_function(Conv3DTranspose, _ONE_USE.format("Conv3DTranspose"))
separable_conv1d = as_function(SeparableConv1D, _ONE_USE.format("SeparableConv1D"))
separable_conv2d = as_function(SeparableConv2D, _ONE_USE.format("SeparableConv2D"))
