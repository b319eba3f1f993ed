"""What the strategies have to do on every world of ranks, as functions of its communicator.

Run as a script they run on world(), under mpirun. Every rank computes what it expects by itself, in one process.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import FailedPreconditionError, GraphError, RanksDisagree

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "gradient descent": lambda: pf.train.GradientDescentOptimizer(0.3),
    "momentum": lambda: pf.train.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda: pf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adagrad": lambda: pf.train.AdagradOptimizer(0.1),
    "adagrad da": lambda: pf.train.AdagradDAOptimizer(0.1, pf.train.get_or_create_global_step(), 0.1, 1e-3, 1e-3),
    "adadelta": lambda: pf.train.AdadeltaOptimizer(2.0, 0.8, 1e-3),
    "ftrl": lambda: pf.train.FtrlOptimizer(0.2, l1_regularization_strength=0.01, l2_regularization_strength=0.01),
    "proximal adagrad": lambda: pf.train.ProximalAdagradOptimizer(0.1, 0.1, 0.001, 0.001),
    "rmsprop": lambda: pf.train.RMSPropOptimizer(0.01, momentum=0.5),
    "adam": lambda: pf.train.AdamOptimizer(0.01),
    "adamw": lambda: pf.train.AdamWOptimizer(1e-3, 0.01, exclude_from_weight_decay=["bias"]),
    "lars": lambda: pf.train.LARSOptimizer(0.5, eeta=0.01),
    "lamb": lambda: pf.train.LAMBOptimizer(0.01, weight_decay=0.01, exclude_from_layer_adaptation=["bias"]),
}

# 50 samples in batches of 8: the last batch of an epoch has 2, so that of 3 ranks one has none.
_rng = np.random.default_rng(5)
_points = _rng.normal(size=(50, 6)).astype(np.float32)
SAMPLES = pf.data.Dataset("points", _points, (_points @ _rng.normal(size=(6, 3))).argmax(1).astype(np.int32), 3)


def trained(
    strategy: Any, optimizer: str, dtype: str, steps: int = 100, **options: Any
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Parameters after training a small network, and this rank's losses weighted by its share of the samples."""
    worker, workers = (0, 1) if strategy is None else (strategy.worker, strategy.workers)
    with pf.Graph().as_default():
        pf.set_random_seed(3)
        features = pf.placeholder(dtype, (None, 6))
        labels = pf.placeholder(pf.int32, (None,))
        logits = pf.layers.mlp(features, [5, 3], activation=pf.nn.tanh)
        loss = pf.losses.sparse_softmax_cross_entropy(labels, logits)
        made = OPTIMIZERS[optimizer]()
        step = made.minimize(loss, pf.train.get_global_step())
        batches = pf.data.Batches(SAMPLES, 8, rank=min(worker, workers - 1), size=workers, seed=11)
        parts = [batch for epoch in range(steps // 7 + 1) for batch in batches.epoch(epoch)][:steps]
        whole = [min(8, 50 - number % 7 * 8) for number in range(steps)]
        with pf.Session(strategy=strategy, **options) as session:
            session.run(pf.global_variables_initializer())
            losses = []
            if strategy is not None and strategy.is_server:
                strategy.serve(session, step)
                parts = whole = []
            for part, samples in zip(parts, whole, strict=True):
                value, _ = session.run([loss, step], {features: part["features"], labels: part["labels"]})
                share = len(part["labels"]) / samples
                losses.append(share * float(value) if share else 0.0)
            if strategy is not None:
                strategy.finish(session)
            return session.run({v.name: v for v in pf.trainable_variables()}), losses


@functools.cache
def expected_of_one_process(optimizer: str, dtype: str) -> tuple[dict[str, np.ndarray], list[float]]:
    """What `trained` has to come to, by a session without any strategy."""
    return trained(None, optimizer, dtype)


def the_global_batch_decides_not_the_number_of_ranks(comm: Communicator) -> None:
    for name in OPTIMIZERS:
        expected, _ = expected_of_one_process(name, "float64")
        got, _ = trained(pf.parallel.AllReduce(comm), name, "float64")
        for variable, value in expected.items():
            np.testing.assert_allclose(got[variable], value, rtol=1e-9, err_msg=f"{name}: {variable}")


def the_loss_curve_in_float32_is_that_of_one_process(comm: Communicator) -> None:
    for name in OPTIMIZERS:
        _, expected = expected_of_one_process(name, "float32")
        _, shares = trained(pf.parallel.AllReduce(comm), name, "float32")
        losses = np.array(shares)
        comm.allreduce(losses)
        assert expected[-1] < 0.8 * expected[0]
        np.testing.assert_allclose(losses, expected, rtol=1e-4, err_msg=name)


def neither_buckets_nor_threads_change_the_result(comm: Communicator) -> None:
    expected, _ = trained(None, "adam", "float64", steps=20)
    for options in ({"bucket_bytes": 1}, {"bucket_bytes": 200}, {"threads": 2}):
        got, _ = trained(pf.parallel.AllReduce(comm), "adam", "float64", steps=20, **options)
        for variable, value in expected.items():
            np.testing.assert_allclose(got[variable], value, rtol=1e-9, err_msg=f"{options}: {variable}")


def all_ranks_hold_the_same_bits(comm: Communicator) -> None:
    got, _ = trained(pf.parallel.AllReduce(comm), "adam", "float32")
    again, _ = trained(pf.parallel.AllReduce(comm), "adam", "float32")
    for parameters in comm.allgather(got):
        for variable, value in again.items():
            np.testing.assert_array_equal(parameters[variable], value, variable)


def gradients_are_weighted_by_samples(comm: Communicator) -> None:
    """Rank r has r samples of the value r + 1, rank 0 of several ranks none."""
    counts = np.arange(comm.size) if comm.size > 1 else np.array([2])
    mean = (counts * (np.arange(comm.size) + 1)).sum() / counts.sum()
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,))
        w = pf.Variable(np.float64(10))
        loss = pf.reduce_mean(x * w)
        step = pf.train.GradientDescentOptimizer(1.0).minimize(loss)
        with pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(step, {x: np.full(counts[comm.rank], comm.rank + 1.0)})
            np.testing.assert_allclose(session.run(w), 10 - mean, rtol=1e-15)


