"""Who is said to be waited for, as functions of a communicator; run as a script they run on world().

One worker sleeps before each step, which stands for a slow machine: what is measured is time.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.parallel import AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer, Strategy
from paraflow.parallel.compression import TopK

STEPS = 10
LATE = 0.02  # seconds


def waits_beside_a_slow_rank(strategy: Strategy, slow: int) -> Mapping[int, float]:
    """What this rank has waited for the others, while worker ``slow`` is ``LATE`` in each step."""
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None, 4))
        loss = pf.reduce_mean(pf.square(pf.layers.mlp(x, [300, 1])))
        train = pf.train.GradientDescentOptimizer(0.01).minimize(loss)
        with pf.Session(strategy=strategy, bucket_bytes=1 << 10) as session:
            began = time.perf_counter()
            session.run(pf.global_variables_initializer())
            if strategy.is_server:
                strategy.serve(session, train)
            else:
                for _ in range(STEPS):
                    if strategy.worker == slow:
                        time.sleep(LATE)
                    session.run(train, {x: np.ones((2, 4))})
                assert session.context.communication_seconds < time.perf_counter() - began, "counted twice"
            strategy.finish(session)
            return dict(session.context.waits)


def check(comm: Communicator, make: Callable[[], Strategy]) -> None:
    """All workers say that they have waited for the slow one, which has not waited; the first and the last are slow."""
    workers = make().workers
    for slow in sorted({0, workers - 1}):
        strategy = make()
        waits = waits_beside_a_slow_rank(strategy, slow)
        assert comm.rank not in waits
        everyone = comm.allgather(waits)[:workers]
        for rank, waited in enumerate(everyone):
            for_slow, in_all = waited.get(slow, 0.0), sum(waited.values())
            if rank == slow:
                assert in_all < 0.5 * STEPS * LATE, everyone
            else:
                assert for_slow > 0.6 * STEPS * LATE, everyone
                assert for_slow > 0.6 * in_all, everyone


def a_slow_rank_is_named(comm: Communicator) -> None:
    check(comm, lambda: AllReduce(comm))


def without_shared_memory_too(comm: Communicator) -> None:
    check(comm, lambda: AllReduce(comm, shared_memory=False))


def with_compression_too(comm: Communicator) -> None:
    check(comm, lambda: AllReduce(comm, compress=TopK(ratio=0.1)))


def where_replicas_are_averaged_too(comm: Communicator) -> None:
    check(comm, lambda: LocalSGD(comm, period=3))


def beyond_the_neighbours_too(comm: Communicator) -> None:
    """On a ring of four or more ranks not all wait for the slow one itself."""
    check(comm, lambda: Gossip(comm))


def until_all_are_done_too(comm: Communicator) -> None:
    """Ranks that do not meet before their last step wait for the slow one after it."""
    for topology in ("ring", "random"):
        check(comm, partial(Gossip, comm, period=STEPS + 1, topology=topology))


def through_servers_too(comm: Communicator) -> None:
    if comm.size > 2:
        check(comm, lambda: ParameterServer(comm, staleness=0))
        check(comm, lambda: BackupWorkers(comm, backup=0))


EXCHANGES: list[Callable[[Communicator], None]] = [a_slow_rank_is_named, without_shared_memory_too]
CASES = [
    *EXCHANGES,
    with_compression_too,
    where_replicas_are_averaged_too,
    beyond_the_neighbours_too,
    until_all_are_done_too,
    through_servers_too,
]


if __name__ == "__main__":
    from each_case import run_each

    run_each(world(), CASES)
