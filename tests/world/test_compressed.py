"""Compression in the modes beside allreduce, on worlds of threads and under a real mpirun: the same cases on both."""

import pytest
from mpirun import run_ranks, with_tests

from paraflow.comm import run_threads

from . import compressed_cases


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("case", compressed_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(size, case):
    run_threads(size, case)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_under_mpirun(size):
    done = run_ranks(size, "world.compressed_cases", env=with_tests(), timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in compressed_cases.CASES]
