"""What all benchmarks share: sides that run in processes of their own, interleaved rounds, medians and tables.

Ranks share the machine by processes, so importing this module, before numpy, leaves one thread to every library that
counts threads, here and in all processes started from here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
START_SECONDS = 120
ORDER_SECONDS = 900
QUIET_SECONDS = 0.3
QUIET_SHARE = 0.05  # of the cores' time

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))


class SideError(Exception):
    """A side could not start or ended before its answer."""


@dataclass
class Side:
    """A competitor: the command that starts its ``ranks`` processes; `running` gives it life."""

    name: str
    command: Sequence[str]
    ranks: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    _connections: list[Any] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _log: Any = None

    def order(self, name: str, **details: Any) -> list[dict[str, Any]]:
        """Give the same order to all ranks at once; their answers, by rank."""
        for connection in self._connections:
            connection.write(json.dumps({"order": name, **details}) + "\n")
            connection.flush()
        return [self._answer(connection) for connection in self._connections]

    def _answer(self, connection: Any) -> dict[str, Any]:
        try:
            line = connection.readline()
        except TimeoutError:
            raise SideError(f"{self.name}: no answer within {ORDER_SECONDS} s") from None
        if not line:
            raise SideError(f"{self.name} ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        return str(self._log.read()[-2000:].strip()) or "without a word"

    @contextmanager
    def running(self) -> Iterator[Side]:
        """Start the processes, wait until all have reported, and end them afterwards."""
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-"))
            self._log = stack.enter_context(open(os.path.join(folder, "log"), "w+", errors="replace"))
            address = os.path.join(folder, "socket")
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen(self.ranks)
            listener.settimeout(0.5)
            try:
                self._process = subprocess.Popen(
                    [*self.command, "--address", address],
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    env={**os.environ, **self.environment},
                    start_new_session=True,
                    cwd=folder,
                )
            except OSError as error:
                raise SideError(str(error)) from error
            stack.callback(self._end)
            self._connections = self._accept(listener)
            yield self

    def _accept(self, listener: socket.socket) -> list[Any]:
        found: dict[int, Any] = {}
        deadline = time.monotonic() + START_SECONDS
        while len(found) < self.ranks:
            assert self._process is not None
            if self._process.poll() is not None:
                raise SideError(self._last_words())
            if time.monotonic() > deadline:
                raise SideError(f"{len(found)} of {self.ranks} ranks started within {START_SECONDS} s")
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(ORDER_SECONDS)
            lines = connection.makefile("rw", encoding="utf-8")
            connection.close()
            hello = json.loads(lines.readline())
            found[hello["rank"]] = lines
            if hello["rank"] == 0:
                self.about = hello["about"]
        return [found[rank] for rank in range(self.ranks)]

    def _end(self) -> None:
        for connection in self._connections:
            connection.close()  # the sides read the end of their orders and return
        self._connections = []
        assert self._process is not None
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def start(stack: ExitStack, sides: Sequence[Side]) -> tuple[list[Side], dict[str, str]]:
    """Start all sides; those that run, and why each of the others does not."""
    running, missing = [], {}
    for side in sides:
        try:
            running.append(stack.enter_context(side.running()))
        except SideError as error:
            missing[side.name] = reason(str(error))
    return running, missing


def reason(text: str) -> str:
    """The line of a failed program's output that names the error, else its last one."""
    lines = text.strip().splitlines() or [""]
    return next((line.strip() for line in reversed(lines) if "Error:" in line), lines[-1])


