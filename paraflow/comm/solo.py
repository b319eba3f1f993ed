"""The world of one rank: every collective is its own result."""

from __future__ import annotations

import pickle
from typing import Any, NoReturn

from paraflow.comm import checks
from paraflow.comm.communicator import ANY, Buffer, Communicator, Envelope, Op, Request
from paraflow.comm.mailbox import Complete, Mailbox


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

    def probe(self, source: int = ANY, tag: int = ANY) -> Envelope:
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

    def abort(self, code: int) -> NoReturn:
        """End the process through SystemExit."""
        raise SystemExit(code)


def _endless(call: str, source: int, tag: int) -> TimeoutError:
    return TimeoutError(
        f"rank 0, alone in its world, would wait forever in {checks.describe_pattern(call, source, tag)}: "
        "it has sent itself no such message"
    )
