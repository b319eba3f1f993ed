"""Workers and servers in simulated time, push by push: queues at the servers, staleness, bounds, steps that close."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from paraflow.experiment.schema import Parallel
from paraflow.experiment.strategies import parts_of
from paraflow.simulate.events import Trace, alone
from paraflow.simulate.model import Machine
from paraflow.simulate.profile import Profile

Array = np.ndarray[Any, Any]

_COPY = 2  # a copy reads and writes
_SETTLING = 3  # simulations, after which no more ranks wait or fewer
_PASSES = 3  # over a gradient that a step counts: weighted, and added to the others


class Answered(NamedTuple):
    """A worker that gets the parameters now: the staleness of its push, and whether its gradient was of use."""

    worker: int
    staleness: int
    useful: bool


class Policy(Protocol):
    """When a push is answered, as in paraflow/parallel/server/policies.py; ``summed`` counts gradients of closed steps.

    ``applied`` tells whether the last push has led to an update.
    """

    version: int
    summed: int
    applied: bool

    def push(self, worker: int) -> list[Answered]:
        """A push has come; who is answered now."""


class Immediate:
    """Every push is an update; with ``bound`` a worker that is more steps ahead of the slowest is not answered yet."""

    def __init__(self, workers: int, bound: int | None) -> None:
        self.version, self.summed, self.applied = 0, 0, True
        self._bound = bound
        self._pulled = [0] * workers
        self._clocks = [0] * workers
        self._at: Counter[int] = Counter({0: workers})
        self._slowest = 0
        self._held: dict[int, list[Answered]] = {}  # by clock

    def push(self, worker: int) -> list[Answered]:
        """Apply; answer the worker, or those who are within the bound now."""
        clock = self._clocks[worker]
        self._clocks[worker] = clock + 1
        self._at[clock] -= 1
        self._at[clock + 1] += 1
        answer = Answered(worker, self.version - self._pulled[worker], True)
        self.version += 1
        released = [answer]
        if self._bound is not None:
            self._held.setdefault(clock + 1, []).append(answer)
            while not self._at[self._slowest]:
                del self._at[self._slowest]
                self._slowest += 1
            within = [c for c in self._held if c - self._slowest <= self._bound]
            released = [a for c in within for a in self._held.pop(c)]
        for one in released:
            self._pulled[one.worker] = self.version
        return released


class Closing:
    """A step closes when all but ``backup`` workers have pushed for it; a late push is answered at once."""

    def __init__(self, workers: int, backup: int, adds: bool) -> None:
        self.version, self.summed, self.applied = 0, 0, False
        self._needed, self._adds = workers - backup, adds
        self._pulled = [0] * workers
        self._came: list[int] = []

    def push(self, worker: int) -> list[Answered]:
        """Count the push in its step, and close that when it is complete."""
        self.applied = False
        late = self.version - self._pulled[worker]
        if late:
            self._pulled[worker] = self.version
            return [Answered(worker, late, self._adds)]
        self._came.append(worker)
        if len(self._came) < self._needed:
            return []
        self.version += 1
        self.applied, self.summed = True, len(self._came)
        answers = [Answered(w, 0, True) for w in self._came]
        for w in self._came:
            self._pulled[w] = self.version
        self._came = []
        return answers


def parameter_server(profile: Profile, machine: Machine, table: Parallel, factors: Array) -> Trace:
    """`ParameterServer`: pushes are applied as they come, within the bound, or at ``staleness`` 0 by closed steps."""
    if machine.ranks == 1:
        return alone(profile, machine, table, factors)
    workers = machine.ranks - table.servers
    policy: Callable[[], Policy] = partial(Immediate, workers, table.staleness)
    if table.staleness == 0:
        policy = partial(Closing, workers, 0, adds=False)
    return _served(profile, machine, profile.shares, policy, factors)


def backup_workers(profile: Profile, machine: Machine, table: Parallel, factors: Array) -> Trace:
    """`BackupWorkers`: the last rank collects, and closes steps without the slowest."""
    if machine.ranks == 1:
        return alone(profile, machine, table, factors)
    policy = partial(Closing, machine.ranks - 1, table.backup, table.late == "add")
    return _served(profile, machine, (1.0,), policy, factors)


def _served(
    profile: Profile, machine: Machine, shares: tuple[float, ...], policy: Callable[[], Policy], factors: Array
) -> Trace:
    """A run in which ranks that wait for an answer take no turns on a core, servers always do.

    How many wait is what each simulation takes from the one before.
    """
    trace = _Servers(profile, machine, shares, policy()).run(factors)
    for _ in range(_SETTLING if machine.turns.max() > 1 else 0):
        machine = at_work(machine, len(shares), float(trace.waits.mean()) / trace.seconds)
        trace = _Servers(profile, machine, shares, policy()).run(factors)
    return trace


def at_work(machine: Machine, servers: int, waiting: float) -> Machine:
    """The machine where workers are ``waiting`` for that part of their time."""
    workers = machine.ranks - servers
    return replace(machine, awake=(servers + workers * min(max(1 - waiting, 0.0), 1.0)) / machine.ranks)


class _Server:
    """When a server's core and the two directions of its wire are free, and what a push takes of them."""

    def __init__(self, profile: Profile, machine: Machine, rank: int, share: float, beside: int) -> None:
        memory, crowding = machine.memory, float(machine.crowding[rank])
        self.node = int(machine.node_of[rank])
        how = profile.compression
        self.nbytes = share * profile.nbytes
        pushed = self.nbytes if how is None else share * how.nbytes
        wire = machine.wire.shared(beside)
        self.latency, self.transfer = wire.latency, self.nbytes / wire.bandwidth
        self.push = pushed / wire.bandwidth
        copy = _COPY * self.nbytes / memory.core * crowding
        # A message costs both its ends half of its latency, and one of the same node the copy of its bytes.
        inner = machine.inner
        self.message, self.near = inner.latency / 2 * crowding, self.nbytes / inner.bandwidth * crowding
        self.near_push = pushed / inner.bandwidth * crowding
        unpack = copy if how is None else share * how.decode * crowding
        self.take = (profile.call + profile.around(machine.turns).server) * crowding + unpack
        self.update = (profile.call + share * profile.update) * crowding
        self.add = _PASSES * self.nbytes / memory.core * crowding
        self.write = self.send = copy
        self.inbound = self.core = self.outbound = 0.0

    def receive(self, sent: float, near: bool) -> None:
        """A push that was sent at that time; one of the same node comes through memory."""
        if near:
            self.core = max(self.core, sent + self.message) + self.message + self.near_push + self.take
            return
        self.inbound = max(self.inbound, sent + self.latency) + self.push
        self.core = max(self.core, self.inbound) + self.take

    def apply(self, summed: int) -> None:
        """An update, of the sum of so many gradients, or of one as it came; then the answer is made."""
        self.core += self.update + summed * self.add + self.write

    def answer(self, near: bool) -> float:
        """When the worker has the parameters; one answer leaves after the other."""
        if near:
            self.core = self.outbound = max(self.outbound, self.core) + self.message + self.near
            return self.core + self.message
        self.core += self.send
        self.outbound = max(self.outbound, self.core) + self.transfer
        return self.outbound + self.latency


