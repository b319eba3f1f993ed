"""Compression in the modes beside allreduce, on every world of ranks, against simulations of all ranks in numpy.

Losses are linear in the variables, so that gradients are the means of the samples whatever the parameters are. As a
module, world.compressed_cases, they run on world(), under mpirun. Every rank knows the samples of all ranks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from parallel import simulation as sim
from parallel.cases import METHODS

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import FailedPreconditionError, InvalidArgumentError, RanksDisagree
from paraflow.parallel import EASGD, AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer
from paraflow.parallel import compression as c
from paraflow.parallel.gossip import mixing_weight, neighbours

SHAPES = {"a": (40, 50), "b": (50,), "c": (1501,)}
NAMES = [f"{name}/exchange" for name in SHAPES]
Arrays = list[np.ndarray]

# One sender's messages, whose receiver decodes them: name -> (compressor, its simulation for one sender).
SENDERS: dict[str, tuple[Callable[[], c.Compressor], Callable[[], sim.Sender]]] = {
    "top-k": (partial(c.TopK, ratio=0.03), lambda: sim.Sender(sim.topk(0.03))),
    "top-k after two": (partial(c.TopK, ratio=0.03, warmup=2), lambda: sim.Sender(sim.topk(0.03), warmup=2)),
    "random-k": (partial(c.RandomK, ratio=0.1, seed=3), lambda: sim.Sender(sim.randomk(0.1, 3))),
    "one bit": (c.OneBit, lambda: sim.Sender(sim.onebit())),
    "PowerSGD": (partial(c.PowerSGD, rank=3, seed=5), lambda: sim.Sender(sim.powersgd(3, 5))),
    "fp16": (c.Float16, lambda: sim.Sender(lambda owed, name, step: sim.float16(owed), small=0)),
    "bf16": (c.BFloat16, lambda: sim.Sender(lambda owed, name, step: sim.bfloat16(owed), small=0)),
}
# Averages of all ranks.
AVERAGES = ("top-k", "top-k after two steps", "random-k", "one bit", "fp16", "PowerSGD")


def count(rank: int, step: int) -> int:
    """Samples of a rank in a step: none in some."""
    return (2 * rank + step) % 3


def samples(rank: int, step: int) -> Arrays:
    rng = np.random.default_rng((rank, step))
    return [rng.normal(size=(count(rank, step), *shape)) for shape in SHAPES.values()]


def means(rank: int, step: int, make: Any = samples) -> Arrays:
    return [part.mean(axis=0) if len(part) else np.zeros(part.shape[1:]) for part in make(rank, step)]


def uneven(ranks: int) -> list[int]:
    """Steps of each rank: 8, 5, 8, ..."""
    return [8 - 3 * (rank % 2) for rank in range(ranks)]


def trained(strategy: Any, steps: int, make: Any = samples) -> tuple[list[Arrays], Arrays]:
    """This rank's variables after each of its steps of gradient descent with the rate 1, and the final ones."""
    with pf.Graph().as_default():
        fed = [pf.placeholder(pf.float64, (None, *shape)) for shape in SHAPES.values()]
        variables = [pf.Variable(np.zeros(shape), name=name) for name, shape in SHAPES.items()]
        loss = sum(pf.reduce_sum(pf.reduce_mean(x, axis=0) * w) for x, w in zip(fed, variables, strict=True))
        train = pf.train.GradientDescentOptimizer(1.0).minimize(loss)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            own = []
            if strategy.is_server:
                strategy.serve(session, train)
            else:
                for step in range(steps):
                    session.run(train, dict(zip(fed, make(strategy.worker, step), strict=True)))
                    own.append(session.run(variables))
            strategy.finish(session)
            return own, session.run(variables)


def assert_close(got: Arrays, wanted: Arrays, message: str) -> None:
    for name, one, other in zip(SHAPES, got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9, err_msg=f"{message}: {name}")


# -- through servers --------------------------------------------------------------------------------------------------


def asynchronous_pushes_are_their_simulation(comm: Communicator) -> None:
    """Each arrives by itself, in any order."""
    for servers in range(1, min(comm.size - 1, 2) + 1):
        for method, (make, simulated) in SENDERS.items():
            strategy = ParameterServer(comm, servers=servers, compress=make())
            steps = uneven(strategy.workers)
            senders = [simulated() for _ in steps]
            expected = [np.zeros(shape) for shape in SHAPES.values()]
            for rank, sender in enumerate(senders):
                for step in filter(partial(count, rank), range(steps[rank])):
                    for w, name, gradient in zip(expected, NAMES, means(rank, step), strict=True):
                        w -= sender.arrives(name, gradient)
            _, got = trained(strategy, 0 if strategy.is_server else steps[comm.rank])
            assert_close(got, expected, method)
            if not strategy.is_server:
                memory = strategy.compress.state()
                for name, error in senders[comm.rank].errors.items():
                    if error.any():
                        np.testing.assert_allclose(memory[f"error/{name}"], error, atol=1e-9, err_msg=method)


