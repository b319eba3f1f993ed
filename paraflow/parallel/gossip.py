"""Gossip: every rank averages with a few neighbours, and nobody waits for all (Lian et al., NIPS 2017, D-PSGD)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np

from paraflow.comm import Communicator
from paraflow.comm.communicator import Request
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.averaging import Averaging, Places
from paraflow.parallel.compression import BFloat16, Compressor, Float16
from paraflow.parallel.delays import Delays

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

    ``compress`` may be `Float16` or `BFloat16`, without a warm-up: parameters then travel, and are compared, in 16
    bits, and the rounding error of a message is added to the next. The last mean is exact. Compressors that leave
    elements out are for changes, but a rank has no point in common with its neighbours from which to count them (it
    would have to keep a copy of each, as in CHOCO-SGD: Koloskova et al., ICML 2019).

    Raises InvalidArgumentError for a period below 1, a topology that is none, or another compressor.
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
    ) -> None:
        super().__init__(comm, agreement, period, compress, topology=topology, seed=seed)
        if topology not in ("ring", "random", "complete"):
            raise InvalidArgumentError(f"topology is 'ring', 'random' or 'complete', not {topology!r}")
        if compress is not None and (compress.warmup or not isinstance(compress, Float16 | BFloat16)):
            raise InvalidArgumentError(
                f"compress = {compress!r}: gossip sends parameters, of which nothing can be left out, and has no "
                "warm-up: compress them by Float16() or BFloat16(), or average by LocalSGD"
            )
        self.topology = topology
        self.seed = seed
        self.weight = mixing_weight(topology, self.comm.size)
        self._replicas: list[Array] = []
        self._inbox: list[Array] = []
        self._outboxes: tuple[list[Array], list[Array]] = ([], [])  # of even and of odd rounds
        self._leaving: tuple[list[Request], list[Request]] = ([], [])
        self._sent: dict[int, _Parcel] = {}
        self._delays = Delays(self.comm.rank, self.comm.size)

    @property
    def waits(self) -> Mapping[int, float]:
        """Until neighbours' messages were there, by the rank that had made them late."""
        return self._delays.waits

    def _include(self, array: Array, places: Places, trained: bool) -> None:
        self._replicas.append(array)
        message = array if self.compress is None else np.empty(self.compress.payload_bytes(array), np.uint8)
        self._inbox.append(np.empty_like(message))
        for outbox in self._outboxes:
            outbox.append(np.empty_like(array))

    def _after_step(self, samples: int) -> None:
        if self.steps % self.period:
            return
        number = self.steps // self.period
        partners = neighbours(self.topology, self.seed, number, self.comm.rank, self.comm.size)
        # A neighbour may still wait for another one before it receives what it is sent, and nobody waits for that here.
        # What left two rounds ago it has received, or it would not have come to the last round.
        leaving = self._leaving[number % 2]
        _wait(leaving)
        parcel = self._parcel(self._outboxes[number % 2])
        for partner in partners:
            leaving += self._send(partner, parcel)
        for partner in partners:
            came = perf_counter()
            told = self._told_by(partner)
            self._delays.wait(perf_counter() - came, partner, told)
            self._receive(partner)

    def _join_until_all_are_done(self) -> None:
        """Answer those who still train. A message is answered when it comes, so that no circle of waits can form."""
        others = [rank for rank in range(self.comm.size) if rank != self.comm.rank]
        farewell = np.zeros(1, np.uint8)
        leaving = [self._part.comm.isend(farewell, rank, DONE) for rank in others]
        answers: dict[int, list[Request]] = {}
        training = set(others)
        while training:
            message = self._part.comm.probe(awaited=training)
            partner = message.source
            if message.tag == DONE:
                self._part.comm.recv(np.empty(1, np.uint8), partner, DONE)
                training.remove(partner)
            else:
                self._told_by(partner)
                # The answer may be on its way while the next one is given to another rank.
                _wait(answers.get(partner, []))
                answers[partner] = self._send(partner, self._parcel([np.empty_like(r) for r in self._replicas]))
                self._receive(partner)
        for requests in (leaving, *self._leaving, *answers.values()):
            _wait(requests)
        for replica in self._replicas:
            self._part.comm.allreduce(replica)
            replica /= self.comm.size

    def _parcel(self, values: list[Array]) -> _Parcel:
        """What is here now; ``values`` is the memory for the numbers."""
        if self.compress is None:
            for value, replica in zip(values, self._replicas, strict=True):
                value[...] = replica
            return _Parcel(values, values)
        messages = [self.compress.encode(f"replica {i}", replica) for i, replica in enumerate(self._replicas)]
        for value, message in zip(values, messages, strict=True):
            self._unpack(message, value)
        return _Parcel(messages, values)

    def _unpack(self, message: Array, value: Array) -> None:
        assert self.compress is not None
        value.fill(0)
        self.compress.decode(message, value)

    def _send(self, partner: int, parcel: _Parcel) -> list[Request]:
        """Start to send ``partner`` what is in the parcel, which does not change any more."""
        pieces = [self._delays.tell(partner), *(piece for array in parcel.messages for piece in _pieces(array))]
        self._sent[partner] = parcel
        if self.compress is not None:
            self.compress.traffic.sent += sum(message.nbytes for message in parcel.messages)
            self.compress.traffic.uncompressed += sum(value.nbytes for value in parcel.values)
        return [self._part.comm.isend(piece, partner, REPLICA) for piece in pieces]

    def _told_by(self, partner: int) -> Array:
        """Wait for what ``partner`` sends; what it tells at the beginning (see `Delays`)."""
        told = np.empty(self.comm.size)
        self._part.comm.recv(told, partner, REPLICA)
        return told

    def _receive(self, partner: int) -> None:
        """Mix in what ``partner`` sends, by its difference to what was sent there: it does the opposite."""
        ours_sent = self._sent.pop(partner).values
        for replica, message, ours in zip(self._replicas, self._inbox, ours_sent, strict=True):
            for piece in _pieces(message):
                self._part.comm.recv(piece, partner, REPLICA)
            theirs = message
            if self.compress is not None:
                theirs = np.empty_like(ours)
                self._unpack(message, theirs)
            theirs -= ours
            theirs *= self.weight
            replica += theirs


class _Parcel(NamedTuple):
    """The arrays as they travel, and the numbers that the receiver makes of them."""

    messages: list[Array]
    values: list[Array]


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


def _wait(requests: list[Request]) -> None:
    """Wait until what was sent has been received, and forget it."""
    for request in requests:
        request.wait()
    requests.clear()
