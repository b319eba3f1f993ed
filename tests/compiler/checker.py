"""An independent check of a plan's memory: does every step find what was written for it?

It knows nothing of how the compiler places blocks. It takes the slots' byte ranges as they stand in the plan, and the
orders in which steps may run, and looks for a write that could come between a value's making and its last use.
"""

from paraflow.compiler.plan import ARENA, BIND_VIEW, COLLECTIVE, FEED, OBJECT, VARIABLE
from paraflow.graph.shape import num_elements
from paraflow.kernels.numpy import KERNELS


def check_plan(plan, parallel):
    """Raise AssertionError where two live values overlap; ``parallel``: in any order that dependencies allow."""
    memory = [_memory(plan, i) for i in range(len(plan.slots))]
    end = len(plan.steps)
    ancestors = _ancestors(plan) if parallel else [set(range(i)) for i in range(end)]
    _check_order(plan, ancestors)
    values = _values(plan, memory)
    for index, step in enumerate(plan.steps):
        if step.mode == BIND_VIEW:
            continue
        for place in _written(plan, step, memory):
            for value in values:
                if not _overlap(place, value.place):
                    continue
                others = value.users - {index}
                over = others <= ancestors[index]
                if index in value.users:
                    # Its own making, or an input that ends here and that the kernel may overwrite.
                    assert value.maker == index or (over and _may_overwrite(step, value, memory)), (
                        f"step {index} ({step.name}) overwrites what it reads: {value}"
                    )
                    if value.maker == index:
                        continue
                later = value.maker is not None and all(
                    index in ancestors[user] if user < end else False for user in (value.maker,)
                )
                assert over or later, f"step {index} ({step.name}) may overwrite {value} while it is needed"


class Value:
    """What one step puts into one place. ``users``: its maker and all that read it; ``end`` stands for a fetch."""

    def __init__(self, place, maker, slots):
        self.place, self.maker, self.slots = place, maker, slots
        self.users = set() if maker is None else {maker}

    def __repr__(self):
        return f"slots {sorted(self.slots)} at {self.place}, made by step {self.maker}, used by {sorted(self.users)}"


def _memory(plan, index):
    """(space, first byte, past the last) of a slot that has memory of its own; None for views and objects."""
    slot = plan.slots[index]
    if slot.kind == ARENA:
        size = num_elements(slot.shape) * slot.dtype.itemsize
        assert slot.where % 64 == 0
        assert slot.where + size <= plan.arena_bytes
        return ("arena", slot.where, slot.where + size)
    if slot.kind == VARIABLE:
        return (slot.where, 0, 1)
    if slot.kind == FEED:
        return (f"feed {slot.where}", 0, 1)
    return None


def _overlap(a, b):
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def _written(plan, step, memory):
    places = [memory[s] for s in step.outputs if memory[s] is not None]
    if step.mode == COLLECTIVE:
        offset, size = step.block
        places.append(("arena", offset, offset + size))
    return places


def _may_overwrite(step, value, memory):
    """Whether the kernel works element by element on the very array it overwrites (all elements in one order)."""
    if step.mode == COLLECTIVE:
        return True
    if step.mode == "write":
        return True  # numpy copies an overlapping source first
    inplace = KERNELS[step.record.name].inplace if step.record.name in KERNELS else ()
    uses = [(position, s) for position, s in enumerate(step.inputs) if s in value.slots]
    return all(position in inplace and memory[s] is not None for position, s in uses)


def _values(plan, memory):
    """Every value of the plan in its place, with all steps that touch it, reads through views included."""
    holder = {}  # slot -> the value that it holds or shows
    values = []

    def new(place, maker, slots):
        values.append(Value(place, maker, set(slots)))
        return values[-1]

    current = {}  # variable -> the value it has at this place of the program
    for i, place in enumerate(memory):
        if place is not None and plan.slots[i].kind == FEED:
            holder[i] = new(place, None, {i})
    end = len(plan.steps)

    def look(slot):
        if slot not in holder and plan.slots[slot].kind == VARIABLE:
            name = plan.slots[slot].where
            if name not in current:
                current[name] = new(memory[slot], None, set())
            holder[slot] = current[name]
        if slot in holder:
            holder[slot].slots.add(slot)
        return holder.get(slot)

    for index, step in enumerate(plan.steps):
        for slot in step.inputs:
            value = look(slot)
            if value is not None and step.mode != BIND_VIEW:
                value.users.add(index)
        if step.mode == COLLECTIVE:
            for member, output in zip(step.inputs[1:], step.outputs, strict=True):
                # A new value in the same place; what reads the member otherwise must be over.
                holder[output] = new(holder[member].place, index, {output})
        elif step.mode == BIND_VIEW or (plan.slots[step.outputs[0]].kind == OBJECT if step.outputs else False):
            shown = look(step.inputs[0]) if step.inputs and step.record.view else None
            if shown is not None:
                for slot in step.outputs:
                    holder[slot] = shown
        else:
            for slot in step.outputs:
                value = holder[slot] = new(memory[slot], index, {slot})
                if plan.slots[slot].kind == VARIABLE:
                    current[plan.slots[slot].where] = value
    for slot in plan.fetches:
        value = look(slot)
        if value is not None:
            value.users.add(end)
    return values


def _ancestors(plan):
    before = []
    for step in plan.steps:
        above = set()
        for d in step.depends:
            above |= before[d] | {d}
        before.append(above)
    return before


def _check_order(plan, ancestors):
    """Every input is made before it is used."""
    makers = {slot: i for i, step in enumerate(plan.steps) for slot in step.outputs if step.mode != BIND_VIEW}
    for index, step in enumerate(plan.steps):
        if step.mode != BIND_VIEW:
            for slot in step.inputs:
                assert slot not in makers or makers[slot] in ancestors[index], f"step {index} runs before its input"
