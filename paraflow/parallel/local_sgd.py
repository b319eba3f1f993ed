"""Local SGD: every rank takes H steps by itself, then parameters are averaged over all ranks.

McMahan et al., AISTATS 2017 (federated averaging, weights by samples); Stich, ICLR 2019; Lin et al., ICLR 2020
(post-local SGD: H = 1 at first); Douillard et al., arXiv 2311.08105 (DiLoCo: a Nesterov step along the average change).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.averaging import GlobalAveraging, Replica
from paraflow.parallel.compression import Compressor

Array = np.ndarray[Any, Any]


class LocalSGD(GlobalAveraging):
    """``period`` local steps, then averaging; in the first ``warmup`` steps averaging after every step.

    With ``outer="average"`` all ranks go on from the average. With ``outer="nesterov"`` (DiLoCo) the change since the
    last averaging, averaged over the ranks, is the gradient of an outer optimizer, SGD with Nesterov momentum, whose
    velocity v is kept for every plane::

        d = sum over ranks of share * (x - start);  v = outer_momentum v + d
        start = start + outer_learning_rate (d + outer_momentum v);  x = start

    (the paper's outer gradient is -d). It begins after the warm-up. Variables that are not trained are averaged.
    With ``compress`` a rank's message says only nearly what x - start is, and what it leaves out is added to the rank's
    next change (Basu et al., "Qsparse-local-SGD", NeurIPS 2019).
    With period 1, SGD and outer="average" a step is one with the average gradient.

    Raises InvalidArgumentError for a period below 1, a negative warm-up, or an outer optimizer or rate that is none.
    """

    def __init__(
        self,
        comm: Communicator | None = None,
        agreement: Mapping[str, Any] | None = None,
        *,
        period: int = 10,
        warmup: int = 0,
        outer: Literal["average", "nesterov"] = "average",
        outer_learning_rate: float = 0.7,
        outer_momentum: float = 0.9,
        compress: Compressor | None = None,
    ) -> None:
        settings = {"outer_learning_rate": outer_learning_rate, "outer_momentum": outer_momentum}
        super().__init__(comm, agreement, period, compress, warmup=warmup, outer=outer, **settings)
        if warmup < 0:
            raise InvalidArgumentError(f"warmup is a number of steps, from 0; it is {warmup}")
        if outer not in ("average", "nesterov"):
            raise InvalidArgumentError(f"outer is 'average' or 'nesterov', not {outer!r}")
        if not outer_learning_rate > 0 or not 0 <= outer_momentum < 1:
            raise InvalidArgumentError(
                f"outer_learning_rate has to be positive and outer_momentum in [0, 1); they are {outer_learning_rate} "
                f"and {outer_momentum}"
            )
        self.warmup = warmup
        self.outer = outer
        self.outer_learning_rate, self.outer_momentum = outer_learning_rate, outer_momentum
        self._velocities: dict[Replica, Array] = {}

    def _due(self) -> bool:
        return self.steps <= self.warmup or (self.steps - self.warmup) % self.period == 0

    def _combine(self, replica: Replica, share: float) -> None:
        # The change is averaged, not the value: a variable that no rank changes keeps its bits.
        change, start = replica.own, replica.common
        change -= start
        self._sum(replica, change, share)
        # Rounds, not steps: a rank that is done early takes part in all of them.
        if self.outer == "nesterov" and replica.trained and self.rounds > self.warmup:
            velocity = self._velocities.setdefault(replica, np.zeros_like(start))
            velocity *= self.outer_momentum
            velocity += change
            change += self.outer_momentum * velocity
            change *= self.outer_learning_rate
        start += change
        replica.own[...] = start
