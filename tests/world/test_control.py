"""Ranks that train models of loops and branches: on threads that play one node or several, and under a real mpirun."""

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import control_cases


@pytest.mark.parametrize(("size", "ranks_per_node"), [(2, 2), (3, 3), (3, 1)])
@pytest.mark.parametrize("case", control_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case, size, ranks_per_node):
    run_threads(size, case, ranks_per_node=ranks_per_node)


@pytest.mark.parametrize("size", [2, 3])
def test_under_mpirun(size):
    done = run_ranks(size, control_cases.__file__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in control_cases.CASES]
