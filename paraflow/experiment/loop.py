"""The training loop of an experiment: what every rank does from the configuration to the final parameters."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from paraflow.comm import Communicator, solo
from paraflow.data import Batches, Dataset
from paraflow.errors import ConfigError, NumericError
from paraflow.experiment.datasets import load_datasets
from paraflow.experiment.journal import Journal
from paraflow.experiment.measure import Meter, evaluate, of_all_ranks
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
    strategy = _strategy(config, communicator)
    training, test = load_datasets(config)
    with Graph().as_default() as graph:
        graph.seed = config.experiment.seed
        model = build_model(config, training)
        train_op = build_optimizer(config).minimize(model.loss)
        initialize = global_variables_initializer()
        with Session(strategy=strategy, bucket_bytes=config.parallel.bucket_bytes) as session:
            session.run(initialize)
            _Run(config, communicator, strategy, session, model, train_op, test).carry_out(training)


def _strategy(config: Config, communicator: Communicator) -> AllReduce | ParameterServer:
    if config.parallel.mode == "parameter_server":
        return ParameterServer(communicator)
    if config.parallel.mode == "single" and communicator.size > 1:
        raise ConfigError(
            f"parallel.mode = 'single' is for one process, but {communicator.size} ranks were started: start one, "
            "or set parallel.mode to 'allreduce' or 'parameter_server'"
        )
    return AllReduce(communicator)


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
        make_batches = partial(
            Batches, training, table.batch_size, seed=self.config.experiment.seed, shuffle=table.shuffle,
            last=table.last, prefetch=table.prefetch,
        )
        total_steps = _total_steps(self.config, make_batches().steps_per_epoch)
        batches = None if self.strategy.is_server else make_batches(rank=self.strategy.worker, size=self.strategy.workers)
        directory = create_run_directory(self.config, self.communicator)
        with Journal(self.communicator.rank, directory, total_steps, self.config.train.epochs) as journal:
            account: dict[str, Any] = {"samples": 0}
            if batches is not None:
                worker = _Worker(self, journal, batches, total_steps)
                worker.train()
                account = worker.account()
            elif isinstance(self.strategy, ParameterServer):
                self.strategy.serve(self.session, self.train_op)
            self.strategy.finish(self.session)
            journal.evaluated(evaluate(self.session, self.model, self.test, self.communicator))
            journal.line()
            if self.communicator.rank == 0:
                values = self.session.run({v.spec.name: v for v in trainable_variables()})
                save_parameters(directory / PARAMETERS_FILE, values)
            journal.end(self.communicator.allgather(account))


def _total_steps(config: Config, steps_per_epoch: int) -> int:
    ends = [config.train.steps, config.train.epochs and config.train.epochs * steps_per_epoch]
    return min(end for end in ends if end is not None)


class _Worker:
    """A rank that trains, and what it measures of itself.

    Synchronous workers report together. An asynchronous one reports for itself alone, since it waits for nobody.
    """

    def __init__(self, run: _Run, journal: Journal, batches: Batches, total_steps: int) -> None:
        model = run.model
        self._run = run
        self._journal = journal
        self._batches = batches
        self._total_steps = total_steps
        self._asynchronous = isinstance(run.strategy, ParameterServer)
        self._group = solo() if self._asynchronous else run.communicator
        self._flags = () if model.training is None else (True,)
        feeds = [model.features, model.labels, *(() if model.training is None else (model.training,))]
        self._call = run.session.make_callable([run.train_op, list(model.values.values())], feeds)
        self._meter = Meter(list(model.values), self._group)
        self._step = 0
        self._samples = 0
        self._first_step: float | None = None
        self._epoch_seconds: list[float] = []
        self._clock = Stopwatch()
        self._mark = (0, 0.0, 0.0)  # samples, training seconds, seconds of communication at the last record
