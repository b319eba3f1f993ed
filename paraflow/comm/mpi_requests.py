"""Calls of MPI that are under way, and buffers as it takes them: at most 2^31 - 1 items in a call of MPI 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from paraflow.comm import checks
from paraflow.comm.communicator import ANY, Buffer, Envelope, Progress
from paraflow.comm.departures import Use
from paraflow.comm.waiting import wait_until, yield_until

PART_BYTES = 2**26  # of one collective, which may need as much memory again
_MAX_COUNT = 2**31 - 1

_abandoned: list[MPI.Request] = []  # under way, with their buffers, though nobody waits for them


class Receiving:
    """A message that is received when it is there."""

    def __init__(self, use: Use, buffer: Buffer, source: int, tag: int) -> None:
        self.envelope: Envelope | None = None
        self._use, self._buffer, self._pattern = use, buffer, pattern(source, tag)
        self._request: MPI.Request | None = None

    def Test(self) -> bool:  # noqa: N802 - the name of MPI
        """Whether the message has been received; raises RanksDisagree for one of another size."""
        if self._request is None:
            status = MPI.Status()
            message = self._use.comm.Improbe(*self._pattern, status)
            if message is None:
                return False
            self._use.pending -= 1
            self.envelope = envelope_of(status)
            fits = self.envelope.nbytes == self._buffer.nbytes
            # A matched message has to be received, also where it is dropped.
            with as_message(self._buffer if fits else np.empty(self.envelope.nbytes, np.uint8)) as target:
                self._request = message.Irecv(target)
        if not self._request.Test():
            return False
        assert self.envelope is not None
        checks.check_fits(self.envelope, self._buffer)
        return True

    def __del__(self) -> None:
        _keep(self._request)


class Requests:
    """Operations that are complete together; ``finish`` is called once, when they are.

    ``listen`` is called in long waits, and what it raises ends them. A wait that ``sleeps`` leaves the core to others.
    """

    def __init__(
        self,
        requests: Sequence[MPI.Request | Receiving],
        finish: Callable[[], None],
        listen: Callable[[], None],
        *,
        sleeps: bool,
    ) -> None:
        self._requests = requests
        self._finish = finish
        self._listen = listen
        self._sleeps = sleeps

    def wait(self, progress: Progress = None) -> None:
        """Wait for all; what ``listen`` raises ends the wait."""
        wait = wait_until if self._sleeps else yield_until
        for request in self._requests:
            wait(request.Test if progress is None else partial(_test, request, progress), self._listen)
        self._finish()
        self._finish = done

    def test(self) -> bool:
        """Whether all are complete."""
        if not all(request.Test() for request in self._requests):
            return False
        self._finish()
        self._finish = done
        return True

    def __del__(self) -> None:
        for request in self._requests:
            if not isinstance(request, Receiving):
                _keep(request)


def _keep(request: MPI.Request | None) -> None:
    """MPI uses the buffer of an operation until it is complete, whether or not anybody waits for that."""
    if request:  # not null, as those are that are complete
        _abandoned.append(request)


def _test(request: MPI.Request | Receiving, progress: Callable[[], object]) -> bool:
    ready: bool = request.Test()
    if not ready:
        progress()
    return ready


def done() -> None:
    """Finish what is finished."""


def parts_of(flat: Buffer, nbytes: int = PART_BYTES) -> Iterator[Buffer]:
    """The buffer in parts of so many bytes."""
    step = nbytes // flat.itemsize
    return (flat[start : start + step] for start in range(0, flat.size, step))


def bytes_of(buffer: Buffer) -> Buffer:
    """The bytes of a buffer, one-dimensional."""
    return buffer.reshape(-1).view(np.uint8)


@contextmanager
def as_message(buffer: Buffer) -> Iterator[list[Any]]:
    """All bytes of ``buffer`` for one call of MPI, of any number: those beyond 32 bits are one item of a type."""
    flat = bytes_of(buffer)
    if flat.nbytes <= _MAX_COUNT:
        yield [flat, MPI.BYTE]
        return
    parts, rest = divmod(flat.nbytes, PART_BYTES)
    part = MPI.BYTE.Create_contiguous(PART_BYTES)
    whole = MPI.Datatype.Create_struct([parts, rest], [0, parts * PART_BYTES], [part, MPI.BYTE]).Commit()
    part.Free()
    try:
        yield [flat, 1, whole]
    finally:
        whole.Free()  # by MPI, when the operations that use it are complete


def pattern(source: int, tag: int) -> tuple[int, int]:
    """The same in the numbers of MPI."""
    return MPI.ANY_SOURCE if source == ANY else source, MPI.ANY_TAG if tag == ANY else tag


def envelope_of(status: MPI.Status) -> Envelope:
    """What a status tells of a message."""
    return Envelope(status.source, status.tag, status.Get_elements(MPI.BYTE))  # a count would be 32 bits wide
