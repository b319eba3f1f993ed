"""What servers have to do with rows of embeddings on every world of ranks, against dense simulations in numpy.

As a script it runs on world(), as `cases` does. Where the order of arrivals matters, workers pass a token.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.parallel import AllReduce, BackupWorkers, ParameterServer
from paraflow.parallel.compression import TopK
from world import row_cases
from world.server_cases import meet, pass_token, take_token, take_turns

ROWS, RATE, DECAY = 12, 0.1, 0.9
START = np.arange(ROWS * 3.0).reshape(ROWS, 3) / 10


def ids_of(worker: int, turn: int) -> np.ndarray:
    """Two lookups of as many samples, none in some turns; ids come twice, and few rows are looked up in a turn."""
    rng = np.random.default_rng([worker, turn])
    return rng.choice([worker, worker + 4, 8], size=((worker + turn) % 4, 2))


def gradient_of(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Of the mean over samples of |table[first] - 5|^2 / 2 + sum(table[second]), all rows of it."""
    gradient = np.zeros_like(table)
    for first, second in ids:
        gradient[first] += (table[first] - 5) / len(ids)
        gradient[second] += 1 / len(ids)
    return gradient


@contextmanager
def lookups(
    strategy: Any, decays: bool = False
) -> Iterator[tuple[Callable[[np.ndarray], None], Callable[[], np.ndarray]]]:
    """(step, value): a step of gradient descent on some ids; what the table is on this rank.

    With ``decays`` a step changes every row; beside the table there is a dense variable, which comes first. A server
    serves at the end. Step 0 is over: it had no sample.
    """
    with pf.Graph().as_default():
        ids = pf.placeholder(pf.int64, (None, 2), name="ids")
        shift = pf.Variable(np.zeros(40), name="shift")
        constraint = (lambda value: value * DECAY) if decays else None
        table = pf.Variable(START, name="table", constraint=constraint)
        first = pf.nn.embedding_lookup(table, ids[:, 0]) - 5.0
        each = pf.reduce_sum(pf.square(first), axis=1) / 2.0 + pf.reduce_sum(pf.gather(table, ids[:, 1]), axis=1)
        loss = pf.reduce_mean(each) + pf.reduce_sum(shift)
        train = pf.train.GradientDescentOptimizer(RATE).minimize(loss)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())

            def step(some: np.ndarray) -> None:
                session.run(train, {ids: some})

            if not strategy.is_server:
                step(np.zeros((0, 2)))  # all ranks start together; now each may wait for another
                meet(strategy)
            yield step, lambda: session.run(table)
            if strategy.is_server:
                strategy.serve(session, train)
            strategy.finish(session)
            strategy.final = session.run(table)


def simulated(
    order: list[int], workers: int, decays: bool, scale: bool, compensation: float
) -> Iterator[np.ndarray]:
    """The table after each turn, of pushes in that order."""
    table, version = START, 0
    pulled = dict.fromkeys(range(workers), (START, 0))
    for turn, worker in enumerate(order):
        then, at = pulled[worker]
        if len(ids_of(worker, turn)):
            gradient = gradient_of(then, ids_of(worker, turn))
            gradient = gradient + compensation * gradient**2 * (table - then)
            moved = (table - RATE * gradient) * (DECAY if decays else 1)
            table, version = table + (moved - table) / (1 + (version - at if scale else 0)), version + 1
        pulled[worker] = table, version
        yield table


def pushes_and_pulls_of_rows_are_a_simulation(comm: Communicator) -> None:
    """What each worker pulls is the whole table of then, whatever rows came."""
    corrections = [(False, 0.0), (True, 0.0), (False, 0.7), (True, 0.7)]
    for servers in range(1, min(comm.size - 1, 2) + 1):
        for decays, (scale, compensation) in [(d, c) for d in (False, True) for c in corrections]:
            strategy = ParameterServer(
                comm, servers=servers, scale_by_staleness=scale, delay_compensation=compensation
            )
            order = [int(n) % strategy.workers for n in "001021220110220012"]
            tables = list(simulated(order, strategy.workers, decays, scale, compensation))
            with lookups(strategy, decays) as (step, value):
                turns = iter([turn for turn, worker in enumerate(order) if worker == comm.rank])

                def push(step: Any = step, value: Any = value, turns: Any = turns, tables: Any = tables) -> None:
                    turn = next(turns)
                    step(ids_of(comm.rank, turn))
                    np.testing.assert_allclose(value(), tables[turn], rtol=1e-12)

                if not strategy.is_server:
                    take_turns(comm, order, push)
            np.testing.assert_allclose(strategy.final, tables[-1], rtol=1e-12)


