"""The machine in a few numbers: an alpha-beta model of wire and memory, and what collectives cost by it.

A message of m bytes takes alpha + m / beta (Hockney, Parallel Computing 20, 1994). The algorithms of collectives and
their costs are those of Thakur, Rabenseifner and Gropp (IJHPCA 19, 2005); the ring is shown to be optimal in bandwidth
by Patarasuk and Yuan (JPDC 69, 2009). Times are in seconds, sizes in bytes, bandwidths in bytes per second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from paraflow.errors import ConfigError

Array = np.ndarray[Any, Any]

_TIMES = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_RATES = {"B/s": 1.0, "kB/s": 1e3, "MB/s": 1e6, "GB/s": 1e9, "bit/s": 1 / 8, "Mbit/s": 1e6 / 8, "Gbit/s": 1e9 / 8}


@dataclass(frozen=True)
class Link:
    """What messages go over, both ways at once: ``latency`` of one and ``bandwidth``; a node's ranks share its wire."""

    latency: float
    bandwidth: float

    @classmethod
    def parse(cls, text: str, option: str = "--link") -> Link:
        """``LATENCY,BANDWIDTH``, such as ``10us,12.5GB/s``; raises ConfigError for anything else."""
        latency, bandwidth = _numbers(option, text, "LATENCY,BANDWIDTH such as 10us,12.5GB/s", (_TIMES, _RATES))
        return cls(latency, bandwidth)

    def shared(self, by: float) -> Link:
        """What each of ``by`` ranks has of it that use it at the same time."""
        return replace(self, bandwidth=self.bandwidth / by)

    def seconds(self, nbytes: float) -> float:
        """A message of ``nbytes``."""
        return self.latency + nbytes / self.bandwidth


@dataclass(frozen=True)
class Memory:
    """The memory that the ranks of a node share.

    ``latency`` is the time from posting a flag until another rank has seen it; ``core`` the bandwidth at which one core
    reads what another has written; ``node`` that of all cores together.
    """

    latency: float
    core: float
    node: float

    @classmethod
    def parse(cls, text: str) -> Memory:
        """``LATENCY,CORE,NODE``, such as ``1us,8GB/s,60GB/s``; raises ConfigError for anything else."""
        form = "LATENCY,CORE,NODE such as 1us,8GB/s,60GB/s"
        return cls(*_numbers("--memory", text, form, (_TIMES, _RATES, _RATES)))


def _numbers(option: str, text: str, form: str, units: tuple[dict[str, float], ...]) -> tuple[float, ...]:
    parts = text.split(",")
    found = []
    for part, known in zip(parts, units, strict=False):
        match = re.fullmatch(r"\s*(\d+\.?\d*(?:[eE]-?\d+)?)\s*(\S+)\s*", part)
        if match and match[2] in known and float(match[1]) > 0:
            found.append(float(match[1]) * known[match[2]])
    if len(found) != len(units) or len(parts) != len(units):
        names = "; ".join(", ".join(known) for known in dict.fromkeys(map(tuple, units)))
        raise ConfigError(f"{option} {text!r} is not {form} (units: {names}; numbers above 0)")
    return tuple(found)


