"""Real runs of experiments, each in a directory of its own, and what they leave behind."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from mpirun import AS_ROOT

from paraflow.experiment.metrics import read_metrics

CONFIGS = Path(__file__).parents[2] / "configs"
PARAFLOW = str(Path(sys.executable).with_name("paraflow"))
TIMEOUT = 120.0


class Results:
    """What a run has left in its run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def records(self, event: str) -> list[dict[str, Any]]:
        return [record for record in read_metrics(self.directory / "metrics.jsonl") if record["event"] == event]

    def losses(self) -> np.ndarray:
        return np.array([record["loss"] for record in self.records("train")])

    @property
    def end(self) -> dict[str, Any]:
        (record,) = self.records("end")
        return record

    @property
    def parameter_bytes(self) -> bytes:
        return (self.directory / "parameters.safetensors").read_bytes()

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        return safetensors.numpy.load_file(self.directory / "parameters.safetensors")


class Run:
    """A command that has ended: its exit code and its output, and what its run has left in the folder."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.folder, self.code, self.out, self.err = folder, done.returncode, done.stdout, done.stderr

    @property
    def results(self) -> Results:
        (directory,) = (path.parent for path in self.folder.glob("runs/*/config.toml"))
        return Results(directory)


def launch(folder: Path, ranks: int, config: str | Path, *overrides: str) -> Run:
    """``paraflow launch -n RANKS``; warnings are errors in the ranks."""
    return command(folder, PARAFLOW, "launch", "-n", str(ranks), str(config), *overrides)


def command(folder: Path, *arguments: str) -> Run:
    """Any command, such as a user's own mpirun."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAFLOW_")}
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=environment | AS_ROOT | {"PYTHONWARNINGS": "error"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Run(folder, done)
