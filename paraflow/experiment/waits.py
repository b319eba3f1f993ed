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
_LARGEST_TABLE = 8  # ranks


@dataclass(frozen=True)
class Straggler:
    """The rank that held the others up: what they waited for it, its share of all ranks' time, and how slow it was.

    ``slowdown`` is its time for a step, communication left out, in medians of the other workers'.
    """

    rank: int
    waited_seconds: float
    share: float
    slowdown: float


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

    @property
    def noteworthy(self) -> bool:
        """Whether so much time was lost that the user hears of it."""
        return self.share >= NOTEWORTHY

    @cached_property
    def straggler(self) -> Straggler | None:
        """The rank for which the others waited, where that is one rank, slower than they, and worth a word."""
        *_, second, rank = np.argsort(self._for_each) if len(self._step) > 1 else (0, 0)
        held_up = float(self._for_each[rank])
        if not self.noteworthy or held_up < _ALONE * self._for_each[second]:
            return None
        share = self.share * held_up / float(self.waited.sum())
        slowdown = float(self._step[rank] / np.median(np.delete(self._step, rank)))
        if share < NOTEWORTHY or slowdown < _SLOW:
            return None
        return Straggler(int(rank), held_up, share, slowdown)

    def remarks(self) -> list[str]:
        """What the screen says at the end of a run: nothing, or a sentence, and for few ranks a table."""
        if not self.noteworthy:
            return []
        if (found := self.straggler) is not None:
            sentence = (
                f"rank {found.rank} held the others up: they waited {found.waited_seconds:.2f} s for it, "
                f"{found.share:.0%} of all ranks' time; its steps took {found.slowdown:.1f} times the median of theirs"
            )
        else:
            sentence = (
                f"the ranks waited for each other, for no one in particular: {self.waited.sum():.2f} s, "
                f"{self.share:.0%} of all ranks' time, as where ranks outnumber cores, or one evaluates for all"
            )
        return [sentence, *(self._table() if len(self._step) <= _LARGEST_TABLE else [])]

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
