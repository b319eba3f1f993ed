"""What one slow rank costs: steps per second of the healthy workers, and the final loss, in each way of training.

Every batch takes a worker ``--step-ms`` of sleep, which stands for a larger model. "always": the slow rank takes
``--factor`` times as long for all of its batches. "passing": for one tenth of them, after which it is healthy.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from harness import HERE, interleave, machine, median, paraflow_command, reason, rounds_options, table, write_json

LAUNCH_SECONDS = 300
SLOW_RANK = 1
CONFIG = """
[experiment]
name = "stragglers"
[data]
builder = "{data}:digits"
batch_size = 64
[model]
name = "mlp"
layers = [64, 10]
[optimizer]
name = "gradient_descent"
learning_rate = 0.2
[train]
steps = {steps}
evaluate_every = 0
"""
# Name -> whether one more rank serves, and the keys of [parallel].
MODES: dict[str, tuple[bool, list[str]]] = {
    "allreduce": (False, ["mode=allreduce"]),
    "backup_workers, drop": (True, ["mode=backup_workers", "late=drop"]),
    "backup_workers, add": (True, ["mode=backup_workers", "late=add"]),
    "parameter_server": (True, ["mode=parameter_server"]),
    "staleness": (True, ["mode=parameter_server"]),  # with the bound that is asked for
}
SCENARIOS = ("healthy", "always", "passing")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rounds_options(parser, rounds=3)
    parser.add_argument("--workers", type=int, default=3, help="ranks that train (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=150, help="steps of a run (default: %(default)s)")
    parser.add_argument("--step-ms", type=float, default=20.0, help="milliseconds of a batch (default: %(default)s)")
    parser.add_argument("--factor", type=float, default=4.0, help="how much slower (default: %(default)s)")
    parser.add_argument("--staleness", type=int, default=48, help="bound of the last mode (default: %(default)s)")
    parser.add_argument("--modes", type=lambda text: text.split(";"), default=list(MODES), metavar="A;B",
                        help=f"of {'; '.join(MODES)} (default: all)")
    parser.add_argument("--paraflow-python", default=sys.executable, metavar="PATH", help="interpreter (default: this)")
    options = parser.parse_args()
    if unknown := set(options.modes) - set(MODES):
        parser.error(f"unknown modes: {', '.join(sorted(unknown))}")
    print(f"{machine()}\n{options.workers} workers, {options.steps} steps of {options.step_ms:g} ms\n")
    losses: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="stragglers-") as folder:
        config = Path(folder, "stragglers.toml")
        config.write_text(CONFIG.format(data=HERE / "stragglers_data.py", steps=options.steps))
        runs = {
            f"{mode}: {scenario}": partial(run, options, config, mode, scenario, losses)
            for mode in options.modes
            for scenario in SCENARIOS
        }
        rates = interleave(runs, options.rounds, options.patience)
    print(comparison(options, rates, losses))
    write_json(options.json, {"machine": machine(), "options": vars(options), "rates": rates, "losses": losses})
    return 0


def run(
    options: argparse.Namespace, config: Path, mode: str, scenario: str, losses: dict[str, list[float]]
) -> float:
    """Steps per second of the healthy workers; the loss on the test samples goes to ``losses``."""
    serves, keys = MODES[mode]
    slow_batches = {"healthy": 0, "always": options.steps, "passing": options.steps // 10}[scenario]
    first = options.steps // 4 if scenario == "passing" else 0
    pace = {"seconds": options.step_ms / 1e3, "slow": SLOW_RANK, "factor": options.factor}
    pace |= {"first": first, "last": first + slow_batches}
    overrides = [f"parallel.{key}" for key in keys] + [f"data.options.{key}={value}" for key, value in pace.items()]
    if mode == "staleness":
        overrides.append(f"parallel.staleness={options.staleness}")
    with tempfile.TemporaryDirectory(dir=config.parent) as folder:
        command = [paraflow_command(options.paraflow_python), "launch", "-n", str(options.workers + serves)]
        done = subprocess.run(
            [*command, str(config), f"experiment.directory={folder}/runs", *overrides],
            cwd=folder, capture_output=True, text=True, check=False, timeout=LAUNCH_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{mode}, {scenario}: {reason(done.stdout + done.stderr)}")
        (file,) = Path(folder, "runs").glob("*/metrics.jsonl")
        end: dict[str, Any] = json.loads(file.read_text().splitlines()[-1])
    losses.setdefault(f"{mode}: {scenario}", []).append(end["test_loss"])
    healthy = [a for rank, a in enumerate(end["ranks"]) if a["role"] == "worker" and rank != SLOW_RANK]
    # A worker that comes to the end has gone through all steps, whether it made or skipped them.
    return sum(options.steps / account["seconds"] for account in healthy) / len(healthy)


def comparison(options: argparse.Namespace, rates: dict[str, list[float]], losses: dict[str, list[float]]) -> str:
    """A row for each mode and scenario: medians, and what they are of those of the healthy run, round by round."""
    rows = []
    for name, values in rates.items():
        mode, _, scenario = name.rpartition(": ")
        healthy, loss = f"{mode}: healthy", median(losses[name])
        share = median([a / b for a, b in zip(values, rates[healthy], strict=True)])
        shown = f"parameter_server, {mode} = {options.staleness}" if mode == "staleness" else mode
        rows.append([shown, scenario, f"{median(values):.1f}", f"{share:.0%}", f"{loss:.4f}",
                     f"{loss / median(losses[healthy]) - 1:+.1%}"])
    header = ["mode", "slow rank", "steps/s of the healthy", "of healthy", "final loss", "against healthy"]
    return table(rows, header)


if __name__ == "__main__":
    sys.exit(main())
