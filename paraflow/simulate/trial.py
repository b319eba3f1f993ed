"""What exchanges cost beyond the model, from a trial: two ranks train the experiment in its mode for about a second.

A push, a round of gossip, an averaging or a compressed reduce costs more than its bytes and the latency of its messages
(packing, headers, policies, calls of MPI and plans, all of it Python), and ranks that take turns on a core lose time by
switches and cold caches. That is taken from the difference between the trial and what the model has for its two ranks
without it; on a server from the seconds that pushes keep it busy, which it counts itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from paraflow.experiment.metrics import read_metrics
from paraflow.experiment.schema import Config, Parallel
from paraflow.simulate.events import interval
from paraflow.simulate.model import Machine
from paraflow.simulate.noise import Noise
from paraflow.simulate.pair import run_pair
from paraflow.simulate.predict import predict
from paraflow.simulate.profile import Overhead, Profile
from paraflow.simulate.servers import busy

_SECONDS = 0.7  # of training, as the model has it
_WINDOWS = 10  # of the trial's steps, each timed by itself; the first has the start of the run in it
_STEPS = 200  # to simulate
_NO_END = 1 << 40  # epochs
_SERVING = ("parameter_server", "backup_workers")


@dataclass(frozen=True)
class Trial:
    """What two ranks did: median seconds of a step of the first one, and of a push on the server, where one serves."""

    step: float
    push: float


def measure_overhead(arguments: Sequence[str], config: Config, profile: Profile, here: Machine) -> Overhead | None:
    """The overhead of the mode of ``config``, which the command line's ``arguments`` say: CONFIG.toml key=value ...

    ``here`` is this node with two ranks, which take turns on a core where it has one, and ``profile`` that of a
    worker's step. None where the two ranks cannot train (their batches need more samples than there are, say, or no
    ranks can be started).
    """
    few: dict[str, object] = {"servers": 1, "backup": 0, "warmup": 0, "compress_warmup": 0}
    table = config.parallel.model_copy(update=few)
    lone = replace(profile, shares=(1.0,))
    without = predict(lone, here, table, Noise(profile.spread), _STEPS).step_seconds
    every = interval(table)
    window = -(-int(_SECONDS / without / _WINDOWS) // every) * every or every
    keys = {
        **{f"parallel.{key}": value for key, value in few.items()},
        "parallel.autotune": "false",
        "data.batch_size": profile.samples * (1 if table.mode in _SERVING else 2),
        "data.last": "drop",
        "train.steps": _WINDOWS * window,
        "train.epochs": _NO_END,
        "train.evaluate_every": 0,
        "train.log_every": window,
    }
    trial = _run(arguments, keys, profile.samples, here.cores == 1)
    return None if trial is None else overhead_of(trial, without, lone, here, table)


def overhead_of(trial: Trial, without: float, profile: Profile, here: Machine, table: Parallel) -> Overhead:
    """What ``trial`` has beyond a step of ``without`` seconds, and beyond a push as the model has it.

    What is not the server's is the worker's. Ranks that take turns on a core have each had a part of it.
    """
    whole = max(trial.step - without, 0.0) * interval(table)
    server = min(max(trial.push - busy(profile, here, table), 0.0), whole) if trial.push else 0.0
    crowding = float(here.crowding[0])
    return Overhead((whole - server) / crowding, server / crowding)


def _run(arguments: Sequence[str], keys: dict[str, object], samples: int, one_core: bool) -> Trial | None:
    with tempfile.TemporaryDirectory(prefix="paraflow-trial-") as name:
        folder = Path(name)
        keys = {**keys, "experiment.directory": folder / "runs"}
        assignments = [f"{key}={value}" for key, value in keys.items()]
        if not run_pair(folder, *arguments, *assignments, one_core=one_core):
            return None
        (file,) = folder.glob("runs/*/metrics.jsonl")
        records = read_metrics(file)
    rates = [record["samples_per_second"][0] for record in records if record["event"] == "train"]
    last = records[-1]["ranks"][-1]
    push = last["busy_seconds"] / last["pushes"] if last["role"] == "server" else 0.0
    return Trial(samples / float(np.median(rates[1:])), push)
