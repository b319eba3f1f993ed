"""What servers have to do on every world of ranks: sharing out, bounds, steps that close without their slowest worker.

As a script it runs on world(), as `cases` does. Where the order of arrivals matters, workers pass a token.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import InvalidArgumentError
from paraflow.parallel.server.messages import DONE, PUSH, Form, Message
from paraflow.parallel.server.policies import Immediate
from paraflow.parallel.server.pushes import Pushes
from paraflow.parallel.server.rows import Served, Target
from paraflow.parallel.server.serving import Server
from world.cases import OPTIMIZERS, trained

TOKEN = 7
Parts = tuple[tuple[float, float], ...]
WHOLE: Parts = ((0.1, 1.0),)
EQUAL_PARTS: Parts = ((0.04, 1.0), (0.06, 1.0))
UNEQUAL_PARTS: Parts = ((0.1, 0.4), (0.1, 0.6))
BackupWorkers, ParameterServer = pf.parallel.BackupWorkers, pf.parallel.ParameterServer


def pass_token(comm: Communicator, dest: int) -> None:
    comm.send(np.zeros(1, np.uint8), dest, TOKEN)


def take_token(comm: Communicator, source: int) -> None:
    comm.recv(np.zeros(1, np.uint8), source, TOKEN)


# -- limits that coincide ---------------------------------------------------------------------------------------------


STEPS = 14  # two epochs, the last batch of each smaller


@functools.cache
def expected_of_one_process(optimizer: str, dtype: str) -> dict[str, np.ndarray]:
    return trained(None, optimizer, dtype, STEPS)[0]


def assert_one_process(make: Callable[[], Any], optimizers: Any = OPTIMIZERS) -> None:
    """Training by the strategy comes to the parameters of one process on the same global batches."""
    for name in optimizers:
        expected = expected_of_one_process(name, "float64")
        got, _ = trained(make(), name, "float64", STEPS)
        for variable, value in expected.items():
            np.testing.assert_allclose(got[variable], value, rtol=1e-9, err_msg=f"{name}: {variable}")


def a_bound_of_zero_is_one_process(comm: Communicator) -> None:
    assert_one_process(lambda: ParameterServer(comm, staleness=0))


def no_backup_is_one_process(comm: Communicator) -> None:
    for late in ("drop", "add"):
        assert_one_process(lambda late=late: BackupWorkers(comm, backup=0, late=late), ["momentum", "adam"])


def several_servers_are_one_process(comm: Communicator) -> None:
    """At a bound of zero."""
    for servers in range(2, min(comm.size, 4)):  # there are four variables
        make = functools.partial(ParameterServer, comm, servers=servers, staleness=0)
        assert_one_process(make, ["nesterov", "adam"])


def one_worker_of_several_servers_is_a_single_process(comm: Communicator) -> None:
    """The very bits, since nothing is averaged; norms of whole tensors a single process sums in another order."""
    for name in OPTIMIZERS:
        norms = name in ("lars", "lamb")
        dtype = "float64" if norms else "float32"
        expected = expected_of_one_process(name, dtype)
        got, _ = trained(ParameterServer(comm, servers=comm.size - 1), name, dtype, STEPS)
        for variable, value in expected.items():
            rtol = 1e-9 if norms else 0
            np.testing.assert_allclose(got[variable], value, rtol, err_msg=f"{name}: {variable}")


def two_runs_that_close_steps_give_the_same_bits(comm: Communicator) -> None:
    for make in (lambda: ParameterServer(comm, staleness=0), lambda: BackupWorkers(comm, backup=0)):
        (one, _), (two, _) = (trained(make(), "adam", "float32", STEPS) for _ in range(2))
        for parameters in comm.allgather(one):
            for variable, value in two.items():
                np.testing.assert_array_equal(parameters[variable], value, variable)


def every_rank_ends_with_all_variables(comm: Communicator) -> None:
    """Slots, the powers of Adam's decay rates and a learning rate that falls with a step counter, on two servers."""

    def run(strategy: Any) -> dict[str, np.ndarray]:
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None, 3))
            w, b, c = (pf.Variable(np.ones(shape), name=name) for name, shape in [("w", (3, 2)), ("b", 2), ("c", 2)])
            counter = pf.train.create_global_step()
            rate = pf.train.exponential_decay(0.1, counter, 5, 0.5)
            loss = pf.reduce_mean(pf.square(pf.matmul(x, w) * c + b))
            step = pf.train.AdamOptimizer(rate).minimize(loss, global_step=counter)
            # An average of a variable, made when it has its new value.
            average = pf.Variable(np.zeros(2), trainable=False, name="average")
            with pf.get_default_graph().control_dependencies([step]):
                averaged = average.assign(average * 0.5 + b.read_value() * 0.5)
            both = pf.group(step, averaged)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if strategy is not None and strategy.is_server:
                    strategy.serve(session, both)
                else:
                    for i in range(10):
                        session.run(both, {x: [[i, 1.0, -i]]})
                if strategy is not None:
                    strategy.finish(session)
                return session.run({v.name: v for v in pf.global_variables()})

    expected = run(None)
    assert expected["global_step:0"] == 10
    got = run(ParameterServer(comm, servers=comm.size - 1))
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, name)