def a_step_without_any_sample_changes_nothing(comm: Communicator) -> None:
    """But what has nothing to do with gradients; also where batches are accumulated, of which some may have samples."""
    for accumulate in (1, 2):
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None,))
            w = pf.Variable(np.float64(10))
            calls = pf.Variable(np.float64(0), trainable=False)
            updates = pf.train.create_global_step()
            loss = pf.reduce_mean(x * w)
            optimizer = pf.train.MomentumOptimizer(1.0, 0.5)
            pairs = optimizer.compute_gradients(loss)
            step = optimizer.apply_gradients(pairs, updates)
            fetches = [step, loss, calls.assign_add(1.0)]
            with pf.Session(strategy=pf.parallel.AllReduce(comm, accumulate=accumulate)) as session:
                session.run(pf.global_variables_initializer())
                value, velocity = 10.0, 0.0
                for number, part in enumerate(([4.0], [], [2.0, 2.0], [], [])):
                    batches = [part] + [[]] * (accumulate - 1)
                    losses = [session.run(fetches, {x: batch})[1] for batch in batches]
                    if part:
                        assert losses[0] == value * part[0]
                        velocity = 0.5 * velocity + part[0]
                        value -= velocity
                    assert session.run(w) == value
                    assert session.run(optimizer.get_slot(w, "momentum")) == velocity
                    assert session.run(calls) == (number + 1) * accumulate
                assert session.run(updates) == 2


