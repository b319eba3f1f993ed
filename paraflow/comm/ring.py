"""All-reduce by messages between neighbours on a ring.

The buffer is cut into as many parts as there are ranks. In each of size - 1 rounds a rank sends a part to its right and
adds to its own of the part that comes from its left; then one part is complete on each rank, and in size - 1 further
rounds these go around: 2 (size - 1) / size times the buffer, the least that a rank can send, for any number of ranks
(Patarasuk and Yuan, 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations"). MPI libraries are
made for powers of two there. A small buffer is better left to them: it pays for 2 (size - 1) latencies here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from paraflow.comm import checks
from paraflow.comm.communicator import Buffer, Communicator, Progress, Request

_TAGS = 1 << 15


class Ring:
    """The ring of all ranks of ``comm``, on which nothing else sends messages.

    Several sums may be under way. Every rank starts them in the same order, and waits for them in that order.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._number = 0
        self._spare: list[Buffer] = []  # memory for the parts that come, of sums that are complete

    def iallreduce(self, buffer: Buffer) -> Request:
        """Start to replace ``buffer`` by its sum over the ranks; a part of it is summed in the order of the ring.

        It goes on in ``wait`` and ``test`` only. Takes what `Communicator.allreduce` does.
        """
        checks.check_reducible(buffer, "sum")
        self._number += 1
        return _Sum(self._rounds(buffer.reshape(-1), self._number % _TAGS))

    def _rounds(self, flat: Buffer, tag: int) -> Iterator[tuple[Request, Request]]:
        """What has to be complete before the next round: a message that comes, and one that goes."""
        comm, size = self._comm, self._comm.size
        left, right = (comm.rank - 1) % size, (comm.rank + 1) % size
        values = flat.astype(np.float32) if checks.is_bfloat16(flat) else flat
        ends = [values.size * part // size for part in range(size + 1)]
        parts = [values[start:end] for start, end in pairwise(ends)]
        largest = max(part.nbytes for part in parts)
        memory = self._memory(largest)
        for number in range(size - 1):
            sent, own = (parts[(comm.rank - number - k) % size] for k in (0, 1))
            came = memory[: own.nbytes].view(own.dtype)
            yield comm.irecv(came, left, tag), comm.isend(sent, right, tag)
            with np.errstate(all="ignore"):  # an overflow is a result here, as it is in MPI
                np.add(own, came, out=own)
        self._spare.append(memory)
        for number in range(size - 1):
            sent, own = (parts[(comm.rank - number + 1 - k) % size] for k in (0, 1))
            yield comm.irecv(own, left, tag), comm.isend(sent, right, tag)
        if values is not flat:
            flat[...] = values

    def _memory(self, nbytes: int) -> Buffer:
        fitting = [place for place, memory in enumerate(self._spare) if memory.nbytes >= nbytes]
        return self._spare.pop(fitting[0]) if fitting else np.empty(nbytes, np.uint8)


class _Sum:
    def __init__(self, rounds: Iterator[tuple[Request, Request]]) -> None:
        self._rounds = rounds
        self._under_way = next(rounds, None)

    def wait(self, progress: Progress = None) -> None:
        while not self.test():
            for request in self._under_way or ():
                request.wait(progress)

    def test(self) -> bool:
        while self._under_way is not None and all(request.test() for request in self._under_way):
            self._under_way = next(self._rounds, None)
        return self._under_way is None
