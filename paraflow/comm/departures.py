"""How the ranks of an MPI world hear that another one takes no further part.

MPI itself says nothing: who waits for a rank whose program has ended waits for ever. So a rank that leaves tells it on
an MPI communicator of its own, and those that wait look there now and then. It may have left after it did its part in
the call that others are in, so it tells how many collectives it has called on each communicator.

It is also how communicators are given back, of which an MPI library has some 2000. To free one is collective, and ranks
leave in their own time and order. So the ranks of a communicator, when they meet to split it, free those parts of it
that each of them has heard all others to have left, with nothing under way: see `Departures.over`. What a rank never
leaves, as after an error, is never freed, nor is what it left a message or a collective in that others did not take
part in: the communicator that next gets its number in the library would take that for its own.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mpi4py import MPI

from paraflow.comm.waiting import wait_until

Path = tuple[int, ...]
"""Names a communicator on all its ranks: the path of the one that it was split from, which split, and a member."""


@dataclass(eq=False)
class Use:
    """What this rank does with a communicator of which the ranks ``members`` of the world are part.

    ``calls`` counts the collectives that it has called there; ``pending`` those of them that are not complete and the
    messages that it has sent, less the messages that it has received.
    """

    comm: MPI.Comm
    members: list[int]
    calls: int = 0
    pending: int = 0


class Departure(NamedTuple):
    """A rank has left the communicator ``path`` and all that were split from it, with a ``word``, which may be empty.

    ``calls`` is the number of collectives that it has called on each of them, ``pending`` the sum over them.
    """

    path: Path
    calls: dict[Path, int]
    pending: int
    word: bytes


class Departures:
    """This rank's ear for those who leave, and its own word; ``comm`` is used by nothing else.

    A process that ends tells that in its last moment, and stays until all have ended: no message is left under way.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.uses: dict[Path, Use] = {}
        self._comm = comm
        self._heard: dict[int, list[Departure]] = {}
        self._left: dict[Path, Departure] = {}  # by this rank
        self._told: list[MPI.Request] = []
        self._process = os.getpid()
        atexit.register(self._end)

    def leave(self, path: Path, word: bytes) -> None:
        """Tell the members of the communicator that this rank has left it, for the first time; it waits for nobody."""
        uses = {at: use for at, use in self.uses.items() if at[: len(path)] == path}
        calls = {at: use.calls for at, use in uses.items()}
        self._left[path] = departure = Departure(path, calls, sum(use.pending for use in uses.values()), word)
        self._told = [request for request in self._told if not request.Test()]
        for other in self.uses[path].members:
            if other != self._comm.rank:
                self._told.append(self._comm.isend(departure, other))

    def over(self, path: Path) -> list[int]:
        """The numbers of those splits of ``path`` whose part all its ranks have left, as far as this rank has heard."""
        self.listen()
        return [part[-2] for part in self._left if part != path == part[:-2] and self._is_over(part)]

    def _is_over(self, part: Path) -> bool:
        own = self._left[part]
        others = [left for heard in self._heard.values() for left in heard if left.path == part]
        return (
            len(others) == len(self.uses[part].members) - 1
            and own.pending + sum(left.pending for left in others) == 0
            and all(left.calls[at] == own.calls[at] for left in others for at in left.calls.keys() & own.calls.keys())
        )

    def free(self, path: Path, number: int) -> None:
        """Free this rank's part of split ``number`` of ``path``, and the parts of that, in one order on all ranks."""
        start = *path, number
        for at in sorted(at for at in self.uses if at[: len(start)] == start):
            self.uses.pop(at).comm.Free()
            self._left.pop(at, None)
        for heard in self._heard.values():
            heard[:] = [left for left in heard if left.path[: len(start)] != start]

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
            for left in departures:
                if path[: len(left.path)] != left.path or rank not in members:
                    continue
                if number is None or left.calls.get(path, 0) < number:
                    return members.index(rank), left.word
        return None

    def _end(self) -> None:
        if os.getpid() != self._process or MPI.Is_finalized():  # a child that was forked has no part
            return
        self.leave((), b"")

        def over() -> bool:
            self.listen()
            ended = [rank for rank, heard in self._heard.items() if any(not left.path for left in heard)]
            return len(ended) == self._comm.size - 1 and MPI.Request.Testall(self._told)

        wait_until(over)
