"""What a run tells of itself: metrics.jsonl, the progress line, a summary at the end. Only rank 0 speaks."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np

from paraflow.experiment.metrics import MetricsWriter
from paraflow.experiment.progress import Progress, formatted
from paraflow.experiment.run_directory import METRICS_FILE, WAITS_FILE
from paraflow.experiment.sizes import tuning_text
from paraflow.experiment.waits import Waits
from paraflow.ops.summaries import Summary, SummaryValue
from paraflow.runtime.tuning import Tuning
from paraflow.summary import FileWriter


class Journal:
    """Records the events of a run in metrics.jsonl, and shows them. On ranks other than 0 it does nothing.

    With a ``board`` it also writes the numbers of "train" and "evaluate" for TensorBoard, as ``train/loss`` and so on,
    those by rank as ``train/samples_per_second/0``, and what `summarised` gets; it closes the board at its end.

    Every record has ``event``, ``step`` and ``epoch`` (from 1) and ``time``, seconds since the journal was opened:

    - "train": loss and metrics, means over all samples since the last such record; of that time, as lists by rank,
      ``samples_per_second``, ``communication_seconds``, ``waited_seconds`` (the part of these that the rank has waited
      for other ranks) and ``held_up_seconds`` (what the others together have waited for the rank). An asynchronous run
      has what rank 0 measured alone here, and its account of its strategy since the start: ``pushes``,
      ``staleness_mean``, ``staleness_max``, ``pushed_bytes``, ``pulled_bytes``, ...
      With compression, ``gradient_bytes`` that rank 0 has sent since the start (of gradients, or of what its mode
      sends in their place), and ``uncompressed_gradient_bytes`` that it would have sent without.
    - "autotune", once, where buckets are chosen by measuring: the ``bucket_bytes`` and the ``algorithm`` chosen; by
      size, how many ``buckets`` there are, and the times of a step on the slowest rank in the ``rounds``; these times
      by algorithm in ``algorithm_rounds``; and the ``seconds`` that it all took.
    - "evaluate": loss and metrics over the test samples.
    - "end": the last of both, the latter as ``test_loss`` and so on; ``unix_time``; and in ``ranks`` what `end` was
      given for each, among it ``waited_for``: the seconds that the rank has waited for others, by rank;
      ``finish_seconds``: from its own last step until all were done; a server's ``pushes`` and the ``busy_seconds``
      that they took it.
      ``waiting_share`` is what waiting has cost, as a share of all ranks' time; ``straggler`` is the rank that has held
      the others up, if one has, or whose gradients they did not wait for (`Straggler`), with its ``rank``, the
      ``waited_seconds`` of the others for it, their ``share``, its ``slowdown``: its time for a step, without
      communication, in medians of the other ranks'; and how many ``late_gradients`` were among its ``pushes``.
    """

    def __init__(
        self, rank: int, directory: Path, total_steps: int, epochs: int | None, log_every: int,
        board: FileWriter | None = None,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._began = perf_counter()
        self._open = ExitStack()
        self._board = None if board is None else self._open.enter_context(board)
        self._writer = self._open.enter_context(MetricsWriter(directory / METRICS_FILE)) if rank == 0 else None
        stream = sys.stdout if rank == 0 else None
        self._progress = self._open.enter_context(Progress(stream, total_steps, epochs))
        self._step = self._epoch = self._samples = 0
        self._log_every = log_every
        self._trained: dict[str, float] = {}
        self._trained_step = 0
        self._tested: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def step(self, step: int, epoch: int, samples: int) -> None:
        """A step is over; ``samples`` is what has been trained on since the start."""
        self._step, self._epoch, self._samples = step, epoch, samples
        self._progress.update(step=step, epoch=epoch, samples=samples, **self._values)

    def trained(self, means: Mapping[str, float], newest: int, **more: object) -> None:
        """Record means over the samples since the last such record, and what else there is to say of that time.

        ``newest`` is the last step that they are of: before the present one where its worker has skipped some.
        """
        # An asynchronous worker may have had no sample since the last record.
        if known := {name: mean for name, mean in means.items() if not math.isnan(mean)}:
            self._trained |= known
            self._trained_step = newest
        self._write("train", {**means, **more})

    def remark(self, text: str) -> None:
        """Show a line beside the progress."""
        self._progress.remark(text)

    def summarised(self, summary: Summary) -> None:
        """Hand a summary of the model's own to the board, where there is one."""
        if self._board is not None:
            self._board.add_summary(summary, self._step)

    def tuned(self, tuning: Tuning) -> None:
        """Record how large buckets are, and why, and show it."""
        self._write("autotune", asdict(tuning))
        self.remark(tuning_text(tuning))

    def evaluated(self, means: Mapping[str, float]) -> None:
        """Record means over the test samples."""
        self._tested = {f"test_{name}": value for name, value in means.items()}
        self._write("evaluate", means)

    def line(self) -> None:
        """Show a line that stays on the screen."""
        self._progress.line(step=self._step, epoch=self._epoch, samples=self._samples, **self._values)

    def end(self, accounts: Sequence[Mapping[str, Any]], remarks: Sequence[str] = ()) -> None:
        """Record the end, with what each rank has to say of itself, and print a summary, with the ``remarks``."""
        if self._writer is None:
            return
        waits = Waits(accounts)
        waiting = {"waiting_share": waits.share, "straggler": waits.straggler and asdict(waits.straggler)}
        self._write("end", {**self._values, "unix_time": time.time(), **waiting, "ranks": accounts})
        self._open.close()
        workers = [account for account in accounts if account["role"] == "worker"]
        seconds = max(account["seconds"] for account in workers)
        rate = sum(account["samples"] for account in workers) / seconds
        trained, tested = (", ".join(map(formatted, v, v.values())) for v in (self._trained, self._tested))
        if trained and self._trained_step <= self._step - self._log_every:
            trained += f" (rank 0's own, step {self._trained_step})"
        values = ", ".join(part for part in (trained, tested) if part)
        print(f"{self._step} steps in {seconds:.2f} s, {rate:.0f} samples/s: {values}")
        for remark in (*waits.remarks(), *remarks):
            print(remark)
        print(f"run directory: {self._directory}", flush=True)
        if waits.noteworthy:
            _draw(waits, self._directory)

    @property
    def _values(self) -> dict[str, float]:
        return {**self._trained, **self._tested}

    def _write(self, event: str, record: Mapping[str, object]) -> None:
        if self._writer is not None:
            seconds = perf_counter() - self._began
            self._writer.write({"event": event, "step": self._step, "epoch": self._epoch, "time": seconds, **record})
            if self._board is not None and event in ("train", "evaluate"):
                self._board.add_summary(Summary(list(_numbers(event, record))), self._step)


def _numbers(prefix: str, record: Mapping[str, object]) -> Iterator[SummaryValue]:
    """The numbers of a record, also those in lists, by their places."""
    for name, value in record.items():
        if isinstance(value, (int, float, np.number)):
            yield SummaryValue(f"{prefix}/{name}", float(value))
        elif isinstance(value, (list, tuple, np.ndarray)):
            yield from _numbers(f"{prefix}/{name}", {str(i): item for i, item in enumerate(value)})


def _draw(waits: Waits, directory: Path) -> None:
    """Draw who waited for whom, where matplotlib is installed."""
    try:
        from paraflow.experiment.waits_picture import draw
    except ModuleNotFoundError:
        return
    draw(waits, directory / WAITS_FILE)
