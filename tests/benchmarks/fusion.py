"""Chains of elementwise operations: paraflow fused, not fused and with GELU written by hand, beside PyTorch and JAX.

One thread each. A composite that users write of primitives should take as long as the one of the library.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from typing import Any

from fusion_data import CASES, SHAPE
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
    settings = [("paraflow", True, False), ("not fused", False, False), ("by hand", True, True)]
    sides = [side(name, "paraflow", options, {"fuse": fuse, "by_hand": hand}) for name, fuse, hand in settings]
    sides += [side(name, name.lower(), options, {}) for name in ("PyTorch", "JAX") if name.lower() in options.peers]
    results = []
    with ExitStack() as stack:
        running, missing = start(stack, sides)
        if "paraflow" in missing:
            raise SideError(f"paraflow: {missing['paraflow']}")
        rows = []
        for case in CASES:
            values, sums = measure(running, case, options)
            results.append({"case": case, "seconds": values, "sums": sums})
            base = values["paraflow"]
            cells = [f"{median(t) * 1e3:.3f} ({median(ratios(t, base)):.2f})" for t in list(values.values())[1:]]
            rows.append([case, f"{median(base) * 1e3:.3f}", *cells])
            if case != "dropout chain" and max(sums.values()) > min(sums.values()) * 1.001:
                raise SideError(f"{case}: the sides have other results: {sums}")
        print(f"{machine()}\nfloat32 {SHAPE}; ms, medians of {options.rounds} rounds of the best of {options.calls} "
              "calls; in brackets how many times paraflow's time it is")  # fmt: skip
        print(table(rows, ["what", *(each.name for each in running)]))
        for name, why in missing.items():
            print(f"{name}: not run: {why}")
        print("; ".join(dict.fromkeys(str(each.about["version"]) for each in running)))
    write_json(options.json, {"machine": machine(), "shape": SHAPE, "results": results, "missing": missing})
    return 0


def measure(
    running: list[Side], case: str, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds by side and round, and the sum over the last of each side's results."""
    sums: dict[str, float] = {}

    def once(each: Side) -> float:
        (answer,) = each.order("seconds", case=case, calls=options.calls)
        sums[each.name] = answer["sum"]
        return float(answer["seconds"])

    return interleave({s.name: (lambda s=s: once(s)) for s in running}, options.rounds, options.patience), sums


def side(name: str, package: str, options: argparse.Namespace, settings: dict[str, Any]) -> Side:
    python = os.path.abspath(getattr(options, f"{package}_python"))
    return Side(name, [python, str(HERE / f"fusion_{package}.py"), "--settings", json.dumps(settings)])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    peers = ["pytorch", "jax"]
    parser.add_argument("--calls", type=int, default=5, help="calls a round, of which the best counts (default: 5)")
    parser.add_argument(
        "--peers", type=lambda text: chosen_peers(text, peers), default=peers, help="pytorch,jax or none (default: all)"
    )
    for name in ("paraflow", *peers):
        parser.add_argument(f"--{name}-python", default=sys.executable, metavar="PATH", help=f"interpreter with {name}")
    rounds_options(parser, rounds=8)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
