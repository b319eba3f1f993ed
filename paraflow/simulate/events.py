"""A run's steps in simulated time: ranks in lockstep, ranks that average now and then, and what all modes share.

Each function takes a profile, a machine, the table [parallel], the factors [steps, workers] by which computation takes
longer than in the profile, and returns a `Trace`. Arrays run over ranks, so 4,096 of them cost little more than one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from paraflow.experiment.schema import Parallel
from paraflow.runtime.wire import Algorithm
from paraflow.simulate.model import (
    Machine,
    all_reduce,
    all_reduce_bytes,
    ring_all_reduce,
    ring_all_reduce_bytes,
    world_all_gather,
    world_all_reduce,
    world_all_to_all,
)
from paraflow.simulate.profile import Bucket, Compression, Profile

Array = np.ndarray[Any, Any]

_TOTALS_BYTES = 24  # of a node: its samples and two checksums, all-reduced with the first bucket
_STATE_BYTES = 16  # averaging modes: samples, and how many still train
_ADD_PASSES = 2  # over the gradients, for each batch that is accumulated: weighted, and added
_MIXING_PASSES = 3  # over the parameters, for each neighbour
_PASSES = 5  # over the parameters, in an averaging: difference, weight, sum, step, copy


@dataclass
class Trace:
    """What came of a simulation.

    ``seconds`` of a step, ``waits`` of each worker in a step [workers], and of all gradients the part that is
    ``useful`` (not dropped). ``wire`` are the bytes that the busiest node sends in a step, ``memory`` those that a rank
    reads of others on its node. ``staleness`` counts pushes by the updates that they are behind.
    """

    seconds: float
    waits: Array
    wire: float = 0.0
    memory: float = 0.0
    useful: float = 1.0
    staleness: dict[int, int] = field(default_factory=dict)


def alone(profile: Profile, machine: Machine, table: Parallel, factors: Array) -> Trace:
    """One rank: nobody to wait for."""
    adding, last, _ = _accumulated(profile, machine, table.accumulate, factors)
    seconds = adding + last * profile.work + profile.update
    return Trace(float(seconds.mean()) / table.accumulate, np.zeros(1))


def _accumulated(
    profile: Profile, machine: Machine, batches: int, factors: Array, meeting: float = 0.0
) -> tuple[Array, Array, Array]:
    """For every update the seconds of all batches but the last, and the factors of the last, each [updates, ranks].

    Where all ranks are ``meeting`` in each batch, for so many seconds, they all take as long as the slowest: what they
    wait for that in an update [ranks] comes third.
    """
    groups = factors[: len(factors) // batches * batches].reshape(-1, batches, factors.shape[1])
    passes = _ADD_PASSES * batches * profile.nbytes / machine.memory.core if batches > 1 else 0.0
    before, met = groups[:, :-1], (batches - 1) * meeting
    slowest = before.max(axis=2, keepdims=True) if meeting else before
    waits = ((slowest - before).sum(axis=1) * profile.work * machine.crowding + met).mean(axis=0)
    adding = (np.zeros_like(before) + slowest).sum(axis=1) * profile.work + passes + met / machine.crowding
    return adding, groups[:, -1], waits


def _meetings(profile: Profile, machine: Machine) -> list[tuple[float, float]]:
    """When, in seconds of computation, all ranks meet for statistics, and for how long.

    Each rank fills its row of what all of them all-reduce (ops/collective.py). Before the first in a step they see that
    all are in that step, and nodes tell each other their samples.
    """
    turns, nodes = float(machine.crowding.max()), machine.nodes
    first = 2 * machine.memory.latency * turns + all_reduce(nodes, _TOTALS_BYTES * nodes, machine.wire)
    found = []
    for number, one in enumerate(profile.statistics):
        exchange = turns * world_all_reduce(machine, machine.ranks * one.nbytes)
        found.append((one.after, turns * one.seconds + exchange + (0.0 if number else first)))
    return found


# -- synchronous -------------------------------------------------------------------------------------------------------


def synchronous(profile: Profile, machine: Machine, table: Parallel, factors: Array) -> Trace:
    """`AllReduce`, as runtime/exchange.py does it: buckets posted during backward, summed and updated by slices."""
    if machine.ranks == 1:
        return alone(profile, machine, table, factors)
    meetings = _meetings(profile.sharing(machine.lanes), machine)
    meeting = sum(cost for _, cost in meetings)
    adding, last, waited = _accumulated(profile, machine, table.accumulate, factors, meeting)
    updates = adding + profile.around(machine.turns).worker, last
    if profile.compression is not None:
        found = _compressed(profile, profile.compression, machine, *updates, meeting)
    elif table.shared_memory:
        found = _Planes(profile, machine, meetings, table.algorithm).run(*updates)
    else:
        wire_ranks = machine.node_size if machine.nodes > 1 else 0
        found = _Planes(profile, machine.apart(), meetings, table.algorithm).run(*updates, wire_ranks)
    batches = table.accumulate
    return replace(
        found, seconds=found.seconds / batches, waits=(found.waits + waited) / batches, wire=found.wire / batches,
        memory=found.memory / batches,
    )  # fmt: skip


class _Planes:
    """The costs of each bucket, and a step of all ranks."""

    def __init__(
        self,
        profile: Profile,
        machine: Machine,
        meetings: Sequence[tuple[float, float]],
        algorithm: Algorithm | None,
    ) -> None:
        self._profile = profile = profile.sharing(machine.lanes)
        self._meetings = meetings
        self._machine = machine
        self._several = machine.nodes > 1
        counts, lanes = machine.counts[machine.node_of], machine.lanes
        lane = np.arange(machine.ranks) - machine.starts[machine.node_of]
        self._owner = lane < lanes
        self._lane = np.where(self._owner, lane, 0)  # a rank without a slice waits for the first one's sums
        self._peers = machine.starts[:, None] + np.arange(lanes)  # [nodes, lanes]
        self._neighbours = counts - 1
        link = machine.wire.shared(lanes)
        ring = algorithm == "ring"
        sum_of, self._wire_bytes = (ring_all_reduce, ring_all_reduce_bytes) if ring else (all_reduce, all_reduce_bytes)
        self._wires = [sum_of(machine.nodes, b.nbytes / lanes, link) for b in profile.buckets]
        self._rounds = 2 * (machine.nodes - 1) if ring else 2
        self._totals = all_reduce(machine.nodes, _TOTALS_BYTES * machine.nodes, link)
        self._sums = [self._reading(b) for b in profile.buckets]
        self._updates = [self._update(b) for b in profile.buckets]
        self._whole = self._crowded(profile.whole * self._neighbours / machine.memory.core)
        self._flag = np.where(counts > 1, machine.memory.latency * machine.crowding, 0.0)

    def _crowded(self, seconds: Array) -> Array:
        return seconds * self._machine.crowding

    def _reading(self, bucket: Bucket) -> Array:
        """Seconds in which each rank reads the slices of its neighbours [ranks]: by its core, or by all at once."""
        memory, lanes = self._machine.memory, self._machine.lanes
        slices = bucket.nbytes / lanes * self._neighbours
        own = self._crowded(slices / memory.core)
        return np.where(self._owner, np.maximum(own, slices * lanes / memory.node), 0.0)

    def _update(self, bucket: Bucket) -> Array:
        """Seconds in which each rank updates its slice [ranks]; on one node the sum is part of the update."""
        own = self._crowded(np.full(self._machine.ranks, bucket.update))
        own = np.maximum(own, bucket.touched / self._machine.memory.node)
        return np.where(self._owner, own, 0.0) + (0.0 if self._several else self._reading(bucket))

    def run(self, adding: Array, factors: Array, wire_ranks: int = 1) -> Trace:
        """All updates, each after ``adding`` seconds; ``wire_ranks`` of a node send for themselves."""
        machine, profile = self._machine, self._profile
        now, waits = np.zeros(machine.ranks), np.zeros(machine.ranks)
        for before, factor in zip(adding, factors, strict=True):
            start = now + before * machine.crowding
            now, busy = self._step(start, factor * machine.crowding)
            waits += now - start - busy
        steps = len(factors)
        nbytes = profile.nbytes
        slices = float(((machine.counts - 1) * nbytes / machine.lanes).max())
        return Trace(
            float(now.max()) / steps,
            waits / steps,
            self._wire_bytes(machine.nodes, nbytes) * wire_ranks,
            slices + profile.whole * (machine.node_size - 1),
        )

    def _step(self, now: Array, factor: Array) -> tuple[Array, Array]:
        """When each rank has ended its step, and how long it was busy."""
        profile, machine = self._profile, self._machine
        when = self._clock(now + factor * profile.outside, factor)
        posts = [when(bucket.after) for bucket in profile.buckets]
        at = when(profile.compute) + self._whole
        busy = factor * profile.work + self._whole
        ready = [machine.node_max(post + self._flag) for post in posts]
        if self._several:
            # A rank looks up after long steps, and all the time from when it waits.
            looks = np.stack([when(after) for after in (*profile.looks, profile.compute)])
            ready, at = self._over_nodes(posts, ready, looks, at)
            busy = busy + sum(self._sums)
        for there, update in zip(ready, self._updates, strict=True):
            at = np.maximum(at, there) + update
            busy = busy + update
        return machine.node_max(at) + self._flag, busy

    def _clock(self, start: Array, factor: Array) -> Callable[[float], Array]:
        """When each rank has computed for so many seconds, with the meetings of all ranks on the way."""
        marks = [(0.0, start)]

        def when(after: float) -> Array:
            begun, at = marks[bisect_left(marks, after, lo=1, key=lambda mark: mark[0]) - 1]
            return at + factor * (after - begun)

        for after, seconds in self._meetings:
            marks.append((after, np.full_like(start, when(after).max() + seconds)))
        return when

    def _over_nodes(
        self, posts: list[Array], ready: list[Array], looks: Array, at: Array
    ) -> tuple[list[Array], Array]:
        """When the sums over nodes of each bucket are there, and when each rank has done its part of them.

        A rank sums its slice of a bucket on its node when it finds that all have posted: it looks when it posts, at
        ``looks`` [times, ranks], and while it waits. From then on the wire works beside it. The sums of a lane follow
        each other, in two halves, reduce-scatter and all-gather, or in the rounds of the ring, and each begins when all
        have seen the end of the one before: at their next look, unless messages advance by themselves.
        """
        done, free = [], np.zeros(self._machine.lanes)
        spent = np.zeros(self._machine.ranks)
        for k, sums in enumerate(self._sums):
            seen, post = self._others(posts[k]) + self._flag, posts[k] + spent
            begun = np.where(seen <= post, post, _next(looks + spent, ready[k])) + sums
            spent = spent + sums
            meeting = begun[self._peers].max(axis=0)
            one = self._wires[k] / self._rounds
            free = np.maximum(free, meeting) + one
            if k == 0:
                free = np.maximum(free, meeting + self._totals)
            for _ in range(1, self._rounds):
                if not self._machine.progress:
                    free = _next(looks + spent, free[self._lane])[self._peers].max(axis=0)
                free = free + one
            done.append(free[self._lane])
        return done, np.maximum(at + spent, begun)

    def _others(self, posts: Array) -> Array:
        """When the last of the other ranks of the node posts; -inf where there is none."""
        machine = self._machine
        last = machine.node_max(posts)
        is_last = posts == last
        alone = np.add.reduceat(is_last.astype(int), machine.starts)[machine.node_of] == 1
        return np.where(is_last & alone, machine.node_max(np.where(is_last, -np.inf, posts)), last)


def _next(looks: Array, after: Array) -> Array:
    """The first of the ``looks`` [times, ranks] of each rank that is not before ``after`` [ranks], else that itself."""
    later = np.where(looks < after, np.inf, looks).min(axis=0)
    return np.where(np.isinf(later), after, later)


def _compressed(
    profile: Profile, how: Compression, machine: Machine, adding: Array, factors: Array, meeting: float
) -> Trace:
    """Every rank packs its gradients, all take part in the exchange, and each applies the whole update.

    Meetings for statistics, of ``meeting`` seconds, wait for the slowest as the exchange does.
    """
    work = adding + profile.work * factors + how.pack
    exchange, wire = _of_all(how, machine)
    exchange += world_all_reduce(machine, 8) + meeting  # of the samples, which tell the shares
    after = (how.unpack * machine.ranks + profile.update) * machine.crowding.max()
    seconds = (work * machine.crowding).max(axis=1)
    waits = (seconds[:, None] - work * machine.crowding).mean(axis=0) + exchange
    return Trace(float(seconds.mean()) + exchange + float(after), waits, wire, how.nbytes * (machine.node_size - 1))


def _of_all(how: Compression, machine: Machine) -> tuple[float, float]:
    """The seconds in which all ranks' messages reach all ranks, and the bytes that the busiest node sends for it."""
    others = machine.ranks - machine.node_size
    if how.kind == "gathered":
        return world_all_gather(machine, how.nbytes), float(others * how.nbytes)
    if how.kind == "swapped":
        part = how.nbytes / machine.ranks
        seconds = world_all_to_all(machine, part) + world_all_gather(machine, part)
        return seconds, others * part * (machine.node_size + 1)
    return 2 * world_all_reduce(machine, how.nbytes / 2), all_reduce_bytes(machine.nodes, how.nbytes)


