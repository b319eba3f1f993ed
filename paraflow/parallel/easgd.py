"""Elastic averaging: a spring between every rank's parameters and a centre (Zhang, Choromanska, LeCun, NIPS 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.averaging import GlobalAveraging, Replica
from paraflow.parallel.compression import Compressor


class EASGD(GlobalAveraging):
    """The synchronous form (the paper's equations 2 and 3) with a communication period; every rank keeps the centre c.

    Every ``period`` steps, after the update by the gradient, with beta = ``moving_rate``::

        d_r = beta share_r (x_r - c);  x_r = x_r - d_r;  c = c + sum over ranks of d_r

    share_r is rank r's part of the samples since the last time. With equal shares among p ranks this is the paper's
    alpha = beta / p. Ranks explore around the centre instead of being reset to it; the centre is what is evaluated, and
    the final variables. (With a momentum optimizer on the ranks it is the paper's EAMSGD.)

    Raises InvalidArgumentError for a period below 1 or a moving rate outside (0, 1].
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
        self.moving_rate = moving_rate

    def _combine(self, replica: Replica, share: float) -> None:
        pull = np.subtract(replica.own, replica.common)
        rate = self.moving_rate * share
        replica.own -= pull * pull.dtype.type(rate)
        self._sum(replica, pull, rate)
        replica.common += pull
