"""Averages of variables and checkpoints on several ranks, as functions of a communicator; as a script on world().

Every rank computes what it expects by itself, in one process.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import FailedPreconditionError, NotFoundError, RanksDisagree
from paraflow.parallel import EASGD, AllReduce, LocalSGD, ParameterServer

STEPS = 6


def batch(ranks: list[int], step: int) -> tuple[np.ndarray, np.ndarray]:
    """The features and targets of some ranks in a step: uneven shards, in odd steps none on rank 1."""
    parts = []
    for rank in ranks:
        rng = np.random.default_rng([rank, step])
        samples = (rank + 1) * 3 if step % 2 == 0 else (2, 0, 5)[rank % 3]
        parts.append((rng.normal(size=(samples, 5)), rng.normal(size=(samples, 3))))
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def regression() -> tuple[Any, Any, Any]:
    """A small network in float64: features, targets, loss."""
    pf.set_random_seed(4)
    x, y = pf.placeholder(pf.float64, (None, 5), name="x"), pf.placeholder(pf.float64, (None, 3), name="y")
    return x, y, pf.reduce_mean(pf.square(pf.layers.mlp(x, [7, 3], activation=pf.nn.tanh) - y))


@contextmanager
def directory(comm: Communicator) -> Iterator[Path]:
    """One directory for all ranks; gone when all have left."""
    with tempfile.TemporaryDirectory() as own:
        path = Path(str(comm.broadcast_object(own)))
        yield path
        comm.barrier()


def averaged_step(loss: Any) -> tuple[Any, Any]:
    """A step of Adam with a falling rate, and averages of all variables that follow it."""
    counter = pf.train.get_or_create_global_step()
    rate = pf.train.inverse_time_decay(0.05, counter, 1, 0.5)
    train = pf.train.AdamOptimizer(rate).minimize(loss, counter)
    ema = pf.train.ExponentialMovingAverage(0.8, num_updates=counter)
    with pf.control_dependencies([train]):
        return ema.apply(), ema


def trained(
    strategy: Any, ranks: list[int], steps: range = range(STEPS), restore: str | None = None, save: str | None = None
) -> dict[str, np.ndarray]:
    """All variables after some steps from a checkpoint or from the start; perhaps saved."""
    with pf.Graph().as_default():
        x, y, loss = regression()
        step, _ = averaged_step(loss)
        saver = pf.train.Saver()
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if restore is not None:
                saver.restore(session, restore)
            if strategy is not None and strategy.is_server:
                strategy.serve(session, step)
                steps = range(0)
            for number in steps:
                features, targets = batch(ranks, number)
                session.run(step, {x: features, y: targets})
            if strategy is not None:
                strategy.finish(session)
            if save is not None:
                saver.save(session, save)
            return session.run({v.name: v for v in pf.global_variables()})


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], rtol: float = 1e-9) -> None:
    assert found.keys() == expected.keys()
    assert all(np.isfinite(value).all() for value in expected.values())
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=1e-12, err_msg=name)


def averages_are_those_of_one_process(comm: Communicator) -> None:
    expected = trained(None, list(range(comm.size)))
    assert not np.allclose(expected["mlp/dense/kernel/ExponentialMovingAverage:0"], expected["mlp/dense/kernel:0"])
    for shared_memory in (True, False):
        same(trained(AllReduce(comm, shared_memory=shared_memory), [comm.rank]), expected)


def averages_leave_the_optimizer_and_themselves_on_planes(comm: Communicator) -> None:
    """Each rank works on its part of both: the plan has no other step that writes a trained variable or a slot."""
    with pf.Graph().as_default():
        x, y, loss = regression()
        step, ema = averaged_step(loss)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            features, targets = batch([comm.rank], 0)
            feeds = {x: features, y: targets}
            session.run(step, feeds)
            plan = session.plan(step, feeds)
            steps = plan.steps
            updated = {n for s in steps if s.record.name == "update" for state in s.attrs["states"] for n in state}
            averages = {ema.average(v).op.name for v in pf.trainable_variables()}
            assert {v.op.name for v in pf.trainable_variables()} <= updated
            if comm.size == 1:
                return
            assert averages <= updated
            (of_averages,) = (s for s in steps if s.record.name == "update" and averages & set(s.attrs["states"][0]))
            slots = [plan.slots[i] for i in of_averages.inputs]
            assert all(slot.kind == "variable" or slot.shape == () for slot in slots)  # nothing is computed beside it
            assert all(session.store.shared(name) for name in averages)


def a_constraint_holds_after_every_update(comm: Communicator) -> None:
    def run(strategy: Any, ranks: list[int]) -> Any:
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None, 3))
            w = pf.Variable(np.ones(3), constraint=lambda v: v / (1.0 + pf.sqrt(pf.reduce_sum(pf.square(v)))))
            step = pf.train.MomentumOptimizer(0.1, 0.9).minimize(pf.reduce_mean(pf.square(pf.reduce_sum(x * w, 1) - 1)))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                for number in range(STEPS):
                    session.run(step, {x: np.concatenate([batch([r], number)[1] for r in ranks])})
                return session.run(w)

    expected = run(None, list(range(comm.size)))
    np.testing.assert_allclose(run(AllReduce(comm), [comm.rank]), expected, rtol=1e-9)


def averages_through_servers_are_those_of_one_process(comm: Communicator) -> None:
    """One worker: what the servers keep comes home at the end."""
    if comm.size == 1:
        return
    same(trained(ParameterServer(comm, servers=comm.size - 1), [0]), trained(None, [0]))


def a_checkpoint_is_one_of_any_number_of_ranks(comm: Communicator) -> None:
    """Saved by all ranks and by one process, restored by one process and by all ranks, at a change of the world."""
    every = list(range(comm.size))
    expected = trained(None, every)
    with directory(comm) as at:
        trained(AllReduce(comm), [comm.rank], range(3), save=str(at / "many"))
        comm.barrier()
        assert sorted(p.name for p in at.iterdir()) == ["checkpoint", "many.meta", "many.safetensors"]
        same(trained(None, every, range(3, STEPS), restore=str(at / "many")), expected)
        if comm.rank == 0:
            trained(None, every, range(3), save=str(at / "one"))
        comm.barrier()
        for shared_memory in (True, False):
            strategy = AllReduce(comm, shared_memory=shared_memory)
            same(trained(strategy, [comm.rank], range(3, STEPS), restore=str(at / "one")), expected)


@contextmanager
def descent(strategy: Any) -> Iterator[tuple[pf.Session, Any, Any, Callable[[float], Any]]]:
    """A session that trains w on mean(a * w), its saver, w, and a step on one sample a."""
    with pf.Graph().as_default():
        a = pf.placeholder(pf.float64, (None,))
        w = pf.Variable(np.zeros(5), name="w")
        train = pf.train.MomentumOptimizer(0.5, 0.5).minimize(pf.reduce_sum(pf.reduce_mean(a) * w))
        saver = pf.train.Saver()
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            yield session, saver, w, lambda value: session.run(train, {a: [value]})


def restoring_while_training_writes_what_is_shared_once(comm: Communicator) -> None:
    for shared_memory in (True, False):
        with directory(comm) as at, descent(AllReduce(comm, shared_memory=shared_memory)) as (session, saver, w, step):
            step(1.0)
            saver.save(session, at / "m")
            comm.barrier()
            before = session.run(pf.global_variables())
            step(float(comm.rank))
            assert not np.array_equal(session.run(w), before[0])
            saver.restore(session, at / "m")
            np.testing.assert_array_equal(session.run(pf.global_variables()), before)
            step(1.0)
            np.testing.assert_array_equal(session.run(w), np.full(5, -0.5 - 0.75))


def ranks_that_restore_different_values_are_told(comm: Communicator) -> None:
    if comm.size == 1:
        return
    with directory(comm) as at, descent(AllReduce(comm)) as (session, saver, _, step):
        for name in ("a", "b"):
            step(1.0)
            saver.save(session, at / name)
        comm.barrier()
        with pytest.raises(RanksDisagree, match="different values"):
            saver.restore(session, at / ("a" if comm.rank == 0 else "b"))
        comm.barrier()


def a_checkpoint_that_does_not_fit_is_refused_on_every_rank(comm: Communicator) -> None:
    with directory(comm) as at, descent(AllReduce(comm)) as (session, saver, w, step):
        step(1.0)
        pf.train.Saver([w]).save(session, at / "m")
        comm.barrier()
        with pytest.raises(NotFoundError, match="w/Momentum"):
            saver.restore(session, at / "m")
        np.testing.assert_array_equal(session.run(w), np.full(5, -0.5))
        step(1.0)


def servers_keep_slots_until_the_end(comm: Communicator) -> None:
    if comm.size == 1:
        return
    strategy = ParameterServer(comm)
    with pf.Graph().as_default(), directory(comm) as at:
        a = pf.placeholder(pf.float64, (None,))
        w = pf.Variable(np.zeros(5), name="w")
        counter = pf.train.create_global_step()
        train = pf.train.MomentumOptimizer(0.5, 0.5).minimize(pf.reduce_sum(pf.reduce_mean(a) * w), counter)
        saver, parameters = pf.train.Saver(), pf.train.Saver([w])
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            saver.save(session, at / "start")
            comm.barrier()
            saver.restore(session, at / "start")
            if strategy.is_server:
                strategy.serve(session, train)
            else:
                session.run(train, {a: [1.0]})
                with pytest.raises(FailedPreconditionError, match="parameter servers"):
                    saver.save(session, at / "m")
                with pytest.raises(FailedPreconditionError, match="before the first training step"):
                    parameters.restore(session, at / "start")
                path = parameters.save(session, at / "parameters", global_step=counter)
                assert path == str(at / f"parameters-{strategy.version}")
            strategy.finish(session)
            path = saver.save(session, at / "m", global_step=counter)
            comm.barrier()
            assert path == str(at / f"m-{comm.size - 1}")
            saved = pf.train.load_checkpoint(path)
            np.testing.assert_array_equal(saved.get_tensor("w"), session.run(w))
            assert saved.get_tensor("w/Momentum").all()


def averaging_keeps_what_training_is_judged_by(comm: Communicator) -> None:
    """Local SGD: the last average, not what rank 0 has made of it since; elastic averaging: the centre."""
    if comm.size == 1:
        return
    for strategy in (LocalSGD(comm, period=2), EASGD(comm, period=1)):
        with directory(comm) as at, descent(strategy) as (session, saver, w, step):
            for _ in range(3):
                step(1.0 + comm.rank)
            own = session.run(w)
            with strategy.evaluating(session):
                judged = session.run(w)
            saver.save(session, at / "m")
            np.testing.assert_array_equal(session.run(w), own)
            assert not np.array_equal(own, judged)
            if comm.rank == 0:
                np.testing.assert_array_equal(pf.train.load_variable(str(at / "m"), "w"), judged)
            comm.barrier()
            with pytest.raises(FailedPreconditionError, match="before the first training step"):
                saver.restore(session, at / "m")
            strategy.finish(session)


def functions_of_python_are_compared_by_name(comm: Communicator) -> None:
    """Each rank has made its own, with its own data; where one has another function, it is named."""

    def scaled(factor: float) -> Any:
        def scale(values: Any) -> Any:
            return values * factor

        return scale

    def other(values: Any) -> Any:
        return values

    def run(function: Any) -> Any:
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None,))
            w = pf.Variable(np.float64(0))
            factors = pf.py_func(function, [x], pf.float64)
            factors.set_shape([None])
            step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(factors * w))
            with pf.Session(strategy=AllReduce(comm)) as session:
                session.run(pf.global_variables_initializer())
                session.run(step, {x: [1.0]})
                return session.run(w)

    np.testing.assert_allclose(run(scaled(comm.rank + 1.0)), -(comm.size + 1) / 2)
    if comm.size > 1:
        with pytest.raises(RanksDisagree, match=r"other|scale"):
            run(other if comm.rank == 0 else scaled(1.0))


CASES: list[Callable[[Communicator], None]] = [
    averages_are_those_of_one_process,
    averages_leave_the_optimizer_and_themselves_on_planes,
    a_constraint_holds_after_every_update,
    averages_through_servers_are_those_of_one_process,
    a_checkpoint_is_one_of_any_number_of_ranks,
    restoring_while_training_writes_what_is_shared_once,
    ranks_that_restore_different_values_are_told,
    a_checkpoint_that_does_not_fit_is_refused_on_every_rank,
    servers_keep_slots_until_the_end,
    averaging_keeps_what_training_is_judged_by,
    functions_of_python_are_compared_by_name,
]


if __name__ == "__main__":
    from each_case import run_each

    run_each(world(), CASES)