def interleave(
    measures: Mapping[str, Callable[[], float]], rounds: int, patience: float = 0
) -> dict[str, list[float]]:
    """A B A B ...: one measurement of each per round, so that slow minutes of the machine hit all alike.

    ``patience``: seconds to wait before each, at most, for a moment in which the machine does nothing else.
    """
    values: dict[str, list[float]] = {name: [] for name in measures}
    shown = sys.stderr.isatty()
    for number in range(rounds):
        if shown:
            print(f"\r  round {number + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
        for name, measure in measures.items():
            await_quiet(patience)
            values[name].append(measure())
    if shown:
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
    return values


def await_quiet(patience: float) -> None:
    """Return when the cores have been idle for a moment, or after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        busy, total = processor_time()
        time.sleep(QUIET_SECONDS)
        now_busy, now_total = processor_time()
        if now_busy - busy <= QUIET_SHARE * (now_total - total):
            return


def processor_time() -> tuple[int, int]:
    """What the cores have worked and what they have lived, in the kernel's ticks (Linux)."""
    with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:]]
    idle, waiting = ticks[3:5]
    return sum(ticks) - idle - waiting, sum(ticks)


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Round by round, how many times ``base`` each of ``values`` is."""
    return [a / b for a, b in zip(values, base, strict=True)]


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Plain text, columns aligned: the first to the left, numbers to the right."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    texts = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    return "\n".join([texts[0], "  ".join("-" * w for w in widths), *texts[1:]])


def comparison(values: dict[str, list[float]], missing: dict[str, str], unit: str, scale: float) -> str:
    """The table of one comparison: the median of each side, its best round, and its ratio to the first side."""
    base = next(iter(values.values()), [])
    rows = []
    for name, times in values.items():
        ratio = ratios(times, base)
        spread = f"{min(ratio):.2f} .. {max(ratio):.2f}" if len(ratio) > 1 else ""
        rows.append([name, f"{median(times) * scale:.4g}", f"{min(times) * scale:.4g}", f"{median(ratio):.2f}", spread])
    rows += [[name, "not run", "", "", ""] for name in missing]
    text = table(rows, ["side", f"median {unit}", f"best {unit}", "x first", "by round"])
    return "\n".join([text, *(f"{name}: {reason}" for name, reason in missing.items())])


def common_options(parser: argparse.ArgumentParser, peers: Sequence[str], rounds: int, steps: int) -> None:
    """The options that every comparison has."""
    rounds_options(parser, rounds)
    parser.add_argument("--steps", type=int, default=steps, help="timed steps a round (default: %(default)s)")
    if peers:
        parser.add_argument(
            "--peers",
            type=lambda text: chosen_peers(text, peers),
            default=list(peers),
            help=f"comma-separated list of {', '.join(peers)}, or none (default: all)",
        )
    for name in ("paraflow", *peers):
        parser.add_argument(
            f"--{name}-python", default=sys.executable, metavar="PATH", help=f"interpreter with {name} (default: this)"
        )


def chosen_peers(text: str, peers: Sequence[str]) -> list[str]:
    """The peers that a comma-separated list names."""
    names = [] if text == "none" else text.split(",")
    unknown = [name for name in names if name not in peers]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(peers)}, or none")
    return names


def rounds_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    """--rounds, --patience and --json, which every script with rounds has."""
    parser.add_argument("--rounds", type=int, default=rounds, help="interleaved rounds (default: %(default)s)")
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="SECONDS",
        help="before each measurement wait for an idle machine, SECONDS at most (default: %(default)s)",
    )
    json_option(parser)


def json_option(parser: argparse.ArgumentParser) -> None:
    """--json FILE."""
    parser.add_argument("--json", metavar="FILE", help="write all measured numbers to FILE too")


def write_json(path: str | None, results: dict[str, Any]) -> None:
    """Write ``results`` to ``path``, if there is one."""
    if path:
        Path(path).write_text(json.dumps(results, indent=1) + "\n")


def machine() -> str:
    """The processor and the cores that this process may use."""
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{model}, {len(os.sched_getaffinity(0))} cores usable, load {os.getloadavg()[0]:.1f}"


def paraflow_command(python: str) -> str:
    """The ``paraflow`` command that is installed beside ``python``."""
    found = shutil.which("paraflow", path=os.path.dirname(os.path.abspath(python)))
    if found is None:
        raise SystemExit(f"there is no 'paraflow' command beside {python}: install paraflow there, or name another "
                         "interpreter with --paraflow-python")
    return found
