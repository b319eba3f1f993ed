"""The contract that every world of ranks keeps: collectives in place on numpy buffers, and messages.

The names and meanings are MPI's (MPI: A Message-Passing Interface Standard 4.1, chapters 3 and 6), so that a
program tested in one process means the same under mpirun.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from paraflow.errors import InvalidArgumentError

Buffer: TypeAlias = npt.NDArray[Any]
"""A C-contiguous numpy array of native byte order; it is read and written in place."""

Op: TypeAlias = Literal["sum", "max", "min"]

ANY = -1
"""Matches every source, or every tag, in recv, probe and iprobe."""

Progress: TypeAlias = Callable[[], object] | None
"""What a waiting rank may do meanwhile; it is called now and then and has to return soon."""


class Envelope(NamedTuple):
    """What is known of a message without its contents."""

    source: int
    tag: int
    nbytes: int

    def count(self, dtype: npt.DTypeLike) -> int:
        """The number of items of ``dtype`` in the message.

        Raises InvalidArgumentError where the message is no whole number of them.
        """
        count, rest = divmod(self.nbytes, np.dtype(dtype).itemsize)
        if rest:
            raise InvalidArgumentError(
                f"the message from rank {self.source} with tag {self.tag} has {self.nbytes} bytes, "
                f"which is no whole number of {np.dtype(dtype)} items"
            )
        return count


class Request(Protocol):
    """An operation under way. Its buffer belongs to it until wait() returns."""

    def wait(self, progress: Progress = None) -> None:
        """Block until the operation is complete; a second wait returns at once.

        What ``progress`` raises ends the wait, not the operation, which it leaves alone.
        """

    def test(self) -> bool:
        """Let the operation come on, without waiting for it; whether it is complete."""


class Waited(NamedTuple):
    """What a wait in shared memory waited for: the time in seconds, and the rank that came last.

    Of ranks that came between two looks, at most a quarter of a millisecond apart, it may be any.
    """

    seconds: float
    rank: int


class SharedMemory(ABC):
    """Memory that every rank of a world on one node reads and writes, made by ``Communicator.share``.

    ``parts`` are uint8 arrays by rank, each page-aligned, zero-filled, and mapped as long as an array of it is held.
    The flags are integers, 0 at first, that order the ranks' work in it: what a rank has written before ``post`` is
    visible to those whose ``wait`` or ``posted`` has seen the value. Every call raises InvalidArgumentError for a
    flag or rank out of range. In a world of threads whose rank failed it raises WorldAborted.
    """

    parts: tuple[Buffer, ...]

    @abstractmethod
    def post(self, flag: int, value: int) -> None:
        """Set this rank's flag number ``flag`` to ``value``.

        Raises InvalidArgumentError where that is less than it is.
        """

    @abstractmethod
    def wait(self, flag: int, value: int, progress: Progress = None) -> Waited | None:
        """Return when flag ``flag`` of every rank is at least ``value``; None where nobody was waited for.

        Raises RankEnded where a rank has ended its part without reaching the value.
        """

    @abstractmethod
    def wait_for(self, rank: int, flag: int, value: int, progress: Progress = None) -> Waited | None:
        """Like ``wait``, for the flag of one rank."""

    @abstractmethod
    def posted(self, rank: int, flag: int) -> int:
        """The value of flag ``flag`` of rank ``rank`` now."""

    def addresses(self, flag: int) -> list[int] | None:
        """Where the flags of the ranks lie, each a 64-bit integer, for compiled code; None where they are no memory."""
        return None

    @abstractmethod
    def close(self) -> None:
        """End this rank's part: those that wait for a value it has not posted are told. Not collective.

        A rank that has returned from its program has ended its part too.
        """


class Communicator(ABC):
    """A world of ``size`` ranks, seen by the rank ``rank``.

    The collectives are called by every rank, in the same order, with the same operation, count and dtype;
    their results have the same bits on every rank and in every run on the same number of ranks.

    A call that waits for a rank which has left raises RankEnded. What is under way is then not undone, so no further
    collective is possible here; a part made by `split` keeps that from the whole.

    Every call raises InvalidArgumentError for a buffer that is not C-contiguous, not writable where it has to be,
    or of a dtype it cannot take, and for a rank or tag out of range. In a world whose rank failed it raises
    WorldAborted, or under mpirun the process ends with the world.
    """

    world: ClassVar[Literal["solo", "threads", "mpi"]]
    mpi_library: str = "none loaded: one rank needs none"
    """The MPI library that carries the messages."""
    rank: int
    size: int

    @abstractmethod
    def barrier(self) -> None:
        """Return when every rank has called it."""

    @abstractmethod
    def allreduce(self, buffer: Buffer, op: Op = "sum") -> None:
        """Replace ``buffer`` by its elementwise sum, maximum or minimum over the ranks.

        Takes float16, bfloat16 (reduced in float32 and rounded once), float32, float64 and the integers, of any
        shape and size. A NaN on one rank makes the element NaN on all.
        """

    @abstractmethod
    def iallreduce(self, buffer: Buffer, op: Op = "sum") -> Request:
        """Start an allreduce; after ``wait`` the buffer holds the result."""

    @abstractmethod
    def broadcast(self, buffer: Buffer, root: int = 0) -> None:
        """Replace ``buffer`` by the one of rank ``root``; any dtype without Python objects."""

    @abstractmethod
    def allgather(self, value: object) -> list[Any]:
        """The values of all ranks in rank order, as copies made by pickle; for small objects."""

    @abstractmethod
    def allgather_into(self, part: Buffer, whole: Buffer) -> None:
        """Fill ``whole`` with the ``part`` of every rank, in rank order; any dtype without Python objects.

        ``whole`` has the dtype of ``part`` and ``size`` times its elements, in any shape.
        """

    @abstractmethod
    def broadcast_object(self, value: object, root: int = 0) -> Any:
        """A copy, made by pickle, of the value of rank ``root``; for small objects."""

    def send(self, buffer: Buffer, dest: int, tag: int = 0) -> None:
        """Send ``buffer``; on return it may be changed.

        It may return before the message is received, and it may wait for that.
        """
        self.isend(buffer, dest, tag).wait()

    @abstractmethod
    def isend(self, buffer: Buffer, dest: int, tag: int = 0) -> Request:
        """Start a send; the buffer stays untouched until ``wait`` returns."""

    @abstractmethod
    def recv(self, buffer: Buffer, source: int = ANY, tag: int = ANY) -> Envelope:
        """Wait for a message and take it into ``buffer``, which has its exact size and its dtype.

        Messages of one source and tag arrive in the order of sending. Raises RanksDisagree, naming the source and
        both sizes, for a message of another size; the message is dropped. The dtype of a message is known, and
        checked, in the worlds of one process only.
        """

    @abstractmethod
    def irecv(self, buffer: Buffer, source: int, tag: int = 0) -> Request:
        """Start to take a message into ``buffer``, which has its exact size and its dtype.

        The message is looked for in ``test`` and ``wait``, which raise what ``recv`` does: requests for messages of one
        source and tag have to be tested in the order in which these are sent.
        """

    @abstractmethod
    def probe(self, source: int = ANY, tag: int = ANY, awaited: Collection[int] = ()) -> Envelope:
        """Wait for a message and leave it there for recv. A long wait leaves the core to others.

        Raises RankEnded where ``source``, or one of the ranks ``awaited``, has left and no message of it is here, even
        where there is one of others; the messages of a rank that has left come first.
        """

    @abstractmethod
    def iprobe(self, source: int = ANY, tag: int = ANY) -> Envelope | None:
        """The envelope of a message that can be received now, or None."""

    @abstractmethod
    def node(self) -> tuple[int, int]:
        """``(rank, size)`` among the ranks that share this rank's memory; not collective."""

    @abstractmethod
    def split(self, color: int) -> Communicator:
        """The world of the ranks that give the same ``color`` (0 or more), in rank order; collective.

        It lives as long as this one, or until all have left it, and a rank that fails ends both. An MPI library has
        some 2000 of them: who makes one after another leaves each.
        """

    @abstractmethod
    def split_node(self) -> Communicator:
        """The world of the ranks that share this rank's memory, in rank order; collective."""

    @abstractmethod
    def share(self, nbytes: int, flags: int = 0) -> SharedMemory:
        """Memory of which each rank contributes a part of ``nbytes``, and ``flags`` flags of each rank; collective.

        The parts may differ in size and be empty. Raises, on every rank: InvalidArgumentError where the ranks are not
        all on one node, RanksDisagree where they want different numbers of flags, and SharedMemoryUnavailable, with
        the rank and the reason, where the memory cannot be had on one of them.
        """

    @abstractmethod
    def leave(self, word: bytes) -> None:
        """This rank takes no further part here, nor in what was split from here; not collective, waits for nobody.

        A call in which another rank waits for this one, now or later, raises RankEnded with the ``word`` there; the
        first one counts. A rank whose program ends has left, too. What all ranks have left is given back when they next
        split what it was split from; not where a collective or a message is still under way in it.
        """

    @abstractmethod
    def abort(self, code: int) -> NoReturn:
        """End the world: every rank of it stops, and the process exits with ``code``; not collective."""
