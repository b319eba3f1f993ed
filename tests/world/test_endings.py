"""Ranks that end, fail or do something else than the others: on threads that play nodes, and under a real mpirun."""

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
