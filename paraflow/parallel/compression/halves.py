"""Gradients in 16 bits: IEEE half precision, or bfloat16, which has the range of float32 and 8 bits of precision."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from paraflow.parallel.compression.base import ALIGNMENT, CHUNK, Compressor
from paraflow.parallel.compression.wire import Wire

Array = np.ndarray[Any, Any]

_PIECE = 1 << 14  # elements at least: MPI libraries send messages of up to 64 KiB at once, larger ones when asked for
_PIECES = 16  # of a slice: enough to overlap, and more would only cost time themselves
_PART, _SUM = 7, 8  # tags of messages


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
        """Slices travel in pieces: while one is on the wire, the next is rounded, added up or taken in.

        With one message for each slice the wire lay idle in between, and where large messages wait for the receiver's
        consent, that came late, behind what the receiver itself was sending.
        """
        size, dtype = sum(g.size for g in gradients), gradients[0].dtype
        slice_size = -(-size // wire.ranks)
        step = max(_PIECE, slice_size // _PIECES)
        pieces = [slice(at, min(at + step, slice_size)) for at in range(0, slice_size, step)]
        others = [(wire.rank + i) % wire.ranks for i in range(1, wire.ranks)]
        owed = [self._corrected(n, g).reshape(-1) for n, g in zip(names, gradients, strict=True)] if share else []

        def part(owner: int, piece: slice) -> Array:
            """This rank's part of a piece of the owner's slice: a share, and the elements in 16 bits."""
            message = np.zeros(ALIGNMENT + 2 * (piece.stop - piece.start), np.uint8)
            message[:ALIGNMENT].view(np.float64)[0] = share
            self._pack_from(owed, owner * slice_size + piece.start, message[ALIGNMENT:].view(np.uint16))
            return message

        sent = [wire.send(part(owner, piece), owner, _PART) for piece in pieces for owner in others]
        total = self._corrected(f"sum of {names[0]}", np.zeros(slice_size, dtype))
        sums = np.empty((wire.ranks, slice_size), np.uint16)
        for piece in pieces:
            total[piece] += self._sum_of_parts(wire, part(wire.rank, piece), dtype)
            own = sums[wire.rank, piece].view(np.uint8)
            self._pack(names[0], total[piece], own)
            sent += [wire.send(own, other, _SUM) for other in others]
        averages = np.empty(sums.shape, dtype)
        averages[wire.rank] = self._widen(sums[wire.rank])
        for piece in pieces:
            for owner in reversed(others):
                wire.recv(sums[owner, piece].view(np.uint8), owner, _SUM)
                averages[owner, piece] = self._widen(sums[owner, piece])
        for request in sent:
            request.wait()
        ends = np.cumsum([g.size for g in gradients])[:-1]
        flat = np.split(averages.reshape(-1)[:size], ends)
        return [average.reshape(g.shape) for average, g in zip(flat, gradients, strict=True)]

    def _pack_from(self, owed: Sequence[Array], start: int, numbers: Array) -> None:
        """Pack as many elements as ``numbers`` has, from ``start`` on, of flat arrays that follow each other."""
        for flat in owed:
            begin, end = max(start, 0), min(start + numbers.size, flat.size)
            if begin < end:
                self._pack("", flat[begin:end], numbers[begin - start : end - start].view(np.uint8))
            start -= flat.size

    def _sum_of_parts(self, wire: Wire, own: Array, dtype: Any) -> Array:
        """The sum over the ranks of share * part, in rank order."""
        total, theirs = np.zeros((own.size - ALIGNMENT) // 2, dtype), np.empty_like(own)
        for rank in range(wire.ranks):
            if rank != wire.rank:
                wire.recv(theirs, rank, _PART)
            message = own if rank == wire.rank else theirs
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
