"""Who waited for whom in a run, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOTEWORTHY = 0.03  # of all ranks' time: less is not worth a word
_ALONE = 2.0  # how many times longer than for any other is waited for a rank that is named
_SLOW = 1.2  # times the median of the others' steps that a step of it takes: less is chance, or turns on a core
_LATE = 0.5  # of a worker's gradients, if not fewer are late, and
_LATER = 3.0  # times as many of them as of any other worker's, it is the one that is late
_LARGEST_TABLE = 8  # ranks


@dataclass(frozen=True)
class Straggler:
    """The rank that held the others up, or that they left behind, as its gradients came when steps were closed.

    ``waited_seconds`` are what the others waited for it, ``share`` is that of all ranks' time. ``slowdown`` is its time
    for a step, communication left out, in medians of the other workers'. ``late_gradients`` of its ``pushes`` came too
    late; both are 0 where no gradients are pushed.
    """

    rank: int
    waited_seconds: float
    share: float
    slowdown: float
    late_gradients: int
    pushes: int


class Waits:
    """What the accounts of all ranks (see `Journal`) say of the workers' waiting; the workers are the first ranks.

    ``seconds``[i, j] is what worker i has waited for worker j. ``compute``, ``waited`` and ``communication`` are each
    worker's seconds, which make up its time until all were done: waiting is no communication here.
    """

    def __init__(self, accounts: Sequence[Mapping[str, Any]]) -> None:
        workers = [account for account in accounts if account["role"] == "worker"]
        everyone = range(len(workers))
        self.seconds = np.array([[w["waited_for"].get(rank, 0.0) for rank in everyone] for w in workers])
        self.waited = self.seconds.sum(axis=1)
        finishing = _column(workers, "finish_seconds")
        total = _column(workers, "seconds") + finishing
        communication = _column(workers, "communication_seconds") + finishing
        self.compute = total - communication
        self.communication = np.maximum(communication - self.waited, 0.0)
        self.share = float(self.waited.sum() / total.sum())
        self._step = self.compute / _column(workers, "steps")
        self._late = [int(worker.get("late_gradients", 0)) for worker in workers]
        self._pushes = [int(worker.get("pushes", 0)) for worker in workers]

    @property
    def noteworthy(self) -> bool:
        """Whether the user hears of it: so much time was lost, or one worker's gradients."""
        return self.share >= NOTEWORTHY or self._left_behind is not None

    @property
    def straggler(self) -> Straggler | None:
        """The worker that was late, where that is one; else the rank for which the others waited."""
        return self._left_behind or self._held_up

    @cached_property
    def _left_behind(self) -> Straggler | None:
        """The worker whose gradients were late, where they mostly were, and far more often than any other's."""
        if len(self._step) == 1:
            return None
        often = np.array(self._late) / np.maximum(self._pushes, 1)
        *_, second, rank = np.argsort(often)
        if often[rank] < _LATE or often[rank] < _LATER * often[second]:
            return None
        return self._found(int(rank))

    @cached_property
    def _held_up(self) -> Straggler | None:
        """The rank for which the others waited, where that is one rank, slower than they, and worth a word."""
        *_, second, rank = np.argsort(self._for_each) if len(self._step) > 1 else (0, 0)
        held_up = float(self._for_each[rank])
        if self.share < NOTEWORTHY or held_up < _ALONE * self._for_each[second]:
            return None
        found = self._found(int(rank))
        return None if found.share < NOTEWORTHY or found.slowdown < _SLOW else found

    def _found(self, rank: int) -> Straggler:
        held_up, waited = float(self._for_each[rank]), float(self.waited.sum())
        share = self.share * held_up / waited if waited else 0.0
        slowdown = float(self._step[rank] / np.median(np.delete(self._step, rank)))
        return Straggler(rank, held_up, share, slowdown, self._late[rank], self._pushes[rank])

    def remarks(self) -> list[str]:
        """What the screen says at the end of a run: nothing, or one or two sentences, and for few ranks a table."""
        if not self.noteworthy:
            return []
        late, held_up = self._left_behind, self._held_up
        sentences = []
        if late is not None:
            sentences.append(
                f"rank {late.rank} was left behind: {late.late_gradients} of its {late.pushes} gradients came when "
                f"their step was closed; its steps took {late.slowdown:.1f} times the median of the others'"
            )
        if held_up is not None and (late is None or held_up.rank != late.rank):
            sentences.append(
                f"rank {held_up.rank} held the others up: they waited {held_up.waited_seconds:.2f} s for it, "
                f"{held_up.share:.0%} of all ranks' time; its steps took {held_up.slowdown:.1f} times the median of "
                "theirs"
            )
        if late is None and held_up is None:
            sentences.append(
                f"the ranks waited for each other, for no one in particular: {self.waited.sum():.2f} s, "
                f"{self.share:.0%} of all ranks' time, as where ranks outnumber cores, or one evaluates for all"
            )
        table = self.share >= NOTEWORTHY and len(self._step) <= _LARGEST_TABLE
        return [*sentences, *(self._table() if table else [])]

    @property
    def _for_each(self) -> NDArray[np.float64]:
        return np.asarray(self.seconds.sum(axis=0))

    def _table(self) -> list[str]:
        names = [f"rank {rank}" for rank in range(len(self._step))]
        rows = [["seconds waited by", *(f"for {name}" for name in names)]]
        for i, name in enumerate(names):
            rows.append([name, *("-" if i == j else f"{s:.2f}" for j, s in enumerate(self.seconds[i]))])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _column(accounts: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    return np.array([account[key] for account in accounts], np.float64)
