"""Batch normalisation on several ranks, as functions of a communicator; run as a script they run on world().

Every rank computes what it expects by itself, in one process, on the samples of all ranks.
"""

import functools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import GraphError, RanksDisagree
from paraflow.parallel import EASGD, AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer

STEPS = 3
CHANNELS = 4


def counts(size: int, step: int) -> list[int]:
    """Samples by rank: odd splits, in turn a rank without any; 7 in all on three ranks at first."""
    return [(4, 0, 3, 1)[(rank + step) % 4] for rank in range(size)] if size > 1 else [3 + step]


def batch(size: int, step: int, ranks: list[int]) -> np.ndarray:
    """Features of these ranks' samples in a step; each rank's lie elsewhere, and far from 0."""
    numbers = counts(size, step)
    parts = [
        np.random.default_rng([rank, step]).normal(size=(numbers[rank], 3, CHANNELS)) * (1 + rank) + 5 * rank + 100
        for rank in ranks
    ]
    return np.concatenate(parts)


def network(x: Any, training: Any, synchronized: bool) -> Any:
    """Two layers of it, the second of one row a sample."""
    pf.set_random_seed(4)
    options = {"training": training, "synchronized": synchronized, "momentum": 0.5}
    hidden = pf.nn.tanh(pf.layers.batch_normalization(x, **options))
    hidden = pf.layers.dense(pf.layers.flatten(hidden), 5, use_bias=False)
    return pf.layers.batch_normalization(hidden, **options)


def with_updates(optimizer: Any, loss: Any) -> Any:
    with pf.control_dependencies(pf.get_collection(pf.GraphKeys.UPDATE_OPS)):
        return optimizer.minimize(loss)


def trained(
    strategy: Any, ranks: list[int], size: int, synchronized: bool = True, micro: int = 1, steps: int = STEPS,
    **options: Any,
) -> dict[str, np.ndarray]:  # fmt: skip
    """All variables after training on the samples of ``ranks``, and what an evaluation gives."""
    with pf.Graph().as_default():
        x, training = pf.placeholder(pf.float64, (None, 3, CHANNELS)), pf.placeholder(pf.bool, ())
        y = network(x, training, synchronized)
        loss = pf.reduce_mean(pf.square(y - np.linspace(-1, 1, 5)) * pf.square(x[:, 0, :1] - 100))
        step = with_updates(pf.train.MomentumOptimizer(0.001, 0.9), loss)
        evaluated = np.random.default_rng(9).normal(size=(6, 3, CHANNELS)) + 100
        with pf.Session(strategy=strategy, **options) as session:
            session.run(pf.global_variables_initializer())
            if strategy is not None and strategy.is_server:
                strategy.serve(session, step)
            else:
                for number in range(steps * micro):
                    session.run(step, {x: batch(size, number, ranks), training: True})
            if strategy is not None and not isinstance(strategy, AllReduce):
                strategy.finish(session)
            # Ranks need not evaluate alike: no statistics are taken.
            values = session.run({v.name: v for v in pf.global_variables()})
            for _ in range(1 if strategy is None else strategy.worker + 1):
                values["evaluated"] = session.run(y, {x: evaluated, training: False})
            return values


@functools.cache
def expected(size: int) -> dict[str, np.ndarray]:
    """What one process comes to on all samples."""
    return trained(None, list(range(size)), size)


def assert_alike(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-11, err_msg=name)


def assert_the_same_bits(comm: Communicator, values: dict[str, np.ndarray]) -> None:
    sums = comm.allgather({k: zlib.crc32(v.tobytes()) for k, v in values.items()})
    assert [k for k in values if len({other[k] for other in sums}) > 1] == []


def statistics_are_those_of_the_global_batch(comm: Communicator) -> None:
    wanted = expected(comm.size)
    for strategy in (AllReduce(comm), AllReduce(comm, shared_memory=False)):
        found = trained(strategy, [comm.rank], comm.size)
        assert_alike(found, wanted)
        assert_the_same_bits(comm, found)


