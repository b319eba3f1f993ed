"""The arena: where every intermediate result of a plan lies.

Blocks are given out in program order, best fit first, and reused once nobody reads them. "Nobody" depends on the
executor: with one lane that is a matter of program order; when independent steps may run at the same time, a block is
reused only by a step that comes after all its readers by dependencies, so any order that keeps these is valid.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass

ALIGNMENT = 64

# Free stretches that are looked at for one block. Where independent steps are many, all are guarded by steps that may
# still run, and looking at each of them for every block would take a time that grows with the square of the plan.
TRIES = 32


def aligned(size: int) -> int:
    """``size`` rounded up to a whole number of cache lines."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@dataclass(eq=False, slots=True)
class Free:
    """A free stretch; ``guard`` are the steps that must be over before it may be written."""

    offset: int
    size: int
    guard: tuple[int, ...]


class Arena:
    """Gives out and takes back stretches of one buffer that grows as needed."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sizes: list[int] = []  # of the free stretches, each once, ascending
        self._free: dict[int, dict[Free, None]] = {}  # those of a size, the one that was released last at the end
        self._begins: dict[int, Free] = {}  # by the offset where they begin, and where they end
        self._ends: dict[int, Free] = {}

    def allocate(self, size: int, over: Callable[[int], object]) -> int:
        """The offset of ``size`` bytes for a step; ``over`` tells of other steps whether they are over before it."""
        size = aligned(max(size, 1))
        best = self._fitting(size, over)
        if best is None:
            offset = self.bytes
            self.bytes += size
            return offset
        self._take(best)
        if best.size > size:
            self._put(Free(best.offset + size, best.size - size, best.guard))
        return best.offset

    def release(self, offset: int, size: int, guard: tuple[int, ...] = ()) -> None:
        """Take a stretch back; it may be written when the steps ``guard`` are over."""
        size = aligned(max(size, 1))
        before, after = self._ends.get(offset), self._begins.get(offset + size)
        if before is not None and before.guard == guard:
            self._take(before)
            offset, size = before.offset, before.size + size
        if after is not None and after.guard == guard:
            self._take(after)
            size += after.size
        self._put(Free(offset, size, guard))

    def _fitting(self, size: int, over: Callable[[int], object]) -> Free | None:
        """The smallest stretch that is large enough and not guarded; of several the one that was released last."""
        tries = TRIES
        for i in range(bisect_left(self._sizes, size), len(self._sizes)):
            for free in reversed(self._free[self._sizes[i]]):
                if all(map(over, free.guard)):
                    return free
                tries -= 1
                if not tries:
                    return None
        return None

    def _put(self, free: Free) -> None:
        if free.size not in self._free:
            self._free[free.size] = {}
            insort(self._sizes, free.size)
        self._free[free.size][free] = None
        self._begins[free.offset] = self._ends[free.offset + free.size] = free

    def _take(self, free: Free) -> None:
        del self._free[free.size][free], self._begins[free.offset], self._ends[free.offset + free.size]
        if not self._free[free.size]:
            del self._free[free.size], self._sizes[bisect_left(self._sizes, free.size)]
