"""Elastic averaging: a spring between every rank's parameters and a centre (Zhang, Choromanska, LeCun, NIPS 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.averaging import GlobalAveraging, Replica
from paraflow.parallel.compression import Compressor

Array = np.ndarray[Any, Any]


class EASGD(GlobalAveraging):
    """The synchronous form (the paper's equations 2 and 3) with a communication period; every rank keeps the centre c.

    Every ``period`` steps, after the update by the gradient, with beta = ``moving_rate``::

        d_r = beta share_r (x_r - c);  x_r = x_r - d_r;  c = c + sum over ranks of d_r

    share_r is rank r's part of the samples since the last time. With equal shares among p ranks this is the paper's
    alpha = beta / p. Ranks explore around the centre instead of being reset to it; the centre is what is evaluated, and
    the final variables. (With a momentum optimizer on the ranks it is the paper's EAMSGD.)

    With ``compress`` both ends of the spring move by what a message says of x_r - c. What it leaves out stays in the
    spring, which is the memory here: added to later messages as well, it would be pulled twice, and training diverges.

    Raises InvalidArgumentError for a period below 1, a moving rate outside (0, 1], or a compressor without error
    feedback, which does not tell what it leaves out.
    """

    def __init__(
        self,
        comm: Communicator | None = None,
        agreement: Mapping[str, Any] | None = None,
        *,
        period: int = 10,
        moving_rate: float = 0.9,
        compress: Compressor | None = None,
    ) -> None:
        super().__init__(comm, agreement, period, compress, moving_rate=moving_rate)
        if not 0 < moving_rate <= 1:
            raise InvalidArgumentError(f"moving_rate has to be in (0, 1], but it is {moving_rate}")
        if compress is not None and not compress.error_feedback:
            raise InvalidArgumentError(
                f"compress = {compress!r}: elastic averaging has to know what a message leaves out: set error_feedback"
            )
        self.moving_rate = moving_rate

    def _combine(self, replica: Replica, share: float) -> None:
        rate = self.moving_rate * share
        pull = np.subtract(replica.own, replica.common)
        total = pull - self._left_out(replica)  # what was left out is still in the pull, and the compressor adds it
        self._sum(replica, total, rate)
        replica.own -= (pull - self._left_out(replica)) * pull.dtype.type(rate)
        replica.common += total

    def _left_out(self, replica: Replica) -> Array:
        """What the last message has left out of a pull, laid out as ``replica``."""
        left_out = np.zeros_like(replica.own)
        if self.compress is not None:
            memory = self.compress.state()
            for name, place in replica.variables(left_out).items():
                place[...] = memory.get(f"error/{name}", 0)
        return left_out
