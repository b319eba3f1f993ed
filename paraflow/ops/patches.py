"""Patches of images and volumes: what a window sees at each place, laid in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, merge
from paraflow.ops.array import known_shape, value_dims
from paraflow.ops.windows import Patches, axes_of, taps, windowed_dims


@op(dtypes="numeric")
def window_patches(input, window=(2, 2), strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """What each window sees: [n, sizes..., channels] to [n, places..., elements of the window * channels].

    The channels change fastest, then the last axis of the window; padding is zeros.
    """
    axes = axes_of(input.shape[1:-1], window, strides, padding, dilations)
    result = np.empty((len(input), *(a.places for a in axes), math.prod(window) * input.shape[-1]), input.dtype)
    rows = result.reshape(math.prod(result.shape[:-1]), result.shape[-1])
    for first, last, patches in Patches(input, axes):
        rows[first:last] = patches
    return result


def _patch_dims(x: Dims, window: Any, strides: Any, padding: Any, dilations: Any) -> Dims:
    *outer, channels = windowed_dims(x, window, strides, padding, dilations)
    return (*outer, None if channels is None else channels * math.prod(window))


@window_patches.shape
def _(input: Spec, **windows: Any) -> Spec:
    return Spec(input.dtype, _patch_dims(input.shape, **windows))


@window_patches.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    back: Tensor = window_patches_gradient(dy, known_shape(y.op.inputs[0]), **y.op.attrs)
    return back


@op(dtypes="numeric", same=(0,))
def window_patches_gradient(dy, sizes, window=(2, 2), strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """Patches ``dy`` added up where they were taken from, in the shape ``sizes``: the transpose of `window_patches`."""
    shape = tuple(int(n) for n in sizes)
    axes = axes_of(shape[1:-1], window, strides, padding, dilations)
    seen_by = dy.reshape(*dy.shape[:-1], *window, shape[-1])
    result = np.zeros(shape, dy.dtype)
    for index, at, seen in taps(axes):
        result[(slice(None), *seen)] += seen_by[(slice(None), *at, *index)]
    return result


@window_patches_gradient.shape
def _(dy: Spec, sizes: Spec, **windows: Any) -> Spec:
    x = value_dims(sizes)
    merge(dy.shape, _patch_dims(x, **windows))
    return Spec(dy.dtype, x)


@window_patches_gradient.gradient
def _(dx: Tensor, ddx: Tensor) -> tuple[Tensor, None]:
    return window_patches(ddx, **dx.op.attrs), None


def _inner(given: Sequence[int] | None, rank: int, what: str) -> tuple[int, ...]:
    """The numbers of the inner axes, of one number for each axis of the tensor."""
    numbers = list(given or ())
    if len(numbers) != rank + 2 or numbers[0] != 1 or numbers[-1] != 1:
        sizes = ", ".join(["1", *["n"] * rank, "1"])
        raise GraphError(f"{what} of patches are [{sizes}], not {given}{at_user_line()}")
    return tuple(numbers[1:-1])


def extract_image_patches(
    images: Any,
    ksizes: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    rates: Sequence[int] | None = None,
    padding: str | None = None,
    name: str | None = None,
    sizes: Sequence[int] | None = None,
) -> Tensor:
    """Patches of ``ksizes`` pixels (older name of ``sizes``) of images [n, h, w, c]: [n, rows, columns, kh * kw * c].

    ``strides`` apart, their pixels ``rates`` apart, all [1, rows, columns, 1]; ``padding`` is "SAME" or "VALID".
    """
    windows = {
        "window": _inner(ksizes or sizes, 2, "sizes"), "strides": _inner(strides, 2, "strides"),
        "dilations": _inner(rates, 2, "rates"), "padding": padding,
    }  # fmt: skip
    patches: Tensor = window_patches(convert(images), **windows, name=name or "ExtractImagePatches")
    return patches


def extract_volume_patches(
    input: Any, ksizes: Sequence[int], strides: Sequence[int], padding: str, name: str | None = None
) -> Tensor:
    """`extract_image_patches` of volumes [n, d, h, w, c], with ``ksizes`` and ``strides`` of five numbers."""
    windows = {
        "window": _inner(ksizes, 3, "sizes"), "strides": _inner(strides, 3, "strides"), "dilations": (1, 1, 1),
        "padding": padding,
    }  # fmt: skip
    patches: Tensor = window_patches(convert(input), **windows, name=name or "ExtractVolumePatches")
    return patches
