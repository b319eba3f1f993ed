"""Compression in the modes beside allreduce, on worlds of threads and under a real mpirun: the same cases on both."""

import os
from pathlib import Path

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import compressed_cases

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("case", compressed_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(size, case):
    run_threads(size, case)


@pytest.mark.parametrize("size", [2, 3])
def test_under_mpirun(size):
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    done = run_ranks(size, "world.compressed_cases", env={"PYTHONPATH": path}, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in compressed_cases.CASES]
