"""What every world of ranks has to do, as functions of its communicator; run_cases.py runs them on world().

Each rank knows what the others hold, so it computes what it expects without them.
"""

import os
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from paraflow.comm import ANY, Communicator, Request
from paraflow.errors import InvalidArgumentError, RankEnded, RanksDisagree
from paraflow.graph.dtypes import as_dtype

FLOATS = ["float16", "bfloat16", "float32", "float64"]
DTYPES = [*FLOATS, "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
COUNTS = [0, 1, 17, 4096, 4097, 100_003]


def held_by(rank: int, count: int, dtype: str) -> np.ndarray:
    """Small integers, different on every rank and in every order: their sums are exact in every dtype."""
    index = np.arange(count)
    return ((rank + 1) * (index % 5 + 1) % 13).astype(as_dtype(dtype))


def allreduce_every_dtype_and_count(comm: Communicator) -> None:
    for dtype in DTYPES:
        for count in COUNTS:
            parts = np.stack([held_by(rank, count, dtype) for rank in range(comm.size)])
            for op, expected in [("sum", parts.sum(0)), ("max", parts.max(0)), ("min", parts.min(0))]:
                buffer = held_by(comm.rank, count, dtype)
                comm.allreduce(buffer, op)
                np.testing.assert_array_equal(buffer, expected.astype(buffer.dtype), f"{op} of {count} {dtype}")


def allreduce_extreme_integers(comm: Communicator) -> None:
    for dtype in ["int8", "uint64", "int64"]:
        info = np.iinfo(dtype)
        for op, expected in [("max", info.max), ("min", info.min)]:
            buffer = np.array([info.max if comm.rank % 2 == 0 else info.min], dtype)
            comm.allreduce(buffer, op)
            assert buffer[0] == (expected if comm.size > 1 else info.max)


def allreduce_keeps_shape(comm: Communicator) -> None:
    scalar = np.array(comm.rank + 1.0)
    comm.allreduce(scalar)
    assert scalar.shape == ()
    assert scalar == comm.size * (comm.size + 1) / 2
    cube = np.full((2, 3, 4), comm.rank, np.float32)
    comm.allreduce(cube, "max")
    np.testing.assert_array_equal(cube, np.full((2, 3, 4), comm.size - 1))


def allreduce_of_special_values(comm: Communicator) -> None:
    last = comm.rank == comm.size - 1
    for dtype in map(as_dtype, FLOATS):
        for op in ["sum", "max", "min"]:
            buffer = np.array([np.nan if last else comm.rank, -np.inf, np.inf, -3.5, -1e-3], dtype)
            finite = buffer[3:].copy()
            comm.allreduce(buffer, op)
            assert np.isnan(buffer[0]), (dtype, op)
            np.testing.assert_array_equal(buffer[1:3], [-np.inf, np.inf])
            if op != "sum":
                np.testing.assert_array_equal(buffer[3:], finite)


def allreduce_same_bits_on_every_rank_and_run(comm: Communicator) -> None:
    for dtype in ["float32", "float64"]:
        for count in [1, 1000, 300_001]:
            values = np.random.default_rng(comm.rank).standard_normal(count).astype(dtype)
            values[:1] = 0.0 if comm.rank % 2 else -0.0
            for op in ["sum", "max"]:
                first, second = values.copy(), values.copy()
                comm.allreduce(first, op)
                comm.allreduce(second, op)
                assert first.tobytes() == second.tobytes()
                assert len(set(comm.allgather(first.tobytes()))) == 1


def allreduce_of_many_blocks(comm: Communicator) -> None:
    for count in [65_536, 65_537, 700_001]:
        parts = np.stack([held_by(rank, count, "int64") for rank in range(comm.size)])
        for dtype in ["float32", "int16"]:
            for op, expected in [("sum", parts.sum(0)), ("min", parts.min(0))]:
                buffer = held_by(comm.rank, count, dtype)
                comm.allreduce(buffer, op)
                np.testing.assert_array_equal(buffer, expected.astype(dtype), f"{op} of {count} {dtype}")


def allreduce_of_many_nan_has_the_same_bits(comm: Communicator) -> None:
    for count in [3, 50_001, 200_003]:
        room = np.zeros(count + comm.size, np.float32)
        buffer = room[comm.rank : comm.rank + count]  # aligned differently on every rank
        buffer.view(np.uint32)[:] = 0x7FC00000 + comm.rank + (np.arange(count) % 2 << 31)
        comm.allreduce(buffer)
        assert np.isnan(buffer).all()
        assert len(set(comm.allgather(buffer.tobytes()))) == 1


def allreduce_of_bfloat16_rounds_once(comm: Communicator) -> None:
    """1 + 2^-8 + 2^-8 + ...: each term alone would be lost beside 1."""
    for count in [1, 70_001]:
        for start in (comm.allreduce, lambda buffer: comm.iallreduce(buffer).wait()):
            buffer = np.full(count, 2.0**-8 if comm.rank else 1.0).astype(as_dtype("bfloat16"))
            start(buffer)
            expected = np.float32(1 + (comm.size - 1) * 2.0**-8).astype(as_dtype("bfloat16"))
            assert (buffer == expected).all()


def allreduce_overflows_in_silence(comm: Communicator) -> None:
    buffer = np.array([3e38, -np.inf if comm.rank else np.inf], np.float32)
    comm.allreduce(buffer)
    if comm.size > 1:
        assert buffer[0] == np.inf
        assert np.isnan(buffer[1])


def a_message_under_way_arrives_while_its_sender_waits(comm: Communicator) -> None:
    message = np.full(4_000_000, 5, np.uint8)
    if comm.rank == 0:
        requests = [comm.isend(message, dest) for dest in range(1, comm.size)]
    else:
        received = np.zeros_like(message)
        comm.recv(received, 0)
        assert (received == 5).all()
    buffer = np.array([1.0])
    comm.allreduce(buffer)
    assert buffer[0] == comm.size
    if comm.rank == 0:
        for request in requests:
            request.wait()


def a_message_arrives_though_nobody_waits_for_its_request(comm: Communicator) -> None:
    """Its sender has let go of the buffer too, of whose memory others are made."""
    if comm.rank == 0:
        for dest in range(1, comm.size):
            comm.isend(np.full(1 << 22, dest), dest)
        other = np.zeros(1 << 22, np.int64)
        comm.barrier()
        comm.barrier()
        assert not other.any()
    else:
        comm.barrier()
        message = np.zeros(1 << 22, np.int64)
        comm.recv(message, 0)
        np.testing.assert_array_equal(message, comm.rank)
        comm.barrier()


def iallreduce_in_flight_together(comm: Communicator) -> None:
    total = comm.size * (comm.size + 1) / 2
    sums = np.full(70_000, comm.rank + 1.0, np.float32)
    tops = np.full(3, comm.rank, np.float64)
    empty = np.empty(0, np.float32)
    requests = [comm.iallreduce(sums), comm.iallreduce(tops, "max"), comm.iallreduce(empty)]
    for request in reversed(requests):
        request.wait()
    for request in requests:
        request.wait()
    np.testing.assert_array_equal(sums, np.full(70_000, total))
    np.testing.assert_array_equal(tops, np.full(3, comm.size - 1))


def iallreduce_last_on_rank_0(comm: Communicator, sums: np.ndarray, meanwhile: Callable[[Request], None]) -> Request:
    """The request, which on rank 0 is made only when all others have done with theirs what they do ``meanwhile``."""
    if comm.rank == 0:
        for other in range(1, comm.size):
            comm.recv(np.empty(1), other, 7)
        return comm.iallreduce(sums)
    request = comm.iallreduce(sums)
    meanwhile(request)
    comm.send(np.zeros(1), 0, 7)
    return request


def a_wait_for_an_iallreduce_can_be_given_up_and_taken_up_again(comm: Communicator) -> None:
    """Rank 0 takes part only when all others have had something to do meanwhile, which ended their waits."""

    def given_up() -> None:
        raise KeyError("given up")

    def give_up(request: Request) -> None:
        with pytest.raises(KeyError, match="given up"):
            request.wait(given_up)

    sums = np.full(70_000, comm.rank + 1.0)
    request = iallreduce_last_on_rank_0(comm, sums, give_up)
    seen: list[int] = []
    request.wait(lambda: seen.append(1))
    request.wait(given_up)
    np.testing.assert_array_equal(sums, np.full(70_000, comm.size * (comm.size + 1) / 2))


def broadcast_from_every_root(comm: Communicator) -> None:
    pair = np.dtype([("key", "i4"), ("value", "f8")])
    for root in range(comm.size):
        for dtype in [*DTYPES, "bool", "complex64", pair]:
            for count in [0, 1, 5000]:
                expected = np.arange(count).astype("f8").astype(dtype) if dtype != pair else np.ones(count, pair)
                buffer = expected.copy() if comm.rank == root else np.zeros(count, dtype)
                comm.broadcast(buffer, root)
                np.testing.assert_array_equal(buffer, expected)


def allgather_into_any_shape(comm: Communicator) -> None:
    for dtype in [*DTYPES, "bool"]:
        for count in [0, 1, 17, 100_003]:
            whole = np.zeros((count, comm.size), dtype)
            comm.allgather_into(held_by(comm.rank, count, dtype), whole)
            expected = np.concatenate([held_by(rank, count, dtype) for rank in range(comm.size)])
            np.testing.assert_array_equal(whole.reshape(-1), expected)
    for part, whole in [(np.zeros(3), np.zeros(3 * comm.size + 1)), (np.zeros(3), np.zeros(3 * comm.size, np.float32))]:
        with pytest.raises(InvalidArgumentError, match=rf"{comm.size} parts of 3 float64 do not make"):
            comm.allgather_into(part, whole)
    whole = np.zeros(3 * comm.size)
    with pytest.raises(InvalidArgumentError, match="memory of the whole"):
        comm.allgather_into(whole[:3], whole)


def objects(comm: Communicator) -> None:
    own = {"rank": comm.rank, "text": "x" * (1 + 40_000 * comm.rank)}
    gathered = comm.allgather(own)
    assert gathered == [{"rank": r, "text": "x" * (1 + 40_000 * r)} for r in range(comm.size)]
    assert all(value is not own for value in gathered)
    gathered[0]["rank"] = "changed by one rank alone"
    root = comm.size - 1
    assert comm.broadcast_object(("from", comm.rank), root) == ("from", root)
    assert comm.broadcast_object(None) is None


def barrier_lets_nobody_pass_early(comm: Communicator) -> None:
    for _ in range(20):
        entered = time.monotonic_ns()
        comm.barrier()
        left = time.monotonic_ns()
        times = comm.allgather((entered, left))
        assert max(t[0] for t in times) <= min(t[1] for t in times)


def messages_around_a_ring(comm: Communicator) -> None:
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    for dtype in [*DTYPES, "bool"]:
        for count in [0, 1, 17, 300_000]:
            sent = held_by(comm.rank, count, dtype)
            request = comm.isend(sent, right, tag=count % 7)
            received = np.zeros(count, dtype)
            envelope = comm.recv(received, left, count % 7)
            request.wait()
            assert envelope == (left, count % 7, sent.nbytes)
            assert envelope.count(dtype) == count
            np.testing.assert_array_equal(received, held_by(left, count, dtype))


def messages_are_taken_when_they_come(comm: Communicator) -> None:
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    for count in [0, 17, 300_000]:
        first, second = np.zeros(count, np.int64), np.zeros(3, np.float32)
        requests = [comm.irecv(first, left, 4), comm.irecv(second, left, 5)]
        assert [request.test() for request in requests] == [False, False]
        comm.barrier()
        sent = [comm.isend(np.ones(3, np.float32), right, 5), comm.isend(held_by(comm.rank, count, "int64"), right, 4)]
        requests[0].wait()
        while not requests[1].test():
            pass
        for request in [*requests, *sent]:
            request.wait()
            assert request.test()
        np.testing.assert_array_equal(first, held_by(left, count, "int64"))
        np.testing.assert_array_equal(second, np.ones(3))
        comm.barrier()
    sending = comm.isend(np.zeros(3), right)
    receiving = comm.irecv(np.zeros(5), left)
    with pytest.raises(RanksDisagree, match=rf"40 bytes .*5 float64.* rank {left} with tag 0 has 24 bytes"):
        receiving.wait()
    sending.wait()


def a_look_at_an_iallreduce_does_not_wait(comm: Communicator) -> None:
    """Rank 0 takes part only when all others have looked."""
    sums = np.full(70_000, comm.rank + 1.0)

    def look(request: Request) -> None:
        assert not request.test()

    request = iallreduce_last_on_rank_0(comm, sums, look)
    while not request.test():
        pass
    np.testing.assert_array_equal(sums, np.full(70_000, comm.size * (comm.size + 1) / 2))
    request.wait()


def a_sent_buffer_may_change(comm: Communicator) -> None:
    if comm.rank == 0:
        for dest in range(1, comm.size):
            buffer = np.full(10, dest, np.int32)
            comm.send(buffer, dest)
            buffer[:] = -1
    else:
        received = np.zeros((2, 5), np.int32)
        comm.recv(received)
        np.testing.assert_array_equal(received, np.full((2, 5), comm.rank))


def messages_keep_their_order_within_a_tag(comm: Communicator) -> None:
    if comm.rank == 0:
        for dest in range(1, comm.size):
            for value in range(5):
                comm.send(np.array([value]), dest, tag=1)
            comm.send(np.array([100]), dest, tag=2)
    else:
        value = np.zeros(1, np.int64)
        comm.recv(value, 0, tag=2)
        assert value[0] == 100
        for expected in range(5):
            comm.recv(value, 0, tag=1)
            assert value[0] == expected


def a_server_takes_messages_of_any_source_and_size(comm: Communicator) -> None:
    if comm.rank > 0:
        comm.send(np.arange(comm.rank * 3, dtype=np.float32), 0, tag=comm.rank + 10)
        return
    seen = []
    for _ in range(comm.size - 1):
        envelope = comm.probe()
        assert comm.iprobe(envelope.source, envelope.tag) == envelope
        buffer = np.empty(envelope.count(np.float32), np.float32)
        assert comm.recv(buffer, envelope.source, envelope.tag) == envelope
        assert envelope.tag == envelope.source + 10
        np.testing.assert_array_equal(buffer, np.arange(envelope.source * 3))
        seen.append(envelope.source)
    assert sorted(seen) == list(range(1, comm.size))
    assert comm.iprobe(ANY, ANY) is None


def a_message_of_another_size_is_refused(comm: Communicator) -> None:
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    for sent, wanted in [(3, 4), (4, 3), (0, 1), (40_000, 10)]:
        requests = [comm.isend(np.zeros(sent, np.float32), right, tag=5), comm.isend(np.ones(2), right, tag=5)]
        untouched = np.full(wanted, 7, np.float32)
        message = rf"{4 * wanted} bytes .*{wanted} float32.* rank {left} with tag 5 has {4 * sent} bytes"
        with pytest.raises(RanksDisagree, match=message):
            comm.recv(untouched, left)
        np.testing.assert_array_equal(untouched, np.full(wanted, 7))
        following = np.zeros(2)
        comm.recv(following, left)
        np.testing.assert_array_equal(following, np.ones(2))
        for request in requests:
            request.wait()
    requests = [comm.isend(np.zeros(3, np.uint8), right)]
    with pytest.raises(InvalidArgumentError, match=rf"rank {left} .* 3 bytes.*float32"):
        comm.probe(left).count(np.float32)
    comm.recv(np.zeros(3, np.uint8), left)
    requests[0].wait()


def bad_arguments_are_refused_before_anything_is_sent(comm: Communicator) -> None:
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    refused = [
        ("C-contiguous", lambda: comm.allreduce(np.zeros((4, 4))[:, 1])),
        ("C-contiguous", lambda: comm.send(np.zeros((4, 4)).T, 0)),
        ("read-only", lambda: comm.allreduce(fixed)),
        ("read-only", lambda: comm.broadcast(fixed)),
        ("read-only", lambda: comm.recv(fixed)),
        ("op is", lambda: comm.allreduce(np.zeros(3), "mean")),
        ("complex128", lambda: comm.allreduce(np.zeros(3, complex))),
        ("bool", lambda: comm.iallreduce(np.zeros(3, bool))),
        ("dtype", lambda: comm.broadcast(np.array([object()]))),
        ("dtype", lambda: comm.allreduce(np.zeros(3, ">f4"))),
        ("numpy array", lambda: comm.allreduce([1.0, 2.0])),
        (f"root {comm.size} ", lambda: comm.broadcast(np.zeros(3), comm.size)),
        ("root -1 ", lambda: comm.broadcast_object(1, -1)),
        (f"dest {comm.size} ", lambda: comm.send(np.zeros(3), comm.size)),
        ("tag -1 ", lambda: comm.isend(np.zeros(3), 0, -1)),
        ("tag 32768 ", lambda: comm.isend(np.zeros(3), 0, 32768)),
        ("source 99 ", lambda: comm.recv(np.zeros(3), 99)),
        ("source 99 ", lambda: comm.irecv(np.zeros(3), 99)),
        ("read-only", lambda: comm.irecv(fixed, 0)),
        ("tag -2 ", lambda: comm.probe(0, -2)),
    ]
    for message, call in refused:
        with pytest.raises(InvalidArgumentError, match=message):
            call()
    assert comm.iprobe() is None


def threads_of_a_rank_work_at_once(comm: Communicator) -> None:
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    received = np.zeros(1)
    receiver = threading.Thread(target=comm.recv, args=(received, left, 3))
    receiver.start()
    for _ in range(10):
        buffer = np.full(5000, comm.rank + 1.0)
        comm.allreduce(buffer)
        assert buffer[-1] == comm.size * (comm.size + 1) / 2
    comm.send(np.array([comm.rank + 0.5]), right, tag=3)
    receiver.join()
    assert received[0] == left + 0.5


def place_in_the_world(comm: Communicator) -> None:
    assert comm.allgather(comm.rank) == list(range(comm.size))
    hosts = comm.allgather(os.uname().nodename)
    mine = [rank for rank, host in enumerate(hosts) if host == hosts[comm.rank]]
    assert comm.node() == (mine.index(comm.rank), len(mine))


def parts_of_a_world(comm: Communicator) -> None:
    odd = comm.rank % 2
    members = list(range(odd, comm.size, 2))
    part = comm.split(odd + 5)
    assert (part.rank, part.size) == (comm.rank // 2, len(members))
    assert part.world == comm.world
    assert part.allgather(comm.rank) == members
    buffer = np.array([comm.rank + 1.0])
    part.allreduce(buffer)
    assert buffer[0] == sum(members) + len(members)
    # Only the ranks of the other half meet once more in their world.
    if not odd:
        part.barrier()
    alone = part.split(part.rank)
    assert (alone.rank, alone.size) == (0, 1)
    assert comm.split(0).allgather(comm.rank) == list(range(comm.size))


def messages_stay_in_their_world(comm: Communicator) -> None:
    part = comm.split(comm.rank // 2)
    requests = [
        world.isend(np.array([mark + comm.rank]), (world.rank + 1) % world.size, tag=7)
        for world, mark in [(comm, 100), (part, 200)]
    ]
    received = np.zeros(1, np.int64)
    left = part.allgather(comm.rank)[part.rank - 1]
    assert part.recv(received).source == (part.rank - 1) % part.size
    assert received[0] == 200 + left
    assert part.iprobe() is None
    assert comm.recv(received).source == (comm.rank - 1) % comm.size
    assert received[0] == 100 + (comm.rank - 1) % comm.size
    for request in requests:
        request.wait()


def the_world_of_a_node(comm: Communicator) -> None:
    node = comm.split_node()
    assert (node.rank, node.size) == comm.node() == node.node()
    ranks = node.allgather(comm.rank)
    assert ranks == sorted(ranks)


def a_rank_that_has_left_is_named_beside_messages_of_others(comm: Communicator) -> None:
    """One that serves hears of it though there is always a message, and takes its last ones first."""
    part, last = comm.split(0), comm.size - 1
    if comm.rank == last:
        for number in range(2):
            part.send(np.array([number]), 0)
        part.leave(b"enough")
    elif comm.rank:
        part.send(np.array([7]), 0)
    comm.barrier()
    if comm.rank == 0:
        taken, value = [], np.zeros(1, np.int64)

        def serve() -> None:
            while True:
                if part.probe(awaited=range(comm.size)).source == last:
                    part.recv(value, last)
                    taken.append(int(value[0]))

        with pytest.raises(RankEnded, match=f"rank {last} takes no further part") as caught:
            serve()
        assert (taken, caught.value.rank, caught.value.word) == ([0, 1], last, b"enough")
        for other in range(1, last):
            part.recv(value, other)
            assert value == 7
    comm.barrier()


def parts_that_all_have_left_are_left_alone(comm: Communicator) -> None:
    """The ranks leave them in another order each, and one never: that goes on, and so does the world."""
    kept = comm.split(0)
    for number in range(3):
        parts = [comm.split(0), comm.split(comm.rank % 2), kept.split_node(), kept.split(0), comm.split(0)]
        for part in parts:
            assert part.split(0).allgather(part.rank) == list(range(part.size))
            request = part.isend(np.array([number]), (part.rank + 1) % part.size)
            part.recv(np.zeros(1, np.int64))
            request.wait()
            total = np.array([1])
            part.allreduce(total)
            assert total[0] == part.size
        for part in parts if comm.rank % 2 else reversed(parts):
            part.leave(b"")
            part.leave(b"twice")
        for whole in (comm, kept):
            for _ in range(2):
                following = whole.split(0)
                assert following.allgather(whole.rank) == list(range(whole.size))
                following.leave(b"")


def a_part_that_one_rank_has_not_left_tells_it_of_the_others(comm: Communicator) -> None:
    parts = [comm.split(0) for _ in range(3)]
    if comm.rank:
        for part in parts:
            part.leave(b"enough")
    for _ in range(2):
        comm.split(0).leave(b"")
    if comm.rank == 0 and comm.size > 1:
        for part in parts:
            with pytest.raises(RankEnded, match="takes no further part") as caught:
                part.recv(np.zeros(1), 1)
            assert caught.value.word == b"enough"
    comm.barrier()


CASES = [
    a_message_arrives_though_nobody_waits_for_its_request,
    allreduce_every_dtype_and_count,
    allreduce_extreme_integers,
    allreduce_keeps_shape,
    allreduce_of_special_values,
    allreduce_same_bits_on_every_rank_and_run,
    allreduce_of_many_blocks,
    allreduce_of_many_nan_has_the_same_bits,
    allreduce_of_bfloat16_rounds_once,
    allreduce_overflows_in_silence,
    a_message_under_way_arrives_while_its_sender_waits,
    iallreduce_in_flight_together,
    a_wait_for_an_iallreduce_can_be_given_up_and_taken_up_again,
    broadcast_from_every_root,
    allgather_into_any_shape,
    objects,
    barrier_lets_nobody_pass_early,
    messages_around_a_ring,
    messages_are_taken_when_they_come,
    a_look_at_an_iallreduce_does_not_wait,
    a_sent_buffer_may_change,
    messages_keep_their_order_within_a_tag,
    a_server_takes_messages_of_any_source_and_size,
    a_message_of_another_size_is_refused,
    bad_arguments_are_refused_before_anything_is_sent,
    place_in_the_world,
    parts_of_a_world,
    messages_stay_in_their_world,
    the_world_of_a_node,
    parts_that_all_have_left_are_left_alone,
]
CASES_OF_SEVERAL_RANKS = [
    threads_of_a_rank_work_at_once,
    a_rank_that_has_left_is_named_beside_messages_of_others,
    a_part_that_one_rank_has_not_left_tells_it_of_the_others,
]
CASES_OF_ONE_NODE = [allreduce_of_many_nan_has_the_same_bits]  # between nodes MPI leaves open which NaN it is
