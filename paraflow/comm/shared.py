"""Memory that the processes of a node share: a file without a name, which all of them map.

One rank makes it with memfd_create and the others open it through /proc. MPI.Win.Allocate_shared is not used because
its memory lies in /dev/shm, of which a container has 64 MB and answers a page beyond with SIGBUS, because Open MPI
warns about its windows, and because it differs by MPI. Nothing stays behind when the ranks are killed.
"""

from __future__ import annotations

import mmap
import os
import platform
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from paraflow.comm import checks, pages
from paraflow.comm.communicator import Buffer, Communicator, Progress, SharedMemory, Waited
from paraflow.comm.pages import Mapping
from paraflow.comm.waiting import wait_until
from paraflow.errors import SharedMemoryUnavailable

T = TypeVar("T")

_LINE = 8  # words of 8 bytes in a cache line; each flag has one, or writing it would slow the readers of its neighbours
_REFUSALS = (OSError, ValueError, MemoryError)  # of the system, for a file or a mapping
_STORES_IN_ORDER = platform.machine() in ("x86_64", "AMD64")

_lock = threading.Lock()


def share_memory(comm: Communicator, nbytes: int, flags: int) -> SharedMemory:
    """``Communicator.share`` for processes, by means of the collectives of ``comm``."""
    layout = _Layout(checks.check_share(comm, nbytes, flags), flags)
    file = _together(comm, lambda: pages.create_file(layout.nbytes) if comm.rank == 0 else None)
    try:
        offer = comm.broadcast_object(None if file is None else _Offer(os.getpid(), file, _identity(file)))
        mapping = _together(comm, lambda: _map(file, offer, layout, comm.rank))
    finally:  # all ranks have opened it, or will not
        if file is not None:
            os.close(file)
    words = mapping.buffer[: layout.header].data.cast("q")
    _verify(comm, words, flags)
    return ProcessMemory(comm.rank, comm.size, flags, words, layout.parts(mapping.buffer))


class _Layout:
    """Where the flags and the parts lie in the file: a header of flags, then a part for each rank, in whole pages."""

    def __init__(self, sizes: list[int], flags: int) -> None:
        huge = pages.huge_page()
        self.header = _rounded(8 * _LINE * (flags + 1) * len(sizes), mmap.PAGESIZE)
        self.places: list[tuple[int, int]] = []  # start and size of each part
        self.nbytes = self.header
        for size in sizes:
            start = _rounded(self.nbytes, huge if 0 < huge <= size else mmap.PAGESIZE)
            self.places.append((start, size))
            self.nbytes = start + _rounded(size, mmap.PAGESIZE)

    def parts(self, whole: Buffer) -> tuple[Buffer, ...]:
        return tuple(whole[start : start + size] for start, size in self.places)


