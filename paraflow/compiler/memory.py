"""The arena: where every intermediate result of a plan lies.

Blocks are given out in program order, best fit first, and reused once nobody reads them. "Nobody" depends on the
executor: with one lane that is a matter of program order; when independent steps may run at the same time, a block is
reused only by a step that comes after all its readers by dependencies, so any order that keeps these is valid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from paraflow.compiler.draft import Draft, SlotDraft, StepDraft
from paraflow.compiler.plan import ARENA, BIND_VIEW, KERNEL
from paraflow.kernels.numpy import KERNELS

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
        ancestors = self._ancestors()
        ends: dict[int, list[int]] = defaultdict(list)
        for i, draft in enumerate(self.slots):
            if draft.kind == ARENA:
                ends[max(draft.users)].append(i)
        for index, step in enumerate(self.draft.steps):
            over = ancestors[index]
            taken = self._take_over(index, step, ends[index], over) if self.in_place else ()
            for slot in () if step.mode == BIND_VIEW else step.outputs:
                draft = self.slots[slot]
                if draft.kind == ARENA and draft.where is None:
                    draft.where = arena.allocate(draft.nbytes, over)
            for slot in ends[index] if reuse else ():
                if slot not in taken:
                    draft = self.slots[slot]
                    arena.release(draft.where, draft.nbytes, self._mask(draft.users))
        return arena.bytes

    def _mask(self, steps: Iterable[int]) -> int:
        """The steps as a bit mask; with one lane program order says it all, so nothing needs guarding."""
        mask = 0
        if self.parallel:
            for step in steps:
                mask |= 1 << step
        return mask

    def _take_over(self, index: int, step: StepDraft, ending: list[int], over: int) -> set[int]:
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

    def _can_follow(self, output: SlotDraft, slot: int, index: int, over: int) -> bool:
        """Whether an output of step ``index`` may have the memory of an input, ``slot``, that ends there."""
        draft = self.slots[slot]
        return (
            draft.kind == ARENA
            and draft.tensor.spec.shape == output.tensor.spec.shape
            and draft.tensor.dtype == output.tensor.dtype
            and not self._mask(u for u in draft.users if u != index) & ~over
            and self._alone(slot, self.draft.steps[index])
        )

    def _alone(self, slot: int, step: StepDraft) -> bool:
        """Whether no operand that the kernel cannot work on in place has the same memory, perhaps as a view."""
        inplace = KERNELS[step.record_name].inplace
        return all(
            self.draft.root(other) != slot or (other == slot and position in inplace)
            for position, other in enumerate(step.inputs)
        )

    def _ancestors(self) -> list[int]:
        """For each step the bit mask of the steps that are over before it starts."""
        if not self.parallel:
            return [-1] * len(self.draft.steps)
        masks: list[int] = []
        for step in self.draft.steps:
            mask = 0
            for d in step.depends:
                mask |= masks[d] | 1 << d
            masks.append(mask)
        return masks
