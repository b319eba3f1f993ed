"""What sums on a ring of messages have to do in every world, as functions of its communicator."""

import numpy as np
import pytest

from paraflow.comm import Communicator
from paraflow.comm.ring import Ring
from paraflow.errors import InvalidArgumentError, RankEnded
from paraflow.graph.dtypes import as_dtype

DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "uint16", "int64"]


def numbers_of(rank: int, count: int) -> np.ndarray:
    """Of many magnitudes, so that another order of summing would give other bits."""
    rng = np.random.default_rng([rank, count])
    return (rng.normal(size=count) * 10.0 ** rng.integers(-4, 5, count)).astype(np.float32)


def in_the_order_of_the_ring(size: int, count: int) -> np.ndarray:
    """The parts, of as many as there are ranks, each summed from the rank of its number on."""
    numbers = [numbers_of(rank, count) for rank in range(size)]
    total = np.empty(count, np.float32)
    for part in range(size):
        low, high = (count * k // size for k in (part, part + 1))
        total[low:high] = numbers[part][low:high]
        for other in range(part + 1, part + size):
            total[low:high] += numbers[other % size][low:high]
    return total


def ring_sums_every_dtype_and_count(comm: Communicator) -> None:
    ring = Ring(comm.split(0))
    for dtype in DTYPES:
        for count in [0, 1, 2, 17, 100_003]:
            held = [((rank + 1) * (np.arange(count) % 5 + 1) % 13).astype(as_dtype(dtype)) for rank in range(comm.size)]
            buffer = held[comm.rank].copy()
            ring.iallreduce(buffer).wait()
            np.testing.assert_array_equal(buffer, sum(held[1:], held[0]), f"{count} {dtype}")


def ring_sums_each_part_in_its_order(comm: Communicator) -> None:
    ring = Ring(comm.split(0))
    for count in (3, 1000, 262_147):
        matrix = numbers_of(comm.rank, count).reshape(1, count)
        ring.iallreduce(matrix).wait()
        assert matrix.tobytes() == in_the_order_of_the_ring(comm.size, count).tobytes()


def ring_sums_under_way_together(comm: Communicator) -> None:
    """Some ranks wait for them, others look from time to time, and what is done stays so."""
    ring = Ring(comm.split(0))
    counts = [70_000, 5, 200_000, 0, 70_001]
    for _ in range(3):
        buffers = [numbers_of(comm.rank, count) for count in counts]
        requests = [ring.iallreduce(buffer) for buffer in buffers]
        if comm.rank % 2:
            for number, request in enumerate(requests, 1):
                request.wait(lambda later=requests[number:]: [other.test() for other in later])
        else:
            while False in [request.test() for request in requests]:
                pass
        for request in requests:
            assert request.test()
            request.wait()
        for buffer, count in zip(buffers, counts, strict=True):
            assert buffer.tobytes() == in_the_order_of_the_ring(comm.size, count).tobytes()


def ring_sum_of_bfloat16_rounds_once(comm: Communicator) -> None:
    """1 + 2^-8 + 2^-8 + ...: each term alone would be lost beside 1."""
    buffer = np.full(1000, 2.0**-8 if comm.rank else 1.0).astype(as_dtype("bfloat16"))
    Ring(comm.split(0)).iallreduce(buffer).wait()
    assert (buffer == np.float32(1 + (comm.size - 1) * 2.0**-8).astype(as_dtype("bfloat16"))).all()


def ring_sum_overflows_in_silence(comm: Communicator) -> None:
    ring = Ring(comm.split(0))
    buffer = np.array([3e38] * 9 + [-np.inf if comm.rank else np.inf], np.float32)
    ring.iallreduce(buffer).wait()
    if comm.size > 1:
        assert (buffer[:9] == np.inf).all()
        assert np.isnan(buffer[9])
    with pytest.raises(InvalidArgumentError, match="bool"):
        ring.iallreduce(np.zeros(3, bool))


def ring_hears_of_a_rank_that_has_left(comm: Communicator) -> None:
    """Its right neighbour hears it; who leaves for that passes the word on."""
    part, last = comm.split(0), comm.size - 1
    ring = Ring(part)
    if comm.rank == last:
        part.leave(b"enough")
    else:
        request = ring.iallreduce(np.zeros(1000))
        with pytest.raises(RankEnded, match="takes no further part") as caught:
            request.wait()
        assert (caught.value.rank, caught.value.word) == ((comm.rank - 1) % comm.size, b"enough")
        part.leave(caught.value.word)
    comm.barrier()


CASES = [
    ring_sums_every_dtype_and_count,
    ring_sums_each_part_in_its_order,
    ring_sums_under_way_together,
    ring_sum_of_bfloat16_rounds_once,
    ring_sum_overflows_in_silence,
    ring_hears_of_a_rank_that_has_left,
]
