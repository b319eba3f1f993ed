"""Gossip: every rank averages with a few neighbours, and nobody waits for all (Lian et al., NIPS 2017, D-PSGD)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from time import perf_counter
from typing import Any, Literal

import numpy as np

from paraflow.comm import Communicator
from paraflow.comm.communicator import Request
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.averaging import Averaging, Places
from paraflow.parallel.compression import BFloat16, Compressor, Float16, RandomK
from paraflow.parallel.delays import Delays
from paraflow.parallel.links import Changes, Links, Whole

Array = np.ndarray[Any, Any]
Topology = Literal["ring", "random", "complete"]

DONE, REPLICA = 1, 2  # tags of messages; the pieces of a replica have that and the following ones


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
        self._links: Links = Whole(self.comm.size) if compress is None else Changes(self.comm.size, compress)
        self._leaving: tuple[list[Request], list[Request]] = ([], [])  # in even and in odd rounds
        self._delays = Delays(self.comm.rank, self.comm.size)
        self._neighbours = self._neighbours_in(0)

    @property
    def waits(self) -> Mapping[int, float]:
        """Until neighbours' messages were there, and in `finish` until all were done, by the rank that was late."""
        return self._delays.waits

    def _include(self, array: Array, places: Places, trained: bool) -> None:
        self._links.include(array, places, trained)

    def _after_step(self, samples: int) -> None:
        if self.steps % self.period:
            return
        number = self.steps // self.period
        partners = self._neighbours if self.topology != "random" else self._neighbours_in(number)
        # A neighbour may still wait for another one before it receives what it is sent, and nobody waits for that here.
        # What left two rounds ago it has received, or it would not have come to the last round.
        leaving = self._leaving[number % 2]
        _wait(leaving)
        self._links.pack(partners, self._delays.seconds, number)
        for partner in partners:
            leaving += self._send(partner)
        for partner in partners:
            self._receive(partner, perf_counter())
            if len(partners) == 1:  # who receives too; what has not arrived yet would wait for the end of the next step
                _wait(leaving)
            self._mix(partner)

    def _join_until_all_are_done(self) -> None:
        """Answer those who still train. A message is answered when it comes, so that no circle of waits can form."""
        others = [rank for rank in range(self.comm.size) if rank != self.comm.rank]
        farewell, told = self._delays.seconds.copy(), np.empty(self.comm.size)
        leaving = [self._part.comm.isend(farewell, rank, DONE) for rank in others]
        answers: dict[int, list[Request]] = {}
        training = set(others)
        while training:
            came = perf_counter()
            message = self._part.comm.probe(awaited=training)
            partner = message.source
            if message.tag == DONE:
                self._part.comm.recv(told, partner, DONE)
                self._delays.wait(perf_counter() - came, partner, told, farewell=True)
                training.remove(partner)
            else:
                self._receive(partner, came)
                # The answer may be on its way while the next one is given to another rank.
                _wait(answers.get(partner, []))
                self._links.pack([partner], self._delays.seconds)
                answers[partner] = self._send(partner)
                self._mix(partner)
        for requests in (leaving, *self._leaving, *answers.values()):
            _wait(requests)
        for replica in self._links.replicas:
            wide = replica.astype(np.float32) if replica.itemsize == 2 else replica  # float16 may not hold the sum
            self._part.comm.allreduce(wide)
            wide /= self.comm.size
            np.copyto(replica, wide, casting="same_kind")

    def _neighbours_in(self, number: int) -> list[int]:
        return neighbours(self.topology, self.seed, number, self.comm.rank, self.comm.size)

    def _send(self, partner: int) -> list[Request]:
        """Start to send ``partner`` what is packed for it."""
        pieces = self._links.outgoing(partner).pieces
        return [self._part.comm.isend(piece, partner, tag) for tag, piece in enumerate(pieces, REPLICA)]

    def _receive(self, partner: int, came: float) -> None:
        """Receive the message of ``partner``, for which this rank waits since ``came``.

        MPI sends what is long when it is asked for it, and asks behind what it sends itself: both directions of a wire
        are used only where the next piece is asked for while one comes.
        """
        message = self._links.incoming
        self._part.comm.probe(partner, REPLICA)
        waited = perf_counter() - came  # what takes a while to arrive is no waiting for its sender
        coming = [self._part.comm.irecv(piece, partner, tag) for tag, piece in enumerate(message.pieces, REPLICA)]
        for piece, following in zip_longest(coming, coming[1:]):
            piece.wait(progress=None if following is None else following.test)
        self._delays.wait(waited, partner, message.note)

    def _mix(self, partner: int) -> None:
        """Mix in what was received from ``partner``; it does the opposite with what was sent there."""
        self._links.mix(partner, self.consensus * self.weight)


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


def _wait(requests: list[Request]) -> None:
    """Wait until what was sent has been received, and forget it."""
    for request in requests:
        request.wait()
    requests.clear()
