"""Time of one training step of the sample program (two matrix products, Adam, batches of 8): what a call costs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from functools import partial

from harness import (
    HERE,
    Side,
    SideError,
    common_options,
    comparison,
    interleave,
    machine,
    start,
    write_json,
)

PEERS = ("tensorflow", "torch", "jax")
WARM_UP = 1001  # steps, after which all sides must have come to the loss that the program prints second


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    common_options(parser, PEERS, rounds=10, steps=1000)
    options = parser.parse_args()
    sides = [side("paraflow, run", "paraflow", options), side("paraflow, make_callable", "paraflow", options, True)]
    sides += [side(name, name, options) for name in options.peers]
    with ExitStack() as stack:
        running, missing = start(stack, sides)
        print(f"{machine()}\nsample program, {options.rounds} rounds of {options.steps} steps")
        for each in running:
            each.order("steps", steps=WARM_UP)
        losses = {each.name: each.order("loss")[0]["loss"] for each in running}
        measures = {each.name: partial(seconds, each, options.steps) for each in running}
        values = interleave(measures, options.rounds, options.patience)
        print(comparison(values, missing, "us/step", 1e6))
        for each in running:
            print(f"{each.name}: {each.about['version']}; cross entropy after {WARM_UP} steps {losses[each.name]:g}")
    write_json(options.json, {"machine": machine(), "seconds": values, "missing": missing, "losses": losses})
    return 0


def seconds(side: Side, steps: int) -> float:
    """Seconds a step."""
    (answer,) = side.order("steps", steps=steps)
    return float(answer["seconds"])


def side(name: str, peer: str, options: argparse.Namespace, make_callable: bool = False) -> Side:
    """A process that runs the sample program in the interpreter of ``peer``."""
    python = os.path.abspath(getattr(options, f"{peer}_python"))
    script = str(HERE / f"sample_program_{peer}.py")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    settings = json.dumps({"callable": make_callable})
    return Side(name, [python, script, "--settings", settings], environment=quiet)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
