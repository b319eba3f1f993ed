"""A world of threads in one process: the semantics of MPI, and an error where MPI would hang, for tests."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar

import numpy as np

from paraflow.comm import checks
from paraflow.comm.communicator import ANY, Buffer, Communicator, Envelope, Op, Request
from paraflow.comm.mailbox import Complete, Mailbox
from paraflow.errors import InvalidArgumentError, RanksDisagree, WorldAborted

T = TypeVar("T")

_REDUCE: dict[str, np.ufunc] = {"sum": np.add, "max": np.maximum, "min": np.minimum}
_LAST_WORDS = 1.0  # seconds that ranks woken by a timeout have to unwind


def run_threads(size: int, function: Callable[..., T], *args: Any, timeout: float = 60.0) -> list[T]:
    """Run ``function(comm, *args)`` on ``size`` threads, the ranks of one world, and return the results in rank order.

    The exception of the first rank that fails is raised here, with a note naming the rank; the ranks that wait in a
    call of their communicator, or enter one later, get WorldAborted. Where the ranks have not all returned after
    ``timeout`` seconds, TimeoutError says in which call each of them waits. A rank that then still computes is
    left behind as a daemon thread.
    """
    if size < 1:
        raise InvalidArgumentError(f"a world has at least one rank, not {size}")
    world = _World(size)
    results: dict[int, T] = {}

    def run_rank(rank: int) -> None:
        try:
            results[rank] = function(ThreadCommunicator(world, rank), *args)
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


class _Collective:
    """One collective operation of the world: the k-th that each rank calls."""

    def __init__(self, index: int, combine: Callable[[list[Any]], Any]) -> None:
        self.index = index
        self.combine = combine
        self.calls: dict[int, str] = {}
        self.shares: dict[int, Any] = {}
        self.settled = False
        self.result: Any = None
        self.disagreement: str | None = None

    def settle(self, size: int) -> None:
        """Combine the shares in rank order, or state how the calls differ; no rank is missing that may still come."""
        if len(self.calls) == size and len(set(self.calls.values())) == 1:
            self.result = self.combine([self.shares[rank] for rank in range(size)])
        else:
            self.disagreement = self._disagreement(size)
        self.settled = True

    def _disagreement(self, size: int) -> str:
        ranks: dict[str, list[str]] = {}
        for rank in range(size):
            ranks.setdefault(self.calls.get(rank, "returned without a call"), []).append(str(rank))
        who = [f"rank{'s' * (len(group) > 1)} {', '.join(group)}: {call}" for call, group in ranks.items()]
        return f"the ranks disagree on collective {self.index}: {'; '.join(who)}"


class _World:
    """What the ranks share. Every field is read and written with ``changed`` held."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = threading.Condition()
        self.mailboxes = [Mailbox() for _ in range(size)]
        self.failure: tuple[int | None, BaseException] | None = None
        self._open: dict[int, _Collective] = {}
        self._entered = [0] * size
        self._returned: set[int] = set()
        self._waiting: dict[int, tuple[int, str]] = {}  # by thread, since a rank may have several

    def fail(self, rank: int | None, error: BaseException) -> None:
        with self.changed:
            if self.failure is None:
                self.failure = rank, error
            self.changed.notify_all()

    def leave(self, rank: int) -> None:
        with self.changed:
            self._returned.add(rank)
            if self.failure is None:  # else it returned because of that, and not for a disagreement
                for collective in list(self._open.values()):
                    self._settle(collective)

    @contextmanager
    def alive(self, call: str) -> Iterator[None]:
        """Hold the world for a call that does not wait; raises WorldAborted where a rank has failed."""
        with self.changed:
            self._check_failure(call)
            yield

    def enter(self, rank: int, call: str, share: Any, combine: Callable[[list[Any]], Any]) -> _Collective:
        with self.alive(call):
            index = self._entered[rank]
            self._entered[rank] += 1
            collective = self._open.setdefault(index, _Collective(index, combine))
            collective.calls[rank] = call
            collective.shares[rank] = share
            self._settle(collective)
            return collective

    def finish(self, rank: int, call: str, collective: _Collective) -> Any:
        self.wait(rank, call, lambda: collective.settled or None)
        if collective.disagreement is not None:
            raise RanksDisagree(collective.disagreement)
        return collective.result

    def wait(self, rank: int, call: str, ready: Callable[[], T | None]) -> T:
        with self.changed:
            thread = threading.get_ident()
            self._waiting[thread] = rank, call
            try:
                while (found := ready()) is None:
                    self._check_failure(call)
                    self.changed.wait()
            finally:
                del self._waiting[thread]
            return found

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
                elif rank in self._returned:
                    places.append(f"rank {rank} has returned")
                else:
                    places.append(f"rank {rank} is outside of its communicator")
            return "; ".join(places)

    def _settle(self, collective: _Collective) -> None:
        if collective.calls.keys() | self._returned == set(range(self.size)):
            del self._open[collective.index]
            collective.settle(self.size)
            self.changed.notify_all()

    def _check_failure(self, call: str) -> None:
        if self.failure is not None:
            rank, error = self.failure
            who = "the world was ended" if rank is None else f"rank {rank} failed"
            raise WorldAborted(f"{who} while this rank was in {call}: {type(error).__name__}: {error}", rank)


