"""Batches of different numbers on different ranks: who has run dry goes on with empty ones until all have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet, Sized
from contextlib import suppress
from typing import Any, TypeVar, cast

import numpy as np

from paraflow.comm import Communicator, Request
from paraflow.errors import InvalidArgumentError, RanksDisagree, WorldAborted

Batch = TypeVar("Batch")

_left: list[tuple[np.ndarray[Any, Any], Request]] = []  # what must not be collected while it is under way


def uneven(batches: Iterable[Batch], comm: Communicator, loops: MutableSet[Meetings]) -> Iterator[Batch]:
    """This rank's ``batches``, then empty ones, until every rank of ``comm`` has come to the end of its own.

    See `Strategy.uneven`. All ranks tell their lengths at the start, and what an empty batch looks like; where one
    does not know its length, they meet before each step in an all-reduce of one number. ``loops`` gets the meetings.
    """
    if comm.size == 1:
        yield from batches
        return
    iterator = iter(batches)
    batch = next(iterator, None)
    length = len(batches) if isinstance(batches, Sized) else None
    told = comm.allgather((length, None if batch is None else emptied(batch)))
    empty = told[comm.rank][1]
    if empty is None:
        empty = next((other for _, other in told if other is not None), None)
    lengths = [n for n, _ in told]
    steps = None if None in lengths else max(lengths)
    meetings = Meetings(comm)
    loops.add(meetings)
    step = 0
    try:
        while step < steps if steps is not None else meetings.any(batch is not None):
            yield batch if batch is not None else cast(Batch, emptied(empty))
            batch = None if batch is None else next(iterator, None)
            step += 1
    finally:
        meetings.leave()
    if batch is not None:
        raise InvalidArgumentError(
            f"the batches of rank {comm.rank} have len() {length}, but there are more, and the other ranks have ended"
        )


def emptied(batch: Any) -> Any:
    """A batch of the same structure, dtypes and trailing shapes without any row, in memory of its own.

    Raises InvalidArgumentError for what is no array with rows, nor a dict, tuple or list of such.
    """
    if isinstance(batch, dict):
        return {key: emptied(value) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [emptied(value) for value in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    if not isinstance(batch, np.ndarray) or not batch.ndim:
        raise InvalidArgumentError(
            "a batch is an array whose first dimension counts samples, or a dict, tuple or list of such arrays, not "
            f"{batch!r}"
        )
    return np.empty((0, *batch.shape[1:]), batch.dtype)


class Meetings:
    """What the ranks of a loop tell each other before each step, where one does not know its length."""

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._expected = False  # the others may wait for this rank, or will

    def any(self, here: bool) -> bool:
        """Whether any rank has a batch; raises RanksDisagree where one has left."""
        told = np.array([here, 0], np.int64)
        self._expected = False
        self._comm.iallreduce(told, "max").wait()
        if told[1]:
            raise RanksDisagree(
                f"rank {told[1] - 1} has left the loop over its batches before their end, while rank "
                f"{self._comm.rank} goes on: all ranks have to leave in the same step"
            )
        self._expected = bool(told[0])
        return self._expected

    def leave(self) -> None:
        """Take part in the next meeting by telling that this rank takes no further step now; it waits for nobody.

        If all ranks do so before the same meeting, they may go on in the loop later.
        """
        if self._expected:
            self._expected = False
            told = np.array([0, self._comm.rank + 1], np.int64)
            with suppress(WorldAborted):
                _left.append((told, self._comm.iallreduce(told, "max")))
