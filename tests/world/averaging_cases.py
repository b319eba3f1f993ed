"""What the averaging strategies have to do on every world of ranks, against simulations of all ranks in numpy.

As in ``cases``, run as a script they run on world(), under mpirun.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import FailedPreconditionError, RanksDisagree
from paraflow.parallel import EASGD, AllReduce, Gossip, LocalSGD
from paraflow.parallel.compression import TopK
from paraflow.parallel.gossip import neighbours

if __name__ == "__main__":  # a script is in no package, but beside its neighbours
    import cases
else:
    from . import cases

RATE, MOMENTUM = 0.05, 0.5
Vectors = list[np.ndarray]


def batch(rank: int, step: int, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, 3] and targets [n] of a step that depend on the rank; by default n is 0 to 4, uneven."""
    rng = np.random.default_rng((rank, step))
    features = rng.normal(size=((2 * rank + 3 * step) % 5 if count is None else count, 3))
    return features, features @ [1.0, -2.0, 0.5 + rank] + rng.normal(size=len(features))


class Simulation:
    """Linear regressions of all ranks, each by gradient descent with momentum, in plain numpy."""

    def __init__(self, size: int, count: int | None = None) -> None:
        self.size = size
        self.count = count
        self.w: Vectors = [np.zeros(3) for _ in range(size)]
        self.v: Vectors = [np.zeros(3) for _ in range(size)]
        self.samples = np.zeros(size)

    def step(self, rank: int, number: int) -> None:
        x, y = batch(rank, number, self.count)
        if len(y):
            self.v[rank] = MOMENTUM * self.v[rank] + 2 / len(y) * x.T @ (x @ self.w[rank] - y)
            self.w[rank] = self.w[rank] - RATE * self.v[rank]
            self.samples[rank] += len(y)

    def run(self, steps: Sequence[int], due: Callable[[int], bool], combine: Callable[[int], None]) -> list[Vectors]:
        """The parameters of all ranks after each step; rank r takes steps[r], and ``combine`` mixes after those due.

        What the samples of a last, incomplete round have brought is combined at the end.
        """
        seen = []
        for number in range(1, max(steps) + 1):
            for rank in range(self.size):
                if number <= steps[rank]:
                    self.step(rank, number)
            if due(number):
                combine(number)
                self.samples[:] = 0
            seen.append([w.copy() for w in self.w])
        if self.samples.any():
            combine(max(steps) + 1)
        return seen


def trained(strategy: Any, steps: int, count: int | None = None) -> tuple[Vectors, np.ndarray, Vectors]:
    """This rank's parameters after each of its steps, the final ones, and those to be evaluated after each step."""
    rank = strategy.comm.rank
    with pf.Graph().as_default():
        x, y = pf.placeholder(pf.float64, (None, 3)), pf.placeholder(pf.float64, (None,))
        w = pf.Variable(np.zeros(3), name="w")
        loss = pf.reduce_mean(pf.square(pf.reduce_sum(x * w, axis=1) - y))
        step = pf.train.MomentumOptimizer(RATE, MOMENTUM).minimize(loss)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            own, judged = [], []
            for number in range(1, steps + 1):
                features, targets = batch(rank, number, count)
                session.run(step, {x: features, y: targets})
                own.append(session.run(w))
                with strategy.evaluating(session):
                    judged.append(session.run(w))
                np.testing.assert_array_equal(session.run(w), own[-1])
            strategy.finish(session)
            return own, session.run(w), judged


