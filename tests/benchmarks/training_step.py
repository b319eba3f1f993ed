"""Time of one synchronous training step: paraflow beside PyTorch DDP, on the same model, samples and cores."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

from harness import (
    HERE,
    Side,
    SideError,
    common_options,
    comparison,
    interleave,
    machine,
    median,
    paraflow_command,
    start,
    write_json,
)

MODELS = (
    "784-256-128-10:64", "64-128-10:64", "784-1024-1024-10:128", "784-2048-2048-10:256", "784-4096-4096-10:128"
)  # fmt: skip


def main() -> int:
    options = parse()
    print(machine())
    results = [measure(layers, batch, options) for layers, batch in options.models]
    ours, peer = f"paraflow, {plural(options.ranks)}", f"PyTorch DDP, {plural(options.ranks)}"
    ratios = [median(r["seconds"][peer]) / median(r["seconds"][ours]) for r in results if peer in r["seconds"]]
    if len(ratios) > 1:
        print(f"\ngeometric mean of {len(ratios)} models: PyTorch DDP takes {geometric_mean(ratios):.2f} times as long")
    write_json(options.json, {"machine": machine(), "models": results})
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--ranks", type=int, default=2, help="ranks of both sides (default: %(default)s)")
    parser.add_argument(
        "--models",
        type=lambda text: [model(item) for item in text.split(",")],
        default=[model(MODELS[0])],
        metavar="LIST",
        help=f"LAYERS:BATCH,... (default: {MODELS[0]}; all: {','.join(MODELS)})",
    )
    parser.add_argument("--warmup", type=int, default=20, help="untimed steps in each round (default: %(default)s)")
    parser.add_argument("--bind", action=argparse.BooleanOptionalAction, default=True, help="a core for each rank")
    parser.add_argument("--scaling", action=argparse.BooleanOptionalAction, default=True, help="one rank of each too")
    parser.add_argument(
        "--weak", action="store_true", help="one rank on its part of the batch: how well a growing batch scales"
    )
    parser.add_argument("--epochs", type=int, default=0, help="time this many epochs of Fashion-MNIST on each side")
    parser.add_argument("--data", metavar="DIR", help="folder of Fashion-MNIST's files (default: as paraflow.data)")
    common_options(parser, ["torch"], rounds=10, steps=100)
    return parser.parse_args()


def model(text: str) -> tuple[list[int], int]:
    """``784-256-10:64`` as (layers, global batch)."""
    layers, _, batch = text.partition(":")
    return [int(size) for size in layers.split("-")], int(batch)


def measure(layers: list[int], batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run all sides on one model and print their table."""
    counts = [options.ranks, 1] if (options.scaling or options.weak) and options.ranks > 1 else [options.ranks]
    batches = {n: batch * n // options.ranks if options.weak else batch for n in counts}
    settings = {n: json.dumps({"layers": layers, "batch": batches[n], "bind": options.bind}) for n in counts}
    sides = [paraflow(n, settings[n], options) for n in counts]
    if "torch" in options.peers:
        sides[1:1] = [torch(options.ranks, settings[options.ranks], options)]
        sides += [torch(n, settings[n], options) for n in counts[1:]]
    print(f"\nMLP {'-'.join(map(str, layers))}, global batch {batch}, Adam, float32; "
          f"{options.rounds} rounds of {options.steps} steps, after {options.warmup} untimed ones each")
    with ExitStack() as stack:
        running, missing = start(stack, sides)
        measures = {side.name: partial(round_of, side, options) for side in running}
        values = interleave(measures, options.rounds, options.patience)
        print(comparison(values, missing, "ms/step", 1e3))
        losses = {side.name: sum(a["loss"] for a in side.order("loss")) / side.ranks for side in running}
        for side in running:
            print(f"{side.name}: {side.about}; loss on the first batch afterwards {losses[side.name]:.5f}")
        print(f"parameters and slots on the node: {copies(running[0]):.3f} times one copy")
        if options.weak:
            print_weak_scaling(values, options.ranks, batches)
        epochs = time_epochs(running, options) if options.epochs else {}
    return {"layers": layers, "batch": batch, "seconds": values, "missing": missing, "losses": losses, "epochs": epochs}


def copies(side: Side) -> float:
    """What paraflow's ranks keep of variables, what they share counted once, over the size of the variables."""
    kept = side.order("memory")
    return (kept[0]["shared"] + sum(k["own"] for k in kept)) / (kept[0]["shared"] + kept[0]["own"])


def print_weak_scaling(values: dict[str, list[float]], ranks: int, batches: dict[int, int]) -> None:
    """One rank's time for its part of the batch over that of all ranks for the whole, round by round."""
    for peer in ("paraflow", "PyTorch DDP"):
        one, all_ranks = (values.get(f"{peer}, {plural(n)}") for n in (1, ranks))
        if one and all_ranks:
            efficiency = median([a / b for a, b in zip(one, all_ranks, strict=True)])
            growth = f"from batch {batches[1]} on 1 rank to {batches[ranks]} on {ranks}"
            print(f"{peer}: weak scaling {growth}: {efficiency:.1%}")


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def paraflow(ranks: int, settings: str, options: argparse.Namespace) -> Side:
    """paraflow on ``ranks`` ranks under its own launcher."""
    launcher = [paraflow_command(options.paraflow_python), "launch", "-n", str(ranks), "--logs", "."]
    script = str(HERE / "training_step_paraflow.py")
    bind = "--bind" if options.bind else "--no-bind"
    return Side(f"paraflow, {plural(ranks)}", [*launcher, bind, script, "--settings", settings], ranks)


def torch(ranks: int, settings: str, options: argparse.Namespace) -> Side:
    """PyTorch DDP on ``ranks`` processes under torchrun."""
    python = os.path.abspath(options.torch_python)
    launcher = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    script = str(HERE / "training_step_torch.py")
    return Side(f"PyTorch DDP, {plural(ranks)}", [*launcher, script, "--settings", settings], ranks)


def plural(ranks: int) -> str:
    return f"{ranks} rank" + "s" * (ranks != 1)


def round_of(side: Side, options: argparse.Namespace) -> float:
    """The median step of a round, in seconds; a step lasts as long as its ranks take on average."""
    answers = side.order("steps", warmup=options.warmup, steps=options.steps)
    return median([sum(times) / side.ranks for times in zip(*(a["times"] for a in answers), strict=True)])


def time_epochs(running: list[Side], options: argparse.Namespace) -> dict[str, list[float]]:
    """Whole epochs of Fashion-MNIST with each side's own input pipeline, interleaved."""
    found = running[0].order("load", path=options.data)[0]
    if "error" in found:
        print(f"no epochs: {found['error']}")
        return {}
    for side in running[1:]:
        side.order("load", path=found["path"])
    measures = {side.name: partial(epoch_of, side, count()) for side in running}
    values = interleave(measures, options.epochs, options.patience)
    print(f"\nepochs of Fashion-MNIST, {found['samples']} samples, incomplete last batch left out")
    print(comparison(values, {}, "s/epoch", 1.0))
    return values


def epoch_of(side: Side, numbers: Iterator[int]) -> float:
    """The seconds of the next epoch: those of its slowest rank."""
    return max(answer["seconds"] for answer in side.order("epoch", number=next(numbers)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SideError as error:
        sys.exit(str(error))
