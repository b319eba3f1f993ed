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

    ``seconds``, float64 [size], is that, and what a message to another rank has to say. Of each other rank this one
    keeps by how much it had waited longer (less, where negative), for whom, when it was last heard of.

    A message that is w seconds late was sent so much later after the last one from there than this rank came to wait
    after that. Both have computed in the meantime, and both may have waited. As far as the other one has waited longer
    for someone, that one is to blame, and the rest is its own computing. No common clock is needed.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.seconds = np.zeros(size)
        self._rank = rank
        self._ahead: defaultdict[int, list[float]] = defaultdict(lambda: [0.0] * size)

    @property
    def waits(self) -> Mapping[int, float]:
        """The seconds that this rank has waited, by the rank that is to blame."""
        return {rank: float(self.seconds[rank]) for rank in np.flatnonzero(self.seconds).tolist()}

    def wait(self, waited: float, other: int, told: Array, *, farewell: bool = False) -> None:
        """``waited`` seconds went by until a message of ``other`` was here, of whose ``seconds`` it ``told``.

        A ``farewell`` may have been sent before messages that were received earlier.
        """
        # Each step does this, and it shows where models are small: for a few ranks, lists take a third of arrays' time.
        ahead = [theirs - ours for theirs, ours in zip(told.tolist(), self.seconds.tolist(), strict=True)]
        longer = [max(now - then, 0.0) for now, then in zip(ahead, self._ahead[other], strict=True)]
        longer[self._rank] = 0.0  # that others wait for this rank does not make them late here
        total = sum(longer)
        if total:
            longer = [seconds * min(waited / total, 1.0) for seconds in longer]
            self.seconds += longer
            ahead = [seconds - more for seconds, more in zip(ahead, longer, strict=True)]
        rest = max(waited - total, 0.0)
        self.seconds[other] += rest
        ahead[other] -= rest
        if not farewell:
            self._ahead[other] = ahead
