"""The plans of an experiment's training step, or of a script's sessions, with the time of each step."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from collections.abc import Sequence

import numpy as np

from paraflow.errors import ConfigError
from paraflow.experiment.config import config_file, load_config
from paraflow.experiment.datasets import load_datasets
from paraflow.experiment.model import build_model
from paraflow.experiment.optimizers import build_train_op
from paraflow.graph.graph import Graph
from paraflow.ops.state import global_variables_initializer
from paraflow.runtime.session import Session
from paraflow.runtime.watch import Watched, watching
from paraflow.simulate.profile import Alone


def of_script(path: str, arguments: Sequence[str]) -> list[Watched]:
    """Run a script, its output on stderr, and return the plans that its sessions have compiled and run.

    An error of the script passes through, and so does an exit with another code than 0.
    """
    before = sys.argv, list(sys.path)
    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    try:
        with watching() as plans, contextlib.redirect_stdout(sys.stderr):
            try:
                runpy.run_path(path, run_name="__main__")
            except SystemExit as end:
                if end.code not in (None, 0):
                    raise
    finally:
        sys.argv, sys.path[:] = before
    if not plans:
        raise ConfigError(f"{path} has run no session, so there is no graph to show")
    return plans


def of_experiment(path: str, overrides: Sequence[str], steps: int) -> list[Watched]:
    """The plan of the training step of a configuration, or of a run directory's, timed over so many steps if any.

    It is that of one rank which is given whole batches. With mode "allreduce" it exchanges gradients as among several;
    in other modes, and with compression, it is that of one process.
    """
    config = load_config(config_file(path), overrides)
    training, _ = load_datasets(config)
    exchanging = config.parallel.mode == "allreduce" and config.parallel.compress == "none"
    with Graph().as_default() as graph:
        graph.seed = config.experiment.seed
        model = build_model(config, training)
        fetches = [build_train_op(config.optimizer, model.loss), list(model.values.values())]
        initialize = global_variables_initializer()
        rng = np.random.default_rng(config.experiment.seed)

        def batch() -> tuple[object, ...]:
            taken = rng.integers(len(training), size=config.data.batch_size)
            return model.fed(*training.take(taken), training=True)

        strategy = Alone(1) if exchanging else None
        with Session(
            strategy=strategy,
            threads=config.experiment.threads,
            bucket_bytes=config.parallel.bucket_bytes,
            compiler=config.compiler.options(),
        ) as session:
            if steps:
                session.run(initialize)
            with watching() as plans:
                if not steps:
                    session.plan(fetches, dict(zip(model.feeds, batch(), strict=True)))
                step = session.make_callable(fetches, model.feeds) if steps else None
                for _ in range(steps + 1 if step is not None else 0):
                    assert step is not None
                    step(*batch())
    return plans
