"""Sums over nodes: between the ranks that own the same slices, one on each node."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.comm import Communicator, Request
from paraflow.runtime.ending import Farewell

Array = np.ndarray[Any, Any]


class Sum:
    """A sum over nodes under way, the one with this ``number`` of its lane."""

    def __init__(self, request: Request, farewell: Farewell, number: int) -> None:
        self._request, self._farewell, self._number = request, farewell, number

    def wait(self) -> None:
        """Return when it is there; raises where a rank has ended without having taken part in it."""
        self._request.wait(lambda: self._farewell.look(self._number))


class Wire:
    """This rank's lane: it and the owners of the same slices on other nodes, ``peers``; made by all of them together.

    ``place`` is this rank's among them.
    """

    def __init__(self, peers: Communicator, rank: int) -> None:
        self.place = peers.rank
        self._peers = peers
        self._ranks: list[int] = peers.allgather(rank)
        self._farewell = Farewell(peers, rank)
        self._told: tuple[Array, Sum] | None = None

    def sum(self, values: Array) -> Sum:
        """Start to replace ``values`` by their sum over nodes."""
        self._farewell.sums += 1
        return Sum(self._peers.iallreduce(values), self._farewell, self._farewell.sums)

    def advance(self) -> None:
        """MPI moves its messages while it is called, by whatever name."""
        self._peers.iprobe()

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
        return self._ranks[differing[0]], self._farewell.steps_of(differing, step)[0]

    def end(self, end: Array) -> None:
        """Tell the others how this rank's part has ended; it waits for nobody."""
        self._farewell.tell(end)