def uneven(size: int) -> list[int]:
    """Steps of each rank: 14, 10, 12, 8."""
    return [14 - 4 * (rank % 2) - rank // 2 * 2 for rank in range(size)]


# -- local SGD and DiLoCo ---------------------------------------------------------------------------------------------


def averaging_after_every_step_is_allreduce(comm: Communicator) -> None:
    """With gradient descent, also where a rank has no sample in the last batch of an epoch."""
    expected, _ = cases.expected_of_one_process("gradient descent", "float64")
    got, _ = cases.trained(LocalSGD(comm, period=1), "gradient descent", "float64")
    for variable, value in expected.items():
        np.testing.assert_allclose(got[variable], value, rtol=1e-9, err_msg=variable)


def all_steps_of_the_warmup_are_averaged(comm: Communicator) -> None:
    own, _ = cases.trained(LocalSGD(comm, period=50, warmup=21), "gradient descent", "float64", steps=21)
    expected, _ = cases.trained(AllReduce(comm), "gradient descent", "float64", steps=21)
    for variable, value in expected.items():
        np.testing.assert_allclose(own[variable], value, rtol=1e-9, err_msg=variable)


def local_sgd_is_its_simulation(comm: Communicator) -> None:
    for period, warmup in ((4, 0), (5, 3)):
        for steps in ([14] * comm.size, uneven(comm.size)):
            simulation = Simulation(comm.size)

            def combine(_: int, s: Simulation = simulation) -> None:
                if s.samples.any():
                    average = sum(n * w for n, w in zip(s.samples, s.w, strict=True)) / s.samples.sum()
                    s.w = [average.copy() for _ in s.w]

            def due(number: int, period: int = period, warmup: int = warmup) -> bool:
                return number <= warmup or (number - warmup) % period == 0

            seen = simulation.run(steps, due, combine)
            strategy = LocalSGD(comm, period=period, warmup=warmup)
            own, final, _ = trained(strategy, steps[comm.rank])
            expected = [w[comm.rank] for w in seen[: steps[comm.rank]]]
            np.testing.assert_allclose(own, expected, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(final, simulation.w[0], rtol=1e-12)


def diloco_is_its_simulation(comm: Communicator) -> None:
    """PyTorch's SGD with Nesterov momentum (v = m v + g; w -= rate (g + m v)) on start - average, after a warm-up."""
    period, warmup, rate, momentum = 4, 2, 0.7, 0.9
    for steps in ([14] * comm.size, uneven(comm.size)):
        simulation = Simulation(comm.size)
        start, velocity = np.zeros(3), np.zeros(3)

        def combine(number: int, s: Simulation = simulation, start: Any = start, velocity: Any = velocity) -> None:
            if s.samples.any():
                average = sum(n * w for n, w in zip(s.samples, s.w, strict=True)) / s.samples.sum()
                gradient = start - average
                if number <= warmup:
                    start -= gradient
                else:
                    velocity[:] = momentum * velocity + gradient
                    start -= rate * (gradient + momentum * velocity)
                s.w = [start.copy() for _ in s.w]

        seen = simulation.run(steps, lambda number: number <= warmup or (number - warmup) % period == 0, combine)
        strategy = LocalSGD(comm, period=period, warmup=warmup, outer="nesterov")
        own, final, judged = trained(strategy, steps[comm.rank])
        np.testing.assert_allclose(own, [w[comm.rank] for w in seen[: steps[comm.rank]]], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(final, simulation.w[0], rtol=1e-12)
        np.testing.assert_array_equal(judged[2:5], [judged[1]] * 3, "what all hold alike, between two averagings")
        np.testing.assert_array_equal(judged[5], own[5])


# -- elastic averaging ------------------------------------------------------------------------------------------------


def easgd_is_its_simulation(comm: Communicator) -> None:
    period, rate = 3, 0.9
    for count in (None, 2):
        for steps in ([14] * comm.size, uneven(comm.size)):
            simulation = Simulation(comm.size, count)
            centre = np.zeros(3)
            centres = []

            def combine(_: int, s: Simulation = simulation, centre: Any = centre, centres: Any = centres) -> None:
                if s.samples.any():
                    pulls = [rate * n / s.samples.sum() * (w - centre) for n, w in zip(s.samples, s.w, strict=True)]
                    s.w = [w - pull for w, pull in zip(s.w, pulls, strict=True)]
                    centre += sum(pulls)
                centres.append(centre.copy())

            seen = simulation.run(steps, lambda number: number % period == 0, combine)
            own, final, judged = trained(EASGD(comm, period=period, moving_rate=rate), steps[comm.rank], count)
            np.testing.assert_allclose(own, [w[comm.rank] for w in seen[: steps[comm.rank]]], rtol=1e-11, atol=1e-14)
            np.testing.assert_allclose(final, centre, rtol=1e-11)
            np.testing.assert_allclose(judged[2::3], centres[: steps[comm.rank] // period], rtol=1e-11, atol=1e-14)


# -- gossip -----------------------------------------------------------------------------------------------------------


def gossip_is_its_simulation(comm: Communicator) -> None:
    """Doubly stochastic matrices, written out: the ring's, and those of a matching in each round."""
    size, period = comm.size, 2
    for topology in ("ring", "random", "complete"):
        simulation = Simulation(size, count=3)

        def combine(number: int, s: Simulation = simulation, topology: Any = topology) -> None:
            if topology == "complete":
                matrix = np.full((size, size), 1 / size)
            elif topology == "ring":
                turn = np.roll(np.eye(size), 1, axis=0)
                matrix = (np.eye(size) + turn + turn.T) / 3 if size > 2 else np.full((size, size), 1 / size)
            else:
                matrix = np.eye(size)
                for rank in range(size):
                    for partner in neighbours("random", 5, number // period, rank, size):
                        matrix[rank, [rank, partner]] = 0.5
            np.testing.assert_allclose(matrix.sum(0), 1)
            s.w = list(matrix @ np.stack(s.w))

        seen = simulation.run([12] * size, lambda number: number % period == 0, combine)
        own, final, _ = trained(Gossip(comm, period=period, topology=topology, seed=5), 12, count=3)
        np.testing.assert_allclose(own, [w[comm.rank] for w in seen], rtol=1e-12)
        np.testing.assert_allclose(final, np.mean(simulation.w, axis=0), rtol=1e-12)


def complete_mixing_is_averaging(comm: Communicator) -> None:
    for period in (1, 3):
        own, final, _ = trained(Gossip(comm, period=period, topology="complete"), 12, count=3)
        expected, average, _ = trained(LocalSGD(comm, period=period), 12, count=3)
        np.testing.assert_allclose(own, expected, rtol=1e-12)
        np.testing.assert_allclose(final, average, rtol=1e-12)


def enough_rounds_of_gossip_are_averaging(comm: Communicator) -> None:
    """After a first step apart, a learning rate of zero: what mixing alone comes to."""
    for topology in ("ring", "random"):
        with pf.Graph().as_default():
            x, rate = pf.placeholder(pf.float64, (None,)), pf.placeholder(pf.float64, ())
            w = pf.Variable(np.float64(0))
            step = pf.train.GradientDescentOptimizer(rate).minimize(pf.reduce_mean(x) * w)
            with pf.Session(strategy=Gossip(comm, topology=topology, seed=1)) as session:
                session.run(pf.global_variables_initializer())
                for number in range(60):
                    session.run(step, {x: [comm.rank + 1.0], rate: 1.0 if number == 0 else 0.0})
                np.testing.assert_allclose(session.run(w), -(comm.size + 1) / 2, rtol=1e-6)
                session.graph.finalize()
                assert session.strategy is not None
                session.strategy.finish(session)


def gossip_with_uneven_steps_ends_and_loses_nothing(comm: Communicator) -> None:
    """With gradients that do not depend on the parameters, mixing leaves their mean to the steps alone."""
    steps = [3 + 5 * ((rank + 1) % comm.size) for rank in range(comm.size)]
    for topology in ("ring", "random", "complete"):
        for turn in range(comm.size):  # who ends first
            mine = steps[(comm.rank + turn) % comm.size]
            strategy = Gossip(comm, topology=topology, seed=turn)
            with pf.Graph().as_default():
                x = pf.placeholder(pf.float64, (None, 40))
                w = pf.Variable(np.zeros(40))
                step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(pf.reduce_sum(x * w, axis=1)))
                with pf.Session(strategy=strategy) as session:
                    session.run(pf.global_variables_initializer())
                    for phase in (1, 2):  # training may go on after all are done
                        for _ in range(mine):
                            session.run(step, {x: np.full((1, 40), comm.rank + 1.0)})
                        strategy.finish(session)
                        moved = sum((r + 1) * steps[(r + turn) % comm.size] for r in range(comm.size)) / comm.size
                        np.testing.assert_allclose(session.run(w), np.full(40, -phase * moved), rtol=1e-12)
            assert len({value.tobytes() for value in comm.allgather(session.store["Variable"])}) == 1


# -- all of them ------------------------------------------------------------------------------------------------------


def strategies(comm: Communicator) -> list[Any]:
    return [
        LocalSGD(comm, period=3),
        LocalSGD(comm, period=3, outer="nesterov"),
        EASGD(comm, period=3),
        Gossip(comm, topology="ring"),
        Gossip(comm, topology="random"),
    ]


def one_rank_is_a_single_process(comm: Communicator) -> None:
    expected, losses = cases.trained(None, "adam", "float32", steps=8)
    for strategy in strategies(comm):
        got, own = cases.trained(strategy, "adam", "float32", steps=8)
        assert own == losses
        for variable, value in expected.items():
            np.testing.assert_array_equal(got[variable], value, variable)


def kind(strategy: Any) -> str:
    return "elastic" if isinstance(strategy, EASGD) else getattr(strategy, "outer", "gossip")


def all_ranks_end_with_the_same_bits(comm: Communicator) -> None:
    for strategy, same in zip(strategies(comm), strategies(comm), strict=True):
        (got, _), (again, _) = (cases.trained(s, "adam", "float32", steps=8) for s in (strategy, same))
        for parameters in comm.allgather(got):
            for variable, value in again.items():
                assert np.isfinite(value).all()
                np.testing.assert_array_equal(parameters[variable], value, variable)


def a_step_without_samples_changes_nothing(comm: Communicator) -> None:
    for strategy in strategies(comm):
        strategy.period = 100
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None,))
            w = pf.Variable(np.float64(1))
            step = pf.train.AdamOptimizer(0.1).minimize(pf.reduce_mean(pf.square(x * w)))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                session.run(step, {x: [1.0 + comm.rank]})
                before = {name: array.copy() for name, array in session.store.items()}
                session.run(step, {x: []})
                assert len(before) > 2
                for name, value in before.items():
                    np.testing.assert_array_equal(session.store[name], value, name)
                session.run(step, {x: [2.0]})
                assert session.run(w) != before["Variable"]
                strategy.finish(session)


def half_precision_averages_do_not_overflow(comm: Communicator) -> None:
    """Parameters of 40,000, whose sums are out of the range of float16, and small ones, against those in float32."""

    def final(strategy: Any, dtype: Any) -> np.ndarray:
        with pf.Graph().as_default():
            x = pf.placeholder(dtype, (None, 2))
            w = pf.Variable(np.array([40_000, 0.5]).astype(dtype))
            step = pf.train.GradientDescentOptimizer(1.0).minimize(-pf.reduce_sum(pf.reduce_mean(x, 0) * w))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                for _ in range(7):  # of which not all are averaged before the end
                    session.run(step, {x: np.array([[400, 0.25]] * (comm.rank + 1)) * (comm.rank + 1)})
                strategy.finish(session)
                return session.run(w)

    def every() -> list[Any]:
        return [*strategies(comm), Gossip(comm, compress=TopK(ratio=0.5), consensus=0.3)]

    expected = [final(strategy, pf.float32) for strategy in every()]
    for dtype, rtol in ((pf.float16, 4e-3), (pf.bfloat16, 3e-2)):
        for strategy, value in zip(every(), expected, strict=True):
            found = final(strategy, dtype)
            assert found.dtype == dtype
            np.testing.assert_allclose(found.astype(np.float32), value, rtol=rtol, err_msg=kind(strategy))


def what_sees_data_without_being_trained_is_averaged(comm: Communicator) -> None:
    """As the averages of batch normalisation; a variable that nobody changes keeps its bits, slots stay apart."""
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,))
        w, frozen = pf.Variable(np.float64(0.1)), pf.Variable(np.float64(0.1))
        seen = pf.Variable(np.float64(0), trainable=False)
        optimizer = pf.train.MomentumOptimizer(0.1, 0.5)
        step = optimizer.minimize(pf.reduce_mean(x) * w, var_list=[w])
        mean = pf.ops.collective.exchange(pf.reduce_mean(x), variable=seen.spec.name, shape=())
        both = pf.group(step, seen.assign(0.5 * seen + 0.5 * mean))
        strategy = LocalSGD(comm, period=2)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            for _ in range(2):
                session.run(both, {x: np.full(comm.rank + 1, comm.rank + 1.0)})
            weights = np.arange(comm.size) + 1.0
            means = np.average(weights, weights=weights)
            np.testing.assert_allclose(session.run(seen), 0.75 * means, rtol=1e-14)
            np.testing.assert_allclose(session.run(w), 0.1 - 0.1 * 2.5 * means, rtol=1e-14)
            assert session.run(frozen) == 0.1
            assert session.run(optimizer.get_slot(w, "momentum")) == 1.5 * (comm.rank + 1)
            strategy.finish(session)


def a_rank_may_look_at_a_gradient_alone(comm: Communicator) -> None:
    for strategy in strategies(comm):
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None,))
            w = pf.Variable(np.float64(3))
            optimizer = pf.train.GradientDescentOptimizer(0.5)
            ((gradient, _),) = pairs = optimizer.compute_gradients(pf.reduce_mean(x * w))
            step = optimizer.apply_gradients(pairs)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if comm.rank == 0:
                    assert session.run(gradient, {x: [7.0]}) == 7
                session.run(step, {x: [2.0]})
                if comm.rank == comm.size - 1:
                    assert session.run(gradient, {x: [8.0]}) == 8
                strategy.finish(session)
                moved = {"nesterov": 0.7 * 1.9, "elastic": 0.9}.get(kind(strategy), 1.0)
                np.testing.assert_allclose(session.run(w), 3 - moved, rtol=1e-14)


