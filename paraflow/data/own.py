"""Batches of data that each rank has for itself, of which ranks may have different numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from paraflow.data.batches import Batch, Batches
from paraflow.data.dataset import Dataset
from paraflow.data.order import Last, shard
from paraflow.errors import DataError

_BETWEEN_SEEDS = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: neighbouring ranks are far apart


@dataclass(frozen=True)
class OwnBatches:
    """This rank's batches of a data set of its own, ``sizes[r]`` samples on rank r.

    Of a global batch of ``batch_size`` samples each rank takes its share, as equal as can be, and an epoch ends where
    the rank does that needs most batches; those that are through before get empty ones, [0, d...]. Each rank shuffles
    for itself; rank 0's order is the one of `Batches` with the same seed, and so is what ``backup`` means.

    Raises DataError, alike on all ranks, for a batch of fewer samples than ranks, or, with last="drop", a rank whose
    samples do not fill its share of one.
    """

    dataset: Dataset
    batch_size: int
    sizes: tuple[int, ...]
    rank: int = 0
    seed: int = 0
    shuffle: bool = True
    last: Last = "keep"
    prefetch: int = 0
    backup: int = 0

    def __post_init__(self) -> None:
        ranks = len(self.sizes)
        shards = ranks - self.backup
        if 0 < self.batch_size < shards:
            raise DataError(
                f"a batch of {self.batch_size} samples is for {shards} ranks that train: "
                f"raise batch_size to at least {shards} or start at most {self.batch_size} of them"
            )
        for rank, size in enumerate(self.sizes):
            if self.last == "drop" and size < self._shares[rank]:
                raise DataError(
                    f"rank {rank} has {size} samples of its own, which do not fill its share of a batch of "
                    f'{self.batch_size}, so last="drop" drops them all; lower batch_size or use last="keep"'
                )

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch, the same on every rank."""
        return max(map(self._steps, range(len(self.sizes))))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Return an iterator over this rank's batches of one epoch, as `Batches.epoch` does."""
        own = Batches(
            self.dataset,
            self._shares[self.rank],
            seed=(self.seed + self.rank * _BETWEEN_SEEDS) % 2**64,
            shuffle=self.shuffle,
            last=self.last,
            prefetch=self.prefetch,
        )
        yield from own.epoch(epoch, min(start, own.steps_per_epoch))
        for _ in range(max(start, own.steps_per_epoch), self.steps_per_epoch):
            features, labels = self.dataset.take(np.empty(0, np.int64))
            yield {"features": features, "labels": labels}

    def seen(self, steps: int) -> int:
        """The samples of all ranks together in the first ``steps`` steps, over any number of epochs."""
        epochs, steps = divmod(steps, self.steps_per_epoch)
        ranks = range(len(self.sizes))
        return epochs * sum(map(self._used, ranks)) + sum(
            min(steps * self._shares[rank], self._used(rank)) for rank in ranks
        )

    @cached_property
    def _shares(self) -> list[int]:
        """The samples of each rank in a global batch, as `shard` deals them."""
        batch, ranks = np.arange(self.batch_size), len(self.sizes)
        return [len(shard(batch, rank, ranks, self.backup)) for rank in range(ranks)]

    def _steps(self, rank: int) -> int:
        whole, rest = divmod(self.sizes[rank], self._shares[rank])
        return whole + (self.last == "keep" and rest > 0)

    def _used(self, rank: int) -> int:
        """The samples of ``rank`` in an epoch."""
        return min(self._steps(rank) * self._shares[rank], self.sizes[rank])
