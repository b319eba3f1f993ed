"""One rank of paraflow; started by ``paraflow launch`` from training_step.py."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

import mlp_data
import mlp_graph
import numpy as np
import worker

import paraflow as pf
from paraflow.data import Batches, Dataset
from paraflow.data import load as load_dataset
from paraflow.data.sources import find_idx_directory
from paraflow.errors import DataError
from paraflow.parallel import AllReduce

options = worker.arguments()
if options.settings["bind"]:
    worker.pin(0, 1)  # to one core of those that the launcher has left to this rank
layers, batch = options.settings["layers"], options.settings["batch"]

features, labels, cost, train_step = mlp_graph.build(layers)
strategy = AllReduce()
session = pf.Session(strategy=strategy)
session.run(pf.global_variables_initializer())
train = session.make_callable(train_step, [features, labels])
evaluate = session.make_callable(cost, [features, labels])
RANK, RANKS = strategy.comm.rank, strategy.comm.size
pool = mlp_data.shards(layers, batch, RANK, RANKS)
samples: list[Dataset] = []


def steps(warmup: int, steps: int) -> dict[str, Any]:
    for i in range(warmup):
        train(*pool[i % len(pool)])
    return {"times": worker.timed(lambda i: train(*pool[i % len(pool)]), steps)}


def loss() -> dict[str, Any]:
    return {"loss": float(evaluate(*pool[0]))}


def load(path: str | None) -> dict[str, Any]:
    try:
        folder = find_idx_directory("fashion_mnist", path)
        samples.append(load_dataset("fashion_mnist", folder)[0])
    except DataError as error:
        return {"error": str(error)}
    return {"path": str(folder), "samples": len(samples[0])}


def epoch(number: int) -> dict[str, Any]:
    def one_pass(_: int) -> None:
        for part in Batches(samples[0], batch, RANK, RANKS, last="drop").epoch(number):
            train(part["features"], part["labels"])

    (seconds,) = worker.timed(one_pass, 1)
    return {"seconds": seconds}


def memory() -> dict[str, Any]:
    """Bytes of variables that this rank keeps for itself, and of those that it shares with the node."""
    store = session.store
    nbytes = {True: 0, False: 0}
    for name, array in store.items():
        nbytes[store.shared(name)] += array.nbytes
    return {"own": nbytes[False], "shared": nbytes[True]}


about = {
    "version": f"paraflow {version('paraflow')}, numpy {np.__version__}",
    "threads": int(os.environ["OPENBLAS_NUM_THREADS"]),
    "cores": len(os.sched_getaffinity(0)),
}
orders = {"steps": steps, "loss": loss, "memory": memory, "load": load, "epoch": epoch}
worker.serve(options.address, RANK, about, orders)
