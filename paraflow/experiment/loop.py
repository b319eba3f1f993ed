"""The training loop of an experiment: what every rank does from the configuration to the final parameters."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from paraflow.comm import Communicator, solo
from paraflow.data import Batch, Batches, Dataset, OwnBatches, shard
from paraflow.errors import ConfigError, MissingPackageError, NumericError
from paraflow.experiment.datasets import has_own_data, load_datasets, load_own_datasets
from paraflow.experiment.journal import Journal
from paraflow.experiment.measure import Meter, evaluate
from paraflow.experiment.model import Model, build_model
from paraflow.experiment.optimizers import build_train_op
from paraflow.experiment.run_directory import (
    GRAPH_FILE,
    PARAMETERS_FILE,
    PLANS_DIRECTORY,
    STEPS_FILE,
    TRACE_FILE,
    create_run_directory,
    save_config,
)
from paraflow.experiment.schema import Config, shared_leaves
from paraflow.experiment.strategies import check_servers, check_sizes, make_strategy
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.ops.state import Variable, global_variables, global_variables_initializer
from paraflow.ops.summaries import merge_all
from paraflow.parallel import Strategy
from paraflow.parallel.agreement import check_agreement
from paraflow.runtime.session import Session
from paraflow.runtime.step_times import write_step_times
from paraflow.runtime.trace import Trace
from paraflow.summary import FileWriter
from paraflow.train.checkpoint_files import save_arrays
from paraflow.train.graph_files import keep_meta_graph
from paraflow.train.saver import Saver


def train(config: Config, communicator: Communicator) -> None:
    """Run the experiment; collective.

    Raises RanksDisagree, naming rank and key, where the ranks have different configurations; ConfigError for a
    configuration that does not fit the data or the number of ranks; DataError for data that cannot be read, or that has
    fewer samples than there are ranks; and NumericError for a loss that is not finite.
    """
    check_agreement(communicator, [f"{key} = {value}" for key, value in shared_leaves(config).items()])
    check_sizes(config, communicator.size)
    if has_own_data(config):
        strategy = make_strategy(config, communicator, {})
        training, test = load_own_datasets(config, communicator, _place(strategy), strategy.workers)
    else:
        training, test = load_datasets(config)
        strategy = make_strategy(config, communicator, {"training samples": training, "test samples": test})
    with Graph().as_default() as graph:
        graph.seed = config.experiment.seed
        model = build_model(config, training)
        parameters = global_variables()
        train_op = build_train_op(config.optimizer, model.loss)
        if communicator.size > 1:
            check_servers(config.parallel, train_op)
        saver = Saver(parameters, allow_empty=True)
        initialize = global_variables_initializer()
        summaries = merge_all() if config.experiment.tensorboard else None
        with Session(
            strategy=strategy,
            threads=config.experiment.threads,
            bucket_bytes=config.parallel.bucket_bytes,
            algorithm=config.parallel.algorithm,
            autotune=config.parallel.autotune,
            compiler=config.compiler.options(),
        ) as session:
            session.run(initialize)
            run = _Run(config, communicator, strategy, session, model, parameters, saver, train_op, summaries, test)
            run.carry_out(training)


@dataclass(frozen=True)
class _Run:
    """What one rank's part of a run is made of.

    ``parameters`` are the model's variables, trained or not, and ``saver`` is one for them. ``summaries`` are all that
    the model's builder has made, where they are wanted.
    """

    config: Config
    communicator: Communicator
    strategy: Strategy
    session: Session
    model: Model
    parameters: list[Variable]
    saver: Saver
    train_op: Operation
    summaries: Tensor | None
    test: Dataset

    def carry_out(self, training: Dataset) -> None:
        """Train, evaluate, and write the final parameters."""
        batches = self._batches(training)
        total_steps, left_out = _total_steps(self.config, batches.steps_per_epoch)
        trace = None if self.config.train.trace is None else Trace(self.session.context)
        directory = create_run_directory(self.config, self.communicator)
        dump = self.config.compiler.dump
        self.session.compiler = replace(self.session.compiler, dump=dump, directory=str(directory / PLANS_DIRECTORY))
        remarks = []
        if self.communicator.rank == 0:
            unwritten = keep_meta_graph(directory / GRAPH_FILE, self.session.graph, self.saver.to_proto())
            remarks = [] if unwritten is None else [f"no {GRAPH_FILE}: {unwritten}"]
        board = self._board(directory)
        table = self.config.train
        with Journal(
            self.communicator.rank, directory, total_steps, table.epochs, table.log_every, board
        ) as journal:
            for line in self.config.parallel.unused():
                journal.remark(line)
            if left_out:
                journal.remark(_left_out(left_out, total_steps, self.config))
            worker = None
            if self.strategy.is_server:
                self.strategy.serve(self.session, self.train_op)
            else:
                worker = _Worker(self, directory, journal, batches, total_steps, trace)
                worker.train()
            began = perf_counter()
            self.strategy.finish(self.session)
            finishing = perf_counter() - began
            if trace is not None:
                self._keep(trace, directory)
            journal.evaluated(self.evaluate(self.communicator))
            journal.line()
            if self.communicator.rank == 0:
                values = self.session.run({v.spec.name: v for v in self.parameters})
                save_arrays(directory / PARAMETERS_FILE, values)
            server = {"role": "server", **self.strategy.account()}
            account = server if worker is None else {"role": "worker", **worker.account(finishing)}
            journal.end(self.communicator.allgather(account), [*self.strategy.remarks(), *remarks])

    def evaluate(self, group: Communicator) -> dict[str, float]:
        """Loss and metrics over the test samples of all ranks of ``group``; collective there."""
        if not has_own_data(self.config):
            mine = shard(np.arange(len(self.test)), group.rank, group.size)
        else:  # a server has those of a worker
            mine = np.arange(0 if self.strategy.is_server else len(self.test))
        return evaluate(self.session, self.model, self.test, mine, group)

    def _keep(self, trace: Trace, directory: Path) -> None:
        """Write what was traced: all ranks' events, and the times of this one's steps if it is rank 0; collective."""
        trace.save(directory / TRACE_FILE, self.communicator)
        if self.communicator.rank == 0:
            feeds = tuple(tensor.op.name for tensor in self.model.feeds)
            wanted = (self.train_op.name, *(value.op.name for value in self.model.values.values()))
            found = [replace(times, feeds=feeds, wanted=wanted) for times in trace.times]
            write_step_times(directory / STEPS_FILE, found)

    def _board(self, directory: Path) -> FileWriter | None:
        if not self.config.experiment.tensorboard or self.communicator.rank:
            return None
        try:
            return FileWriter(directory, self.session.graph)
        except MissingPackageError as error:
            raise ConfigError(f"experiment.tensorboard = true: {error}") from None

    def _batches(self, training: Dataset) -> Batches | OwnBatches:
        table, seed, rank = self.config.data, self.config.experiment.seed, _place(self.strategy)
        order = table.shuffle, table.last, table.prefetch
        if not has_own_data(self.config):
            return Batches(training, table.batch_size, rank, self.strategy.workers, seed, *order, self.strategy.backup)
        sizes = self.communicator.allgather(len(training))[: self.strategy.workers]
        return OwnBatches(training, table.batch_size, tuple(sizes), rank, seed, *order, self.strategy.backup)


def _place(strategy: Strategy) -> int:
    """This rank among the workers. A server has no samples; it takes the last worker's place to share in the checks."""
    return min(strategy.worker, strategy.workers - 1)