def clipping_acts_on_the_average(comm: Communicator) -> None:
    """Odd ranks pull against even ones, so that the average is far smaller than any rank's gradient."""
    own = np.array([3.0, 4.0]) * (1 if comm.rank % 2 == 0 else -1) * (comm.rank + 1)
    average = np.mean([np.array([3.0, 4.0]) * (1 if r % 2 == 0 else -1) * (r + 1) for r in range(comm.size)], axis=0)
    clipped = average * min(1, 2 / np.linalg.norm(average))
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None, 2))
        w = pf.Variable(np.zeros(2))
        optimizer = pf.train.GradientDescentOptimizer(1.0)
        loss = pf.reduce_mean(pf.reduce_sum(x * w, axis=1))
        ((gradient, variable),) = optimizer.compute_gradients(loss)
        (limited,), norm = pf.clip_by_global_norm([gradient], 2.0)
        step = optimizer.apply_gradients([(limited, variable)])
        with pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            _, of_average = session.run([step, norm], {x: [own]})
            np.testing.assert_allclose(of_average, np.linalg.norm(average), rtol=1e-14)
            np.testing.assert_allclose(session.run(w), -clipped, rtol=1e-14)


def dropout_differs_by_rank_and_initial_values_do_not(comm: Communicator) -> None:
    def run() -> tuple[np.ndarray, np.ndarray]:
        with pf.Graph().as_default():
            pf.set_random_seed(7)
            x = pf.placeholder(pf.float32, (None, 40))
            w = pf.Variable(pf.random_normal([40]))
            kept = pf.nn.dropout(x, rate=0.5)
            step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(pf.reduce_sum(kept * w, axis=1)))
            with pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
                session.run(pf.global_variables_initializer())
                initial = session.run(w)
                return initial, session.run([kept, step], {x: np.ones((1, 40))})[0]

    initial, mask = run()
    again, mask_again = run()
    np.testing.assert_array_equal(initial, again)
    np.testing.assert_array_equal(mask, mask_again)
    gathered = comm.allgather((initial, mask))
    for other, _ in gathered:
        np.testing.assert_array_equal(other, initial)
    assert len({other.tobytes() for _, other in gathered}) == comm.size


def unseeded_initial_values_agree(comm: Communicator) -> None:
    for strategy in (pf.parallel.AllReduce(comm), pf.parallel.ParameterServer(comm)):
        with pf.Graph().as_default():
            w = pf.Variable(pf.random_normal([20]))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                values = comm.allgather(session.run(w))
        assert len({value.tobytes() for value in values}) == 1


# -- disagreement -----------------------------------------------------------------------------------------------------


def another_graph_on_one_rank_is_named(comm: Communicator) -> None:
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float32, (None,), name="x")
        w = pf.Variable(1.0, name="w")
        product = (pf.multiply if comm.rank < comm.size - 1 else pf.add)(x, w, name="product")
        step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(product))
        with pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(RanksDisagree) as caught:
                session.run(step, {x: [1.0]})
    last = comm.size - 1
    assert f"rank {last} differs from rank 0" in str(caught.value)
    assert f"rank {last}: operation product" in str(caught.value)
    assert "add" in str(caught.value)
    assert "multiply" in str(caught.value)


def a_rank_may_fetch_more_than_the_others(comm: Communicator) -> None:
    """Rank 0 looks at the loss and at a gradient from time to time, as scripts do; the others only train."""
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,), name="x")
        w = pf.Variable(np.float64(1.0), name="w")
        seen = pf.Variable(np.float64(0.0), trainable=False, name="seen")
        loss = pf.reduce_mean(pf.square(x * w), name="loss")
        optimizer = pf.train.GradientDescentOptimizer(0.1)
        pairs = optimizer.compute_gradients(loss)
        step = optimizer.apply_gradients(pairs)
        counted = seen.assign_add(1.0)
        with pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            feed = {x: [1.0 + comm.rank]}
            expected = 1.0
            mean_square = np.mean((1.0 + np.arange(comm.size)) ** 2)
            for i in range(6):
                if comm.rank == 0 and i % 2:
                    _, value, gradient, _ = session.run([step, loss, pairs[0][0], counted], feed)
                    np.testing.assert_allclose(value, expected**2)
                    np.testing.assert_allclose(gradient, 2 * expected * mean_square)
                else:
                    session.run(step, feed)
                expected -= 0.1 * 2 * expected * mean_square
            np.testing.assert_allclose(session.run(w), expected)


