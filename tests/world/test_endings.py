"""Ranks that end, fail or do something else than the others: on threads that play nodes, and under a real mpirun."""

import re
from pathlib import Path

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import ending_cases


@pytest.mark.parametrize(("size", "ranks_per_node"), [(2, 2), (3, 2), (4, 2)])
@pytest.mark.parametrize("case", ending_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case, size, ranks_per_node):
    run_threads(size, case, ranks_per_node=ranks_per_node)


@pytest.mark.parametrize("size", [2, 3])
def test_under_mpirun(size):
    done = run_ranks(size, ending_cases.__file__, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in ending_cases.CASES]


@pytest.mark.parametrize(
    ("strategy", "place", "waits"),
    [
        ("all_reduce", "session", "to make its session"),
        ("all_reduce", "start", "to begin a training step"),
        ("unshared", "start", "to begin a training step"),
        ("compressed", "start", "to begin a training step"),
        ("compressed", "step", "in a further step"),
        ("local_sgd", "start", "to begin a training step"),
        ("local_sgd", "step", "to average"),
        ("gossip", "step", "to average"),
        ("parameter_server", "start", "to begin"),
        ("parameter_server", "step", "to "),
        ("backup_workers", "step", "to "),
    ],
)
def test_a_program_that_returns_early_ends_the_others(strategy, place, waits):
    """They say within seconds which rank has ended, and what it has not done."""
    done = run_ranks(3, Path(__file__).parent / "programs/ends_before_training.py", strategy, place, timeout=30)
    assert done.returncode != 0
    assert f"rank 1 has ended its session or its program, but this rank waits for it {waits}" in done.stderr


@pytest.mark.parametrize("memory", ["shared", "unshared"])
@pytest.mark.parametrize("how", ["ends", "closes", "raises"])
def test_a_program_that_ends_a_step_early_ends_the_others(how, memory):
    """Whether ranks share memory or are nodes of their own, the job ends at once, and says why."""
    done = run_ranks(3, Path(__file__).parent / "programs/ends_early.py", how, memory, timeout=30)
    assert done.returncode != 0
    ended = "RanksDisagree: rank 1 has ended its session or its program"
    assert ("rank 1 failed, and this rank waits for it" if how == "raises" else ended) in done.stderr


def test_more_sessions_than_mpi_has_communicators():
    done = run_ranks(2, Path(__file__).parent / "programs/many_sessions.py")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


UNTIL_ONE_ENDS = Path(__file__).parent / "programs/trains_until_one_ends.py"


@pytest.mark.parametrize(
    ("strategy", "how"), [("one_server", "returns"), ("two_servers", "closes"), ("stale", "returns")]
)
def test_a_worker_that_leaves_is_named_while_the_others_push(strategy, how):
    """Their pushes never pause, and none of them waits for it."""
    done = run_ranks(4, UNTIL_ONE_ENDS, strategy, "1", how, timeout=30)
    assert done.returncode == 3, done.stderr
    assert "rank 1 has ended its session or its program, but this rank waits for it to push gradients" in done.stderr
    assert "calls the strategy's `finish`" in done.stderr


@pytest.mark.parametrize(
    ("strategy", "server", "how", "says"),
    [
        ("one_server", 3, "raises", "no room for the update"),
        ("two_servers", 2, "raises", "no room for the update"),
        ("three_servers", 2, "raises", "no room for the update"),
        ("together", 3, "nan", "the gradient : Tensor had NaN values"),
    ],
)
def test_a_server_that_fails_ends_the_world_with_its_traceback_last(strategy, server, how, says):
    done = run_ranks(4, UNTIL_ONE_ENDS, strategy, str(server), how, timeout=30)
    assert done.returncode == 1, done.stderr
    *_, traceback = done.stderr.partition("Traceback (most recent call last)")
    report, raised, rest = traceback.rpartition(f"raised on rank {server} of 4")
    assert says in report
    assert raised
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    ("strategy", "rank"),
    [("all_reduce", 1), ("gossip", 2), ("two_servers", 3), ("backup_workers", 0)],
)
def test_a_rank_that_is_killed_ends_the_world(strategy, rank):
    """mpirun says which process that was; what other ranks' MPI makes of it does not cover that."""
    done = run_ranks(4, UNTIL_ONE_ENDS, strategy, str(rank), "killed", timeout=30)
    assert done.returncode in (9, 137), done.stderr
    assert re.search(r"Killed \(signal 9\)|signal 9 \(Killed\)", done.stdout + done.stderr)
    assert "Traceback" not in done.stderr
