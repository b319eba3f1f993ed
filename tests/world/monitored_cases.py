"""Monitored sessions of several ranks, as functions of a communicator: they stop together, and one rank writes.

Run as a script they run on world(). Files are in a directory that rank 0 makes.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.errors import InvalidArgumentError, ParaflowError, RanksDisagree, WorldAborted
from paraflow.parallel import EASGD, AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer, TopK


def samples(rank: int, step: int) -> np.ndarray:
    return np.random.default_rng([rank, step]).normal(size=(rank + 2, 5))


@contextmanager
def program(rank: int = 0) -> Iterator[tuple[Any, Any, Any]]:
    """Features, a variable (whose initial value is the rank's own) and a training step, in a graph of their own."""
    with pf.Graph().as_default():
        x = pf.placeholder(pf.float64, (None, 5))
        w = pf.Variable(np.full(5, 1.0 + rank), name="w")
        loss = pf.reduce_mean(pf.square(x * w - 1.0))
        step = pf.train.MomentumOptimizer(0.05, 0.9).minimize(loss, global_step=pf.train.create_global_step())
        yield x, w, step


@contextmanager
def directory(comm: Communicator) -> Iterator[str]:
    """A directory that all ranks know, removed at the end."""
    made = comm.broadcast_object(tempfile.mkdtemp() if comm.rank == 0 else None)
    try:
        yield made
        comm.barrier()
    finally:
        if comm.rank == 0:
            shutil.rmtree(made)


class Asks(pf.train.SessionRunHook):
    """Asks to stop in its ``run``-th run, perhaps through the coordinator."""

    def __init__(self, run: int, by_coordinator: bool = False) -> None:
        self.left, self.by_coordinator = run, by_coordinator

    def after_create_session(self, session: Any, coord: Any) -> None:
        self.coordinator = coord

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self.left -= 1
        if self.left == 0:
            (self.coordinator if self.by_coordinator else run_context).request_stop()


def steps_taken(strategy: Any, hooks: list[Any], **options: Any) -> tuple[int, np.ndarray]:
    """How many runs there were until all was to stop, and the variable then."""
    rank = strategy.comm.rank
    with program(rank) as (x, w, step):
        final = pf.train.FinalOpsHook(w)
        with pf.train.MonitoredTrainingSession(hooks=[*hooks, final], strategy=strategy, **options) as session:
            runs = 0
            while not session.should_stop():
                session.run(step, {x: samples(rank, runs)})
                runs += 1
        return runs, final.final_ops_values


def the_wish_of_one_rank_stops_all_at_the_same_step(comm: Communicator) -> None:
    last = comm.size - 1
    for make in (
        lambda: AllReduce(comm),
        lambda: AllReduce(comm, shared_memory=False),
        lambda: AllReduce(comm, compress=TopK(ratio=0.5)),
        lambda: LocalSGD(comm, period=2),
        lambda: EASGD(comm, period=2),
    ):
        for by_coordinator in (False, True):
            hooks = [Asks(3, by_coordinator)] if comm.rank == last else []
            runs, w = steps_taken(make(), hooks)
            assert runs == 3
            for other in comm.allgather(w):
                np.testing.assert_array_equal(other, w)


def a_stop_waits_for_the_end_of_an_accumulation(comm: Communicator) -> None:
    hooks = [Asks(4)] if comm.rank == comm.size - 1 else []
    assert steps_taken(AllReduce(comm, accumulate=3), hooks)[0] == 6


def different_last_steps_are_the_first_of_them(comm: Communicator) -> None:
    runs, w = steps_taken(AllReduce(comm), [pf.train.StopAtStepHook(last_step=4 + comm.rank)])
    assert runs == 4
    # One process that has the samples of all ranks.
    with program() as (x, v, step), pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for number in range(runs):
            session.run(step, {x: np.concatenate([samples(rank, number) for rank in range(comm.size)])})
        np.testing.assert_allclose(w, session.run(v), rtol=1e-12)


def a_wish_beside_training_is_heard_after_the_next_step(comm: Communicator) -> None:
    if comm.size == 1:
        return
    with program() as (x, w, step):
        hooks = [Asks(5)] if comm.rank == 0 else []  # in the first evaluation of the second round
        with pf.train.MonitoredTrainingSession(hooks=hooks, strategy=AllReduce(comm)) as session:
            rounds = 0
            while not session.should_stop():
                session.run(step, {x: samples(comm.rank, rounds)})
                rounds += 1
                if comm.rank == 0 and rounds < 3:
                    session.run(w)
                    session.run(w)
            with pytest.raises(RuntimeError, match="even after should_stop"):
                session.run(w)
        assert rounds == 3


def a_rank_that_no_longer_trains_stops_by_itself(comm: Communicator) -> None:
    with program() as (x, w, step):
        raised: ParaflowError | None = None
        try:
            hooks = [Asks(3)] if comm.rank == 0 else []
            with pf.train.MonitoredTrainingSession(hooks=hooks, strategy=AllReduce(comm)) as session:
                for number in range(2 if comm.rank == 0 else 4):
                    session.run(step, {x: samples(comm.rank, number)})
                if comm.rank == 0:
                    looks = []
                    while not session.should_stop():
                        looks.append(session.run(w))
                    assert len(looks) == (1 if comm.size == 1 else 2)
        except RanksDisagree as error:
            raised = error
        assert (raised is None) == (comm.rank == 0)


def ranks_begin_with_the_checkpoint_that_rank_0_sees(comm: Communicator) -> None:
    """And write one, wherever their directories are; the momentum goes on too."""
    lines: list[str] = []
    for where in ("rank 0 alone", "each its own"):
        with directory(comm) as common:
            alone = common if comm.rank == 0 else None
            mine = alone if where == "rank 0 alone" else os.path.join(common, str(comm.rank))
            found = []
            for last, is_chief in ((3, True), (5, True), (7, comm.rank == 0)):
                with program(comm.rank) as (x, w, step):
                    scaffold = pf.train.Scaffold(init_fn=lambda *_: lines.append("init_fn"))
                    final = pf.train.FinalOpsHook([w, pf.train.get_global_step()])
                    with pf.train.MonitoredTrainingSession(
                        is_chief=is_chief,
                        checkpoint_dir=mine,
                        scaffold=scaffold,
                        hooks=[pf.train.StopAtStepHook(last_step=last), final],
                        save_checkpoint_steps=2,
                        log_step_count_steps=None,
                        strategy=AllReduce(comm),
                    ) as session:
                        runs = 0
                        while not session.should_stop():
                            now = int(session.run_step_fn(lambda step_context: step_context.session.run(
                                pf.train.get_global_step()
                            )))  # fmt: skip
                            session.run(step, {x: samples(comm.rank, now)})
                            runs += 1
                    found.append((runs, *final.final_ops_values))
            assert [(runs, int(number)) for runs, _, number in found] == [(3, 3), (2, 5), (2, 7)]
            assert lines == ["init_fn"]
            lines.clear()
            comm.barrier()
            written = os.path.join(common, "0") if where == "each its own" else common
            kept = {name for name in os.listdir(written) if name.endswith(".safetensors")}
            assert kept == {f"model.ckpt-{n}.safetensors" for n in (0, 2, 3, 5, 7)}
            others = [str(rank) for rank in range(1, comm.size)]
            assert not [rank for rank in others if os.path.isdir(os.path.join(common, rank))]
            with program() as (x, w, step), pf.Session() as session:
                session.run(pf.global_variables_initializer())
                for number in range(7):
                    session.run(step, {x: np.concatenate([samples(rank, number) for rank in range(comm.size)])})
                np.testing.assert_allclose(found[-1][1], session.run(w), rtol=1e-12)


def the_chief_is_rank_0(comm: Communicator) -> None:
    if comm.size == 1:
        return
    with program(), pytest.raises(InvalidArgumentError if comm.rank == 0 else WorldAborted, match="rank 0"):
        pf.train.MonitoredTrainingSession(is_chief=comm.rank > 0, strategy=AllReduce(comm))


def an_error_in_a_hook_of_one_rank_ends_all(comm: Communicator) -> None:
    bad = comm.size - 1
    with program() as (x, _, step):
        loss = pf.reduce_sum(x)
        hooks = [pf.train.NanTensorHook(loss), Ends()]
        done = []

        def train() -> None:
            with pf.train.MonitoredTrainingSession(hooks=hooks, strategy=AllReduce(comm)) as session:
                while not session.should_stop():
                    values = samples(comm.rank, len(done))
                    values[0, 0] = np.nan if len(done) == 2 and comm.rank == bad else 0.0
                    session.run(step, {x: values})
                    done.append(values)

        expected = pf.train.NanLossDuringTrainingError if comm.rank == bad else WorldAborted
        with pytest.raises(expected, match="NaN loss"):
            train()
        assert len(done) == 2
        assert not hooks[1].ended


class Ends(pf.train.SessionRunHook):
    """Whether it has been told of the end."""

    ended = False

    def end(self, session: Any) -> None:
        self.ended = True


def a_rank_without_samples_has_no_loss_to_be_nan(comm: Communicator) -> None:
    with program() as (x, _, step):
        loss = pf.reduce_mean(x)
        hooks = [pf.train.NanTensorHook(loss), pf.train.StopAtStepHook(3)]
        with pf.train.MonitoredTrainingSession(hooks=hooks, strategy=AllReduce(comm)) as session:
            while not session.should_stop():
                values = samples(comm.rank, 0)
                session.run(step, {x: values[:0] if comm.rank else values})


def rank_0_alone_writes_and_speaks(comm: Communicator) -> None:
    with directory(comm) as common, program() as (x, w, step):
        pf.summary.scalar("w", pf.reduce_sum(w))
        lines: list[Any] = []
        hooks = [
            pf.train.LoggingTensorHook({"w": w}, every_n_iter=1, formatter=lambda values: lines.append(values) or ""),
            pf.train.ProfilerHook(save_steps=2, output_dir=common),
            pf.train.StopAtStepHook(3),
        ]
        counted = [pf.train.FeedFnHook(lambda: lines.append("chief") or {})]
        with pf.train.MonitoredTrainingSession(
            checkpoint_dir=common,
            hooks=hooks,
            chief_only_hooks=counted,
            save_summaries_steps=1,
            strategy=AllReduce(comm),
        ) as session:
            while not session.should_stop():
                session.run(step, {x: samples(comm.rank, 0)})
        assert len(lines) == (6 if comm.rank == 0 else 0)
        comm.barrier()
        names = sorted(os.listdir(common))
        assert [name.partition(".out")[0] for name in names if "events" in name] == ["events"]
        assert [name for name in names if name.startswith("timeline")] == ["timeline-2.json"]


class Server:
    """What a server does instead of training."""

    def __init__(self, strategy: Any, train_op: Any) -> None:
        self.strategy, self.train_op = strategy, train_op

    def serve(self, step_context: Any) -> None:
        self.strategy.serve(step_context.session, self.train_op)


def every_strategy_ends_with_the_same_variables(comm: Communicator) -> None:
    """Also where each rank stops by itself; servers take their part in a step function."""
    if comm.size == 1:
        return
    for make in (
        lambda: ParameterServer(comm),
        lambda: Gossip(comm),
        lambda: BackupWorkers(comm, backup=1) if comm.size > 2 else LocalSGD(comm, period=3),
    ):
        with directory(comm) as common, program(comm.rank) as (x, w, step):
            strategy = make()
            steps = 0 if comm.rank == 0 and isinstance(strategy, ParameterServer) else 6  # one has nothing to train on
            final = pf.train.FinalOpsHook(w)
            with pf.train.MonitoredTrainingSession(
                checkpoint_dir=common,
                save_checkpoint_secs=None,
                log_step_count_steps=None,
                hooks=[final],
                strategy=strategy,
            ) as session:
                if strategy.is_server:
                    session.run_step_fn(Server(strategy, step).serve)
                else:
                    number = 0
                    while number < steps and not session.should_stop():
                        session.run(step, {x: samples(comm.rank, number)})
                        number = strategy.next_step(number)
            for other in comm.allgather(final.final_ops_values):
                np.testing.assert_array_equal(other, final.final_ops_values)


def workers_of_servers_stop_at_a_global_step(comm: Communicator) -> None:
    """It counts the pushes of all of them: those that are under way when it is reached come on top."""
    if comm.size == 1:
        return
    strategy = ParameterServer(comm)
    with program(comm.rank) as (x, _, step):
        hooks = [pf.train.StopAtStepHook(last_step=7)]
        with pf.train.MonitoredTrainingSession(hooks=hooks, log_step_count_steps=None, strategy=strategy) as session:
            if strategy.is_server:
                session.run_step_fn(Server(strategy, step).serve)
            while not strategy.is_server and not session.should_stop():
                session.run(step, {x: samples(comm.rank, 0)})
    assert 7 <= sum(count.pushes for count in strategy.pushes_by_worker) <= 7 + strategy.workers - 1


def parameters_are_saved_while_servers_keep_the_rest(comm: Communicator) -> None:
    with directory(comm) as folder, program() as (x, _, step):
        strategy = ParameterServer(comm)
        scaffold = pf.train.Scaffold(saver=pf.train.Saver(pf.trainable_variables()))
        with pf.train.MonitoredTrainingSession(
            checkpoint_dir=folder, scaffold=scaffold, log_step_count_steps=None, strategy=strategy
        ) as session:
            if strategy.is_server:
                session.run_step_fn(Server(strategy, step).serve)
            else:
                session.run(step, {x: samples(comm.rank, 0)})
        comm.barrier()
        assert len([name for name in os.listdir(folder) if name.endswith(".safetensors")]) == 2  # begin and end


CASES: list[Callable[[Communicator], None]] = [
    the_wish_of_one_rank_stops_all_at_the_same_step,
    a_stop_waits_for_the_end_of_an_accumulation,
    different_last_steps_are_the_first_of_them,
    a_wish_beside_training_is_heard_after_the_next_step,
    a_rank_that_no_longer_trains_stops_by_itself,
    ranks_begin_with_the_checkpoint_that_rank_0_sees,
    the_chief_is_rank_0,
    an_error_in_a_hook_of_one_rank_ends_all,
    a_rank_without_samples_has_no_loss_to_be_nan,
    rank_0_alone_writes_and_speaks,
    every_strategy_ends_with_the_same_variables,
    workers_of_servers_stop_at_a_global_step,
    parameters_are_saved_while_servers_keep_the_rest,
]


if __name__ == "__main__":
    from each_case import run_each

    run_each(world(), CASES)
