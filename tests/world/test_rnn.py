"""Recurrent networks over ranks: on threads that play one node or several, and under a real mpirun."""

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import rnn_cases


@pytest.mark.parametrize(("size", "ranks_per_node"), [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("case", rnn_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case, size, ranks_per_node):
    run_threads(size, case, ranks_per_node=ranks_per_node)


def test_under_mpirun():
    done = run_ranks(3, rnn_cases.__file__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi 3: {case.__name__}" for case in rnn_cases.CASES]
