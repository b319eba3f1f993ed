"""What ranks that train models of loops and branches have to do, as functions of a communicator; a script on world().

Every rank computes what it expects by itself, in one process.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import GraphError, RanksDisagree
from paraflow.parallel import AllReduce, LocalSGD, ParameterServer


def samples_of(rank: int, size: int) -> int:
    """Uneven where there are three; a power of two on each and on all, so that means are exact."""
    return 2 if size == 3 and rank == 0 else 1


def batch(ranks: list[int], size: int, step: int) -> np.ndarray:
    """Small whole numbers, others for each rank and step: what follows has no rounding errors in float64."""
    rows = [np.random.default_rng([rank, step]).integers(-3, 4, (samples_of(rank, size), 2)) for rank in ranks]
    return np.concatenate(rows).astype(np.float64)


def recurrent() -> tuple[Any, Any, Any]:
    """x, loss and the turns made so far: three turns of a cell that draws, branches and counts."""
    pf.set_random_seed(4)
    x = pf.placeholder(pf.float64, (None, 2))
    w = pf.Variable(np.array([[0.5, 1.0], [-1.0, 0.25]]), name="w")
    b = pf.Variable(np.array([0.5, 2.0]), name="b")
    turns = pf.Variable(np.zeros((), np.int32), trainable=False, name="turns")

    def body(i: Any, h: Any) -> Any:
        # Other random numbers would not be the same on all ranks.
        sign = pf.cast(pf.random.stateless_uniform([2], [4, i], 0, 2, pf.int32) * 2 - 1, pf.float64)
        h = pf.cond(pf.reduce_sum(pf.abs(b)) > 1, lambda: pf.matmul(h, w) + b * sign, lambda: h)
        with pf.control_dependencies([turns.assign_add(1)]):
            return i + 1, h + x

    _, h = pf.while_loop(lambda i, h: i < 3, body, (0, x))
    rows = pf.scan(lambda a, row: a * 0.5 + row, pf.transpose(h), pf.zeros_like(h[:, 0]))
    return x, pf.reduce_mean(pf.reduce_sum(rows, axis=0)), turns


def trained(strategy: Any, ranks: list[int], size: int, steps: int, **options: Any) -> dict[str, np.ndarray]:
    with pf.Graph().as_default():
        x, loss, _ = recurrent()
        step = pf.train.MomentumOptimizer(0.0625, 0.5).minimize(loss)
        with pf.Session(strategy=strategy, **options) as session:
            session.run(pf.global_variables_initializer())
            if strategy is not None and strategy.is_server:
                strategy.serve(session, step)
                steps = 0
            for number in range(steps):
                session.run([step, loss], {x: batch(ranks, size, number)})
            if strategy is not None:
                strategy.finish(session)
            found: dict[str, np.ndarray] = session.run({v.name: v for v in pf.global_variables()})
            return found


def ranks_train_to_the_bytes_of_one_process(comm: Communicator) -> None:
    expected = trained(None, list(range(comm.size)), comm.size, 2)
    assert not np.array_equal(expected["w:0"], [[0.5, 1.0], [-1.0, 0.25]])
    assert expected["turns:0"] == 6
    for options in ({}, {"threads": 2}, {"bucket_bytes": 1}):
        found = trained(AllReduce(comm), [comm.rank], comm.size, 2, **options)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, name)


def further_steps_differ_by_rounding_only(comm: Communicator) -> None:
    expected = trained(None, list(range(comm.size)), comm.size, 6)
    found = trained(AllReduce(comm, shared_memory=False), [comm.rank], comm.size, 6)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)
    for other in comm.allgather(found):
        for name, value in found.items():
            np.testing.assert_array_equal(other[name], value, name)


def other_strategies_take_loops(comm: Communicator) -> None:
    """The mean of parameters after one step of gradient descent each is a step along the mean gradient."""
    with pf.Graph().as_default():
        x, loss, _ = recurrent()
        step = pf.train.GradientDescentOptimizer(0.0625).minimize(loss)
        strategy = LocalSGD(comm, period=1)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            session.run(step, {x: batch([comm.rank], comm.size, 0)})
            strategy.finish(session)
            found = session.run(pf.trainable_variables())
    with pf.Graph().as_default():
        x, loss, _ = recurrent()
        step = pf.train.GradientDescentOptimizer(0.0625).minimize(loss)
        with pf.Session() as session:
            session.run(pf.global_variables_initializer())
            session.run(step, {x: batch(list(range(comm.size)), comm.size, 0)})
            for a, b in zip(found, session.run(pf.trainable_variables()), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)
    served = trained(ParameterServer(comm), [comm.rank], comm.size, 3)
    assert np.isfinite(served["w:0"]).all()


def ranks_may_make_other_numbers_of_turns(comm: Communicator) -> None:
    """Each sample is halved until it is small; on each rank other samples need other numbers of turns."""

    def train(strategy: Any, ranks: list[int]) -> tuple[np.ndarray, int]:
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None,))
            w = pf.Variable(np.array(2.0))
            n, y = pf.while_loop(lambda n, y: pf.reduce_max(y) > 1, lambda n, y: (n + 1, y / w), (0, x))
            step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(y) * 0.125)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                values = [float(2 << rank) for rank in ranks]
                turns, _ = session.run([n, step], {x: values})
                return session.run(w), turns

    found, turns = train(AllReduce(comm), [comm.rank])
    assert turns == comm.rank + 1
    # d/dw of w^-n x at x = 2^n is -n / 2.
    expected = 2 + 0.125 * np.mean([(rank + 1) / 2 for rank in range(comm.size)])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def loops_and_branches_draw_other_numbers_on_each_rank(comm: Communicator) -> None:
    """Two runs of 3 turns: no two turns, runs or ranks have the same numbers, another session has the same ones."""

    def draw(strategy: Any) -> tuple[np.ndarray, np.ndarray]:
        with pf.Graph().as_default():
            pf.set_random_seed(3)
            x = pf.placeholder(pf.float64, (None, 2))
            w = pf.Variable(np.ones(2))

            def body(i: Any, y: Any, masks: Any) -> Any:
                mask = pf.cond(pf.greater(i, 0), lambda: pf.random_uniform([2], dtype=pf.float64),
                               lambda: pf.random_normal([2], dtype=pf.float64))  # fmt: skip
                return i + 1, y + mask * w, masks.write(i, mask)

            _, y, masks = pf.while_loop(lambda i, *_: i < 3, body, (0, x, pf.TensorArray(pf.float64, 3)))
            (gradient,) = pf.gradients(pf.reduce_mean(pf.reduce_sum(y, axis=1)), [w])
            with pf.control_dependencies([gradient]):
                step = pf.train.GradientDescentOptimizer(0.0).minimize(pf.reduce_mean(pf.reduce_sum(y, axis=1)))
            fetches = [masks.stack(), gradient, step]
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                runs = [session.run(fetches, {x: np.ones((1, 2))})[:2] for _ in range(2)]
        return np.array([drawn for drawn, _ in runs]), np.array([gradient for _, gradient in runs])

    for strategy in (AllReduce, lambda comm: LocalSGD(comm, period=1)):
        drawn, gradients = draw(strategy(comm))
        np.testing.assert_array_equal(draw(strategy(comm))[0], drawn)
        np.testing.assert_allclose(gradients, drawn.sum(axis=1), rtol=1e-12)
        everywhere = np.concatenate(comm.allgather(drawn))
        assert len(np.unique(everywhere)) == everywhere.size == comm.size * 2 * 3 * 2


def gradients_are_not_exchanged_inside(comm: Communicator) -> None:
    with pf.Graph().as_default():
        w = pf.Variable(1.0)

        def body(i: Any) -> Any:
            with pf.control_dependencies([pf.train.GradientDescentOptimizer(0.1).minimize(w * w)]):
                return i + 1

        loop = pf.while_loop(lambda i: i < 3, body, [0])
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(GraphError, match=r"exchange.* is inside .*'while'.*compute gradients .* outside"):
                session.run(loop)


def parameters_are_not_assigned_inside(comm: Communicator) -> None:
    with pf.Graph().as_default():
        w = pf.Variable(1.0)
        p = pf.placeholder(pf.bool, ())
        halved = pf.cond(p, lambda: w.assign(w * 0.5), w.value)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(GraphError, match=r"assigns variable 'Variable', .* in common, inside .*'cond'"):
                session.run(halved, {p: True})


def another_body_is_found_out(comm: Communicator) -> None:
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,))
        w = pf.Variable(np.array(2.0))
        factor = 3.0 if comm.rank == comm.size - 1 else 2.0
        _, y = pf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * w * factor), (0, x))
        step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(y))
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(RanksDisagree, match=rf"rank {comm.size - 1}: operation while: .*float64 3.0"):
                session.run(step, {x: [1.0]})


CASES: list[Callable[[Communicator], None]] = [
    ranks_train_to_the_bytes_of_one_process,
    further_steps_differ_by_rounding_only,
    other_strategies_take_loops,
    ranks_may_make_other_numbers_of_turns,
    loops_and_branches_draw_other_numbers_on_each_rank,
    gradients_are_not_exchanged_inside,
    parameters_are_not_assigned_inside,
    another_body_is_found_out,
]


if __name__ == "__main__":
    from each_case import run_each

    run_each(world(), CASES)
