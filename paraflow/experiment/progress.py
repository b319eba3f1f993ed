"""What a run shows while it trains: one live line where the terminal can, a line an epoch everywhere."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

REDRAW_SECONDS = 0.1
RATE_SECONDS = 5.0
# Set by the launcher to the width of its terminal, if it shows rank 0's output there, carriage returns included.
COLUMNS_VARIABLE = "PARAFLOW_TTY"
# Open MPI gives its ranks a pseudo-terminal, whatever their output goes to in the end.
NO_TERMINAL_VARIABLE = "OMPI_COMM_WORLD_RANK"
BAR_COLUMNS = 20


class _Mark(NamedTuple):
    time: float
    step: int
    samples: int


class Progress:
    """Shows epoch, step, loss and other values, samples per second and the time left.

    The live line is drawn at most ten times a second, by rich on a terminal and with carriage returns under the
    launcher; elsewhere only the lines of ``line`` appear. With ``stream`` None (every rank but 0) nothing does.
    """

    def __init__(
        self,
        stream: TextIO | None,
        total_steps: int,
        epochs: int | None = None,
        first_step: int = 0,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total_steps = total_steps
        self._epochs = epochs
        self._clock = clock
        self._marks = deque([_Mark(clock(), first_step, 0)])
        self._display = None if stream is None else _display(stream, environment)
        self._redraw_at = self._marks[0].time

    def update(self, *, step: int, epoch: int, samples: int, **values: float) -> None:
        """Take note of a finished step.

        ``step`` and ``epoch`` count from 1, ``samples`` is what all ranks have seen since the start, ``values``
        (loss, accuracy as a fraction of 1, ...) stand in the line by their names.
        """
        if self._display is None or not self._display.live:
            return
        now = self._clock()
        if now >= self._redraw_at:
            self._redraw_at = now + REDRAW_SECONDS
            self._display.draw(self._parts(now, step, epoch, samples, values), step / self._total_steps)

    def line(self, *, step: int, epoch: int, samples: int, **values: float) -> None:
        """Show a line that stays, at the end of an epoch; the arguments are those of ``update``."""
        if self._display is not None:
            self._display.keep("  ".join(self._parts(self._clock(), step, epoch, samples, values)))

    def remark(self, text: str) -> None:
        """Show a line of another kind that stays."""
        if self._display is not None:
            self._display.keep(text)

    def close(self) -> None:
        """Remove the live line."""
        if self._display is not None:
            self._display.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parts(self, now: float, step: int, epoch: int, samples: int, values: Mapping[str, float]) -> list[str]:
        marks = self._marks
        while len(marks) > 1 and now - marks[1].time >= RATE_SECONDS:
            marks.popleft()
        since = marks[0]
        marks.append(_Mark(now, step, samples))
        parts = [
            f"epoch {epoch}" + (f"/{self._epochs}" if self._epochs else ""),
            f"step {step}/{self._total_steps}",
            *(formatted(name, value) for name, value in values.items()),
        ]
        if now > since.time and step > since.step:
            parts.append(f"{(samples - since.samples) / (now - since.time):.0f} samples/s")
            seconds = (now - since.time) / (step - since.step) * (self._total_steps - step)
            parts.append(f"{timedelta(seconds=round(seconds))} left")
        return parts


def fitted(parts: list[str], columns: int) -> str:
    """The parts side by side; where there are more than fit, the test values go first, and then the step."""
    for left_out in (None, "test ", "step "):
        parts = [part for part in parts if left_out is None or not part.startswith(left_out)]
        if len(text := "  ".join(parts)) <= columns:
            break
    return text[:columns]


class _Display(Protocol):
    live: bool

    def draw(self, parts: list[str], fraction: float) -> None: ...

    def keep(self, text: str) -> None: ...

    def close(self) -> None: ...


def _display(stream: TextIO, environment: Mapping[str, str]) -> _Display:
    columns = environment.get(COLUMNS_VARIABLE, "")
    if columns.isdecimal():
        return _CarriageReturns(stream, int(columns))
    console = Console(file=stream)
    live = console.is_terminal and not console.is_dumb_terminal and NO_TERMINAL_VARIABLE not in environment
    return _RichLine(console) if live else _PlainLines(stream)


class _RichLine:
    live = True

    def __init__(self, console: Console) -> None:
        # Without a refresh thread: training is not to share its interpreter with one.
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def draw(self, parts: list[str], fraction: float) -> None:
        columns = self._live.console.width - 1
        text = fitted(parts, columns)
        row = Table.grid(padding=(0, 1))
        if BAR_COLUMNS + 1 + len(text) <= columns:
            row.add_row(ProgressBar(total=1.0, completed=fraction, width=BAR_COLUMNS), Text(text, no_wrap=True))
        else:
            row.add_row(Text(text, no_wrap=True))
        self._live.update(row, refresh=True)

    def keep(self, text: str) -> None:
        self._live.console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


class _CarriageReturns:
    live = True

    def __init__(self, stream: TextIO, columns: int) -> None:
        self._stream = stream
        self._width = max(columns - 1, 0)  # a character in the last column would wrap the line
        self._drawn = False

    def draw(self, parts: list[str], fraction: float) -> None:
        self._write("\r" + fitted(parts, self._width).ljust(self._width), drawn=True)

    def keep(self, text: str) -> None:
        self._write("\r" + text.ljust(self._width) + "\n", drawn=False)

    def close(self) -> None:
        if self._drawn:
            self._write("\r" + " " * self._width + "\r", drawn=False)

    def _write(self, text: str, drawn: bool) -> None:
        self._stream.write(text)
        self._stream.flush()
        self._drawn = drawn


class _PlainLines:
    live = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def draw(self, parts: list[str], fraction: float) -> None:
        """Nothing: a file keeps every line."""

    def keep(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing to remove."""


def formatted(name: str, value: float) -> str:
    """``value`` behind its name, as every line shows it: ``test loss 0.1234``, ``accuracy 97.22%``."""
    label = name.replace("_", " ")
    return f"{label} {value:.2%}" if name.endswith("accuracy") else f"{label} {value:.4g}"