# -- what is applied, against simulations -----------------------------------------------------------------------------


@contextmanager
def quadratic(
    strategy: Any, parts: Parts = WHOLE
) -> Iterator[tuple[Callable[[float], None], Callable[[], np.ndarray]]]:
    """(step, value): a step of gradient descent on mean((w - a)^2 / 2) of two variables; what they are.

    ``step(a, n)`` is fed n samples a; the gradient is w - a. A server serves at the end. Step 0 is over: it had no
    sample. Each of ``parts`` is an optimizer with that rate, of so much of the loss.
    """
    with pf.Graph().as_default():
        a = pf.placeholder(pf.float64, (None,), name="a")
        w, u = pf.Variable(np.array([1.0, 2.0]), name="w"), pf.Variable(np.array([3.0]), name="u")
        misses = pf.square(pf.concat([w, u], 0) - pf.reshape(a, (-1, 1)))
        loss = pf.reduce_mean(pf.reduce_sum(misses, axis=1)) / 2.0
        train = pf.group(*(pf.train.GradientDescentOptimizer(rate).minimize(part * loss) for rate, part in parts))
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())

            def step(value: float, samples: int = 1) -> None:
                session.run(train, {a: np.full(samples, value)})

            if not strategy.is_server:
                step(0.0, samples=0)  # all ranks start together; now each may wait for another
                meet(strategy)
            yield step, lambda: np.concatenate([session.run(w), session.run(u)])
            if strategy.is_server:
                strategy.serve(session, train)
            strategy.finish(session)
            strategy.final = np.concatenate([session.run(w), session.run(u)])


START = np.array([1.0, 2.0, 3.0])


def meet(strategy: Any) -> None:
    """A barrier of the workers."""
    comm, others = strategy.comm, range(1, strategy.workers)
    if comm.rank == 0:
        for other in others:
            take_token(comm, other)
        for other in others:
            pass_token(comm, other)
    else:
        pass_token(comm, 0)
        take_token(comm, 0)


def corrections_are_those_of_a_simulation(comm: Communicator) -> None:
    """Workers push in a fixed order; steps are scaled by 1 / (1 + tau), gradients compensated for their delay.

    Also where variables have two gradients, which may be equal.
    """
    settings = [(scale, compensation, WHOLE) for scale in (False, True) for compensation in (0.0, 0.7)]
    settings += [(True, 0.7, EQUAL_PARTS), (True, 0.7, UNEQUAL_PARTS)]
    for servers in range(1, min(comm.size - 1, 2) + 1):
        for scale, compensation, parts in settings:
            strategy = ParameterServer(
                comm, servers=servers, scale_by_staleness=scale, delay_compensation=compensation
            )
            order = [int(n) % strategy.workers for n in "0010212201102200"]
            final, staleness = simulated(order, strategy.workers, scale, compensation, parts)
            with quadratic(strategy, parts) as (step, _):
                if not strategy.is_server:
                    take_turns(comm, order, lambda step=step: step(10.0 * comm.rank + 1))
            np.testing.assert_allclose(strategy.final, final, rtol=1e-12)
            for worker, count in enumerate(strategy.pushes_by_worker):
                assert count.staleness_sum == sum(np.array(staleness)[np.array(order) == worker])


def take_turns(comm: Communicator, order: list[int], step: Callable[[], None]) -> None:
    for turn, worker in enumerate(order):
        if worker == comm.rank:
            if turn and order[turn - 1] != worker:
                take_token(comm, order[turn - 1])
            step()
            if turn + 1 < len(order) and order[turn + 1] != worker:
                pass_token(comm, order[turn + 1])


