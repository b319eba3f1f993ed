"""All ranks train without end by the strategy named, but for one, which ends soon, in the way that it is told."""

import os
import signal
import sys
from collections.abc import Callable
from itertools import count

import numpy as np

import paraflow as pf
from paraflow.parallel import EASGD, AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer
from paraflow.parallel.compression import TopK

STRATEGIES = {
    "all_reduce": AllReduce,
    "unshared": lambda: AllReduce(shared_memory=False),
    "compressed": lambda: AllReduce(compress=TopK(ratio=0.5)),
    "local_sgd": lambda: LocalSGD(period=2),
    "easgd": lambda: EASGD(period=2),
    "gossip": Gossip,
    "one_server": ParameterServer,
    "two_servers": lambda: ParameterServer(servers=2),
    "three_servers": lambda: ParameterServer(servers=3),
    "stale": lambda: ParameterServer(staleness=2, servers=2),
    "together": lambda: ParameterServer(staleness=0),
    "backup_workers": lambda: BackupWorkers(backup=1),
}


def main(name: str, place: str, how: str) -> None:
    """``place`` is the rank that ends, from the last one where it is negative.

    ``how`` is "returns" or "closes" for a worker, "raises" for a server (its update does), "nan" (that the first worker
    pushes), or "killed".
    """
    ranks = STRATEGIES[name]()
    ends = int(place) % ranks.comm.size
    processes = ranks.comm.allgather(os.getpid())
    updates = count(1)

    def update(gradient: np.ndarray) -> np.ndarray:
        if how == "raises" and ranks.comm.rank == ends and next(updates) == 10:
            raise MemoryError("no room for the update")
        return gradient

    x, word = pf.placeholder(pf.float64, (None,)), pf.placeholder(pf.int32, (None,))
    ws = [pf.Variable(np.ones(1000), name=f"w{i}") for i in range(3)]
    table = pf.Variable(np.ones((5, 2)), name="table")
    total = pf.add_n([pf.reduce_sum(w) for w in ws])
    loss = pf.reduce_mean(x) * total + pf.reduce_mean(pf.gather(table, word))
    optimizer = pf.train.GradientDescentOptimizer(1e-6)
    dense, rows = optimizer.compute_gradients(loss, ws), optimizer.compute_gradients(loss, [table])
    if isinstance(ranks, ParameterServer):  # what is done with exchanged gradients is done on the servers
        dense = [(applied(update, pf.check_numerics(g, "the gradient")), w) for g, w in dense]
    step = optimizer.apply_gradients(dense + rows)
    session = pf.Session(strategy=ranks)
    session.run(pf.global_variables_initializer())
    if ranks.is_server:
        ranks.serve(session, step)
    for number in count():
        if number == 10 and how == "killed" and ranks.worker == 0:
            os.kill(processes[ends], signal.SIGKILL)
        if number == 10 and ranks.worker == ends and how == "returns":
            return
        if number == 10 and ranks.worker == ends and how == "closes":
            session.close()
            signal.pause()
        session.run(step, {x: [np.nan if how == "nan" and number == 10 else 1.0], word: [1]})


def applied(function: Callable[[np.ndarray], np.ndarray], gradient: pf.Tensor) -> pf.Tensor:
    result = pf.py_func(function, [gradient], pf.float64)
    result.set_shape(gradient.shape)
    return result


main(*sys.argv[1:])
