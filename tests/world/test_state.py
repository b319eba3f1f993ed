"""Averages of variables and checkpoints: on threads that play one node or several, and under a real mpirun."""

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import state_cases


@pytest.mark.parametrize(("size", "ranks_per_node"), [(1, 1), (2, 2), (3, 3), (3, 2)])
@pytest.mark.parametrize("case", state_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case, size, ranks_per_node):
    run_threads(size, case, ranks_per_node=ranks_per_node)


@pytest.mark.parametrize("size", [2, 3])
def test_under_mpirun(size):
    done = run_ranks(size, state_cases.__file__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in state_cases.CASES]