def simulated(
    order: list[int], workers: int, scale: bool, compensation: float, parts: Parts
) -> tuple[np.ndarray, list[int]]:
    w, staleness = START, []
    pulled = dict.fromkeys(range(workers), (START, 0))
    for version, worker in enumerate(order):
        then, at = pulled[worker]
        gradient = then - (10 * worker + 1)
        tau = version - at
        gradients = [(rate, part * gradient) for rate, part in parts]
        change = sum(rate * (g + compensation * g**2 * (w - then)) for rate, g in gradients)
        w = w - change / (1 + tau if scale else 1)
        pulled[worker] = w, version + 1
        staleness.append(tau)
    return w, staleness


def a_late_gradient_is_added_or_dropped(comm: Communicator) -> None:
    """Three steps close while the last worker is away; the fourth has its gradient, or not."""
    for late in ("drop", "add"):
        strategy = BackupWorkers(comm, backup=1, late=late)
        away = strategy.workers - 1
        with quadratic(strategy) as (step, value):
            if comm.rank == away:
                take_token(comm, 0)
                step(100.0, samples=8)  # on the parameters that all began with
                assert strategy.next_step(1) == 4
                np.testing.assert_allclose(value(), after_three(away), rtol=1e-12)
                pass_token(comm, 0)
                take_token(comm, 0)
            elif not strategy.is_server:
                for number in range(1, 5):
                    if number == 4 and comm.rank == 0:
                        pass_token(comm, away)
                        take_token(comm, away)
                    step(comm.rank, samples=comm.rank + 1)
                    assert strategy.next_step(number) == number + 1
                if comm.rank == 0:
                    pass_token(comm, away)
        w = after_three(away)
        # Lateness 3: it counts with a quarter of its 8 samples.
        samples, total = np.arange(away) + 1, sum(range(away + 1))
        gradient = sum(n * (w - r) for r, n in enumerate(samples))
        mean = gradient / total if late == "drop" else (gradient + 2 * (START - 100)) / (total + 2)
        np.testing.assert_allclose(strategy.final, w - 0.1 * mean, rtol=1e-12)
        counts = strategy.pushes_by_worker
        assert [count.pushes for count in counts] == [4] * away + [1]
        assert (counts[away].late, counts[away].dropped) == (1, late == "drop")
        assert counts[away].histogram == {3: 1}
        assert all(count.late == 0 for count in counts[:away])


def after_three(workers: int) -> np.ndarray:
    """The parameters after three synchronous steps of the workers that are there."""
    w, samples = START, np.arange(workers) + 1
    for _ in range(3):
        w = w - 0.1 * sum(n * (w - r) for r, n in enumerate(samples)) / samples.sum()
    return w


# -- bounds and ends --------------------------------------------------------------------------------------------------


def a_fast_worker_waits_at_the_bound(comm: Communicator) -> None:
    """Worker 0 starts when the others have gone as far as they may, and goes on as they follow."""
    bound, steps = 3, 6
    strategy = ParameterServer(comm, staleness=bound)
    with quadratic(strategy) as (step, _):
        if comm.rank == 0:
            for number in range(steps):
                for other in range(1, strategy.workers):
                    for _ in range(bound if number == 0 else number + bound <= steps):
                        take_token(comm, other)
                    assert comm.iprobe(other, TOKEN) is None, "it has passed the bound"
                step(1.0)
        elif not strategy.is_server:
            for _ in range(steps):
                step(1.0)
                pass_token(comm, 0)
    if comm.rank == 0:  # what came after its own last steps
        for other in range(1, strategy.workers):
            while comm.iprobe(other, TOKEN) is not None:
                take_token(comm, other)
    first, *others = strategy.pushes_by_worker
    assert (first.pushes, first.waited) == (steps, 0.0)
    for count in others:
        assert count.pushes == steps
        assert count.waited > 0


