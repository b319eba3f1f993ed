"""The strategies on worlds of threads and under a real mpirun: the same cases on both."""

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import cases


def every_case():
    return [pytest.param(n, case, id=f"{n}-{case.__name__}") for n in (1, 2, 3, 4) for case in cases.cases_of(n)]


@pytest.mark.parametrize(("size", "case"), every_case())
def test_on_threads(size, case):
    run_threads(size, case)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_under_mpirun(size):
    done = run_ranks(size, cases.__file__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in cases.cases_of(size)]
