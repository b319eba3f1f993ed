"""The directory of one run: configuration, environment, graph, metrics and the parameters it ended with."""

import json
import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import ConfigError
from paraflow.experiment.schema import Config
from paraflow.experiment.toml_text import toml_document

CONFIG_FILE = "config.toml"
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.jsonl"
GRAPH_FILE = "graph.json"
PARAMETERS_FILE = "parameters.safetensors"
WAITS_FILE = "waits.svg"
PLANS_DIRECTORY = "plans"
TRACE_FILE = "trace.json"
STEPS_FILE = "steps.json"


def create_run_directory(config: Config, communicator: Communicator) -> Path:
    """Make a new directory ``experiment.directory/NAME-YYYYmmdd-HHMMSS`` and return its absolute path on every rank.

    Collective. Rank 0 makes it and writes the resolved configuration and the environment of all ranks into it;
    where ranks share no file system, the path leads nowhere on the others. A directory that exists is never
    used: the name gets ``-2``, ``-3``, ... at its end. Raises ConfigError on every rank if rank 0 cannot write.
    """
    ranks = communicator.allgather(_rank_environment())
    made: Path | str | None = None
    if communicator.rank == 0:
        try:
            made = _new_directory(Path(config.experiment.directory).expanduser().absolute(), config.experiment.name)
            save_config(made, config)
            environment = json.dumps(_environment(communicator.world, ranks), indent=2)
            (made / ENVIRONMENT_FILE).write_text(environment + "\n", encoding="utf-8")
        except OSError as error:
            made = str(error)
    made = communicator.broadcast_object(made)
    if not isinstance(made, Path):
        raise ConfigError(f"experiment.directory = {config.experiment.directory!r}: cannot write there: {made}")
    return made


def save_config(directory: Path, config: Config) -> None:
    """Write the resolved configuration into the run directory, whole or not at all."""
    unfinished = directory / f".{CONFIG_FILE}.{os.getpid()}"
    unfinished.write_text(toml_document(config), encoding="utf-8")
    unfinished.replace(directory / CONFIG_FILE)


def _new_directory(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = parent / stem, 1
    while True:
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
            path = parent / f"{stem}-{number}"


def _rank_environment() -> dict[str, object]:
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {"host": socket.gethostname(), "pid": os.getpid(), "cores": len(os.sched_getaffinity(0)), **threads}


def _environment(world: str, ranks: list[object]) -> dict[str, object]:
    mpi = sys.modules.get("mpi4py.MPI")
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": sys.argv,
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("paraflow", "numpy", "mpi4py", "safetensors", "pydantic")},
        "blas": f"{blas['name']} {blas['version']}",
        "world": world,
        "mpi": None if mpi is None else mpi.Get_library_version().strip("\0\n "),
        "ranks": ranks,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None  # run from a source tree
