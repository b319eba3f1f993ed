import threading

import numpy as np
import pytest

from paraflow.comm import run_threads
from paraflow.errors import InvalidArgumentError, RanksDisagree, WorldAborted

from .test_mpi import EVERY_CASE


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("case", EVERY_CASE, ids=lambda case: case.__name__)
def test_case(case, size):
    run_threads(size, case)


def test_results_are_in_rank_order():
    assert run_threads(5, lambda comm, factor: comm.rank * factor, 10) == [0, 10, 20, 30, 40]


def test_a_world_has_a_rank():
    with pytest.raises(InvalidArgumentError, match="0"):
        run_threads(0, lambda comm: None)


def test_sum_is_taken_in_rank_order():
    values = np.array([1e16, 1.0, -1e16, 1.0])

    def program(comm):
        buffer = values[comm.rank : comm.rank + 1].copy()
        comm.allreduce(buffer)
        return buffer[0]

    assert run_threads(4, program) == [((1e16 + 1.0) + -1e16) + 1.0] * 4


BLOCKED = {
    "barrier()": lambda comm: comm.barrier(),
    "allreduce(sum) of 3 float64": lambda comm: comm.allreduce(np.zeros(3)),
    "wait of iallreduce(max) of 3 int32": lambda comm: comm.iallreduce(np.zeros(3, np.int32), "max").wait(),
    "broadcast(root=0) of 2 float64": lambda comm: comm.broadcast(np.zeros(2)),
    "allgather()": lambda comm: comm.allgather(1),
    "allgather_into() of 2 float64": lambda comm: comm.allgather_into(np.zeros(2), np.zeros(2 * comm.size)),
    "broadcast_object(root=1)": lambda comm: comm.broadcast_object(1, 1),
    "recv(source=1, tag=ANY)": lambda comm: comm.recv(np.zeros(1), 1),
    "probe(source=ANY, tag=7)": lambda comm: comm.probe(tag=7),
}


@pytest.mark.parametrize("call", BLOCKED)
def test_an_exception_wakes_ranks_that_wait(call):
    woken = {}

    def program(comm):
        if comm.rank == 1:
            raise ZeroDivisionError("of rank 1")
        try:
            BLOCKED[call](comm)
        except WorldAborted as error:
            woken[comm.rank] = error
            raise

    with pytest.raises(ZeroDivisionError, match="of rank 1") as caught:
        run_threads(3, program)
    assert caught.value.__notes__ == ["raised on rank 1 of 3"]
    assert sorted(woken) == [0, 2]
    for error in woken.values():
        assert error.rank == 1
        assert "ZeroDivisionError: of rank 1" in str(error)


@pytest.mark.parametrize(
    "poll", [lambda comm: comm.iprobe(), lambda comm: comm.send(np.zeros(1), comm.rank), lambda comm: comm.barrier]
)
def test_an_exception_ends_ranks_that_poll(poll):
    def program(comm):
        if comm.rank == 2:
            raise KeyError("gone")
        while True:
            poll(comm)
            comm.iprobe()

    with pytest.raises(KeyError, match="gone"):
        run_threads(3, program)


def test_abort_stops_every_rank_with_the_code():
    def program(comm):
        if comm.rank == 1:
            comm.abort(75)
        comm.barrier()

    with pytest.raises(SystemExit) as caught:
        run_threads(3, program)
    assert caught.value.code == 75


