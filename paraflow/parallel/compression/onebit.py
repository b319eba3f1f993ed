"""One bit an element: its sign; and the mean magnitude of each block."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from paraflow.parallel.compression.base import CHUNK, Compressor

Array = np.ndarray[Any, Any]

BLOCK = 1024

_SIGNS = 1 - 2 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32)
"""The signs [256, 8] that each byte stands for: a bit that is set means minus."""


class OneBit(Compressor):
    """The sign of each element times the mean magnitude of its block of 1024.

    With error feedback this is EF-signSGD (Karimireddy et al., ICML 2019, algorithm 1), by blocks as in Zheng et al.,
    NeurIPS 2019; without, signSGD (Bernstein et al., ICML 2018) with a magnitude, which need not converge.
    """

    def _packed_bytes(self, gradient: Array) -> int:
        return -(-gradient.size // BLOCK) * gradient.itemsize + -(-gradient.size // 8)

    def _pack(self, name: str, owed: Array, payload: Array) -> None:
        for rows, scales, signs in _pieces(owed, payload):
            scales[:] = np.abs(rows).mean(axis=1)
            signs[:] = np.packbits(np.signbit(rows))
            rows -= np.copysign(scales[:, None], rows)

    def _unpack(self, payload: Array, out: Array, weight: float) -> None:
        for rows, scales, signs in _pieces(out, payload):
            values = _SIGNS[signs].reshape(-1)[: rows.size].reshape(rows.shape)
            rows += values * (scales * rows.dtype.type(weight))[:, None]


def _pieces(array: Array, payload: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Views of ``array`` as rows of one block each, with their places in the message: scales, and signs as bits.

    The last row may be shorter, and is a piece of its own.
    """
    flat = array.reshape(-1)
    blocks = -(-flat.size // BLOCK)
    all_scales = payload[: blocks * flat.itemsize].view(flat.dtype)
    all_signs = payload[all_scales.nbytes :]
    whole = flat.size // BLOCK * BLOCK
    starts = [*range(0, whole, CHUNK), whole, flat.size]
    for start, end in pairwise(starts):
        if start < end:
            length = min(BLOCK, end - start)
            places = slice(start // BLOCK, -(-end // BLOCK))
            yield flat[start:end].reshape(-1, length), all_scales[places], all_signs[start // 8 : -(-end // 8)]
