"""The exchanges that compressors are made of, and a count of the bytes that they send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.comm.communicator import Request
from paraflow.ops.collective import weigh

Array = np.ndarray[Any, Any]


@dataclass
class Traffic:
    """Bytes that this rank has sent for gradients, and what it would have sent without compression.

    Counted as bandwidth-optimal algorithms send them (Thakur et al., IJHPCA 2005), with n ranks: 2 (n-1)/n of a buffer
    for its all-reduce, n-1 times a part for the gather of equal parts.
    """

    sent: int = 0
    uncompressed: int = 0

    @property
    def ratio(self) -> float:
        """``sent / uncompressed``, 1 before the first step."""
        return self.sent / self.uncompressed if self.uncompressed else 1.0

    def account(self) -> dict[str, object]:
        """The count as a run's records have it."""
        return {"gradient_bytes": self.sent, "uncompressed_gradient_bytes": self.uncompressed}

    def remarks(self, who: str) -> list[str]:
        """A line on what ``who`` has saved; none before the first step."""
        if not self.uncompressed:
            return []
        megabytes = f"{self.sent / 1e6:.2f} of {self.uncompressed / 1e6:.2f} MB"
        return [f"gradient traffic {self.ratio:.3f} of uncompressed: {who} has sent {megabytes}"]


def all_reduce_bytes(nbytes: int, ranks: int) -> int:
    """What each of ``ranks`` sends in the all-reduce of a buffer of ``nbytes``."""
    return 2 * (ranks - 1) * nbytes // ranks


class Wire:
    """The ranks' exchanges on behalf of one compressor, each counted in ``traffic``.

    All are collective but for `send` and `recv`.
    """

    def __init__(self, comm: Communicator, traffic: Traffic) -> None:
        self.ranks, self.rank = comm.size, comm.rank
        self._comm = comm
        self._traffic = traffic

    def sum(self, flat: Array, share: float) -> None:
        """Replace ``flat`` by the sum over the ranks of share * flat; with share 0 it counts as zeros, even if NaN."""
        weigh(flat, share)
        self._comm.allreduce(flat)
        self._traffic.sent += all_reduce_bytes(flat.nbytes, self.ranks)

    def average(self, arrays: list[Array], share: float) -> list[Array]:
        """The weighted sums over the ranks of arrays of one dtype, by one all-reduce, in their shapes."""
        flat = np.concatenate([a.reshape(-1) for a in arrays])
        self.sum(flat, share)
        ends = np.cumsum([a.size for a in arrays])[:-1]
        return [part.reshape(a.shape) for part, a in zip(np.split(flat, ends), arrays, strict=True)]

    def gather(self, part: Array) -> Array:
        """The parts of all ranks, uint8 of one size, as rows in the order of the ranks."""
        parts = np.empty((self.ranks, part.size), np.uint8)
        self._comm.allgather_into(part, parts)
        self._traffic.sent += (self.ranks - 1) * part.nbytes
        return parts

    def send(self, part: Array, other: int, tag: int) -> Request:
        """Start to send ``part``, uint8, to rank ``other``; it stays untouched until the request is waited for."""
        self._traffic.sent += part.nbytes
        return self._comm.isend(part, other, tag)

    def recv(self, part: Array, other: int, tag: int) -> None:
        """Fill ``part`` with the next message of rank ``other`` with this tag."""
        self._comm.recv(part, other, tag)