@pytest.mark.parametrize(
    ("calls", "messages"),
    [
        (
            [lambda c: c.allreduce(np.zeros(3)), lambda c: c.allreduce(np.zeros(4))] * 2,
            ["collective 0", "ranks 0, 2: allreduce(sum) of 3 float64", "ranks 1, 3: allreduce(sum) of 4 float64"],
        ),
        (
            [lambda c: c.allreduce(np.zeros(3)), lambda c: c.allreduce(np.zeros(3, np.float32))],
            ["rank 0: allreduce(sum) of 3 float64", "rank 1: allreduce(sum) of 3 float32"],
        ),
        (
            [lambda c: c.allreduce(np.zeros(0), "max"), lambda c: c.allreduce(np.zeros(0))],
            ["rank 0: allreduce(max) of 0 float64", "rank 1: allreduce(sum) of 0 float64"],
        ),
        (
            [lambda c: c.barrier(), lambda c: c.allgather(1), lambda c: c.barrier(), lambda c: c.allgather(2)],
            ["ranks 0, 2: barrier()", "ranks 1, 3: allgather()"],
        ),
        (
            [lambda c: c.broadcast(np.zeros(3), 0), lambda c: c.broadcast(np.zeros(3), 1)],
            ["rank 0: broadcast(root=0) of 3 float64", "rank 1: broadcast(root=1) of 3 float64"],
        ),
        (
            [lambda c: c.broadcast_object(1, 0), lambda c: c.broadcast_object(1, 1)],
            ["rank 0: broadcast_object(root=0)", "rank 1: broadcast_object(root=1)"],
        ),
        (
            [lambda c: c.allreduce(np.zeros(3)), lambda c: c.iallreduce(np.zeros(3)).wait()],
            ["rank 0: allreduce(sum) of 3 float64", "rank 1: iallreduce(sum) of 3 float64"],
        ),
        (
            [lambda c: c.barrier(), lambda c: None, lambda c: c.barrier()],
            ["ranks 0, 2: barrier()", "rank 1: returned without a call"],
        ),
    ],
    ids=["count", "dtype", "op", "operation", "root", "object root", "blocking", "returned"],
)
def test_ranks_that_disagree_all_raise(calls, messages):
    raised = {}

    def program(comm):
        try:
            calls[comm.rank](comm)
        except RanksDisagree as error:
            raised[comm.rank] = str(error)
            raise

    with pytest.raises(RanksDisagree):
        run_threads(len(calls), program)
    assert len(raised) == len(calls) - ("returned" in messages[-1])
    for text in raised.values():
        for message in messages:
            assert message in text


def test_a_disagreement_is_counted_from_the_first_collective():
    def program(comm):
        comm.barrier()
        comm.allgather(0)
        comm.allreduce(np.zeros(comm.rank + 1))

    with pytest.raises(RanksDisagree, match="collective 2"):
        run_threads(2, program)


def test_a_deadlock_names_every_rank_and_its_call():
    calls = [
        lambda comm: comm.recv(np.zeros(1), source=1, tag=3),
        lambda comm: comm.barrier(),
        lambda comm: comm.probe(),
        lambda comm: None,
    ]
    woken = []

    def program(comm):
        try:
            calls[comm.rank](comm)
        except WorldAborted as error:
            woken.append((comm.rank, error.rank))

    with pytest.raises(TimeoutError) as caught:
        run_threads(4, program, timeout=1)
    for part in [
        "1 s",
        "rank 0 waits in recv(source=1, tag=3)",
        "rank 1 waits in barrier()",
        "rank 2 waits in probe(source=ANY, tag=ANY)",
        "rank 3 has returned",
    ]:
        assert part in str(caught.value)
    assert sorted(woken) == [(0, None), (1, None), (2, None)]


def test_a_deadlock_of_several_threads_of_a_rank_names_both_calls():
    def program(comm):
        def helper():
            with pytest.raises(WorldAborted):
                comm.recv(np.zeros(1), 0, 1)

        thread = threading.Thread(target=helper)
        thread.start()
        try:
            comm.recv(np.zeros(1), 0, 2)
        finally:
            thread.join()

    with pytest.raises(TimeoutError, match=r"rank 0 waits in recv\(.*tag=[12]\) and in recv\(.*tag=[12]\)"):
        run_threads(1, program, timeout=1)


def test_a_rank_that_computes_forever_is_named():
    release = threading.Event()

    def program(comm):
        if comm.rank == 1:
            release.wait()
        comm.barrier()

    with pytest.raises(TimeoutError, match=r"rank 0 waits in barrier\(\); rank 1 is outside"):
        run_threads(2, program, timeout=1)
    release.set()


def test_a_message_of_another_dtype_is_refused():
    def program(comm):
        if comm.rank == 1:
            comm.send(np.ones(2, np.float32), 0, tag=9)
        else:
            comm.recv(np.zeros(1, np.int64))

    with pytest.raises(RanksDisagree, match=r"int64.* rank 1 with tag 9 holds float32"):
        run_threads(2, program)


def test_a_message_is_copied_when_it_is_sent():
    def program(comm):
        buffer = np.full(4, comm.rank + 1.0)
        request = comm.isend(buffer, 1 - comm.rank)
        buffer[:] = -1
        comm.barrier()
        comm.recv(buffer)
        request.wait()
        return buffer[0]

    assert run_threads(2, program) == [2.0, 1.0]


