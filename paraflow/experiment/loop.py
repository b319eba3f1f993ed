"""The training loop of an experiment: what every rank does from the configuration to the final parameters."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from time import perf_counter

from paraflow.comm import Communicator, solo
from paraflow.data import Batch, Batches, Dataset
from paraflow.errors import ConfigError, NumericError
from paraflow.experiment.datasets import load_datasets
from paraflow.experiment.journal import Journal
from paraflow.experiment.measure import Meter, evaluate
from paraflow.experiment.model import Model, build_model, build_optimizer
from paraflow.experiment.run_directory import PARAMETERS_FILE, create_run_directory, save_parameters
from paraflow.experiment.schema import Config, shared_leaves
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation
from paraflow.ops.state import global_variables_initializer, trainable_variables
from paraflow.parallel import AllReduce, ParameterServer, PushCount
from paraflow.parallel.agreement import check_agreement
from paraflow.runtime.session import Session


def train(config: Config, communicator: Communicator) -> None:
    """Run the experiment; collective.

    Raises RanksDisagree, naming rank and key, where the ranks have different configurations; ConfigError for a
    configuration that does not fit the data or the number of ranks; DataError for data that cannot be read, or that has
    fewer samples than there are ranks; and NumericError for a loss that is not finite.
    """
    check_agreement(communicator, [f"{key} = {value}" for key, value in shared_leaves(config).items()])
    _check_mode(config, communicator)
    training, test = load_datasets(config)
    strategy = _strategy(config, communicator, training, test)
    with Graph().as_default() as graph:
        graph.seed = config.experiment.seed
        model = build_model(config, training)
        train_op = build_optimizer(config).minimize(model.loss)
        initialize = global_variables_initializer()
        bucket_bytes, threads = config.parallel.bucket_bytes, config.experiment.threads
        with Session(strategy=strategy, bucket_bytes=bucket_bytes, threads=threads) as session:
            session.run(initialize)
            _Run(config, communicator, strategy, session, model, train_op, test).carry_out(training)


def _check_mode(config: Config, communicator: Communicator) -> None:
    if config.parallel.mode == "single" and communicator.size > 1:
        raise ConfigError(
            f"parallel.mode = 'single' is for one process, but {communicator.size} ranks were started: start one, "
            "or set parallel.mode to 'allreduce' or 'parameter_server'"
        )


def _strategy(
    config: Config, communicator: Communicator, training: Dataset, test: Dataset
) -> AllReduce | ParameterServer:
    """How the ranks train together; before the first step they compare what data they have read."""
    parts = {} if communicator.size == 1 else {"training samples": training, "test samples": test}
    agreement = {what: f"{part!r}, CRC-32 {part.checksum():08x}" for what, part in parts.items()}
    kind = ParameterServer if config.parallel.mode == "parameter_server" else AllReduce
    return kind(communicator, agreement)


@dataclass(frozen=True)
class _Run:
    """What one rank's part of a run is made of."""

    config: Config
    communicator: Communicator
    strategy: AllReduce | ParameterServer
    session: Session
    model: Model
    train_op: Operation
    test: Dataset

    def carry_out(self, training: Dataset) -> None:
        """Train, evaluate, and write the final parameters."""
        table = self.config.data
        batches = Batches(
            training,
            table.batch_size,
            # The server has no samples; it takes the last worker's place to share in the checks.
            min(self.strategy.worker, self.strategy.workers - 1),
            self.strategy.workers,
            self.config.experiment.seed,
            table.shuffle,
            table.last,
            table.prefetch,
        )
        total_steps = _total_steps(self.config, batches.steps_per_epoch)
        directory = create_run_directory(self.config, self.communicator)
        with Journal(self.communicator.rank, directory, total_steps, self.config.train.epochs) as journal:
            worker = None
            if isinstance(self.strategy, ParameterServer) and self.strategy.is_server:
                self.strategy.serve(self.session, self.train_op)
            else:
                worker = _Worker(self, journal, batches, total_steps)
                worker.train()
            self.strategy.finish(self.session)
            journal.evaluated(evaluate(self.session, self.model, self.test, self.communicator))
            journal.line()
            if self.communicator.rank == 0:
                values = self.session.run({v.spec.name: v for v in trainable_variables()})
                save_parameters(directory / PARAMETERS_FILE, values)
            account = {"role": "server"} if worker is None else {"role": "worker", **worker.account()}
            journal.end(self.communicator.allgather(account))


def _total_steps(config: Config, steps_per_epoch: int) -> int:
    ends = [config.train.steps, config.train.epochs and config.train.epochs * steps_per_epoch]
    return min(end for end in ends if end is not None)


