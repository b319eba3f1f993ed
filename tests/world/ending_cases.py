"""Ranks that end, fail or do something else than the others, as functions of a communicator; as a script on world().

Every rank has to get an error that says what happened, and the world has to be usable afterwards.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import FailedPreconditionError, InvalidArgumentError, RanksDisagree, WorldAborted
from paraflow.parallel import EASGD, AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer
from paraflow.parallel.compression import TopK

Step = Callable[..., Any]
Way = tuple[bool, str]
"""Whether ranks share memory, and how nodes sum their gradients."""
WAYS: list[Way] = [(True, "mpi"), (False, "mpi"), (False, "ring")]


class Steps:
    """A session that trains two variables and a table of rows, and the steps that it can run, by name."""

    def __init__(self, strategy: AllReduce, algorithm: str) -> None:
        self.x = pf.placeholder(pf.float64, (None, 2), name="x")
        self.word = pf.placeholder(pf.int32, (None,), name="word")
        w, v = pf.Variable(np.ones(2), name="w"), pf.Variable(np.ones(300), name="v")
        table = pf.Variable(np.ones((5, 2)), name="table")
        loss = pf.reduce_mean(pf.reduce_sum(self.x * w, axis=1)) * pf.reduce_mean(v)
        other = pf.reduce_mean(pf.reduce_sum(self.x * w, axis=1)) + pf.reduce_sum(v)
        rows = pf.reduce_mean(pf.reduce_sum(pf.gather(table, self.word) * self.x, axis=1))
        optimizer = pf.train.GradientDescentOptimizer(0.01)
        pairs = optimizer.compute_gradients(loss, [w, v])
        whole = optimizer.apply_gradients(pairs)
        self.fetches = {
            "whole": whole,
            "part": optimizer.minimize(loss, var_list=[w]),
            "other part": optimizer.minimize(loss, var_list=[v]),
            "other loss": optimizer.minimize(other, var_list=[w, v]),
            "averages": [gradient for gradient, _ in pairs],
            "rows": optimizer.minimize(rows, var_list=[table]),
            "rows and more": optimizer.minimize(rows * loss, var_list=[table, w]),
            "assignment": v.assign(v * 2.0).op,
            "own gradient": [whole, [gradient.op.inputs[0] for gradient, _ in pairs]],
        }
        self.session = pf.Session(strategy=strategy, algorithm=algorithm)

    def __call__(self, name: str, samples: int = 2, word: int = 1) -> Any:
        feed = {self.x: np.ones((samples, 2)), self.word: np.full(samples, word)}
        return self.session.run(self.fetches[name], feed)


@contextmanager
def steps(comm: Communicator, way: Way) -> Iterator[Steps]:
    with pf.Graph().as_default():
        shared_memory, algorithm = way
        run = Steps(AllReduce(comm, shared_memory=shared_memory), algorithm)
        with run.session as session:
            session.run(pf.global_variables_initializer())
            yield run


def in_every_way(case: Callable[[Communicator, Way], None]) -> Callable[[Communicator], None]:
    """The case on ranks that share memory where they can, and on ranks that are nodes of their own, on a ring too."""

    def run(comm: Communicator) -> None:
        for way in WAYS:
            case(comm, way)
            comm.barrier()

    run.__name__ = case.__name__
    return run


@in_every_way
def a_rank_that_ends_early_is_named(comm: Communicator, way: Way) -> None:
    last = comm.size - 1
    with steps(comm, way) as run:
        run("whole")
        if comm.rank == last:
            return
        with pytest.raises(RanksDisagree, match=f"rank {last} has ended"):
            run("whole")


@in_every_way
def a_rank_that_ends_after_another_step_is_named(comm: Communicator, way: Way) -> None:
    """It took part in everything but the others' last step, in which rows are exchanged by all at once."""
    with steps(comm, way) as run:
        for name in ("rows", "whole", "rows and more"):
            run(name)
        if comm.rank == 0:
            return
        with pytest.raises(RanksDisagree, match="rank 0 has ended"):
            run("rows")


@in_every_way
def a_rank_whose_step_fails_takes_no_further_part(comm: Communicator, way: Way) -> None:
    last = comm.size - 1
    with steps(comm, way) as run:
        run("rows and more")
        run("whole")
        if comm.rank == last:
            with pytest.raises(InvalidArgumentError, match="99"):
                run("rows and more", word=99)
            for name in ("rows and more", "whole", "assignment"):
                with pytest.raises(FailedPreconditionError, match=f"broke off on rank {last} .*99"):
                    run(name)
        else:
            with pytest.raises(WorldAborted, match=rf"rank {last} failed.*99"):
                run("rows and more")


