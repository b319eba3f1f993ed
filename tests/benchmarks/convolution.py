"""Convolutions, pooling and a training step of a small convolutional network, beside PyTorch, one thread each."""

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

PARTS = ("forward", "input gradient", "filter gradient", "pool", "pool gradient")
LAYERS = "8x28x1:5x6,8x14x6:5x16,4x28x1:5x32,2x14x32:5x64,2x32x32:3x32,4x16x64:3x64,8x8x64:3x64,8x16x64:1x64"


def main() -> int:
    options = parse()
    sides = [side("paraflow", "paraflow", options)]
    if "torch" in options.peers:
        sides += [side("PyTorch", "torch", options), side("PyTorch, channels last", "torch", options, True)]
    results = []
    with ExitStack() as stack:
        running, missing = start(stack, sides)
        print(f"{machine()}\nms, medians of {options.rounds} rounds of the best of {options.calls} calls; in brackets "
              "how many times paraflow takes as long")  # fmt: skip
        cases = [(part, layer) for layer in options.layers for part in PARTS]
        cases += [("step", [samples]) for samples in options.batches]
        rows = []
        for part, layer in cases:
            values, sums = measure(running, part, layer, options)
            results.append({"part": part, "layer": layer, "seconds": values, "sums": sums})
            base = next(iter(values.values()))
            cells = [f"{median(base) * 1e3:.3f}"]
            for times in list(values.values())[1:]:
                cells.append(f"{median(times) * 1e3:.3f} ({median(ratios(base, times)):.2f})")
            rows.append([f"{title(layer)} {part}", *cells])
            spread = max(sums.values()) / max(min(sums.values()), 1e-30) - 1
            if spread > (2e-2 if part == "step" else 1e-3):  # Adam's epsilon stands in another place in PyTorch
                raise SideError(f"{rows[-1][0]}: the sides have other results: {sums}")
        print(table(rows, ["what", *(each.name for each in running)]))
        for name, why in missing.items():
            print(f"{name}: not run: {why}")
        print("; ".join(dict.fromkeys(str(each.about["version"]) for each in running)))
    write_json(options.json, {"machine": machine(), "results": results, "missing": missing})
    return 0


def measure(
    running: list[Side], part: str, layer: list[int], options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds by side and round, and the sum over each side's result."""
    sums: dict[str, float] = {}

    def once(each: Side) -> float:
        (answer,) = each.order("seconds", what=part, layer=layer, calls=options.calls)
        sums[each.name] = answer["sum"]
        return float(answer["seconds"])

    measures = {each.name: (lambda each=each: once(each)) for each in running}
    return interleave(measures, options.rounds, options.patience), sums


def title(layer: list[int]) -> str:
    """A layer or a network for readers."""
    if len(layer) == 1:
        return f"network, batch {layer[0]},"
    n, size, channels, window, outputs = layer
    return f"{n} x {size} x {size} x {channels}, {window} x {window} to {outputs},"


def side(name: str, peer: str, options: argparse.Namespace, channels_last: bool = False) -> Side:
    """A process that measures in the interpreter of ``peer``."""
    settings = json.dumps({"channels_last": channels_last})
    python = os.path.abspath(getattr(options, f"{peer}_python"))
    return Side(name, [python, str(HERE / f"convolution_{peer}.py"), "--settings", settings])


def layers(text: str) -> list[list[Any]]:
    """``NxSIZExCHANNELS:WINDOWxOUTPUTS,...``."""
    return [[int(n) for n in layer.replace(":", "x").split("x")] for layer in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    rounds_options(parser, 7)
    parser.add_argument("--calls", type=int, default=20, help="of each part in a round (default: %(default)s)")
    parser.add_argument("--layers", type=layers, default=LAYERS, help="IMAGESxSIZExCHANNELS:WINDOWxOUTPUTS, separated by commas (default: %(default)s)")  # fmt: skip # noqa: E501
    parser.add_argument("--batches", type=layers, default="16,64", help="of the network's steps (default: %(default)s)")
    parser.add_argument("--peers", type=lambda text: chosen_peers(text, ["torch"]), default=["torch"],
                        help="torch or none (default: torch)")  # fmt: skip
    for name in ("paraflow", "torch"):
        parser.add_argument(f"--{name}-python", default=sys.executable, metavar="PATH", help=f"interpreter with {name} (default: this)")  # fmt: skip # noqa: E501
    options = parser.parse_args()
    options.batches = [n for (n,) in options.batches]
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