class _Worker:
    """A rank that trains, and what it measures of itself.

    Synchronous workers report together. An asynchronous one reports for itself alone, since it waits for nobody.
    """

    def __init__(self, run: _Run, journal: Journal, batches: Batches, total_steps: int) -> None:
        self._run = run
        self._journal = journal
        self._batches = batches
        self._total_steps = total_steps
        self._asynchronous = isinstance(run.strategy, ParameterServer)
        self._group = solo() if self._asynchronous else run.communicator
        values = run.model.values
        self._call = run.session.make_callable([run.train_op, list(values.values())], run.model.feeds)
        self._meter = Meter(list(values), self._group)
        self._step = 0
        self._samples = self._seen = 0
        self._first_step_at = 0.0
        self._epoch_seconds: list[float] = []
        self._began, self._paused = perf_counter(), 0.0
        self._mark = (0, 0.0, 0.0)

    def train(self) -> None:
        """Run all steps, with the evaluations between them; the one at the end is for all ranks together."""
        every = self._run.config.train.evaluate_every
        while self._step < self._total_steps:
            epoch = len(self._epoch_seconds)
            began = self._seconds()
            for number, batch in enumerate(self._batches.epoch(epoch)):
                self._train_on(batch, epoch, number)
                if self._step == self._total_steps:
                    break
            self._epoch_seconds.append(self._seconds() - began)
            if self._step < self._total_steps and (epoch + 1) % (every or 1) == 0:
                # One asynchronous worker is enough, since it evaluates all samples by itself.
                if every and (not self._asynchronous or self._run.strategy.worker == 0):
                    self._evaluate()
                self._journal.line()

    def _seconds(self) -> float:
        """Seconds of training so far, evaluations left out."""
        return perf_counter() - self._began - self._paused

    def _train_on(self, batch: Batch, epoch: int, number: int) -> None:
        samples = len(batch["labels"])
        self._step += 1
        # A push of the mean over no samples would be NaN; an average over all ranks needs everyone, and weighs it zero.
        if samples or not self._asynchronous:
            _, values = self._call(*self._run.model.fed(batch["features"], batch["labels"], training=True))
            if samples and not math.isfinite(values[0]):
                raise NumericError(self._not_finite(values[0], samples, epoch))
            self._meter.add(samples, values)
        if self._step == 1:
            self._first_step_at = time.time()
        self._samples += samples
        # What all ranks have trained on; of asynchronous ones it is taken that they are as far as this one.
        self._seen += min(self._batches.batch_size, len(self._batches.dataset) - number * self._batches.batch_size)
        self._journal.step(self._step, epoch + 1, self._seen)
        if self._step % self._run.config.train.log_every == 0 or self._step == self._total_steps:
            self._record()

    def _not_finite(self, loss: float, samples: int, epoch: int) -> str:
        rate = self._run.config.optimizer.learning_rate
        return (
            f"the loss is {loss} on rank {self._run.communicator.rank} at step {self._step} (epoch {epoch + 1}, "
            f"{samples} samples): try a lower optimizer.learning_rate than {rate:g}; if the loss is not finite with a "
            "tiny one either, look in the model for a logarithm of 0 or a division by 0"
        )

    def _record(self) -> None:
        """Record what was since the last record."""
        now = self._samples, self._seconds(), self._run.session.context.communication_seconds
        samples, seconds, communication = (a - b for a, b in zip(now, self._mark, strict=True))
        self._mark = now
        means, (rates, waits) = self._meter.collect([samples / seconds, communication])
        more: dict[str, object] = {"samples_per_second": rates, "communication_seconds": waits}
        if isinstance(self._run.strategy, ParameterServer):
            more |= _pushes(self._run.strategy.pushes)
        self._journal.trained(means, **more)

    def _evaluate(self) -> None:
        began = perf_counter()
        self._journal.evaluated(evaluate(self._run.session, self._run.model, self._run.test, self._group))
        self._paused += perf_counter() - began

    def account(self) -> dict[str, object]:
        """Totals of this rank, after the strategy has finished."""
        seconds = sum(self._epoch_seconds)
        account: dict[str, object] = {
            "samples": self._samples,
            "seconds": seconds,
            "samples_per_second": self._samples / seconds,
            "communication_seconds": self._run.session.context.communication_seconds,
            "epoch_seconds": self._epoch_seconds,
            "first_step_unix_time": self._first_step_at,
        }
        strategy = self._run.strategy
        if isinstance(strategy, ParameterServer):
            count = strategy.pushes_by_worker[strategy.worker]
            account |= {**_pushes(count), "staleness_histogram": dict(sorted(count.histogram.items()))}
        return account


def _pushes(count: PushCount) -> dict[str, object]:
    return {
        "pushes": count.pushes,
        "staleness_mean": count.staleness_sum / count.pushes if count.pushes else 0.0,
        "staleness_max": count.staleness_max,
    }
