"""Who waits for whom, where all ranks meet in a small all-reduce now and then."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.runtime.context import RunContext

Array = np.ndarray[Any, Any]


class Pace:
    """Sums over all ranks that also tell who came last.

    ``waits`` are the seconds that this rank has waited for each other rank, by rank. Ranks have no common clock, but
    they leave a meeting together. So each brings along for how long it was busy since, which is the time that it was
    not communicating; what a rank has spent in communication since then is put down to the rank that was busy longest,
    as far as that one was busy for longer than itself.
    """

    def __init__(self, comm: Communicator, context: RunContext) -> None:
        self.waits: dict[int, float] = {}
        self._comm, self._context = comm, context
        self._left = perf_counter()
        self._counted = context.message_seconds

    def meet(self, values: Sequence[float]) -> Array:
        """The sums of ``values`` over all ranks; collective, inside a step whose time counts as communication."""
        came = perf_counter()
        communication = self._context.message_seconds - self._counted
        busy = max(came - self._left - communication, 0.0)
        sums = self._sum(values, busy)
        self._left = perf_counter()
        here = self._left - came
        self._counted = self._context.message_seconds + here  # the step counts it when it is over
        by_rank = sums[len(values) :]
        slowest = int(np.argmax(by_rank))
        waited = min(communication + here, float(by_rank[slowest]) - busy)
        if waited > 0:
            self.waits[slowest] = self.waits.get(slowest, 0.0) + waited
        return sums[: len(values)]

    def attend(self, values: Sequence[float]) -> Array:
        """`meet` for a rank that trains no more: it waits for nobody, and nobody waits for it."""
        return self._sum(values, 0.0)[: len(values)]

    def _sum(self, values: Sequence[float], busy: float) -> Array:
        sums = np.zeros(len(values) + self._comm.size)
        sums[: len(values)] = values
        sums[len(values) + self._comm.rank] = busy
        self._comm.allreduce(sums)
        return sums