def another_training_step_on_one_rank_is_named(comm: Communicator) -> None:
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float32, (None,), name="x")
        w = pf.Variable(1.0, name="w")
        loss = pf.reduce_mean(x * w, name="loss")
        step = pf.train.GradientDescentOptimizer(0.1).minimize(loss, name="slow")
        other = pf.train.GradientDescentOptimizer(0.5).minimize(loss, name="fast")
        with pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(RanksDisagree, match="first difference") as caught:
                session.run(step if comm.rank == 0 else other, {x: [1.0]})
    assert "training step with w/exchange\n" in str(caught.value)
    assert "training step with w/exchange_1" in str(caught.value)


def another_setting_on_one_rank_is_named(comm: Communicator) -> None:
    for kind in (pf.parallel.AllReduce, pf.parallel.ParameterServer):
        strategy = kind(comm, agreement={"batch": 8, "rate": 0.1 if comm.rank != 1 else 0.2})
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float32, (None,), name="x")
            w = pf.Variable(1.0, name="w")
            step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(x * w))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                with pytest.raises(RanksDisagree) as caught:
                    strategy.serve(session, step) if strategy.is_server else session.run(step, {x: [1.0]})
        assert "rate = 0.1" in str(caught.value)
        assert "rate = 0.2" in str(caught.value)
        assert "batch" not in str(caught.value)


def a_server_with_another_update_is_named(comm: Communicator) -> None:
    strategy = pf.parallel.ParameterServer(comm)
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float32, (None,), name="x")
        w = pf.Variable(1.0, name="w")
        optimizer = pf.train.GradientDescentOptimizer(0.2 if strategy.is_server else 0.1)
        step = optimizer.minimize(pf.reduce_mean(x * w))
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(RanksDisagree, match="operation"):
                strategy.serve(session, step) if strategy.is_server else session.run(step, {x: [1.0]})


# -- parameter server -------------------------------------------------------------------------------------------------


def served(comm: Communicator, steps: int) -> tuple[Any, float]:
    """Workers push the constant gradient rank + 1, each ``steps`` times; returns the strategy and the final value."""
    strategy = pf.parallel.ParameterServer(comm)
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,))
        w = pf.Variable(np.float64(0))
        loss = pf.reduce_mean(x) * w
        step = pf.train.GradientDescentOptimizer(0.5).minimize(loss)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if strategy.is_server:
                strategy.serve(session, step)
            else:
                values = []
                for _ in range(steps):
                    session.run(step, {x: [comm.rank + 1.0]})
                    values.append(float(session.run(w)))
                assert all(a > b for a, b in zip([0.0, *values], values, strict=False)), "a pull brings others' pushes"
            strategy.finish(session)
            return strategy, float(session.run(w))


def every_push_is_applied_once_and_counted(comm: Communicator) -> None:
    steps = 40
    strategy, value = served(comm, steps)
    workers = comm.size - 1
    assert value == -0.5 * steps * sum(rank + 1 for rank in range(workers))
    assert set(comm.allgather(value)) == {value}
    counts = strategy.pushes_by_worker
    assert [count.pushes for count in counts] == [steps] * workers
    for count in counts:
        assert sum(count.histogram.values()) == count.pushes
        assert sum(k * n for k, n in count.histogram.items()) == count.staleness_sum
        assert max(count.histogram) == count.staleness_max
    # A push is as stale as others' pushes came since the worker's last pull, and none is between two pairs of these.
    assert all(count.staleness_sum <= steps * (workers - 1) for count in counts)
    if workers == 1:
        assert counts[0].staleness_sum == 0
    if not strategy.is_server:
        own, seen = strategy.pushes, counts[strategy.worker]
        assert replace(own, waits=seen.waits) == seen
        assert all(own.waits[rank] >= seconds for rank, seconds in seen.waits.items())  # and for the last at the end