def _rounded(nbytes: int, unit: int) -> int:
    return -(-nbytes // unit) * unit


def _together(comm: Communicator, step: Callable[[], T]) -> T:
    """What ``step`` returns here, when it has succeeded on every rank; else raises SharedMemoryUnavailable on all."""
    fault = None
    try:
        result = step()
    except _REFUSALS as error:
        fault = f"{type(error).__name__}: {error}"
    for rank, its_fault in enumerate(comm.allgather(fault)):
        if its_fault is not None:
            raise SharedMemoryUnavailable(f"the {comm.size} ranks cannot share memory: on rank {rank}, {its_fault}")
    return result


class _Offer(NamedTuple):
    """A file that another process may open."""

    pid: int
    file: int
    identity: tuple[int, int, int]


def _identity(file: int | str) -> tuple[int, int, int]:
    found = os.stat(file)
    return found.st_dev, found.st_ino, found.st_size


def _map(own: int | None, offer: _Offer, layout: _Layout, rank: int) -> Mapping:
    file = _open(offer) if own is None else own
    try:
        if os.fstat(file).st_size != layout.nbytes:
            raise OSError("the ranks lay the memory out differently: is /sys hidden from one of them?")
        mapping = pages.map_file(file, layout.nbytes)
    finally:
        if own is None:
            os.close(file)
    pages.populate(mapping, *layout.places[rank])
    return mapping


def _open(offer: _Offer) -> int:
    path = f"/proc/{offer.pid}/fd/{offer.file}"
    try:
        # Looked at before it is opened: in another PID namespace this is the file of an alien process.
        if _identity(path) == offer.identity:
            return os.open(path, os.O_RDWR)
        reason = "it is another file"
    except (FileNotFoundError, PermissionError) as error:
        reason = str(error.strerror)
    raise OSError(f"{path}, which rank 0 has made, cannot be opened: {reason}; is this rank in another container?")


def _verify(comm: Communicator, words: memoryview, flags: int) -> None:
    """Raise SharedMemoryUnavailable, on every rank, where a rank does not see what another has just written.

    Process and file numbers may match by accident on another machine. The tokens stand in the line of the end mark.
    """
    token = secrets.randbits(62)
    line = _LINE * (flags + 1)
    words[comm.rank * line + 1] = token

    def compare() -> None:
        for rank, expected in enumerate(tokens):
            if words[rank * line + 1] != expected:
                raise OSError(f"the mapped memory does not show what rank {rank} wrote; is it on another machine?")

    tokens = comm.allgather(token)
    _together(comm, compare)


def _fence() -> None:
    """Order the memory accesses before against those after, on processors that do not keep the order of stores.

    The release of the first round comes before the acquisition of the second; no access moves across both.
    """
    with _lock:
        pass
    with _lock:
        pass


def _end(words: memoryview, place: int, pid: int) -> None:
    if os.getpid() == pid:  # not the end of a child that was forked
        if not _STORES_IN_ORDER:
            _fence()
        words[place] = 1


class ProcessMemory(SharedMemory):
    """Shared memory mapped by processes. A flag is one aligned word, which a memoryview reads and writes whole.

    A rank has a line for its end mark and then one for each flag.
    """

    def __init__(self, rank: int, size: int, flags: int, words: memoryview, parts: tuple[Buffer, ...]) -> None:
        self.parts = parts
        self._rank = rank
        self._words = words
        self._ends = [(flags + 1) * _LINE * other for other in range(size)]
        # Dictionaries, as they refuse a negative number.
        self._places = {
            flag: {other: end + (flag + 1) * _LINE for other, end in enumerate(self._ends)} for flag in range(flags)
        }
        self._end = weakref.finalize(self, _end, words, self._ends[rank], os.getpid())  # runs when the rank ends, too

    def post(self, flag: int, value: int) -> None:
        """Store the word."""
        words, place = self._words, self._place(self._rank, flag)
        if value < words[place]:
            checks.check_grows(flag, words[place], value)
        if not _STORES_IN_ORDER:
            _fence()
        words[place] = value

    def wait(self, flag: int, value: int, progress: Progress = None) -> Waited | None:
        """Look at the words of all ranks, one rank after the other; the last that was missing came last."""
        if flag not in self._places:
            checks.check_flag(flag, len(self._places))
        words, waited = self._words, None
        for rank, place in self._places[flag].items():
            if words[place] < value:
                seconds = self._wait(rank, flag, value, progress)
                waited = Waited(seconds + (waited.seconds if waited else 0.0), rank)
        if not _STORES_IN_ORDER:
            _fence()
        return waited

    def wait_for(self, rank: int, flag: int, value: int, progress: Progress = None) -> Waited | None:
        """Look at the word of the rank."""
        waited = None
        if self._words[self._place(rank, flag)] < value:
            waited = Waited(self._wait(rank, flag, value, progress), rank)
        if not _STORES_IN_ORDER:
            _fence()
        return waited

    def posted(self, rank: int, flag: int) -> int:
        """Load the word."""
        value: int = self._words[self._place(rank, flag)]
        if not _STORES_IN_ORDER:
            _fence()
        return value

    def addresses(self, flag: int) -> list[int]:
        """Their words."""
        start = np.frombuffer(self._words, np.int64).ctypes.data
        return [start + 8 * place for place in self._places[flag].values()]

    def close(self) -> None:
        """Set the end mark of this rank."""
        self._end()

    def _place(self, rank: int, flag: int) -> int:
        try:
            return self._places[flag][rank]
        except KeyError:
            checks.check_flag(flag, len(self._places))
            checks.check_rank(rank, len(self._ends), "rank")
            raise

    def _wait(self, rank: int, flag: int, value: int, progress: Progress) -> float:
        start = time.perf_counter()
        words, place, end = self._words, self._places[flag][rank], self._ends[rank]

        def reached() -> bool:
            if words[place] >= value:
                return True
            if words[end]:
                if not _STORES_IN_ORDER:
                    _fence()
                if words[place] < value:  # read again: it may have posted just before it ended
                    raise checks.ended_part(rank, flag, words[place], value)
                return True
            if progress is not None:
                progress()
            return False

        wait_until(reached)
        return time.perf_counter() - start
