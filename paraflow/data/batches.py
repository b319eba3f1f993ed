"""Batches: what one rank sees of an epoch, and a thread that prepares it ahead."""

import functools
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from paraflow.data.dataset import Dataset
from paraflow.data.order import Indices, Last, global_batches, shard, steps_per_epoch
from paraflow.errors import DataError, InvalidArgumentError

Batch = dict[str, NDArray[Any]]
_Item = TypeVar("_Item")
_Result = tuple[_Item] | BaseException | None  # an item, why there is none, or the end


@dataclass(frozen=True)
class Batches:
    """The part of ``rank`` in every global batch of ``batch_size`` samples.

    The order is ``global_batches(len(dataset), batch_size, seed, epoch, shuffle, last)``; of each batch this rank takes
    ``shard(batch, rank, size, backup)``. So without ``backup`` the ranks' parts concatenate to the batch of a single
    process, on any number of ranks. With last="keep" the last batch of an epoch has
    ``n - (steps_per_epoch - 1) * batch_size`` samples, and a rank's part of it may be empty, [0, d...]: its weight in
    an average is zero.

    ``backup`` is the number of ranks without which a step closes (`BackupWorkers`). Parts are then larger, and overlap,
    so that those of any ``size - backup`` ranks have as many samples as the batch.

    ``prefetch`` is the number of batches that a thread prepares ahead; with 0, the default, the caller's thread
    prepares each. A batch of 64 x 784 uint8 pixels takes it 16 µs, 2 % of the step of a small network, while the thread
    costs a rank whose only core is busy 2-9 % of that step. It can pay for large samples and a core to spare.

    Raises DataError if the data set or a batch has fewer samples than there are ranks that share it out (``size -
    backup``), or if no batch is left, and
    InvalidArgumentError for a rank, batch size, ``last``, ``prefetch`` or ``backup`` that makes no sense.
    """

    dataset: Dataset
    batch_size: int
    rank: int = 0
    size: int = 1
    seed: int = 0
    shuffle: bool = True
    last: Last = "keep"
    prefetch: int = 0
    backup: int = 0

    def __post_init__(self) -> None:
        n, size = len(self.dataset), self.size
        shard(np.empty(0, np.int64), self.rank, size, self.backup)  # refuses numbers that make no sense
        if self.prefetch < 0:
            raise InvalidArgumentError(f"prefetch counts batches prepared ahead, from 0; it is {self.prefetch}")
        shards = size - self.backup
        if n < shards:
            raise DataError(
                f"data set {self.dataset.name!r} has {n} samples for {shards} ranks that train: "
                f"start at most {n} of them"
            )
        if 0 < self.batch_size < shards:
            raise DataError(
                f"a batch of {self.batch_size} samples is for {shards} ranks that train: "
                f"raise batch_size to at least {shards} or start at most {self.batch_size} of them"
            )
        steps_per_epoch(n, self.batch_size, self.last)

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch, the same on every rank."""
        return steps_per_epoch(len(self.dataset), self.batch_size, self.last)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Return an iterator over this rank's batches of one epoch, from step ``start`` on.

        Each is {"features": float32 [k, d...], "labels": int32 [k] (or float32 [k, ...], where the data set's labels
        are no classes)}, arrays of the caller's own. Raises
        InvalidArgumentError unless 0 <= start <= steps_per_epoch. The prefetch thread ends when the iterator is at its
        end, closed or dropped.
        """
        if not 0 <= start <= self.steps_per_epoch:
            raise InvalidArgumentError(f"step {start} is not in an epoch of {self.steps_per_epoch} steps")
        order = _order(len(self.dataset), self.batch_size, self.seed, epoch, self.shuffle, self.last)
        batches = self._gather(order[start:])
        return prefetched(batches, self.prefetch) if self.prefetch else batches

    def seen(self, steps: int) -> int:
        """The samples of all ranks together in the first ``steps`` steps, over any number of epochs."""
        epochs, steps = divmod(steps, self.steps_per_epoch)
        of_an_epoch = min(self.steps_per_epoch * self.batch_size, len(self.dataset))
        return epochs * of_an_epoch + steps * self.batch_size

    def _gather(self, order: list[Indices]) -> Iterator[Batch]:
        for indices in order:
            features, labels = self.dataset.take(shard(indices, self.rank, self.size, self.backup))
            yield {"features": features, "labels": labels}


# A worker that skips steps asks for the rest of the same epoch again and again. Read-only, since all share it.
_order = functools.lru_cache(maxsize=1)(global_batches)


def prefetched(items: Iterator[_Item], ahead: int) -> Iterator[_Item]:
    """Yield the items of ``items``, up to ``ahead`` of which a thread computes before they are asked for.

    An exception of ``items`` is raised here, in its place, with the thread's traceback. The thread starts with the
    first item asked for and has ended when this generator is exhausted, closed or collected.
    """
    # A SimpleQueue because a collected generator ends in a finaliser, which may run inside any call of either thread:
    # its put is reentrant, the lock of a Queue, Event or Semaphore is not.
    permits: SimpleQueue[bool] = SimpleQueue()
    results: SimpleQueue[_Result[_Item]] = SimpleQueue()
    # A daemon, or an iterator that nobody closed would keep the interpreter from exiting.
    worker = threading.Thread(
        target=_compute, args=(items, permits, results), name="paraflow-prefetch", daemon=True
    )
    worker.start()
    try:
        for _ in range(ahead):
            permits.put(True)
        while (result := results.get()) is not None:
            if isinstance(result, BaseException):
                try:
                    raise result
                finally:
                    del result  # its traceback holds this frame: without this, a cycle
            permits.put(True)
            yield result[0]
    finally:
        with suppress(Empty):
            while True:
                permits.get_nowait()
        permits.put(False)
        if threading.current_thread() is not worker:
            worker.join()


def _compute(items: Iterator[_Item], permits: SimpleQueue[bool], results: SimpleQueue[_Result[_Item]]) -> None:
    """Put the next item into ``results`` for each True in ``permits``, until a False, the end or an exception."""
    try:
        while permits.get():
            results.put((next(items),))
    except StopIteration:
        results.put(None)
    except BaseException as error:
        results.put(error)
