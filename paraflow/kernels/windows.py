"""Depthwise convolution and pooling by compiled loops, where there is a C compiler; see windows.c.

numpy goes over memory several times for every element of a window. The loops keep what belongs to one place in
registers, and add in the same order, so the bits are those of the bodies (paraflow/ops/depthwise.py, pooling.py), which
do the work for small arrays, for other dtypes than float32 and float64, and where there is no compiler.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.graph.record import OpRecord
from paraflow.kernels.sources import by_body, call, usable
from paraflow.ops import depthwise as by_numpy
from paraflow.ops import pooling
from paraflow.ops.windows import Axis, axes_of

Array = np.ndarray[Any, Any]

COMPILE_FROM = 1 << 12  # elements; below, a compilation (1 s, once in a machine's life) is not worth it
PRODUCTS, SUMS, MAXIMA = range(3)  # as in windows.c
# So many elements side by side fill vectors well; fewer channels are repeated where a run of pixels has no strides.
_LONG = 256
_OUTER = Axis(1, 1, 1, 1, 0, 0, 1)  # what there is of axes that images do not have


def _compiled(kind: int, arrays: Sequence[Array]) -> ctypes.CDLL | None:
    return usable(("windows.c",), arrays, COMPILE_FROM, kind)


# -- where windows stand ----------------------------------------------------------------------------------------------


def _seen(axis: Axis, backwards: bool) -> Array:
    """For each place of the result, the index from which it takes each element of the window, or -1: [places, window].

    ``backwards``: for each pixel, the place to which it is that element.
    """
    taps = np.arange(axis.window) * axis.dilation - axis.before
    if not backwards:
        at = np.arange(axis.places)[:, None] * axis.stride + taps
        return np.where((at >= 0) & (at < axis.size), at, -1)
    at, rest = np.divmod(np.arange(axis.size)[:, None] - taps, axis.stride)
    return np.where((rest == 0) & (at >= 0) & (at < axis.places), at, -1)


def _runs(axis: Axis, backwards: bool) -> tuple[int, list[int]]:
    """How many runs of places there are that see the same elements, and what windows.c has to know of them."""
    seen, numbers, count = _seen(axis, backwards), [], 0
    step, from_step = (axis.stride, 1) if backwards else (1, axis.stride)
    for phase in range(min(step, len(seen))):
        own = seen[phase::step]
        cuts = np.flatnonzero(((own[1:] >= 0) != (own[:-1] >= 0)).any(1)) + 1
        for first, last in zip([0, *cuts], [*cuts, len(own)], strict=True):
            pairs = [int(n) for k in range(axis.window) if own[first, k] >= 0 for n in (k, own[first, k])]
            numbers += [phase + int(first) * step, step, int(last - first), from_step, len(pairs) // 2, *pairs]
            count += 1
    return count, numbers


@functools.lru_cache(maxsize=256)
def _plan(axes: tuple[Axis, ...], backwards: bool) -> Array:
    """Where windows stand, as `read_plan` of windows.c reads it; ``backwards`` for the gradients to what they see."""
    three = (*(_OUTER,) * (3 - len(axes)), *axes)
    to, of = [a.places for a in three], [a.size for a in three]
    count, runs = _runs(three[2], backwards)
    outer = [_seen(axis, backwards).ravel() for axis in three[:2]]
    sizes = [*(of if backwards else to), *(to if backwards else of), *(a.window for a in three), count]
    return np.concatenate([sizes, *outer, runs]).astype(ctypes.c_long)


# -- depthwise convolution --------------------------------------------------------------------------------------------


def _lines(channels: int) -> int:
    """How many pixels to take as one where that can be done."""
    return max(1, _LONG // channels)


def _repeated(filters: Array, lines: int) -> Array:
    """``filters`` [..., channels] with the channels as many times as pixels are taken as one, contiguous."""
    return np.ascontiguousarray(np.tile(filters.reshape(-1, filters.shape[-1]), lines))


def depthwise(x: Array, w: Array, strides: Any, padding: Any, dilations: Any, out: Array) -> None:
    """The result of `paraflow.ops.depthwise.depthwise`, in ``out``."""
    library = _compiled(PRODUCTS, (x, w, out))
    if library is None:
        by_body(by_numpy.depthwise, (x, w), (strides, padding, dilations), (out,))
        return
    axes = axes_of(x.shape[1:-1], w.shape[:-2], strides, padding, dilations)
    many, channels = w.shape[-1], out.shape[-1]
    seen = np.ascontiguousarray(x) if many == 1 else np.repeat(x, many, -1)
    lines = _lines(channels)
    filters = _repeated(w.reshape(-1, channels), lines)
    call(library.windows, _plan(axes, False), len(x), channels, 1, lines, False, out, seen, filters)


def depthwise_input_gradient(
    w: Array, dy: Array, sizes: Any, strides: Any, padding: Any, dilations: Any, out: Array
) -> None:
    """The result of `paraflow.ops.depthwise.depthwise_input_gradient`, in ``out``."""
    library = _compiled(PRODUCTS, (w, dy, out))
    if library is None:
        by_body(by_numpy.depthwise_input_gradient, (w, dy, sizes), (strides, padding, dilations), (out,))
        return
    axes = axes_of(out.shape[1:-1], w.shape[:-2], strides, padding, dilations)
    channels, many = w.shape[-2:]
    # The results of a channel come one after the other, each with all channels side by side.
    given = np.ascontiguousarray(dy.reshape(*dy.shape[:-1], channels, many).swapaxes(-1, -2))
    lines = _lines(channels) if many == 1 else 1
    filters = _repeated(w.swapaxes(-1, -2), lines)
    call(library.windows, _plan(axes, True), len(dy), channels, many, lines, False, out, given, filters)


def depthwise_filter_gradient(
    x: Array, dy: Array, sizes: Any, strides: Any, padding: Any, dilations: Any, out: Array
) -> None:
    """The result of `paraflow.ops.depthwise.depthwise_filter_gradient`, in ``out``."""
    library = _compiled(PRODUCTS, (x, dy, out))
    if library is None:
        by_body(by_numpy.depthwise_filter_gradient, (x, dy, sizes), (strides, padding, dilations), (out,))
        return
    axes = axes_of(x.shape[1:-1], out.shape[:-2], strides, padding, dilations)
    many, channels = out.shape[-1], dy.shape[-1]
    seen = np.ascontiguousarray(x) if many == 1 else np.repeat(x, many, -1)
    line, whole = np.empty_like(out), np.empty_like(out)
    given = np.ascontiguousarray(dy)
    call(library.filter_gradient, _plan(axes, False), len(x), channels, out, line, whole, seen, given)


# -- pooling ----------------------------------------------------------------------------------------------------------


def largest(x: Array, window: Any, strides: Any, padding: Any, out: Array) -> None:
    """The result of `paraflow.ops.pooling.window_max`, in ``out``."""
    _pool(MAXIMA, pooling.window_max, x, (window, strides, padding), out)


def mean(x: Array, window: Any, strides: Any, padding: Any, out: Array) -> None:
    """The result of `paraflow.ops.pooling.window_mean`, in ``out``."""
    _pool(SUMS, pooling.window_mean, x, (window, strides, padding), out)


def _pool(kind: int, record: OpRecord, x: Array, attributes: tuple[Any, ...], out: Array) -> None:
    library = _compiled(kind, (x, out))
    if library is None:
        by_body(record, (x,), attributes, (out,))
        return
    axes = pooling.axes_of_pool(x.shape[1:-1], *attributes)
    channels, seen = x.shape[-1], np.ascontiguousarray(x)
    plan = _plan(axes, False)
    call(library.windows, plan, len(x), channels, 1, _lines(channels), kind == SUMS, out, seen, seen)


def mean_gradient(dy: Array, sizes: Any, window: Any, strides: Any, padding: Any, out: Array) -> None:
    """The result of `paraflow.ops.pooling.window_mean_gradient`, in ``out``."""
    library = _compiled(SUMS, (dy, out))
    if library is None:
        by_body(pooling.window_mean_gradient, (dy, sizes), (window, strides, padding), (out,))
        return
    axes = pooling.axes_of_pool(out.shape[1:-1], window, strides, padding)
    channels, shares = out.shape[-1], np.ascontiguousarray(pooling.divided(dy, axes))
    call(library.windows, _plan(axes, True), len(dy), channels, 1, _lines(channels), False, out, shares, shares)


def to_largest(x: Array, y: Array, dy: Array, window: Any, strides: Any, padding: Any, out: Array) -> None:
    """The result of `paraflow.ops.pooling.to_largest`, in ``out``."""
    library = _compiled(MAXIMA, (x, y, dy, out))
    if library is None:
        by_body(pooling.to_largest, (x, y, dy), (window, strides, padding), (out,))
        return
    axes = pooling.axes_of_pool(x.shape[1:-1], window, strides, padding)
    offsets = np.empty(math.prod(window), ctypes.c_long)
    operands = (np.ascontiguousarray(a) for a in (x, y, dy))
    apart, tiled = pooling.apart(axes), pooling.tiled(axes)
    call(library.largest_gradient, _plan(axes, False), len(x), x.shape[-1], apart, tiled, offsets, out, *operands)
