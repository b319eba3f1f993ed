"""``paraflow bench allreduce``: exchange and all-reduce by size, beside MPI's, gloo's and plain streaming of memory."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from paraflow.comm import Communicator
from paraflow.errors import ConfigError
from paraflow.experiment import timings
from paraflow.experiment.gloo import Gloo
from paraflow.experiment.pictures import check_picture, drawing
from paraflow.experiment.sizes import parse_sizes, size_text

_ONE_MEASUREMENT = 1 << 24  # bytes, of as many repetitions as that makes
_MOST_REPETITIONS = 200

PICTURES = (".svg", ".png", ".pdf")

SIDES = {
    "exchange": "paraflow's exchange: gradients to updated parameters",
    "allreduce": "paraflow's all-reduce",
    "mpi": "MPI_Allreduce",
    "gloo": "gloo's all_reduce",
}
STREAM = "all ranks stream as many bytes as that has to move at least, each over a buffer of its own of this size"


@dataclass
class Report:
    """What was measured, by size: the median seconds of each side, and how fast a node streams over such buffers.

    ``not_run`` says of a side that is missing there why.
    """

    ranks: int
    nodes: int
    load: float
    stream_bytes_per_second: dict[int, float] = field(default_factory=dict)
    seconds: dict[int, dict[str, float]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

    def streamed(self, side: str, nbytes: int) -> float:
        """The seconds in which a node's ranks stream the bytes that have to move, over buffers of this size.

        That is the rate of memory for large buffers, and of caches for small ones.
        """
        ranks = self.ranks // self.nodes
        moved = (timings.exchange_bytes if side == "exchange" else timings.allreduce_bytes)(nbytes, ranks)
        return moved / self.stream_bytes_per_second[nbytes]

    def table(self) -> str:
        """The times in microseconds, each with its bandwidth, the buffer's bytes by its time, in GB/s."""
        sides = list(next(iter(self.seconds.values())))
        names = [*sides, "stream, exchange", "stream, allreduce"]
        lines = [f"{'size':>10}" + "".join(f"{name:>22}" for name in names)]
        for nbytes, row in self.seconds.items():
            streamed = [self.streamed(side, nbytes) for side in ("exchange", "allreduce")]
            cells = [f"{s * 1e6:>12.1f} {nbytes / s / 1e9:>9.3f}" for s in [*row.values(), *streamed]]
            lines.append(f"{size_text(nbytes):>10}" + "".join(cells))
        return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``paraflow bench`` on a rank; the launcher has its own."""
    parser.add_argument("what", choices=["allreduce"], help="what to measure")
    parser.add_argument(
        "--sizes", default="1KiB..256MiB", metavar="LIST", help="FIRST..LAST, or sizes with commas (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="interleaved rounds (default: %(default)s)")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help=f"draw time and bandwidth by size ({', '.join(PICTURES)})"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of the table")


def bench(options: argparse.Namespace, comm: Communicator) -> None:
    """Measure on all ranks; rank 0 prints and draws."""
    sizes = parse_sizes(options.sizes)
    if options.rounds < 1:
        raise ConfigError(f"--rounds {options.rounds}: at least one")
    if comm.size == 1:
        raise ConfigError("bench allreduce: one rank exchanges nothing; start two or more with -n")
    draw = None
    if options.plot is not None:
        check_picture("--plot", options.plot, PICTURES, comm)
        draw = drawing("--plot", "paraflow.experiment.bench_picture")
    report = measure(comm, sizes, options.rounds)
    if comm.rank:
        return
    if options.json:
        print(json.dumps(asdict(report)))
    else:
        largest = max(report.stream_bytes_per_second)
        print(f"{report.ranks} ranks on {report.nodes} node{'s' * (report.nodes > 1)}, load {report.load:.1f}; a node "
              f"streams {report.stream_bytes_per_second[largest] / 1e9:.1f} GB/s over {size_text(largest)} a rank")
        print("in each column microseconds (median), and GB/s of the buffer:")
        print("\n".join(f"  {name:10} {text}" for name, text in {**SIDES, "stream": STREAM}.items()))
        print(report.table())
        for side, reason in report.not_run.items():
            print(f"{side}: not run, {reason}")
    if draw is not None:
        draw(report, options.plot)


def measure(comm: Communicator, sizes: list[int], rounds: int) -> Report:
    """Interleaved rounds of all sides at each size; collective."""
    nodes = sum(node_rank == 0 for node_rank, _ in comm.allgather(comm.node()))
    load = os.getloadavg()[0]
    report = Report(comm.size, nodes, load)
    with closing(Gloo(comm)) as gloo:
        for nbytes in sizes:
            report.stream_bytes_per_second[nbytes] = timings.memory_bandwidth(comm, nbytes)
            report.seconds[nbytes] = _measure(comm, nbytes, rounds, gloo)
    if gloo.failure is not None:
        report.not_run["gloo"] = gloo.failure
        for row in report.seconds.values():
            row.pop("gloo", None)
    return report


def _measure(comm: Communicator, nbytes: int, rounds: int, gloo: Gloo) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    repetitions = max(1, min(_MOST_REPETITIONS, _ONE_MEASUREMENT // nbytes))
    sides, close = _sides(comm, nbytes, gloo)
    for _ in range(rounds + 1):
        for name, timed in sides.items():
            comm.barrier()
            times.setdefault(name, []).append(max(comm.allgather(timed(repetitions))) / repetitions)
    close()
    return {name: median(found[1:]) for name, found in times.items()}  # the first warms up


def _sides(comm: Communicator, nbytes: int, gloo: Gloo) -> tuple[Mapping[str, timings.Timed], Callable[[], None]]:
    buffer = np.zeros(nbytes // 4, np.float32)
    exchange = timings.ExchangeOnly(comm, nbytes)
    sides: dict[str, timings.Timed] = {
        "exchange": exchange,
        "allreduce": timings.repeated(lambda: comm.allreduce(buffer)),
    }
    by_mpi = getattr(comm, "compared_allreduce", None)  # the worlds of one process have none
    if by_mpi is not None:
        sides["mpi"] = timings.repeated(lambda: by_mpi(buffer))
    if gloo.failure is None:
        sides["gloo"] = gloo.timed(buffer)
    return sides, exchange.close
