"""Who holds up whom where ranks wait for their neighbours only, and lateness spreads from one to the next.

A neighbour that comes late may have waited itself, and then the one that it waited for is to blame. So ranks tell each
other, with what they wait for, how much time they have lost to whom.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Delays:
    """What a rank of ``size`` knows of delays: ``seconds`` [size] are those that each rank has caused.

    They are what it has waited for that rank, or what a neighbour that has waited for longer tells: a vector of clocks,
    of which the later counts. A wait is the neighbour's own fault only as far as it is longer than the delays which the
    neighbour has had and this rank has not; these, and no others, are still on their way here. ``waits`` are the
    seconds that this rank itself has waited, by the rank that is to blame. No common clock is needed.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.seconds = np.zeros(size)
        self.waits: dict[int, float] = {}
        self._rank = rank

    def wait(self, waited: float, other: int, theirs: Array) -> None:
        """``waited`` seconds went by until a message of ``other`` was here, whose delays were ``theirs`` [size]."""
        news = np.maximum(theirs - self.seconds, 0)
        news[self._rank] = 0  # what others have waited for this rank is no reason to come late to it
        news *= min(1.0, waited / max(news.sum(), waited, np.finfo(np.float64).tiny))
        own = waited - float(news.sum())
        news[other] += own
        np.maximum(self.seconds, theirs, out=self.seconds)
        self.seconds[other] += own
        for rank in np.flatnonzero(news).tolist():
            self.waits[rank] = self.waits.get(rank, 0.0) + float(news[rank])
