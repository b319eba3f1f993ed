"""Windows that slide over the inner axes of arrays [n, sizes..., channels]: where they stand and what they see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from paraflow.errors import GraphError, ShapeError
from paraflow.graph.shape import Dims, format_dims

Array = np.ndarray[Any, Any]
Slices = tuple[slice, ...]

# Patches are gathered in pieces that stay in a core's second-level cache.
PIECE_BYTES = 1 << 19
# With so few channels a pixel is too short to be copied by itself, so patches are gathered line by line.
FEW_CHANNELS = 4


@dataclass(frozen=True)
class Axis:
    """An axis of ``size`` with ``before`` and ``after`` elements of padding, over which a window slides.

    ``places`` is the number of positions of a window of ``window`` elements, ``dilation`` apart, in steps of
    ``stride``.
    """

    size: int
    window: int
    stride: int
    dilation: int
    before: int
    after: int
    places: int

    @property
    def plain(self) -> bool:
        """Whether every place sees just the element of its own number."""
        return self.window == 1 and self.stride == 1 and self.before == 0 and self.places == self.size

    def seen(self, tap: int) -> tuple[slice, slice]:
        """The places whose element number ``tap`` is no padding, and where these elements are."""
        offset = tap * self.dilation - self.before
        first = -(offset // self.stride) if offset < 0 else 0
        last = max(first, min(self.places, (self.size - 1 - offset) // self.stride + 1))
        start = first * self.stride + offset
        return slice(first, last), slice(start, max(start, last * self.stride + offset), self.stride)


def check_windows(rank: int, strides: Any, padding: Any, dilations: Any = None) -> None:
    """Raise GraphError unless the attributes are for windows over ``rank`` axes."""
    for what, numbers in (("strides", strides), ("dilations", dilations or (1,) * rank)):
        if len(numbers) != rank or min(numbers) < 1:
            raise GraphError(f"{what} are {rank} numbers above 0, not {list(numbers)}")
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise GraphError(f"padding is 'SAME', 'VALID' or a pair of numbers for each axis, not {padding!r}")
    elif len(padding) != rank or any(len(pair) != 2 or min(pair) < 0 for pair in padding):
        raise GraphError(f"padding has to be {rank} pairs of numbers that are not negative, not {padding!r}")


def place(size: int, window: int, stride: int, padding: str | Sequence[int], dilation: int) -> Axis:
    """The places of a window over one axis; raises ShapeError where it does not fit once.

    Without padding ("VALID") the window stays inside. "SAME" pads so that there are ceil(size / stride) places, the odd
    element after the last.
    """
    extent = (window - 1) * dilation + 1
    if padding == "SAME":
        places = -(-size // stride)
        missing = max((places - 1) * stride + extent - size, 0)
        before, after = missing // 2, missing - missing // 2
    else:
        before, after = (0, 0) if padding == "VALID" else (int(padding[0]), int(padding[1]))
        places = (size + before + after - extent) // stride + 1
        if places < 1:
            raise ShapeError(f"a window that spans {extent} elements does not fit an axis of {size + before + after}")
    return Axis(size, window, stride, dilation, before, after, places)


def axes_of(
    sizes: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Any, dilations: Sequence[int]
) -> tuple[Axis, ...]:
    """`place` for each axis."""
    pairs = (padding,) * len(sizes) if isinstance(padding, str) else padding
    return tuple(place(*axis) for axis in zip(sizes, window, strides, pairs, dilations, strict=True))


def windowed_dims(
    x: Dims, window: Any, strides: Any, padding: Any, dilations: Any = None
) -> tuple[int | None, ...]:
    """The shape [n, places..., channels] for windows over ``x``, [n, sizes..., channels].

    Raises GraphError where they do not fit.
    """
    rank = len(window)
    dilations = dilations or (1,) * rank
    check_windows(rank, strides, padding, dilations)
    if min(window) < 1:
        raise GraphError(f"a window has sizes above 0, not {list(window)}")
    if x is not None and len(x) != rank + 2:
        raise GraphError(f"the input is [n, {rank} sizes, channels], not {format_dims(x)}")
    places = place_dims(None if x is None else x[1:-1], tuple(window), strides, padding, dilations)
    return (None if x is None else x[0], *places, None if x is None else x[-1])


def place_dims(sizes: Dims, window: Dims, strides: Any, padding: Any, dilations: Any) -> tuple[int | None, ...]:
    """The numbers of places along each axis, None where sizes are not known."""
    rank = len(strides)
    pairs = (padding,) * rank if isinstance(padding, str) else padding
    result: list[int | None] = []
    for i in range(rank):
        size = None if sizes is None else sizes[i]
        extent = 1 if padding == "SAME" else None if window is None else window[i]  # "SAME" is so for all windows
        if size is None or extent is None:
            result.append(None)
        else:
            result.append(place(size, extent, strides[i], pairs[i], dilations[i]).places)
    return tuple(result)


def taps(axes: Sequence[Axis]) -> Iterator[tuple[tuple[int, ...], Slices, Slices]]:
    """For each element of the window: its index, the places where it is no padding, and what they see there."""
    for index in product(*(range(a.window) for a in axes)):
        pairs = [a.seen(i) for a, i in zip(axes, index, strict=True)]
        yield index, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)


def images_in_piece(bytes_each: int, count: int) -> int:
    """How many of ``count`` images to work on at once."""
    return max(1, min(count, PIECE_BYTES // max(1, bytes_each)))


class Patches:
    """What the windows see of ``x`` [n, sizes..., channels], padding as zeros, as rows of matrices.

    Iterating gives (first, last, matrix [last - first, elements of the window * channels]) for the places first to last
    in row-major order over [n, places...]; the matrix is good until the next is asked for.
    """

    def __init__(self, x: Array, axes: Sequence[Axis]) -> None:
        self.x = x
        self.axes = axes
        self.places = tuple(a.places for a in axes)
        self.window = tuple(a.window for a in axes)
        self.by_line = x.shape[-1] <= FEW_CHANNELS
        self.width = math.prod(self.window) * x.shape[-1]

    def __iter__(self) -> Iterator[tuple[int, int, Array]]:
        x, channels = self.x, self.x.shape[-1]
        if not len(x) or not all(self.places):
            return
        if all(a.plain for a in self.axes):
            yield 0, x.size // channels if channels else math.prod(x.shape[:-1]), x.reshape(-1, channels)
            return
        beside = math.prod(self.places[1:])
        rows = max(1, PIECE_BYTES // max(1, beside * self.width * x.itemsize))
        images = max(1, min(len(x), rows // self.places[0]))
        rows = min(rows, self.places[0])
        frame, inner = self._frame(images)
        views = self._views(x if frame is None else frame)
        buffer = np.empty(images * rows * beside * self.width, x.dtype)
        for n in range(0, len(x), images):
            count = min(images, len(x) - n)
            if inner is not None:
                inner[:count] = x[n : n + count]
            seen = views[n : n + count] if frame is None else views[:count]
            for row in range(0, self.places[0], rows):
                first = (n * self.places[0] + row) * beside
                matrix = self._gather(seen[:, row : row + rows], buffer)
                yield first, first + len(matrix), matrix

    def _frame(self, images: int) -> tuple[Array | None, Array | None]:
        """Memory for some padded images and the part that takes the images, or nothing where x serves itself."""
        x, axes = self.x, self.axes
        if not self.by_line and x.flags.c_contiguous and not any(a.before or a.after for a in axes):
            return None, None
        padded = [a.before + a.size + a.after for a in axes]
        if self.by_line:
            frame = np.moveaxis(np.zeros((x.shape[-1], images, *padded), x.dtype), 0, -1)
        else:
            frame = np.zeros((images, *padded, x.shape[-1]), x.dtype)
        return frame, frame[(slice(None), *(slice(a.before, a.before + a.size) for a in axes))]

    def _views(self, x: Array) -> Array:
        """[n, places..., window..., channels] over the memory of ``x``, which is padded."""
        n, *inner, channel = x.strides
        steps = [s * a.stride for s, a in zip(inner, self.axes, strict=True)]
        apart = [s * a.dilation for s, a in zip(inner, self.axes, strict=True)]
        shape = (len(x), *self.places, *self.window, x.shape[-1])
        return as_strided(x, shape, (n, *steps, *apart, channel), writeable=False)

    def _gather(self, seen: Array, buffer: Array) -> Array:
        rank = len(self.axes)
        count = math.prod(seen.shape[: rank + 1])
        memory = buffer[: count * self.width]
        if not self.by_line:
            np.copyto(memory.reshape(seen.shape), seen)
            return memory.reshape(count, self.width)
        lines = seen.transpose(*range(rank + 1, seen.ndim), *range(rank + 1))
        np.copyto(memory.reshape(lines.shape), lines)
        return memory.reshape(self.width, count).T
