"""Peak memory of training steps above what the imports take: paraflow beside PyTorch and JAX, one thread each."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from harness import HERE, Side, SideError, chosen_peers, json_option, machine, reason, table, write_json
from memory_data import MODELS, STEPS

MIB = 1 << 20


def main() -> int:
    options = parse()
    packages = ["paraflow", *options.peers]
    found: list[dict[str, Any]] = []
    for model in MODELS:
        for package in packages:
            found.append({"model": model, "side": package, **measure(package, model, options)})
    rows = [
        [f"{each['model']}, {each['side']}", *(f"{each[k] / MIB:.1f}" if k in each else "" for k in KEYS)]
        for each in found
    ]
    print(f"{machine()}\nMiB at most during {STEPS} steps of Adam, above the process after its imports")
    print(table(rows, ["model and side", "peak", "arena", "variables and slots"]))
    for each in found:
        if "missing" in each:
            print(f"{each['model']}, {each['side']}: not run: {each['missing']}")
    for model in MODELS:
        losses = [each["loss"] for each in found if each["model"] == model and "loss" in each]
        if max(losses) - min(losses) > 1e-2 * max(losses):
            raise SideError(f"{model}: the sides have other losses: {losses}")
    write_json(options.json, {"machine": machine(), "results": found})
    return 0


KEYS = ("bytes", "arena", "variables")


def measure(package: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a fresh process of one side says, or why it does not run; paraflow has to."""
    python = os.path.abspath(getattr(options, f"{package}_python"))
    side = Side(package, [python, str(HERE / f"memory_{package}.py"), "--settings", json.dumps({"model": model})])
    try:
        with side.running():
            (answer,) = side.order("train")
            return {"version": side.about["version"], **answer}
    except SideError as error:
        if package == "paraflow":
            raise
        return {"missing": reason(str(error))}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    peers = ["pytorch", "jax"]
    parser.add_argument(
        "--peers", type=lambda text: chosen_peers(text, peers), default=peers, help="pytorch,jax or none (default: all)"
    )
    for name in ("paraflow", *peers):
        parser.add_argument(f"--{name}-python", default=sys.executable, metavar="PATH", help=f"interpreter with {name}")
    json_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
