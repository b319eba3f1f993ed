"""Variables that not all ranks have, and variables made after the planes were shared; as functions of a communicator.

Run as a script they run on world(). Every rank computes what it expects by itself, in one process or in closed form.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import RanksDisagree
from paraflow.parallel import AllReduce, LocalSGD, ParameterServer

N = 300


def samples(ranks: list[int], step: int) -> np.ndarray:
    return np.concatenate([np.random.default_rng([rank, step]).normal(size=(rank + 1, N)) for rank in ranks])


def model() -> tuple[Any, Any, Any]:
    """Features, two variables and a loss that needs both."""
    x = pf.placeholder(pf.float64, (None, N), name="x")
    w, v = pf.Variable(np.linspace(1, 2, N), name="w"), pf.Variable(np.linspace(-1, 1, N), name="v")
    return x, (w, v), pf.reduce_mean(pf.square(x * w + v))


def private(rank: int, size: int) -> list[Any]:
    """Variables of one rank alone, trainable or not, and others that ranks make in different order."""
    names = ["early", "late"] if rank % 2 else ["late", "early"]
    made = [pf.Variable(np.full(N, float(len(name))), trainable=False, name=name) for name in names]
    if rank == size - 1:
        made.append(pf.Variable(np.full(700, 5.0), name="own"))
        made.append(pf.Variable(np.full(7, 5.0), trainable=False, name="counter"))
    return made


def trained(strategy: Any, rank: int, size: int, ranks: list[int], *, before: bool = True) -> dict[str, np.ndarray]:
    with pf.Graph().as_default():
        more = private(rank, size) if strategy is not None and before else []
        x, variables, loss = model()
        if strategy is not None and rank == 0:  # one rank has a slot more, the first one of its variable
            more.append(pf.Variable(np.full(N, 3.0), trainable=False, name="slot", slot_of="w"))
        step = pf.train.AdamOptimizer(0.05).minimize(loss, var_list=variables)
        wanted = [v for v in pf.global_variables() if v not in more]
        if strategy is not None and not before:
            more += private(rank, size)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if strategy is not None and strategy.is_server:
                strategy.serve(session, step)
            else:
                for number in range(4):
                    if more:
                        session.run([m.assign_add(pf.ones_like(m)) for m in more if m.trainable is False])
                    session.run(step, {x: samples(ranks, number)})
            if strategy is not None and not isinstance(strategy, AllReduce):
                strategy.finish(session)
            elif more:
                for variable, value in zip(more, session.run(more), strict=True):
                    start = {"early": 5, "late": 4, "slot": 3}.get(variable.spec.name, 5)
                    assert (value == start + 4 * (not variable.trainable)).all(), variable.name
            return session.run({v.name: v for v in wanted})


def private_variables_shift_nothing(comm: Communicator) -> None:
    everyone = list(range(comm.size))
    wanted = trained(None, 0, 1, everyone)
    for before in (True, False):
        for shared_memory in (True, False):
            strategy = AllReduce(comm, shared_memory=shared_memory)
            found = trained(strategy, comm.rank, comm.size, [comm.rank], before=before)
            for name, value in wanted.items():
                np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)


def variables_of_one_name_that_differ_are_refused(comm: Communicator) -> None:
    if comm.size == 1 or (comm.world == "mpi" and comm.split_node().size < comm.size):
        return
    with pf.Graph().as_default():
        x, variables, loss = model()
        pf.Variable(np.zeros(3 + comm.rank), trainable=False, name="counter")
        step = pf.train.AdamOptimizer(0.05).minimize(loss, var_list=variables)
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            with pytest.raises(RanksDisagree, match=r"variable 'counter' is .*\(4,\) on rank 1, .*\(3,\) on rank 0"):
                session.run(step, {x: samples([comm.rank], 0)})


def private_variables_are_no_servers_concern(comm: Communicator) -> None:
    if comm.size == 1:
        return
    strategy = ParameterServer(comm, staleness=0)
    workers = list(range(strategy.workers))
    wanted = trained(None, 0, 1, workers)
    found = trained(strategy, comm.rank, comm.size, [min(comm.rank, strategy.workers - 1)])
    for name in ("w:0", "v:0"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, err_msg=name)


def averaging_refuses_trainable_variables_of_one_rank(comm: Communicator) -> None:
    if comm.size == 1 or (comm.world == "mpi" and comm.split_node().size < comm.size):
        return
    message = rf"rank {comm.size - 1} differs .* 'own: float64 \(700,\)'.*trainable=False"
    with pytest.raises(RanksDisagree, match=message):
        trained(LocalSGD(comm, period=2), comm.rank, comm.size, [comm.rank])


def a_second_optimizer_trains_as_in_one_process(comm: Communicator) -> None:
    """Its slots are made, and set to 0.1, after the planes were shared."""

    def run(strategy: Any, ranks: list[int]) -> dict[str, np.ndarray]:
        with pf.Graph().as_default():
            x, variables, loss = model()
            first = pf.train.MomentumOptimizer(0.05, 0.9).minimize(loss)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                session.run(first, {x: samples(ranks, 0)})
                second = pf.train.AdagradOptimizer(0.1).minimize(loss)
                session.run(pf.global_variables_initializer())
                session.run(second, {x: samples(ranks, 1)})
                third = pf.train.AdagradOptimizer(0.1, name="Third").minimize(loss, var_list=variables)
                session.run(pf.variables_initializer(pf.global_variables()[-2:]))
                for number in range(2, 5):
                    session.run(third if number % 2 else first, {x: samples(ranks, number)})
                return session.run({v.name: v for v in pf.global_variables()})

    wanted = run(None, list(range(comm.size)))
    for shared_memory in (True, False):
        found = run(AllReduce(comm, shared_memory=shared_memory), [comm.rank])
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def assignments_beside_late_slots_happen_once(comm: Communicator) -> None:
    """A variable and slots of it, some of them in common and some not, assigned in one run in every order."""
    with pf.Graph().as_default():
        x, (w, v), loss = model()
        optimizer = pf.train.MomentumOptimizer(0.0, 0.0)
        step = optimizer.minimize(loss)
        slot = optimizer.get_slot(w, "momentum")
        with pf.Session(strategy=AllReduce(comm)) as session:
            session.run(pf.global_variables_initializer())
            session.run(step, {x: samples([comm.rank], 0)})
            second = pf.train.AdagradOptimizer(0.0)
            other = second.minimize(loss)
            late = second.get_slot(w, "accumulator")
            session.run(pf.variables_initializer(second.variables()))
            assert (session.run(late) == 0.1).all()
            ones = np.ones(N)
            start = session.run([w, slot, late])
            orders = [(w, late), (late, slot), (slot, late), (late, w, slot), (slot, w, late)]
            for count, order in enumerate(orders, 1):
                session.run([o.assign_add(ones) for o in order])
                session.run([o.assign_add(ones) for o in (w, slot, late) if o not in order])
                for now, then in zip(session.run([w, slot, late]), start, strict=True):
                    np.testing.assert_allclose(now, then + count, rtol=1e-14)
            # Each needs the other's old value, and the last one a new one.
            session.run([late.assign(slot * 2.0), slot.assign(late + 1.0), w.assign(v.value() * 0.0 + slot)])
            now = session.run([w, slot, late])
            np.testing.assert_allclose(now[2], 2 * (start[1] + len(orders)))
            np.testing.assert_allclose(now[1], now[2] + 1)
            np.testing.assert_allclose(now[0], now[1])
            # And beside a training step, which changes nothing here.
            session.run([step, late.assign_add(ones), w.assign_add(ones)], {x: samples([comm.rank], 1)})
            np.testing.assert_allclose(session.run(w), now[0] + 1)
            np.testing.assert_allclose(session.run(late), now[2] + 1)
            session.run(other, {x: samples([comm.rank], 2)})
            assert session.store.shared(late.spec.name) == (comm.size > 1)


CASES: list[Callable[[Communicator], None]] = [
    private_variables_shift_nothing,
    variables_of_one_name_that_differ_are_refused,
    private_variables_are_no_servers_concern,
    averaging_refuses_trainable_variables_of_one_rank,
    a_second_optimizer_trains_as_in_one_process,
    assignments_beside_late_slots_happen_once,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run: all of them."""
    return CASES


if __name__ == "__main__":
    from each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
