"""Sums over nodes: between the ranks that own the same slices, one on each node."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from paraflow.comm import Communicator, Request
from paraflow.comm.communicator import Progress
from paraflow.comm.ring import Ring
from paraflow.errors import ParaflowError, RankEnded
from paraflow.runtime.ending import STEP_BYTES, end_in, error_of

Array = np.ndarray[Any, Any]

Algorithm: TypeAlias = Literal["mpi", "ring"]
"""How buckets are summed over nodes: as the MPI library chooses (MPI_Iallreduce), or on a ring of the nodes."""

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


class Sum:
    """A sum over nodes under way; ``ranks`` are those of the world that it is over."""

    def __init__(self, request: Request, ranks: list[int]) -> None:
        self._request, self._ranks = request, ranks

    def advance(self) -> bool:
        """Let its messages come on, without waiting; whether it is there. Raises what ``wait`` does."""
        try:
            return self._request.test()
        except RankEnded as ended:
            raise self._error_of(ended) from None

    def wait(self, progress: Progress = None) -> None:
        """Return when it is there; raises where a rank has ended without having taken part in it."""
        try:
            self._request.wait(progress)
        except RankEnded as ended:
            raise self._error_of(ended) from None

    def _error_of(self, ended: RankEnded) -> ParaflowError:
        return error_of(end_in(ended, self._ranks[ended.rank]))


class Wire:
    """This rank's lane: it and the owners of the same slices on other nodes, ``peers``; made by all of them together.

    ``place`` is this rank's among them.
    """

    def __init__(self, peers: Communicator, rank: int) -> None:
        self.place = peers.rank
        self._peers = peers
        self._ranks: list[int] = peers.allgather(rank)
        self._ring = Ring(peers.split(0))
        self._told: tuple[Array, Sum] | None = None

    def sum(self, values: Array, algorithm: Algorithm = "mpi") -> Sum:
        """Start to replace ``values`` by their sum over nodes."""
        start = self._ring.iallreduce if algorithm == "ring" else self._peers.iallreduce
        return Sum(start(values), self._ranks)

    def tell(self, *numbers: float) -> None:
        """Start to tell all nodes these numbers of this rank's, as many as the others."""
        every = np.zeros((len(numbers), self._peers.size))
        every[:, self.place] = numbers
        self._told = every, self.sum(every)

    def hear(self) -> Array | None:
        """What all have told, float64 [numbers, nodes]; None where that has been heard already."""
        if self._told is None:
            return None
        (every, under_way), self._told = self._told, None
        under_way.wait()
        return every

    def step_of(self, differing: list[int], step: str) -> tuple[int, str]:
        """The first rank, and its step, of those (by place) that run another step than this rank's, who all ask."""
        own = np.zeros(STEP_BYTES, np.uint8)
        text = step.encode()[:STEP_BYTES]
        own[: len(text)] = np.frombuffer(text, np.uint8)
        sent = [self._peers.isend(own, other) for other in differing]
        theirs = {other: np.empty_like(own) for other in differing}
        for other, buffer in theirs.items():
            self._peers.recv(buffer, other)
        for request in sent:
            request.wait()
        first = differing[0]
        return self._ranks[first], theirs[first].tobytes().rstrip(b"\0").decode(errors="replace")
