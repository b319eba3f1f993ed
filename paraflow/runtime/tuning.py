"""Choosing the size of buckets, and how nodes sum them, by measuring: the first training step runs with each choice.

Which is fastest depends on the wire, on MPI and on how long backward takes, so it is the step itself that is timed, on
the first batch, with the choices in turn so that a busy moment hits all alike: first the sizes, then, where there are
several nodes, the algorithms with the size that was chosen. What a step changes is put back
afterwards: a run has the bits of one that was told the choice from the start. A choice counts as slow as it is for its
slowest rank, which all ranks come to know, so they choose alike without being told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np

from paraflow.comm import Communicator
from paraflow.compiler.options import BUCKET_BYTES
from paraflow.compiler.plan import Plan
from paraflow.compiler.planes import first_bucket_bytes
from paraflow.runtime.context import RunContext
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.wire import ALGORITHMS, Algorithm

T = TypeVar("T")

SMALLEST = 256 << 10
MOST_BUCKETS = 32
MARGIN = 0.05  # by which something else has to be faster than the usual: less is a matter of chance
BUDGET = 1.0  # seconds
ROUNDS = 10


@dataclass(frozen=True)
class Tuning:
    """What was measured and chosen.

    ``bucket_bytes`` and ``algorithm`` are the choice, ``buckets`` is how many there are by the size in bytes,
    ``seconds`` what it took to find out. ``rounds`` are the times of a training step by size, none where all gradients
    are one bucket with any; ``algorithm_rounds`` those by algorithm, none where there is one node.
    """

    bucket_bytes: int
    algorithm: Algorithm
    buckets: dict[int, int]
    rounds: dict[int, list[float]]
    algorithm_rounds: dict[Algorithm, list[float]]
    seconds: float

    @property
    def step_seconds(self) -> dict[int, float]:
        """The median time of a training step, by size."""
        return {size: median(times) for size, times in self.rounds.items()}

    @property
    def algorithm_seconds(self) -> dict[Algorithm, float]:
        """The median time of a training step, by algorithm."""
        return {algorithm: median(times) for algorithm, times in self.algorithm_rounds.items()}


def buckets(plan: Plan) -> list[tuple[str, ...]]:
    """The variables whose gradients the plan exchanges, those of each bucket together."""
    return [s.attrs["exchanged"] for s in plan.steps if s.record.name == "start_exchange" and s.attrs["exchanged"]]


def candidates(exchanged: int) -> list[int]:
    """Sizes that are worth trying beside BUCKET_BYTES where gradients of so many bytes are exchanged.

    By factors of four from 256 KiB, or what makes no more than 32 buckets, to the one with which everything is one.
    """
    sizes = [SMALLEST]
    while MOST_BUCKETS * sizes[0] < exchanged:
        sizes[0] *= 4
    while first_bucket_bytes(sizes[-1]) < exchanged:
        sizes.append(4 * sizes[-1])
    if first_bucket_bytes(BUCKET_BYTES) >= exchanged:  # it makes one bucket, as the last does
        sizes.pop()
    return [size for size in sizes if size != BUCKET_BYTES]


def measure(comm: Communicator, steps: Mapping[T, Callable[[], object]]) -> dict[T, list[float]]:
    """The seconds of each step on its slowest rank, in interleaved rounds; collective, the same on all ranks.

    Nothing where there is no choice. A first round warms up. One more takes place in any case, and a further one while
    all together took less than a second and there were fewer than ten.
    """
    rounds: list[list[float]] = []
    if len(steps) < 2:
        return {}
    while len(rounds) < 2 or (len(rounds) < ROUNDS and sum(map(sum, rounds)) < BUDGET):
        own = []
        for step in steps.values():
            comm.barrier()
            start = perf_counter()
            step()
            own.append(perf_counter() - start)
        rounds.append([max(times) for times in zip(*comm.allgather(own), strict=True)])
    return dict(zip(steps, map(list, zip(*rounds[1:], strict=True)), strict=True))


def choose(rounds: Mapping[T, Sequence[float]], usual: T) -> T:
    """What has the fastest median; the ``usual`` where that is not clearly faster, in its best round as well."""
    best = min(rounds, key=lambda choice: median(rounds[choice]), default=usual)
    if best == usual:
        return best
    clearly = all(of(rounds[best]) < (1 - MARGIN) * of(rounds[usual]) for of in (median, min))
    return best if clearly else usual


def by_algorithm(exchange: Exchange, step: Callable[[], object]) -> dict[Algorithm, Callable[[], object]]:
    """The step with each algorithm for sums over nodes; empty where there is one node."""

    def run(algorithm: Algorithm) -> None:
        exchange.algorithm = algorithm
        step()

    return {algorithm: partial(run, algorithm) for algorithm in ALGORITHMS} if exchange.several_nodes else {}


@contextmanager
def put_back(context: RunContext, names: Iterable[str]) -> Iterator[None]:
    """Inside, steps may run that write the variables ``names``; afterwards nothing of it is left. Collective.

    Meanwhile the ranks of a node keep one copy of what they share.
    """
    store, exchange = context.store, context.exchange
    assert exchange is not None
    written = sorted(set(names))
    shared = [name for name in written if store.shared(name)]  # the same on all ranks, unlike what else they write
    mine = [*shared[store.own :: exchange.node_size], *(name for name in written if not store.shared(name))]
    values = {name: store[name].copy() for name in mine}
    positions, counts, message_seconds = dict(context.positions), dict(context.counts), context.message_seconds
    context.comm.barrier()
    with exchange.unaccounted():
        yield
    context.comm.barrier()
    for name, value in values.items():
        np.copyto(store[name], value)
    context.positions, context.counts, context.message_seconds = positions, counts, message_seconds
    context.comm.barrier()
