"""What each way of training reaches: test accuracy and loss on digits and Fashion-MNIST, and how long it took.

Every way trains the same model with the same optimizer and global batch for the same epochs by `paraflow launch`. The
difference of its accuracy from that of the first way is in percentage points.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from harness import json_option, machine, paraflow_command, table, write_json

from paraflow.experiment.metrics import read_metrics

WAYS = {
    "allreduce": ["parallel.mode=allreduce"],
    "accumulate": ["parallel.mode=allreduce", "parallel.accumulate=2"],
    "backup_workers": ["parallel.mode=backup_workers", "parallel.backup=1"],
    "asynchronous": ["parallel.mode=parameter_server"],
    "staleness_4": ["parallel.mode=parameter_server", "parallel.staleness=4"],
    "local_sgd": ["parallel.mode=local_sgd", "parallel.period=4"],
    "diloco": ["parallel.mode=local_sgd", "parallel.period=23", "parallel.outer=nesterov"],
    "easgd": ["parallel.mode=easgd", "parallel.period=10", "parallel.moving_rate=0.9"],
    "gossip_ring": ["parallel.mode=gossip", "parallel.topology=ring"],
    "gossip_random": ["parallel.mode=gossip", "parallel.topology=random"],
}
MODELS = {
    "digits": ([64, 128, 10], 64, 0.002, 30),
    "fashion_mnist": ([784, 256, 128, 10], 256, 0.001, 15),
}
CONFIG = """
[experiment]
name = "{way}"
directory = "{folder}"
seed = {seed}
[data]
name = "{data}"
batch_size = {batch}
[model]
name = "mlp"
layers = {layers}
[optimizer]
name = "adam"
learning_rate = {rate}
[train]
epochs = {epochs}
evaluate_every = 0
"""


def main() -> int:
    options = parse()
    print(machine())
    results = {}
    for data in options.data:
        layers, batch, rate, epochs = MODELS[data]
        print(
            f"\n{data}: MLP {'-'.join(map(str, layers))}, global batch {batch}, Adam {rate}, "
            f"{options.epochs or epochs} epochs, {options.ranks} ranks, seed {options.seed}"
        )
        results[data] = [measure(data, way, options) for way in options.ways]
        print(report(results[data]), flush=True)
    write_json(options.json, {"machine": machine(), "ranks": options.ranks, "results": results})
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--ranks", type=int, default=4, help="ranks, servers included (default: %(default)s)")
    names = partial(str.split, sep=",")
    parser.add_argument("--data", type=names, default=list(MODELS), help=f"default: {','.join(MODELS)}")
    parser.add_argument("--ways", type=names, default=list(WAYS), help=f"default: {','.join(WAYS)}")
    parser.add_argument("--epochs", type=int, help="instead of 30 for digits and 15 for Fashion-MNIST")
    parser.add_argument("--seed", type=int, default=1, help="of initial values and shuffling (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the configuration, for all ways")
    json_option(parser)
    return parser.parse_args()


def measure(data: str, way: str, options: argparse.Namespace) -> dict[str, Any]:
    """The end of one run."""
    layers, batch, rate, epochs = MODELS[data]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        config = Path(folder, "modes.toml")
        values = {"way": way, "folder": folder, "seed": options.seed, "data": data, "batch": batch}
        values |= {"layers": layers, "rate": rate, "epochs": options.epochs or epochs}
        config.write_text(CONFIG.format(**values))
        command = [paraflow_command(sys.executable), "launch", "-n", str(options.ranks), str(config)]
        command += [*WAYS[way], *options.overrides]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        (metrics,) = Path(folder).glob("*/metrics.jsonl")
        end = read_metrics(metrics)[-1]
    seconds = max(account["seconds"] for account in end["ranks"] if "seconds" in account)  # servers train nothing
    print(f"{data} {way}: {end['test_accuracy']:.2%} after {seconds:.1f} s", file=sys.stderr)  # long work
    return {"way": way, "accuracy": end["test_accuracy"], "loss": end["test_loss"], "seconds": seconds}


def report(rows: list[dict[str, Any]]) -> str:
    first = rows[0]["accuracy"]
    lines = [
        [
            row["way"],
            f"{row['accuracy']:.2%}",
            f"{(row['accuracy'] - first) * 100:+.2f}",
            f"{row['loss']:.4f}",
            f"{row['seconds']:.1f}",
        ]
        for row in rows
    ]
    return table(lines, ["way", "test accuracy", "points to first", "test loss", "seconds"])


if __name__ == "__main__":
    sys.exit(main())