def one_worker_is_a_single_process(comm: Communicator) -> None:
    for name in ("adam", "momentum"):
        expected, losses = expected_of_one_process(name, "float32")
        strategy = pf.parallel.ParameterServer(comm)
        got, own = trained(strategy, name, "float32")
        assert own == ([] if strategy.is_server else losses)
        for variable, value in expected.items():
            np.testing.assert_array_equal(got[variable], value, f"{name}: {variable}")


def a_worker_cannot_fetch_what_the_server_computes(comm: Communicator) -> None:
    strategy = pf.parallel.ParameterServer(comm)
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,))
        w = pf.Variable(np.float64(0))
        optimizer = pf.train.GradientDescentOptimizer(0.5)
        ((gradient, _),) = pairs = optimizer.compute_gradients(pf.reduce_mean(x * w))
        step = optimizer.apply_gradients(pairs)
        doubled = pf.multiply(gradient, 2.0, name="doubled")
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if strategy.is_server:
                strategy.serve(session, step)
            else:
                with pytest.raises(GraphError, match=r"'doubled'.*is computed on the parameter server"):
                    session.run([step, doubled], {x: [1.0]})
                session.run(step, {x: [1.0]})
            strategy.finish(session)
            assert session.run(w) == -0.5 * (comm.size - 1)


def a_server_that_does_not_serve_is_refused(comm: Communicator) -> None:
    """Workers may be done before they have trained, but would wait for it to start."""
    strategy = pf.parallel.ParameterServer(comm)
    lone = pf.Session(graph=pf.Graph(), strategy=strategy)
    refused: Any = pytest.raises(RanksDisagree, match=f"rank {comm.size - 1} has ended its session.*to begin to train")
    if strategy.is_server:
        refused = pytest.raises(FailedPreconditionError, match=f"rank {comm.rank} is a server and done before it has s")
    with lone as session, refused:
        strategy.finish(session)


def a_server_that_runs_the_training_step_is_refused(comm: Communicator) -> None:
    """The workers would wait for its answers."""
    strategy = pf.parallel.ParameterServer(comm)
    with pf.Graph().as_default():
        w = pf.Variable(1.0)
        step = pf.train.GradientDescentOptimizer(0.5).minimize(pf.square(w))
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if strategy.is_server:
                with pytest.raises(FailedPreconditionError, match=r"is the parameter server.*call serve\("):
                    session.run(step)


CASES = [
    the_global_batch_decides_not_the_number_of_ranks,
    the_loss_curve_in_float32_is_that_of_one_process,
    neither_buckets_nor_threads_change_the_result,
    all_ranks_hold_the_same_bits,
    gradients_are_weighted_by_samples,
    a_step_without_any_sample_changes_nothing,
    clipping_acts_on_the_average,
    dropout_differs_by_rank_and_initial_values_do_not,
    unseeded_initial_values_agree,
]
CASES_OF_SEVERAL_RANKS = [
    another_graph_on_one_rank_is_named,
    a_rank_may_fetch_more_than_the_others,
    another_training_step_on_one_rank_is_named,
    another_setting_on_one_rank_is_named,
    a_server_with_another_update_is_named,
    every_push_is_applied_once_and_counted,
    a_worker_cannot_fetch_what_the_server_computes,
    a_server_that_does_not_serve_is_refused,
    a_server_that_runs_the_training_step_is_refused,
]
CASES_OF_TWO_RANKS = [one_worker_is_a_single_process]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run."""
    return CASES + (CASES_OF_SEVERAL_RANKS if size > 1 else []) + (CASES_OF_TWO_RANKS if size == 2 else [])


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