def mean_of(table: np.ndarray, parts: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """The table after a step on the mean of gradients, of (weight, ids) each."""
    total = sum(weight for weight, _ in parts)
    return table - RATE * sum(weight / total * gradient_of(table, ids) for weight, ids in parts)


def steps_close_with_the_mean_by_samples(comm: Communicator) -> None:
    """A row that one worker has looked up counts with its part of all samples."""
    for make in (
        lambda: ParameterServer(comm, staleness=0),
        lambda: BackupWorkers(comm, backup=0),
        lambda: ParameterServer(comm, staleness=0, servers=max(1, min(2, comm.size - 1))),
    ):
        strategy, table = make(), START
        with lookups(strategy) as (step, value):
            for turn in range(6):
                parts = [ids_of(worker, turn) for worker in range(strategy.workers)]
                if any(map(len, parts)):
                    table = mean_of(table, [(len(ids), ids) for ids in parts if len(ids)])
                if not strategy.is_server:
                    step(parts[comm.rank])
                    np.testing.assert_allclose(value(), table, rtol=1e-12)
        np.testing.assert_allclose(strategy.final, table, rtol=1e-12)


def late_rows_are_added_or_dropped(comm: Communicator) -> None:
    """Three steps close while the last worker is away; the fourth has its rows, or not."""
    for late in ("drop", "add"):
        strategy = BackupWorkers(comm, backup=1, late=late)
        away = strategy.workers - 1
        own = [np.array([[worker, 8]] * (worker + 1)) for worker in range(away)]
        theirs = np.array([[8, 11]] * 8)
        table = START
        for _ in range(3):
            table = mean_of(table, [(len(ids), ids) for ids in own])
        closed = table
        with lookups(strategy) as (step, value):
            if comm.rank == away:
                take_token(comm, 0)
                step(theirs)  # on the parameters that all began with
                np.testing.assert_allclose(value(), closed, rtol=1e-12)
                pass_token(comm, 0)
                take_token(comm, 0)
            elif not strategy.is_server:
                for number in range(4):
                    if number == 3 and comm.rank == 0:
                        pass_token(comm, away)
                        take_token(comm, away)
                    step(own[comm.rank])
                if comm.rank == 0:
                    pass_token(comm, away)
        # Lateness 3: it counts with a quarter of its 8 samples.
        samples = sum(map(len, own))
        total = sum(len(ids) * gradient_of(closed, ids) for ids in own)
        mean = total / samples if late == "drop" else (total + 2 * gradient_of(START, theirs)) / (samples + 2)
        np.testing.assert_allclose(strategy.final, closed - RATE * mean, rtol=1e-12)


# -- limits that coincide ---------------------------------------------------------------------------------------------


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], rtol: float = 1e-9) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol, 1e-12 if rtol else 0.0, err_msg=name)


def steps_together_are_one_process(comm: Communicator) -> None:
    """With every optimizer, those that move every row too; two lookups of a table, one of another, and dense ones."""
    for optimizer in row_cases.OPTIMIZERS:
        expected = row_cases.trained_alone(comm.size - 1, optimizer, row_cases.plain)
        assert_same(row_cases.trained(ParameterServer(comm, staleness=0), [comm.rank], optimizer), expected)
    expected = row_cases.trained_alone(comm.size - 1, "adagrad", row_cases.plain)
    assert_same(row_cases.trained(BackupWorkers(comm, backup=0), [comm.rank], "adagrad", threads=2), expected)


def steps_together_are_an_all_reduce(comm: Communicator) -> None:
    """On the same ranks but one."""
    everyone = comm.split(0 if comm.rank < comm.size - 1 else 1)
    expected = row_cases.trained(AllReduce(everyone), [comm.rank], "adagrad")
    found = row_cases.trained(BackupWorkers(comm, backup=0), [comm.rank], "adagrad")
    if comm.rank < comm.size - 1:
        assert_same(found, expected)


def one_worker_is_a_single_process(comm: Communicator) -> None:
    """The very bits; norms of whole tensors a single process sums in another order."""
    for optimizer in row_cases.OPTIMIZERS:
        servers = ParameterServer(comm, servers=comm.size - 1)
        found = row_cases.trained(servers, [comm.rank], optimizer)
        expected = row_cases.trained_alone(1, optimizer, row_cases.plain)
        assert_same(found, expected, 1e-9 if optimizer == "lars" else 0.0)


def clipped_rows_are_one_process(comm: Communicator) -> None:
    expected = row_cases.trained_alone(comm.size - 1, "momentum", row_cases.clipped)
    found = row_cases.trained(ParameterServer(comm, staleness=0), [comm.rank], "momentum", row_cases.clipped)
    assert_same(found, expected)


def compression_leaves_rows_as_they_are(comm: Communicator) -> None:
    """With all elements of dense gradients let through, it is training without compression."""
    expected = row_cases.trained_alone(comm.size - 1, "adagrad", row_cases.plain)
    servers = ParameterServer(comm, staleness=0, compress=TopK(ratio=1.0, warmup=2))
    assert_same(row_cases.trained(servers, [comm.rank], "adagrad"), expected)


# -- what travels -----------------------------------------------------------------------------------------------------

WIDTH, LONG = 16, 4000
ROUNDED = 300  # bytes: a header, the numbers of rows, and what is rounded up to cache lines


