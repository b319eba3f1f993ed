"""Gradients in 16 bits: IEEE half precision, or bfloat16, which has the range of float32 and 8 bits of precision."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from paraflow.parallel.compression.base import ALIGNMENT, CHUNK, Compressor
from paraflow.parallel.compression.wire import Wire

Array = np.ndarray[Any, Any]


class _Half(Compressor):
    """Rounds every element to 16 bits, those of small gradients too.

    In an all-reduce each rank owns a slice: it gets that slice from all others in 16 bits, adds up in full precision,
    and sends the sum to all others in 16 bits. So the bytes are half (of float64, a quarter) of those of a plain
    all-reduce whatever the number of ranks. The owner's rounding has an error memory of its own, ``error/sum of NAME``
    (both error terms of DoubleSqueeze: Tang et al., ICML 2019).
    """

    def compresses(self, gradient: Array) -> bool:
        """All of float32 and float64."""
        return gradient.size > 0 and gradient.dtype.char in "fd"

    def _packed_bytes(self, gradient: Array) -> int:
        return 2 * gradient.size

    def _pack(self, name: str, owed: Array, payload: Array) -> None:
        numbers = payload[: 2 * owed.size].view(np.uint16)
        for flat, place in _chunks(owed):
            bits = numbers[place] = self._round(flat)
            flat -= self._widen(bits)

    def _unpack(self, payload: Array, out: Array, weight: float) -> None:
        numbers = payload[: 2 * out.size].view(np.uint16)
        for flat, place in _chunks(out):
            flat += self._widen(numbers[place]) * flat.dtype.type(weight)

    def _average(
        self, wire: Wire, share: float, step: int, names: Sequence[str], gradients: Sequence[Array]
    ) -> list[Array]:
        dtype = gradients[0].dtype
        ends = np.cumsum([0, *(g.size for g in gradients)]).tolist()
        places = [slice(*pair) for pair in pairwise(ends)]
        slice_size = -(-ends[-1] // wire.ranks)
        own = np.zeros(slice_size * wire.ranks, np.uint16)
        if share:
            for name, gradient, place in zip(names, gradients, places, strict=True):
                if gradient.size:
                    self._pack(name, self._corrected(name, gradient), own[place].view(np.uint8))
        total = self._corrected(f"sum of {names[0]}", self._sum_of_my_slice(wire, share, own, dtype))
        rounded = np.empty(total.size, np.uint16)
        self._pack(names[0], total, rounded.view(np.uint8))
        flat = self._widen(wire.gather(rounded.view(np.uint8)).view(np.uint16).reshape(-1)).astype(dtype, copy=False)
        return [flat[place].reshape(g.shape) for place, g in zip(places, gradients, strict=True)]

    def _sum_of_my_slice(self, wire: Wire, share: float, own: Array, dtype: Any) -> Array:
        """The sum over the ranks of share * slice, in rank order; each message is a share and a slice."""
        messages = np.zeros((wire.ranks, ALIGNMENT + own.nbytes // wire.ranks), np.uint8)
        messages[:, :ALIGNMENT] = np.array([share]).view(np.uint8)
        messages[:, ALIGNMENT:] = own.view(np.uint8).reshape(wire.ranks, -1)
        total = np.zeros(own.size // wire.ranks, dtype)
        for message in wire.swap(messages):
            weight = float(message[:ALIGNMENT].view(np.float64)[0])
            if weight:
                self._unpack(message[ALIGNMENT:], total, weight)
        return total

    @abstractmethod
    def _round(self, flat: Array) -> Array:
        """The nearest 16-bit numbers, as uint16; finite numbers beyond the range become the largest of it."""

    @abstractmethod
    def _widen(self, bits: Array) -> Array:
        """The numbers that ``bits`` stand for, as floats."""


def _chunks(array: Array) -> Iterator[tuple[Array, slice]]:
    """Views of the elements in parts that stay in the cache, and where they stand."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        place = slice(start, start + CHUNK)
        yield flat[place], place


class Float16(_Half):
    """IEEE half precision: 11 bits of precision, up to 65504, and from 6e-8."""

    def _round(self, flat: Array) -> Array:
        half = flat.astype(np.float16)
        infinite = np.isinf(half)
        if infinite.any():
            overflown = infinite & np.isfinite(flat)
            half[overflown] = np.copysign(np.finfo(np.float16).max, half[overflown])
        return half.view(np.uint16)

    def _widen(self, bits: Array) -> Array:
        return bits.view(np.float16).astype(np.float32)


_INFINITY, _LARGEST, _NAN = np.uint16(0x7F80), np.uint16(0x7F7F), np.uint16(0x7FC0)


class BFloat16(_Half):
    """The upper half of a float32, rounded to nearest, ties to even; float64 passes through float32."""

    def _round(self, flat: Array) -> Array:
        single = flat.astype(np.float32, copy=False)
        whole = single.view(np.uint32)
        bits = ((whole + np.uint32(0x7FFF) + (whole >> 16 & np.uint32(1))) >> 16).astype(np.uint16)
        large = (bits & np.uint16(0x7FFF)) >= _INFINITY  # a NaN may also have been carried over to the zeros
        if large.any():
            overflown = large & np.isfinite(flat)
            bits[overflown] = (bits[overflown] & np.uint16(0x8000)) | _LARGEST
        bits[np.isnan(single)] = _NAN
        return bits

    def _widen(self, bits: Array) -> Array:
        return (bits.astype(np.uint32) << 16).view(np.float32)
