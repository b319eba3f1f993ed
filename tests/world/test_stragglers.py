"""What one slow worker costs the others: on threads, and under a real mpirun."""


import pytest
from mpirun import run_ranks, with_tests

from paraflow.comm import run_threads

from . import straggler_cases

RANKS = 4  # three workers, or where nobody serves, four


@pytest.mark.parametrize("case", straggler_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case):
    run_threads(RANKS, case)


def test_under_mpirun():
    done = run_ranks(RANKS, "world.straggler_cases", env=with_tests())
    assert done.returncode == 0, done.stderr
    ran = [f"mpi {RANKS}: {case.__name__}" for case in straggler_cases.CASES_OF_PROCESSES]
    assert done.stdout.splitlines() == ran
