"""The arena: where every intermediate result of a plan lies.

Blocks are given out in program order, best fit first, and reused once nobody reads them. "Nobody" depends on the
executor: with one lane that is a matter of program order; when independent steps may run at the same time, a block is
reused only by a step that comes after all its readers by dependencies, so any order that keeps these is valid.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from paraflow.compiler.draft import Draft, SlotDraft, StepDraft
from paraflow.compiler.plan import ARENA, BIND_VIEW, KERNEL
from paraflow.kernels.numpy import KERNELS

Over = Callable[[int], object]
"""Tells of a step whether it is over before another one."""

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

    def allocate(self, size: int, over: Over) -> int:
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

    def _fitting(self, size: int, over: Over) -> Free | None:
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


def place(draft: Draft, parallel: bool, in_place: bool, reuse: bool) -> int:
    """Give every arena slot its offset; returns the arena's size in bytes.

    With ``in_place`` a kernel that can takes over the memory of an input that ends there; without ``reuse`` no memory
    is given out twice.
    """
    return _Placing(draft, parallel, in_place).run(reuse)


class _Placing:
    def __init__(self, draft: Draft, parallel: bool, in_place: bool) -> None:
        self.draft = draft
        self.slots = draft.slots
        self.parallel = parallel
        self.in_place = in_place

    def run(self, reuse: bool) -> int:
        arena = Arena()
        ancestors = self._ancestors() if self.parallel else None
        ends: dict[int, list[int]] = defaultdict(list)
        for i, draft in enumerate(self.slots):
            if draft.kind == ARENA:
                ends[max(draft.users)].append(i)
        for index, step in enumerate(self.draft.steps):
            over = _contains(0 if ancestors is None else ancestors[index])  # with one lane nothing is guarded
            ending = ends.get(index, [])
            taken = self._take_over(index, step, ending, over) if ending and self.in_place else ()
            for slot in () if step.mode == BIND_VIEW else step.outputs:
                draft = self.slots[slot]
                if draft.kind == ARENA and draft.where is None:
                    draft.where = arena.allocate(draft.nbytes, over)
            for slot in ending if reuse else ():
                if slot not in taken:
                    draft = self.slots[slot]
                    arena.release(draft.where, draft.nbytes, self._guard(draft.users))
        return arena.bytes

    def _guard(self, steps: Iterable[int]) -> tuple[int, ...]:
        """The steps; with one lane program order says it all, so nothing needs guarding."""
        return tuple(dict.fromkeys(steps)) if self.parallel else ()

    def _take_over(self, index: int, step: StepDraft, ending: list[int], over: Over) -> set[int]:
        """Give outputs the memory of inputs that end here, where the kernel may work in place; these inputs."""
        taken: set[int] = set()
        if step.mode != KERNEL:
            return taken
        # Of a fused operation, outputs behind these are smaller, and not made element by element.
        several = len(step.operation.attrs["dtypes"]) if step.record_name == "fused" else 0
        count = several or (1 if len(step.outputs) == 1 else 0)
        for output in (self.slots[s] for s in step.outputs[:count]):
            if output.kind == ARENA:
                left = [s for s in step.inputs if s in ending and s not in taken]
                slot = next((s for s in left if self._can_follow(output, s, index, over)), None)
                if slot is not None:
                    # The block now also has the readers of its former tenant behind it, all of them over.
                    output.where = self.slots[slot].where
                    taken.add(slot)
        return taken

    def _can_follow(self, output: SlotDraft, slot: int, index: int, over: Over) -> bool:
        """Whether an output of step ``index`` may have the memory of an input, ``slot``, that ends there."""
        draft = self.slots[slot]
        return (
            draft.kind == ARENA
            and draft.tensor.spec.shape == output.tensor.spec.shape
            and draft.tensor.dtype == output.tensor.dtype
            and all(over(user) for user in self._guard(draft.users) if user != index)
            and self._alone(slot, self.draft.steps[index])
        )

    def _alone(self, slot: int, step: StepDraft) -> bool:
        """Whether no operand that the kernel cannot work on in place has the same memory, perhaps as a view."""
        inplace = KERNELS[step.record_name].inplace
        for position, other in enumerate(step.inputs):
            if self.draft.root(other) == slot and (other != slot or position not in inplace):
                return False
        return True

    def _ancestors(self) -> list[int]:
        """For each step the bit mask of the steps that are over before it starts."""
        masks: list[int] = []
        for step in self.draft.steps:
            mask = 0
            for d in step.depends:
                mask |= masks[d] | 1 << d
            masks.append(mask)
        return masks


def _contains(mask: int) -> Over:
    """Whether a step is in a bit mask, in a time that does not depend on its length."""
    bits = mask.to_bytes(mask.bit_length() // 8 + 1, "little")
    return lambda step: step >> 3 < len(bits) and bits[step >> 3] >> (step & 7) & 1