def workers_may_end_one_after_the_other(comm: Communicator) -> None:
    """Worker r makes 3 + 2 r steps of the gradient r + 1; who has ended is not waited for."""
    for make in (
        lambda: ParameterServer(comm),
        lambda: ParameterServer(comm, staleness=0),
        lambda: ParameterServer(comm, staleness=1),
        lambda: ParameterServer(comm, staleness=0, servers=min(comm.size - 1, 3)),
        lambda: BackupWorkers(comm, backup=0),
        lambda: BackupWorkers(comm, backup=max(0, comm.size - 2), late="add"),
    ):
        strategy = make()
        steps = [3 + 2 * r for r in range(strategy.workers)]
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None,))
            ws = [pf.Variable(np.float64(0), name=f"w{i}") for i in range(3)]
            loss = pf.reduce_mean(x) * (ws[0] + ws[1] + ws[2])
            train = pf.train.GradientDescentOptimizer(0.5).minimize(loss)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if strategy.is_server:
                    strategy.serve(session, train)
                else:
                    for _ in range(steps[comm.rank]):
                        session.run(train, {x: [comm.rank + 1.0]})
                strategy.finish(session)
                values = session.run(ws)
        assert [count.pushes for count in strategy.pushes_by_worker] == steps
        if isinstance(strategy, BackupWorkers) and comm.size > 2:
            continue  # who came first decides
        sums = [sum(r + 1 for r in range(strategy.workers) if n < steps[r]) for n in range(max(steps))]
        if strategy.agreement["staleness"] == 0 or isinstance(strategy, BackupWorkers):
            sums = [total / sum(n < s for s in steps) for n, total in enumerate(sums)]
        np.testing.assert_allclose(values, [-0.5 * sum(sums)] * 3, rtol=1e-12)


def a_step_without_samples_moves_nothing(comm: Communicator) -> None:
    """Nobody waits for a worker without samples; where no worker has any, the step closes all the same."""
    for make in (
        lambda: ParameterServer(comm),
        lambda: ParameterServer(comm, staleness=0),
        lambda: ParameterServer(comm, staleness=1),
        lambda: BackupWorkers(comm, backup=max(0, comm.size - 2)),
    ):
        strategy = make()
        with quadratic(strategy) as (step, value):
            if not strategy.is_server:
                for _ in range(3):
                    step(5.0, samples=0)
                np.testing.assert_array_equal(value(), START)
        np.testing.assert_array_equal(strategy.final, START)
        assert [count.pushes for count in strategy.pushes_by_worker] == [0] * strategy.workers


def pushes_are_taken_while_an_answer_leaves(comm: Communicator) -> None:
    """Worker 0 takes its answer, which is long, when those of others have pushed what is as long."""
    size, workers = 1_000_000, comm.size - 1
    layout = [Form(np.dtype(np.float64), (size,))]
    if comm.rank == workers:
        variable = np.zeros(size)
        served = Served([variable], lambda g: np.subtract(variable, g, out=variable), [Target(0)])
        policy = Immediate(workers, served)
        server = Server(comm, workers, policy, 0, Pushes(layout, [None], None), Message(layout), served)
        server.serve()
        assert server.pushed == workers
        assert variable[0] == variable[-1] == -workers
        return
    message, tag = Pushes(layout, [None], None).write([np.ones(size)], 1)
    message.header["kind"], message.header["cut"], message.header["samples"] = PUSH, 0, 1
    if comm.rank != 0:
        take_token(comm, 0)
    comm.send(message.buffer, workers, tag)
    if comm.rank == 0:
        assert comm.probe(workers).nbytes == message.buffer.nbytes
        for other in range(1, workers):
            pass_token(comm, other)
            take_token(comm, other)
    else:
        pass_token(comm, 0)
    comm.recv(message.buffer, workers)
    assert message.arrays[0][0] == message.arrays[0][-1] <= -1.0
    done = Message([])
    done.header["kind"] = DONE
    comm.send(done.buffer, workers)


# -- refusals ---------------------------------------------------------------------------------------------------------