def moved(comm: Communicator, optimizer: Any, each: list[np.ndarray], dtype: Any = np.float32) -> list[list[int]]:
    """The bytes that this worker has pushed and pulled in each step: on ids of its own, the workers in turns."""
    strategy, told = ParameterServer(comm), [[0, 0]]
    expected = moved_alone(optimizer, [ids for ids in each for _ in range(strategy.workers)], dtype)
    with pf.Graph().as_default():
        train, ids, table = table_of(optimizer, dtype)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if strategy.is_server:
                strategy.serve(session, train)
            else:
                order = list(range(strategy.workers)) * len(each)
                batches = iter(each)

                def push() -> None:
                    session.run(train, {ids: next(batches)})
                    told.append([strategy.pushed_bytes, strategy.pulled_bytes])

                session.run(train, {ids: each[0][:0]})
                told[0] = [strategy.pushed_bytes, strategy.pulled_bytes]
                meet(strategy)
                take_turns(comm, order, push)
            strategy.finish(session)
            np.testing.assert_array_equal(session.run(table), expected)
    return np.diff(told, axis=0).tolist()


def table_of(optimizer: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """(a training step, ids, the table); the gradient of a row is how often it is looked up, whenever that is."""
    ids = pf.placeholder(pf.int32, (None,))
    table = pf.Variable(np.ones((LONG, WIDTH), dtype), name="table")
    loss = pf.reduce_mean(pf.reduce_sum(pf.nn.embedding_lookup(table, ids), axis=1))
    return optimizer().minimize(loss), ids, table


def moved_alone(optimizer: Any, batches: list[np.ndarray], dtype: Any) -> np.ndarray:
    with pf.Graph().as_default():
        train, ids, table = table_of(optimizer, dtype)
        with pf.Session() as session:
            session.run(pf.global_variables_initializer())
            for batch in filter(len, batches):
                session.run(train, {ids: batch})
            value: np.ndarray = session.run(table)
            return value


def only_rows_are_pushed_and_pulled(comm: Communicator) -> None:
    """Of ids that come twice in a batch each row once; pulled are also the rows of others' pushes since."""
    descent = functools.partial(pf.train.GradientDescentOptimizer, 0.25)
    for dtype in (np.float16, np.float32, np.float64):
        each = [np.repeat(np.arange(64) + 64 * step, 2) for step in range(4)]
        row = WIDTH * np.dtype(dtype).itemsize + 4
        workers = comm.size - 1
        for step, (pushed, pulled) in enumerate(moved(comm, descent, each, dtype)):
            assert 64 * row < pushed <= 64 * row + ROUNDED
            # After its turn of a step a worker has what those before it pushed in it, and those behind it before.
            news = 64 if step == 0 or workers == 1 or comm.rank == workers - 1 else 128
            assert news * row < pulled <= news * row + ROUNDED, (step, dtype)


def a_push_without_samples_has_no_rows(comm: Communicator) -> None:
    descent = functools.partial(pf.train.GradientDescentOptimizer, 0.25)
    for pushed, _ in moved(comm, descent, [np.arange(64), np.arange(0)])[1:]:
        assert pushed <= ROUNDED


def a_table_of_which_much_has_changed_is_pulled_whole(comm: Communicator) -> None:
    descent = functools.partial(pf.train.GradientDescentOptimizer, 0.25)
    whole = LONG * WIDTH * 4
    each = [np.arange(10), np.arange(LONG // 2 + 1), np.arange(10)]
    if told := moved(comm, descent, each):
        few, much, _ = told
        assert few[1] < 10 * (WIDTH * 4 + 4) + ROUNDED
        assert whole < much[1] <= whole + ROUNDED


def a_table_that_moves_everywhere_is_pulled_whole(comm: Communicator) -> None:
    whole, row = LONG * WIDTH * 4, WIDTH * 4 + 4
    for pushed, pulled in moved(comm, functools.partial(pf.train.AdamOptimizer, 0.25), [np.arange(64)] * 2):
        assert 64 * row < pushed <= 64 * row + ROUNDED
        assert whole < pulled <= whole + ROUNDED


CASES: list[Callable[[Communicator], None]] = [
    pushes_and_pulls_of_rows_are_a_simulation,
    steps_close_with_the_mean_by_samples,
    steps_together_are_one_process,
    steps_together_are_an_all_reduce,
    one_worker_is_a_single_process,
    clipped_rows_are_one_process,
    compression_leaves_rows_as_they_are,
    only_rows_are_pushed_and_pulled,
    a_push_without_samples_has_no_rows,
    a_table_of_which_much_has_changed_is_pulled_whole,
    a_table_that_moves_everywhere_is_pulled_whole,
]
CASES_OF_SEVERAL_WORKERS = [late_rows_are_added_or_dropped]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run, of which one is a server."""
    return CASES + (CASES_OF_SEVERAL_WORKERS if size > 2 else [])


if __name__ == "__main__":
    from world.each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
