"""Stopping a launch: what the ranks get, what the launcher returns, and that nothing survives it."""

import signal

import pytest

from .support import running, wait_end

WAITING = """
    import sys, time
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    world.barrier()
    ready()
    try:
        if sys.argv[1] == "python" or (sys.argv[1] == "mixed" and world.rank == 1):
            time.sleep(600)
        world.Recv(bytearray(1))  # a message that no one sends
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise
"""


def begin(start, ranks, where):
    launch = start(ranks, WAITING, where)
    launch.wait_ready(ranks)
    return launch, launch.processes()


@pytest.mark.parametrize("request_", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_stop_reaches_every_rank_as_keyboard_interrupt(start, request_):
    launch, processes = begin(start, 3, "python")
    launch.process.send_signal(request_)
    ended = launch.end()
    assert ended.code == 128 + request_
    assert ended.verdict.splitlines()[0] == f"paraflow: stopped by {request_.name}"
    assert "Traceback" not in ended.err
    assert running(processes) == set()


def test_ranks_that_wait_for_an_interrupted_one_end_with_it(start):
    launch, processes = begin(start, 3, "mixed")
    launch.process.send_signal(signal.SIGINT)
    ended = launch.end()
    assert ended.code == 130
    assert ended.log(1).startswith("interrupted\n")
    assert running(processes) == set()


def test_ranks_that_all_wait_in_mpi_are_killed(start):
    launch, processes = begin(start, 2, "mpi")
    launch.process.send_signal(signal.SIGTERM)
    ended = launch.end()
    assert ended.code == 143
    assert running(processes) == set()


def test_asked_twice_it_does_not_wait(start):
    launch, processes = begin(start, 2, "mpi")
    launch.process.send_signal(signal.SIGINT)
    launch.process.send_signal(signal.SIGTERM)
    ended = launch.end()
    assert ended.code in (130, 143)
    assert running(processes) == set()


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_launcher_that_is_killed_takes_its_ranks_along(start, ranks):
    launch, processes = begin(start, ranks, "mpi")
    launch.process.kill()
    wait_end(processes)
    assert launch.end().code == -9


def test_a_program_may_answer_a_request_with_an_exit_code_of_its_own(start):
    launch = start(
        2,
        """
        import sys, time
        from mpi4py import MPI
        try:
            ready()
            time.sleep(600)
        except KeyboardInterrupt:
            MPI.COMM_WORLD.barrier()
            sys.exit(75)
        """,
    )
    launch.wait_ready(2)
    launch.process.send_signal(signal.SIGTERM)
    assert launch.end().code == 75


def test_processes_that_ranks_leave_behind_end_with_the_launch(start):
    launch = start(
        2,
        """
        import subprocess
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        ready(child.pid)
        """,
    )
    left = {int(pid) for pid in launch.wait_ready(2).values()}
    assert launch.end().code == 0
    assert len(left) == 2
    assert running(left) == set()
