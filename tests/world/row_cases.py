"""What ranks that exchange rows of embeddings have to do, as functions of a communicator; as a script on world().

Every rank computes what it expects by itself, in one process or in closed form.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import RanksDisagree
from paraflow.ops.rows import VariableRows
from paraflow.parallel import AllReduce, Gossip, LocalSGD, ParameterServer
from paraflow.parallel.compression import TopK

VOCABULARY = 23
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "gradient descent": lambda: pf.train.GradientDescentOptimizer(0.3),
    "momentum": lambda: pf.train.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda: pf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adagrad": lambda: pf.train.AdagradOptimizer(0.1),
    "rmsprop": lambda: pf.train.RMSPropOptimizer(0.01, momentum=0.5, centered=True),
    "adam": lambda: pf.train.AdamOptimizer(0.01),
    "lars": lambda: pf.train.LARSOptimizer(0.1, eeta=0.1),
}


def samples_of(rank: int, step: int) -> int:
    """Uneven shards: in turn one rank has no sample."""
    return (5, 0, 3)[(rank + step) % 3]


def batch(ranks: list[int], step: int) -> tuple[np.ndarray, np.ndarray]:
    """Words and targets of some ranks in a step; few words are frequent, and some never come."""
    words, targets = [], []
    for rank in ranks:
        rng = np.random.default_rng([rank, step])
        n = samples_of(rank, step)
        words.append(np.minimum(rng.geometric(0.2, size=(n, 4)), VOCABULARY - 2))
        targets.append(rng.normal(size=(n, 2)))
    return np.concatenate(words), np.concatenate(targets)


def bag_of_words() -> tuple[Any, Any, Any]:
    """Two lookups in one table, one in another, and a dense layer: words, targets, loss."""
    pf.set_random_seed(6)
    x, y = pf.placeholder(pf.int32, (None, 4), name="x"), pf.placeholder(pf.float64, (None, 2), name="y")
    rng = np.random.default_rng(2)
    table = pf.Variable(rng.normal(size=(VOCABULARY, 5)), name="table")
    bias = pf.Variable(rng.normal(size=VOCABULARY), name="bias")
    bag = pf.reduce_mean(pf.nn.embedding_lookup(table, x[:, :3]), axis=1) * pf.gather(table, x[:, 3])
    hidden = pf.layers.mlp(bag, [4, 2], activation=pf.nn.tanh) + pf.gather(bias, x[:, :2])
    return x, y, pf.reduce_mean(pf.square(hidden - y))


def plain(optimizer: Any, loss: Any) -> Any:
    return optimizer.minimize(loss)


def clipped(optimizer: Any, loss: Any) -> Any:
    """Clipping by the norm of all averages, of rows and dense."""
    pairs = optimizer.compute_gradients(loss)
    gradients, _ = pf.clip_by_global_norm([g for g, _ in pairs], 0.2)
    return optimizer.apply_gradients([(g, v) for g, (_, v) in zip(gradients, pairs, strict=True)])


def trained(
    strategy: Any, ranks: list[int], optimizer: str, build: Any = plain, steps: int = 5, **options: Any
) -> dict[str, np.ndarray]:
    """Variables and slots after training on the samples of ``ranks``."""
    with pf.Graph().as_default():
        x, y, loss = bag_of_words()
        step = build(OPTIMIZERS[optimizer](), loss)
        with pf.Session(strategy=strategy, **options) as session:
            session.run(pf.global_variables_initializer())
            if strategy is not None and strategy.is_server:
                strategy.serve(session, step)
                steps = 0
            for number in range(steps):
                words, targets = batch(ranks, number)
                if len(words) or (strategy is not None and strategy.workers > 1):
                    session.run(step, {x: words, y: targets})
            if strategy is not None:
                strategy.finish(session)
            found: dict[str, np.ndarray] = session.run({v.name: v for v in pf.global_variables()})
            return found


@functools.cache
def trained_alone(size: int, optimizer: str, build: Any) -> dict[str, np.ndarray]:
    """What one process makes of the samples of ``size`` ranks."""
    return trained(None, list(range(size)), optimizer, build)


def assert_trained_alike(comm: Communicator, strategy: Any, optimizer: str, build: Any = plain, **options: Any) -> None:
    expected = trained_alone(comm.size, optimizer, build)
    found = trained(strategy, [comm.rank], optimizer, build, **options)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=f"{optimizer}: {name}")


def rows_train_as_one_process(comm: Communicator) -> None:
    for optimizer in OPTIMIZERS:
        assert_trained_alike(comm, AllReduce(comm), optimizer)


def clipped_rows_train_as_one_process(comm: Communicator) -> None:
    assert_trained_alike(comm, AllReduce(comm), "momentum", clipped)


def options_change_nothing(comm: Communicator) -> None:
    assert_trained_alike(comm, AllReduce(comm, shared_memory=False), "momentum")
    assert_trained_alike(comm, AllReduce(comm), "adagrad", bucket_bytes=1)
    assert_trained_alike(comm, AllReduce(comm), "rmsprop", threads=2)


def all_ranks_hold_the_same_bits(comm: Communicator) -> None:
    found = trained(AllReduce(comm), [comm.rank], "adagrad")
    again = trained(AllReduce(comm), [comm.rank], "adagrad")
    for values in comm.allgather(found):
        for name, value in again.items():
            np.testing.assert_array_equal(values[name], value, name)


def only_rows_that_some_rank_looks_up_change(comm: Communicator) -> None:
    """Rank r looks up rows r and 10 + r, both twice, and row 20 as all do."""
    own = [comm.rank, comm.rank, 10 + comm.rank, 10 + comm.rank, 20]
    with pf.Graph().as_default():
        x = pf.placeholder(pf.int64, (None,))
        table = pf.Variable(np.zeros((VOCABULARY, 2)))
        loss = pf.reduce_mean(pf.reduce_sum(pf.nn.embedding_lookup(table, x), axis=1))
        optimizer = pf.train.GradientDescentOptimizer(1.0)
        ((rows, _),) = pairs = optimizer.compute_gradients(loss)
        step = optimizer.apply_gradients(pairs)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            gradient, _ = session.run([rows, step], {x: own})
            value = session.run(table)
    each = {**dict.fromkeys(range(comm.size), 2), **{10 + r: 2 for r in range(comm.size)}, 20: comm.size}
    expected = np.zeros((VOCABULARY, 2))
    for row, count in each.items():
        expected[row] = -count / (5 * comm.size)
    np.testing.assert_array_equal(gradient.indices, sorted(each))
    np.testing.assert_allclose(gradient.values, -expected[sorted(each)], rtol=1e-14)
    np.testing.assert_allclose(value, expected, rtol=1e-14)


def rows_are_written_once_for_all(comm: Communicator) -> None:
    """Variables of a node exist once: if each rank added to them, they would grow too fast."""
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None,))
        table = pf.Variable(np.zeros((5, 2)), name="table")
        count = pf.Variable(np.zeros(5), trainable=False, name="count")
        train = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(x) * pf.reduce_sum(table))
        added = pf.scatter_add(table, [1, 3, 1], np.ones((3, 2)))
        counted = pf.scatter_add(count, [comm.rank], [1.0])
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(train, {x: [0.0]})
            session.run([added.op, counted.op])
            session.run([added.op, counted.op])
            np.testing.assert_array_equal(session.run(table)[:, 0], [0, 4, 0, 2, 0])
            np.testing.assert_array_equal(session.run(count), 2.0 * (np.arange(5) == comm.rank))


def rows_may_be_other_tables(comm: Communicator) -> None:
    """All rows of three tables move on by one table, in one step."""
    with pf.Graph().as_default():
        values = [np.arange(400.0).reshape(100, 4) + 1000 * k for k in range(3)]
        tables = [pf.Variable(value, name=f"table{k}") for k, value in enumerate(values)]
        old = [table.value() for table in tables]
        rows = np.arange(100)
        each = zip(tables, [*old[1:], old[0]], strict=True)
        step = pf.group(*(VariableRows(t, pf.constant(rows)).assign(v) for t, v in each))
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            for _ in range(4):
                session.run(step)
            for found, expected in zip(session.run(tables), [values[1], values[2], values[0]], strict=True):
                np.testing.assert_array_equal(found, expected)


def a_rank_may_fetch_more_than_others(comm: Communicator) -> None:
    """The last rank fetches averages, dense and of rows, and the loss."""
    with pf.Graph().as_default():
        x, y, loss = bag_of_words()
        optimizer = pf.train.MomentumOptimizer(0.1, 0.9)
        pairs = optimizer.compute_gradients(loss)
        step = optimizer.apply_gradients(pairs)
        more = [loss, *(g for g, _ in pairs)] if comm.rank == comm.size - 1 else []
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            for number in range(4):
                words, targets = batch([comm.rank], number)
                session.run([step, *more], {x: words, y: targets})
            found = session.run(pf.global_variables())
    expected = trained(None, list(range(comm.size)), "momentum", steps=4)
    for value, (name, wanted) in zip(found, expected.items(), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12, err_msg=name)


def train_twice(session: Any, step: Any, feeds: Any) -> None:
    session.run(step, feeds)
    session.run(step, feeds)


def other_learning_rates_are_found_out(comm: Communicator) -> None:
    """On one node in the step itself, between nodes before the next rows are exchanged."""
    place = comm.split_node().allgather(comm.rank)[0] if comm.node()[1] < comm.size else comm.rank
    if comm.size == 1:
        return
    with pf.Graph().as_default():
        x, rate = pf.placeholder(pf.int32, (None,)), pf.placeholder(pf.float64, ())
        table = pf.Variable(np.ones((5, 2)))
        loss = pf.reduce_mean(pf.square(pf.gather(table, x)))
        step = pf.train.AdagradOptimizer(rate).minimize(loss)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(RanksDisagree, match="learning rates"):
                train_twice(session, step, {x: [1, 2], rate: 0.1 * (1 + place)})


def a_step_without_any_sample_changes_nothing(comm: Communicator) -> None:
    with pf.Graph().as_default():
        x = pf.placeholder(pf.int32, (None,))
        table = pf.Variable(np.ones((5, 2)))
        step = pf.train.AdagradOptimizer(0.1).minimize(pf.reduce_mean(pf.square(pf.gather(table, x))))
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            before = session.run(pf.global_variables())
            session.run(step, {x: np.zeros(0, int)})
            for old, new in zip(before, session.run(pf.global_variables()), strict=True):
                np.testing.assert_array_equal(old, new)


def compressed_training_exchanges_rows_whole(comm: Communicator) -> None:
    """With all elements of dense gradients let through, it is training without compression."""
    assert_trained_alike(comm, AllReduce(comm, compress=TopK(ratio=1.0)), "adagrad")


def replicas_train_rows_of_their_own(comm: Communicator) -> None:
    """Averaging after every step of gradient descent is averaging gradients; a gossiping rank of one is alone."""
    assert_trained_alike(comm, LocalSGD(comm, period=1), "gradient descent")
    found = trained(Gossip(comm), [comm.rank], "adagrad")
    start = trained(None, [0], "adagrad", steps=0)
    assert not np.array_equal(found["table:0"], start["table:0"])
    np.testing.assert_array_equal(found["table:0"][[0, VOCABULARY - 1]], start["table:0"][[0, VOCABULARY - 1]])


def servers_update_rows(comm: Communicator) -> None:
    """One worker is a single process; several that step together are one on the global batch."""
    if comm.size == 1:
        return
    workers = comm.size - 1
    for optimizer in ("momentum", "adam"):
        servers = ParameterServer(comm, staleness=0)
        expected = trained_alone(workers, optimizer, plain)
        found = trained(servers, [comm.rank], optimizer)
        for name in ("table:0", "bias:0"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=optimizer)


def several_servers_share_out_tables(comm: Communicator) -> None:
    if comm.size < 3:
        return
    found = trained(ParameterServer(comm, servers=2, staleness=0), [comm.rank], "adagrad")
    expected = trained_alone(comm.size - 2, "adagrad", plain)
    for name in ("table:0", "bias:0"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)


def accumulated_rows_are_those_of_the_whole_step(comm: Communicator) -> None:
    """Two micro-batches a step against one process on all of them at once."""
    ranks = list(range(comm.size))

    def run(strategy: Any, steps: Any) -> Any:
        with pf.Graph().as_default():
            x, y, loss = bag_of_words()
            step = pf.train.AdagradOptimizer(0.1).minimize(loss)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                for words, targets in steps:
                    session.run(step, {x: words, y: targets})
                return session.run(pf.global_variables())

    pairs = [(batch(ranks, n), batch(ranks, n + 1)) for n in (0, 2)]
    expected = run(None, [[np.concatenate(parts) for parts in zip(*pair, strict=True)] for pair in pairs])
    found = run(AllReduce(comm, accumulate=2), [batch([comm.rank], n) for n in range(4)])
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12)


CASES: list[Callable[[Communicator], None]] = [
    rows_train_as_one_process,
    clipped_rows_train_as_one_process,
    options_change_nothing,
    all_ranks_hold_the_same_bits,
    only_rows_that_some_rank_looks_up_change,
    rows_are_written_once_for_all,
    rows_may_be_other_tables,
    a_rank_may_fetch_more_than_others,
    other_learning_rates_are_found_out,
    a_step_without_any_sample_changes_nothing,
    compressed_training_exchanges_rows_whole,
    replicas_train_rows_of_their_own,
    servers_update_rows,
    several_servers_share_out_tables,
    accumulated_rows_are_those_of_the_whole_step,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run: all of them."""
    return CASES


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
