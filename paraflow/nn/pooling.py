"""Pooling under TensorFlow's names, arguments and data formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.nn.convolution import Numbers, Windows, one_of
from paraflow.nn.dilated import with_space_to_batch
from paraflow.ops.array import cast
from paraflow.ops.pooling import place_of_largest, window_max, window_mean


def _pool(record: Any, x: Any, ksize: Numbers, windows: Windows, name: str) -> Tensor:
    attributes = {"window": windows.numbers(one_of(ksize=ksize), "ksize"), **windows.sliding}
    if not windows.channels_first:
        result: Tensor = record(convert(x), **attributes, name=name)
        return result
    with name_scope(name) as scope:
        return windows.first(record(windows.last(convert(x)), **attributes), scope)


def max_pool(
    value: Any,
    ksize: Numbers = None,
    strides: Numbers = None,
    padding: Any = None,
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """The largest element of each window of ``ksize``: [n, h, w, channels] to [n, places..., channels].

    The first of several gets the gradient. Raises GraphError for windows over samples or channels.
    """
    x = one_of(value=value, input=input)
    return _pool(window_max, x, ksize, Windows(2, data_format, strides, padding), name or "MaxPool")


def max_pool2d(
    input: Any, ksize: Numbers, strides: Numbers, padding: Any, data_format: str = "NHWC", name: str | None = None
) -> Tensor:
    """`max_pool` with the name ``input`` for its images."""
    return _pool(window_max, input, ksize, Windows(2, data_format, strides, padding), name or "MaxPool2d")


def avg_pool(
    value: Any,
    ksize: Numbers = None,
    strides: Numbers = None,
    padding: Any = None,
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """The mean over each window of ``ksize``, padding not counted: [n, h, w, channels] to [n, places..., channels]."""
    x = one_of(value=value, input=input)
    return _pool(window_mean, x, ksize, Windows(2, data_format, strides, padding), name or "AvgPool")


def max_pool1d(
    input: Any, ksize: Numbers, strides: Numbers, padding: Any, data_format: str = "NWC", name: str | None = None
) -> Tensor:
    """`max_pool` over one axis: [n, w, channels]."""
    return _pool(window_max, input, ksize, Windows(1, data_format, strides, padding), name or "max_pool1d")


def avg_pool1d(
    input: Any, ksize: Numbers, strides: Numbers, padding: Any, data_format: str = "NWC", name: str | None = None
) -> Tensor:
    """`avg_pool` over one axis: [n, w, channels]."""
    return _pool(window_mean, input, ksize, Windows(1, data_format, strides, padding), name or "avg_pool1d")


def max_pool3d(
    input: Any, ksize: Numbers, strides: Numbers, padding: Any, data_format: str = "NDHWC", name: str | None = None
) -> Tensor:
    """`max_pool` over three axes: [n, d, h, w, channels]."""
    return _pool(window_max, input, ksize, Windows(3, data_format, strides, padding), name or "MaxPool3D")


def avg_pool3d(
    input: Any, ksize: Numbers, strides: Numbers, padding: Any, data_format: str = "NDHWC", name: str | None = None
) -> Tensor:
    """`avg_pool` over three axes: [n, d, h, w, channels]."""
    return _pool(window_mean, input, ksize, Windows(3, data_format, strides, padding), name or "AvgPool3D")


def max_pool_with_argmax(
    input: Any,
    ksize: Numbers,
    strides: Numbers,
    padding: Any,
    data_format: str = "NHWC",
    Targmax: Any = None,  # noqa: N803
    name: str | None = None,
    output_dtype: Any = None,
    include_batch_in_index: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool`, and where in its image each maximum is: (y * width + x) * channels + channel, int64.

    With ``include_batch_in_index`` positions count through all images. ``Targmax`` (or ``output_dtype``) is int32 or
    int64. Raises GraphError for a data format other than "NHWC", as TensorFlow.
    """
    if data_format != "NHWC":
        raise GraphError(f"max_pool_with_argmax: data_format is 'NHWC', not {data_format!r}{at_user_line()}")
    windows = Windows(2, data_format, strides, padding)
    attributes = {"window": windows.numbers(one_of(ksize=ksize), "ksize"), **windows.sliding}
    with name_scope(name or "MaxPoolWithArgmax"):
        x = convert(input)
        y = window_max(x, **attributes)
        at = place_of_largest(x, y, batch=include_batch_in_index, **attributes)
        dtype = Targmax or output_dtype
        return y, at if dtype is None else cast(at, dtype)


def pool(
    input: Any,
    window_shape: Sequence[int],
    pooling_type: str,
    padding: str,
    dilation_rate: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Sequence[int] | None = None,
) -> Tensor:
    """Maxima ("MAX") or means ("AVG") of windows over 1 to 3 axes, whose elements may be ``dilation_rate`` apart.

    ``window_shape``, ``dilation_rate`` (or ``dilations``) and ``strides`` are one number for each axis. Raises
    GraphError for windows with holes that have strides or padding "SAME", as TensorFlow.
    """
    if pooling_type not in ("MAX", "AVG"):
        raise GraphError(f"pool: pooling_type is 'MAX' or 'AVG', not {pooling_type!r}{at_user_line()}")
    rank = len(window_shape)
    rate = list(dilation_rate or dilations or (1,) * rank)
    steps = list(strides or (1,) * rank)
    if max(rate) > 1 and (max(steps) > 1 or padding != "VALID"):
        raise GraphError(
            f"pool: windows with holes {rate} have strides of 1 and padding 'VALID', not {steps} and {padding!r}"
            f"{at_user_line()}"
        )
    record = window_max if pooling_type == "MAX" else window_mean

    def pooled(x: Tensor, _: Any, padding: str) -> Tensor:
        return _pool(record, x, window_shape, Windows(rank, data_format, steps, padding), "pooled")

    with name_scope(name or f"{pooling_type.lower()}_pool"):
        return with_space_to_batch(input, rate, padding, pooled, data_format=data_format)
