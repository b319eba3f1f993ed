"""Ranks that share planes: on threads that play one node or several, and under a real mpirun."""

import ast
from pathlib import Path

import numpy as np
import pytest
from mpirun import run_ranks

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.parallel import AllReduce

from . import plane_cases


@pytest.mark.parametrize(("size", "ranks_per_node"), [(2, 2), (3, 3), (2, 1), (4, 2), (3, 2)])
@pytest.mark.parametrize("case", plane_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case, size, ranks_per_node):
    run_threads(size, case, ranks_per_node=ranks_per_node)


def test_nodes_of_7_and_9_ranks_add_up_norms_alike():
    """numpy adds up to 7 numbers one by one, and more of them in another order."""

    def moved(comm):
        with pf.Graph().as_default():
            rng = np.random.default_rng(5)
            variables = [pf.Variable(rng.normal(size=1000)) for _ in range(10)]
            loss = pf.add_n([pf.reduce_sum(pf.exp(v)) for v in variables])
            step = pf.train.LARSOptimizer(0.1).minimize(loss)
            with pf.Session(strategy=AllReduce(comm), bucket_bytes=1) as session:
                session.run(pf.global_variables_initializer())
                session.run(step)
                return np.stack(session.run(variables)).tobytes()

    assert len(set(run_threads(16, moved, ranks_per_node=9))) == 1


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
