"""Ranks whose data run dry early, as functions of a communicator; run as a script they run on world().

The oracle is one process whose batches are those of all ranks, one after the other.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import InvalidArgumentError, RanksDisagree
from paraflow.parallel import EASGD, AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer, Strategy
from paraflow.parallel.compression import TopK

# By rank: the samples of each of its batches.
SIZES = [[7, 1, 4, 0, 3], [], [5, 2, 9], [1]]
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adam": lambda: pf.train.AdamOptimizer(0.01),
    "momentum": lambda: pf.train.MomentumOptimizer(0.1, 0.9),
    "adagrad": lambda: pf.train.AdagradOptimizer(0.1),
    "gradient descent": lambda: pf.train.GradientDescentOptimizer(0.1),
    "lamb": lambda: pf.train.LAMBOptimizer(0.01, weight_decay=0.01),
}
EPOCHS = 2
SERVER_MODES: list[Callable[[Communicator], ParameterServer]] = [
    ParameterServer,
    lambda comm: ParameterServer(comm, staleness=0),
    lambda comm: ParameterServer(comm, staleness=2),
    lambda comm: ParameterServer(comm, servers=2),
    lambda comm: BackupWorkers(comm, backup=0),
    lambda comm: BackupWorkers(comm, backup=1),
]
MODES: list[Callable[[Communicator], Strategy]] = [
    lambda comm: LocalSGD(comm, period=3),
    lambda comm: LocalSGD(comm, period=3, outer="nesterov"),
    lambda comm: EASGD(comm, period=2),
    lambda comm: Gossip(comm, period=2),
    *SERVER_MODES,
]
MEETING_MODES: list[Callable[[Communicator], Strategy]] = [
    AllReduce,
    lambda comm: AllReduce(comm, shared_memory=False),
    lambda comm: LocalSGD(comm, period=100),
    lambda comm: Gossip(comm, period=100),
]


def made(make: Callable[[Communicator], Any], comm: Communicator) -> Any:
    """The strategy, or None where there are too few ranks for it."""
    try:
        return make(comm)
    except InvalidArgumentError:
        return None


def batches_of(rank: int, epoch: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng([rank, epoch])
    sizes = SIZES[rank]
    return [{"words": rng.integers(9, size=(n, 2)), "y": rng.normal(size=(n, 3))} for n in sizes]


def batches_of_all(ranks: int, epoch: int) -> list[dict[str, np.ndarray]]:
    """The global batches of an epoch."""
    return joined([batches_of(rank, epoch) for rank in range(ranks)])


def joined(batches: list[list[dict[str, np.ndarray]]]) -> list[dict[str, np.ndarray]]:
    """The global batches of what each rank has; those without any sample are left out."""
    steps = itertools.zip_longest(*batches)
    parts = [[part for part in step if part is not None] for step in steps]
    whole = [{key: np.concatenate([part[key] for part in step]) for key in ("words", "y")} for step in parts]
    return [batch for batch in whole if len(batch["y"])]


def trained(optimizer: str, strategy: Any, epoch_of: Callable[[int], Any]) -> dict[str, np.ndarray]:
    """Variables and slots after the batches of two epochs; ``epoch_of`` has them by the number of the epoch."""
    with pf.Graph().as_default():
        pf.set_random_seed(3)
        words, y = pf.placeholder(pf.int64, (None, 2)), pf.placeholder(pf.float64, (None, 3))
        table = pf.Variable(np.linspace(-1, 1, 36).reshape(9, 4), name="table")
        hidden = pf.reduce_sum(pf.gather(table, words), axis=1)
        loss = pf.reduce_mean(pf.square(pf.layers.mlp(hidden, [6, 3], activation=pf.nn.tanh) - y))
        step = OPTIMIZERS[optimizer]().minimize(loss, pf.train.create_global_step())
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if strategy is not None and strategy.is_server:
                strategy.serve(session, step)
            else:
                for batch in itertools.chain.from_iterable(map(epoch_of, range(EPOCHS))):
                    session.run(step, {words: batch["words"], y: batch["y"]})
            if strategy is not None:
                strategy.finish(session)
            return session.run({v.name: v for v in pf.global_variables()})


def assert_trained_alike(
    comm: Communicator, optimizer: str, strategy: Any, names: Any = None, known: bool = True
) -> None:
    expected = trained(optimizer, None, lambda epoch: batches_of_all(comm.size, epoch))

    def own(epoch: int) -> Any:
        batches = batches_of(comm.rank, epoch)
        return strategy.uneven(batches if known else iter(batches))

    found = trained(optimizer, strategy, own)
    for name in names or expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=f"{optimizer}: {name}")


def uneven_ranks_train_as_one_process(comm: Communicator) -> None:
    for optimizer in OPTIMIZERS:
        assert_trained_alike(comm, optimizer, AllReduce(comm))


def lengths_need_not_be_known(comm: Communicator) -> None:
    """Also where only one rank does not know its own."""
    assert_trained_alike(comm, "adam", AllReduce(comm), known=False)
    assert_trained_alike(comm, "momentum", AllReduce(comm, shared_memory=False), known=comm.rank > 0)


def compressed_gradients_and_rows(comm: Communicator) -> None:
    assert_trained_alike(comm, "momentum", AllReduce(comm, compress=TopK(ratio=1.0)))


def local_steps_that_are_averaged_at_once(comm: Communicator) -> None:
    """Averaging after each step of gradient descent is averaging gradients."""
    names = ["table:0", "mlp/dense/kernel:0", "mlp/dense_1/bias:0"]
    assert_trained_alike(comm, "gradient descent", LocalSGD(comm, period=1), names)


def every_mode_ends_with_the_same_variables(comm: Communicator) -> None:
    """Where the ranks step together each takes as many steps as the one with most batches; workers only their own."""
    for make in MODES:
        if (strategy := made(make, comm)) is None:
            continue
        counts = []

        def own(epoch: int, strategy: Strategy = strategy, counts: list[int] = counts) -> Any:
            for batch in strategy.uneven(batches_of(comm.rank, epoch)):
                counts.append(len(batch["y"]))
                yield batch

        found = trained("momentum", strategy, own)
        together = not isinstance(strategy, ParameterServer) and comm.size > 1
        assert len(counts) == (0 if strategy.is_server else EPOCHS * (5 if together else len(SIZES[comm.rank])))
        for value in comm.allgather(found["table:0"]):
            np.testing.assert_array_equal(value, found["table:0"])


def a_worker_without_a_batch_leaves_training_to_the_others(comm: Communicator) -> None:
    """Rank 1 has none. The others' training is one process's, where they step together or are one."""
    for make in SERVER_MODES:
        if (strategy := made(make, comm)) is None or strategy.workers == 1:
            continue
        workers, backup = strategy.workers, strategy.backup
        found = trained("adam", strategy, lambda epoch: strategy.uneven(batches_of(comm.rank, epoch)))
        pushes = [count.pushes for count in strategy.pushes_by_worker]
        assert pushes == [EPOCHS * sum(n > 0 for n in sizes) for sizes in SIZES[:workers]]
        if workers > 2 and (backup or strategy.agreement["staleness"] != 0):
            continue
        of_each = [[b for epoch in range(EPOCHS) for b in batches_of(w, epoch)] for w in range(workers)]
        expected = trained("adam", None, lambda epoch, of_each=of_each: () if epoch else joined(of_each))
        for name in ("table:0", "mlp/dense/kernel:0", "mlp/dense_1/bias:0"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def where_no_rank_has_a_batch_all_end_alike(comm: Communicator) -> None:
    for make in (AllReduce, *MODES):
        if (strategy := made(make, comm)) is None:
            continue
        with pf.Graph().as_default():
            w, u = (pf.Variable(np.float64(comm.rank)) for _ in range(2))
            step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.square(w) + u)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if strategy.is_server:
                    strategy.serve(session, step)
                else:
                    assert list(strategy.uneven([])) == []
                strategy.finish(session)
                value = session.run(w)
        if make is not AllReduce:
            assert len(set(comm.allgather(float(value)))) == 1


class Pair(NamedTuple):
    a: np.ndarray
    b: list[np.ndarray]


def an_empty_batch_is_like_a_full_one(comm: Communicator) -> None:
    """Rank 0 has two batches and the others have none: arrays, tuples, dicts and what is made of them."""
    full = Pair(np.ones((2, 3, 1), np.float32), [np.ones(2, np.int8), np.ones((2, 5), bool)])
    for batch in (full.a, (full.a, full.b[0]), {"x": full.a, "y": {"z": full.b[1]}}, full):
        own = [batch, batch] if comm.rank == 0 else []
        seen = list(AllReduce(comm).uneven(own if comm.rank % 2 else iter(own)))
        assert len(seen) == 2
        assert all(type(other) is type(batch) for other in seen)
        rows = 2 if comm.rank == 0 else 0
        for leaf, model in zip(leaves(seen[1]), leaves(batch), strict=True):
            assert leaf.dtype == model.dtype
            assert leaf.shape == (rows, *model.shape[1:])
    assert list(AllReduce(comm).uneven([])) == []


def leaves(batch: Any) -> list[np.ndarray]:
    if isinstance(batch, np.ndarray):
        return [batch]
    return [leaf for part in (batch.values() if isinstance(batch, dict) else batch) for leaf in leaves(part)]


def what_is_no_batch_is_refused(comm: Communicator) -> None:
    if comm.size == 1:
        return
    for batch in (3, "words", np.float32(1), [1, 2], {"x": np.array(1.0)}):
        with pytest.raises(InvalidArgumentError, match="a batch is an array whose first dimension counts samples"):
            list(AllReduce(comm).uneven([batch]))

    class Longer(list[Any]):
        def __len__(self) -> int:
            return 1

    with pytest.raises(InvalidArgumentError, match=rf"of rank {comm.rank} have len\(\) 1, but there are more"):
        list(AllReduce(comm).uneven(Longer([np.ones(1), np.ones(1)])))


@contextmanager
def training(strategy: Strategy) -> Iterator[tuple[pf.Session, Callable[[np.ndarray], None]]]:
    """A session, and a step on a batch in it."""
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,))
        w = pf.Variable(np.ones(3), name="w")
        step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(x) * pf.reduce_sum(w))
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            yield session, lambda batch: session.run(step, {x: batch})


def a_rank_that_leaves_the_loop_is_named(comm: Communicator) -> None:
    """In the step, or before it where the ranks have to know who has a batch. If all leave together, that is fine."""
    batches = [np.ones(2)] * 4
    for known in (True, False):

        def train(strategy: AllReduce, until: int, known: bool = known) -> None:
            with training(strategy) as (_, step):
                for number, batch in enumerate(strategy.uneven(batches if known else iter(batches))):
                    if number == until:
                        return
                    step(batch)

        train(AllReduce(comm), 2)
        if comm.rank == 0:
            train(AllReduce(comm), 2)
        else:
            with pytest.raises(RanksDisagree, match=r"rank 0 has (left the loop|ended its session)"):
                train(AllReduce(comm), 3)
        comm.barrier()


def loop(batches: Iterable[np.ndarray], step: Callable[[np.ndarray], None], then: Callable[[], bool] = bool) -> None:
    """A step on each batch, until ``then`` after the second one is true."""
    for number, batch in enumerate(batches):
        step(batch)
        if number == 1 and then():
            break


def no_third() -> NoReturn:
    raise OSError("no third batch")


def two_batches() -> Iterator[np.ndarray]:
    yield from [np.ones(2)] * 2
    no_third()


def a_rank_that_is_done_in_the_middle_of_a_loop_is_named(comm: Communicator) -> None:
    """The loop has a name, under which it lives on: the others hear of it when rank 0 finishes, or ends its session.

    When it has finished, they may finish too.
    """
    if comm.size == 1:
        return
    for make in MEETING_MODES:
        for breaks, finishes in ((True, True), (True, False), (False, True)):
            strategy = make(comm)
            ends = comm.rank == 0 and not breaks  # by an error, as there is no third batch
            batches = strategy.uneven(two_batches() if ends else iter([np.ones(2)] * 4))
            with training(strategy) as (session, step):
                if comm.rank > 0:
                    with pytest.raises(RanksDisagree, match="rank 0 has left the loop over its batches before"):
                        loop(batches, step)
                elif breaks:
                    loop(batches, step, lambda: True)
                else:
                    with pytest.raises(OSError, match="no third batch"):
                        loop(batches, step)
                if finishes:
                    strategy.finish(session)
                    values = comm.allgather(session.run("w:0").tolist())
                    assert values == [values[0]] * comm.size
            comm.barrier()


def a_loop_that_ends_the_session_by_an_error_ends_for_all(comm: Communicator) -> None:
    """The others hear of it although the failed loop has a name."""
    for make in MEETING_MODES:
        strategy = make(comm)
        batches = strategy.uneven(iter([np.ones(2)] * 4))

        def train(strategy: Strategy = strategy, batches: Iterable[np.ndarray] = batches) -> None:
            with training(strategy) as (_, step):
                loop(batches, step, no_third if comm.rank == 0 else bool)

        if comm.rank == 0:
            with pytest.raises(OSError, match="no third batch"):
                train()
        elif comm.size > 1:
            with pytest.raises(RanksDisagree, match="rank 0 has left the loop over its batches before"):
                train()
        comm.barrier()


def all_ranks_may_finish_in_the_middle_of_a_loop(comm: Communicator) -> None:
    """They go on with it, also in another session."""
    for make in MEETING_MODES:
        strategy = make(comm)
        batches = strategy.uneven(iter([np.ones(2)] * (3 + comm.rank)))
        seen = 0
        with training(strategy) as (session, step):
            for batch in itertools.islice(batches, 3):
                step(batch)
                strategy.finish(session)
                seen += 1
        with training(make(comm)) as (_, step):
            for batch in batches:
                step(batch)
                seen += 1
        assert seen == 3 + comm.size - 1


CASES: list[Callable[[Communicator], None]] = [
    uneven_ranks_train_as_one_process,
    lengths_need_not_be_known,
    compressed_gradients_and_rows,
    local_steps_that_are_averaged_at_once,
    every_mode_ends_with_the_same_variables,
    a_worker_without_a_batch_leaves_training_to_the_others,
    where_no_rank_has_a_batch_all_end_alike,
    an_empty_batch_is_like_a_full_one,
    what_is_no_batch_is_refused,
    a_rank_that_leaves_the_loop_is_named,
    a_rank_that_is_done_in_the_middle_of_a_loop_is_named,
    a_loop_that_ends_the_session_by_an_error_ends_for_all,
    all_ranks_may_finish_in_the_middle_of_a_loop,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run: all of them."""
    return CASES


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