# -- averaging ---------------------------------------------------------------------------------------------------------


def averaging(profile: Profile, machine: Machine, table: Parallel, factors: Array) -> Trace:
    """`LocalSGD` and `EASGD`: every ``period`` steps all ranks meet and average all parameters.

    What happens while local SGD warms up is left out.
    """
    if machine.ranks == 1:
        return alone(profile, machine, table, factors)
    period, how = interval(table), profile.compression
    if how is None:
        exchange, wire = world_all_reduce(machine, profile.nbytes), all_reduce_bytes(machine.nodes, profile.nbytes)
        read, packing = 2 * profile.nbytes, 0.0
    else:
        exchange, wire = _of_all(how, machine)
        read, packing = how.nbytes * (machine.node_size - 1), how.pack + how.unpack * machine.ranks
    exchange += world_all_reduce(machine, _STATE_BYTES)
    work = _local(profile, machine, factors)
    passes = _PASSES * profile.nbytes / machine.memory.core
    own = (passes + packing + profile.around(machine.turns).worker) * machine.crowding
    now, waits = np.zeros(machine.ranks), np.zeros(machine.ranks)
    for step, seconds in enumerate(work, 1):
        now = now + seconds
        if step % period == 0:
            met = now.max()
            waits += met - now + exchange
            now = met + exchange + own
    steps = len(work)
    return Trace(float(now.max()) / steps, waits / steps, wire / period, read / period)


