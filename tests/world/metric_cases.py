"""Metrics on several ranks, as functions of a communicator; run as a script they run on world().

Every rank computes what it expects by itself, in one process, on the samples of all ranks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import GraphError, RanksDisagree
from paraflow.parallel import AllReduce, LocalSGD

BATCHES = 3


def samples(rank: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of a rank's batch; each rank has other numbers of them, and others right."""
    rng = np.random.default_rng([rank, number])
    predictions = rng.random((rank + number) % 4)
    return rng.random(len(predictions)) < (predictions + rank / 4) / 2, predictions


def measured(strategy: Any, ranks: list[int], whole: bool, trains: bool = False) -> list[Any]:
    """Metrics of what these ranks see in all batches: over all ranks if ``whole``, else the rank's own."""
    with pf.Graph().as_default():
        label, prediction = pf.placeholder(pf.bool, (None,)), pf.placeholder(pf.float64, (None,))
        w = pf.Variable(0.0, dtype=pf.float64)
        step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(pf.square(w - prediction)))
        metrics = [
            pf.metrics.accuracy(label, prediction > 0.5),
            pf.metrics.auc(label, prediction),
            pf.metrics.mean_iou(label, prediction > 0.5, 2),
            pf.metrics.root_mean_squared_error(pf.cast(label, pf.float64), prediction),
            pf.metrics.recall_at_k(pf.cast(label, pf.int64), pf.stack([1 - prediction, prediction], 1), 1),
        ]
        values = [pf.metrics.over_ranks(value) if whole else value for value, _ in metrics]
        updates = [update for _, update in metrics]
        with pf.Session(strategy=strategy) as session:
            session.run([pf.global_variables_initializer(), pf.local_variables_initializer()])
            for number in range(BATCHES):
                for rank in ranks:
                    feeds = dict(zip((label, prediction), samples(rank, number), strict=True))
                    session.run([step, updates] if trains else updates, feeds)
            return session.run(values)


def a_rank_measures_its_own_samples(comm: Communicator) -> None:
    found = measured(AllReduce(comm), [comm.rank], False, trains=True)
    np.testing.assert_array_equal(found, measured(None, [comm.rank], False))


def over_ranks_measures_those_of_all(comm: Communicator) -> None:
    wanted = measured(None, list(range(comm.size)), False)
    for trains in (False, True):
        found = measured(AllReduce(comm), [comm.rank], True, trains)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        bits = [np.asarray(v).tobytes() for v in found]
        assert comm.allgather(bits) == [bits] * comm.size


def it_sees_what_the_same_run_updates(comm: Communicator) -> None:
    with pf.Graph().as_default():
        value, update = pf.metrics.mean(np.float32(comm.rank))
        doubled = pf.metrics.over_ranks(2 * value)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.local_variables_initializer())
            own, whole, before = session.run([update, doubled, value])
            assert (own, whole, before) == (comm.rank, comm.size - 1, 0)
            assert session.run(value) == comm.rank


def ranks_that_measure_different_things_are_told(comm: Communicator) -> None:
    if comm.size == 1:
        return
    with pf.Graph().as_default():
        metrics = [pf.metrics.mean(np.float32(i)) for i in range(2)]
        values = [pf.metrics.over_ranks(value) for value, _ in metrics]
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.local_variables_initializer())
            with pytest.raises(RanksDisagree):
                session.run(values[comm.rank % 2])


def strategies_whose_ranks_do_not_step_together_refuse(comm: Communicator) -> None:
    if comm.size == 1:
        return
    with pf.Graph().as_default():
        value = pf.metrics.over_ranks(pf.metrics.mean([1.0])[0])
        with pf.Session(strategy=LocalSGD(comm, period=2)) as session:
            session.run(pf.local_variables_initializer())
            with pytest.raises(GraphError, match="leave out synchronized, or over_ranks"):
                session.run(value)


CASES: list[Callable[[Communicator], None]] = [
    a_rank_measures_its_own_samples,
    over_ranks_measures_those_of_all,
    it_sees_what_the_same_run_updates,
    ranks_that_measure_different_things_are_told,
    strategies_whose_ranks_do_not_step_together_refuse,
]


if __name__ == "__main__":
    from each_case import run_each

    # One ends the exchange of the whole job.
    run_each(world(), [case for case in CASES if case is not ranks_that_measure_different_things_are_told])
