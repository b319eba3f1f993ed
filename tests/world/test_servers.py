"""Servers on worlds of threads and under a real mpirun: the same cases on both."""

import numpy as np
import pytest
from mpirun import run_ranks, with_tests

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.errors import GraphError, InvalidArgumentError

from . import server_cases, server_row_cases

MODULES = [server_cases, server_row_cases]


def every_case():
    cases = [(n, case) for n in (2, 3, 4) for module in MODULES for case in module.cases_of(n)]
    return [pytest.param(n, case, id=f"{n}-{case.__name__}") for n, case in cases]


@pytest.mark.parametrize(("size", "case"), every_case())
def test_on_threads(size, case):
    run_threads(size, case)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_under_mpirun(size, module):
    done = run_ranks(size, module.__name__, env=with_tests())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in module.cases_of(size)]


def test_gradients_of_another_training_operation_are_refused():
    def part(comm):
        strategy = pf.parallel.ParameterServer(comm)
        with pf.Graph().as_default():
            w, u = pf.Variable(1.0, name="w"), pf.Variable(1.0, name="u")
            one, other = (pf.train.GradientDescentOptimizer(0.5).minimize(pf.square(v), var_list=[v]) for v in (w, u))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if strategy.is_server:
                    strategy.serve(session, one)
                session.run(one)
                session.run(other)

    with pytest.raises(GraphError, match="rank 0 pushes gradients of another training operation"):
        run_threads(2, part)


def refused(comm, make_step, message):
    """Two servers refuse to train by the operation that ``make_step`` builds for the variables w and u."""
    strategy = pf.parallel.ParameterServer(comm, servers=2)
    with pf.Graph().as_default():
        w, u = pf.Variable(np.ones(2), name="w"), pf.Variable(np.ones(3), name="u")
        step = make_step(pf.reduce_sum(pf.square(w)) + pf.reduce_sum(pf.square(u)), w, u)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if strategy.is_server:
                with pytest.raises(InvalidArgumentError, match=message):
                    strategy.serve(session, step)


def test_an_update_that_mixes_gradients_of_several_servers_is_refused():
    def clipped(loss, w, u):
        optimizer = pf.train.GradientDescentOptimizer(0.5)
        pairs = optimizer.compute_gradients(loss)
        gradients, _ = pf.clip_by_global_norm([g for g, _ in pairs], 1.0)
        return optimizer.apply_gradients(zip(gradients, (w, u), strict=True))

    run_threads(3, refused, clipped, r"the update of variable '[wu]' needs gradients that 2 servers hold.*servers to 1")


def test_a_variable_that_mixes_updates_of_several_servers_is_refused():
    """It reads both variables after their updates, through the store."""

    def averaging(loss, w, u):
        total = pf.Variable(np.float64(0), trainable=False, name="total")
        step = pf.train.GradientDescentOptimizer(0.5).minimize(loss)
        with pf.get_default_graph().control_dependencies([step]):
            summed = total.assign(pf.reduce_sum(w.read_value()) + pf.reduce_sum(u.read_value()))
        return pf.group(step, summed)

    run_threads(3, refused, averaging, "the update of variable 'total' needs gradients that 2 servers hold")


def test_more_servers_than_variables_are_refused():
    def only_w(loss, w, u):
        return pf.train.GradientDescentOptimizer(0.5).minimize(loss, var_list=[w])

    run_threads(3, refused, only_w, "servers = 2, but there are 1 trained variables.*set servers to at most 1")