def threads_and_small_buckets_change_nothing(comm: Communicator) -> None:
    assert_alike(trained(AllReduce(comm), [comm.rank], comm.size, threads=2, bucket_bytes=1), expected(comm.size))


def gradients_of_gradients_pass_the_statistics(comm: Communicator) -> None:
    """The loss is a mean over samples of what their gradients are."""

    def run(strategy: Any, rows: np.ndarray, ranks: int) -> np.ndarray:
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None, 2))
            w = pf.Variable(np.array([1.0, 2.0]))
            y = pf.layers.batch_normalization(x * pf.tanh(w), training=True, synchronized=strategy is not None)
            # A rank's slopes are those of its own mean, ranks times those of the mean over all samples.
            (slope,) = pf.gradients(pf.reduce_mean(y * y * y * pf.cos(x)) * ranks, [x])
            step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(pf.square(slope) * 1e2))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                for _ in range(3):
                    session.run(step, {x: rows})
                return session.run(w)

    values = np.random.default_rng(0).normal(size=(2 * comm.size, 2)) * 3
    found = run(AllReduce(comm), values[2 * comm.rank : 2 * comm.rank + 2], 1)
    np.testing.assert_allclose(found, run(None, values, comm.size), rtol=1e-9)


def micro_batches_have_statistics_of_their_own(comm: Communicator) -> None:
    """One process that accumulates in the same way, on the global micro-batches."""
    ranks = list(range(comm.size))
    wanted = trained(AllReduce(pf.comm.solo(), accumulate=2), ranks, comm.size, micro=2, steps=2)
    found = trained(AllReduce(comm, accumulate=2), [comm.rank], comm.size, micro=2, steps=2)
    assert_alike(found, wanted)
    assert_the_same_bits(comm, found)


def rows_count_not_samples(comm: Communicator) -> None:
    """A rank's samples are sequences of rows, longer from rank to rank: statistics are those of all rows."""
    samples = [2 - rank % 2 for rank in range(comm.size)]
    parts = [np.random.default_rng(r).normal(size=(n, r + 1, 2)) + r for r, n in enumerate(samples)]

    def run(strategy: Any, fed: np.ndarray, factor: float) -> list[np.ndarray]:
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None, None, 2))
            y = pf.tanh(x * pf.Variable(np.array([1.0, -1.0])))
            y = pf.layers.batch_normalization(y, momentum=0.0, training=True, synchronized=True)
            loss = pf.reduce_mean(pf.reduce_sum(pf.sin(y), [1, 2])) * factor
            step = with_updates(pf.train.GradientDescentOptimizer(0.1), loss)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                session.run(step, {x: fed})
                return session.run(pf.global_variables())

    rows = np.concatenate([part.reshape(-1, 2) for part in parts])
    wanted = run(None, rows[None], 1 / sum(samples))
    for found, value in zip(run(AllReduce(comm), parts[comm.rank], 1.0), wanted, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-9)


def ranks_at_different_statistics_are_told_so(comm: Communicator) -> None:
    if comm.size == 1:
        return
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None, 2))
        one, two = (
            pf.layers.batch_normalization(x, training=True, synchronized=True, center=False) for _ in range(2)
        )
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(RanksDisagree, match=r"statistics .* in different operations, here in 'batch_norm"):
                session.run(two if comm.rank else one, {x: np.ones((2, 2))})


def own_statistics_leave_all_ranks_with_one_average(comm: Communicator) -> None:
    """Without synchronized: moving averages are those of the ranks' means, weighted by samples."""
    for strategy in (
        AllReduce(comm),
        AllReduce(comm, shared_memory=False),
        AllReduce(comm, compress=pf.parallel.compression.TopK(ratio=0.5)),
    ):
        found = trained(strategy, [comm.rank], comm.size, synchronized=False, steps=2)
        assert_the_same_bits(comm, found)
        mean, variance = np.zeros(CHANNELS), np.ones(CHANNELS)
        for step in range(2):
            numbers = np.array(counts(comm.size, step))
            parts = [batch(comm.size, step, [rank]) for rank in np.flatnonzero(numbers)]
            shares = numbers[numbers > 0] / numbers.sum()
            mean = 0.5 * mean + 0.5 * np.tensordot(shares, [p.mean((0, 1)) for p in parts], 1)
            variance = 0.5 * variance + 0.5 * np.tensordot(shares, [p.var((0, 1)) for p in parts], 1)
        np.testing.assert_allclose(found["batch_normalization/moving_mean:0"], mean, rtol=1e-9)
        np.testing.assert_allclose(found["batch_normalization/moving_variance:0"], variance, rtol=1e-9)


