"""Convolution and pooling under TensorFlow's names, arguments and data formats.

The operations themselves (`paraflow.ops.convolution`, `paraflow.ops.pooling`) have the channels last; other formats are
transposed around them. ``use_cudnn_on_gpu`` is taken and has no meaning here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims
from paraflow.ops.array import shape_tensor
from paraflow.ops.convolution import convolution as convolve
from paraflow.ops.depthwise import depthwise
from paraflow.ops.rearrange import transpose

Numbers = int | Sequence[int] | None

# Data formats by the number of axes that windows slide over; the first of each is the default.
_FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}


class Windows:
    """How windows of ``rank`` axes slide over tensors of a data format: attributes as the operations have them.

    ``strides`` and ``dilations`` are one number, one for each axis or one for each axis of the tensor, ``padding`` is
    "SAME", "VALID" or pairs of numbers for all axes of the tensor. Raises GraphError for others.
    """

    def __init__(
        self,
        rank: int,
        data_format: str | None,
        strides: Numbers = None,
        padding: Any = None,
        dilations: Numbers = None,
    ) -> None:
        self.rank = rank
        formats = _FORMATS[rank]
        if data_format not in (None, *formats):
            raise GraphError(f"data_format is {formats[0]!r} or {formats[1]!r}, not {data_format!r}{at_user_line()}")
        self.channels_first = data_format == formats[1]
        self.strides = self.numbers(strides, "strides")
        self.dilations = self.numbers(dilations, "dilations")
        self.padding = self._padding(padding)

    def numbers(self, given: Numbers, what: str) -> tuple[int, ...]:
        """One number for each axis that windows slide over."""
        if given is None:
            return (1,) * self.rank
        numbers = [given] if isinstance(given, int) else list(given)
        if len(numbers) == self.rank + 2:
            inner = self._inner(numbers)
            if sum(numbers) - sum(inner) != 2:
                raise GraphError(f"{what} of samples and channels have to be 1, not {numbers}{at_user_line()}")
            return inner
        if len(numbers) not in (1, self.rank):
            raise GraphError(f"{what} are 1, {self.rank} or {self.rank + 2} numbers, not {numbers}{at_user_line()}")
        return tuple(numbers * (self.rank // len(numbers)))

    def _padding(self, given: Any) -> Any:
        if given is None:
            raise GraphError(f"padding has to be given: 'SAME', 'VALID' or pairs of numbers{at_user_line()}")
        if isinstance(given, str):
            return given.upper()
        if len(given) != self.rank + 2:
            raise GraphError(f"padding needs {self.rank + 2} pairs, one for each axis, not {given}{at_user_line()}")
        pairs = tuple(tuple(int(n) for n in pair) for pair in given)
        inner = self._inner(pairs)
        if sum(map(sum, pairs)) != sum(map(sum, inner)):
            raise GraphError(f"samples and channels cannot be padded, as {given} would{at_user_line()}")
        return inner

    def _inner(self, given: Any) -> tuple[Any, ...]:
        """The entries for the axes that windows slide over, of one entry for each axis."""
        return tuple(given[2:] if self.channels_first else given[1:-1])

    @property
    def sliding(self) -> dict[str, Any]:
        """Strides and padding, as attributes."""
        return {"strides": self.strides, "padding": self.padding}

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of a convolution."""
        return {**self.sliding, "dilations": self.dilations}

    def last(self, x: Tensor) -> Tensor:
        """``x`` with its channels last."""
        result: Tensor = transpose(x, (0, *range(2, self.rank + 2), 1)) if self.channels_first else x
        return result

    def sizes_last(self, sizes: Any) -> Tensor:
        """A shape of the data format with the channels last; those come second in it."""
        vector = shape_tensor(sizes)
        return convert([vector[0], *(vector[i + 2] for i in range(self.rank)), vector[1]])

    def first(self, x: Tensor, name: str) -> Tensor:
        """``x``, which has its channels last, with its channels in second place, under ``name``."""
        result: Tensor = transpose(x, (0, self.rank + 1, *range(1, self.rank + 1)), name=name)
        return result


def one_of(**given: Any) -> Any:
    """The one argument that is given of several that name the same thing; raises GraphError unless it is one."""
    values = [value for value in given.values() if value is not None]
    if len(values) != 1:
        raise GraphError(f"one of {' and '.join(given)} has to be given{at_user_line()}")
    return values[0]


def operands(x: Any, w: Any) -> tuple[Tensor, Tensor]:
    """Two tensors of one dtype."""
    tensor = convert(x)
    return tensor, convert(w, tensor.dtype)


def _convolution(x: Any, w: Any, windows: Windows, name: str) -> Tensor:
    x, w = operands(x, w)
    if not windows.channels_first:
        result: Tensor = convolve(x, w, **windows.attributes, name=name)
        return result
    with name_scope(name) as scope:
        return windows.first(convolve(windows.last(x), w, **windows.attributes), scope)


