"""A training step of a large embedding: rows exchanged and updated, against the whole gradient.

    paraflow launch -n 2 tests/benchmarks/embedding.py
    paraflow launch -n 2 tests/benchmarks/embedding.py --mode parameter_server

Each worker looks up its own random ids. Both sides train the same table in turns; the dense side makes a tensor of its
gradient before the exchange. Bytes are those of gradients that a rank makes and the others read, per step; through a
server, which is the last rank, those that a worker pushes and pulls.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from harness import json_option, machine, median, table, write_json

import paraflow as pf

MODES = {"allreduce": pf.parallel.AllReduce, "parameter_server": pf.parallel.ParameterServer}


class Training:
    """One side of a round: a session of its own on a table of its own."""

    def __init__(self, dense: bool, options: argparse.Namespace, start: Any, comm: pf.comm.Communicator) -> None:
        self.strategy = MODES[options.mode](comm)
        with pf.Graph().as_default():
            self.ids = pf.placeholder(pf.int32, (None,))
            self.weights = pf.Variable(start, name="table")
            loss = pf.reduce_mean(pf.square(pf.nn.embedding_lookup(self.weights, self.ids)))
            optimizer = getattr(pf.train, options.optimizer)(0.1)
            (gradient,) = pf.gradients(loss, [self.weights])
            gradient = pf.convert_to_tensor(gradient) if dense else gradient
            self.step = optimizer.apply_gradients([(gradient, self.weights)])
            self.session = pf.Session(strategy=self.strategy)
            self.session.run(pf.global_variables_initializer())

    def run(self, batches: list[Any]) -> tuple[float, Any]:
        """Train, and close the session: (milliseconds of a step but the first, which makes the plan; the table)."""
        taken = 0.0
        if self.strategy.is_server:
            self.strategy.serve(self.session, self.step)
        else:
            self.session.run(self.step, {self.ids: batches[0]})
            start = time.perf_counter()
            for ids in batches[1:]:
                self.session.run(self.step, {self.ids: ids})
            taken = (time.perf_counter() - start) / (len(batches) - 1) * 1e3
        self.strategy.finish(self.session)
        value = self.session.run(self.weights)
        self.session.close()
        return taken, value


def main() -> None:
    options = parse()
    comm = pf.comm.world()
    if options.mode == "parameter_server" and comm.size == 1:
        raise SystemExit("a server needs a worker: start it by paraflow launch -n 2")
    start = np.random.default_rng(1).normal(size=(options.rows, options.width)).astype(np.float32)
    rng = np.random.default_rng([2, comm.rank])
    times: dict[str, list[float]] = {"rows": [], "dense": []}
    moved: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        batches = [rng.integers(0, options.rows, options.ids) for _ in range(options.steps + 1)]
        values = []
        for name in times:
            side = Training(name == "dense", options, start, comm)
            comm.barrier()
            taken, value = side.run(batches)
            values.append(value)
            times[name].append(max(comm.allgather(taken)))
            moved[name] = traffic(name, side.strategy, batches, options)
    difference = float(np.abs(values[0] - values[1]).max())
    if comm.rank == 0:
        told = ["MB pushed", "MB pulled"] if options.mode == "parameter_server" else ["MB a rank"]
        rows = [[n, f"{median(times[n]):.3f}", f"{min(times[n]):.3f}", *(f"{b / 1e6:.3f}" for b in moved[n])]
                for n in times]  # fmt: skip
        print(f"{machine()}\n{comm.size} ranks, {options.mode}, {options.rows} x {options.width} float32, "
              f"{options.ids} ids a rank, {options.optimizer}; tables differ by {difference:.1e}")  # fmt: skip
        print(table(rows, ["gradient", "ms a step", "best", *told]))
        ratio = median([d / r for d, r in zip(times["dense"], times["rows"], strict=True)])
        bytes_of = {name: sum(nbytes) for name, nbytes in moved.items()}
        print(f"rows are {ratio:.1f} times faster and {bytes_of['dense'] / bytes_of['rows']:.0f} times fewer bytes")
        write_json(options.json, {"ranks": comm.size, "ms": times, "bytes": bytes_of, "difference": difference})


def traffic(name: str, strategy: Any, batches: list[Any], options: argparse.Namespace) -> list[float]:
    """The bytes that this rank has moved per step."""
    if options.mode == "parameter_server":
        return [strategy.pushed_bytes / len(batches), strategy.pulled_bytes / len(batches)]
    row = options.width * 4
    return [median([len(np.unique(ids)) for ids in batches]) * (row + 4) if name == "rows" else options.rows * row]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=list(MODES), default="allreduce", help="default: %(default)s")
    parser.add_argument("--rows", type=int, default=200_000, help="of the table (default: %(default)s)")
    parser.add_argument("--width", type=int, default=64, help="of a row (default: %(default)s)")
    parser.add_argument("--ids", type=int, default=256, help="that each rank looks up in a step (default: %(default)s)")
    parser.add_argument("--optimizer", default="AdagradOptimizer", help="of paraflow.train (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    json_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