@in_every_way
def rows_of_which_one_rank_has_none_are_waited_for_by_nobody(comm: Communicator, way: Way) -> None:
    """A rank fails after it has met the others in the step, and before it gathers the rows with them."""
    last = comm.size - 1

    def gather(*arguments: Any) -> None:
        raise OSError("no rows today")

    with steps(comm, way) as run:
        run("rows and more")
        if comm.rank == last:
            run.session.comm.allgather_into = gather
            with pytest.raises(InvalidArgumentError, match="no rows today"):
                run("rows and more")
        else:
            with pytest.raises(WorldAborted, match=rf"rank {last} failed.*no rows today"):
                run("rows and more")


def whole_four_times() -> tuple[float, float]:
    """An element of w and one of v after four steps on samples of ones: the loss is (w_1 + w_2) mean(v)."""
    w = v = 1.0
    for _ in range(4):
        w, v = w - 0.01 * v, v - 0.01 * 2 * w / 300
    return w, v


@in_every_way
def what_a_rank_fetches_beside_is_its_own_affair(comm: Communicator, way: Way) -> None:
    """Its gradient before it is exchanged, in any place."""
    with steps(comm, way) as run:
        for number in range(4):
            run("own gradient" if (number + comm.rank) % 2 else "whole")
        np.testing.assert_allclose(run.session.run("w:0"), [whole_four_times()[0]] * 2, rtol=1e-12)
        np.testing.assert_allclose(run.session.run("v:0"), [whole_four_times()[1]] * 300, rtol=1e-12)


def different(first: str, second: str, known: bool) -> Callable[[Communicator], None]:
    """Rank 0 runs another step than the others; where they are ``known``, all have run both before."""

    @in_every_way
    def case(comm: Communicator, way: Way) -> None:
        with steps(comm, way) as run:
            run("whole")
            for name in (first, second) if known else ():
                run(name)
            mine, theirs = (first, second) if comm.rank == 0 else (second, first)
            with pytest.raises(RanksDisagree, match="different programs") as caught:
                # Nodes hear of an assignment with the next step.
                [run(name) for name in (mine, theirs)]
            assert "alone has" in str(caught.value) or "assignment" in (first, second), caught.value
            with pytest.raises(FailedPreconditionError, match="broke off"):
                run(theirs)

    case.__name__ = f"{first}_and_{second}_{'known' if known else 'new'}".replace(" ", "_")
    return case


DIFFERENT = [
    ("whole", "part"),
    ("part", "other part"),
    ("whole", "averages"),
    ("whole", "other loss"),
    ("whole", "rows"),
    ("rows", "rows and more"),
    ("assignment", "whole"),
]


class Own:
    """A session of a strategy in which a step fails on a rank that feeds it a word outside of the table."""

    def __init__(self, strategy: Any) -> None:
        self.word = pf.placeholder(pf.int32, (None,))
        w, table = pf.Variable(np.ones((2, 3)), name="w"), pf.constant(np.ones((5, 2)))
        loss = pf.reduce_mean(pf.square(pf.matmul(pf.gather(table, self.word), w)))
        self.step = pf.train.GradientDescentOptimizer(0.01).minimize(loss)
        self.strategy = strategy
        self.session = pf.Session(strategy=strategy)

    def __call__(self, word: int = 1) -> None:
        self.session.run(self.step, {self.word: [word]})


@contextmanager
def own(strategy: Any) -> Iterator[Own]:
    with pf.Graph().as_default():
        run = Own(strategy)
        with run.session as session:
            session.run(pf.global_variables_initializer())
            yield run


MODES: dict[str, Callable[[Communicator], Any]] = {
    "all_reduce": AllReduce,
    "compressed": lambda comm: AllReduce(comm, compress=TopK(ratio=1.0)),
    "local_sgd": lambda comm: LocalSGD(comm, period=1),
    "easgd": lambda comm: EASGD(comm, period=1),
    "gossip": lambda comm: Gossip(comm, topology="complete"),
}


def in_each_mode(case: Callable[[Communicator, Any], None]) -> Callable[[Communicator], None]:
    def run(comm: Communicator) -> None:
        for make in MODES.values():
            case(comm, make(comm))
            comm.barrier()

    run.__name__ = case.__name__
    return run


