"""Time from gradients to updated parameters, and of a plain all-reduce, by size, beside gloo and MPI_Allreduce."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from functools import partial
from typing import Any

from harness import (
    HERE,
    Side,
    SideError,
    common_options,
    interleave,
    machine,
    median,
    paraflow_command,
    ratios,
    start,
    table,
    write_json,
)

SIZES = "1KiB,4KiB,16KiB,64KiB,256KiB,1MiB,4MiB,16MiB,64MiB,256MiB"
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}
OURS, MPI, GLOO = "paraflow", "MPI_Allreduce", "gloo"
STEPS_BYTES = 1 << 28  # of a measurement, at most: many calls in a row, as in the OSU micro-benchmarks


def main() -> int:
    options = parse()
    print(machine())
    sides = [paraflow(options)] + ([torch(options)] if "torch" in options.peers else [])
    with ExitStack() as stack:
        running, missing = start(stack, sides)
        if not running or running[0].name != OURS:
            raise SideError(f"paraflow does not start: {missing}")
        for side in running:
            print(f"{side.name}: {side.about}")
        results = [measure(text, running, options) for text in options.sizes]
    print(f"{options.ranks} ranks, microseconds, medians of {options.rounds} interleaved rounds; ratios by round")
    for what in ("exchange", "allreduce"):
        print(f"\n{what}\n{report(results, what, options.ranks)}")
    for name, why in missing.items():
        print(f"{name} not run: {why}")
    write_json(options.json, {"machine": machine(), "ranks": options.ranks, "sizes": results, "missing": missing})
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--ranks", type=int, default=2, help="ranks of both sides (default: %(default)s)")
    parser.add_argument(
        "--sizes", type=lambda text: text.split(","), default=SIZES.split(","), help=f"(default: {SIZES})"
    )
    parser.add_argument("--bind", action=argparse.BooleanOptionalAction, default=True, help="a core for each rank")
    common_options(parser, ["torch"], rounds=15, steps=100)
    return parser.parse_args()


def paraflow(options: argparse.Namespace) -> Side:
    """paraflow under its own launcher."""
    launcher = [paraflow_command(options.paraflow_python), "launch", "-n", str(options.ranks), "--logs", "."]
    bind = "--bind" if options.bind else "--no-bind"
    script = [str(HERE / "exchange_paraflow.py"), "--settings", json.dumps({"bind": options.bind})]
    return Side(OURS, [*launcher, bind, *script], options.ranks)


def torch(options: argparse.Namespace) -> Side:
    """torch.distributed under torchrun."""
    launcher = [os.path.abspath(options.torch_python), "-m", "torch.distributed.run", "--standalone"]
    script = [str(HERE / "exchange_torch.py"), "--settings", json.dumps({"bind": options.bind})]
    return Side(GLOO, [*launcher, "--nproc-per-node", str(options.ranks), *script], options.ranks)


def measure(text: str, running: list[Side], options: argparse.Namespace) -> dict[str, Any]:
    """All sides at one size, with the memory's bandwidth measured in the same rounds."""
    nbytes = int(text[:-3]) * UNITS[text[-3:]]
    for side in running:
        side.order("prepare", nbytes=nbytes)
    times = max(2, min(options.steps, STEPS_BYTES // nbytes))
    ours = running[0]
    measures = {}
    for what in ("exchange", "allreduce"):
        measures.update({f"{what} {side.name}": partial(seconds, side, what, times) for side in running})
    measures[f"allreduce {MPI}"] = partial(seconds, ours, "mpi", times)
    measures["memory"] = lambda: ours.order("memory")[0]["rate"]
    return {"bytes": nbytes, "values": interleave(measures, options.rounds, options.patience)}


def seconds(side: Side, what: str, times: int) -> float:
    """The seconds of the slowest rank."""
    return max(answer["seconds"] for answer in side.order("measure", what=what, times=times))


def report(results: list[dict[str, Any]], what: str, ranks: int) -> str:
    """A row for each size: times, how many times as long the peers take, and the share of the memory's bandwidth.

    Counted are the bytes that have to move on the node: for an exchange every gradient read once and the parameters
    read and written once, (ranks + 2) x size; for an all-reduce each buffer read and written once, 2 x ranks x size.
    """
    moved = ranks + 2 if what == "exchange" else 2 * ranks
    rows = []
    peers = [name for name in (GLOO, MPI) if f"{what} {name}" in results[0]["values"]]
    for result in results:
        values, nbytes = result["values"], result["bytes"]
        own = values[f"{what} {OURS}"]
        row = [f"{nbytes >> 10} KiB", f"{median(own) * 1e6:.1f}"]
        for peer in peers:
            theirs = values[f"{what} {peer}"]
            row += [f"{median(theirs) * 1e6:.1f}", f"{median(ratios(theirs, own)):.2f}"]
        shares = [moved * nbytes / time / rate for time, rate in zip(own, values["memory"], strict=True)]
        rows.append([*row, f"{median(values['memory']) / 1e9:.1f}", f"{median(shares):.2f}"])
    header = ["size", OURS, *(h for peer in peers for h in (peer, "x")), "memory GB/s", "share"]
    return table(rows, header)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
