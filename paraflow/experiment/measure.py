"""Means over the samples of all ranks, weighted exactly, whatever the sizes of their shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paraflow.comm import Communicator
from paraflow.data import Dataset, shard
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
        """Count ``values``, means over ``samples`` samples; without samples they mean nothing and count for nothing."""
        if samples:
            self._samples += samples
            for i, value in enumerate(values):
                self._sums[i] += samples * float(value)

    def collect(self) -> dict[str, float]:
        """The means over all samples of the group since the last call; collective in the group."""
        totals = np.array([self._samples, *self._sums])
        self._group.allreduce(totals)
        self._samples = 0
        self._sums = [0.0] * len(self._sums)
        return dict(zip(self._names, (totals[1:] / totals[0]).tolist(), strict=True))

    @property
    def samples(self) -> int:
        """This rank's samples since the last collection."""
        return self._samples


def of_all_ranks(values: Sequence[float], group: Communicator) -> list[list[float]]:
    """For each of ``values`` the list of what the ranks of ``group`` have; collective."""
    table = np.zeros((len(values), group.size))
    table[:, group.rank] = values
    group.allreduce(table)
    rows: list[list[float]] = table.tolist()
    return rows


class Evaluation:
    """Loss and metrics of a model over a data set, which the ranks of a group share out."""

    def __init__(self, session: Session, model: Model, dataset: Dataset) -> None:
        self._names = list(model.values)
        self._dataset = dataset
        self._flags = () if model.training is None else (False,)
        feeds = [model.features, model.labels, *(() if model.training is None else (model.training,))]
        self._call = session.make_callable(list(model.values.values()), feeds)

    def run(self, group: Communicator) -> dict[str, float]:
        """The means over all samples of the data set; collective in ``group``."""
        meter = Meter(self._names, group)
        mine = shard(np.arange(len(self._dataset)), group.rank, group.size)
        for start in range(0, len(mine), EVALUATION_BATCH):
            features, labels = self._dataset.take(mine[start : start + EVALUATION_BATCH])
            meter.add(len(labels), self._call(features, labels, *self._flags))
        return meter.collect()