def test_a_world_may_look_like_several_nodes():
    def program(comm):
        node = comm.split_node()
        with pytest.raises(InvalidArgumentError, match=rf"5 ranks .* only {node.size} .* split_node"):
            comm.share(8)
        memory = node.share(8)
        memory.parts[node.rank][:] = comm.rank
        node.barrier()
        across = comm.split(node.rank)
        return (
            comm.node(),
            (node.rank, node.size, node.node()),
            [part[0] for part in memory.parts],
            (across.allgather(comm.rank), across.node(), across.split_node().size),
        )

    assert run_threads(5, program, ranks_per_node=2) == [
        ((0, 2), (0, 2, (0, 2)), [0, 1], ([0, 2, 4], (0, 1), 1)),
        ((1, 2), (1, 2, (1, 2)), [0, 1], ([1, 3], (0, 1), 1)),
        ((0, 2), (0, 2, (0, 2)), [2, 3], ([0, 2, 4], (0, 1), 1)),
        ((1, 2), (1, 2, (1, 2)), [2, 3], ([1, 3], (0, 1), 1)),
        ((0, 1), (0, 1, (0, 1)), [4], ([0, 2, 4], (0, 1), 1)),
    ]
    with pytest.raises(InvalidArgumentError, match="0"):
        run_threads(2, program, ranks_per_node=0)


def test_a_failure_in_one_part_of_the_world_ends_the_others():
    woken = {}

    def program(comm):
        part = comm.split(comm.rank % 2)
        if comm.rank == 2:
            raise ZeroDivisionError("of rank 2")
        try:
            part.split(0).recv(np.zeros(1), 0)
        except WorldAborted as error:
            woken[comm.rank] = error.rank
            raise

    with pytest.raises(ZeroDivisionError) as caught:
        run_threads(4, program)
    assert caught.value.__notes__ == ["raised on rank 2 of 4"]
    assert woken == {0: 2, 1: 2, 3: 2}


def test_abort_of_a_part_stops_the_world():
    def program(comm):
        part = comm.split(comm.rank)
        if comm.rank == 1:
            part.abort(75)
        comm.barrier()

    with pytest.raises(SystemExit) as caught:
        run_threads(3, program)
    assert caught.value.code == 75


def test_ranks_of_a_part_are_named_as_in_the_world():
    def disagree(comm):
        part = comm.split(comm.rank % 2)
        if comm.rank in (1, 3):
            part.allreduce(np.zeros(comm.rank))

    with pytest.raises(RanksDisagree, match=r"rank 1: allreduce.* of 1 float64; rank 3: allreduce.* of 3 float64"):
        run_threads(4, disagree)

    def deadlock(comm):
        part = comm.split(comm.rank % 2)
        if comm.rank in (0, 2):
            part.recv(np.zeros(1), source=1 - part.rank)

    with pytest.raises(TimeoutError, match=r"rank 2 waits in recv\(source=0, tag=ANY\) among ranks 0, 2; rank 3 has"):
        run_threads(4, deadlock, timeout=0.2)


def test_an_exception_wakes_ranks_that_wait_in_memory():
    woken = {}

    def program(comm):
        memory = comm.share(0, flags=1)
        if comm.rank == 1:
            raise KeyError("gone")
        try:
            memory.wait(0, 0)
            memory.wait(0, 1, progress=comm.iprobe if comm.rank == 2 else None)
        except WorldAborted as error:
            woken[comm.rank] = str(error)
            raise

    with pytest.raises(KeyError):
        run_threads(3, program)
    assert sorted(woken) == [0, 2]


def test_a_wait_in_memory_that_never_ends_is_named():
    def program(comm):
        memory = comm.share(0, flags=4)
        if comm.rank == 0:
            memory.wait(3, 7)
        else:
            memory.wait_for(0, 2, 5, progress=lambda: None)

    with pytest.raises(TimeoutError) as caught:
        run_threads(2, program, timeout=0.2)
    assert "rank 0 waits in wait(flag=3, value=7) in shared memory" in str(caught.value)
    assert "rank 1 waits in wait_for(rank=0, flag=2, value=5) in shared memory" in str(caught.value)


def test_a_rank_that_returns_has_ended_its_part():
    def program(comm):
        memory = comm.share(0, flags=1)
        memory.post(0, 6 - comm.rank)
        if comm.rank == 0:
            memory.wait(0, 6)

    with pytest.raises(RanksDisagree, match=r"rank 1 has ended its part .* flag 0 at 5, .* waits for 6"):
        run_threads(2, program)
