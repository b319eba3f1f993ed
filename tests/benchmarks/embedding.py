"""A training step of a large embedding: rows exchanged and updated, against the whole gradient.

    paraflow launch -n 2 tests/benchmarks/embedding.py

Each rank looks up its own random ids. Both sides train the same table in turns; the dense side makes a tensor of its
gradient before the exchange. Bytes are those of gradients that a rank makes and the others read, per step.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from harness import json_option, machine, median, table, write_json

import paraflow as pf


class Training:
    """One side: a session of its own on a table of its own."""

    def __init__(self, dense: bool, options: argparse.Namespace, strategy: pf.parallel.AllReduce) -> None:
        with pf.Graph().as_default():
            self.ids = pf.placeholder(pf.int32, (None,))
            start = np.random.default_rng(1).normal(size=(options.rows, options.width)).astype(np.float32)
            weights = pf.Variable(start, name="table")
            loss = pf.reduce_mean(pf.square(pf.nn.embedding_lookup(weights, self.ids)))
            optimizer = getattr(pf.train, options.optimizer)(0.1)
            (gradient,) = pf.gradients(loss, [weights])
            self.step = optimizer.apply_gradients([(pf.convert_to_tensor(gradient) if dense else gradient, weights)])
            self.session = pf.Session(strategy=strategy)
            self.session.run(pf.global_variables_initializer())
            self.weights = weights

    def time(self, batches: list[Any]) -> float:
        """Milliseconds of a step."""
        start = time.perf_counter()
        for ids in batches:
            self.session.run(self.step, {self.ids: ids})
        return (time.perf_counter() - start) / len(batches) * 1e3


def main() -> None:
    options = parse()
    comm = pf.comm.world()
    sides = {"rows": Training(False, options, pf.parallel.AllReduce(comm)),
             "dense": Training(True, options, pf.parallel.AllReduce(comm))}  # fmt: skip
    rng = np.random.default_rng([2, comm.rank])
    times: dict[str, list[float]] = {name: [] for name in sides}
    unique: list[int] = []
    for number in range(options.rounds + 1):
        batches = [rng.integers(0, options.rows, options.ids) for _ in range(options.steps)]
        unique += [len(np.unique(ids)) for ids in batches]
        for name, side in sides.items():
            comm.barrier()
            taken = side.time(batches)
            if number:  # the first round makes the plans
                times[name].append(max(comm.allgather(taken)))
    values = [side.session.run(side.weights) for side in sides.values()]
    difference = float(np.abs(values[0] - values[1]).max())
    moved = {"rows": median(unique) * (options.width * 4 + 4), "dense": options.rows * options.width * 4}
    if comm.rank == 0:
        rows = [[n, f"{median(times[n]):.3f}", f"{min(times[n]):.3f}", f"{moved[n] / 1e6:.3f}"] for n in sides]
        print(f"{machine()}\n{comm.size} ranks, {options.rows} x {options.width} float32, {options.ids} ids a rank, "
              f"{options.optimizer}; tables differ by {difference:.1e}")  # fmt: skip
        print(table(rows, ["gradient", "ms a step", "best", "MB a rank"]))
        ratio = median([d / r for d, r in zip(times["dense"], times["rows"], strict=True)])
        print(f"rows are {ratio:.1f} times faster and {moved['dense'] / moved['rows']:.0f} times fewer bytes")
        write_json(options.json, {"ranks": comm.size, "ms": times, "bytes": moved, "difference": difference})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="of the table (default: %(default)s)")
    parser.add_argument("--width", type=int, default=64, help="of a row (default: %(default)s)")
    parser.add_argument("--ids", type=int, default=256, help="that each rank looks up in a step (default: %(default)s)")
    parser.add_argument("--optimizer", default="AdagradOptimizer", help="of paraflow.train (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    json_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
