"""Ranks that end, fail or do something else than the others: on threads that play nodes, and under a real mpirun."""

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
    assert "RanksDisagree: rank 1 has ended its session or its program" in done.stderr
