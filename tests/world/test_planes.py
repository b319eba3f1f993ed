"""Ranks that share planes: on threads that play one node or several, and under a real mpirun."""

import ast
from pathlib import Path

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads

from . import plane_cases


@pytest.mark.parametrize(("size", "ranks_per_node"), [(2, 2), (3, 3), (2, 1), (4, 2), (3, 2)])
@pytest.mark.parametrize("case", plane_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case, size, ranks_per_node):
    run_threads(size, case, ranks_per_node=ranks_per_node)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_under_mpirun(size):
    done = run_ranks(size, plane_cases.__file__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in plane_cases.CASES]


def test_where_memory_cannot_be_shared_each_rank_has_its_own_and_rank_0_says_so():
    done = run_ranks(2, Path(__file__).parent / "programs/unshared.py")
    assert done.returncode == 0, done.stderr
    first, *others = ast.literal_eval(done.stdout)
    assert len(first) == 1
    assert "share no memory" in first[0]
    assert "File too large" in first[0]
    assert others == [[]]
