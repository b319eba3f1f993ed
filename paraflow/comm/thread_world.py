"""What the ranks of a world of threads share: its end, and who meets whom in which collective."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from paraflow.comm.checks import left
from paraflow.comm.communicator import Progress
from paraflow.comm.mailbox import Mailbox
from paraflow.errors import RankEnded, RanksDisagree, WorldAborted

T = TypeVar("T")

_BETWEEN_PROGRESS = 1e-3  # seconds


class ThreadWorld:
    """The threads of one run. Every field is read and written with ``changed`` held."""

    def __init__(self, size: int, ranks_per_node: int) -> None:
        self.size = size
        self.ranks_per_node = ranks_per_node
        self.changed = threading.Condition()
        self.failure: tuple[int | None, BaseException] | None = None
        self.returned: set[int] = set()
        self.groups: list[ThreadGroup] = []
        self._waiting: dict[int, tuple[int, str]] = {}  # by thread, since a rank may have several

    def fail(self, rank: int | None, error: BaseException) -> None:
        """End the world; the first failure counts."""
        with self.changed:
            if self.failure is None:
                self.failure = rank, error
            self.changed.notify_all()

    def leave(self, rank: int) -> None:
        """Note that ``rank`` has returned."""
        with self.changed:
            self.returned.add(rank)
            self.changed.notify_all()
            if self.failure is None:  # else it returned because of that, and not for a disagreement
                for group in self.groups:
                    group.settle_all()

    def check_failure(self, call: str) -> None:
        """Raise WorldAborted where a rank has failed."""
        if self.failure is not None:
            rank, error = self.failure
            who = "the world was ended" if rank is None else f"rank {rank} failed"
            raise WorldAborted(f"{who} while this rank was in {call}: {type(error).__name__}: {error}", rank)

    def wait(self, rank: int, call: str, ready: Callable[[], T | None], progress: Progress = None) -> T:
        """What ``ready`` returns, called with the world held, as soon as that is not None."""
        thread = threading.get_ident()
        with self.changed:
            outer = self._waiting.get(thread)  # where this is what a longer wait does meanwhile
            self._waiting[thread] = rank, call
        try:
            while True:
                with self.changed:
                    if (found := ready()) is not None:
                        return found
                    self.check_failure(call)
                    self.changed.wait(None if progress is None else _BETWEEN_PROGRESS)
                if progress is not None:
                    progress()
        finally:
            with self.changed:
                del self._waiting[thread]
                if outer is not None:
                    self._waiting[thread] = outer

    def whereabouts(self) -> str:
        """Where each rank is, for the report of a timeout."""
        with self.changed:
            calls: dict[int, list[str]] = {}
            for rank, call in self._waiting.values():
                calls.setdefault(rank, []).append(call)
            places = []
            for rank in range(self.size):
                if rank in calls:
                    places.append(f"rank {rank} waits in {' and in '.join(calls[rank])}")
                elif rank in self.returned:
                    places.append(f"rank {rank} has returned")
                else:
                    places.append(f"rank {rank} is outside of its communicator")
            return "; ".join(places)


class Collective:
    """One collective operation of a group: the k-th that each rank calls."""

    def __init__(self, index: int, combine: Callable[[list[Any]], Any]) -> None:
        self.index = index
        self.combine = combine
        self.calls: dict[int, str] = {}
        self.shares: dict[int, Any] = {}
        self.settled = False
        self.result: Any = None
        self.disagreement: RanksDisagree | None = None

    def settle(self, members: Sequence[int]) -> None:
        """Combine the shares in rank order, or state how the calls differ; no rank is missing that may still come."""
        ranks = range(len(members))
        if len(self.calls) == len(members) and len(set(self.calls.values())) == 1:
            self.result = self.combine([self.shares[rank] for rank in ranks])
        else:
            self.disagreement = self._disagreement(members)
        self.settled = True

    def end(self, ended: RankEnded) -> None:
        """There will be no result, as a rank has left."""
        self.disagreement, self.settled = ended, True

    def _disagreement(self, members: Sequence[int]) -> RanksDisagree:
        ranks: dict[str, list[str]] = {}
        for rank, member in enumerate(members):
            ranks.setdefault(self.calls.get(rank, "returned without a call"), []).append(str(member))
        who = [f"rank{'s' * (len(group) > 1)} {', '.join(group)}: {call}" for call, group in ranks.items()]
        text = f"the ranks disagree on collective {self.index}: {'; '.join(who)}"
        missing = next((rank for rank in range(len(members)) if rank not in self.calls), None)
        return RanksDisagree(text) if missing is None else RankEnded(text, missing)


class ThreadGroup:
    """The ranks of one communicator: ``members`` are their numbers in the world, which the messages of errors use."""

    def __init__(self, world: ThreadWorld, members: Sequence[int], whole: ThreadGroup | None = None) -> None:
        self.world = world
        self.members = members
        self._whole = whole  # from which this one was split
        self._left: dict[int, bytes] = {}  # by rank of the world
        self.mailboxes = [Mailbox() for _ in members]
        self._open: dict[int, Collective] = {}
        self._entered = [0] * len(members)
        world.groups.append(self)

    def neighbours(self, rank: int) -> list[int]:
        """The ranks on the node of ``rank``."""
        nodes = [member // self.world.ranks_per_node for member in self.members]
        return [other for other, node in enumerate(nodes) if node == nodes[rank]]

    def split(self, colors: list[int]) -> dict[int, ThreadGroup]:
        """Groups of the members of each color."""
        parts: dict[int, list[int]] = {}
        for member, color in zip(self.members, colors, strict=True):
            parts.setdefault(color, []).append(member)
        return {color: ThreadGroup(self.world, members, self) for color, members in parts.items()}

    def has_returned(self, rank: int) -> bool:
        """Whether ``rank`` will make no further call; with the world held."""
        return self.members[rank] in self.world.returned

    def leave(self, rank: int, word: bytes) -> None:
        """Note that ``rank`` takes no further part; the first word counts. A group that all have left is forgotten."""
        with self.world.changed:
            self._left.setdefault(self.members[rank], word)
            for group in self.world.groups:
                group.settle_all()
            if len(self._left) == len(self.members):
                self.world.groups = [group for group in self.world.groups if not group.is_part_of(self)]
            self.world.changed.notify_all()

    def is_part_of(self, other: ThreadGroup) -> bool:
        """Whether it is ``other``, or was split from that, perhaps by way of others."""
        return self is other or (self._whole is not None and self._whole.is_part_of(other))

    def is_gone(self, rank: int) -> bool:
        """Whether ``rank`` has left or returned; with the world held."""
        return self._word(rank) is not None or self.has_returned(rank)

    def check_here(self, rank: int, call: str) -> None:
        """Raise RankEnded where ``rank`` has left or returned; with the world held."""
        self.world.check_failure(call)  # those who have returned since did so because of that
        if self.is_gone(rank):
            raise left(self.members[rank], call, rank, self._word(rank) or b"")

    def _word(self, rank: int) -> bytes | None:
        """What ``rank`` has said when it left this group, or one that this was split from; None where it is here."""
        group: ThreadGroup | None = self
        while group is not None:
            if (word := group._left.get(self.members[rank])) is not None:
                return word
            group = group._whole
        return None

    @contextmanager
    def alive(self, call: str) -> Iterator[None]:
        """Hold the world for a call that does not wait; raises WorldAborted where a rank has failed."""
        with self.world.changed:
            self.world.check_failure(self._placed(call))
            yield

    def wait(self, rank: int, call: str, ready: Callable[[], T | None], progress: Progress = None) -> T:
        """ThreadWorld.wait for a rank of this group."""
        return self.world.wait(self.members[rank], self._placed(call), ready, progress)

    def enter(self, rank: int, call: str, share: Any, combine: Callable[[list[Any]], Any]) -> Collective:
        """Take part in the next collective of ``rank``, whose result is ``combine`` of the shares by rank."""
        with self.alive(call):
            index = self._entered[rank]
            self._entered[rank] += 1
            collective = self._open.setdefault(index, Collective(index, combine))
            collective.calls[rank] = call
            collective.shares[rank] = share
            self._settle(collective)
            return collective

    def finish(self, rank: int, call: str, collective: Collective, progress: Progress = None) -> Any:
        """Wait for the result of ``collective``; raises RanksDisagree where there can be none."""
        self.wait(rank, call, lambda: collective.settled or None, progress)
        if collective.disagreement is not None:
            raise collective.disagreement
        return collective.result

    def settle_all(self) -> None:
        """Settle the collectives that no rank will join any more; with the world held."""
        for collective in list(self._open.values()):
            self._settle(collective)

    def _settle(self, collective: Collective) -> None:
        missing = [rank for rank in range(len(self.members)) if rank not in collective.calls]
        gone = next((rank for rank in missing if self._word(rank) is not None), None)
        if gone is not None:  # those who come later find it settled
            call = next(iter(collective.calls.values()))
            collective.end(left(self.members[gone], call, gone, self._word(gone) or b""))
            self.world.changed.notify_all()
        elif all(self.has_returned(rank) for rank in missing):
            del self._open[collective.index]
            collective.settle(self.members)
            self.world.changed.notify_all()

    def _placed(self, call: str) -> str:
        if len(self.members) == self.world.size:
            return call
        return f"{call} among ranks {', '.join(map(str, self.members))}"
