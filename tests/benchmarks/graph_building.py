"""What a large graph costs before its first step: building it, its gradients, planning, the first run."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from functools import partial
from typing import Any

from graph_building_shapes import SHAPES
from harness import (
    HERE,
    Side,
    SideError,
    chosen_peers,
    interleave,
    machine,
    median,
    rounds_options,
    start,
    table,
    write_json,
)

PARTS = ("build", "gradients", "initialize", "plan", "first run", "second run")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    rounds_options(parser, rounds=3)
    parser.add_argument("--operations", type=int, default=10_000, help="of a graph, about (default: %(default)s)")
    parser.add_argument(
        "--shapes",
        type=lambda text: chosen_peers(text, tuple(SHAPES)),
        default=list(SHAPES),
        help="chain (no variable), wide (many variables side by side), deep (many layers, Adam) (default: all)",
    )
    parser.add_argument(
        "--peers", type=lambda text: chosen_peers(text, ("tensorflow",)), default=["tensorflow"],
        help="tensorflow, or none (default: tensorflow)",
    )  # fmt: skip
    for name in ("paraflow", "tensorflow"):
        parser.add_argument(
            f"--{name}-python", default=sys.executable, metavar="PATH", help=f"interpreter with {name} (default: this)"
        )
    options = parser.parse_args()
    print(machine())
    with ExitStack() as stack:
        running, missing = start(stack, [side(name, options) for name in ("paraflow", *options.peers)])
        found = {shape: measure(shape, running, options) for shape in options.shapes}
        for name, reason in missing.items():
            print(f"{name}: not run: {reason}")
        for each in running:
            print(f"{each.name}: {each.about['version']}")
    write_json(options.json, {"machine": machine(), "shapes": found, "missing": missing})
    return 0


def measure(shape: str, sides: list[Side], options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """What each side says of one shape, round by round; printed as medians."""
    answers: dict[str, list[dict[str, Any]]] = {each.name: [] for each in sides}

    def once(each: Side) -> float:
        (answer,) = each.order("build", shape=shape, operations=options.operations)
        answers[each.name].append(answer)
        return float(answer["first run"])

    interleave({each.name: partial(once, each) for each in sides}, options.rounds, options.patience)
    rows = []
    for name, rounds in answers.items():
        seconds = [median([r[part] for r in rounds]) if part in rounds[0] else None for part in PARTS]
        counts = [str(rounds[0][key]) for key in ("operations before gradients", "operations")]
        rows.append([name, *counts, *("" if s is None else f"{s:.3f}" for s in seconds)])
    print(f"\n{shape}, median seconds of {options.rounds} rounds")
    print(table(rows, ["side", "operations", "with gradients", *PARTS]))
    return answers


def side(name: str, options: argparse.Namespace) -> Side:
    """A process that builds graphs in the interpreter of ``name``."""
    python = os.path.abspath(getattr(options, f"{name}_python"))
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return Side(name, [python, str(HERE / f"graph_building_{name}.py")], environment=quiet)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
