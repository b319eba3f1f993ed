"""What `paraflow simulate` predicts for a step, against what a real run takes: ranks of this machine, or of two hosts.

Each round predicts and runs every case once, the two right after each other, with one BLAS thread a rank. With
--megabits the ranks run on two hosts, made of namespaces of this machine (root), whose wire is throttled to that; it is
measured by messages between them. What the kernel's token bucket holds, 20 KiB, passes unhindered, so that models whose
messages are shorter take less than the wire would let them there. The table gives medians of the rounds, and by which
factor the rounds lie apart: a prediction cannot be better than real runs agree. Its error is the median of the rounds'
errors, since guests of the same hardware slow cores down by half for a while, and then mostly both. On one host a
prediction or a run beside which other programs took more of the cores than --disturbed is made again, twice at most,
and the least disturbed counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from harness import (
    HERE,
    await_quiet,
    machine,
    median,
    paraflow_command,
    processor_time,
    rounds_options,
    table,
    write_json,
)

from paraflow.experiment.metrics import read_metrics
from paraflow.simulate.trial import step_seconds

sys.path.insert(0, str(HERE.parent))

from hosts import run_ranks_on, start_hosts

MODES = {
    "allreduce": [],
    "batch_norm": ["model.normalization=synchronized_batch"],
    "backup_workers": ["parallel.mode=backup_workers"],
    "backup_add": ["parallel.mode=backup_workers", "parallel.late=add"],
    "parameter_server": ["parallel.mode=parameter_server"],
    "local_sgd": ["parallel.mode=local_sgd"],
    "easgd": ["parallel.mode=easgd"],
    "gossip": ["parallel.mode=gossip"],
    "topk": ["parallel.compress=topk"],
}
FEWEST = {"backup_workers": 3, "backup_add": 3, "parameter_server": 2}  # ranks: one serves, and one worker is a backup
TRIES = 3
WINDOWS = 10  # of a run's steps, each timed by itself; the first has the start of the run in it
PERIODS = {"local_sgd": 10, "easgd": 10}  # steps between averagings: windows have whole ones
CONFIG = """
[experiment]
name = "check"
[data]
name = "{data}"
batch_size = {batch}
last = "drop"
[model]
name = "mlp"
layers = {layers}
[optimizer]
name = "adam"
learning_rate = 0.001
[train]
steps = {steps}
evaluate_every = 0
log_every = {window}
"""


def main() -> int:
    options = parse()
    print(machine())
    os.environ |= {"OMP_NUM_THREADS": "1"}
    named = product(options.models, options.modes, options.ranks)
    cases = [(model, mode, n) for model, mode, n in named if n >= FEWEST.get(mode, 1)]
    found: dict[str, list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="check-")))
        hosts = None
        if options.megabits:
            hosts = stack.enter_context(start_hosts(2))
            hosts.throttle(options.megabits)
        for number, (model, mode, n) in enumerate(cases * options.rounds, 1):
            prediction = undisturbed(partial(predicted, folder, model, mode, n, hosts), options)
            real = undisturbed(partial(measured, folder, model, mode, n, options, hosts), options)
            name = f"{model} {mode} {n}"
            found.setdefault(name, []).append((prediction, real))
            times = f"predicted {prediction * 1e3:.3f} ms, measured {real * 1e3:.3f} ms, {prediction / real - 1:+.0%}"
            print(f"{number}/{len(cases) * options.rounds} {name}: {times}", file=sys.stderr, flush=True)
    rows = []
    for name, pairs in found.items():
        sides_seconds = [[pair[i] for pair in pairs] for i in (0, 1)]
        prediction, real = map(median, sides_seconds)
        spreads = [f"{max(seconds) / min(seconds):.2f}" for seconds in sides_seconds]
        error = median([one / other for one, other in pairs]) - 1
        cells = f"{prediction * 1e3:.3f}", spreads[0], f"{real * 1e3:.3f}", spreads[1], f"{error:+.0%}"
        rows.append([*name.split(), *cells])
    print(table(rows, ["model", "mode", "ranks", "predicted ms", "spread", "measured ms", "spread", "error"]))
    write_json(options.json, {"machine": machine(), "seconds": found})
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = partial(str.split, sep=",")
    parser.add_argument("--ranks", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 3, 4, 8],
                        help="numbers of ranks (default: 1,2,3,4,8)")
    parser.add_argument("--models", type=names, default=["64-128-10:64", "784-1024-1024-10:128"],
                        metavar="LAYERS:BATCH,...", help="64-...: digits, else Fashion-MNIST (default: one of each)")
    parser.add_argument("--modes", type=names, default=["allreduce"], help=f"of {','.join(MODES)} (default: allreduce)")
    parser.add_argument("--seconds", type=float, default=3, help="of a run, about (default: %(default)s)")
    parser.add_argument("--megabits", type=float, help="million bits a second between two hosts (default: one host)")
    parser.add_argument("--disturbed", type=float, default=0.03, metavar="SHARE",
                        help="of the cores' time, that other programs may take beside a run (default: %(default)s)")
    rounds_options(parser, rounds=3)
    return parser.parse_args()


def undisturbed(side: Callable[[], float], options: argparse.Namespace) -> float:
    """What ``side`` returns: of at most three tries the one beside which other programs took least."""
    if options.megabits:  # what runs on the hosts are not children of this process
        await_quiet(options.patience)
        return side()
    tries: list[tuple[float, float]] = []
    while not tries or (len(tries) < TRIES and min(tries)[0] > options.disturbed):
        await_quiet(options.patience)
        began, before = time.monotonic(), foreign_seconds()
        seconds = side()
        share = (foreign_seconds() - before) / (time.monotonic() - began) / (os.cpu_count() or 1)
        tries.append((share, seconds))
    return min(tries)[1]


def foreign_seconds() -> float:
    """What all programs but this one and its children have had of the cores."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(each.ru_utime + each.ru_stime for each in used)
    return processor_time()[0] / os.sysconf("SC_CLK_TCK") - own


