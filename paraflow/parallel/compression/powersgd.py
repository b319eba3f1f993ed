"""PowerSGD: each gradient matrix as the product of two thin ones."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.parallel.compression.base import Compressor
from paraflow.parallel.compression.wire import Wire

Array = np.ndarray[Any, Any]


@dataclass(eq=False, kw_only=True)
class PowerSGD(Compressor):
    """One step of subspace iteration, begun where the last one ended (Vogels et al., NeurIPS 2019, algorithm 1).

    A gradient is a matrix M [all axes but the last, the last]. P = M Q is made orthonormal, Q = M^T P, and P Q^T is
    what arrives. Both products are linear in M, so they are averaged by all-reduce: the result is that of the averaged
    M. ``rank`` is the number of columns of P and Q. Gradients of fewer than two axes are not compressed.
    """

    rank: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise InvalidArgumentError(f"rank is the number of columns of the factors, from 1, not {self.rank}")

    def compresses(self, gradient: Array) -> bool:
        """Matrices, and what has more axes."""
        return gradient.ndim >= 2 and super().compresses(gradient)

    def _packed_bytes(self, gradient: Array) -> int:
        rows, columns, rank = self._layout(gradient)
        return (rows + columns) * rank * gradient.itemsize

    def _pack(self, name: str, owed: Array, payload: Array) -> None:
        matrix = self._matrix(owed)
        p, q = self._factors(payload, owed)
        p[:] = _orthonormal(matrix @ self._start(name, owed))
        q[:] = matrix.T @ p
        matrix -= p @ q.T
        self._go_on_from(name, q)

    def _unpack(self, payload: Array, out: Array, weight: float) -> None:
        p, q = self._factors(payload, out)
        matrix = self._matrix(out)
        matrix += out.dtype.type(weight) * (p @ q.T)

    def _average(
        self, wire: Wire, share: float, step: int, names: Sequence[str], gradients: Sequence[Array]
    ) -> list[Array]:
        """Average P and the uncompressed gradients, then Q."""
        compressed = [i for i, g in enumerate(gradients) if self.compresses(g)]
        owed = [self._corrected(names[i], gradients[i]) if share else gradients[i] for i in compressed]
        matrices = [self._matrix(x) for x in owed]
        first = list(gradients)
        for i, matrix in zip(compressed, matrices, strict=True):
            first[i] = matrix @ self._start(names[i], gradients[i])
        averages = wire.average(first, share)
        bases = [_orthonormal(averages[i]) for i in compressed]
        own = [matrix.T @ p for matrix, p in zip(matrices, bases, strict=True)]
        if share:
            for matrix, p, q in zip(matrices, bases, own, strict=True):
                matrix -= p @ q.T
        for i, p, q in zip(compressed, bases, wire.average(own, share), strict=True):
            averages[i] = (p @ q.T).reshape(gradients[i].shape)
            self._go_on_from(names[i], q)
        return averages

    def _go_on_from(self, name: str, q: Array) -> None:
        """A matrix of zeros says nothing of the next one's space."""
        if q.any():
            self._state[f"factor/{name}"] = q.copy()

    def _layout(self, gradient: Array) -> tuple[int, int, int]:
        """Rows and columns of the matrix, and of how many columns its factors are."""
        columns = gradient.shape[-1]
        rows = math.prod(gradient.shape[:-1])
        return rows, columns, min(self.rank, rows, columns)

    def _matrix(self, gradient: Array) -> Array:
        return gradient.reshape(-1, gradient.shape[-1])

    def _factors(self, payload: Array, gradient: Array) -> tuple[Array, Array]:
        """P and Q as they lie in a message."""
        rows, columns, rank = self._layout(gradient)
        numbers = payload[: self._packed_bytes(gradient)].view(gradient.dtype)
        return numbers[: rows * rank].reshape(rows, rank), numbers[rows * rank :].reshape(columns, rank)

    def _start(self, name: str, gradient: Array) -> Array:
        """Q of the last step; in the first one random numbers, the same ones on all ranks."""
        start = self._state.get(f"factor/{name}")
        if start is None:
            _, columns, rank = self._layout(gradient)
            # Raw bits, since numpy's distributions may change from version to version, and so from host to host.
            draws = np.random.Philox(key=[self.seed, zlib.crc32(name.encode())]).random_raw(columns * rank)
            start = (draws.reshape(columns, rank) * 2.0**-63 - 1).astype(gradient.dtype)
        return start


def _orthonormal(matrix: Array) -> Array:
    """An orthonormal basis of the columns' space; NaN where there is one in ``matrix``."""
    basis: Array = np.linalg.qr(matrix)[0]
    return basis