def gossip(profile: Profile, machine: Machine, table: Parallel, factors: Array) -> Trace:
    """`Gossip`: every ``period`` steps a rank waits for its neighbours of the round, and for nobody else."""
    if machine.ranks == 1:
        return alone(profile, machine, table, factors)
    period, ranks, how = interval(table), machine.ranks, profile.compression
    nbytes = profile.nbytes if how is None else how.nbytes
    # Each end unpacks what it sends too: its partner then knows that much, and no more.
    packing = 0.0 if how is None else how.encode + 2 * how.decode
    work = _local(profile, machine, factors)
    passes = _MIXING_PASSES * profile.nbytes / machine.memory.core
    overhead = profile.around(machine.turns).worker
    own = (passes + packing + max(overhead, 0.0)) * machine.crowding
    faster = min(overhead, 0.0) * machine.crowding  # that is not the neighbours' doing
    now, waits, free = np.zeros(ranks), np.zeros(ranks), np.zeros(machine.nodes)
    sent = 0.0
    for step, seconds in enumerate(work, 1):
        now = now + seconds
        if step % period:
            continue
        partners = _partners(table.topology, step // period, ranks)
        outside, inside = _messages(machine, partners)
        crossing = np.bincount(machine.node_of, outside, machine.nodes)
        if partners is None:
            longest = crossing[machine.node_of] * nbytes / machine.wire.bandwidth
            met = now.max() + outside.astype(bool) * machine.wire.latency + longest
        else:
            met = _met(machine, nbytes, now, partners, free)
        met = met + inside * machine.inner.seconds(nbytes) * machine.crowding
        waits += met - now
        now = met + (outside + inside) * own + faster
        sent += crossing.max() * nbytes
    steps = len(work)
    return Trace(float(now.mean()) / steps, waits / steps, sent / steps, 0.0)


def _met(machine: Machine, nbytes: float, now: Array, partners: Array, free: Array) -> Array:
    """When the ranks have what partners of other nodes send them, and those of their own node are there.

    Two partners exchange when both are there, and the wires of their nodes are ``free`` (from then; it is changed): one
    pair after the other, as a rank computes while another one of its node has the wire.
    """
    there = partners >= 0
    met = np.maximum(now, np.where(there, now[partners], 0.0).max(axis=1))
    nodes = machine.node_of
    one, place = np.nonzero(there & (nodes[partners] != nodes[:, None]))
    other = partners[one, place]
    one, other = one[one < other], other[one < other]
    ready = np.maximum(now[one], now[other])
    order = np.argsort(ready, kind="stable")
    transfer = nbytes / machine.wire.bandwidth
    ends, frees = met.tolist(), free.tolist()
    columns = (one, other, nodes[one], nodes[other], ready)
    for a, b, first, second, begin in zip(*(column[order].tolist() for column in columns), strict=True):
        end = frees[first] = frees[second] = max(begin, frees[first], frees[second]) + transfer
        ends[a], ends[b] = (max(ends[r], end + machine.wire.latency) for r in (a, b))
    free[:] = frees
    return np.array(ends)


def interval(table: Parallel) -> int:
    """The steps from one exchange of a rank to its next."""
    if table.mode in ("local_sgd", "easgd"):
        return table.period or 10
    return table.period or 1 if table.mode == "gossip" else table.accumulate


def _local(profile: Profile, machine: Machine, factors: Array) -> Array:
    """Seconds of steps that each rank does for itself [steps, ranks]."""
    return (factors * profile.work + profile.update) * machine.crowding


def _partners(topology: str, number: int, ranks: int) -> Array | None:
    """The neighbours of each rank in a round [ranks, neighbours], -1 for none; None: all have all."""
    if topology == "complete":
        return None
    own = np.arange(ranks)
    if topology == "ring":
        return np.stack([(own - 1) % ranks, (own + 1) % ranks][: min(2, ranks - 1)], axis=1)
    order = np.random.default_rng((0, number)).permutation(ranks)  # as `neighbours` draws it, for all ranks at once
    places = np.arange(ranks) ^ 1
    found = np.full(ranks, -1)
    has = places < ranks
    found[order[has]] = order[places[has]]
    return found[:, None]


def _messages(machine: Machine, partners: Array | None) -> tuple[Array, Array]:
    """How many messages each rank sends to other nodes, and on its own."""
    if partners is None:
        inside = machine.counts[machine.node_of] - 1
        return machine.ranks - 1 - inside, inside
    there = partners >= 0
    same = there & (machine.node_of[partners] == machine.node_of[:, None])
    return (there & ~same).sum(axis=1), same.sum(axis=1)


