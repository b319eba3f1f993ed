"""Where the time of a training step goes: each step of the plan, timed alone.

Runs in this process, or as the ranks of ``paraflow launch -n 2 tests/benchmarks/profile_step.py``; rank 0 prints.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from typing import Any

from harness import json_option, machine, median, table, write_json

# isort: split
import mlp_data
import mlp_graph
import sample_data
import sample_graph

import paraflow as pf
from paraflow.compiler.plan import Step
from paraflow.parallel import AllReduce
from paraflow.runtime.executable import Executable


class TimingExecutor:
    """Runs a plan serially and notes the seconds of every step."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.seconds: dict[int, list[float]] = defaultdict(list)

    def execute(self, loaded: Executable) -> None:
        """Run the steps in order."""
        self.steps = loaded.steps
        clock = time.perf_counter
        for number, call in enumerate(loaded.calls):
            before = clock()
            call()
            self.seconds[number].append(clock() - before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="784-256-128-10:64", metavar="LAYERS:BATCH|sample", help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="training steps (default: %(default)s)")
    parser.add_argument("--top", type=int, default=25, help="rows of the table (default: %(default)s)")
    json_option(parser)
    options = parser.parse_args()
    strategy = AllReduce()
    fetch, feeds, values = program(options.model, strategy.comm.rank, strategy.comm.size)
    executor = TimingExecutor()
    with pf.Session(strategy=strategy) as session:
        session.run(pf.global_variables_initializer())
        train = session.make_callable(fetch, feeds)
        for _ in range(20):
            train(*values)
        before = time.perf_counter()
        for _ in range(options.steps):
            train(*values)
        whole = (time.perf_counter() - before) / options.steps
        session._executor = executor  # type: ignore[assignment]
        for _ in range(options.steps):
            train(*values)
    if strategy.comm.rank:
        return 0
    times = {number: median(seconds) for number, seconds in executor.seconds.items()}
    report(executor.steps, times, whole, options.top)
    names = [{"step": s.name, "op": s.record.name, "seconds": times[i]} for i, s in enumerate(executor.steps)]
    write_json(options.json, {"machine": machine(), "model": options.model, "whole": whole, "steps": names})
    return 0


def program(model: str, rank: int, ranks: int) -> tuple[pf.Operation, list[pf.Tensor], tuple[Any, ...]]:
    """What to run, what to feed, and with which values."""
    if model == "sample":
        x, y_, _, fetch = sample_graph.build(pf)
        start, end = sample_data.bounds(0)
        return fetch, [x, y_], (sample_data.X[start:end], sample_data.Y[start:end])
    text, _, batch = model.partition(":")
    layers = [int(size) for size in text.split("-")]
    features, labels, _, fetch = mlp_graph.build(layers)
    return fetch, [features, labels], mlp_data.shards(layers, int(batch), rank, ranks)[0]


def report(steps: list[Step], times: dict[int, float], whole: float, top: int) -> None:
    """Print the dearest steps, the sums by operation, and what lies outside the steps."""
    print(machine())
    total = sum(times.values())
    kinds: dict[str, list[float]] = defaultdict(list)
    for number, step in enumerate(steps):
        kinds[f"{step.record.name} ({step.mode})"].append(times[number])
    rows = []
    for number in sorted(times, key=lambda n: -times[n])[:top]:
        step, own = steps[number], times[number]
        rows.append([f"{step.name} ({step.record.name}, {step.mode})", f"{own * 1e6:.2f}", f"{own / total:.1%}"])
    print(table(rows, ["step", "us", "share"]))
    rows = [
        [kind, str(len(found)), f"{sum(found) * 1e6:.2f}", f"{sum(found) / total:.1%}"]
        for kind, found in sorted(kinds.items(), key=lambda item: -sum(item[1]))
    ]
    print("\n" + table(rows, ["op (mode)", "steps", "us", "share"]))
    print(f"\n{len(steps)} steps, {total * 1e6:.1f} us in them; a whole run {whole * 1e6:.1f} us")


if __name__ == "__main__":
    sys.exit(main())
