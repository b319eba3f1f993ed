"""Who waited for whom: on threads that play one node or several, and under a real mpirun."""

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import waits_cases


@pytest.mark.parametrize("case", waits_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case):
    run_threads(3, case)


@pytest.mark.parametrize(("size", "ranks_per_node"), [(2, 2), (3, 1), (4, 2), (3, 2)])
@pytest.mark.parametrize("case", waits_cases.EXCHANGES, ids=lambda case: case.__name__)
def test_on_threads_that_play_nodes(case, size, ranks_per_node):
    run_threads(size, case, ranks_per_node=ranks_per_node)


def test_on_a_ring_of_threads():
    run_threads(5, waits_cases.beyond_the_neighbours_too)


def test_under_mpirun():
    done = run_ranks(3, waits_cases.__file__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi 3: {case.__name__}" for case in waits_cases.CASES]
