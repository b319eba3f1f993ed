"""One rank of paraflow; started by ``paraflow launch`` from exchange.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import worker

from paraflow.comm import world
from paraflow.experiment import timings

options = worker.arguments()
if options.settings["bind"]:
    worker.pin(0, 1)  # to one core of those that the launcher has left to this rank
comm = world()
exchanges: list[timings.ExchangeOnly] = []
calls: dict[str, Callable[[int], float]] = {}


def prepare(nbytes: int) -> dict[str, Any]:
    if exchanges:
        exchanges.pop().close()
    buffer = np.zeros(nbytes // 4, np.float32)
    exchanges.append(timings.ExchangeOnly(comm, nbytes))
    calls["exchange"] = exchanges[0]
    calls["allreduce"] = timings.repeated(lambda: comm.allreduce(buffer))
    calls["mpi"] = timings.repeated(lambda: comm.compared_allreduce(buffer))
    return {}


def measure(what: str, times: int) -> dict[str, Any]:
    calls[what](1)
    comm.barrier()
    return {"seconds": calls[what](times) / times}


def memory() -> dict[str, Any]:
    return {"rate": timings.memory_bandwidth(comm, rounds=1)}


about = {
    "version": f"paraflow {version('paraflow')}, numpy {np.__version__}, {comm.mpi_library}",
    "cores": len(os.sched_getaffinity(0)),
}
worker.serve(options.address, comm.rank, about, {"prepare": prepare, "measure": measure, "memory": memory})
