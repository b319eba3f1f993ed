"""Means over the samples of all ranks, weighted exactly, whatever the sizes of their shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from paraflow.comm import Communicator
from paraflow.data import Dataset
from paraflow.experiment.model import Model
from paraflow.runtime.session import Session

# Samples of one evaluation run: enough to keep BLAS busy, few enough to stay in the caches.
EVALUATION_BATCH = 512


class Meter:
    """Sums up values, each a mean over some samples, until the ranks of ``group`` collect them."""

    def __init__(self, names: Sequence[str], group: Communicator) -> None:
        self._names = names
        self._group = group
        self._samples = 0
        self._sums = [0.0] * len(names)

    def add(self, samples: int, values: Sequence[float]) -> None:
        """Count ``values``, means over ``samples`` samples. A mean over none is no number, and counts for nothing."""
        if samples:
            self._samples += samples
            for i, value in enumerate(values):
                self._sums[i] += samples * float(value)

    def collect(
        self, own: Sequence[float] = (), summed: Sequence[float] = ()
    ) -> tuple[dict[str, float], list[list[float]], list[float]]:
        """The means over all samples of the group since the last call, and what else the ranks have to tell.

        Of ``own`` each as a list by rank, of ``summed`` each as its sum over the ranks.

        Collective in the group: one small all-reduce. The means are NaN where there was no sample.
        """
        head = 1 + len(self._sums)
        tail = head + len(own) * self._group.size
        totals = np.zeros(tail + len(summed))
        totals[:head] = self._samples, *self._sums
        totals[tail:] = summed
        by_rank = totals[head:tail].reshape(len(own), self._group.size)
        by_rank[:, self._group.rank] = own
        self._group.allreduce(totals)
        self._samples, self._sums = 0, [0.0] * len(self._sums)
        with np.errstate(invalid="ignore"):
            means = totals[1:head] / totals[0]
        return dict(zip(self._names, means.tolist(), strict=True)), by_rank.tolist(), totals[tail:].tolist()


def evaluate(
    session: Session, model: Model, dataset: Dataset, mine: NDArray[np.int64], group: Communicator
) -> dict[str, float]:
    """Loss and metrics over the samples ``mine`` of ``dataset`` of all ranks of ``group``; collective there."""
    call = session.make_callable(list(model.values.values()), model.feeds)
    meter = Meter(list(model.values), group)
    for start in range(0, len(mine), EVALUATION_BATCH):
        features, labels = dataset.take(mine[start : start + EVALUATION_BATCH])
        meter.add(len(labels), call(*model.fed(features, labels, training=False)))
    return meter.collect()[0]
