"""Depthwise convolution: each channel by itself, with filters of its own.

Inputs are [n, sizes..., channels], filters [window..., channels, multiplier], results [n, places..., channels *
multiplier]. As for `paraflow.ops.convolution` the gradients of each of three operations are the other two. There is no
matrix product in it, so the elements of the window are taken one after the other, for some images at a time, and as
far as can be for whole lines of pixels: filters are repeated along them, which makes numpy's inner loops long. The
order of all sums is fixed, so that paraflow/kernels/windows.py can do the same in one pass, with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import widened
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Dims, Spec, format_dims, merge
from paraflow.ops.array import known_shape, value_dims
from paraflow.ops.convolution import narrowed
from paraflow.ops.windows import Array, Axis, axes_of, check_windows, images_in_piece, place_dims, taps


def _pieces(images: Array) -> Iterator[tuple[slice, Array]]:
    """Slices of images that fit the cache together, and memory for as many."""
    count = images_in_piece(2 * math.prod(images.shape[1:]) * images.itemsize, len(images))
    buffer = np.empty((min(count, len(images)), *images.shape[1:]), images.dtype)
    for n in range(0, len(images), count):
        yield slice(n, n + count), buffer[: len(images) - n]


def _lines(w: Array, axes: Sequence[Axis]) -> Array:
    """The filters [window..., 1, channels, multiplier], repeated for every place of a line."""
    lines = np.empty((*w.shape[:-2], axes[-1].places, *w.shape[-2:]), w.dtype)
    lines[...] = w[..., None, :, :]
    return lines


@op(dtypes="float")
def depthwise(input, filter, strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """Sums of products of each channel's windows and its filters: [n, places..., channels * multiplier]."""
    x, w = widened(input), widened(filter)
    axes = axes_of(x.shape[1:-1], w.shape[:-2], strides, padding, dilations)
    places = tuple(a.places for a in axes)
    y = np.zeros((len(x), *places, *w.shape[-2:]), x.dtype)
    lines = _lines(w, axes)
    for piece, buffer in _pieces(y):
        for index, at, seen in taps(axes):
            products = buffer[(slice(None), *at)]
            np.multiply(x[(piece, *seen)][..., None], lines[index][at[-1]], out=products)
            y[(piece, *at)] += products
    return narrowed(y.reshape(len(x), *places, w.shape[-2] * w.shape[-1]), input.dtype, None)


def _result_dims(x: Dims, w: Dims, strides: Any, padding: Any, dilations: Any) -> Dims:
    rank = len(strides)
    check_windows(rank, strides, padding, dilations)
    if x is not None and len(x) != rank + 2:
        raise GraphError(f"the input is [n, {rank} sizes, channels], not {format_dims(x)}")
    if w is not None and len(w) != rank + 2:
        raise GraphError(f"the filter is [window of {rank} sizes, channels, multiplier], not {format_dims(w)}")
    if x is not None and w is not None and None not in (x[-1], w[-2]) and x[-1] != w[-2]:
        raise GraphError(f"the filter is for {w[-2]} channels, the input has {x[-1]}")
    sizes, window = None if x is None else x[1:-1], None if w is None else w[:-2]
    outputs = None
    if w is not None:
        channels = w[-2] if x is None or w[-2] is not None else x[-1]
        outputs = None if channels is None or w[-1] is None else channels * w[-1]
    places = place_dims(sizes, window, strides, padding, dilations)
    return (None if x is None else x[0], *places, outputs)


@depthwise.shape
def _(input: Spec, filter: Spec, **windows: Any) -> Spec:
    return Spec(input.dtype, _result_dims(input.shape, filter.shape, **windows))


@depthwise.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    (x, w), windows = y.op.inputs, y.op.attrs
    return (
        depthwise_input_gradient(w, dy, known_shape(x), **windows),
        depthwise_filter_gradient(x, dy, known_shape(w), **windows),
    )


@op(dtypes="float", same=(0, 1))
def depthwise_filter_gradient(input, dy, sizes, strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """The gradient of a depthwise convolution with respect to its filter, which has the shape ``sizes``."""
    x, shape = widened(input), tuple(int(n) for n in sizes)
    axes = axes_of(x.shape[1:-1], shape[:-2], strides, padding, dilations)
    given = widened(dy).reshape(*dy.shape[:-1], *shape[-2:])
    dw = np.zeros(shape, x.dtype)
    for piece, buffer in _pieces(given):
        for index, at, seen in taps(axes):
            products = buffer[(slice(None), *at)]
            if products.size:
                np.multiply(x[(piece, *seen)][..., None], given[(piece, *at)], out=products)
                lines = _in_order(np.moveaxis(products, len(axes), 0))
                for image in _in_order(lines.reshape(len(lines), -1, *shape[-2:]).swapaxes(0, 1)):
                    dw[index] += image
    return narrowed(dw, input.dtype, None)


def _in_order(terms: Array) -> Array:
    """The sum over the first axis, which has elements, one after the other: numpy's own takes several at a time."""
    total: Array = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total


@depthwise_filter_gradient.shape
def _(input: Spec, dy: Spec, sizes: Spec, **windows: Any) -> Spec:
    w = value_dims(sizes)
    merge(dy.shape, _result_dims(input.shape, w, **windows))
    return Spec(input.dtype, w)


@depthwise_filter_gradient.gradient
def _(y: Tensor, dw: Tensor) -> tuple[Tensor, Tensor, None]:
    (x, dy, _), windows = y.op.inputs, y.op.attrs
    return depthwise_input_gradient(dw, dy, known_shape(x), **windows), depthwise(x, dw, **windows), None


@op(dtypes="float", same=(0, 1))
def depthwise_input_gradient(filter, dy, sizes, strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """The gradient of a depthwise convolution with respect to its input, which has the shape ``sizes``."""
    w, shape = widened(filter), tuple(int(n) for n in sizes)
    axes = axes_of(shape[1:-1], w.shape[:-2], strides, padding, dilations)
    given = widened(dy).reshape(*dy.shape[:-1], *w.shape[-2:])
    dx = np.zeros(shape, w.dtype)
    lines = _lines(w, axes)
    for piece, buffer in _pieces(given):
        for index, at, seen in taps(axes):
            products = buffer[(slice(None), *at)]
            np.multiply(given[(piece, *at)], lines[index][at[-1]], out=products)
            for result in range(w.shape[-1]):
                dx[(piece, *seen)] += products[..., result]
    return narrowed(dx, dy.dtype, None)


@depthwise_input_gradient.shape
def _(filter: Spec, dy: Spec, sizes: Spec, **windows: Any) -> Spec:
    x = value_dims(sizes)
    merge(dy.shape, _result_dims(x, filter.shape, **windows))
    return Spec(dy.dtype, x)


@depthwise_input_gradient.gradient
def _(y: Tensor, dx: Tensor) -> tuple[Tensor, Tensor, None]:
    (w, dy, _), windows = y.op.inputs, y.op.attrs
    return depthwise_filter_gradient(dx, dy, known_shape(w), **windows), depthwise(dx, w, **windows), None