def every_mode_keeps_moving_averages(comm: Communicator) -> None:
    """Ranks whose batches are alike, but for noise: whatever the mode, the averages end at those of the data."""
    topk = functools.partial(pf.parallel.compression.TopK, ratio=0.1)
    modes: list[Callable[[], Any]] = [
        lambda: AllReduce(comm, compress=topk()),
        lambda: LocalSGD(comm, period=4, compress=topk()),
        lambda: EASGD(comm, period=4),
        lambda: Gossip(comm, period=2),
        lambda: ParameterServer(comm, delay_compensation=100.0, compress=topk()),
        lambda: ParameterServer(comm, staleness=0),
        *([lambda: BackupWorkers(comm)] if comm.size > 2 else []),
    ]
    if comm.size == 1:
        return
    for make in modes:
        strategy = make()
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None, 1100))  # large enough to be compressed
            training = pf.placeholder(pf.bool, ())
            y = pf.layers.batch_normalization(x, training=training, momentum=0.8)
            step = with_updates(pf.train.GradientDescentOptimizer(1e-3), pf.reduce_mean(pf.square(y - 1.0)))
            *_, mean, variance = pf.global_variables()
            rng = np.random.default_rng(strategy.worker)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if strategy.is_server:
                    strategy.serve(session, step)
                else:
                    for _ in range(40):
                        session.run(step, {x: rng.normal(size=(16, 1100)) * 2 + 5, training: True})
                strategy.finish(session)
                values = session.run({"mean": mean, "variance": variance})
                normal = session.run(y, {x: np.full((1, 1100), 5.0), training: False})
        assert_the_same_bits(comm, values)
        # Of 16 normal samples with variance 4 the mean has the deviation 2 / sqrt(16); their variance has the mean
        # 4 * 15 / 16 and the deviation 4 * sqrt(2 * 15) / 16. An average with momentum 0.8 has sqrt(0.2 / 1.8) of a
        # deviation.
        for name, begin, expected, deviation in (("mean", 0, 5.0, 0.5), ("variance", 1, 3.75, np.sqrt(30) / 4)):
            deviation *= np.sqrt(0.2 / 1.8)
            expected += (begin - expected) * 0.8**40
            tolerance = 5 * deviation / np.sqrt(1100)
            where = f"{name}, {type(strategy).__name__}"
            np.testing.assert_allclose(values[name].mean(), expected, rtol=0, atol=tolerance, err_msg=where)
            assert values[name].std() < 1.1 * deviation, where
        assert np.abs(normal).max() < 0.5


def modes_without_common_steps_refuse_global_statistics(comm: Communicator) -> None:
    if comm.size == 1:
        return
    for mode in (ParameterServer, BackupWorkers, LocalSGD, EASGD, Gossip):
        if mode is BackupWorkers and comm.size == 2:
            continue
        with pytest.raises(GraphError, match=rf"statistics over .* with {mode.__name__} they do not: leave out synch"):
            trained(mode(comm), [comm.rank], comm.size)


CASES: list[Callable[[Communicator], None]] = [
    statistics_are_those_of_the_global_batch,
    threads_and_small_buckets_change_nothing,
    gradients_of_gradients_pass_the_statistics,
    micro_batches_have_statistics_of_their_own,
    rows_count_not_samples,
    ranks_at_different_statistics_are_told_so,
    own_statistics_leave_all_ranks_with_one_average,
    every_mode_keeps_moving_averages,
    modes_without_common_steps_refuse_global_statistics,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    return CASES


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
