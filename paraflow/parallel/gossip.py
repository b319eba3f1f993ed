"""Gossip: every rank averages with a few neighbours, and nobody waits for all (Lian et al., NIPS 2017, D-PSGD)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, Literal

import numpy as np

from paraflow.comm import Communicator
from paraflow.comm.communicator import Request
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.averaging import Averaging, Places
from paraflow.parallel.compression import BFloat16, Compressor, Float16, RandomK
from paraflow.parallel.links import Changes, Links, Whole

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

    With ``compress`` what travels is by how much parameters differ from what the neighbour believes them to be, and it
    is beliefs that are mixed: CHOCO-SGD, see `Changes`. ``consensus`` (0, 1] scales w: what leaves much out needs small
    steps, or replicas swing apart; see `usual_consensus` for what it is by default. The last mean is exact.

    Raises InvalidArgumentError for a period below 1, a topology that is none, a ``consensus`` out of its range or
    without ``compress``, and a compressor with a warm-up or without error feedback.
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
        compress: Compressor | None = None,
        consensus: float | None = None,
    ) -> None:
        super().__init__(comm, agreement, period, compress, topology=topology, seed=seed, consensus=consensus)
        if topology not in ("ring", "random", "complete"):
            raise InvalidArgumentError(f"topology is 'ring', 'random' or 'complete', not {topology!r}")
        if compress is not None and (compress.warmup or not compress.error_feedback):
            raise InvalidArgumentError(
                f"compress = {compress!r}: gossip has no warm-up, and what a message leaves out is part of the next "
                "difference: set warmup to 0 and error_feedback to True"
            )
        if consensus is not None and (compress is None or not 0 < consensus <= 1):
            raise InvalidArgumentError(
                f"consensus = {consensus!r} is the step of mixing what compress has left of parameters, in (0, 1]; "
                f"compress is {compress!r}"
            )
        self.topology = topology
        self.seed = seed
        self.weight = mixing_weight(topology, self.comm.size)
        self.consensus = consensus or usual_consensus(compress)
        self._links: Links = Whole() if compress is None else Changes(compress)
        self._requests: dict[int, list[Request]] = {}
        self._waits: dict[int, float] = {}

    @property
    def waits(self) -> Mapping[int, float]:
        """For each neighbour until its message was there."""
        return self._waits

    def _include(self, array: Array, places: Places, trained: bool) -> None:
        self._links.include(array, places, trained)

    def _after_step(self, samples: int) -> None:
        if self.steps % self.period:
            return
        partners = neighbours(self.topology, self.seed, self.steps // self.period, self.comm.rank, self.comm.size)
        self._links.pack(partners)
        for partner in partners:
            self._send(partner)
        for partner in partners:
            came = perf_counter()
            self._part.comm.probe(partner, REPLICA)
            self._waits[partner] = self._waits.get(partner, 0.0) + perf_counter() - came
            self._receive(partner)
        for partner in partners:
            self._wait(partner)

    def _join_until_all_are_done(self) -> None:
        """Answer those who still train. A message is answered when it comes, so that no circle of waits can form."""
        others = [rank for rank in range(self.comm.size) if rank != self.comm.rank]
        farewell = np.zeros(1, np.uint8)
        sent = [self._part.comm.isend(farewell, rank, DONE) for rank in others]
        training = set(others)
        while training:
            message = self._part.comm.probe(awaited=training)
            if message.tag == DONE:
                self._part.comm.recv(np.empty(1, np.uint8), message.source, DONE)
                training.remove(message.source)
            else:
                self._wait(message.source)
                self._links.pack([message.source])
                self._send(message.source)
                self._receive(message.source)
        for request in sent:
            request.wait()
        for rank in others:
            self._wait(rank)
        for replica in self._links.replicas:
            self._part.comm.allreduce(replica)
            replica /= self.comm.size

    def _send(self, partner: int) -> None:
        """Start to send ``partner`` what is packed for it."""
        pieces = [piece for array in self._links.outgoing(partner) for piece in _pieces(array)]
        self._requests[partner] = [self._part.comm.isend(piece, partner, REPLICA) for piece in pieces]

    def _receive(self, partner: int) -> None:
        """Mix in what ``partner`` sends; it does the opposite with what was sent there."""
        for message in self._links.incoming:
            for piece in _pieces(message):
                self._part.comm.recv(piece, partner, REPLICA)
        self._links.mix(partner, self.consensus * self.weight)

    def _wait(self, partner: int) -> None:
        """Wait until ``partner`` has received what was sent to it."""
        for request in self._requests.pop(partner, []):
            request.wait()


def mixing_weight(topology: Topology, size: int) -> float:
    """What a rank takes of the difference to a neighbour: 1 / (1 + neighbours), the same for all."""
    partners = {"ring": min(2, size - 1), "random": min(1, size - 1), "complete": size - 1}[topology]
    return 1 / (1 + partners)


def usual_consensus(compress: Compressor | None) -> float:
    """A step of mixing with which replicas come together; top-k of 1 % of the elements does so with 0.1.

    At most the part of the elements that travels, if they are random ones: that is what bounds it in the analysis.
    """
    if compress is None or isinstance(compress, Float16 | BFloat16):
        return 1.0
    return min(0.1, compress.ratio) if isinstance(compress, RandomK) else 0.1


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
