"""The world of one rank: every collective is its own result."""

from __future__ import annotations

import mmap
import pickle
from collections.abc import Collection
from typing import Any, NoReturn

import numpy as np

from paraflow.comm import checks
from paraflow.comm.communicator import ANY, Buffer, Communicator, Envelope, Op, Progress, Request, SharedMemory, Waited
from paraflow.comm.mailbox import Complete, Mailbox, Receiving


class SoloCommunicator(Communicator):
    """A world of one rank, which may send messages to itself.

    A recv or probe that no message matches could never end: it raises TimeoutError at once.
    """

    world = "solo"
    rank = 0
    size = 1

    def __init__(self) -> None:
        self._mailbox = Mailbox()

    def barrier(self) -> None:
        """Return at once."""

    def allreduce(self, buffer: Buffer, op: Op = "sum") -> None:
        """Leave ``buffer`` as it is."""
        checks.check_reducible(buffer, op)

    def iallreduce(self, buffer: Buffer, op: Op = "sum") -> Request:
        """Leave ``buffer`` as it is."""
        checks.check_reducible(buffer, op)
        return Complete()

    def broadcast(self, buffer: Buffer, root: int = 0) -> None:
        """Leave ``buffer`` as it is."""
        checks.check_buffer(buffer, written=True)
        checks.check_rank(root, 1, "root")

    def allgather(self, value: object) -> list[Any]:
        """A list of one copy."""
        return [pickle.loads(pickle.dumps(value))]

    def allgather_into(self, part: Buffer, whole: Buffer) -> None:
        """Copy ``part``."""
        checks.check_gather(part, whole, 1)
        whole[...] = part.reshape(whole.shape)

    def broadcast_object(self, value: object, root: int = 0) -> Any:
        """A copy."""
        checks.check_rank(root, 1, "root")
        return pickle.loads(pickle.dumps(value))

    def isend(self, buffer: Buffer, dest: int, tag: int = 0) -> Request:
        """Keep a copy of ``buffer`` for a later recv."""
        checks.check_message(buffer, dest, tag, 1)
        self._mailbox.put(0, tag, buffer)
        return Complete()

    def recv(self, buffer: Buffer, source: int = ANY, tag: int = ANY) -> Envelope:
        """Take the first message that matches; raises TimeoutError where there is none."""
        checks.check_buffer(buffer, written=True)
        checks.check_pattern(source, tag, 1)
        message = self._mailbox.take(source, tag)
        if message is None:
            raise _endless("recv", source, tag)
        return message.deliver(buffer)

    def irecv(self, buffer: Buffer, source: int, tag: int = 0) -> Request:
        """Take the message when it is there; a wait raises TimeoutError where it is not."""
        checks.check_buffer(buffer, written=True)
        checks.check_pattern(source, tag, 1)
        return Receiving(lambda: self.iprobe(source, tag), lambda progress: self.recv(buffer, source, tag))

    def probe(self, source: int = ANY, tag: int = ANY, awaited: Collection[int] = ()) -> Envelope:
        """The first message that matches; raises TimeoutError where there is none."""
        envelope = self.iprobe(source, tag)
        if envelope is None:
            raise _endless("probe", source, tag)
        return envelope

    def iprobe(self, source: int = ANY, tag: int = ANY) -> Envelope | None:
        """The first message that matches, or None."""
        checks.check_pattern(source, tag, 1)
        return self._mailbox.find(source, tag)

    def node(self) -> tuple[int, int]:
        """``(0, 1)``."""
        return 0, 1

    def split(self, color: int) -> Communicator:
        """A world of this rank."""
        checks.check_color(color)
        return SoloCommunicator()

    def split_node(self) -> Communicator:
        """A world of this rank."""
        return SoloCommunicator()

    def share(self, nbytes: int, flags: int = 0) -> SharedMemory:
        """Memory of this process."""
        return SoloMemory(checks.check_share(self, nbytes, flags), flags)

    def leave(self, word: bytes) -> None:
        """Nobody waits."""

    def abort(self, code: int) -> NoReturn:
        """End the process through SystemExit."""
        raise SystemExit(code)


class SoloMemory(SharedMemory):
    """Shared memory of one rank. A wait for what it has not posted could never end: it raises TimeoutError at once."""

    def __init__(self, sizes: list[int], flags: int) -> None:
        self.parts = allocate_parts(sizes)
        self._values = [0] * flags
        self._ended = False

    def post(self, flag: int, value: int) -> None:
        """Keep the value."""
        checks.check_grows(flag, self.posted(0, flag), value)
        self._values[flag] = value

    def wait(self, flag: int, value: int, progress: Progress = None) -> Waited | None:
        """Return at once; raises TimeoutError where the flag is less than ``value``."""
        return self.wait_for(0, flag, value)

    def wait_for(self, rank: int, flag: int, value: int, progress: Progress = None) -> Waited | None:
        """Return at once; raises TimeoutError where the flag is less than ``value``."""
        reached = self.posted(rank, flag)
        if reached < value:
            if self._ended:
                raise checks.ended_part(rank, flag, reached, value)
            raise TimeoutError(
                f"rank 0, alone in its world, would wait forever for flag {flag} to be {value}: it has posted {reached}"
            )
        return None

    def posted(self, rank: int, flag: int) -> int:
        """The value kept."""
        checks.check_rank(rank, 1, "rank")
        checks.check_flag(flag, len(self._values))
        return self._values[flag]

    def close(self) -> None:
        """Let a wait for more than is posted say so."""
        self._ended = True


def allocate_parts(sizes: list[int]) -> tuple[Buffer, ...]:
    """The parts of a memory that only this process has."""
    parts = []
    for size in sizes:
        block = np.zeros(size + mmap.PAGESIZE, np.uint8)
        start = -block.ctypes.data % mmap.PAGESIZE
        parts.append(block[start : start + size])
    return tuple(parts)


def _endless(call: str, source: int, tag: int) -> TimeoutError:
    return TimeoutError(
        f"rank 0, alone in its world, would wait forever in {checks.describe_pattern(call, source, tag)}: "
        "it has sent itself no such message"
    )
