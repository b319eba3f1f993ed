"""Loops of small bodies in the graph, and their gradients, beside TensorFlow's graph mode, one thread each."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack

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
from loops_graph import LOOPS

PEERS = ("tensorflow",)


def main() -> int:
    options = parse()
    results = []
    with ExitStack() as stack:
        running, missing = start(stack, [side(name, options) for name in ("paraflow", *options.peers)])
        print(f"{machine()}\nms for {options.turns} turns, medians of {options.rounds} rounds of {options.calls} runs; "
              "in brackets how many times paraflow takes as long")  # fmt: skip
        rows = []
        for loop in LOOPS:
            values, sums = measure(running, loop, options)
            results.append({"loop": loop, "seconds": values, "sums": sums})
            base = next(iter(values.values()))
            cells = [f"{median(base) * 1e3:.3f}"]
            for times in list(values.values())[1:]:
                cells.append(f"{median(times) * 1e3:.3f} ({median(ratios(base, times)):.2f})")
            rows.append([loop, *cells])
            spread = max(sums.values()) / max(min(sums.values()), 1e-30) - 1
            if spread > 1e-3:
                raise SideError(f"{loop}: the sides have other results: {sums}")
        print(table(rows, ["what", *(each.name for each in running)]))
        for name, why in missing.items():
            print(f"{name}: not run: {why}")
        print("; ".join(str(each.about["version"]) for each in running))
    write_json(options.json, {"machine": machine(), "results": results, "missing": missing})
    return 0


def measure(
    running: list[Side], loop: str, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds by side and round, and the sum over each side's result."""
    sums: dict[str, float] = {}

    def once(each: Side) -> float:
        (answer,) = each.order("seconds", loop=loop, calls=options.calls)
        sums[each.name] = answer["sum"]
        return float(answer["seconds"])

    measures = {each.name: (lambda each=each: once(each)) for each in running}
    return interleave(measures, options.rounds, options.patience), sums


def side(peer: str, options: argparse.Namespace) -> Side:
    """A process that measures in the interpreter of ``peer``."""
    python = os.path.abspath(getattr(options, f"{peer}_python"))
    settings = json.dumps({"turns": options.turns, "samples": options.samples, "width": options.width})
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "OPENBLAS_NUM_THREADS": "1"}
    return Side(peer, [python, str(HERE / f"loops_{peer}.py"), "--settings", settings], environment=quiet)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    rounds_options(parser, 9)
    parser.add_argument("--turns", type=int, default=1000, help="of each loop (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=16, help="rows of the state (default: %(default)s)")
    parser.add_argument("--width", type=int, default=32, help="of a row (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=3, help="Session.runs in a round (default: %(default)s)")
    parser.add_argument("--peers", type=lambda text: chosen_peers(text, PEERS), default=list(PEERS),
                        help="tensorflow or none (default: tensorflow)")  # fmt: skip
    for name in ("paraflow", *PEERS):
        parser.add_argument(f"--{name}-python", default=sys.executable, metavar="PATH", help=f"interpreter with {name} (default: this)")  # fmt: skip # noqa: E501
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