@in_each_mode
def a_rank_that_closes_its_session_before_it_trains_is_named(comm: Communicator, strategy: Any) -> None:
    with own(strategy) as run:
        if comm.rank:
            with pytest.raises(RanksDisagree, match=r"rank 0 has ended .* to begin a training step"):
                run()


@in_each_mode
def a_rank_that_closes_its_session_early_is_named(comm: Communicator, strategy: Any) -> None:
    last = comm.size - 1
    with own(strategy) as run:
        run()
        if comm.rank != last:
            with pytest.raises(RanksDisagree, match=f"rank {last} has ended"):
                run()
            with pytest.raises(FailedPreconditionError, match=f"broke off on rank {comm.rank} .*rank {last}"):
                run()


def a_rank_whose_program_fails_between_steps_begins_anew_with_the_others(comm: Communicator) -> None:
    """Its program catches the error, and theirs what they make of it; then all make a new session."""
    last = comm.size - 1

    def train_until_the_last_fails(strategy: Any) -> None:
        with own(strategy) as run:
            if comm.rank != last:
                [run() for _ in range(10)]
            elif not strategy.is_server:
                run()
            raise FloatingPointError("no number any more")

    for make in (MODES["all_reduce"], MODES["gossip"], SERVERS["asynchronous"]):
        error, says = (FloatingPointError, "no number") if comm.rank == last else (WorldAborted, f"rank {last} failed")
        with pytest.raises(error, match=says):
            train_until_the_last_fails(make(comm))
        with own(make(comm)) as run:
            if run.strategy.is_server:
                run.strategy.serve(run.session, run.step)
            else:
                run()
            run.strategy.finish(run.session)


def a_compressed_step_that_fails_on_one_rank_ends_it_on_all(comm: Communicator) -> None:
    last = comm.size - 1
    with own(MODES["compressed"](comm)) as run:
        run()
        if comm.rank == last:
            with pytest.raises(InvalidArgumentError, match="99"):
                run(word=99)
            with pytest.raises(FailedPreconditionError, match=f"broke off on rank {last} .*99"):
                run()
        else:
            with pytest.raises(WorldAborted, match=rf"rank {last} failed.*99"):
                run()


def a_rank_that_averages_may_leave_out_a_step_that_fails(comm: Communicator) -> None:
    """It has not met the others in it: they average when it comes to its next one."""
    for name in ("local_sgd", "easgd", "gossip"):
        with own(MODES[name](comm)) as run:
            run()
            if comm.rank == 0:
                with pytest.raises(InvalidArgumentError, match="99"):
                    run(word=99)
            run()
            run.strategy.finish(run.session)
            final = comm.allgather(run.session.run("w:0").tolist())
            assert all(other == final[0] for other in final)


SERVERS: dict[str, Callable[[Communicator], Any]] = {
    "asynchronous": ParameterServer,
    "together": lambda comm: ParameterServer(comm, staleness=0),
    "backup": lambda comm: BackupWorkers(comm, backup=0),
}


def with_servers(case: Callable[[Communicator, Any], None]) -> Callable[[Communicator], None]:
    def run(comm: Communicator) -> None:
        for make in SERVERS.values():
            case(comm, make(comm))
            comm.barrier()

    run.__name__ = case.__name__
    return run


@with_servers
def a_worker_that_ends_without_finishing_is_named(comm: Communicator, strategy: Any) -> None:
    """The server waits for it when the others are done, if not before, and tells them."""
    with own(strategy) as run:
        if strategy.is_server:
            with pytest.raises(RanksDisagree, match=r"rank 0 has ended .* to push gradients, or to finish"):
                strategy.serve(run.session, run.step)
            return

        def train() -> None:
            for _ in range(10):
                run()
            strategy.finish(run.session)

        if comm.rank == 0:
            run()
        else:  # it may end before they have done their first step
            with pytest.raises(RanksDisagree, match="rank 0 has ended"):
                train()


@with_servers
def a_server_that_fails_ends_all_workers(comm: Communicator, strategy: Any) -> None:
    with own(strategy) as run:
        if strategy.is_server:

            def fail(*gradients: Any) -> None:
                raise OSError("no update today")

            run.session.make_callable = lambda *arguments: fail
            with pytest.raises(OSError, match="no update today"):
                strategy.serve(run.session, run.step)
        else:
            with pytest.raises(WorldAborted, match=rf"rank {comm.size - 1} failed.*no update today"):
                [run() for _ in range(10)]