def another_setting_on_one_rank_is_named(comm: Communicator) -> None:
    odd = comm.rank == comm.size - 1
    for strategy, lines in (
        (LocalSGD(comm, period=3 if odd else 2), ("period = 3", "period = 2")),
        (EASGD(comm, moving_rate=0.5 if odd else 0.9), ("moving_rate = 0.5", "moving_rate = 0.9")),
        (Gossip(comm, seed=1 if odd else 0), ("seed = 1", "seed = 0")),
    ):
        with pf.Graph().as_default():
            w = pf.Variable(1.0)
            step = pf.train.GradientDescentOptimizer(0.5).minimize(pf.square(w))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                with pytest.raises(RanksDisagree) as caught:
                    session.run(step)
        assert all(line in str(caught.value) for line in lines)


def a_rank_that_is_done_before_it_has_trained_is_refused(comm: Communicator) -> None:
    """Rank 0 waits for the others to start."""
    for strategy in strategies(comm):
        with pf.Graph().as_default():
            w = pf.Variable(1.0)
            step = pf.train.GradientDescentOptimizer(0.5).minimize(pf.square(w))
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if comm.rank == 0:
                    with pytest.raises(RanksDisagree, match="has ended its session"):
                        session.run(step)
                    continue
                with pytest.raises(FailedPreconditionError, match=f"rank {comm.rank} is done before it has trained"):
                    strategy.finish(session)


CASES = [
    averaging_after_every_step_is_allreduce,
    gossip_is_its_simulation,
    complete_mixing_is_averaging,
]
CASES_OF_SEVERAL_RANKS = [
    all_steps_of_the_warmup_are_averaged,
    local_sgd_is_its_simulation,
    diloco_is_its_simulation,
    easgd_is_its_simulation,
    enough_rounds_of_gossip_are_averaging,
    gossip_with_uneven_steps_ends_and_loses_nothing,
    all_ranks_end_with_the_same_bits,
    a_step_without_samples_changes_nothing,
    half_precision_averages_do_not_overflow,
    what_sees_data_without_being_trained_is_averaged,
    a_rank_may_look_at_a_gradient_alone,
    a_rank_that_is_done_before_it_has_trained_is_refused,
    another_setting_on_one_rank_is_named,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run."""
    return CASES + (CASES_OF_SEVERAL_RANKS if size > 1 else [one_rank_is_a_single_process])


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
