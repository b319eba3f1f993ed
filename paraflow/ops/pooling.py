"""Pooling: the largest element, or the mean, of each window of [n, sizes..., channels], channel by channel.

Padding counts for nothing, neither in the maximum nor in the mean. Where a maximum occurs several times in a window,
the first in row-major order gets the gradient, as in TensorFlow. NaN is larger than all numbers, and a maximum of zeros
is never -0. Elements of a window are taken one after the other, in row-major order, which fixes the bits of sums;
paraflow/kernels/windows.py does the same in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.graph.dtypes import is_floating, widened
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, merge
from paraflow.ops.array import known_shape, value_dims, zeros_like
from paraflow.ops.convolution import narrowed
from paraflow.ops.reduce import lowest
from paraflow.ops.windows import Array, Axis, axes_of, taps, windowed_dims


def axes_of_pool(sizes: Any, window: Any, strides: Any, padding: Any) -> tuple[Axis, ...]:
    """The axes over which windows slide, of these ``sizes``."""
    return axes_of(sizes, window, strides, padding, (1,) * len(window))


def _fold(x: Array, axes: Any, ufunc: np.ufunc, identity: Any) -> Array:
    """``ufunc`` over the elements of each window."""
    result = np.full((len(x), *(a.places for a in axes), x.shape[-1]), identity, x.dtype)
    for _, at, seen in taps(axes):
        places = result[(slice(None), *at)]
        ufunc(places, x[(slice(None), *seen)], out=places)
    return result


# -- maximum ----------------------------------------------------------------------------------------------------------


@op(dtypes="real")
def window_max(input, window=(2, 2), strides=(2, 2), padding="VALID"):
    """The largest element of each window: [n, sizes..., channels] to [n, places..., channels]."""
    y = _fold(input, axes_of_pool(input.shape[1:-1], window, strides, padding), np.maximum, lowest(input.dtype))
    if is_floating(y.dtype):
        y += 0  # which of 0 and -0 numpy finds larger depends on where they lie
    return y


@window_max.shape
def _(input: Spec, **windows: Any) -> Spec:
    return Spec(input.dtype, windowed_dims(input.shape, **windows))


@window_max.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    spread: Tensor = to_largest(y.op.inputs[0], y, dy, **y.op.attrs)
    return spread


def _hits(x: Array, y: Array, axes: Any) -> Any:
    """For each element of the window: its places, what they see, and where that is the first of the largest."""
    free = np.ones(y.shape, bool)
    some_nan = bool(np.isnan(y).any())
    for _, at, seen in taps(axes):
        places, pixels = (slice(None), *at), (slice(None), *seen)
        hit = np.equal(x[pixels], y[places])
        if some_nan:
            hit |= np.isnan(x[pixels])
        hit &= free[places]
        free[places] ^= hit
        yield places, pixels, hit


def _chosen(hit: Array, values: Array) -> Array:
    """``values`` where ``hit``, else 0: by masks, since products would make NaN of infinities."""
    bits = np.dtype(f"i{values.itemsize}")
    mask = np.negative(hit.view(np.int8), dtype=bits)  # all ones or all zeros
    masked: Array = np.bitwise_and(values.view(bits), mask, out=mask).view(values.dtype)
    return masked


def apart(axes: Sequence[Axis]) -> bool:
    """Whether no element is in two windows."""
    return all(a.stride >= a.window for a in axes)


def tiled(axes: Sequence[Axis]) -> bool:
    """Whether each element is in one window."""
    return all(a.stride == a.window and a.places * a.stride == a.size for a in axes)


@op(dtypes="float")
def to_largest(x, y, dy, window=(2, 2), strides=(2, 2), padding="VALID"):
    """``dy`` [n, places..., channels] added to zeros where each window of ``x`` has its largest element, ``y``."""
    axes = axes_of_pool(x.shape[1:-1], window, strides, padding)
    dx = (np.empty if tiled(axes) else np.zeros)(x.shape, x.dtype)
    for places, pixels, hit in _hits(x, y, axes):
        given = _chosen(hit, dy[places])
        if apart(axes):
            dx[pixels] = given
        else:
            dx[pixels] += given
    return dx


@to_largest.shape
def _(x: Spec, y: Spec, dy: Spec, **windows: Any) -> Spec:
    merge(merge(y.shape, dy.shape), windowed_dims(x.shape, **windows))
    return Spec(x.dtype, x.shape)


@to_largest.gradient
def _(z: Tensor, dz: Tensor) -> tuple[Tensor, None, Tensor]:
    x, y, _ = z.op.inputs
    return zeros_like(x), None, of_largest(x, y, dz, **z.op.attrs)  # connected: a second derivative is 0, not None


@op(dtypes="float")
def of_largest(x, y, values, window=(2, 2), strides=(2, 2), padding="VALID"):
    """The element of ``values``, which has the shape of ``x``, where each window of ``x`` has its largest, ``y``."""
    result = np.zeros(y.shape, x.dtype)
    for places, pixels, hit in _hits(x, y, axes_of_pool(x.shape[1:-1], window, strides, padding)):
        result[places] += _chosen(hit, values[pixels])
    return result


@of_largest.shape
def _(x: Spec, y: Spec, values: Spec, **windows: Any) -> Spec:
    return Spec(x.dtype, merge(y.shape, windowed_dims(merge(x.shape, values.shape), **windows)))


@of_largest.gradient
def _(z: Tensor, dz: Tensor) -> tuple[Tensor, None, Tensor]:
    x, y, _ = z.op.inputs
    return zeros_like(x), None, to_largest(x, y, dz, **z.op.attrs)  # connected: a second derivative is 0, not None


@op(dtypes="real")
def place_of_largest(x, y, window=(2, 2), strides=(2, 2), padding="VALID", batch=False):
    """The position in an image (with ``batch`` in all) of each window's first largest element, ``y``, as int64."""
    axes = axes_of_pool(x.shape[1:-1], window, strides, padding)
    positions = np.arange(x.size if batch else math.prod(x.shape[1:])).reshape(-1, *x.shape[1:])
    result = np.zeros(y.shape, np.int64)
    for places, pixels, hit in _hits(x, y, axes):
        np.copyto(result[places], positions[pixels], where=hit)
    return result


