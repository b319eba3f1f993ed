"""Who holds up whom where ranks wait for their neighbours only, and lateness spreads from one to the next.

A neighbour that comes late may have waited itself, and then the rank that it waited for is to blame. So ranks tell each
other, with what they wait for, how long they have waited, and for whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Delays:
    """What ``rank`` of ``size`` has waited in exchanges of messages with others, by the rank that is to blame.

    A message that is w seconds late was sent so much later after the last one from there than this rank came to wait
    after that. Both have computed in the meantime, and both may have waited. As far as the other one has waited longer
    for someone, that one is to blame, and the rest is its own computing. No common clock is needed.
    """

    def __init__(self, rank: int, size: int) -> None:
        self._rank = rank
        self._seconds = np.zeros(size)
        self._when_sent: dict[int, Array] = {}
        self._when_received: dict[int, Array] = {}

    @property
    def waits(self) -> Mapping[int, float]:
        """The seconds that this rank has waited, by the rank that is to blame."""
        return {rank: float(self._seconds[rank]) for rank in np.flatnonzero(self._seconds).tolist()}

    def tell(self, other: int) -> Array:
        """What a message to ``other`` has to say: the seconds waited since the last one, by who is to blame, [size]."""
        since = self._seconds - self._when_sent.get(other, 0.0)
        self._when_sent[other] = self._seconds.copy()
        return since

    def wait(self, waited: float, other: int, told: Array) -> None:
        """``waited`` seconds went by until a message of ``other`` was here, which ``told`` this."""
        longer = np.maximum(told - (self._seconds - self._when_received.get(other, 0.0)), 0.0)
        longer[self._rank] = 0.0  # that others wait for this rank does not make them late here
        total = float(longer.sum())
        if total > waited:
            longer *= waited / total
        longer[other] += max(waited - total, 0.0)
        self._seconds += longer
        self._when_received[other] = self._seconds.copy()
