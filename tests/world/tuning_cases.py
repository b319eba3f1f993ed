"""What ranks that choose the size of buckets by measuring have to do; run as a script the cases run on world().

Some ranks are slow after they have exchanged their gradients, where nobody waits for them, so that the ranks' own times
differ.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.parallel import AllReduce
from paraflow.runtime.tuning import buckets

MIB = 1 << 20
# The model below has 1.5 MiB, in two buckets with 4 MiB and with 1 MiB, so these are tried, in this order.
TRIED = [4 * MIB, MIB // 4, 16 * MIB]
CALLS: dict[int, int] = defaultdict(int)  # of linger, by rank

Delays = tuple[dict[int, float], dict[int, float]]
"""Seconds by size of buckets for which the first rank is slow, and the last one."""


def delays_by_size(*milliseconds: int) -> dict[int, float]:
    return dict(zip(TRIED, [n / 1e3 for n in milliseconds], strict=True))


# By itself the first rank would choose 16 MiB and the last one 256 KiB; the slower of both is fastest with 4 MiB.
TO_THE_USUAL_SIZE: Delays = delays_by_size(30, 60, 0), delays_by_size(30, 0, 60)
# By itself the first rank would choose 256 KiB and the last one 4 MiB.
TO_ONE_BUCKET: Delays = delays_by_size(60, 0, 20), delays_by_size(0, 60, 20)
NO_DELAYS: Delays = delays_by_size(0, 0, 0), delays_by_size(0, 0, 0)


@pf.op(effect=True)
def linger(rank, seconds=()):
    """Its argument, after a while that depends on how often the rank has called this."""
    time.sleep(seconds[CALLS[int(rank)] % len(seconds)])
    CALLS[int(rank)] += 1
    return rank


@linger.shape
def _(rank, *, seconds):
    return rank


def trained(
    comm: Communicator, delays: Delays, accumulate: int = 1, table: bool = False, **options: Any
) -> tuple[dict[str, np.ndarray], pf.Session]:
    """All variables after four runs of a training step, every other one with a loss, and the session.

    Only rank 0 counts samples. With a ``table`` there are two more parameters, of which a batch moves some rows.
    """
    seconds = delays[0] if comm.rank == 0 else delays[1] if comm.rank == comm.size - 1 else NO_DELAYS[0]
    CALLS[comm.rank] = 0
    with pf.Graph().as_default():
        pf.set_random_seed(7)
        x = pf.placeholder(pf.float32, (None, 64))
        who = pf.placeholder(pf.int32, ())
        rng = np.random.default_rng(3)
        weights = [pf.Variable(rng.normal(size=(64, 1024)).astype(np.float32)) for _ in range(6)]
        hidden = [pf.nn.dropout(pf.tanh(x @ w), rate=0.5) for w in weights]
        loss = pf.reduce_mean(pf.square(pf.add_n(hidden)))
        seen = pf.Variable(np.float32(0), trainable=False)
        count = seen.assign_add(pf.cast(pf.shape(x)[0], pf.float32))
        tables = [pf.Variable(rng.normal(size=(9, 64)).astype(np.float32)) for _ in range(2 if table else 0)]
        words = pf.cast(pf.abs(x[:, 0] * 3), pf.int32) % 9
        loss += pf.add_n([pf.reduce_mean(pf.gather(t, words) * x) for t in tables]) if table else 0
        optimizer = pf.train.MomentumOptimizer(0.1, 0.9) if table else pf.train.AdamOptimizer(0.01)
        step = optimizer.minimize(loss, pf.train.create_global_step())
        with pf.control_dependencies([step]):
            late = linger(who, seconds=tuple(seconds[size] for size in TRIED))
        with pf.Session(strategy=AllReduce(comm, accumulate=accumulate), **options) as session:
            session.run(pf.global_variables_initializer())
            for number in range(4):
                batch = np.random.default_rng([comm.rank, number]).normal(size=(3 + comm.rank, 64))
                beside = [count] * (comm.rank == 0) + [loss] * (number % 2)
                session.run([step, late.op, *beside], {x: batch, who: comm.rank})
            return session.run({v.name: v for v in pf.global_variables()}), session


def ranks_choose_alike_though_their_times_differ(comm: Communicator) -> None:
    for delays, expected in ((TO_THE_USUAL_SIZE, 4 * MIB), (TO_ONE_BUCKET, 16 * MIB)):
        _, session = trained(comm, delays, autotune=True)
        tuning = session.tuning
        assert list(tuning.rounds) == TRIED
        assert tuning.buckets == dict(zip(TRIED, [2, 6, 1], strict=True))
        assert tuning.bucket_bytes == expected
        used = {len(buckets(loaded.executable.plan)) for loaded in session._plans.values()}
        assert used == {0, tuning.buckets[expected]}  # 0: that of the initialiser, and of looking at variables
        for size in TRIED:
            assert min(tuning.rounds[size]) >= max(delay[size] for delay in delays)
        assert comm.allgather(tuning.rounds) == [tuning.rounds] * comm.size


def results_are_those_of_the_chosen_size(comm: Communicator) -> None:
    """Also what only a run that counts may change: counters, slots, where random numbers have got to."""
    for accumulate, table in ((1, False), (2, False), (1, True)):
        found, session = trained(comm, TO_ONE_BUCKET, accumulate, table, autotune=True)
        size = session.tuning.bucket_bytes
        expected, _ = trained(comm, NO_DELAYS, accumulate, table, bucket_bytes=size)
        for name, value in expected.items():
            assert found[name].tobytes() == value.tobytes(), name


CASES: list[Callable[[Communicator], None]] = [
    ranks_choose_alike_though_their_times_differ,
    results_are_those_of_the_chosen_size,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run: all of them."""
    return CASES


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
