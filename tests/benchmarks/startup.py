"""Time from nothing to a usable paraflow: importing it, and ``paraflow launch`` up to the end of the first step."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness import (
    HERE,
    interleave,
    machine,
    median,
    paraflow_command,
    reason,
    rounds_options,
    table,
    write_json,
)

LAUNCH_SECONDS = 120
IMPORT_LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    rounds_options(parser, rounds=20)
    parser.add_argument("--paraflow-python", default=sys.executable, metavar="PATH", help="interpreter (default: this)")
    parser.add_argument("--top", type=int, default=15, help="modules in the breakdown (default: %(default)s)")
    parser.add_argument("-n", "--ranks", type=int, default=2, help="ranks of the launch (default: %(default)s)")
    parser.add_argument("--launches", type=int, default=10, help="launches, 0 for none (default: %(default)s)")
    parser.add_argument(
        "--config",
        default=str(HERE.parents[1] / "configs" / "digits_sync.toml"),
        metavar="FILE",
        help="experiment that is launched (default: %(default)s)",
    )
    options = parser.parse_args()
    python = os.path.abspath(options.paraflow_python)
    print(machine())
    results = {"imports": imports(python, options.rounds, options.patience), "modules": modules(python, options.top)}
    if options.launches:
        results["launches"] = launches(options)
    write_json(options.json, {"machine": machine(), **results})
    return 0


def imports(python: str, rounds: int, patience: float) -> dict[str, list[float]]:
    """Fresh processes: Python alone, with numpy, with paraflow, and with paraflow where no bytecode is cached."""
    with tempfile.TemporaryDirectory() as empty:
        runs: dict[str, Callable[[], float]] = {
            "python": partial(process, [python, "-c", "pass"]),
            "import numpy": partial(process, [python, "-c", "import numpy"]),
            "import paraflow": partial(process, [python, "-c", "import paraflow"]),
            "import paraflow, nothing compiled": partial(
                process, [python, "-B", "-X", f"pycache_prefix={empty}", "-c", "import paraflow"]
            ),
        }
        for run in runs.values():
            run()  # writes the bytecode and fills the file cache
        values = interleave(runs, rounds, patience)
    bare = values["python"]
    rows = []
    for name, times in values.items():
        extra = [a - b for a, b in zip(times, bare, strict=True)]
        rows.append([name, *(f"{x * 1e3:.0f}" for x in (median(times), min(times), median(extra), min(extra)))])
    print(table(rows, ["fresh process", "median ms", "best ms", "less python, median", "best"]))
    return values


def process(command: list[str]) -> float:
    """Seconds that a process takes from start to end."""
    before = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - before


def modules(python: str, top: int) -> list[tuple[str, float]]:
    """The modules whose own import takes longest (medians of five runs), and the sums by package."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(5):
        run = subprocess.run(
            [python, "-X", "importtime", "-c", "import paraflow"], check=True, capture_output=True, text=True
        )
        for own, name in IMPORT_LINE.findall(run.stderr):
            found[name].append(int(own) / 1e6)
    times = sorted(((name, median(seconds)) for name, seconds in found.items()), key=lambda item: -item[1])
    print("\n" + table([[name, f"{own * 1e3:.2f}"] for name, own in times[:top]], ["module (-X importtime)", "own ms"]))
    packages: dict[str, float] = defaultdict(float)
    for name, own in times:
        root = name.partition(".")[0]
        packages[root if root in ("paraflow", "numpy") else "the rest, the standard library above all"] += own
    rows = [[name, f"{own * 1e3:.1f}"] for name, own in sorted(packages.items(), key=lambda item: -item[1])]
    print("\n" + table(rows, ["package", "own ms"]))
    return times


def launches(options: argparse.Namespace) -> dict[str, list[float]]:
    """``paraflow launch`` to the end of the first training step, by the clock of metrics.jsonl, and to its own end."""
    command = paraflow_command(options.paraflow_python)
    config = os.path.abspath(options.config)
    starts: dict[str, list[str]] = {
        f"paraflow launch -n {options.ranks}": [command, "launch", "-n", str(options.ranks), "--logs", "."],
        "paraflow run": [command, "run"],
    }
    ends: dict[str, list[float]] = defaultdict(list)
    runs = {name: partial(first_step, [*start, config], ends[name]) for name, start in starts.items()}
    values = interleave(runs, options.launches, options.patience)
    rows = [
        [name, f"{median(times):.2f}", f"{min(times):.2f}", f"{median(ends[name]):.2f}", f"{min(ends[name]):.2f}"]
        for name, times in values.items()
    ]
    header = [f"{os.path.basename(config)}, one step", "first step, median s", "best", "end, median s", "best"]
    print("\n" + table(rows, header))
    return values


def first_step(command: list[str], ends: list[float]) -> float:
    """Seconds from the start of the command to the end of the first step; those to its end go to ``ends``."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"experiment.directory={folder}/runs", "train.steps=1", "train.log_every=1"]
        before, clock = time.time(), time.perf_counter()
        run = subprocess.run(
            [*command, *overrides], cwd=folder, capture_output=True, text=True, check=False, timeout=LAUNCH_SECONDS
        )
        ends.append(time.perf_counter() - clock)
        if run.returncode:
            raise SystemExit(f"{' '.join(command)} failed: {reason(run.stdout + run.stderr)}")
        (file,) = Path(folder, "runs").glob("*/metrics.jsonl")
        records = [json.loads(line) for line in file.read_text().splitlines()]
    first = next(record for record in records if record["event"] == "train")
    end = next(record for record in records if record["event"] == "end")
    return float(end["unix_time"] - (end["time"] - first["time"]) - before)


if __name__ == "__main__":
    sys.exit(main())
