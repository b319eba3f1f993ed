"""``paraflow bench allreduce``: exchange and all-reduce by size, beside MPI's, gloo's and what the memory allows."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import ConfigError
from paraflow.experiment import timings
from paraflow.experiment.sizes import parse_sizes, size_text

_ONE_MEASUREMENT = 1 << 24  # bytes, of as many repetitions as that makes
_MOST_REPETITIONS = 200

SIDES = {
    "exchange": "paraflow's exchange: gradients to updated parameters",
    "allreduce": "paraflow's all-reduce",
    "mpi": "MPI_Allreduce",
    "gloo": "gloo's all_reduce",
}


@dataclass
class Report:
    """What was measured: for each size the median seconds of each side, and the rate that the memory allows."""

    ranks: int
    nodes: int
    load: float
    memory_bytes_per_second: float
    seconds: dict[int, dict[str, float]] = field(default_factory=dict)

    def limit(self, side: str, nbytes: int) -> float:
        """The seconds that the bytes which have to move take a node's memory."""
        ranks = self.ranks // self.nodes
        moved = (timings.exchange_bytes if side == "exchange" else timings.allreduce_bytes)(nbytes, ranks)
        return moved / self.memory_bytes_per_second

    def table(self) -> str:
        """The times in microseconds, each with its bandwidth, the buffer's bytes by its time, in GB/s."""
        sides = list(next(iter(self.seconds.values())))
        names = [*sides, "limit of exchange", "limit of allreduce"]
        lines = [f"{'size':>10}" + "".join(f"{name:>22}" for name in names)]
        for nbytes, row in self.seconds.items():
            limits = [self.limit(side, nbytes) for side in ("exchange", "allreduce")]
            cells = [f"{s * 1e6:>12.1f} {nbytes / s / 1e9:>9.3f}" for s in [*row.values(), *limits]]
            lines.append(f"{size_text(nbytes):>10}" + "".join(cells))
        return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``paraflow bench``; the number of ranks is the launcher's."""
    parser.add_argument("what", choices=["allreduce"], help="what to measure")
    parser.add_argument("-n", dest="ranks", metavar="RANKS", help="ranks to start (default: 2)")
    parser.add_argument(
        "--sizes", default="1KiB..256MiB", metavar="LIST", help="FIRST..LAST, or sizes with commas (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--plot", metavar="FILE", help="draw time and bandwidth by size (.svg, .png, .pdf)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of the table")


def bench(options: argparse.Namespace, comm: Communicator) -> None:
    """Measure on all ranks; rank 0 prints and draws."""
    sizes = parse_sizes(options.sizes)
    if options.rounds < 1:
        raise ConfigError(f"--rounds {options.rounds}: at least one")
    if comm.size == 1:
        raise ConfigError("bench allreduce: one rank exchanges nothing; start two or more with -n")
    draw = _drawing() if options.plot else None
    report = measure(comm, sizes, options.rounds)
    if comm.rank:
        return
    if options.json:
        print(json.dumps(asdict(report)))
    else:
        print(f"{report.ranks} ranks on {report.nodes} node{'s' * (report.nodes > 1)}, load {report.load:.1f}; "
              f"the memory of a node streams {report.memory_bytes_per_second / 1e9:.1f} GB/s")
        print("in each column microseconds (median), and GB/s of the buffer:")
        print("\n".join(f"  {name:10} {text}" for name, text in SIDES.items()))
        print(report.table())
        if "gloo" not in next(iter(report.seconds.values())):
            print(f"gloo: not measured, {sys.executable} has no torch")
    if draw is not None:
        draw(report, options.plot)


def measure(comm: Communicator, sizes: list[int], rounds: int) -> Report:
    """Interleaved rounds of all sides at each size; collective."""
    nodes = sum(node_rank == 0 for node_rank, _ in comm.allgather(comm.node()))
    load = os.getloadavg()[0]
    report = Report(comm.size, nodes, load, timings.memory_bandwidth(comm))
    with timings.gloo(comm) as distributed:
        for nbytes in sizes:
            report.seconds[nbytes] = _measure(comm, nbytes, rounds, distributed)
    return report


def _measure(comm: Communicator, nbytes: int, rounds: int, distributed: Any) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    repetitions = max(1, min(_MOST_REPETITIONS, _ONE_MEASUREMENT // nbytes))
    sides, close = _sides(comm, nbytes, distributed)
    for _ in range(rounds + 1):
        for name, timed in sides.items():
            comm.barrier()
            times.setdefault(name, []).append(max(comm.allgather(timed(repetitions))) / repetitions)
    close()
    return {name: median(found[1:]) for name, found in times.items()}  # the first warms up


def _sides(
    comm: Communicator, nbytes: int, distributed: Any
) -> tuple[Mapping[str, timings.Timed], Callable[[], None]]:
    buffer = np.zeros(nbytes // 4, np.float32)
    exchange = timings.ExchangeOnly(comm, nbytes)
    sides: dict[str, timings.Timed] = {
        "exchange": exchange,
        "allreduce": timings.repeated(lambda: comm.allreduce(buffer)),
    }
    by_mpi = getattr(comm, "compared_allreduce", None)  # the worlds of one process have none
    if by_mpi is not None:
        sides["mpi"] = timings.repeated(lambda: by_mpi(buffer))
    if distributed is not None:
        tensor = timings.tensor(buffer)
        sides["gloo"] = timings.repeated(lambda: distributed.all_reduce(tensor))
    return sides, exchange.close


def _drawing() -> Callable[[Report, str], None]:
    try:
        from paraflow.experiment.bench_picture import draw
    except ModuleNotFoundError as error:
        raise ConfigError(f"--plot needs matplotlib ({error}): pip install 'paraflow[report]'") from None
    return draw
