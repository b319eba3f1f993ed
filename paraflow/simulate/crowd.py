"""One rank of several that share a node, without the others: what it does for itself in a step takes its real time."""

from __future__ import annotations

import copy
from typing import Any

from paraflow.comm import Communicator, Progress, SharedMemory, Waited
from paraflow.comm.communicator import Buffer, Op
from paraflow.comm.solo import SoloCommunicator, SoloMemory


class Crowd(SoloCommunicator):
    """The first of ``size`` ranks of a node, of which the others are its mirror images: they have what it has.

    They are always there already, so it never waits. Averages over them are its own gradients.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def allgather(self, value: object) -> list[Any]:
        """As many copies as there are ranks."""
        return [copy.deepcopy(value) for _ in range(self.size)]

    def allreduce(self, buffer: Buffer, op: Op = "sum") -> None:
        """Leave ``buffer`` as it is; of one with a row for each rank, every other rank adds the row of the first."""
        super().allreduce(buffer, op)
        if buffer.ndim == 2 and len(buffer) == self.size:
            buffer[1:] = buffer[0]

    def split(self, color: int) -> Communicator:
        """All give the same color."""
        return self

    def split_node(self) -> Communicator:
        """All are on one node."""
        return self

    def share(self, nbytes: int, flags: int = 0) -> SharedMemory:
        """Memory of which all parts are one."""
        return _Mirror(self.size, nbytes, flags)


class _Mirror(SoloMemory):
    def __init__(self, size: int, nbytes: int, flags: int) -> None:
        super().__init__([nbytes], flags)
        self.parts *= size

    def wait(self, flag: int, value: int, progress: Progress = None) -> Waited | None:
        return None

    def wait_for(self, rank: int, flag: int, value: int, progress: Progress = None) -> Waited | None:
        return None

    def posted(self, rank: int, flag: int) -> int:
        return super().posted(0, flag)