class _Pending:
    """An allreduce that other ranks have yet to join."""

    def __init__(self, world: _World, rank: int, call: str, collective: _Collective) -> None:
        self._finish = partial(world.finish, rank, f"wait of {call}", collective)

    def wait(self) -> None:
        """Block until every rank has called the operation."""
        self._finish()


class ThreadCommunicator(Communicator):
    """One rank of a world of threads, made by run_threads.

    A collective on which the ranks disagree, or that a rank has left for good by returning, raises RanksDisagree
    on every rank that called it, naming the ranks and their calls. Messages are copied when they are sent.
    """

    world = "threads"

    def __init__(self, world: _World, rank: int) -> None:
        self._world = world
        self.rank = rank
        self.size = world.size

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
        return _Pending(self._world, self.rank, call, self._world.enter(self.rank, call, buffer, _reducer(op)))

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

    def broadcast_object(self, value: object, root: int = 0) -> Any:
        """A copy of the value of ``root``."""
        checks.check_rank(root, self.size, "root")
        share = pickle.dumps(value) if self.rank == root else b""
        return pickle.loads(self._meet(f"broadcast_object(root={root})", share, lambda shares: shares[root]))

    def isend(self, buffer: Buffer, dest: int, tag: int = 0) -> Request:
        """Put a copy of ``buffer`` into the mailbox of ``dest``; complete at once."""
        checks.check_message(buffer, dest, tag, self.size)
        with self._world.alive(f"send(dest={dest}, tag={tag})"):
            self._world.mailboxes[dest].put(self.rank, tag, buffer)
            self._world.changed.notify_all()
        return Complete()

    def recv(self, buffer: Buffer, source: int = ANY, tag: int = ANY) -> Envelope:
        """Wait for a message and copy it into ``buffer``."""
        checks.check_buffer(buffer, written=True)
        checks.check_pattern(source, tag, self.size)
        mailbox = self._world.mailboxes[self.rank]
        call = checks.describe_pattern("recv", source, tag)
        return self._world.wait(self.rank, call, lambda: mailbox.take(source, tag)).deliver(buffer)

    def probe(self, source: int = ANY, tag: int = ANY) -> Envelope:
        """Wait for a message."""
        checks.check_pattern(source, tag, self.size)
        mailbox = self._world.mailboxes[self.rank]
        call = checks.describe_pattern("probe", source, tag)
        return self._world.wait(self.rank, call, lambda: mailbox.find(source, tag))

    def iprobe(self, source: int = ANY, tag: int = ANY) -> Envelope | None:
        """The first message that matches, or None."""
        checks.check_pattern(source, tag, self.size)
        with self._world.alive(checks.describe_pattern("iprobe", source, tag)):
            return self._world.mailboxes[self.rank].find(source, tag)

    def node(self) -> tuple[int, int]:
        """All ranks share one memory."""
        return self.rank, self.size

    def abort(self, code: int) -> NoReturn:
        """Fail with SystemExit, which run_threads raises again."""
        error = SystemExit(code)
        self._world.fail(self.rank, error)
        raise error

    def _meet(self, call: str, share: Any, combine: Callable[[list[Any]], Any]) -> Any:
        return self._world.finish(self.rank, call, self._world.enter(self.rank, call, share, combine))


def _nothing(shares: list[None]) -> None:
    pass


def _reducer(op: Op) -> Callable[[list[Buffer]], None]:
    def reduce(buffers: list[Buffer]) -> None:
        total = buffers[0].copy().reshape(-1)
        with np.errstate(all="ignore"):  # overflow and NaN are results here, as they are in MPI
            for buffer in buffers[1:]:
                _REDUCE[op](total, buffer.reshape(-1), out=total)
        for buffer in buffers:
            buffer[...] = total.reshape(buffer.shape)

    return reduce
