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
from paraflow.parallel import AllReduce
from paraflow.parallel.compression import TopK

Step = Callable[..., Any]


class Steps:
    """A session that trains two variables and a table of rows, and the steps that it can run, by name."""

    def __init__(self, strategy: AllReduce) -> None:
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
        self.session = pf.Session(strategy=strategy)

    def __call__(self, name: str, samples: int = 2, word: int = 1) -> Any:
        feed = {self.x: np.ones((samples, 2)), self.word: np.full(samples, word)}
        return self.session.run(self.fetches[name], feed)


@contextmanager
def steps(comm: Communicator, shared_memory: bool) -> Iterator[Steps]:
    with pf.Graph().as_default():
        run = Steps(AllReduce(comm, shared_memory=shared_memory))
        with run.session as session:
            session.run(pf.global_variables_initializer())
            yield run


def both_ways(case: Callable[[Communicator, bool], None]) -> Callable[[Communicator], None]:
    """The case on ranks that share memory where they can, and on ranks that are nodes of their own."""

    def run(comm: Communicator) -> None:
        for shared_memory in (True, False):
            case(comm, shared_memory)
            comm.barrier()

    run.__name__ = case.__name__
    return run


@both_ways
def a_rank_that_ends_early_is_named(comm: Communicator, shared_memory: bool) -> None:
    last = comm.size - 1
    with steps(comm, shared_memory) as run:
        run("whole")
        if comm.rank == last:
            return
        with pytest.raises(RanksDisagree, match=f"rank {last} has ended"):
            run("whole")


@both_ways
def a_rank_that_ends_after_another_step_is_named(comm: Communicator, shared_memory: bool) -> None:
    """It took part in everything but the others' last step, in which rows are exchanged by all at once."""
    with steps(comm, shared_memory) as run:
        for name in ("rows", "whole", "rows and more"):
            run(name)
        if comm.rank == 0:
            return
        with pytest.raises(RanksDisagree, match="rank 0 has ended"):
            run("rows")


@both_ways
def a_rank_whose_step_fails_takes_no_further_part(comm: Communicator, shared_memory: bool) -> None:
    last = comm.size - 1
    with steps(comm, shared_memory) as run:
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


def whole_four_times() -> tuple[float, float]:
    """An element of w and one of v after four steps on samples of ones: the loss is (w_1 + w_2) mean(v)."""
    w = v = 1.0
    for _ in range(4):
        w, v = w - 0.01 * v, v - 0.01 * 2 * w / 300
    return w, v


@both_ways
def what_a_rank_fetches_beside_is_its_own_affair(comm: Communicator, shared_memory: bool) -> None:
    """Its gradient before it is exchanged, in any place."""
    with steps(comm, shared_memory) as run:
        for number in range(4):
            run("own gradient" if (number + comm.rank) % 2 else "whole")
        np.testing.assert_allclose(run.session.run("w:0"), [whole_four_times()[0]] * 2, rtol=1e-12)
        np.testing.assert_allclose(run.session.run("v:0"), [whole_four_times()[1]] * 300, rtol=1e-12)


def different(first: str, second: str, known: bool) -> Callable[[Communicator], None]:
    """Rank 0 runs another step than the others; where they are ``known``, all have run both before."""

    @both_ways
    def case(comm: Communicator, shared_memory: bool) -> None:
        with steps(comm, shared_memory) as run:
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
    nothing_moves_in_a_step_without_any_sample,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks, at least two, can run: all of them."""
    return CASES


def main() -> None:
    comm = world()
    for case in cases_of(comm.size):
        case(comm)
        comm.barrier()
        if comm.rank == 0:
            print(f"{comm.world} {comm.size}: {case.__name__}", flush=True)


if __name__ == "__main__":
    main()
