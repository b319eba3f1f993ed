"""Ranks that choose the size of buckets by measuring: on threads that play one node or several, and under mpirun."""

import threading
from collections import defaultdict

import numpy as np
import pytest
from mpirun import run_ranks

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.errors import RanksDisagree
from paraflow.parallel import AllReduce
from paraflow.runtime import planning

from . import tuning_cases


@pytest.mark.parametrize("case", tuning_cases.CASES, ids=lambda case: case.__name__)
def test_on_threads(case):
    """A node of two ranks and one of one."""
    run_threads(3, case, ranks_per_node=2)


def test_under_mpirun():
    done = run_ranks(2, tuning_cases.__file__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi 2: {case.__name__}" for case in tuning_cases.CASES]


def test_each_size_is_compiled_once(monkeypatch):
    compiled = defaultdict(list)  # by rank

    def counting(graph, tensors, operations, feeds, options, disable, observe):
        compiled[threading.current_thread().name].append(options.bucket_bytes)
        return compile_plan(graph, tensors, operations, feeds, options, disable, observe)

    compile_plan = planning.compile_plan
    monkeypatch.setattr(planning, "compile_plan", counting)

    def rank(comm):
        with pf.Graph().as_default():
            variables = [pf.Variable(np.ones(1 << 15, np.float32)) for _ in range(12)]
            x = pf.placeholder(pf.float32, (None,))
            loss = pf.add_n([pf.reduce_sum(pf.square(v)) for v in variables]) * pf.reduce_mean(x)
            step = pf.train.GradientDescentOptimizer(0.1).minimize(loss)
            with pf.Session(strategy=AllReduce(comm), autotune=True) as session:
                session.run(pf.global_variables_initializer())
                compiled[threading.current_thread().name].clear()
                for _ in range(3):
                    session.run(step, {x: [1.0]})
                return session.tuning.bucket_bytes

    chosen = run_threads(2, rank)
    assert len(set(chosen)) == 1
    mib = 1 << 20
    assert list(compiled.values()) == [[4 * mib, mib // 4, mib, 16 * mib]] * 2


def test_what_is_one_bucket_anyway_is_not_measured():
    def rank(comm):
        with pf.Graph().as_default():
            w = pf.Variable(np.ones(100, np.float32))
            step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_sum(pf.square(w)))
            with pf.Session(strategy=AllReduce(comm), autotune=True) as session:
                session.run(pf.global_variables_initializer())
                session.run(step)
                return session.tuning, session.run(w)

    for tuning, values in run_threads(2, rank):
        assert (tuning.bucket_bytes, tuning.rounds, tuning.buckets) == (4 << 20, {}, {4 << 20: 1})
        np.testing.assert_allclose(values, 0.8, rtol=1e-6)


def test_ranks_of_which_some_measure_are_told():
    def rank(comm):
        with pf.Graph().as_default():
            w = pf.Variable(np.ones(100, np.float32))
            step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_sum(pf.square(w)))
            with pf.Session(strategy=AllReduce(comm), autotune=comm.rank == 1) as session:
                session.run(pf.global_variables_initializer())
                session.run(step)

    with pytest.raises(RanksDisagree, match=r"rank 1: autotune = True\n  rank 0: autotune = False"):
        run_threads(3, rank)


def test_one_process_has_nothing_to_choose():
    with pf.Graph().as_default():
        w = pf.Variable(1.0)
        step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.square(w))
        with pf.Session(autotune=True) as session:
            session.run(pf.global_variables_initializer())
            session.run(step)
            assert session.tuning is None
