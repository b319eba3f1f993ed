"""Dilation and erosion of images under TensorFlow's names and arguments."""

from __future__ import annotations

from typing import Any

from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.nn.convolution import Numbers, Windows, one_of, operands
from paraflow.ops.math import negative
from paraflow.ops.morphology import dilate
from paraflow.ops.rearrange import reverse


def dilation2d(
    input: Any,
    filter: Any = None,
    strides: Numbers = None,
    rates: Numbers = None,
    padding: str | None = None,
    name: str | None = None,
    filters: Any = None,
    dilations: Numbers = None,
) -> Tensor:
    """The largest sum of a pixel and an element of ``filter`` [h, w, channels], channel by channel.

    Images [n, h, w, channels] to [n, places..., channels]; pixels of a window are ``rates`` apart (``dilations`` in
    later versions). The first of several equal sums gets the gradient.
    """
    x, w = operands(input, one_of(filter=filter, filters=filters))
    windows = Windows(2, "NHWC", strides, padding, one_of(rates=rates, dilations=dilations)).attributes
    with name_scope(name or "Dilation2D") as scope:
        return dilate(x, w, windows, scope)


def erosion2d(
    value: Any, kernel: Any, strides: Numbers, rates: Numbers, padding: str, name: str | None = None
) -> Tensor:
    """The smallest difference of a pixel and an element of ``kernel``: - dilation2d(- value, kernel turned round)."""
    with name_scope(name or "erosion2d") as scope:
        x = convert(value)
        turned = reverse(convert(kernel, x.dtype), [0, 1])
        eroded: Tensor = negative(dilation2d(negative(x), turned, strides, rates, padding), name=scope)
        return eroded
