"""Dilation of images by a structuring element: the largest sum of a pixel and an element of the window.

Serra, "Image analysis and mathematical morphology" (1982). Where it is the largest is found by one operation; the sum
and its gradients are then gathers and scatters. Of several equal sums the first in row-major order counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import int64
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, compatible, format_dims
from paraflow.ops.array import reshape
from paraflow.ops.gathering import gather
from paraflow.ops.math import add
from paraflow.ops.windows import axes_of, check_windows, place_dims, taps


@op(dtypes="real")
def places_of_largest_sums(input, filter, strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """Where pixel + element is the largest for each place and channel: positions in ``input`` and in ``filter``, flat.

    ``input`` is [n, sizes..., channels], ``filter`` [window..., channels], the results [n, places..., channels], int64.
    Raises InvalidArgumentError for a window that sees nothing but padding.
    """
    axes = axes_of(input.shape[1:-1], filter.shape[:-1], strides, padding, dilations)
    shape = (len(input), *(a.places for a in axes), input.shape[-1])
    best, in_filter = np.zeros(shape, input.dtype), np.full(shape, -1, np.int64)
    in_input = np.zeros(shape, np.int64)
    pixels = np.arange(input.size).reshape(input.shape)
    elements = np.arange(filter.size).reshape(filter.shape)
    for index, at, seen in taps(axes):
        there = (slice(None), *at)
        sums = input[(slice(None), *seen)] + filter[index]
        larger = (in_filter[there] < 0) | (sums > best[there])
        np.copyto(best[there], sums, where=larger)
        np.copyto(in_input[there], pixels[(slice(None), *seen)], where=larger)
        np.copyto(in_filter[there], np.broadcast_to(elements[index], sums.shape), where=larger)
    if in_filter.size and in_filter.min() < 0:
        raise InvalidArgumentError(f"a window of {filter.shape[:-1]} with rates {dilations} sees nothing but padding")
    return in_input, in_filter


@places_of_largest_sums.shape
def _(input: Spec, filter: Spec, strides: Any, padding: Any, dilations: Any) -> tuple[Spec, Spec]:
    rank, x, w = len(strides), input.shape, filter.shape
    check_windows(rank, strides, padding, dilations)
    if x is not None and len(x) != rank + 2:
        raise GraphError(f"the input is [n, {rank} sizes, channels], not {format_dims(x)}")
    if w is not None and len(w) != rank + 1:
        raise GraphError(f"the filter is [window of {rank} sizes, channels], not {format_dims(w)}")
    if x is not None and w is not None and not compatible(x[-1:], w[-1:]):
        raise GraphError(f"the filter is for {w[-1]} channels, the input has {x[-1]}")
    n, channels = (None, None) if x is None else (x[0], x[-1])
    if channels is None and w is not None:
        channels = w[-1]
    sizes, window = None if x is None else x[1:-1], None if w is None else w[:-1]
    result = Spec(int64, (n, *place_dims(sizes, window, strides, padding, dilations), channels))
    return result, result


def dilate(x: Tensor, w: Tensor, windows: Any, name: str) -> Tensor:
    """The largest sum for each place and channel: [n, places..., channels]."""
    in_input, in_filter = places_of_largest_sums(x, w, **windows)
    pixels, elements = gather(reshape(x, [-1]), in_input), gather(reshape(w, [-1]), in_filter)
    largest: Tensor = add(pixels, elements, name=name)
    return largest