def synchronous_pushes_are_their_simulation(comm: Communicator) -> None:
    """Those of a step are averaged by samples, until the last worker is done."""
    kinds: tuple[Callable[..., Any], ...] = (partial(ParameterServer, staleness=0), partial(BackupWorkers, backup=0))
    for kind in kinds:
        for method, (make, simulated) in SENDERS.items():
            strategy = kind(comm, compress=make())
            steps = uneven(strategy.workers)
            senders = [simulated() for _ in steps]
            expected = [np.zeros(shape) for shape in SHAPES.values()]
            for step in range(max(steps)):
                present = [r for r in range(len(steps)) if step < steps[r] and count(r, step)]
                total = sum(count(r, step) for r in present)
                for rank in present:
                    for w, name, gradient in zip(expected, NAMES, means(rank, step), strict=True):
                        w -= count(rank, step) / total * senders[rank].arrives(name, gradient)
            _, got = trained(strategy, 0 if strategy.is_server else steps[comm.rank])
            assert_close(got, expected, method)


def pushed_bytes_are_those_of_the_messages(comm: Communicator) -> None:
    plain = 8 * (2000 + 50 + 1501)
    for make, sent in (
        (partial(c.TopK, ratio=0.03), 60 * 12 + 400 + 46 * 12),
        (c.OneBit, 2 * 8 + 256 + 400 + 2 * 8 + 192),  # 192: bytes of signs, a multiple of 8
        (c.Float16, 4000 + 104 + 3008),
    ):
        strategy = ParameterServer(comm, compress=make())
        trained(strategy, 3)
        told = strategy.account()
        pushes = 0 if strategy.is_server else 3
        assert told["gradient_bytes"] == pushes * sent
        assert told["uncompressed_gradient_bytes"] == pushes * plain


# -- averaging --------------------------------------------------------------------------------------------------------


def changes(steps: list[int], period: int) -> list[tuple[list[float], list[Arrays]]]:
    """The rounds of local SGD: shares and changes of all ranks; those without any sample are left out."""
    rounds = []
    for first in range(0, max(steps), period):
        taken = [[s for s in range(first, first + period) if s < n] for n in steps]
        seen = np.array([sum(count(rank, s) for s in own) for rank, own in enumerate(taken)], float)
        moved = [[-sum((means(rank, s)[i] for s in own), np.zeros(shape)) for rank, own in enumerate(taken)]
                 for i, shape in enumerate(SHAPES.values())]  # fmt: skip
        if seen.any():
            rounds.append(((seen / seen.sum()).tolist(), moved))
    return rounds


def changes_of_local_sgd_are_their_simulation(comm: Communicator) -> None:
    steps = uneven(comm.size)
    rounds = changes(steps, 3)
    for method in AVERAGES:
        make, simulated = METHODS[method]
        averages = simulated(list(SHAPES), rounds)
        for outer in ("average", "nesterov"):
            strategy = LocalSGD(comm, period=3, outer=outer, compress=make())
            _, got = trained(strategy, steps[comm.rank])
            expected = [np.zeros(shape) for shape in SHAPES.values()]
            velocities = [np.zeros(shape) for shape in SHAPES.values()]
            for of_round in averages:
                for w, velocity, average in zip(expected, velocities, of_round, strict=True):
                    velocity[...] = 0.9 * velocity + average
                    w += average if outer == "average" else 0.7 * (average + 0.9 * velocity)
            assert_close(got, expected, f"{method}, {outer}")
            assert comm.rank or strategy.compress.state()["error/a"].any()


def springs_of_easgd_are_their_simulation(comm: Communicator) -> None:
    """Both ends move by what a message says, and what it leaves out stays between them."""
    steps, period, rate = uneven(comm.size), 3, 0.9
    for method, compress in (("top-k", sim.topk(0.03)), ("one bit", sim.onebit()), ("random-k", sim.randomk(0.1, 3))):
        ranks = [[np.zeros(shape) for shape in SHAPES.values()] for _ in steps]
        centre = [np.zeros(shape) for shape in SHAPES.values()]
        for number, (shares, moved) in enumerate(changes(steps, period)):
            for i, (name, shape) in enumerate(SHAPES.items()):
                total = np.zeros(shape)
                for rank, share in enumerate(shares):
                    x = ranks[rank][i]
                    x += moved[i][rank]
                    if share:
                        pull = x - centre[i]
                        pull = rate * share * (compress(pull, name, number) if pull.size >= sim.SMALL else pull)
                        x -= pull
                        total += pull
                centre[i] += total
        strategy = EASGD(comm, period=period, moving_rate=rate, compress=METHODS[method][0]())
        _, got = trained(strategy, steps[comm.rank])
        assert_close(got, centre, method)


