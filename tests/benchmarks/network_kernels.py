"""Operations of convolutional networks and their gradients, in both data formats, beside PyTorch, one thread each."""

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
from network_kernels_data import CASES, PARTS, title

# Sums over large arrays in float32 differ in the last digits with their order.
CLOSE = 1e-3


def main() -> int:
    options = parse()
    sides = [side(f"{name}, {f}", peer, options, f) for name, peer, f in SIDES if peer in ("paraflow", *options.peers)]
    results = []
    with ExitStack() as stack:
        running, missing = start(stack, sides)
        rows = []
        for number, part in [(i, part) for i in options.cases for part in PARTS]:
            values, sums = measure(running, number, part, options)
            results.append({"case": title(CASES[number]), "part": part, "seconds": values, "sums": sums})
            if max(sums.values()) > min(sums.values()) * (1 + CLOSE):
                raise SideError(f"{title(CASES[number])}, {part}: the sides have other results: {sums}")
            base = next(iter(values.values()))
            cells = [f"{median(times) * 1e3:.3f} ({median(ratios(base, times)):.2f})" for times in values.values()]
            rows.append([f"{title(CASES[number])} {part}", *cells])
        print(f"{machine()}\nfloat32; ms, medians of {options.rounds} rounds of the best of {options.calls} calls; in "
              f"brackets how many times {running[0].name} takes as long")  # fmt: skip
        print(table(rows, ["what", *(each.name for each in running)]))
        for name, why in missing.items():
            print(f"{name}: not run: {why}")
        print("; ".join(dict.fromkeys(str(each.about["version"]) for each in running)))
    write_json(options.json, {"machine": machine(), "results": results, "missing": missing})
    return 0


SIDES = [
    ("paraflow", "paraflow", "NHWC"),
    ("paraflow", "paraflow", "NCHW"),
    ("PyTorch", "torch", "NHWC"),
    ("PyTorch", "torch", "NCHW"),
]


def measure(
    running: list[Side], number: int, part: str, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds by side and round, and the sum over each side's results."""
    sums: dict[str, float] = {}

    def once(each: Side) -> float:
        (answer,) = each.order("seconds", number=number, part=part, calls=options.calls)
        sums[each.name] = answer["sum"]
        return float(answer["seconds"])

    return interleave({s.name: (lambda s=s: once(s)) for s in running}, options.rounds, options.patience), sums


def side(name: str, peer: str, options: argparse.Namespace, data_format: str) -> Side:
    """A process that measures in the interpreter of ``peer``."""
    python = os.path.abspath(getattr(options, f"{peer}_python"))
    settings = json.dumps({"data_format": data_format, "share": options.share})
    return Side(name, [python, str(HERE / f"network_kernels_{peer}.py"), "--settings", settings])


def numbers(text: str) -> list[int]:
    """The cases whose titles have one of the words of a comma-separated list."""
    found = [i for i, case in enumerate(CASES) if any(word in title(case) for word in text.split(","))]
    if not found:
        raise argparse.ArgumentTypeError(f"none of {', '.join(map(title, CASES))} has {text!r}")
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    rounds_options(parser, 7)
    parser.add_argument("--calls", type=int, default=20, help="of each part in a round (default: %(default)s)")
    parser.add_argument("--cases", type=numbers, default=list(range(len(CASES))), metavar="WORDS",
                        help="those in whose titles one of these words is, separated by commas (default: all)")  # fmt: skip # noqa: E501
    parser.add_argument("--share", type=int, default=1, metavar="N",
                        help="one image or row of N of each batch (default: %(default)s)")  # fmt: skip
    parser.add_argument("--peers", type=lambda text: chosen_peers(text, ["torch"]), default=["torch"],
                        help="torch or none (default: torch)")  # fmt: skip
    for name in ("paraflow", "torch"):
        parser.add_argument(f"--{name}-python", default=sys.executable, metavar="PATH", help=f"interpreter with {name} (default: this)")  # fmt: skip # noqa: E501
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