def a_strategy_that_keeps_something_trains_in_one_session(comm: Communicator) -> None:
    """The other session may still be open, or closed."""
    for make in (*(MODES[name] for name in MODES if name != "all_reduce"), *SERVERS.values()):
        strategy = make(comm)

        def train(run: Own, strategy: Any = strategy) -> None:
            if strategy.is_server:
                strategy.serve(run.session, run.step)
            else:
                run()

        with own(strategy) as first:
            train(first)
            strategy.finish(first.session)
            with own(strategy) as second, pytest.raises(FailedPreconditionError, match="make a new one"):
                train(second)
        with own(strategy) as third, pytest.raises(FailedPreconditionError, match="make a new one"):
            train(third)
        comm.barrier()


def trained(strategy: Any, kind: str, counts: list[int], own: Any) -> dict[str, np.ndarray]:
    """Everything after steps with ``counts`` samples, of which ``own`` takes this rank's."""
    optimizers: dict[str, Callable[[], Any]] = {
        "adam": lambda: pf.train.AdamOptimizer(0.1),
        "momentum": lambda: pf.train.MomentumOptimizer(0.1, 0.9),
        "lamb": lambda: pf.train.LAMBOptimizer(0.1, weight_decay=0.1),
        "rmsprop": lambda: pf.train.RMSPropOptimizer(0.1, momentum=0.5),
    }
    with pf.Graph().as_default():
        word, y = pf.placeholder(pf.int32, (None,)), pf.placeholder(pf.float64, (None, 3))
        table = pf.Variable(np.arange(18.0).reshape(6, 3) / 10, name="table")
        w = pf.Variable(np.ones((3, 3)), name="w")
        updates = pf.train.create_global_step()
        loss = pf.reduce_mean(pf.square(pf.matmul(pf.gather(table, word), w) - y))
        optimizer = optimizers[kind.split()[0]]()
        pairs = optimizer.compute_gradients(loss)
        if "clipped" in kind:
            gradients, _ = pf.clip_by_global_norm([g for g, _ in pairs], 0.5)
            pairs = [(g, v) for g, (_, v) in zip(gradients, pairs, strict=True)]
        step = optimizer.apply_gradients(pairs, updates)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            rng = np.random.default_rng(3)
            for count in counts:
                words, targets = rng.integers(6, size=count), rng.normal(size=(count, 3))
                mine = own(count)
                session.run([step, loss], {word: words[mine], y: targets[mine]})
            return session.run({v.name: v for v in pf.global_variables()})


COUNTS = [3, 0, 7, 1, 0, 0, 4]


def nothing_moves_in_a_step_without_any_sample(comm: Communicator) -> None:
    """Neither variables nor slots, whether gradients are dense or of rows, whatever is done with them."""

    def own(count: int) -> Any:
        return pf.data.shard(np.arange(count), comm.rank, comm.size)

    for kind in ("adam", "momentum", "rmsprop", "lamb clipped", "momentum clipped"):
        expected = trained(None, kind, [c for c in COUNTS if c], np.arange)
        whole = TopK(ratio=1.0)
        for strategy in (AllReduce(comm), AllReduce(comm, shared_memory=False), AllReduce(comm, compress=whole)):
            found = trained(strategy, kind, COUNTS, own)
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=f"{kind}: {name}")


CASES: list[Callable[[Communicator], None]] = [
    a_rank_that_ends_early_is_named,
    a_rank_that_ends_after_another_step_is_named,
    a_rank_whose_step_fails_takes_no_further_part,
    what_a_rank_fetches_beside_is_its_own_affair,
    *(different(*pair, known) for pair in DIFFERENT for known in (True, False) if known or "assignment" not in pair),
    rows_of_which_one_rank_has_none_are_waited_for_by_nobody,
    a_rank_that_closes_its_session_before_it_trains_is_named,
    a_rank_that_closes_its_session_early_is_named,
    a_rank_whose_program_fails_between_steps_begins_anew_with_the_others,
    a_compressed_step_that_fails_on_one_rank_ends_it_on_all,
    a_rank_that_averages_may_leave_out_a_step_that_fails,
    a_worker_that_ends_without_finishing_is_named,
    a_server_that_fails_ends_all_workers,
    a_strategy_that_keeps_something_trains_in_one_session,
    nothing_moves_in_a_step_without_any_sample,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks, at least two, can run: all of them."""
    return CASES


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
