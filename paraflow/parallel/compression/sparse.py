"""A few elements of each gradient: the largest ones, or random ones."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.parallel.compression.base import Compressor
from paraflow.parallel.compression.wire import Wire

Array = np.ndarray[Any, Any]

SAMPLED_FROM = 1 << 16
SAMPLE_SIZE = 1 << 12


@dataclass(eq=False, kw_only=True)
class _Sparse(Compressor):
    """Sends ``ratio`` of the elements of each gradient, rounded up."""

    ratio: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.ratio <= 1:
            raise InvalidArgumentError(f"ratio is the part of the elements that is sent, in (0, 1], not {self.ratio}")

    def _kept(self, size: int) -> int:
        return min(size, math.ceil(self.ratio * size))


class TopK(_Sparse):
    """The elements of largest magnitude, with their positions (Aji and Heafield, EMNLP 2017; Stich et al., 2018).

    Each rank has its own, so messages are gathered, not added up on the way.
    """

    def _packed_bytes(self, gradient: Array) -> int:
        return self._kept(gradient.size) * (gradient.itemsize + _index_type(gradient.size).itemsize)

    def _pack(self, name: str, owed: Array, payload: Array) -> None:
        flat = owed.reshape(-1)
        values, positions = self._parts(payload, flat)
        positions[:] = largest(flat, self._kept(flat.size))
        values[:] = flat[positions]
        flat[positions] = 0

    def _unpack(self, payload: Array, out: Array, weight: float) -> None:
        flat = out.reshape(-1)
        values, positions = self._parts(payload, flat)
        flat[positions] += values * flat.dtype.type(weight)

    def _parts(self, payload: Array, flat: Array) -> tuple[Array, Array]:
        kept, index = self._kept(flat.size), _index_type(flat.size)
        end = kept * flat.itemsize
        return payload[:end].view(flat.dtype), payload[end : end + kept * index.itemsize].view(index)


def largest(flat: Array, count: int) -> Array:
    """The positions of the ``count`` elements of largest magnitude, in no order; a NaN is larger than any number.

    In a large array a sample bounds them from below first, so that most elements are only compared once (Lin et al.,
    ICLR 2018, section 4); the result is exact all the same.
    """
    magnitudes = np.abs(flat)
    if flat.size >= SAMPLED_FROM and 4 * count <= flat.size:
        sample = magnitudes[:: flat.size // SAMPLE_SIZE | 1]  # an odd stride meets all columns of a matrix
        rank = sample.size - 1 - math.ceil(2 * count / flat.size * sample.size)
        candidates = np.flatnonzero(~(magnitudes <= np.partition(sample, rank)[rank]))
        if candidates.size >= count:
            return candidates[_last(magnitudes[candidates], count)]
    return _last(magnitudes, count)


def _last(magnitudes: Array, count: int) -> Array:
    order: Array = np.argpartition(magnitudes, magnitudes.size - count)
    return order[magnitudes.size - count :]


def _index_type(size: int) -> np.dtype[Any]:
    return np.dtype(np.int32 if size <= 2**31 else np.int64)


@dataclass(eq=False, kw_only=True)
class RandomK(_Sparse):
    """One random element of each of k equal stretches of the gradient, the same ones on all ranks.

    The positions follow from (``seed``, name, step), so only values travel, and they can be added up on the way (Stich
    et al., 2018: rand-k; one draw from each stretch takes no element twice, and each with the chance k / size). Without
    error feedback values are multiplied by the length of their stretch, which makes the result unbiased.
    """

    seed: int = 0

    def _packed_bytes(self, gradient: Array) -> int:
        return 16 + self._kept(gradient.size) * gradient.itemsize

    def _pack(self, name: str, owed: Array, payload: Array) -> None:
        flat = owed.reshape(-1)
        key = payload[:16].view(np.uint64)
        key[:] = _key(name), self._count(f"encode/{name}")
        self._values(payload, flat)[:] = self._take(flat, *self._positions(int(key[0]), int(key[1]), flat.size))

    def _unpack(self, payload: Array, out: Array, weight: float) -> None:
        flat = out.reshape(-1)
        key = payload[:16].view(np.uint64)
        positions, _ = self._positions(int(key[0]), int(key[1]), flat.size)
        flat[positions] += self._values(payload, flat) * flat.dtype.type(weight)

    def _average(
        self, wire: Wire, share: float, step: int, names: Sequence[str], gradients: Sequence[Array]
    ) -> list[Array]:
        values: list[Array] = []
        places: list[Any] = []
        for name, gradient in zip(names, gradients, strict=True):
            flat, place = gradient.reshape(-1), cast(Any, slice(None))
            if self.compresses(gradient):
                place, lengths = self._positions(_key(name), step, gradient.size)
                # Without a share the values count as zeros, and the memory is left alone.
                flat = self._take(self._corrected(name, gradient).reshape(-1), place, lengths) if share else flat[place]
            values.append(flat)
            places.append(place)
        averages = [np.zeros(g.shape, g.dtype) for g in gradients]
        for average, place, value in zip(averages, places, wire.average(values, share), strict=True):
            average.reshape(-1)[place] = value
        return averages

    def _positions(self, key: int, step: int, size: int) -> tuple[Array, Array]:
        """The chosen positions, ascending, and the lengths of the stretches that they were drawn from."""
        count = self._kept(size)
        bounds = np.arange(count + 1) * size // count
        lengths = np.diff(bounds)
        # Raw bits, since numpy's distributions may change from version to version, and so from host to host.
        draws = np.random.Philox(key=[self.seed, key], counter=[0, step, 0, 0]).random_raw(count) >> np.uint64(32)
        return bounds[:-1] + (draws.astype(np.int64) * lengths >> 32), lengths

    def _take(self, flat: Array, positions: Array, lengths: Array) -> Array:
        """The values to send, taken out of ``flat``. All are NaN if any element is no finite number: none is hidden."""
        values: Array = flat[positions]
        flat[positions] = 0
        if not self.error_feedback:
            values *= lengths
        if not (np.isfinite(flat).all() and np.isfinite(values).all()):
            values.fill(np.nan)
        return values

    def _values(self, payload: Array, flat: Array) -> Array:
        return payload[16 : 16 + self._kept(flat.size) * flat.itemsize].view(flat.dtype)


def _key(name: str) -> int:
    return zlib.crc32(name.encode())