def conv2d(
    input: Any,
    filter: Any = None,
    strides: Numbers = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Numbers = None,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Sums of products of filters and the windows of images: [n, h, w, channels] to [n, places..., outputs].

    ``filter`` (or ``filters``) is [height, width, channels, outputs]; windows are ``strides`` apart, their elements
    ``dilations``. ``padding`` is "VALID", none; "SAME", so much that there are ceil(size / stride) places; or
    [[0, 0], [top, bottom], [left, right], [0, 0]]. With ``data_format`` "NCHW" inputs and results are [n, channels, h,
    w]. Raises GraphError for shapes that do not fit.
    """
    w = one_of(filter=filter, filters=filters)
    return _convolution(input, w, Windows(2, data_format, strides, padding, dilations), name or "Conv2D")


def conv1d(
    value: Any = None,
    filters: Any = None,
    stride: Numbers = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool | None = None,
    data_format: str | None = None,
    name: str | None = None,
    input: Any = None,
    dilations: Numbers = None,
) -> Tensor:
    """`conv2d` over one axis: [n, w, channels] and filters [width, channels, outputs] to [n, places, outputs].

    ``data_format`` is "NWC" or "NCW" (older names "NHWC" and "NCHW").
    """
    data_format = {"NHWC": "NWC", "NCHW": "NCW"}.get(data_format or "", data_format)
    windows = Windows(1, data_format, stride, padding, dilations)
    return _convolution(one_of(value=value, input=input), one_of(filters=filters), windows, name or "conv1d")


def conv3d(
    input: Any,
    filter: Any = None,
    strides: Numbers = None,
    padding: Any = None,
    data_format: str = "NDHWC",
    dilations: Numbers = None,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """`conv2d` over three axes: [n, d, h, w, channels] and filters [depth, height, width, channels, outputs]."""
    w = one_of(filter=filter, filters=filters)
    return _convolution(input, w, Windows(3, data_format, strides, padding, dilations), name or "Conv3D")


def convolution(
    input: Any,
    filter: Any = None,
    padding: Any = None,
    strides: Numbers = None,
    dilation_rate: Numbers = None,
    name: str | None = None,
    data_format: str | None = None,
    filters: Any = None,
    dilations: Numbers = None,
) -> Tensor:
    """`conv1d`, `conv2d` or `conv3d`, as the rank of the filter says."""
    x, w = operands(input, one_of(filter=filter, filters=filters))
    rank = (w.spec.rank or 0) - 2
    if rank not in _FORMATS:
        raise GraphError(f"a filter has 3 to 5 axes, not shape {format_dims(w.spec.shape)}{at_user_line()}")
    rate = dilations if dilation_rate is None else dilation_rate
    return _convolution(x, w, Windows(rank, data_format, strides, padding, rate), name or "convolution")


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: str, name: str | None = None) -> Tensor:
    """`conv2d` whose filter has ``rate`` - 1 holes between its elements, without strides. Chen et al. (ICLR 2015)."""
    return _convolution(value, filters, Windows(2, None, None, padding, rate), name or "convolution")


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Numbers,
    padding: Any,
    rate: Numbers = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Numbers = None,
) -> Tensor:
    """Each channel convolved by itself: [n, h, w, channels] to [n, places..., channels * multiplier].

    ``filter`` is [height, width, channels, multiplier]; ``rate`` is the older name of ``dilations``.
    """
    windows = Windows(2, data_format, strides, padding, dilations if rate is None else rate)
    x, w = operands(input, filter)
    with name_scope(name or "depthwise") as scope:
        if windows.channels_first:
            return windows.first(depthwise(windows.last(x), w, **windows.attributes), scope)
        result: Tensor = depthwise(x, w, **windows.attributes, name=scope)
        return result


def depthwise_conv2d_native(
    input: Any,
    filter: Any,
    strides: Numbers,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Numbers = None,
    name: str | None = None,
) -> Tensor:
    """`depthwise_conv2d` under an older name, with its arguments in another order."""
    return depthwise_conv2d(input, filter, strides, padding, dilations, name, data_format)


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Numbers,
    padding: Any,
    rate: Numbers = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Numbers = None,
) -> Tensor:
    """`depthwise_conv2d`, then a convolution of 1 x 1 windows with ``pointwise_filter`` [1, 1, channels, outputs].

    Chollet, "Xception" (CVPR 2017).
    """
    with name_scope(name or "separable_conv2d") as scope:
        y = depthwise_conv2d(input, depthwise_filter, strides, padding, rate, None, data_format, dilations)
        w = convert(pointwise_filter, y.dtype)
        if w.spec.shape is not None and tuple(w.spec.shape[:2]) != (1, 1):
            raise GraphError(f"the pointwise filter is [1, 1, channels, outputs], not {format_dims(w.spec.shape)}")
        return _convolution(y, w, Windows(2, data_format, 1, "VALID"), scope)
