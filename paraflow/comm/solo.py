"""The world of one rank: every collective is its own result."""

from __future__ import annotations

import pickle
import sys
from typing import Any, NoReturn

from paraflow.comm import checks
from paraflow.comm.communicator import ANY, Buffer, Communicator, Envelope, Op, Request
from paraflow.comm.mailbox import Complete, Mailbox


class SoloCommunicator(Communicator):
    """A world of one rank, which may send messages to itself.

    A recv or probe that no message matches can never end: it raises TimeoutError at once.
    """

    world = "solo"
    rank = 0
    size = 1

    def __init__(self) -> None:
        self._mailbox = Mailbox()

    def barrier(self) -> None:
        """Return at once."""

    def iallreduce(self, buffer: Buffer, op: Op = "sum") -> Request:
        checks.check_reducible(buffer, op)
        return Complete()

    def broadcast(self, buffer: Buffer, root: int = 0) -> None:
        checks.check_buffer(buffer, written=True)
        checks.check_rank(root, 1, "root")

    def allgather(self, value: object) -> list[Any]:
        return [pickle.loads(pickle.dumps(value))]

    def broadcast_object(self, value: object, root: int = 0) -> Any:
        checks.check_rank(root, 1, "root")
        return pickle.loads(pickle.dumps(value))

    def isend(self, buffer: Buffer, dest: int, tag: int = 0) -> Request:
        checks.check_message(buffer, dest, tag, 1)
        self._mailbox.put(0, tag, buffer)
        return Complete()

    def recv(self, buffer: Buffer, source: int = ANY, tag: int = ANY) -> Envelope:
        checks.check_buffer(buffer, written=True)
        self.probe(source, tag)
        message = self._mailbox.take(source, tag)
        assert message is not None
        return message.deliver(buffer)

    def probe(self, source: int = ANY, tag: int = ANY) -> Envelope:
        envelope = self.iprobe(source, tag)
        if envelope is None:
            raise TimeoutError(
                f"the only rank of a solo world waits for a message (source {source}, tag {tag}) "
                "that it has not sent to itself"
            )
        return envelope

    def iprobe(self, source: int = ANY, tag: int = ANY) -> Envelope | None:
        checks.check_pattern(source, tag, 1)
        return self._mailbox.find(source, tag)

    def node(self) -> tuple[int, int]:
        return 0, 1

    def abort(self, code: int) -> NoReturn:
        sys.exit(code)
