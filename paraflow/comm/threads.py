"""A world of threads in one process: the semantics of MPI, and an error where MPI would hang, for tests."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, NoReturn, TypeVar

import numpy as np

from paraflow.comm import checks
from paraflow.comm.communicator import ANY, Buffer, Communicator, Envelope, Op, Progress, Request, SharedMemory, Waited
from paraflow.comm.mailbox import Complete, Receiving
from paraflow.comm.solo import allocate_parts
from paraflow.comm.thread_world import Collective, ThreadGroup, ThreadWorld
from paraflow.errors import InvalidArgumentError

T = TypeVar("T")

_REDUCE: dict[str, np.ufunc] = {"sum": np.add, "max": np.maximum, "min": np.minimum}
_LAST_WORDS = 1.0  # seconds that ranks woken by a timeout have to unwind


def run_threads(
    size: int, function: Callable[..., T], *args: Any, timeout: float = 60.0, ranks_per_node: int | None = None
) -> list[T]:
    """Run ``function(comm, *args)`` on ``size`` threads, the ranks of one world, and return the results in rank order.

    The world looks like one node, or like nodes of ``ranks_per_node`` ranks each, of which the last may have fewer.

    The exception of the first rank that fails is raised here, with a note naming the rank; the ranks that wait in a
    call of their communicator, or enter one later, get WorldAborted. Where the ranks have not all returned after
    ``timeout`` seconds, TimeoutError says in which call each of them waits. A rank that then still computes is
    left behind as a daemon thread.
    """
    if size < 1:
        raise InvalidArgumentError(f"a world has at least one rank, not {size}")
    if ranks_per_node is not None and ranks_per_node < 1:
        raise InvalidArgumentError(f"a node has at least one rank, not {ranks_per_node}")
    world = ThreadWorld(size, ranks_per_node or size)
    everyone = ThreadGroup(world, range(size))
    results: dict[int, T] = {}

    def run_rank(rank: int) -> None:
        try:
            results[rank] = function(ThreadCommunicator(everyone, rank), *args)
        except BaseException as error:
            world.fail(rank, error)
        else:
            world.leave(rank)

    threads = [
        threading.Thread(target=run_rank, args=(rank,), name=f"rank {rank}", daemon=True) for rank in range(size)
    ]
    try:
        for thread in threads:
            thread.start()
        _join(threads, timeout)
        if any(thread.is_alive() for thread in threads):
            world.fail(None, TimeoutError(f"the world did not end in {timeout:g} s: {world.whereabouts()}"))
            _join(threads, _LAST_WORDS)
    except BaseException as error:
        world.fail(None, error)
        raise
    if world.failure is not None:
        rank_failed, failure = world.failure
        if rank_failed is not None:
            failure.add_note(f"raised on rank {rank_failed} of {size}")
        raise failure
    return [results[rank] for rank in range(size)]


def _join(threads: list[threading.Thread], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


class _Pending:
    """An allreduce that other ranks have yet to join."""

    def __init__(self, group: ThreadGroup, rank: int, call: str, collective: Collective) -> None:
        self._finish = partial(group.finish, rank, f"wait of {call}", collective)
        self._collective = collective

    def wait(self, progress: Progress = None) -> None:
        """Block until every rank has called the operation."""
        self._finish(progress)

    def test(self) -> bool:
        """Whether every rank has called the operation."""
        if self._collective.settled:
            self.wait()
        return self._collective.settled


class ThreadCommunicator(Communicator):
    """One rank of a world of threads, made by run_threads.

    A collective on which the ranks disagree, or that a rank has left for good by returning, raises RanksDisagree
    on every rank that called it, naming the ranks and their calls. Messages are copied when they are sent.
    """

    world = "threads"
    mpi_library = "none loaded: the ranks are threads"

    def __init__(self, group: ThreadGroup, rank: int) -> None:
        self._group = group
        self.rank = rank
        self.size = len(group.members)

    def barrier(self) -> None:
        """Return when every rank has called it."""
        self._meet("barrier()", None, _nothing)

    def allreduce(self, buffer: Buffer, op: Op = "sum") -> None:
        """Reduce in the order of the ranks."""
        checks.check_reducible(buffer, op)
        self._meet(f"allreduce({op}) of {checks.describe(buffer)}", buffer, _reducer(op))

    def iallreduce(self, buffer: Buffer, op: Op = "sum") -> Request:
        """Reduce in the order of the ranks; the last rank to call it does the work."""
        checks.check_reducible(buffer, op)
        call = f"iallreduce({op}) of {checks.describe(buffer)}"
        return _Pending(self._group, self.rank, call, self._group.enter(self.rank, call, buffer, _reducer(op)))

    def broadcast(self, buffer: Buffer, root: int = 0) -> None:
        """Copy the buffer of ``root`` into those of the other ranks."""
        checks.check_buffer(buffer, written=True)
        checks.check_rank(root, self.size, "root")

        def copy(buffers: list[Buffer]) -> None:
            for rank, other in enumerate(buffers):
                if rank != root:
                    other[...] = buffers[root].reshape(other.shape)

        self._meet(f"broadcast(root={root}) of {checks.describe(buffer)}", buffer, copy)

    def allgather(self, value: object) -> list[Any]:
        """Copies of the values of all ranks."""
        shares = self._meet("allgather()", pickle.dumps(value), list)
        return [pickle.loads(share) for share in shares]

    def allgather_into(self, part: Buffer, whole: Buffer) -> None:
        """Copy the parts of all ranks."""
        checks.check_gather(part, whole, self.size)

        def copy(pairs: list[tuple[Buffer, Buffer]]) -> None:
            for _, filled in pairs:
                rows = filled.reshape(len(pairs), -1) if filled.size else filled
                for row, (other, _) in zip(rows, pairs, strict=False):
                    row[...] = other.reshape(-1)

        self._meet(f"allgather_into() of {checks.describe(part)}", (part, whole), copy)

    def broadcast_object(self, value: object, root: int = 0) -> Any:
        """A copy of the value of ``root``."""
        checks.check_rank(root, self.size, "root")
        share = pickle.dumps(value) if self.rank == root else b""
        return pickle.loads(self._meet(f"broadcast_object(root={root})", share, lambda shares: shares[root]))

    def isend(self, buffer: Buffer, dest: int, tag: int = 0) -> Request:
        """Put a copy of ``buffer`` into the mailbox of ``dest``; complete at once."""
        checks.check_message(buffer, dest, tag, self.size)
        with self._group.alive(f"send(dest={dest}, tag={tag})"):
            self._group.mailboxes[dest].put(self.rank, tag, buffer)
            self._group.world.changed.notify_all()
        return Complete()

    def recv(self, buffer: Buffer, source: int = ANY, tag: int = ANY) -> Envelope:
        """Wait for a message and copy it into ``buffer``."""
        checks.check_buffer(buffer, written=True)
        checks.check_pattern(source, tag, self.size)
        return self._take(buffer, source, tag)

    def irecv(self, buffer: Buffer, source: int, tag: int = 0) -> Request:
        """Copy the message into ``buffer`` when it is there."""
        checks.check_buffer(buffer, written=True)
        checks.check_pattern(source, tag, self.size)
        return Receiving(partial(self.iprobe, source, tag), partial(self._take, buffer, source, tag))

    def _take(self, buffer: Buffer, source: int, tag: int, progress: Progress = None) -> Envelope:
        mailbox = self._group.mailboxes[self.rank]
        call = checks.describe_pattern("recv", source, tag)
        take = partial(mailbox.take, source, tag)
        look = partial(self._unless_left, take, source, call)
        return self._group.wait(self.rank, call, look, progress).deliver(buffer)

    def probe(self, source: int = ANY, tag: int = ANY, awaited: Collection[int] = ()) -> Envelope:
        """Wait for a message."""
        checks.check_pattern(source, tag, self.size)
        mailbox = self._group.mailboxes[self.rank]
        call = checks.describe_pattern("probe", source, tag)

        def find() -> Envelope | None:
            one = source
            if source == ANY:
                one = next((rank for rank in awaited if self._group.is_gone(rank)), ANY)
            return self._unless_left(partial(mailbox.find, one, tag), one, call)

        return self._group.wait(self.rank, call, find)

    def iprobe(self, source: int = ANY, tag: int = ANY) -> Envelope | None:
        """The first message that matches, or None."""
        checks.check_pattern(source, tag, self.size)
        with self._group.alive(checks.describe_pattern("iprobe", source, tag)):
            return self._group.mailboxes[self.rank].find(source, tag)

    def node(self) -> tuple[int, int]:
        """The place among the ranks that run_threads has put on one node."""
        neighbours = self._group.neighbours(self.rank)
        return neighbours.index(self.rank), len(neighbours)

    def split(self, color: int) -> Communicator:
        """A world in the same run of threads, with messages and collectives of its own."""
        checks.check_color(color)
        groups = self._meet("split()", color, self._group.split)
        return self._part(groups[color])

    def split_node(self) -> Communicator:
        """A world in the same run of threads."""
        node = self._group.neighbours(self.rank)[0]
        return self._part(self._meet("split_node()", node, self._group.split)[node])

    def share(self, nbytes: int, flags: int = 0) -> SharedMemory:
        """Memory of this process."""
        sizes = checks.check_share(self, nbytes, flags)
        contents = self._meet("share()", None, lambda _: _Contents(sizes, flags))
        return ThreadMemory(self._group, self.rank, contents)

    def leave(self, word: bytes) -> None:
        """Wake those that wait."""
        self._group.leave(self.rank, word)

    def abort(self, code: int) -> NoReturn:
        """Fail with SystemExit, which run_threads raises again."""
        error = SystemExit(code)
        self._group.world.fail(self._group.members[self.rank], error)
        raise error

    def _unless_left(self, look: Callable[[], T | None], source: int, call: str) -> T | None:
        """What ``look`` finds; raises RankEnded where that is nothing and ``source`` has left."""
        if (found := look()) is None and source != ANY:
            self._group.check_here(source, call)
        return found

    def _part(self, group: ThreadGroup) -> ThreadCommunicator:
        return ThreadCommunicator(group, group.members.index(self._group.members[self.rank]))

    def _meet(self, call: str, share: Any, combine: Callable[[list[Any]], Any]) -> Any:
        return self._group.finish(self.rank, call, self._group.enter(self.rank, call, share, combine))


class _Contents:
    """What the ranks share of a ThreadMemory. All but the parts is read and written with the world held."""

    def __init__(self, sizes: list[int], flags: int) -> None:
        self.parts = allocate_parts(sizes)
        self.flags = flags
        self.values = [[0] * flags for _ in sizes]
        self.ended: set[int] = set()


class ThreadMemory(SharedMemory):
    """Shared memory of threads, whose flags are waited for as messages are."""

    def __init__(self, group: ThreadGroup, rank: int, contents: _Contents) -> None:
        self.parts = contents.parts
        self._group = group
        self._rank = rank
        self._contents = contents

    def post(self, flag: int, value: int) -> None:
        """Store the value and wake those that wait."""
        checks.check_flag(flag, self._contents.flags)
        values = self._contents.values[self._rank]
        with self._group.alive(f"post(flag={flag}, value={value}) in shared memory"):
            checks.check_grows(flag, values[flag], value)
            values[flag] = value
            self._group.world.changed.notify_all()

    def wait(self, flag: int, value: int, progress: Progress = None) -> Waited | None:
        """Wait for one rank after the other; the last that was missing came last."""
        call = f"wait(flag={flag}, value={value}) in shared memory"
        return self._wait(range(len(self.parts)), call, flag, value, progress)

    def wait_for(self, rank: int, flag: int, value: int, progress: Progress = None) -> Waited | None:
        """Wait for the rank."""
        checks.check_rank(rank, len(self.parts), "rank")
        call = f"wait_for(rank={rank}, flag={flag}, value={value}) in shared memory"
        return self._wait([rank], call, flag, value, progress)

    def posted(self, rank: int, flag: int) -> int:
        """Load the value."""
        checks.check_rank(rank, len(self.parts), "rank")
        checks.check_flag(flag, self._contents.flags)
        with self._group.alive(f"posted(rank={rank}, flag={flag}) in shared memory"):
            return self._contents.values[rank][flag]

    def close(self) -> None:
        """Wake those that wait."""
        with self._group.world.changed:
            self._contents.ended.add(self._rank)
            self._group.world.changed.notify_all()

    def _wait(self, ranks: Iterable[int], call: str, flag: int, value: int, progress: Progress) -> Waited | None:
        start = time.perf_counter()
        last = None
        for rank in ranks:
            if self.posted(rank, flag) < value:
                self._group.wait(self._rank, call, partial(self._reached, rank, flag, value), progress)
                last = rank
        return None if last is None else Waited(time.perf_counter() - start, last)

    def _reached(self, rank: int, flag: int, value: int) -> bool | None:
        reached = self._contents.values[rank][flag]
        if reached >= value:
            return True
        if rank in self._contents.ended or self._group.has_returned(rank):
            raise checks.ended_part(rank, flag, reached, value)
        return None


def _nothing(shares: list[None]) -> None:
    pass


def _reducer(op: Op) -> Callable[[list[Buffer]], None]:
    def reduce(buffers: list[Buffer]) -> None:
        dtype = np.float32 if checks.is_bfloat16(buffers[0]) else buffers[0].dtype
        total = buffers[0].astype(dtype).reshape(-1)
        with np.errstate(all="ignore"):  # overflow and NaN are results here, as they are in MPI
            for buffer in buffers[1:]:
                _REDUCE[op](total, buffer.reshape(-1), out=total)
        for buffer in buffers:
            buffer[...] = total.reshape(buffer.shape)

    return reduce
