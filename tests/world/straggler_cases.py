"""What a slow worker costs the others in each way of training, as functions of a communicator; as a script on world().

A worker's step is ``TICK`` seconds of sleep, which stand for its computing, so that more workers than cores do not slow
each other down. Phases of ``STEPS`` steps in which all workers are as fast alternate with phases in which one is slow:
each of its steps takes ``FACTOR`` ticks, until it has worked for the ticks that the others need for the phase; what it
is behind then it makes up in no time, while the others wait outside of the phase. A phase's time is that of the healthy
workers. Neighbouring phases are compared, so that a busy machine is busy in both.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import paraflow as pf
from paraflow.comm import Communicator, world
from paraflow.data import Batches, load
from paraflow.parallel import AllReduce, BackupWorkers, ParameterServer
from world.server_cases import meet

TICK = 0.01  # seconds
FACTOR = 4
STEPS = 12  # of a phase, a multiple of FACTOR
PAIRS = 6  # of phases
KEPT = 0.85  # of the healthy throughput
SAME_LOSS = 0.02  # as a share of that of the same training without a slow worker

Make = Callable[[Communicator], Any]


def trained(strategy: Any, slow: int | None, tick: float) -> tuple[list[float], float]:
    """(how many times the throughput of a phase without a slow worker this one had in the next, with one; final loss).

    The first is by pairs of phases, and empty on ``slow`` and on a server; the loss is over all test samples.
    """
    training, test = load("digits")
    place = min(strategy.worker, strategy.workers - 1)
    batches = Batches(training, 64, place, strategy.workers, seed=1, backup=strategy.backup)
    ratios: list[float] = []
    with pf.Graph().as_default() as graph:
        graph.seed = 1
        x, labels = pf.placeholder(pf.float32, (None, 64)), pf.placeholder(pf.int32, (None,))
        logits = pf.layers.dense(x, 10)
        loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        train = pf.train.GradientDescentOptimizer(0.2).minimize(loss)
        with pf.Session(strategy=strategy) as session:
            session.run(pf.global_variables_initializer())
            if strategy.is_server:
                strategy.serve(session, train)
            else:
                step = session.make_callable(train, [x, labels])
                worker = _Worker(strategy, batches, lambda batch: step(batch["features"], batch["labels"]))
                worker.phase(0.0)  # plans are made
                for _ in range(PAIRS):
                    as_fast = worker.phase(tick)
                    beside_slow = worker.phase(tick, slow)
                    if strategy.worker != slow:
                        ratios.append(as_fast / beside_slow)
            strategy.finish(session)
            features, classes = test.take(np.arange(len(test)))
            return ratios, float(session.run(loss, {x: features, labels: classes}))


class _Worker:
    """A worker and the step that it has come to."""

    def __init__(self, strategy: Any, batches: Batches, train: Callable[[Any], object]) -> None:
        self.strategy, self.batches, self.train = strategy, batches, train
        self.step = self.end = 0

    def phase(self, tick: float, slow: int | None = None) -> float:
        """Go through ``STEPS`` steps; the seconds that they took."""
        meet(self.strategy)
        self.end += STEPS
        began, ticks = time.perf_counter(), 0
        while self.step < self.end:
            cost = FACTOR if self.strategy.worker == slow else 1
            if ticks < STEPS:
                time.sleep(cost * tick)
                ticks += cost
            epoch, number = divmod(self.step, self.batches.steps_per_epoch)
            self.train(next(self.batches.epoch(epoch, number)))
            self.step = self.strategy.next_step(self.step)
        return time.perf_counter() - began


def throughput_and_loss(comm: Communicator, make: Make) -> tuple[float, float]:
    """(share of the healthy throughput that is left beside a slow worker, median; final loss to that without one)."""
    slow = make(comm).workers - 1
    ratios, loss = trained(make(comm), slow, TICK)
    _, healthy_loss = trained(make(comm), None, 0.0)
    everyone = [r for r in comm.allgather(ratios) if r]
    return median(np.mean(everyone, axis=0).tolist()), loss / healthy_loss


def keeps_its_throughput(comm: Communicator, make: Make) -> None:
    kept, loss = throughput_and_loss(comm, make)
    assert kept >= KEPT, kept
    assert abs(loss - 1) <= SAME_LOSS, loss


def suffers(comm: Communicator, make: Make) -> None:
    """STEPS / FACTOR steps take FACTOR ticks, all others 1: by ticks alone the throughput is 0.57 of the healthy one.

    What a step takes beside them is the same with and without a slow worker, and more of it brings the two nearer.
    """
    kept, loss = throughput_and_loss(comm, make)
    assert kept < KEPT, kept
    assert abs(loss - 1) <= SAME_LOSS, loss


def allreduce_shows_the_slowdown_it_suffers(comm: Communicator) -> None:
    suffers(comm, AllReduce)


def without_backup_too(comm: Communicator) -> None:
    suffers(comm, lambda comm: BackupWorkers(comm, backup=0))


def backup_workers_keep_their_throughput(comm: Communicator) -> None:
    keeps_its_throughput(comm, BackupWorkers)


def backup_workers_that_add_what_is_late_too(comm: Communicator) -> None:
    keeps_its_throughput(comm, lambda comm: BackupWorkers(comm, late="add"))


def asynchronous_workers_too(comm: Communicator) -> None:
    keeps_its_throughput(comm, ParameterServer)


def workers_within_their_bound_too(comm: Communicator) -> None:
    """The bound is what the slow worker falls behind in a phase."""
    keeps_its_throughput(comm, lambda comm: ParameterServer(comm, staleness=STEPS - STEPS // FACTOR))


def workers_beyond_their_bound_wait(comm: Communicator) -> None:
    """A bound helps over a passing slowdown: beyond it all go at the pace of the slow worker, by definition."""
    suffers(comm, lambda comm: ParameterServer(comm, staleness=1))


CASES_OF_PROCESSES: list[Callable[[Communicator], None]] = [
    allreduce_shows_the_slowdown_it_suffers,
    backup_workers_keep_their_throughput,
    asynchronous_workers_too,
    workers_within_their_bound_too,
]
CASES = [
    *CASES_OF_PROCESSES,
    without_backup_too,
    backup_workers_that_add_what_is_late_too,
    workers_beyond_their_bound_wait,
]


if __name__ == "__main__":
    from world.each_case import run_each

    run_each(world(), CASES_OF_PROCESSES)
