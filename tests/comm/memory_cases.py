"""What memory that the ranks of a node share has to do in every world, as functions of its communicator."""

import gc
import os
import time

import numpy as np
import pytest

from paraflow.comm import Communicator
from paraflow.errors import InvalidArgumentError, RanksDisagree


def memory_with_unequal_parts(comm: Communicator) -> None:
    sizes = [[5000, 0, 1, 4096][rank % 4] for rank in range(comm.size)]
    first, second = comm.share(sizes[comm.rank]), comm.share(8 * comm.rank)
    empty = comm.share(0)
    assert [part.nbytes for part in first.parts] == sizes
    assert [part.nbytes for part in second.parts] == [8 * rank for rank in range(comm.size)]
    assert [part.nbytes for part in empty.parts] == [0] * comm.size
    for part in first.parts + second.parts:
        assert part.dtype == np.uint8
        assert part.size == 0 or part.ctypes.data % os.sysconf("SC_PAGESIZE") == 0
        assert part.flags.writeable
        assert not part.any()
    comm.barrier()
    first.parts[comm.rank][:] = comm.rank + 1
    second.parts[comm.rank].view(np.float64)[:] = comm.rank + 0.5
    comm.barrier()
    for rank in range(comm.size):
        np.testing.assert_array_equal(first.parts[rank], np.full(sizes[rank], rank + 1))
        np.testing.assert_array_equal(second.parts[rank].view(np.float64), np.full(rank, rank + 0.5))
    comm.barrier()
    comm.split(0).barrier()
    right = (comm.rank + 1) % comm.size
    first.parts[right][:] = right + 50  # a part is written by any rank
    comm.barrier()
    np.testing.assert_array_equal(first.parts[comm.rank], np.full(sizes[comm.rank], comm.rank + 50))


def memory_of_many_pages(comm: Communicator) -> None:
    sizes = [[9 * 2**20 + 5, 3, 2**21, 2**21 - 1][rank % 4] for rank in range(comm.size)]
    memory = comm.share(sizes[comm.rank], flags=1)
    other = (comm.rank + 1) % comm.size
    assert [part.nbytes for part in memory.parts] == sizes
    assert not any(part.any() for part in memory.parts)
    memory.post(0, 1)
    memory.wait(0, 1)
    memory.parts[other][:] = np.arange(sizes[other], dtype=np.uint32) % 241 + other
    memory.post(0, 2)
    memory.wait(0, 2)
    for rank, part in enumerate(memory.parts):
        np.testing.assert_array_equal(part, np.arange(sizes[rank]) % 241 + rank)


def rounds_through_memory(comm: Communicator) -> None:
    count = 1000
    memory = comm.share(8 * count * (comm.rank + 1), flags=2)
    places = [part.view(np.int64) for part in memory.parts]
    for turn in range(1, 301):
        places[comm.rank][:] = turn * (comm.rank + 1)
        memory.post(0, turn)
        memory.wait(0, turn)
        for rank, place in enumerate(places):
            assert place.size == count * (rank + 1)
            assert (place == turn * (rank + 1)).all(), (turn, rank)
        memory.post(1, turn)
        memory.wait(1, turn)
    assert memory.wait(0, 300) is None
    assert [memory.posted(rank, 1) for rank in range(comm.size)] == [300] * comm.size


def a_chain_through_memory(comm: Communicator) -> None:
    memory = comm.share(8 if comm.rank == 0 else 0, flags=3)
    total = memory.parts[0].view(np.int64)
    for turn in range(1, 101):
        if comm.rank > 0:
            memory.wait_for(comm.rank - 1, 2, turn)
        else:
            memory.wait_for(comm.size - 1, 2, turn - 1)
        total += comm.rank + 1
        memory.post(2, turn)
    memory.wait(2, 100)
    assert total[0] == 100 * comm.size * (comm.size + 1) / 2
    assert [memory.posted(rank, 0) for rank in range(comm.size)] == [0] * comm.size


def a_wait_tells_who_came_last(comm: Communicator) -> None:
    last = comm.size - 1
    memory = comm.share(0, flags=2)
    told = []

    def progress() -> None:
        if not told:
            comm.send(np.zeros(1), last)
        told.append(comm.rank)

    for flag, wait in enumerate([lambda: memory.wait(0, 1, progress), lambda: memory.wait_for(last, 1, 1, progress)]):
        told.clear()
        if comm.rank == last:
            for source in range(last):
                comm.recv(np.zeros(1), source)
            memory.post(flag, 1)
        else:
            memory.post(flag, 1)
            for other in range(last):
                memory.wait_for(other, flag, 1)
            start = time.perf_counter()
            waited = wait()
            assert waited is not None
            assert waited.rank == last
            assert 0 < waited.seconds <= time.perf_counter() - start
            assert told
        assert wait() is None


def a_rank_that_closes_its_memory_is_named(comm: Communicator) -> None:
    last = comm.size - 1
    memory = comm.share(3, flags=2)
    if comm.rank == last:
        memory.parts[last][:] = 9
        memory.post(1, 4)
        memory.close()
        memory.close()
    else:
        memory.post(1, 8)
    memory.wait_for(last, 1, 4)
    np.testing.assert_array_equal(memory.parts[last], [9, 9, 9])
    message = rf"rank {last} has ended its part .* flag 1 at 4, .* waits for 5"
    with pytest.raises(RanksDisagree, match=message):
        memory.wait_for(last, 1, 5)
    with pytest.raises(RanksDisagree, match=message):
        memory.wait(1, 5)


def parts_outlive_the_object(comm: Communicator) -> None:
    part = comm.share(100_000).parts[(comm.rank + 1) % comm.size]
    part[:] = comm.rank
    comm.barrier()
    gc.collect()
    np.testing.assert_array_equal(part, np.full(100_000, comm.rank))


def bad_uses_of_memory_are_refused(comm: Communicator) -> None:
    last = comm.rank == comm.size - 1
    memory = comm.share(0, flags=2)
    memory.post(0, 5)
    refused = [
        ("flag 2 .* 2 flags", lambda: memory.post(2, 1)),
        ("flag -1 ", lambda: memory.post(-1, 1)),
        ("flag 0 is at 5 .* 4", lambda: memory.post(0, 4)),
        ("flag 7 ", lambda: memory.wait(7, 1)),
        ("flag -1 ", lambda: memory.wait(-1, 0)),
        ("flag 2 ", lambda: memory.wait_for(0, 2, 0)),
        (f"rank {comm.size} ", lambda: memory.wait_for(comm.size, 0, 0)),
        ("rank -1 ", lambda: memory.posted(-1, 0)),
        ("flag -2 ", lambda: memory.posted(0, -2)),
        ("color -1 ", lambda: comm.split(-1)),
        (f"rank {comm.size - 1} asked for -8 bytes", lambda: comm.share(-8 if last else 8)),
        ("rank 0 asked for 8 bytes and -1 flags", lambda: comm.share(8, -1 if comm.rank == 0 else 1)),
    ]
    for message, call in refused:
        with pytest.raises(InvalidArgumentError, match=message):
            call()
    if comm.size > 1:
        with pytest.raises(RanksDisagree, match=r"numbers of flags: \[0, 1\b"):
            comm.share(8, flags=comm.rank)


CASES = [
    memory_with_unequal_parts,
    memory_of_many_pages,
    rounds_through_memory,
    a_chain_through_memory,
    a_rank_that_closes_its_memory_is_named,
    parts_outlive_the_object,
    bad_uses_of_memory_are_refused,
    a_wait_tells_who_came_last,
]
