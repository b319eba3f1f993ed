"""Who holds up whom where ranks wait for their neighbours only, and lateness spreads from one to the next.

A neighbour that comes late may have waited itself, and then the rank that it waited for is to blame. So ranks tell each
other, in the messages that they wait for, how long they have waited, and for whom.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Delays:
    """What ``rank`` of ``size`` has waited in exchanges of messages with others, by the rank that is to blame.

    ``seconds``, float64 [size], is that, and what a message to another rank has to say.

    A message that is w seconds late was sent so much later after the last one from there than this rank came to wait
    after that. Both have computed in the meantime, and both may have waited. As far as the other one has waited longer
    for someone, that one is to blame, and the rest is its own computing. No common clock is needed.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.seconds = np.zeros(size)
        self._rank = rank
        # What others told, and by how much they had waited longer when they were last heard of.
        self._heard: defaultdict[int, tuple[Array, Array]] = defaultdict(lambda: (np.zeros(size), np.zeros(size)))
        self._longer, self._zeros, self._ones = np.empty(size), np.zeros(size), np.ones(size)

    @property
    def waits(self) -> Mapping[int, float]:
        """The seconds that this rank has waited, by the rank that is to blame."""
        return {rank: float(self.seconds[rank]) for rank in np.flatnonzero(self.seconds).tolist()}

    def wait(self, waited: float, other: int, told: Array) -> None:
        """``waited`` seconds went by until a message of ``other`` was here, of whose ``seconds`` it ``told``.

        Messages may be received in another order than they were sent in.
        """
        # Each step does this, and of small models it shows: no new arrays, no conversions, dot for sum.
        (newest, ahead), longer, seconds = self._heard[other], self._longer, self.seconds
        np.maximum(newest, told, newest)
        np.subtract(newest, seconds, longer)
        np.subtract(longer, ahead, longer)
        longer[self._rank] = 0.0  # that others wait for this rank does not make them late here
        np.maximum(longer, self._zeros, longer)
        total = float(longer.dot(self._ones))
        if total > waited:
            longer *= waited / total
        else:
            longer[other] += waited - total
        np.add(seconds, longer, seconds)
        np.subtract(newest, seconds, ahead)
