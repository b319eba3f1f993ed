"""What exchanges cost beyond the model, from a trial: a few ranks train the experiment in its mode for a second or two.

A push, a round of gossip, an averaging or a compressed reduce costs more than its bytes and the latency of its messages
(packing, headers, policies, calls of MPI and plans, all of it Python). Where ranks take turns on a core, they also wait
for their turns, in the middle of messages too, and find cold caches. All that is taken from the difference between the
trial and what the model has for its ranks without it; on a server from the seconds that pushes keep it busy, which it
counts itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from paraflow.experiment.metrics import read_metrics
from paraflow.experiment.schema import Config, Parallel
from paraflow.experiment.strategies import parts_of, workers_of
from paraflow.experiment.toml_text import toml_document
from paraflow.simulate.events import interval
from paraflow.simulate.model import Machine
from paraflow.simulate.noise import Noise
from paraflow.simulate.predict import predict
from paraflow.simulate.profile import Overhead, Profile
from paraflow.simulate.ranks import run_ranks
from paraflow.simulate.servers import at_work, busy

_SECONDS = 1.5  # of training, as the model has it: Linux takes a part of it to share ranks out to cores
_WINDOWS = 10  # of the trial's steps, each timed by itself; the first has the start of the run in it
_STEPS = 200  # to simulate
_HALVINGS = 16  # of the interval in which a worker's overhead lies
_MOST_OFF = 0.5  # of a rank's work, by which a trial may be faster than the model
_NO_END = 1 << 40  # epochs


@dataclass(frozen=True)
class Trial:
    """What the ranks did: median seconds of a step of the first one, and of a push on the server, where one serves."""

    step: float
    push: float


def measure_overhead(config: Config, ranks: int, profile: Profile, here: Machine) -> Overhead:
    """The overhead of the mode of ``config``.

    ``here`` is a part of this node, with the trial's ranks, and ``profile`` that of a worker's step, one of ``ranks``.
    Raises RanksFailed where the trial's ranks cannot train (their batches need more samples than there are, say, or no
    ranks can be started).
    """
    backup = _backup(config.parallel, here.ranks, ranks)
    few = {"servers": 1, "backup": backup, "warmup": 0, "compress_warmup": 0, "autotune": False}
    table = config.parallel.model_copy(update=few)
    lone = replace(profile, shares=(1.0,), tried={})
    every = interval(table)
    window = -(-int(_SECONDS / _step(lone, here, table) / _WINDOWS) // every) * every or every
    batch_size = profile.samples * parts_of(table, here.ranks)
    return overhead_of(_run(_of_trial(config, table, batch_size, window), here), lone, here, table)


def _of_trial(config: Config, table: Parallel, batch_size: int, window: int) -> Config:
    """What the trial's ranks train: the experiment with ``table``, without all that would take time or write files."""
    tables: dict[str, dict[str, object]] = {
        "experiment": {"tensorboard": False},
        "data": {"batch_size": batch_size, "last": "drop"},
        "train": {
            "steps": _WINDOWS * window, "epochs": _NO_END, "evaluate_every": 0, "log_every": window, "trace": None,
        },
        "compiler": {"dump": ()},
    }  # fmt: skip
    changed = {name: getattr(config, name).model_copy(update=keys) for name, keys in tables.items()}
    return config.model_copy(update={**changed, "parallel": table})


def _backup(table: Parallel, trial_ranks: int, ranks: int) -> int:
    """The workers that a step of the trial does not wait for: the same part of them, rounded down."""
    return table.backup * (trial_ranks - 1) // (ranks - 1) if table.mode == "backup_workers" else 0


def overhead_of(trial: Trial, profile: Profile, here: Machine, table: Parallel) -> Overhead:
    """What ``trial`` has beyond a push, and then beyond a step, as the model has them.

    What is not the server's is the worker's: as much as the model's step needs to be as long as the trial's, or less
    than nothing where the trial was faster, as the profile can come from a slow moment of the machine. A server's
    pushes take no longer together than a step does: they are timed by their mean, which has a busy machine's worst
    moments in it, and the step by a median.
    """
    server = 0.0
    if trial.push:
        push = min(trial.push, trial.step / workers_of(table, here.ranks))
        model = predict(replace(profile, overheads={}), here, table, Noise(profile.spread), _STEPS)
        working = at_work(here, table.servers, model.wait_seconds / model.step_seconds)
        server = max(push - busy(profile, working, table), 0.0) / float(working.crowding[-1])
    beyond = trial.step - _step(profile, here, table, Overhead(0.0, server))
    low, high = sorted((0.0, max(beyond * interval(table), -_MOST_OFF * profile.work)))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        longer = _step(profile, here, table, Overhead(middle, server)) > trial.step
        low, high = (low, middle) if longer else (middle, high)
    return Overhead(high, server)


def _step(profile: Profile, here: Machine, table: Parallel, overhead: Overhead | None = None) -> float:
    """The seconds of a step with ``overhead``, as the model has it."""
    whole = replace(profile, overheads={} if overhead is None else {float(here.turns.max()): overhead})
    return predict(whole, here, table, Noise(profile.spread), _STEPS).step_seconds


def _run(config: Config, here: Machine) -> Trial:
    with tempfile.TemporaryDirectory(prefix="paraflow-trial-") as name:
        folder = Path(name)
        written = folder / "trial.toml"
        written.write_text(toml_document(config), encoding="utf-8")
        run_ranks(
            here.ranks, folder, str(written), f"experiment.directory={folder / 'runs'}", cores=int(here.cores)
        )
        (file,) = folder.glob("runs/*/metrics.jsonl")
        records = read_metrics(file)
    last = records[-1]["ranks"][-1]
    push = last["busy_seconds"] / last["pushes"] if last["role"] == "server" else 0.0
    return Trial(step_seconds(records), push)


def step_seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of a step by the ``records`` of a run's metrics: the median between each two about training.

    That counts steps, whatever became of the samples in them: where a step closes without some workers, their gradients
    are lost, and the parts of a batch overlap.
    """
    marks = np.array([(record["time"], record["step"]) for record in records if record["event"] == "train"])
    seconds, steps = np.diff(marks, axis=0).T
    return float(np.median(seconds / steps))