def a_worker_may_look_at_a_gradient_alone(comm: Communicator) -> None:
    """Before and after it has trained; nothing is pushed, and no other rank takes part."""
    for strategy in (ParameterServer(comm), ParameterServer(comm, staleness=0), BackupWorkers(comm, backup=0)):
        with pf.Graph().as_default():
            x, word = pf.placeholder(pf.float64, (None,)), pf.placeholder(pf.int32, (None,))
            w, table = pf.Variable(np.float64(3)), pf.Variable(np.ones(9))
            optimizer = pf.train.GradientDescentOptimizer(0.5)
            pairs = optimizer.compute_gradients(pf.reduce_mean(x * w) + pf.reduce_mean(pf.gather(table, word)))
            (of_w, _), (of_table, _) = pairs
            step = optimizer.apply_gradients(pairs)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if strategy.is_server:
                    strategy.serve(session, step)
                else:
                    if strategy.worker == 0:
                        assert session.run(of_w, {x: [7.0], word: [0]}) == 7
                    session.run(step, {x: [2.0], word: [5]})
                    if strategy.worker == strategy.workers - 1:
                        found, rows = session.run([of_w, of_table], {x: [8.0], word: [1]})
                        assert found == 8
                        assert (rows.indices.tolist(), rows.values.tolist()) == ([1], [1.0])
                strategy.finish(session)
                steps = strategy.workers if comm.size > 1 and strategy.asynchronous and not closes(strategy) else 1
                np.testing.assert_allclose(session.run(w), 3 - steps, rtol=1e-14)
                np.testing.assert_allclose(session.run(table), np.where(np.arange(9) == 5, 1 - 0.5 * steps, 1))


def closes(strategy: Any) -> bool:
    """Whether a step takes one gradient from every worker."""
    return isinstance(strategy, BackupWorkers) or strategy.agreement["staleness"] == 0


def workers_know_the_step_that_the_servers_have_come_to(comm: Communicator) -> None:
    servers = min(2, comm.size - 1)
    for strategy in (ParameterServer(comm, servers=servers), BackupWorkers(comm, backup=0)):
        with pf.Graph().as_default():
            x = pf.placeholder(pf.float64, (None,))
            w, b = pf.Variable(np.ones(3)), pf.Variable(np.float64(1))
            counter = pf.train.create_global_step()
            rate = pf.train.exponential_decay(0.1, counter, 1, 0.5)
            loss = pf.reduce_mean(pf.square(x)) * pf.reduce_sum(pf.square(w + b))
            step = pf.train.AdamOptimizer(rate).minimize(loss, global_step=counter)
            with pf.Session(strategy=strategy) as session:
                session.run(pf.global_variables_initializer())
                if strategy.is_server:
                    strategy.serve(session, step)
                else:
                    for _ in range(4):
                        session.run(step, {x: [1.0]})
                        count = session.run(counter)
                        assert count == strategy.version >= 1
                        np.testing.assert_allclose(session.run(rate), 0.1 * 0.5**count, rtol=1e-6)
                strategy.finish(session)
                assert session.run(counter) == (4 if closes(strategy) else 4 * strategy.workers)


def numbers_that_leave_nobody_are_refused(comm: Communicator) -> None:
    size, workers = comm.size, comm.size - 1
    for kind, options, message in (
        (ParameterServer, {"servers": 0}, f"servers = 0 of {size} ranks"),
        (ParameterServer, {"servers": size}, f"servers = {size} of {size} ranks"),
        (ParameterServer, {"staleness": -1}, "staleness = -1"),
        (ParameterServer, {"delay_compensation": -0.5}, "delay_compensation = -0.5"),
        (BackupWorkers, {"backup": -1}, "backup = -1"),
        (BackupWorkers, {"backup": workers}, f"backup = {workers} of {workers} workers"),
        (BackupWorkers, {"backup": 0, "late": "keep"}, "late = 'keep': must be 'drop' or 'add'"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            kind(comm, **options)


CASES = [
    a_worker_may_look_at_a_gradient_alone,
    workers_know_the_step_that_the_servers_have_come_to,
    a_bound_of_zero_is_one_process,
    no_backup_is_one_process,
    two_runs_that_close_steps_give_the_same_bits,
    corrections_are_those_of_a_simulation,
    workers_may_end_one_after_the_other,
    a_step_without_samples_moves_nothing,
    numbers_that_leave_nobody_are_refused,
]
CASES_OF_SEVERAL_WORKERS = [
    several_servers_are_one_process,
    one_worker_of_several_servers_is_a_single_process,
    every_rank_ends_with_all_variables,
    a_fast_worker_waits_at_the_bound,
    a_late_gradient_is_added_or_dropped,
    pushes_are_taken_while_an_answer_leaves,
]


def cases_of(size: int) -> list[Callable[[Communicator], None]]:
    """The cases that a world of ``size`` ranks can run, of which one is a server."""
    return CASES + (CASES_OF_SEVERAL_WORKERS if size > 2 else [])


if __name__ == "__main__":
    from .each_case import run_each

    everyone = world()
    run_each(everyone, cases_of(everyone.size))