def command(*arguments: str) -> str:
    """The output of a command of paraflow."""
    done = subprocess.run([paraflow_command(sys.executable), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def config(folder: Path, model: str, window: int) -> Path:
    layers, _, batch = model.partition(":")
    data = "digits" if layers.startswith("64-") else "fashion_mnist"
    path = folder / "check.toml"
    values = {"data": data, "batch": batch, "layers": f"[{layers.replace('-', ', ')}]", "steps": WINDOWS * window}
    path.write_text(CONFIG.format(window=window, **values))
    return path


LAST: dict[str, float] = {}  # predictions by case, from which the length of a run is chosen


def predicted(folder: Path, model: str, mode: str, n: int, hosts: Any) -> float:
    """Seconds of a step, by `paraflow simulate`."""
    machine = []
    if hosts is not None:
        done = run_ranks_on(hosts, HERE / "simulate_link.py", ranks=(1, 1))
        link = json.loads(done.stdout.splitlines()[-1])
        machine = ["--nodes", "2", "--cores", "1", "--link", f"{link['latency']:.9f}s,{link['bandwidth']:.0f}B/s"]
    text = command("simulate", str(config(folder, model, 1)), "--ranks", str(n), *machine, "--json", *MODES[mode])
    LAST[f"{model} {mode} {n}"] = json.loads(text)["predictions"][-1]["step_seconds"]
    return LAST[f"{model} {mode} {n}"]


def measured(folder: Path, model: str, mode: str, n: int, options: argparse.Namespace, hosts: Any) -> float:
    """Seconds of a step, as the first rank counts them: the median of the run's windows."""
    steps, period = options.seconds / LAST[f"{model} {mode} {n}"] / WINDOWS, PERIODS.get(mode, 1)
    path = config(folder, model, -(-max(5, int(steps)) // period) * period)
    with tempfile.TemporaryDirectory(dir=folder) as runs:
        keys = [f"experiment.directory={runs}", *MODES[mode]]
        if hosts is None:
            command("launch", "-n", str(n), "--logs", f"{runs}/logs", str(path), *keys)
        else:
            half = n // 2
            done = run_ranks_on(hosts, "paraflow_launch.rank", str(path), *keys, ranks=(n - half, half), timeout=300)
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
        (file,) = Path(runs).glob("check-*/metrics.jsonl")
        return step_seconds(read_metrics(file))


if __name__ == "__main__":
    sys.exit(main())
