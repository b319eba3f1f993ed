"""Monitored sessions of several ranks: on threads, and under a real mpirun."""

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import monitored_cases


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("case", monitored_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case, size):
    run_threads(size, case)


@pytest.mark.parametrize("size", [2, 3])
def test_under_mpirun(size):
    done = run_ranks(size, monitored_cases.__file__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in monitored_cases.CASES]
