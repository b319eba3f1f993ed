"""A training step of an LSTM with Adam, beside TensorFlow's graph mode and PyTorch, one thread each."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from typing import Any

from harness import (
    HERE,
    Side,
    SideError,
    chosen_peers,
    interleave,
    machine,
    median,
    ratios,
    rounds_options,
    start,
    table,
    write_json,
)


def main() -> int:
    options = parse()
    sides = [side("paraflow, dynamic_rnn", "paraflow", options, True), side("static_rnn", "paraflow", options, False)]
    if "tensorflow" in options.peers:
        sides.append(side("TensorFlow, dynamic_rnn", "tensorflow", options, True))
        sides.append(side("TensorFlow, static_rnn", "tensorflow", options, False))
    if "torch" in options.peers:
        sides.append(side("PyTorch nn.LSTM", "torch", options, True))
    results = []
    with ExitStack() as stack:
        running, missing = start(stack, sides)
        print(f"{machine()}\nms, medians of {options.rounds} rounds of the best of {options.calls} steps; in brackets "
              "how many times the first takes as long")  # fmt: skip
        rows = []
        for size in options.sizes:
            values, losses = measure(running, size, options)
            results.append({"size": size, "seconds": values, "losses": losses})
            base, *others = values.values()
            cells = [f"{median(base) * 1e3:.1f}"]
            cells += [f"{median(times) * 1e3:.1f} ({median(ratios(base, times)):.2f})" for times in others]
            rows.append([f"{size[0]} x {size[1]} steps of {size[2]}, {size[3]} units", *cells])
            if max(losses.values()) > 1.01 * min(losses.values()):
                raise SideError(f"{rows[-1][0]}: the sides have other losses: {losses}")
        print(table(rows, ["LSTM", *(each.name for each in running)]))
        for name, why in missing.items():
            print(f"{name}: not run: {why}")
        print("; ".join(dict.fromkeys(str(each.about["version"]) for each in running)))
    write_json(options.json, {"machine": machine(), "results": results, "missing": missing})
    return 0


def measure(
    running: list[Side], size: list[int], options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds by side and round, and each side's loss after the same number of steps."""
    losses: dict[str, float] = {}

    def once(each: Side) -> float:
        (answer,) = each.order("seconds", size=size, calls=options.calls)
        losses[each.name] = answer["loss"]
        return float(answer["seconds"])

    measures = {each.name: (lambda each=each: once(each)) for each in running}
    return interleave(measures, options.rounds, options.patience), losses


def side(name: str, peer: str, options: argparse.Namespace, loops: bool) -> Side:
    """A process that measures in the interpreter of ``peer``."""
    python = os.path.abspath(getattr(options, f"{peer}_python"))
    return Side(name, [python, str(HERE / f"recurrent_{peer}.py"), "--settings", json.dumps({"loops": loops})])


def sizes(text: str) -> list[list[Any]]:
    """``SAMPLESxSTEPSxWIDTHxUNITS,...``."""
    return [[int(n) for n in size.split("x")] for size in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    rounds_options(parser, 5)
    parser.add_argument("--calls", type=int, default=20, help="steps in a round (default: %(default)s)")
    parser.add_argument("--sizes", type=sizes, default="64x28x28x128", help="SAMPLESxSTEPSxWIDTHxUNITS, separated by commas (default: %(default)s)")  # fmt: skip # noqa: E501
    parser.add_argument("--peers", type=lambda text: chosen_peers(text, ["tensorflow", "torch"]),
                        default=["tensorflow", "torch"], help="tensorflow, torch or none (default: both)")  # fmt: skip
    for name in ("paraflow", "tensorflow", "torch"):
        parser.add_argument(f"--{name}-python", default=sys.executable, metavar="PATH", help=f"interpreter with {name} (default: this)")  # fmt: skip # noqa: E501
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
