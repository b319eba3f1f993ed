"""One bit an element: its sign; and the mean magnitude of each block."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.parallel.compression.base import Compressor

Array = np.ndarray[Any, Any]

BLOCK = 1024


class OneBit(Compressor):
    """The sign of each element times the mean magnitude of its block of 1024.

    With error feedback this is EF-signSGD (Karimireddy et al., ICML 2019, algorithm 1), by blocks as in Zheng et al.,
    NeurIPS 2019; without, signSGD (Bernstein et al., ICML 2018) with a magnitude, which need not converge.
    """

    def _packed_bytes(self, gradient: Array) -> int:
        return _blocks(gradient.size) * gradient.itemsize + -(-gradient.size // 8)

    def _pack(self, name: str, owed: Array, payload: Array) -> None:
        flat = owed.reshape(-1)
        scales, signs = _parts(payload, flat)
        starts = np.arange(0, flat.size, BLOCK)
        scales[:] = np.add.reduceat(np.abs(flat), starts) / np.diff(starts, append=flat.size)
        signs[:] = np.packbits(np.signbit(flat))
        flat -= np.copysign(_spread(scales, flat.size), flat)

    def _unpack(self, payload: Array, out: Array, weight: float) -> None:
        flat = out.reshape(-1)
        scales, signs = _parts(payload, flat)
        values = _spread(scales * flat.dtype.type(weight), flat.size)
        np.negative(values, out=values, where=np.unpackbits(signs, count=flat.size).view(np.bool_))
        flat += values


def _blocks(size: int) -> int:
    return -(-size // BLOCK)


def _parts(payload: Array, flat: Array) -> tuple[Array, Array]:
    """The scales and the packed signs in a message for ``flat``."""
    end = _blocks(flat.size) * flat.itemsize
    return payload[:end].view(flat.dtype), payload[end : end + -(-flat.size // 8)]


def _spread(scales: Array, size: int) -> Array:
    return np.repeat(scales, BLOCK)[:size]
