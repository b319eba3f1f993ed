"""Short measurements of this machine: its memory, by processes that share some, and its wire, by ranks on two nodes.

``python -m paraflow.simulate.calibrate FILE NUMBER PROCESSES NBYTES`` is one of the processes.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np

from paraflow.comm import Communicator
from paraflow.comm.waiting import wait_until
from paraflow.errors import SharedMemoryUnavailable
from paraflow.simulate.model import Link, Memory

_LINE = 8  # words of 8 bytes in a cache line; a process has a line for its flag and one for its results
_HEADER = 1 << 16
_BLOCK = 1 << 15  # bytes, as of the blocks in which gradients are summed
_ROUND_TRIPS = 2000
_ROUNDS = 9
_SMALLEST, _LARGEST = 1 << 16, 1 << 26  # bytes
_LARGE = 1 << 22  # bytes of a message by which a bandwidth is measured
_PROCESSES = 16  # at most
_PATIENCE = 120  # seconds


def measure_memory(nbytes: int) -> Memory:
    """The memory of this machine, for gradients of ``nbytes``: flags and sums between processes on cores of their own.

    Raises SharedMemoryUnavailable where the processes fail.
    """
    nbytes = min(max(nbytes, _SMALLEST), _LARGEST) // _BLOCK * _BLOCK
    processes = min(max(2, len(os.sched_getaffinity(0))), _PROCESSES)
    file = os.memfd_create("paraflow-calibration")
    try:
        os.ftruncate(file, _HEADER + processes * nbytes)
        command = [sys.executable, "-m", "paraflow.simulate.calibrate", str(file)]
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        started = [
            subprocess.Popen(
                [*command, str(number), str(processes), str(nbytes)],
                pass_fds=[file], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            for number in range(processes)
        ]  # fmt: skip
        _finish(started)
        with mmap.mmap(file, _HEADER) as memory:
            results = np.frombuffer(memory, np.float64).copy().reshape(-1, 2 * _LINE)[:processes, _LINE : _LINE + 3]
    finally:
        os.close(file)
    latency, alone, _ = results[0].tolist()
    return Memory(latency, nbytes / alone, float((nbytes / results[:, 2]).sum()))


def _finish(started: list[subprocess.Popen[str]]) -> None:
    """Wait for the processes; where one fails, end the others, which would wait for it."""
    failures: list[str] = []
    for process in started:
        try:
            _, errors = process.communicate(timeout=0.1 if failures else _PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
        if process.returncode:
            failures.append(errors.strip().rpartition("\n")[2] or f"exit code {process.returncode}")
    if failures:
        raise SharedMemoryUnavailable(f"the memory of this machine cannot be measured: {failures[0]}; give --memory")


class _Process:
    """One of the processes: it meets the others at counted points, by flags as those of a node's ranks."""

    def __init__(self, memory: mmap.mmap, number: int, processes: int, nbytes: int) -> None:
        self._words = memoryview(memory)[:_HEADER].cast("q")
        self._number, self._processes = number, processes
        self._results = np.frombuffer(memory, np.float64, 3, 8 * _LINE * (2 * number + 1))
        places = [(_HEADER + i * nbytes) for i in (number, (number + 1) % processes)]
        self._own, self._next = (np.frombuffer(memory, np.float32, nbytes // 4, place) for place in places)
        self._count = 0

    def run(self) -> None:
        """Leave (latency, seconds of a sum alone, seconds of a sum while all sum) in the results."""
        self._meet(range(self._processes))
        if self._number < 2:
            times = [self._timed(lambda: self._meet(range(2))) for _ in range(_ROUND_TRIPS)]
            self._results[0] = float(np.median(times))
        self._count = _ROUND_TRIPS + 1
        self._results[1] = self._sums(first=True)
        self._results[2] = self._sums(first=False)

    def _sums(self, first: bool) -> float:
        """Seconds in which this process reads what the next one has just written; with ``first`` it alone reads."""
        total = np.zeros(_BLOCK // 4, np.float32)
        blocks = self._next.reshape(-1, total.size)
        times = []

        def add() -> None:
            for block in blocks:
                np.add(total, block, total)

        for number in range(_ROUNDS):
            self._own.fill(number)
            self._meet(range(self._processes))
            if not first or self._number == 0:
                times.append(self._timed(add))
            self._meet(range(self._processes))
        return float(np.median(times)) if times else 0.0

    def _meet(self, processes: range) -> None:
        self._count += 1
        self._words[2 * _LINE * self._number] = self._count
        for other in processes:
            wait_until(lambda other=other: self._words[2 * _LINE * other] >= self._count)  # type: ignore[misc]

    @staticmethod
    def _timed(call: Callable[[], object]) -> float:
        start = perf_counter()
        call()
        return perf_counter() - start


def main(file: str, number: str, processes: str, nbytes: str) -> None:
    """Be process ``number``, on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(number) % len(cores)]})
    _Process(mmap.mmap(int(file), 0), int(number), int(processes), int(nbytes)).run()


def measure_link(comm: Communicator) -> Link | None:
    """The wire between the node of rank 0 and another one, by messages both ways at once; collective.

    None where all ranks are on one node.
    """
    firsts = comm.allgather(comm.node()[0] == 0)
    heads = [rank for rank, is_first in enumerate(firsts) if is_first]
    if len(heads) < 2:
        return None
    return message_link(comm, heads[1])


def message_link(comm: Communicator, partner: int) -> Link:
    """Latency and bandwidth of messages between rank 0 and ``partner``, both ways at once; collective."""
    small, large = (_exchange(comm, partner, nbytes, times) for nbytes, times in ((8, 101), (_LARGE, 7)))
    latency, whole = comm.broadcast_object((small, large))
    return Link(latency, _LARGE / max(whole - latency, 1e-9))


def _exchange(comm: Communicator, partner: int, nbytes: int, times: int) -> float:
    """Median seconds in which rank 0 and ``partner`` send each other a message, on rank 0."""
    outgoing, incoming = np.zeros(nbytes, np.uint8), np.zeros(nbytes, np.uint8)
    found = [0.0]
    for _ in range(times if comm.rank in (0, partner) else 0):
        start = perf_counter()
        other = partner if comm.rank == 0 else 0
        request = comm.isend(outgoing, other)
        comm.recv(incoming, other)
        request.wait()
        found.append(perf_counter() - start)
    comm.barrier()
    return float(np.median(found[1:])) if len(found) > 1 else 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
