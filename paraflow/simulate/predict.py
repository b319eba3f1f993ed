"""From a profile and a machine to step time, efficiency, waits and traffic of a mode, at one size and over many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from paraflow.compiler.options import BUCKET_BYTES
from paraflow.errors import ConfigError
from paraflow.experiment.schema import Parallel
from paraflow.experiment.strategies import workers_of
from paraflow.runtime.tuning import choose
from paraflow.runtime.wire import Algorithm
from paraflow.simulate.events import Trace, alone, averaging, gossip, synchronous
from paraflow.simulate.model import Machine
from paraflow.simulate.noise import Noise
from paraflow.simulate.profile import Profile
from paraflow.simulate.servers import backup_workers, parameter_server

T = TypeVar("T")

Array = np.ndarray[Any, Any]
Simulate = Callable[[Profile, Machine, Parallel, Array], Trace]

MODES: dict[str, Simulate] = {
    "single": alone,
    "allreduce": synchronous,
    "parameter_server": parameter_server,
    "backup_workers": backup_workers,
    "local_sgd": averaging,
    "easgd": averaging,
    "gossip": gossip,
}
"""By mode: what simulates it."""

_FEWEST_STEPS = 20  # of workers with servers, the first quarter of which only fills the queues
_BALANCED = 4e-3  # seconds, about, after which Linux moves a rank to a core with fewer
_MOST_PUSHES = 200_000  # of all workers, where each is an event of its own


@dataclass(frozen=True)
class Prediction:
    """What a mode does on a machine; seconds, bytes, and samples a second.

    ``efficiency`` is the throughput against ``ranks`` times that of one rank alone with as many samples in its batch.
    ``wait_seconds`` are those of a worker in a step on average, ``longest_wait_seconds`` those of the one that waits
    longest. ``wire_bytes`` are sent in a step by the busiest node, ``memory_bytes`` read by a rank of others on its
    node. ``staleness`` counts pushes by the updates that they are behind. ``bucket_bytes`` and ``algorithm`` are
    those that autotune would choose.
    """

    mode: str
    ranks: int
    nodes: int
    workers: int
    samples: int
    step_seconds: float
    samples_per_second: float
    efficiency: float
    wait_seconds: float
    longest_wait_seconds: float
    wire_bytes: float
    memory_bytes: float
    useful: float
    staleness: dict[int, int]
    bucket_bytes: int | None = None
    algorithm: Algorithm | None = None

    @property
    def staleness_mean(self) -> float:
        """The mean over all pushes, 0 where there are none."""
        return sum(tau * n for tau, n in self.staleness.items()) / max(sum(self.staleness.values()), 1)


def node_sizes(table: Parallel, machine: Machine) -> list[int]:
    """The numbers of ranks, above 1, that `scaling` has on a node where they share planes; to be measured."""
    if not shares_planes(table):
        return []
    doubled = [1 << i for i in range(1, machine.ranks.bit_length())]
    return sorted({n for n in (*doubled, machine.lanes, machine.node_size) if 1 < n <= machine.node_size})


def shares_planes(table: Parallel) -> bool:
    """Whether the ranks of a node exchange gradients through their shared memory alone."""
    return table.mode == "allreduce" and table.compress == "none" and table.shared_memory


def predict(profile: Profile, machine: Machine, table: Parallel, noise: Noise, steps: int) -> Prediction:
    """Simulate ``steps`` of every worker.

    Those with servers have at least 20, and fewer where a great many workers make that too many events.

    Raises ConfigError for a mode that cannot be had with this number of ranks.
    """
    if table.mode not in MODES:
        raise ConfigError(f"parallel.mode = {table.mode!r} cannot be simulated; known: {', '.join(MODES)}")
    if table.mode == "allreduce" and profile.seconds * machine.turns.max() < _BALANCED:  # all wait for the fullest core
        machine = replace(machine, whole_turns=True)
    if profile.tried:
        return _tuned(profile, machine, table, noise, steps)
    workers = workers_of(table, machine.ranks)
    if table.mode in ("parameter_server", "backup_workers"):
        steps = max(_FEWEST_STEPS, min(steps, _MOST_PUSHES // workers))
    # Whole updates, where these take several batches.
    factors = noise.factors(-(-steps // table.accumulate) * table.accumulate, workers)
    trace = MODES[table.mode](profile, machine, table, factors)
    rate = trace.useful * workers * profile.samples / trace.seconds
    # By the steps of a rank that is as noisy, but not one of the slow ones unless there is no other.
    single = alone(profile, machine, table, factors[:, -1:])
    return Prediction(
        mode=table.mode,
        ranks=machine.ranks,
        nodes=machine.nodes,
        workers=workers,
        samples=profile.samples,
        step_seconds=trace.seconds,
        samples_per_second=rate,
        efficiency=rate * single.seconds / (profile.samples * machine.ranks),
        wait_seconds=float(trace.waits.mean()),
        longest_wait_seconds=float(trace.waits.max()),
        wire_bytes=trace.wire,
        memory_bytes=trace.memory,
        useful=trace.useful,
        staleness=trace.staleness,
    )


def _tuned(profile: Profile, machine: Machine, table: Parallel, noise: Noise, steps: int) -> Prediction:
    """With the buckets and the algorithm that autotune would choose by the same steps.

    Profiles of equal buckets are one.
    """
    found: dict[int, Prediction] = {}
    known: set[tuple[int, ...]] = set()
    for size, one in {BUCKET_BYTES: profile, **profile.tried}.items():
        buckets = tuple(bucket.nbytes for bucket in one.buckets)
        if buckets not in known:
            known.add(buckets)
            own = replace(one, tried={}, overheads=profile.overheads)
            found[size] = predict(own, machine, table, noise, steps)
    chosen = _choose(found, BUCKET_BYTES)
    if machine.nodes == 1:
        return replace(found[chosen], bucket_bytes=chosen)
    own = replace(profile.tried.get(chosen, profile), tried={}, overheads=profile.overheads)
    ring = predict(own, machine, table.model_copy(update={"algorithm": "ring"}), noise, steps)
    algorithms: dict[Algorithm, Prediction] = {"mpi": found[chosen], "ring": ring}
    algorithm = _choose(algorithms, "mpi")
    return replace(algorithms[algorithm], bucket_bytes=chosen, algorithm=algorithm)


def _choose(found: Mapping[T, Prediction], usual: T) -> T:
    return choose({choice: [prediction.step_seconds] for choice, prediction in found.items()}, usual)


def scaling(profile: Profile, machine: Machine, table: Parallel, noise: Noise, steps: int) -> list[Prediction]:
    """Predictions for 1, 2, 4, ... ranks up to those of ``machine``, on nodes as full as its own.

    Every worker keeps its number of samples (weak scaling). Sizes that the mode cannot have are left out.
    """
    sizes = [1 << i for i in range(machine.ranks.bit_length()) if 1 << i < machine.ranks]
    found = []
    for ranks in sizes:
        try:
            found.append(predict(profile, machine.scaled(ranks), table, noise, steps))
        except ConfigError:
            continue
    return [*found, predict(profile, machine, table, noise, steps)]
