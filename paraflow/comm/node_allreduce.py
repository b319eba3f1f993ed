"""All-reduce through memory that the ranks of a node share, in blocks that stay in the cores' caches.

The ranks copy a small buffer into staging areas, and everyone sums everything: one wait. Of a large one they divide
each block into slices. Each copies the slices of the others into its staging area, sums its own slice of all areas,
leaves the result in each of them, and copies the others' slices back from its own area: a reduce-scatter and an
all-gather (Thakur et al., 2005, "Optimization of Collective Communication Operations in MPICH"), of whose bytes only
one reading and one writing of the buffer reach the main memory. While a rank waits for a block it has others to do.

With several nodes each rank all-reduces what it has summed with the ranks that own the same slices elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from paraflow.comm.communicator import Buffer, Communicator, Op, Progress
from paraflow.comm.native_allreduce import TYPES, NativeAllreduce, functions
from paraflow.errors import RanksDisagree

BLOCK_BYTES = 2**18
SLICE_BYTES = 2**15  # of a block of compiled code, for each rank
SMALL_BYTES = 2**15
_SLOTS = 4  # blocks that each area holds
_LEAD = 1  # blocks that a rank stages before it sums the first, and sums before it takes the first
_GRAIN = 64  # items: slices begin on a cache line
_WIRE_BYTES = 2**23  # of the buffer that are summed over nodes at a time
_HEADER_BYTES = 4096
_FEW_LOOKS, _MANY_LOOKS = 16, 2000  # of compiled code, each some 50 ns, where ranks share cores, and where they do not
_STAGED, _SUMMED = 0, 1  # the flags of each rank: how many blocks it has put into staging, and has read from there
_FUNCTIONS: dict[Op, np.ufunc] = {"sum": np.add, "max": np.maximum, "min": np.minimum}
_OPS: list[Op] = list(_FUNCTIONS)


class Block(NamedTuple):
    """Items ``start`` to ``end`` of the buffer, and the slot of the areas that they pass through."""

    start: int
    end: int
    slot: int

    @property
    def size(self) -> int:
        """The number of items."""
        return self.end - self.start


Step = Callable[[Block], object]
Areas = list[list[Buffer]]
"""The staging areas of all ranks, [rank][slot], as arrays of one dtype."""


class NodeAllreduce:
    """The all-reduce of a world of one node, or of several.

    ``lanes`` is the number of slices, at most the ranks of the smallest node. ``over_nodes`` all-reduces an array with
    the owners of the same slice on the other nodes; None where there is one node. ``progress`` is called while a rank
    waits; on a ``crowded`` node there are more ranks than cores. Each rank gives 1 MiB of shared memory; several nodes
    take another 8 MiB divided by the lanes. Making it is collective on the node and raises SharedMemoryUnavailable.
    """

    def __init__(
        self,
        node: Communicator,
        lanes: int,
        over_nodes: Callable[[Buffer, Op], None] | None = None,
        progress: Progress = None,
        crowded: bool = False,
    ) -> None:
        self._rank, self._ranks, self._lanes = node.rank, node.size, lanes
        self._over_nodes, self._progress = over_nodes, progress
        self._memory = node.share(_HEADER_BYTES + _SLOTS * BLOCK_BYTES, flags=2)
        self._headers = [part.data[: 8 * _SLOTS].cast("q") for part in self._memory.parts]
        self._areas: dict[str, Areas] = {}
        self._wire = np.empty(0, np.uint8)
        self._header = 0  # what this rank calls, for comparison
        self._blocks = 0
        self._native = None if over_nodes else self._compiled(node, crowded)

    def _compiled(self, node: Communicator, crowded: bool) -> NativeAllreduce | None:
        """Compiled code for sums on one node; None, on all ranks, where one rank has none."""
        flags = [self._memory.addresses(flag) for flag in (_STAGED, _SUMMED)]
        compiled = None if None in flags else functions()
        if not all(node.allgather(compiled is not None)) or compiled is None:
            return None
        layout = {"rank": self._rank, "ranks": self._ranks, "lanes": self._lanes}
        layout |= {"slots": _SLOTS, "lead": _LEAD, "grain": _GRAIN, "stride": BLOCK_BYTES}
        layout["looks"] = _FEW_LOOKS if crowded else _MANY_LOOKS
        starts = 0, _HEADER_BYTES
        return NativeAllreduce(compiled, self._memory, [f for f in flags if f], starts, layout, self._progress)

    def __call__(self, flat: Buffer, op: Op) -> None:
        """Replace ``flat``, one-dimensional, by its reduction in the order of ranks.

        Raises RanksDisagree where ranks of the node come with another size, dtype or operation.
        """
        areas = self._areas.get(flat.dtype.char) or self._add_areas(flat.dtype)
        self._header = (flat.size * len(_OPS) + _OPS.index(op)) << 8 | ord(flat.dtype.char)
        with np.errstate(all="ignore"):  # an overflow is a result here, as it is in MPI
            slices = flat.nbytes > SMALL_BYTES
            if self._over_nodes is not None:
                self._over_several_nodes(flat, op, areas, self._over_nodes)
            elif self._native is not None and op == "sum" and flat.dtype.char in TYPES:
                self._by_compiled_code(self._native, flat, slices)
            elif slices:
                self._in_slices(flat, op, areas)
            else:
                self._everything(flat, op, areas)

    def _by_compiled_code(self, native: NativeAllreduce, flat: Buffer, slices: bool) -> None:
        items = min(BLOCK_BYTES, SLICE_BYTES * self._ranks) // flat.itemsize
        first = self._blocks
        self._blocks += max(-(-flat.size // items), 1)
        if not native(flat, items, slices, first, self._header):
            self._compare(first % _SLOTS)

    def _everything(self, flat: Buffer, op: Op, areas: Areas) -> None:
        """Every rank sums every block, from staging areas only, so that all compute the same."""
        function, own = _FUNCTIONS[op], areas[self._rank]

        def stage(block: Block) -> None:
            own[block.slot][: block.size] = flat[block.start : block.end]

        def combine(block: Block) -> None:
            sources = [area[block.slot][: block.size] for area in areas]
            _reduce(function, sources, flat[block.start : block.end])

        self._pipeline(flat, stage, combine, None)

    def _in_slices(self, flat: Buffer, op: Op, areas: Areas) -> None:
        def combine(block: Block) -> None:
            low, high = self._slice(block.size)
            out = areas[self._rank][block.slot][low:high]  # where nobody has staged anything
            _reduce(_FUNCTIONS[op], self._sources(flat, areas, block), out)
            flat[block.start + low : block.start + high] = out
            self._hand_out(out, areas, block)

        self._pipeline(flat, self._staging(flat, areas), combine, self._taking(flat, areas))

    def _over_several_nodes(
        self, flat: Buffer, op: Op, areas: Areas, over_nodes: Callable[[Buffer, Op], None]
    ) -> None:
        step = _WIRE_BYTES // flat.itemsize
        for start in range(0, max(flat.size, 1), step):
            self._two_levels(flat[start : start + step], op, areas, over_nodes)

    def _two_levels(self, flat: Buffer, op: Op, areas: Areas, over_nodes: Callable[[Buffer, Op], None]) -> None:
        """Sum this rank's slices of all blocks on the node, then over nodes, then hand them out on the node."""
        items = BLOCK_BYTES // flat.itemsize
        slices = [self._slice(min(items, flat.size - start)) for start in range(0, max(flat.size, 1), items)]
        places = np.cumsum([0, *(high - low for low, high in slices)])
        if self._wire.nbytes < places[-1] * flat.itemsize:
            self._wire = np.empty(places[-1] * flat.itemsize, np.uint8)
        wire = self._wire[: places[-1] * flat.itemsize].view(flat.dtype)

        def on_wire(block: Block) -> Buffer:
            number = block.start // items
            return wire[places[number] : places[number + 1]]

        def combine(block: Block) -> None:
            _reduce(_FUNCTIONS[op], self._sources(flat, areas, block), on_wire(block))

        def publish(block: Block) -> None:
            low, high = self._slice(block.size)
            flat[block.start + low : block.start + high] = on_wire(block)
            self._hand_out(on_wire(block), areas, block)

        self._pipeline(flat, self._staging(flat, areas), combine, None)
        if wire.size:
            over_nodes(wire, op)
        self._pipeline(flat, None, publish, self._taking(flat, areas))

    def _slice(self, size: int) -> tuple[int, int]:
        """This rank's slice of a block of ``size`` items: (first, past the last)."""
        return _slices(size, self._lanes, self._ranks)[self._rank]

    def _sources(self, flat: Buffer, areas: Areas, block: Block) -> list[Buffer]:
        """This rank's slice of a block: where the others have staged it, and its place in this rank's buffer."""
        low, high = self._slice(block.size)
        sources = [area[block.slot][low:high] for area in areas]
        sources[self._rank] = flat[block.start + low : block.start + high]
        return sources

    def _hand_out(self, values: Buffer, areas: Areas, block: Block) -> None:
        """Leave the sum of this rank's slice where the others had staged it: they look for it there."""
        low, high = self._slice(block.size)
        for rank, area in enumerate(areas):
            if rank != self._rank:
                area[block.slot][low:high] = values

    def _staging(self, flat: Buffer, areas: Areas) -> Step:
        """Copy the slices of others into the staging area."""

        def stage(block: Block) -> None:
            low, high = self._slice(block.size)
            own, values = areas[self._rank][block.slot], flat[block.start : block.end]
            own[:low] = values[:low]
            own[high : block.size] = values[high:]

        return stage

    def _taking(self, flat: Buffer, areas: Areas) -> Step:
        """Copy the slices of others from where they have left them, in this rank's staging area."""

        def take(block: Block) -> None:
            low, high = self._slice(block.size)
            own, values = areas[self._rank][block.slot], flat[block.start : block.end]
            values[:low] = own[:low]
            values[high:] = own[high : block.size]

        return take

    def _pipeline(self, flat: Buffer, stage: Step | None, combine: Step, take: Step | None) -> None:
        """Pass the buffer through the areas, block by block.

        A slot is free when all have summed the block that it held, and its rank has taken that block: so a rank has to
        take block b - _SLOTS before it stages b, which bounds _LEAD.
        """
        memory, progress = self._memory, self._progress
        items = BLOCK_BYTES // flat.itemsize
        first = self._blocks
        starts = range(0, max(flat.size, 1), items)  # nothing is one empty block: ranks with something would wait
        blocks = [Block(s, min(s + items, flat.size), (first + k) % _SLOTS) for k, s in enumerate(starts)]
        self._blocks += len(blocks)
        for k in range(len(blocks) + _LEAD + 1):
            if k < len(blocks):
                memory.wait(_SUMMED, first + k + 1 - _SLOTS, progress)
                if k == 0:
                    self._headers[self._rank][blocks[0].slot] = self._header
                if stage is not None:
                    stage(blocks[k])
                memory.post(_STAGED, first + k + 1)
            j = k - _LEAD
            if 0 <= j < len(blocks):
                memory.wait(_STAGED, first + j + 1, progress)
                if j == 0:
                    self._compare(blocks[0].slot)
                combine(blocks[j])
                memory.post(_SUMMED, first + j + 1)
            if take is not None and 0 <= j - 1 < len(blocks):
                memory.wait(_SUMMED, first + j, progress)
                take(blocks[j - 1])

    def _compare(self, slot: int) -> None:
        own = self._headers[self._rank][slot]
        for rank, header in enumerate(self._headers):
            if header[slot] != own:
                mine, other = _described(own), _described(header[slot])
                raise RanksDisagree(
                    f"the ranks of a node disagree on an allreduce: rank {self._rank} of the node has {mine}, "
                    f"rank {rank} has {other}"
                )

    def _add_areas(self, dtype: np.dtype[Any]) -> Areas:
        places = [_HEADER_BYTES + slot * BLOCK_BYTES for slot in range(_SLOTS)]
        areas = [[part[p : p + BLOCK_BYTES].view(dtype) for p in places] for part in self._memory.parts]
        self._areas[dtype.char] = areas
        return areas


@lru_cache(maxsize=64)
def _slices(size: int, lanes: int, ranks: int) -> list[tuple[int, int]]:
    """The slices of all ranks of a block of ``size`` items; those of ranks beyond ``lanes`` are empty."""
    chunk = -(-size // lanes // _GRAIN) * _GRAIN
    ends = [min(lane * chunk, size) for lane in range(ranks + 1)]
    return list(pairwise(ends))


def _reduce(function: np.ufunc, sources: list[Buffer], out: Buffer) -> None:
    if len(sources) == 1:
        out[...] = sources[0]
        return
    function(sources[0], sources[1], out=out)
    for source in sources[2:]:
        function(out, source, out=out)


def _described(header: int) -> str:
    size, op = divmod(header >> 8, len(_OPS))
    return f"{size} {np.dtype(chr(header & 255))} to reduce by {_OPS[op]!r}"
