"""A training step with buckets of 4 MiB that MPI sums, and with what `parallel.autotune` finds on the same ranks.

Both sides train the same perceptron in turns, in one process a rank. With --megabits the ranks run on --hosts hosts,
made of namespaces of this machine (root), whose wire is throttled to that. Each try is a new session that measures and
chooses anew; the table has what it chose, what choosing took, and medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from harness import HERE, await_quiet, machine, median, paraflow_command, rounds_options, table, write_json

sys.path.insert(0, str(HERE.parent))

from hosts import run_ranks_on, start_hosts

MODELS = "784-1024-1024-10:128,784-2048-2048-10:256"


def main() -> int:
    options = parse()
    print(machine())
    found = []
    for megabits in options.megabits or [0.0]:
        with ranks_of(megabits, options) as run:
            for model in options.models.split(","):
                settings = {"model": model, "rounds": options.rounds, "steps": options.steps, "tries": options.tries}
                await_quiet(options.patience)
                found += [{"megabits": megabits, **measured} for measured in run(json.dumps(settings))]
    print(table([row(measured) for measured in found], [
        "wire Mbit/s", "model", "chosen MiB", "by", "choosing s", "4 MiB ms", "chosen ms", "ratio",
    ]))  # fmt: skip
    write_json(options.json, {"machine": machine(), "tries": found})
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wires = partial(str.split, sep=",")
    parser.add_argument("-n", "--ranks", type=int, default=2, help="ranks in all (default: %(default)s)")
    parser.add_argument("--models", default=MODELS, metavar="LAYERS:BATCH,...", help="(default: %(default)s)")
    parser.add_argument("--megabits", type=lambda text: [float(n) for n in wires(text)], metavar="LIST",
                        help="million bits a second between hosts, 0 for all it gives (default: one host)")
    parser.add_argument("--hosts", type=int, default=2, help="among which the ranks are (default: %(default)s)")
    parser.add_argument("--tries", type=int, default=3, help="how often to choose (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="in a round (default: %(default)s)")
    rounds_options(parser, rounds=8)
    return parser.parse_args()


@contextmanager
def ranks_of(megabits: float, options: argparse.Namespace) -> Iterator[Any]:
    """Runs the ranks with some settings, and returns what rank 0 has found."""
    script = HERE / "autotune_paraflow.py"
    if not options.megabits:
        with tempfile.TemporaryDirectory(prefix="autotune-") as logs:
            launch = [paraflow_command(sys.executable), "launch", "-n", str(options.ranks), "--logs", logs, str(script)]
            yield lambda text: answer(subprocess.run([*launch, text], capture_output=True, text=True, check=False))
        return
    with start_hosts(options.hosts) as hosts:
        if megabits:
            hosts.throttle(megabits)
        ranks = [len(range(host, options.ranks, options.hosts)) for host in range(options.hosts)]
        yield lambda text: answer(run_ranks_on(hosts, script, text, ranks=ranks, timeout=900))


def answer(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(measured: dict[str, Any]) -> list[str]:
    fixed, chosen = median(measured["fixed"]), median(measured["chosen"])
    ratio = median([b / a for a, b in zip(measured["fixed"], measured["chosen"], strict=True)])
    return [
        f"{measured['megabits']:g}" if measured["megabits"] else "",
        measured["model"],
        f"{measured['bucket_bytes'] / 2**20:g}",
        measured["algorithm"],
        f"{measured['seconds']:.2f}",
        f"{fixed * 1e3:.2f}",
        f"{chosen * 1e3:.2f}",
        f"{ratio:.3f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