def _total_steps(config: Config, steps_per_epoch: int) -> tuple[int, int]:
    """The steps of the run, as many as make whole updates, and how many batches are left out after them.

    Raises ConfigError where they make no update.
    """
    ends = [config.train.steps, config.train.epochs and config.train.epochs * steps_per_epoch]
    steps, accumulate = min(end for end in ends if end is not None), config.parallel.accumulate
    if steps < accumulate:
        raise ConfigError(f"parallel.accumulate = {accumulate}, but the run has only {steps} batches: train longer")
    left_out = steps % accumulate
    steps -= left_out
    if config.train.trace is not None and config.train.trace[1] > steps:
        raise ConfigError(f"train.trace = {list(config.train.trace)}, but the run has only {steps} steps")
    return steps, left_out


def _left_out(batches: int, steps: int, config: Config) -> str:
    """What the user has to know of ``batches`` at the end of a run, which make no update."""
    last = "the last batch" if batches == 1 else f"the last {batches} batches"
    of = f"of {steps + batches} {'is' if batches == 1 else 'are'} left out"
    accumulate = config.parallel.accumulate
    return f"parallel.accumulate = {accumulate}: {last} {of}, as an update takes {accumulate}"


class _Worker:
    """A rank that trains, and what it measures of itself.

    Synchronous workers report together. An asynchronous one reports for itself, as it does not meet the others.
    """

    def __init__(
        self, run: _Run, directory: Path, journal: Journal, batches: Batches | OwnBatches, total_steps: int,
        trace: Trace | None,
    ) -> None:  # fmt: skip
        self._run = run
        self._directory = directory
        self._journal = journal
        self._batches = batches
        self._total_steps = total_steps
        self._trace = trace
        self._group = solo() if run.strategy.asynchronous else run.communicator
        values = run.model.values
        fetches = [run.train_op, list(values.values())]
        self._call = self._summarised = run.session.make_callable(fetches, run.model.feeds)
        if run.summaries is not None:  # on all ranks, since they run the same steps
            self._summarised = run.session.make_callable([*fetches, run.summaries], run.model.feeds)
        self._meter = Meter(list(values), self._group)
        self._log_every = run.config.train.log_every
        self._step = self._newest = self._recorded = self._samples = self._steps = 0
        self._first_step_at = 0.0
        self._epoch_seconds: list[float] = []
        self._began, self._paused = perf_counter(), 0.0
        self._mark = np.zeros(3 + run.communicator.size)

    def train(self) -> None:
        """Run all steps, with the evaluations between them; the one at the end is for all ranks together."""
        every = self._run.config.train.evaluate_every
        strategy = self._run.strategy
        while self._step < self._total_steps:
            epoch = self._step // self._batches.steps_per_epoch
            end = min((epoch + 1) * self._batches.steps_per_epoch, self._total_steps)
            began = self._seconds()
            while self._step < end:
                self._train_in_a_row(epoch, end)
            self._epoch_seconds.append(self._seconds() - began)
            if self._step < self._total_steps and (epoch + 1) % (every or 1) == 0:
                # One asynchronous worker is enough, since it evaluates all samples that it has by itself.
                if every and (not strategy.asynchronous or strategy.worker == 0):
                    self._evaluate()
                self._journal.line()

    def _train_in_a_row(self, epoch: int, end: int) -> None:
        """Train on the batches of ``epoch`` up to step ``end``, or to where the strategy skips some."""
        batches = self._batches.epoch(epoch, self._step % self._batches.steps_per_epoch)
        for batch in batches if self._trace is None else self._traced(batches, self._trace):
            step = self._step
            self._train_on(batch, epoch)
            if self._step != step + 1 or self._step >= end:
                return

    def _traced(self, batches: Iterator[Batch], trace: Trace) -> Iterator[Batch]:
        """The batches; those of ``train.trace`` are made and trained on while the session records."""
        first, last = self._run.config.train.trace or (0, 0)
        session = self._run.session
        try:
            while True:
                watched = first <= self._step + 1 <= last
                session.tracer = trace if watched else None
                with trace.span("data") if watched else nullcontext():
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch
        finally:
            session.tracer = None

    def _seconds(self) -> float:
        """Seconds of training so far, evaluations left out."""
        return perf_counter() - self._began - self._paused

    def _train_on(self, batch: Batch, epoch: int) -> None:
        samples = len(batch["labels"])
        # Also without samples: others may wait for this rank, and strategies give its mean over nothing no weight.
        call = self._summarised if self._is_due(self._step + 1) else self._call
        _, values, *summaries = call(*self._run.model.fed(batch["features"], batch["labels"], training=True))
        if samples and not math.isfinite(values[0]):
            raise NumericError(self._not_finite(values[0], samples, epoch))
        self._meter.add(samples, values)
        if not self._steps:
            self._begun()
        self._samples += 0 if self._run.strategy.dropped else samples
        self._steps += 1
        self._newest = self._step + 1
        self._step = self._run.strategy.next_step(self._step)
        # Of asynchronous workers it is taken that all are as far as this one.
        self._journal.step(self._step, epoch + 1, self._batches.seen(self._step))
        for summary in summaries:
            self._journal.summarised(summary)
        if self._is_due(self._step):
            self._record()

    def _is_due(self, step: int) -> bool:
        """Whether there is a record after ``step``."""
        return step // self._log_every > self._recorded // self._log_every or step >= self._total_steps

    def _begun(self) -> None:
        """The first step is over: what was found out before it is told, and written down."""
        self._first_step_at = time.time()
        tuning = self._run.session.tuning
        if tuning is None:
            return
        self._paused += tuning.seconds
        self._journal.tuned(tuning)
        if self._run.communicator.rank == 0:
            algorithm = tuning.algorithm if tuning.algorithm_rounds else None
            chosen = {"bucket_bytes": tuning.bucket_bytes, "algorithm": algorithm, "autotune": False}
            parallel = self._run.config.parallel.model_copy(update=chosen)
            save_config(self._directory, self._run.config.model_copy(update={"parallel": parallel}))

    def _not_finite(self, loss: float, samples: int, epoch: int) -> str:
        rate = self._run.config.optimizer.learning_rate
        return (
            f"the loss is {loss} on rank {self._run.communicator.rank} at step {self._step + 1} (epoch {epoch + 1}, "
            f"{samples} samples): try a lower optimizer.learning_rate than {rate:g}; if the loss is not finite with a "
            "tiny one either, look in the model for a logarithm of 0 or a division by 0"
        )

    def _record(self) -> None:
        """Record what was since the last record."""
        self._recorded = self._step
        context = self._run.session.context
        waits = (context.waits.get(rank, 0.0) for rank in range(self._run.communicator.size))
        now = np.array([self._samples, self._seconds(), context.communication_seconds, *waits])
        samples, seconds, communication, *waited = (now - self._mark).tolist()
        self._mark = now
        own = {
            "samples_per_second": samples / seconds,
            "communication_seconds": communication,
            "waited_seconds": sum(waited),
        }
        means, by_rank, held_up = self._meter.collect(list(own.values()), waited)
        more = {**dict(zip(own, by_rank, strict=True)), "held_up_seconds": held_up, **self._run.strategy.account()}
        self._journal.trained(means, self._newest, **more)

    def _evaluate(self) -> None:
        began = perf_counter()
        run = self._run
        with run.strategy.evaluating(run.session):
            self._journal.evaluated(run.evaluate(self._group))
        self._paused += perf_counter() - began

    def account(self, finishing: float) -> dict[str, object]:
        """Totals of this rank, after the strategy has finished, which took ``finishing`` seconds."""
        seconds = sum(self._epoch_seconds)
        context = self._run.session.context
        return {
            "samples": self._samples,
            "steps": self._steps,
            "seconds": seconds,
            "samples_per_second": self._samples / seconds,
            "communication_seconds": context.communication_seconds,
            "waited_seconds": sum(context.waits.values()),
            "waited_for": dict(sorted(context.waits.items())),
            "finish_seconds": finishing,
            "epoch_seconds": self._epoch_seconds,
            "first_step_unix_time": self._first_step_at,
            **self._run.strategy.account(),
        }
