"""What ``paraflow bench`` and ``paraflow doctor`` time on the ranks of a world: exchanges, all-reduces, memory."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.graph.graph import Graph
from paraflow.ops.math import multiply
from paraflow.ops.state import Variable, global_variables_initializer
from paraflow.parallel import AllReduce
from paraflow.runtime.executable import Executable
from paraflow.runtime.session import Session
from paraflow.runtime.tuning import Tuning
from paraflow.train import GradientDescentOptimizer

PIECE = 1 << 20  # elements of the largest variable
STREAM_BYTES = 3 << 26  # of a rank; beyond the caches that a core has for itself
_MOST_STREAMS = 200  # of one measurement
_SYNCHRONOUS = ("start_exchange", "update", "settle")

Timed = Callable[[int], float]
"""Does its work this many times and returns the seconds that it took here."""


def repeated(work: Callable[[], object]) -> Timed:
    """``work``, timed as a whole."""

    def timed(times: int) -> float:
        start = perf_counter()
        for _ in range(times):
            work()
        return perf_counter() - start

    return timed


class ExchangeOnly:
    """Times the exchange of one training step: from gradients that are there to parameters that all ranks may read.

    The model is ``nbytes`` of float32 parameters in variables of at most 4 MiB, trained by gradient descent. As an
    executor of its session it computes the gradients first and then repeats what the step synchronises. Takes two
    ranks or more; making and calling it is collective.
    """

    def __init__(self, comm: Communicator, nbytes: int) -> None:
        self._comm = comm
        self._times, self.seconds = 1, 0.0
        self.session, self._step = _exchanging(comm, nbytes, PIECE)
        self._step()
        self.session._executor = self

    def __call__(self, times: int) -> float:
        """The seconds of ``times`` exchanges."""
        self._times = times
        self._step()
        return self.seconds

    def execute(self, loaded: Executable) -> None:
        """Run the step with its exchange repeated."""
        exchange = loaded.context.exchange
        assert exchange is not None
        assert loaded.synchronises is not None
        together = [step.record.name in _SYNCHRONOUS for step in loaded.steps]
        for call, later in zip(loaded.calls, together, strict=True):
            if not later:
                call()
        calls = [call for call, later in zip(loaded.calls, together, strict=True) if later]
        self._comm.barrier()
        start = perf_counter()
        for number in range(self._times):
            if number:
                exchange.open(loaded.synchronises, loaded.context.samples, "")
            for call in calls:
                call()
        self.seconds = perf_counter() - start

    def close(self) -> None:
        """End the session."""
        self.session.close()


def tune(comm: Communicator, nbytes: int) -> Tuning:
    """What autotune chooses for ``nbytes`` of float32 parameters in variables of 256 KiB and hardly any computation.

    Collective.
    """
    session, step = _exchanging(comm, nbytes, PIECE // 16, autotune=True)
    with session:
        step()
    assert session.tuning is not None, "one rank has nothing to exchange"
    return session.tuning


def _exchanging(
    comm: Communicator, nbytes: int, piece: int, autotune: bool = False
) -> tuple[Session, Callable[[], object]]:
    """A session and its training step by gradient descent, of variables of at most ``piece`` elements."""
    with Graph().as_default() as graph:
        sizes = [min(piece, nbytes // 4 - start) for start in range(0, nbytes // 4, piece)]
        variables = [Variable(np.ones(size, np.float32)) for size in sizes]
        gradients = [(multiply(v, np.float32(1e-3)), v) for v in variables]
        train = GradientDescentOptimizer(1e-3).apply_gradients(gradients)
        session = Session(graph=graph, strategy=AllReduce(comm), autotune=autotune)
        session.run(global_variables_initializer())
    return session, session.make_callable(train)


def exchange_bytes(nbytes: int, ranks: int) -> int:
    """What an exchange by gradient descent has to move on a node, at least.

    Every gradient is read once, by the owner of its slice, and each parameter read and written once on the node.
    """
    return (ranks + 2) * nbytes


def allreduce_bytes(nbytes: int, ranks: int) -> int:
    """What an all-reduce has to move on a node, at least: each rank's buffer is read and written once."""
    return 2 * ranks * nbytes


def memory_bandwidth(comm: Communicator, nbytes: int = STREAM_BYTES, rounds: int = 5) -> float:
    """Bytes per second that the ranks of this rank's node read and write when all stream at once; collective.

    Each rank goes over ``nbytes`` of its own, again and again: where they stay in cache, this is the cache's rate. It
    is the best of numpy's copy (two streams), sum (three) and product in place (two), in ``rounds``. The reading of a
    cache line before it is written is not counted, as in STREAM (McCalpin, 1995); in place there is none, which can be
    twice as fast.
    """
    memory = np.full(nbytes // 4, 0, np.float32)  # written, so that the pages are there
    (a, b), (c, d, e) = _parts(memory, 2), _parts(memory, 3)
    works: list[tuple[Callable[[], object], int]] = [
        (lambda: np.copyto(a, b), 2 * a.nbytes),
        (lambda: np.add(c, d, out=e), 3 * c.nbytes),
        (lambda: np.multiply(memory, np.float32(1), out=memory), 2 * memory.nbytes),
    ]
    node = comm.split_node()
    times = max(2, min(_MOST_STREAMS, STREAM_BYTES // nbytes))
    rates: list[float] = []
    for work, moved in works:
        for _ in range(rounds):
            node.barrier()
            seconds = repeated(work)(times)
            rates.append(times * moved * node.size / max(node.allgather(seconds)))
    node.leave(b"")
    return max(rates)


def _parts(memory: np.ndarray[Any, Any], parts: int) -> list[np.ndarray[Any, Any]]:
    """The memory in parts of one size, of one element at least."""
    size = max(1, len(memory) // parts)
    return [memory[i * size : (i + 1) * size] if len(memory) >= parts else memory[:1] for i in range(parts)]


def latency(comm: Communicator, times: int = 200) -> dict[int, float]:
    """Seconds from rank 0 to each other rank: half of the median round trip of 8 bytes; collective, known to rank 0."""
    found = {}
    message = np.zeros(1)
    for other in range(1, comm.size):
        trips = []
        for _ in range(times if comm.rank in (0, other) else 0):
            start = perf_counter()
            if comm.rank == 0:
                comm.send(message, other)
                comm.recv(message, other)
            else:
                comm.recv(message, 0)
                comm.send(message, 0)
            trips.append(perf_counter() - start)
        if trips and comm.rank == 0:
            found[other] = float(np.median(trips)) / 2
        comm.barrier()
    return found