@dataclass(frozen=True)
class Machine:
    """``ranks`` on ``nodes`` of ``cores`` each, in blocks; where it is uneven, the first nodes have one rank more.

    With ``progress`` messages between nodes advance while ranks compute, by a thread or a card of MPI's own; else when
    a rank looks at them between two steps of its plan. ``messages`` are those between two ranks of a node; where they
    are not known, their cost is estimated from the memory's. Ranks in ``whole_turns`` stay on their core for a step.
    ``awake`` is the part of the ranks that are at work at a time, on average: those that wait leave the cores to them.

    Raises ConfigError for more nodes than ranks, and for several nodes without a link.
    """

    ranks: int
    nodes: int
    cores: float
    memory: Memory
    link: Link | None = None
    progress: bool = False
    messages: Link | None = None
    whole_turns: bool = False
    awake: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= self.ranks:
            raise ConfigError(f"{self.nodes} nodes for {self.ranks} ranks: a node has at least one rank")
        if self.nodes > 1 and self.link is None:
            raise ConfigError(f"{self.nodes} nodes need a wire: give --link LATENCY,BANDWIDTH, such as 10us,12.5GB/s")

    @cached_property
    def counts(self) -> Array:
        """The ranks of each node [nodes]."""
        whole, rest = divmod(self.ranks, self.nodes)
        return whole + (np.arange(self.nodes) < rest)

    @cached_property
    def starts(self) -> Array:
        """The first rank of each node [nodes]."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def node_of(self) -> Array:
        """The node of each rank [ranks]."""
        return np.repeat(np.arange(self.nodes), self.counts)

    @property
    def node_size(self) -> int:
        """The ranks of the fullest node."""
        return int(self.counts[0])

    @property
    def lanes(self) -> int:
        """The ranks of a node that have a slice of the planes: as many as the emptiest node has."""
        return int(self.counts[-1])

    @cached_property
    def turns(self) -> Array:
        """How many ranks take turns on a core, on average, for each rank [ranks]; 1 where each has its own."""
        return np.maximum(1.0, self.counts / self.cores)[self.node_of]

    @property
    def crowding(self) -> Array:
        """By which factor what a rank does takes longer for that [ranks]; in whole turns as on the fullest core."""
        return np.ceil(self.turns) if self.whole_turns else np.maximum(1.0, self.turns * self.awake)

    @property
    def wire(self) -> Link:
        """The link between nodes; on a single node messages are copied through its memory, in and out."""
        return self.link if self.nodes > 1 and self.link is not None else self.inner

    @property
    def inner(self) -> Link:
        """A message between two ranks of a node; by estimate two flags, to announce and to take it, and two copies."""
        return self.messages or Link(2 * self.memory.latency, self.memory.core / 2)

    def node_max(self, of_ranks: Array) -> Array:
        """The greatest value on each rank's node, [ranks] -> [ranks]."""
        return np.maximum.reduceat(of_ranks, self.starts)[self.node_of]

    def scaled(self, ranks: int) -> Machine:
        """The same kind of machine with another number of ranks, and as many to a node."""
        return replace(self, ranks=ranks, nodes=-(-ranks // self.node_size))

    def apart(self) -> Machine:
        """The ranks without shared memory: each is a node of its own, and has its part of wire and cores."""
        share = self.node_size
        wire = self.wire.shared(share if self.nodes > 1 else 1)
        return replace(self, nodes=self.ranks, cores=self.cores / share, link=wire)


# -- collectives between n ranks, each with a link of its own ----------------------------------------------------------


def ring_all_reduce(n: int, nbytes: float, link: Link) -> float:
    """2 (n-1) messages of a n-th each (Patarasuk and Yuan 2009)."""
    return 2 * (n - 1) * link.seconds(nbytes / n)


def ring_all_reduce_bytes(n: int, nbytes: float) -> float:
    """What each rank sends on a ring: no all-reduce sends less."""
    return 2 * (n - 1) / n * nbytes


def doubling_all_reduce(n: int, nbytes: float, link: Link) -> float:
    """Recursive doubling: log2 n messages of everything (Thakur et al. 2005, section 4.4)."""
    power, others = _folded(n)
    return (_rounds(power) + 2 * others) * link.seconds(nbytes)


def halving_all_reduce(n: int, nbytes: float, link: Link) -> float:
    """Rabenseifner's: reduce-scatter by recursive halving, then all-gather (Thakur et al. 2005, section 4.4)."""
    power, others = _folded(n)
    halves = 2 * _rounds(power) * link.latency + ring_all_reduce_bytes(power, nbytes) / link.bandwidth
    return halves + 2 * others * link.seconds(nbytes)


def all_reduce(n: int, nbytes: float, link: Link) -> float:
    """The faster of the two, as MPICH chooses by size; 0 for one rank."""
    return min(f(n, nbytes, link) for f in (doubling_all_reduce, halving_all_reduce))


def all_reduce_bytes(n: int, nbytes: float) -> float:
    """What the busiest rank sends in one of many bytes."""
    power, others = _folded(n)
    return ring_all_reduce_bytes(power, nbytes) + others * nbytes


def _folded(n: int) -> tuple[int, bool]:
    """The largest power of two up to ``n``, and whether there are others: these hand over all, and get all."""
    power = 1 << n.bit_length() - 1
    return power, power < n


def _rounds(n: int) -> int:
    return (n - 1).bit_length()


# -- collectives of all ranks of a machine -----------------------------------------------------------------------------


def world_all_reduce(machine: Machine, nbytes: float) -> float:
    """Through each node's memory, slice by slice, and between nodes by an `all_reduce` of each slice.

    As paraflow/comm/node_allreduce.py does it: a rank copies the slices of the others for them, reads what they have of
    its own, and reads their sums; two ranks do without the last.
    """
    size, lanes = machine.node_size, machine.lanes
    copies = (1.0, 1.0) if size == 2 else 3 * ((size - 1) / size,)
    inside = 2 * machine.memory.latency + sum(copies) * nbytes / machine.memory.core if size > 1 else 0.0
    return inside + all_reduce(machine.nodes, nbytes / lanes, machine.wire.shared(lanes))


def world_all_gather(machine: Machine, part: float) -> float:
    """A ring in the order of ranks: every rank takes the parts of all others, every node those of the other nodes."""
    others = machine.ranks - machine.node_size
    inside = _rounds(machine.node_size) * machine.inner.latency + (machine.ranks - 1) * part / machine.inner.bandwidth
    wire = machine.wire
    return inside + (_rounds(machine.nodes) * wire.latency + others * part / wire.bandwidth if others else 0.0)


def world_all_to_all(machine: Machine, part: float) -> float:
    """Every rank sends every other one a part, one message after the other; the wire is shared by the node's ranks."""
    others = machine.ranks - machine.node_size
    inside = (machine.node_size - 1) * machine.inner.seconds(part)
    return inside + (others * machine.wire.shared(machine.node_size).seconds(part) if others else 0.0)
