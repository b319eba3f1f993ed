"""What a run tells of itself: metrics.jsonl, the progress line, a summary at the end. Only rank 0 speaks."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from paraflow.experiment.metrics import MetricsWriter
from paraflow.experiment.progress import Progress
from paraflow.experiment.run_directory import METRICS_FILE


class Journal:
    """Records of the events of a run, each with step and epoch (both from 1) and the seconds since the journal began.

    On ranks other than 0 it does nothing.
    """

    def __init__(self, rank: int, directory: Path, total_steps: int, epochs: int | None) -> None:
        self._directory = directory
        self._began = perf_counter()
        self._open = ExitStack()
        self._writer = self._open.enter_context(MetricsWriter(directory / METRICS_FILE)) if rank == 0 else None
        stream = sys.stdout if rank == 0 else None
        self._progress = self._open.enter_context(Progress(stream, total_steps, epochs))
        self._place: dict[str, int] = {"step": 0, "epoch": 0}
        self._samples = 0
        self._shown: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def step(self, step: int, epoch: int, samples: int) -> None:
        """A step is over; ``samples`` is what has been trained on since the start."""
        self._place = {"step": step, "epoch": epoch}
        self._samples = samples
        self._progress.update(**self._place, samples=samples, **self._shown)

    def trained(self, means: Mapping[str, float], **more: object) -> None:
        """Record the means over the samples since the last record."""
        self._shown = {**means, **{name: v for name, v in self._shown.items() if name.startswith("test_")}}
        self._write("train", {**means, **more})

    def evaluated(self, means: Mapping[str, float]) -> None:
        """Record the means over the test samples."""
        self._shown |= {f"test_{name}": value for name, value in means.items()}
        self._write("evaluate", means)

    def line(self) -> None:
        """Show a line that stays on the screen."""
        self._progress.line(**self._place, samples=self._samples, **self._shown)

    def end(self, accounts: Sequence[Mapping[str, Any]]) -> None:
        """Record the end, with what each rank has to say of itself, and print the summary."""
        if self._writer is None:
            return
        self._write("end", {**self._shown, "unix_time": time.time(), "ranks": accounts})
        self._open.close()
        workers = [account for account in accounts if account["role"] == "worker"]
        seconds = max(account["seconds"] for account in workers)
        rate = sum(account["samples"] for account in workers) / seconds
        values = ", ".join(
            f"{name.replace('_', ' ')} {value:.2%}" if name.endswith("accuracy") else
            f"{name.replace('_', ' ')} {value:.4g}" for name, value in self._shown.items()
        )
        print(f"{self._place['step']} steps in {seconds:.2f} s, {rate:.0f} samples/s: {values}")
        print(f"run directory: {self._directory}")

    def _write(self, event: str, record: Mapping[str, object]) -> None:
        if self._writer is not None:
            self._writer.write({"event": event, **self._place, "time": perf_counter() - self._began, **record})
