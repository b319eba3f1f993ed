"""One rank of autotune.py; its argument is the settings. Rank 0 prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import mlp_data
import mlp_graph

import paraflow as pf
from paraflow.parallel import AllReduce

settings = json.loads(sys.argv[1])
layers, batch = [int(n) for n in settings["model"].partition(":")[0].split("-")], settings["model"].partition(":")[2]
comm = pf.comm.world()
pool = mlp_data.shards(layers, int(batch), comm.rank, comm.size)


def training(**options: Any) -> tuple[pf.Session, Callable[..., Any]]:
    """A session after its first step, and the step."""
    with pf.Graph().as_default():
        features, labels, _, train_step = mlp_graph.build(layers)
        session = pf.Session(strategy=AllReduce(comm), **options)
        session.run(pf.global_variables_initializer())
    train = session.make_callable(train_step, [features, labels])
    train(*pool[0])
    return session, train


def time_of(train: Callable[..., Any]) -> float:
    comm.barrier()
    start = perf_counter()
    for i in range(settings["steps"]):
        train(*pool[i % len(pool)])
    return float(max(comm.allgather(perf_counter() - start)) / settings["steps"])


found = []
fixed, train_fixed = training()
for _ in range(settings["tries"]):
    tuned, train_tuned = training(autotune=True)
    times = [(time_of(train_fixed), time_of(train_tuned)) for _ in range(settings["rounds"] + 1)][1:]
    assert tuned.tuning is not None
    found.append({
        "model": settings["model"],
        "bucket_bytes": tuned.tuning.bucket_bytes,
        "algorithm": tuned.tuning.algorithm,
        "step_seconds": tuned.tuning.step_seconds,
        "seconds": tuned.tuning.seconds,
        "fixed": [a for a, _ in times],
        "chosen": [b for _, b in times],
    })  # fmt: skip
    tuned.close()
fixed.close()
if comm.rank == 0:
    print(json.dumps(found), flush=True)
