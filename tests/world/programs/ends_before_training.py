"""Rank 1 ends, by returning from its program, before the place it is told; the others train by the strategy named."""

import sys

import numpy as np

import paraflow as pf
from paraflow.parallel import AllReduce, BackupWorkers, Gossip, LocalSGD, ParameterServer
from paraflow.parallel.compression import TopK

STRATEGIES = {
    "all_reduce": AllReduce,
    "unshared": lambda: AllReduce(shared_memory=False),
    "compressed": lambda: AllReduce(compress=TopK(ratio=0.5)),
    "local_sgd": lambda: LocalSGD(period=1),
    "gossip": Gossip,
    "parameter_server": ParameterServer,
    "backup_workers": lambda: BackupWorkers(backup=0),
}


def main(name: str, place: str) -> None:
    """``place`` is "session", "start", or "step": the second one."""
    ranks = STRATEGIES[name]()
    gone = ranks.comm.rank == 1
    x = pf.placeholder(pf.float64, (None,))
    w = pf.Variable(np.ones(1000))
    step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(x) * pf.reduce_sum(w))
    if gone and place == "session":
        return
    session = pf.Session(strategy=ranks)
    session.run(pf.global_variables_initializer())
    if gone and place == "start":
        return
    if ranks.is_server:
        ranks.serve(session, step)
    for number in range(4):
        if gone and number:
            return
        session.run(step, {x: [1.0]})
    ranks.finish(session)


main(*sys.argv[1:])