Compress = Callable[[np.ndarray, str, int], np.ndarray]

# What a rank makes of a difference: name -> (compressor, its simulation, from how many elements on).
OF_DIFFERENCES: dict[str, tuple[Callable[[], c.Compressor], Callable[[], Compress], int]] = {
    "fp16": (c.Float16, lambda: lambda owed, name, step: sim.float16(owed), 0),
    "bf16": (c.BFloat16, lambda: lambda owed, name, step: sim.bfloat16(owed), 0),
    "top-k": (partial(c.TopK, ratio=0.03), lambda: sim.topk(0.03), sim.SMALL),
    "random-k": (partial(c.RandomK, ratio=0.1, seed=3), lambda: sim.randomk(0.1, 3), sim.SMALL),
    "one bit": (c.OneBit, sim.onebit, sim.SMALL),
    "PowerSGD": (partial(c.PowerSGD, rank=3, seed=5), lambda: sim.powersgd(3, 5), sim.SMALL),
}


class Choco:
    """All ranks of CHOCO-SGD for one variable: what each has, and what the ends of each link know of each other."""

    def __init__(self, size: int, name: str, compress: Callable[[], Compress], small: int) -> None:
        self.x = np.zeros((size, *SHAPES[name]))
        self._name, self._small = name, small
        self._known: dict[tuple[int, int], np.ndarray] = {}
        self._sent: dict[tuple[int, int], int] = {}
        self._compress = [compress() for _ in range(size)]

    def round(self, partners: list[list[int]], weight: float) -> None:
        for rank, others in enumerate(partners):
            for other in others:
                link = rank, other
                known = self._known.setdefault(link, np.zeros(self.x.shape[1:]))
                number = self._sent[link] = self._sent.get(link, -1) + 1
                change = self.x[rank] - known
                if change.size >= self._small:
                    change = self._compress[rank](change, f"{self._name} for {other}", number)
                self._known[link] = known + change
        for rank, others in enumerate(partners):
            for other in others:
                self.x[rank] += weight * (self._known[other, rank] - self._known[rank, other])


def gossip_is_its_simulation(comm: Communicator) -> None:
    """What links know is compared, so that the mean of all ranks moves by their steps alone."""
    size, steps = comm.size, 5
    for method, (make, compress, small) in OF_DIFFERENCES.items():
        for topology in ("ring", "random", "complete"):
            strategy = Gossip(comm, compress=make(), topology=topology, seed=7)
            weight = {"fp16": 1.0, "bf16": 1.0}.get(method, 0.1) * mixing_weight(topology, size)
            own, final = trained(strategy, steps)
            for i, name in enumerate(SHAPES):
                ranks = Choco(size, name, compress, small)
                for step in range(steps):
                    ranks.x -= [means(rank, step)[i] for rank in range(size)]
                    ranks.round([neighbours(topology, 7, step + 1, rank, size) for rank in range(size)], weight)
                    wanted = ranks.x[comm.rank]
                    np.testing.assert_allclose(own[step][i], wanted, rtol=1e-8, atol=1e-10, err_msg=f"{method}: {name}")
                moved = sum(means(rank, step)[i] for rank in range(size) for step in range(steps))
                np.testing.assert_allclose(final[i], -moved / size, rtol=1e-9, atol=1e-10, err_msg=f"{method}: {name}")


def gossip_tells_the_bytes_of_its_messages(comm: Communicator) -> None:
    partners, steps = min(2, comm.size - 1), 4
    for make, sent in (
        (partial(c.TopK, ratio=0.03), 60 * 12 + 400 + 46 * 12),
        (c.Float16, 4000 + 104 + 3008),
    ):
        strategy = Gossip(comm, compress=make())
        trained(strategy, steps)
        told = strategy.account()
        assert told["gradient_bytes"] == steps * partners * sent
        assert told["uncompressed_gradient_bytes"] == steps * partners * 8 * (2000 + 50 + 1501)


def gossip_with_uneven_steps_ends_and_loses_nothing(comm: Communicator) -> None:
    steps = uneven(comm.size)
    moved = [sum(means(r, s)[i] for r, n in enumerate(steps) for s in range(n)) / comm.size for i in range(len(SHAPES))]
    for make in (c.BFloat16, partial(c.TopK, ratio=0.03), partial(c.RandomK, ratio=0.1)):
        for topology in ("ring", "random"):
            _, got = trained(Gossip(comm, topology=topology, compress=make()), steps[comm.rank])
            assert_close(got, [-m for m in moved], topology)


