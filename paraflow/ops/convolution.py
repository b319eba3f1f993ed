"""Convolution over any number of axes as matrix products of patches, and its two gradients.

Inputs are [n, sizes..., channels], filters [window..., channels, outputs]. The three operations are the three faces of
one trilinear form, so the gradients of each are the other two. Padding is "SAME", "VALID" or pairs of numbers. Patches
are gathered in pieces that stay in cache (Chellapilla, Puri & Simard, "High performance convolutional neural networks
for document processing", 2006, whose "unrolling" has none).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import widened
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, merge
from paraflow.ops.array import known_shape, value_dims
from paraflow.ops.windows import Array, Patches, axes_of, check_windows, images_in_piece, place_dims, taps


def narrowed(result: Array, dtype: Any, out: Array | None) -> Array:
    """``result`` in ``dtype``, in ``out`` if there is one."""
    if out is None:
        return result.astype(dtype, copy=False)
    if result is not out:
        np.copyto(out, result, casting="same_kind")
    return out


def _buffer(out: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
    """``out`` if results may be written there at once, or new memory."""
    return out if out is not None and out.dtype == dtype and out.flags.c_contiguous else np.empty(shape, dtype)


# -- the result -------------------------------------------------------------------------------------------------------


@op(dtypes="float")
def convolution(input, filter, strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """Sums of products of ``filter`` and the windows of ``input``: [n, sizes..., channels] to [n, places..., outputs].

    The filter is not turned round, as it is in mathematics: what is called convolution here is cross-correlation.
    """
    return convolve(input, filter, strides, padding, dilations)


def convolve(x: Array, w: Array, strides: Any, padding: Any, dilations: Any, out: Array | None = None) -> Array:
    """The result of `convolution`, in ``out`` if it is given."""
    axes = axes_of(x.shape[1:-1], w.shape[:-2], strides, padding, dilations)
    x_wide, matrix = widened(x), widened(w).reshape(-1, w.shape[-1])
    result = _buffer(out, (len(x), *(a.places for a in axes), w.shape[-1]), x_wide.dtype)
    rows = result.reshape(-1, w.shape[-1])
    for first, last, patches in Patches(x_wide, axes):
        np.matmul(patches, matrix, out=rows[first:last])
    return narrowed(result, x.dtype, out)


def _channels(x: Dims, w: Dims, rank: int) -> None:
    """Raise GraphError unless the shapes are those of an input and of a filter for it."""
    if x is not None and len(x) != rank + 2:
        raise GraphError(f"the input is [n, {rank} sizes, channels], not {format_dims(x)}")
    if w is not None and len(w) != rank + 2:
        raise GraphError(f"the filter is [window of {rank} sizes, channels, outputs], not {format_dims(w)}")
    if x is not None and w is not None and not compatible(x[-1:], w[-2:-1]):
        raise GraphError(f"the filter is for {w[-2]} channels, the input has {x[-1]}")


def _result_dims(x: Dims, w: Dims, strides: Any, padding: Any, dilations: Any) -> Dims:
    """The shape of the convolution of two tensors of these shapes; raises GraphError where they do not fit."""
    check_windows(len(strides), strides, padding, dilations)
    _channels(x, w, len(strides))
    sizes, window = None if x is None else x[1:-1], None if w is None else w[:-2]
    places = place_dims(sizes, window, strides, padding, dilations)
    return (None if x is None else x[0], *places, None if w is None else w[-1])


@convolution.shape
def _(input: Spec, filter: Spec, **windows: Any) -> Spec:
    return Spec(input.dtype, _result_dims(input.shape, filter.shape, **windows))


@convolution.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    (x, w), windows = y.op.inputs, y.op.attrs
    return (
        convolution_input_gradient(w, dy, known_shape(x), **windows),
        convolution_filter_gradient(x, dy, known_shape(w), **windows),
    )


# -- the gradient to the filter ---------------------------------------------------------------------------------------


@op(dtypes="float", same=(0, 1))
def convolution_filter_gradient(input, dy, sizes, strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """The gradient of a convolution with respect to its filter, which has the shape ``sizes``."""
    return filter_gradient(input, dy, sizes, strides, padding, dilations)


def filter_gradient(
    x: Array, dy: Array, sizes: Any, strides: Any, padding: Any, dilations: Any, out: Array | None = None
) -> Array:
    """The result of `convolution_filter_gradient`, in ``out`` if it is given."""
    shape = tuple(int(n) for n in sizes)
    axes = axes_of(x.shape[1:-1], shape[:-2], strides, padding, dilations)
    x_wide, rows = widened(x), np.ascontiguousarray(widened(dy)).reshape(-1, shape[-1])
    result = _buffer(out, shape, x_wide.dtype)
    total = result.reshape(-1, shape[-1])
    part = None
    for first, last, patches in Patches(x_wide, axes):
        if first == 0:
            np.matmul(patches.T, rows[first:last], out=total)
        else:
            part = np.matmul(patches.T, rows[first:last], out=part)
            total += part
    if not len(rows):
        result[...] = 0
    return narrowed(result, x.dtype, out)


@convolution_filter_gradient.shape
def _(input: Spec, dy: Spec, sizes: Spec, **windows: Any) -> Spec:
    w = value_dims(sizes)
    merge(dy.shape, _result_dims(input.shape, w, **windows))
    return Spec(input.dtype, w)


@convolution_filter_gradient.gradient
def _(y: Tensor, dw: Tensor) -> tuple[Tensor, Tensor, None]:
    (x, dy, _), windows = y.op.inputs, y.op.attrs
    return convolution_input_gradient(dw, dy, known_shape(x), **windows), convolution(x, dw, **windows), None


# -- the gradient to the input ----------------------------------------------------------------------------------------


@op(dtypes="float", same=(0, 1))
def convolution_input_gradient(filter, dy, sizes, strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """The gradient of a convolution with respect to its input, which has the shape ``sizes``."""
    return input_gradient(filter, dy, sizes, strides, padding, dilations)


def input_gradient(
    w: Array, dy: Array, sizes: Any, strides: Any, padding: Any, dilations: Any, out: Array | None = None
) -> Array:
    """The result of `convolution_input_gradient`, in ``out`` if it is given."""
    shape = tuple(int(n) for n in sizes)
    axes = axes_of(shape[1:-1], w.shape[:-2], strides, padding, dilations)
    turned = [((a.window - 1) * a.dilation - a.before, (a.window - 1) * a.dilation - a.after) for a in axes]
    if all(a.stride == 1 for a in axes) and min(map(min, turned), default=0) >= 0 and _better_turned(shape, dy.shape):
        # Without strides it is the convolution of dy with the filter turned round.
        inner = tuple(range(len(axes)))
        back = np.ascontiguousarray(np.flip(w, inner).swapaxes(-1, -2))
        return convolve(dy, back, strides, turned, dilations, out)
    w_wide, dy_wide = widened(w), np.ascontiguousarray(widened(dy))
    result = _buffer(out, shape, dy_wide.dtype)
    result[...] = 0
    _scatter(w_wide, dy_wide, axes, result)
    return narrowed(result, dy.dtype, out)


def _better_turned(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    """Whether the convolution of patches of dy is faster than adding up what each element of dy gives to x.

    Per pixel and element of the window: products, which are 70 times faster than copying an element; the copies of
    patches, or sums, which are four times slower and no faster for few channels. (Measured on a Xeon.)
    """
    products = x[-1] * y[-1] / 70
    return math.prod(x[:-1]) * (products + y[-1]) < math.prod(y[:-1]) * (products + 4 * max(x[-1], 10))


def _scatter(w: Array, dy: Array, axes: Any, result: Array) -> None:
    """Add to ``result`` what each element of the window gives to the pixels that it sees."""
    places = dy.shape[1:-1]
    images = images_in_piece(math.prod(dy.shape[1:]) * dy.itemsize, len(dy))
    buffer = np.empty((images * math.prod(places), w.shape[-2]), dy.dtype)
    for n in range(0, len(dy), images):
        rows = dy[n : n + images].reshape(-1, dy.shape[-1])
        given = buffer[: len(rows)]
        pixels = given.reshape(-1, *places, w.shape[-2])
        for index, at, seen in taps(axes):
            np.matmul(rows, w[index].T, out=given)
            result[(slice(n, n + images), *seen)] += pixels[(slice(None), *at)]


@convolution_input_gradient.shape
def _(filter: Spec, dy: Spec, sizes: Spec, **windows: Any) -> Spec:
    x = value_dims(sizes)
    merge(dy.shape, _result_dims(x, filter.shape, **windows))
    return Spec(dy.dtype, x)


@convolution_input_gradient.gradient
def _(y: Tensor, dx: Tensor) -> tuple[Tensor, Tensor, None]:
    (w, dy, _), windows = y.op.inputs, y.op.attrs
    return convolution_filter_gradient(dx, dy, known_shape(w), **windows), convolution(dx, w, **windows), None
