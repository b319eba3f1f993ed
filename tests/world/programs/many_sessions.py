"""Opens more sessions than an MPI library has communicators for, and closes them as a search for parameters might.

Some are open at a time, of different strategies. Ranks close them in another order each; one stays open from the first
trial to the last, and one fails. Most communicators of MPICH, 2048, are taken first, so that few trials are enough.
"""

import gc
import os
from contextlib import suppress

import numpy as np

import paraflow as pf
from paraflow.comm import world
from paraflow.errors import InvalidArgumentError, WorldAborted
from paraflow.parallel import AllReduce, LocalSGD

TRIALS = 20


class Trial:
    """A session of a graph of its own; ``train`` takes a step of it."""

    def __init__(self, strategy, algorithm=None):
        with pf.Graph().as_default():
            self.word = pf.placeholder(pf.int32, (None,))
            self.w = pf.Variable(np.ones((5, 2)), name="w")
            loss = pf.reduce_mean(pf.reduce_sum(self.w, axis=1) + pf.reduce_sum(pf.gather(self.w, self.word)))
            self.step = pf.train.GradientDescentOptimizer(0.01).minimize(loss)
            self.session = pf.Session(strategy=strategy, algorithm=algorithm)
            self.session.run(pf.global_variables_initializer())
        self.strategy = strategy

    def train(self, word=1):
        self.session.run(self.step, {self.word: [word]})

    def close(self):
        if isinstance(self.strategy, LocalSGD):
            self.strategy.finish(self.session)
        self.session.close()


def held():
    """What this process has open: files and mappings of its memory."""
    with open("/proc/self/maps") as maps:
        return len(os.listdir("/proc/self/fd")), len(maps.readlines())


comm = world()
taken = [comm.split(0) for _ in range(1950 if "MPICH" in comm.mpi_library else 0)]
kept = Trial(AllReduce(comm))
for number in range(TRIALS):
    memory, wire = Trial(AllReduce(comm)), Trial(AllReduce(comm, shared_memory=False), algorithm="ring")
    averages = Trial(LocalSGD(comm))
    for trial in (memory, wire, averages):
        trial.train()
    if number == 5:
        with suppress(InvalidArgumentError if comm.rank == 0 else WorldAborted):
            wire.train(word=99 if comm.rank == 0 else 1)
            raise AssertionError("rank 0 has fed a word outside of the table")
    kept.train()
    averages.close()
    for trial in (memory, wire) if (comm.rank + number) % 2 else (wire, memory):
        trial.close()
    if number == 10:
        gc.collect()
        before = held()
gc.collect()
more = [now - then for now, then in zip(held(), before, strict=True)]
assert max(more) <= 10, more
kept.train()
for part in taken[-1:]:
    assert part.allgather(comm.rank) == list(range(comm.size))
if comm.rank == 0:
    print("done")
