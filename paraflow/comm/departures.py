"""How the ranks of an MPI world hear that another one takes no further part.

MPI itself says nothing: who waits for a rank whose program has ended waits for ever. So a rank that leaves tells it on
an MPI communicator of its own, and those that wait look there now and then. It may have left after it did its part in
the call that others are in, so it tells how many collectives it has called on each communicator.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mpi4py import MPI

from paraflow.comm.waiting import wait_until

Path = tuple[int, ...]
"""Names a communicator on all its ranks; it begins with the path of the one that it was split from."""


class Departure(NamedTuple):
    """A rank has left the communicator ``path`` and all that were split from it, with a ``word``, which may be empty.

    ``calls`` is the number of collectives that it has called on each of them.
    """

    path: Path
    calls: dict[Path, int]
    word: bytes


class Departures:
    """This rank's ear for those who leave, and its own word; ``comm`` is used by nothing else.

    A process that ends tells that in its last moment, and stays until all have ended: no message is left under way.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.calls: dict[Path, int] = {}  # collectives of this rank, by communicator
        self._comm = comm
        self._heard: dict[int, list[Departure]] = {}
        self._told: list[MPI.Request] = []
        self._process = os.getpid()
        atexit.register(self._end)

    def leave(self, path: Path, members: Iterable[int], word: bytes) -> None:
        """Tell ``members``, ranks of the world, that this rank has left; it waits for nobody."""
        calls = {at: count for at, count in self.calls.items() if at[: len(path)] == path}
        departure = Departure(path, calls, word)
        self._told += [self._comm.isend(departure, other) for other in members if other != self._comm.rank]

    def listen(self) -> None:
        """Take the messages that are here. As any call of MPI it lets messages under way come on."""
        while (message := self._comm.improbe()) is not None:
            status = MPI.Status()
            departure = message.recv(status)
            self._heard.setdefault(status.source, []).append(departure)

    def missing(self, path: Path, members: Sequence[int], number: int | None) -> tuple[int, bytes] | None:
        """The place and the word of a member that will not make the call ``number`` (from 1) on the communicator.

        Without a number: of a member that has left it.
        """
        for rank, departures in self._heard.items():
            for left, calls, word in departures:
                if path[: len(left)] != left or rank not in members:
                    continue
                if number is None or calls.get(path, 0) < number:
                    return members.index(rank), word
        return None

    def _end(self) -> None:
        if os.getpid() != self._process or MPI.Is_finalized():  # a child that was forked has no part
            return
        self.leave((), range(self._comm.size), b"")

        def over() -> bool:
            self.listen()
            ended = [rank for rank, heard in self._heard.items() if any(not left.path for left in heard)]
            return len(ended) == self._comm.size - 1 and MPI.Request.Testall(self._told)

        wait_until(over)