@place_of_largest.shape
def _(x: Spec, y: Spec, batch: bool, **windows: Any) -> Spec:
    return Spec(np.dtype("int64"), merge(y.shape, windowed_dims(x.shape, **windows)))


# -- mean -------------------------------------------------------------------------------------------------------------


def divided(array: Array, axes: Sequence[Axis]) -> Array:
    """``array`` [n, places..., channels] by the number of elements in each window that are no padding."""
    counts = np.zeros((*(a.places for a in axes), 1), array.dtype)
    for _, at, _ in taps(axes):
        counts[at] += 1
    return array / counts


@op(dtypes="float")
def window_mean(input, window=(2, 2), strides=(2, 2), padding="VALID"):
    """The mean over each window: [n, sizes..., channels] to [n, places..., channels]."""
    axes = axes_of_pool(input.shape[1:-1], window, strides, padding)
    return narrowed(divided(_fold(widened(input), axes, np.add, 0), axes), input.dtype, None)


@window_mean.shape
def _(input: Spec, **windows: Any) -> Spec:
    return Spec(input.dtype, windowed_dims(input.shape, **windows))


@window_mean.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    spread: Tensor = window_mean_gradient(dy, known_shape(y.op.inputs[0]), **y.op.attrs)
    return spread


@op(dtypes="float", same=(0,))
def window_mean_gradient(dy, sizes, window=(2, 2), strides=(2, 2), padding="VALID"):
    """Each element of ``dy`` [n, places..., channels] shared out equally to its window, in the shape ``sizes``."""
    shape = [int(n) for n in sizes]
    axes = axes_of_pool(shape[1:-1], window, strides, padding)
    shares = divided(widened(dy), axes)
    dx = np.zeros(shape, shares.dtype)
    for _, at, seen in taps(axes):
        dx[(slice(None), *seen)] += shares[(slice(None), *at)]
    return narrowed(dx, dy.dtype, None)


@window_mean_gradient.shape
def _(dy: Spec, sizes: Spec, **windows: Any) -> Spec:
    x = value_dims(sizes)
    merge(dy.shape, windowed_dims(x, **windows))
    return Spec(dy.dtype, x)


@window_mean_gradient.gradient
def _(dx: Tensor, ddx: Tensor) -> tuple[Tensor, None]:
    return window_mean(ddx, **dx.op.attrs), None
