"""What each compression of gradients sends, what it costs in time and in loss, and what it saves on a slow wire.

Each method trains the same model from the same initial values by `paraflow launch`. The wire is modelled: a message
takes ``--latency`` and its bytes by ``--bandwidth`` (the alpha-beta model: Hockney, Parallel Computing 1994). A step on
that wire is computation (the least that any of the runs took), compression (measured apart), and what the method sends.
With --throttled the ranks run on two hosts, made of namespaces of this machine (root), whose wire the kernel throttles
to --bandwidth: what a step takes "here" is then measured on such a wire.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from harness import HERE, json_option, machine, median, paraflow_command, table, write_json

sys.path.insert(0, str(HERE.parent))

from hosts import run_ranks_on, start_hosts

from paraflow.experiment.compressors import make_compressor
from paraflow.experiment.metrics import read_metrics
from paraflow.experiment.schema import Parallel

METHODS = ("none", "fp16", "bf16", "topk", "randomk", "powersgd", "onebit")
# Messages that a rank sends one after the other, in multiples of the ranks - 1.
ROUNDS = {"none": 2, "fp16": 2, "bf16": 2, "topk": 1, "randomk": 2, "powersgd": 4, "onebit": 1}
MODELS = {
    "digits": ("digits", [64, 128, 10], 64, 0.5, 30),
    "fashion_mnist": ("fashion_mnist", [784, 256, 128, 10], 256, 0.2, 15),
}
REPEATS = 7
Start = Callable[..., subprocess.CompletedProcess[str]]


def main() -> int:
    options = parse()
    print(machine())
    results = {}
    with ranks_of(options) as start:
        for name in options.data:
            results[name] = [measure(name, method, options, start) for method in options.methods]
            print(f"\n{title(name, options)}\n{report(results[name])}", flush=True)
    write_json(options.json, {"machine": machine(), "results": results})
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--ranks", type=int, default=2, help="ranks (default: %(default)s)")
    names = partial(str.split, sep=",")
    parser.add_argument("--data", type=names, default=list(MODELS), help=f"default: {','.join(MODELS)}")
    parser.add_argument("--methods", type=names, default=list(METHODS), help=f"default: {','.join(METHODS)}")
    parser.add_argument("--epochs", type=int, help="instead of 30 for digits and 15 for Fashion-MNIST")
    parser.add_argument("--bandwidth", type=float, default=100, help="of the wire, in Mbit/s (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=100, help="of the wire, in µs (default: %(default)s)")
    parser.add_argument("--throttled", action="store_true", help="run the ranks on two hosts with such a wire")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the configuration, for all methods")
    json_option(parser)
    return parser.parse_args()


@contextmanager
def ranks_of(options: argparse.Namespace) -> Iterator[Start]:
    """What runs a configuration in a folder, with overrides, on all ranks."""
    if not options.throttled:
        command = [paraflow_command(sys.executable), "launch", "-n", str(options.ranks)]
        yield lambda folder, *arguments: subprocess.run(
            [*command, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        return
    with start_hosts(2) as hosts:
        hosts.throttle(options.bandwidth)
        half = options.ranks // 2
        ranks = options.ranks - half, half
        yield lambda _, *arguments: run_ranks_on(hosts, "paraflow_launch.rank", *arguments, ranks=ranks, timeout=900)


def title(name: str, options: argparse.Namespace) -> str:
    _, layers, batch, rate, epochs = MODELS[name]
    return (
        f"{name}: MLP {'-'.join(map(str, layers))}, global batch {batch}, gradient descent {rate}, "
        f"{options.epochs or epochs} epochs, {options.ranks} ranks; wire of {options.bandwidth:g} Mbit/s, "
        f"{options.latency:g} µs {' '.join(options.overrides)}"
    )


def measure(name: str, method: str, options: argparse.Namespace, start: Start) -> dict[str, Any]:
    """Bytes and times of a step, and the losses of the last epoch and of the test, by one run."""
    data, layers, batch, rate, epochs = MODELS[name]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        config = Path(folder, "compression.toml")
        config.write_text(
            f'[experiment]\nname = "{method}"\ndirectory = "{folder}"\n[data]\nname = "{data}"\nbatch_size = {batch}\n'
            f'last = "drop"\n[model]\nname = "mlp"\nlayers = {layers}\n'
            f'[optimizer]\nname = "gradient_descent"\nlearning_rate = {rate}\n'
            f'[train]\nepochs = {options.epochs or epochs}\nevaluate_every = 0\nlog_every = 1\n'
            f'[parallel]\ncompress = "{method}"\n'
        )
        done = start(folder, str(config), *options.overrides)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        (metrics,) = Path(folder).glob("*/metrics.jsonl")
        records = read_metrics(metrics)
    training = [record for record in records if record["event"] == "train"]
    end, steps = records[-1], len(training)
    per_epoch = steps // (options.epochs or epochs)
    accounts = end["ranks"]
    plain = sum(4 * a * b + 4 * b for a, b in pairwise(layers))
    sent = 2 * (options.ranks - 1) * plain // options.ranks
    if method != "none":
        sent = max(account["gradient_bytes"] for account in accounts) / steps
    compute = median([a["seconds"] - a["communication_seconds"] for a in accounts]) / steps
    packing = 0.0 if method == "none" else compression_seconds(method, layers, options)
    wire = (options.ranks - 1) * ROUNDS[method] * options.latency * 1e-6 + sent * 8 / (options.bandwidth * 1e6)
    return {
        "method": method,
        "bytes": sent,
        "loss": float(np.mean([record["loss"] for record in training[-per_epoch:]])),
        "test_loss": end["test_loss"],
        "test_accuracy": end["test_accuracy"],
        "measured_seconds": max(account["seconds"] for account in accounts) / steps,
        "compute_seconds": compute,
        "compression_seconds": packing,
        "wire_seconds": wire,
    }


def compression_seconds(method: str, layers: list[int], options: argparse.Namespace) -> float:
    """What one rank takes for its own message and for those of all ranks; the best of some repeats."""
    compressor = make_compressor(Parallel(compress=method))  # type: ignore[arg-type]
    assert compressor is not None
    rng = np.random.default_rng(0)
    gradients = {str(shape): rng.normal(size=shape).astype(np.float32) for shape in pairwise(layers)}
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        for name, gradient in gradients.items():
            payload, out = compressor.encode(name, gradient), np.zeros_like(gradient)
            for _ in range(options.ranks):
                compressor.decode(payload, out, 0.5)
        best = min(best, time.perf_counter() - began)
    return best


def report(rows: list[dict[str, Any]]) -> str:
    base = rows[0]
    compute = min(row["compute_seconds"] for row in rows)
    steps = [compute + row["compression_seconds"] + row["wire_seconds"] for row in rows]
    lines = [
        [
            row["method"],
            f"{row['bytes']:.0f}",
            f"{base['bytes'] / row['bytes']:.1f}",
            f"{row['loss']:.4f}",
            f"{row['loss'] / base['loss'] - 1:+.1%}",
            f"{row['test_loss']:.4f}",
            f"{row['test_accuracy']:.2%}",
            f"{row['measured_seconds'] * 1e3:.2f}",
            f"{base['measured_seconds'] / row['measured_seconds']:.1f}",
            f"{row['compression_seconds'] * 1e3:.2f}",
            f"{row['wire_seconds'] * 1e3:.2f}",
            f"{steps[0] / step:.1f}",
        ]
        for row, step in zip(rows, steps, strict=True)
    ]
    header = ["method", "bytes a step", "x fewer", "loss", "to first", "test loss", "accuracy", "ms a step here",
              "x faster", "ms compress", "ms on the wire", "x faster there"]
    return table(lines, header)


if __name__ == "__main__":
    sys.exit(main())
