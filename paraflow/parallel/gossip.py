"""Gossip: every rank averages with a few neighbours, and nobody waits for all (Lian et al., NIPS 2017, D-PSGD)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, Literal

import numpy as np

from paraflow.comm import Communicator
from paraflow.comm.communicator import Request
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.averaging import Averaging

Array = np.ndarray[Any, Any]
Topology = Literal["ring", "random", "complete"]

REPLICA, DONE = 1, 2  # tags of messages
_PIECE_BYTES = 1 << 30  # of one message, which may have 2^31 - 1


class Gossip(Averaging):
    """Every ``period`` steps a rank exchanges parameters with its neighbours of the round and mixes them::

        x_r = x_r + w * sum over neighbours k of (x_k - x_r)

    ``topology="ring"``: the ranks before and after, w = 1/3 (D-PSGD's matrix). ``"random"``: one partner, w = 1/2, from
    a random matching that all ranks draw alike from ``seed`` and the number of the round; where the number of ranks is
    odd, one sits out. ``"complete"``: everyone, w = 1/n, which is averaging.

    Weights are symmetric, so mixing never changes the mean over all ranks; that is why they do not follow the numbers
    of samples, and a rank with fewer samples in a step counts as much as others. A rank waits for its neighbours only.
    One that is done announces it and answers whoever still trains; then the variables become the mean over all ranks.

    Raises InvalidArgumentError for a period below 1 or a topology that is none.
    """

    asynchronous = True

    def __init__(
        self,
        comm: Communicator | None = None,
        agreement: Mapping[str, Any] | None = None,
        *,
        period: int = 1,
        topology: Topology = "ring",
        seed: int = 0,
    ) -> None:
        super().__init__(comm, agreement, period, topology=topology, seed=seed)
        if topology not in ("ring", "random", "complete"):
            raise InvalidArgumentError(f"topology is 'ring', 'random' or 'complete', not {topology!r}")
        self.topology = topology
        self.seed = seed
        self.weight = mixing_weight(topology, self.comm.size)
        self._replicas: list[Array] = []
        self._inbox: list[Array] = []
        self._outbox: list[Array] = []
        self._sent: dict[int, tuple[list[Array], list[Request]]] = {}
        self._waits: dict[int, float] = {}

    @property
    def waits(self) -> Mapping[int, float]:
        """For each neighbour until its message was there."""
        return self._waits

    def _include(self, array: Array, trained: bool) -> None:
        self._replicas.append(array)
        self._inbox.append(np.empty_like(array))
        self._outbox.append(np.empty_like(array))

    def _after_step(self, samples: int) -> None:
        if self.steps % self.period:
            return
        partners = neighbours(self.topology, self.seed, self.steps // self.period, self.comm.rank, self.comm.size)
        for replica, outbox in zip(self._replicas, self._outbox, strict=True):
            outbox[...] = replica
        for partner in partners:
            self._send(partner, self._outbox)
        for partner in partners:
            came = perf_counter()
            self.comm.probe(partner, REPLICA)
            self._waits[partner] = self._waits.get(partner, 0.0) + perf_counter() - came
            self._receive(partner)
        for partner in partners:
            self._wait(partner)

    def _join_until_all_are_done(self) -> None:
        """Answer those who still train. A message is answered when it comes, so that no circle of waits can form."""
        others = [rank for rank in range(self.comm.size) if rank != self.comm.rank]
        farewell = np.zeros(1, np.uint8)
        sent = [self.comm.isend(farewell, rank, DONE) for rank in others]
        training = set(others)
        while training:
            message = self.comm.probe()
            if message.tag == DONE:
                self.comm.recv(np.empty(1, np.uint8), message.source, DONE)
                training.remove(message.source)
            else:
                # The answer may be on its way while the next one is given to another rank.
                self._send(message.source, [replica.copy() for replica in self._replicas])
                self._receive(message.source)
        for request in sent:
            request.wait()
        for rank in others:
            self._wait(rank)
        for replica in self._replicas:
            self.comm.allreduce(replica)
            replica /= self.comm.size

    def _send(self, partner: int, outbox: list[Array]) -> None:
        """Start to send ``partner`` the arrays of ``outbox``, copies of what is here now."""
        self._wait(partner)
        requests = [self.comm.isend(piece, partner, REPLICA) for array in outbox for piece in _pieces(array)]
        self._sent[partner] = outbox, requests

    def _receive(self, partner: int) -> None:
        """Mix in what ``partner`` sends, by its difference to what was sent there: it does the opposite."""
        outbox, _ = self._sent[partner]
        for replica, theirs, ours in zip(self._replicas, self._inbox, outbox, strict=True):
            for piece in _pieces(theirs):
                self.comm.recv(piece, partner, REPLICA)
            theirs -= ours
            theirs *= self.weight
            replica += theirs

    def _wait(self, partner: int) -> None:
        """Wait until ``partner`` has received what was sent to it."""
        _, requests = self._sent.pop(partner, ([], []))
        for request in requests:
            request.wait()


def mixing_weight(topology: Topology, size: int) -> float:
    """What a rank takes of the difference to a neighbour: 1 / (1 + neighbours), the same for all."""
    partners = {"ring": min(2, size - 1), "random": min(1, size - 1), "complete": size - 1}[topology]
    return 1 / (1 + partners)


def neighbours(topology: Topology, seed: int, number: int, rank: int, size: int) -> list[int]:
    """The ranks with which ``rank`` of ``size`` exchanges in round ``number``; it is a neighbour of its neighbours."""
    if topology == "complete":
        return [other for other in range(size) if other != rank]
    if topology == "ring":
        return sorted({(rank - 1) % size, (rank + 1) % size} - {rank})
    order = np.random.default_rng((seed, number)).permutation(size).tolist()
    place = order.index(rank) ^ 1  # places 0 and 1 are partners, 2 and 3, and so on
    return [order[place]] if place < size else []


def _pieces(array: Array) -> Iterator[Array]:
    step = _PIECE_BYTES // array.itemsize
    return (array[start : start + step] for start in range(0, array.size, step))
