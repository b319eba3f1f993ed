"""Messages between ranks of one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from paraflow.comm.checks import check_fits
from paraflow.comm.communicator import ANY, Buffer, Envelope, Progress
from paraflow.errors import RanksDisagree


class Message(NamedTuple):
    """A message on its way: where it is from, and a copy of what was sent."""

    envelope: Envelope
    data: Buffer

    def deliver(self, buffer: Buffer) -> Envelope:
        """Copy the message into ``buffer``; raises RanksDisagree where size or dtype differ."""
        check_fits(self.envelope, buffer)
        if buffer.dtype != self.data.dtype:
            raise RanksDisagree(
                f"recv has a buffer of {buffer.dtype}, but the message from rank {self.envelope.source} "
                f"with tag {self.envelope.tag} holds {self.data.dtype}"
            )
        buffer[...] = self.data.reshape(buffer.shape)
        return self.envelope


class Mailbox:
    """The messages sent to one rank and not yet received, in the order of sending. Not locked."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def put(self, source: int, tag: int, buffer: Buffer) -> None:
        """Add a copy of ``buffer``."""
        self._messages.append(Message(Envelope(source, tag, buffer.nbytes), buffer.copy()))

    def find(self, source: int, tag: int) -> Envelope | None:
        """The first message that matches, where ANY matches all."""
        return next((m.envelope for m in self._messages if _matches(m.envelope, source, tag)), None)

    def take(self, source: int, tag: int) -> Message | None:
        """Remove and return the first message that matches."""
        for index, message in enumerate(self._messages):
            if _matches(message.envelope, source, tag):
                return self._messages.pop(index)
        return None


def _matches(envelope: Envelope, source: int, tag: int) -> bool:
    return source in (ANY, envelope.source) and tag in (ANY, envelope.tag)


class Complete:
    """The request of an operation that was complete when it returned."""

    def wait(self, progress: Progress = None) -> None:
        """Return at once."""

    def test(self) -> bool:
        """It is."""
        return True


class Receiving:
    """The request of a message: ``find`` looks whether it is there, ``take`` waits for it and takes it."""

    def __init__(self, find: Callable[[], Envelope | None], take: Callable[[Progress], object]) -> None:
        self._find, self._take = find, take
        self._complete = False

    def wait(self, progress: Progress = None) -> None:
        """Wait for the message, the first time."""
        if not self._complete:
            self._take(progress)
            self._complete = True

    def test(self) -> bool:
        """Take the message if it is there; whether it has been taken."""
        if not self._complete and self._find() is not None:
            self.wait()
        return self._complete