def busy(profile: Profile, machine: Machine, table: Parallel) -> float:
    """The seconds for which a push keeps the core of a lone server, on average over the workers, all on its node."""
    workers = machine.ranks - 1
    closing = table.mode == "backup_workers" or table.staleness == 0
    server = _Server(profile, machine, workers, 1.0, 1)
    for _ in range(workers):
        server.receive(-server.message, near=True)
        if not closing:
            server.apply(0)
        server.answer(near=True)
    if closing:
        server.apply(parts_of(table, machine.ranks))
    return server.core / workers


class _Servers:
    def __init__(self, profile: Profile, machine: Machine, shares: tuple[float, ...], policy: Policy) -> None:
        self._machine, self._policy = machine, policy
        self._workers = machine.ranks - len(shares)
        ranks = range(self._workers, machine.ranks)
        on_node = Counter(int(machine.node_of[r]) for r in ranks)
        self._servers = [
            _Server(profile, machine, r, share, on_node[int(machine.node_of[r])])
            for r, share in zip(ranks, shares, strict=True)
        ]
        nodes = machine.node_of[: self._workers].tolist()
        self._near = [[node == server.node for server in self._servers] for node in nodes]
        # The gradients into the message, the answer out of it.
        copy, how = _COPY * profile.nbytes / machine.memory.core, profile.compression
        packing = copy if how is None else how.encode
        self._work = profile.work + packing + copy + profile.around(machine.turns).worker
        self._nbytes = profile.nbytes

    def run(self, factors: Array) -> Trace:
        """As many pushes as there are factors [steps, workers]; the first quarter only fills the queues."""
        steps, workers = factors.shape
        policy = self._policy
        work = (self._work * factors * self._machine.crowding[:workers]).T.tolist()
        done = [1] * workers
        queue = [(seconds[0], worker) for worker, seconds in enumerate(work)]
        heapq.heapify(queue)
        sent = [seconds[0] for seconds in work]
        waits, staleness = np.zeros(workers), Counter[int]()
        useful = answered = 0
        total, began, first_version, first_answered = steps * workers, 0.0, 0, 0
        for number in range(total):
            now, worker = heapq.heappop(queue)
            for server, near in zip(self._servers, self._near[worker], strict=True):
                server.receive(now, near)
            answers = policy.push(worker)
            if policy.applied:
                for server in self._servers:
                    server.apply(policy.summed)
            for other, stale, of_use in answers:
                pairs = zip(self._servers, self._near[other], strict=True)
                back = max([server.answer(near) for server, near in pairs])
                waits[other] += back - sent[other]
                staleness[stale] += 1
                useful += of_use
                answered += 1
                seconds = work[other]
                sent[other] = back + seconds[done[other] % steps]
                done[other] += 1
                heapq.heappush(queue, (sent[other], other))
            if number == total // 4:
                began, first_version, first_answered = now, policy.version, answered
                waits[:], useful = 0.0, 0
                staleness.clear()
        counted = answered - first_answered
        window = now - began
        rounds = counted / workers
        if isinstance(policy, Closing):
            rounds = policy.version - first_version
        return Trace(
            window / max(rounds, 1), waits * workers / max(counted, 1), self._wire(), 0.0,
            useful / max(rounds * workers, 1), dict(sorted(staleness.items())),
        )  # fmt: skip

    def _wire(self) -> float:
        """The bytes that the busiest node of servers sends in a step of every worker."""
        sent = Counter[int]()
        for number, server in enumerate(self._servers):
            sent[server.node] += int(server.nbytes * sum(not near[number] for near in self._near))
        return float(max(sent.values()))
