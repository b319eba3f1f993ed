"""The arena: where every intermediate result of a plan lies.

Blocks are given out in program order, best fit first, and reused once nobody reads them. "Nobody" depends on the
executor: with one lane that is a matter of program order; when independent steps may run at the same time, a block is
reused only by a step that comes after all its readers by dependencies, so any order that keeps these is valid.
"""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64


def aligned(size: int) -> int:
    """``size`` rounded up to a whole number of cache lines."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@dataclass
class Free:
    """A free stretch; ``guard`` is the set (bit mask) of steps that must be over before it may be written."""

    offset: int
    size: int
    guard: int


class Arena:
    """Gives out and takes back stretches of one buffer that grows as needed."""

    def __init__(self) -> None:
        self.bytes = 0
        self._free: list[Free] = []

    def allocate(self, size: int, over: int) -> int:
        """The offset of ``size`` bytes for a step before which the steps ``over`` (bit mask) are over."""
        size = aligned(max(size, 1))
        fitting = [f for f in self._free if f.size >= size and not f.guard & ~over]
        if not fitting:
            offset = self.bytes
            self.bytes += size
            return offset
        best = min(fitting, key=lambda f: f.size)
        offset = best.offset
        best.offset += size
        best.size -= size
        if not best.size:
            self._free.remove(best)
        return offset

    def release(self, offset: int, size: int, guard: int) -> None:
        """Take a stretch back; it may be written when the steps ``guard`` (bit mask) are over."""
        size = aligned(max(size, 1))
        merged = Free(offset, size, guard)
        rest = []
        for other in self._free:
            if other.offset + other.size == merged.offset and other.guard == merged.guard:
                merged = Free(other.offset, other.size + merged.size, merged.guard)
            elif merged.offset + merged.size == other.offset and other.guard == merged.guard:
                merged = Free(merged.offset, merged.size + other.size, merged.guard)
            else:
                rest.append(other)
        self._free = [*rest, merged]