def gossiping_replicas_come_together(comm: Communicator) -> None:
    """By messages with 3 % of the elements, once there are no more samples."""
    strategy = Gossip(comm, compress=c.TopK(ratio=0.03))
    own, _ = trained(strategy, 120, lambda rank, step: samples(rank if step == 0 else 0, 1 - (step > 0)))
    first, last = (comm.allgather([part.ravel() for part in at]) for at in (own[0], own[-1]))
    for i, name in enumerate(SHAPES):
        apart = [np.std([parts[i] for parts in ranks], axis=0).max() for ranks in (first, last)]
        assert apart[1] < 0.1 * apart[0], name


# -- all of them ------------------------------------------------------------------------------------------------------


def few(rank: int, step: int) -> Arrays:
    """Samples with 2 % of elements that are not zero, always the same ones."""
    kept = [np.random.default_rng(1).random(shape) < 0.02 for shape in SHAPES.values()]
    return [part * mask for part, mask in zip(samples(rank, step), kept, strict=True)]


def messages_that_leave_nothing_out_change_nothing(comm: Communicator) -> None:
    """Top-k of gradients with fewer elements than k that are not zero; or of all elements, which then travel raw."""
    kinds: tuple[Callable[..., Any], ...] = (
        partial(ParameterServer, staleness=0),
        partial(BackupWorkers, backup=0),
        partial(LocalSGD, period=3),
        partial(LocalSGD, period=3, outer="nesterov"),
        partial(EASGD, period=3),
    )
    for kind in kinds:
        steps = uneven(comm.size)[comm.rank]
        for make, ratio in ((few, 0.05), (samples, 1.0)):
            _, expected = trained(kind(comm), steps, make)
            strategy = kind(comm, compress=c.TopK(ratio=ratio))
            _, got = trained(strategy, steps, make)
            for one, other in zip(got, expected, strict=True):
                if isinstance(strategy, ParameterServer):
                    np.testing.assert_array_equal(one, other)
                else:  # the sums of allreduce may have another order
                    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def another_compressor_on_one_rank_is_named(comm: Communicator) -> None:
    for kind in (ParameterServer, LocalSGD):
        with pytest.raises(RanksDisagree, match=r"compress = TopK\(error_feedback=True, warmup=0, ratio=0.02\)"):
            trained(kind(comm, compress=c.TopK(ratio=0.01 if comm.rank else 0.02)), 1)


def compressors_that_make_no_sense_are_refused(comm: Communicator) -> None:
    for compress in (c.TopK(error_feedback=False), c.Float16(warmup=3)):
        with pytest.raises(InvalidArgumentError, match="set warmup to 0 and error_feedback to True"):
            Gossip(comm, compress=compress)
    for compress, consensus in ((None, 0.5), (c.TopK(), 0.0), (c.TopK(), 1.5)):
        with pytest.raises(InvalidArgumentError, match=r"consensus = .* in \(0, 1\]"):
            Gossip(comm, compress=compress, consensus=consensus)
    with pytest.raises(InvalidArgumentError, match="elastic averaging has to know what a message leaves out"):
        EASGD(comm, compress=c.TopK(error_feedback=False))


def a_compressor_serves_one_strategy(comm: Communicator) -> None:
    """What it owes to one training is not added to another one, which with a compressor of its own is the same."""
    kinds: tuple[Callable[..., Any], ...] = (AllReduce, LocalSGD, partial(ParameterServer, staleness=0))
    for first, second in zip(kinds, (*kinds[1:], kinds[0]), strict=True):
        for kind in (first, second):
            compress = c.TopK(ratio=0.03)
            _, got = trained(first(comm, compress=compress), 3)
            memory = {name: array.copy() for name, array in compress.state().items()}
            with pytest.raises(FailedPreconditionError, match=r"this TopK has compressed.*make a new compressor for"):
                trained(kind(comm, compress=compress), 3)
            comm.barrier()
            np.testing.assert_equal(compress.state(), memory)
            _, again = trained(first(comm, compress=c.TopK(ratio=0.03)), 3)
            np.testing.assert_equal(again, got)


CASES = [
    asynchronous_pushes_are_their_simulation,
    synchronous_pushes_are_their_simulation,
    pushed_bytes_are_those_of_the_messages,
    changes_of_local_sgd_are_their_simulation,
    springs_of_easgd_are_their_simulation,
    gossip_is_its_simulation,
    gossip_tells_the_bytes_of_its_messages,
    gossip_with_uneven_steps_ends_and_loses_nothing,
    gossiping_replicas_come_together,
    messages_that_leave_nothing_out_change_nothing,
    another_compressor_on_one_rank_is_named,
    compressors_that_make_no_sense_are_refused,
    a_compressor_serves_one_strategy,
]


if __name__ == "__main__":
    from .each_case import run_each

    run_each(world(), CASES)
