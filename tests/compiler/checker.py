"""An independent check of a plan's memory: does every step find what was written for it?

It knows nothing of how the compiler places blocks. It takes the slots' byte ranges as they stand in the plan and the
orders in which steps may run, and asks of every two values that overlap whether one is over before the other is made.
"""

from dataclasses import dataclass, field
from itertools import combinations

from paraflow.compiler.plan import ARENA, BIND_VIEW, FEED, GRADIENT, OBJECT, PLANES, VARIABLE, WRITE
from paraflow.graph.shape import num_elements
from paraflow.kernels.numpy import KERNELS


@dataclass(eq=False)
class Value:
    """What one step puts into one place: (space, first byte, past the last).

    ``users`` are its maker and all steps that read it, through views too; the number of steps stands for a fetch.
    """

    place: tuple[str, int, int]
    maker: int | None
    slots: set[int] = field(default_factory=set)
    users: set[int] = field(default_factory=set)


def check_plan(plan, parallel):
    """Raise AssertionError where two live values overlap; ``parallel``: in some order that the dependencies allow."""
    ancestors = _ancestors(plan) if parallel else [set(range(i)) for i in range(len(plan.steps))]
    _check_inputs(plan, ancestors)
    values = Values(plan).found
    for a, b in combinations(values, 2):
        if _overlap(a.place, b.place):
            assert _before(plan, ancestors, a, b) or _before(plan, ancestors, b, a), (
                f"these overlap while both are needed:\n{a}\n{b}\n{plan.text()}"
            )


def _before(plan, ancestors, first, second):
    """Whether ``first`` is over when ``second`` is made."""
    if second.maker is None:
        return False
    if second.maker in first.users and not _may_overwrite(plan, plan.steps[second.maker], first):
        return False
    return first.users - {second.maker} <= ancestors[second.maker]


def _may_overwrite(plan, step, value):
    """Whether a step may write where it reads: each element of every such operand in the order of the result's."""
    if step.mode == WRITE:  # numpy's assignment copies where it overlaps
        return True
    if step.mode == PLANES:  # each element of a state is read before it is written, but not so those of other inputs
        return value.slots.isdisjoint(step.inputs)
    inplace = KERNELS[step.record.name].inplace
    return all(
        position in inplace and plan.slots[slot].kind in (ARENA, VARIABLE)  # a view has other strides
        for position, slot in enumerate(step.inputs)
        if slot in value.slots
    )


def _overlap(a, b):
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def _ancestors(plan):
    before = []
    for step in plan.steps:
        before.append(set(step.depends).union(*(before[d] for d in step.depends)))
    return before


def _check_inputs(plan, ancestors):
    makers = {slot: i for i, step in enumerate(plan.steps) for slot in step.outputs if step.mode != BIND_VIEW}
    for index, step in enumerate(plan.steps):
        if step.mode != BIND_VIEW:
            for slot in step.inputs:
                assert slot not in makers or makers[slot] in ancestors[index], f"step {index} may run before its input"


class Values:
    """The values of a plan: its steps read in program order, views followed to what they show."""

    def __init__(self, plan):
        self.plan = plan
        self.found = []
        self.shown = {}  # slot -> the value it holds or shows
        self.current = {}  # variable -> the value it has at this place of the program
        for index, step in enumerate(plan.steps):
            self._step(index, step)
        for slot in plan.fetches:
            if self._look(slot) is not None:
                self._look(slot).users.add(len(plan.steps))

    def _step(self, index, step):
        inputs = [self._look(slot) for slot in step.inputs]
        if step.mode == BIND_VIEW:
            self._show(step.outputs[0], inputs[0])
            return
        for value in inputs:
            if value is not None:
                value.users.add(index)
        if step.mode == PLANES:
            self._planes(index, step)
        for slot in step.outputs:
            if self.plan.slots[slot].kind != OBJECT:
                value = self._new(self._place(slot), index)
                self._show(slot, value)
                if self.plan.slots[slot].kind in (VARIABLE, GRADIENT):
                    self.current[value.place[0]] = value
            elif step.record.view:
                self._show(slot, inputs[0])

    def _planes(self, index, step):
        """What a step on planes reads and writes beside its slots: variables by name, and gradients."""
        attrs = step.attrs
        if step.record.name == "update":
            for names in attrs["states"]:
                for name in names:
                    self._named(f"variable {name}").users.add(index)
            for state, _ in attrs["body"].writes:
                for name in attrs["states"][state]:
                    self.current[f"variable {name}"] = self._new((f"variable {name}", 0, 1), index)
        gradients = attrs["states"][0] if attrs.get("exchanged") is True else [attrs.get("variable")]
        for name in gradients:
            if name is not None:
                self._named(f"gradient {name}").users.add(index)
        if step.record.name == "start_exchange":
            for name in attrs["variables"]:  # other ranks may write their slices from now on
                self.current[f"variable {name}"] = self._new((f"variable {name}", 0, 1), index)
            for name, placed in zip(attrs["exchanged"], attrs["placed"], strict=True):
                if not placed:
                    self.current[f"gradient {name}"] = self._new((f"gradient {name}", 0, 1), index)

    def _named(self, space):
        if space not in self.current:
            self.current[space] = self._new((space, 0, 1), None)
        return self.current[space]

    def _new(self, place, maker):
        value = Value(place, maker, users=set() if maker is None else {maker})
        self.found.append(value)
        return value

    def _show(self, slot, value):
        if value is not None:
            self.shown[slot] = value
            value.slots.add(slot)

    def _look(self, slot):
        if slot not in self.shown and self.plan.slots[slot].kind in (VARIABLE, FEED):
            place = self._place(slot)
            self._show(slot, self._named(place[0]))
        return self.shown.get(slot)

    def _place(self, index):
        slot = self.plan.slots[index]
        if slot.kind == ARENA:
            size = num_elements(slot.shape) * slot.dtype.itemsize
            assert slot.where % 64 == 0
            assert slot.where + size <= self.plan.arena_bytes
            return ("arena", slot.where, slot.where + size)
        if slot.kind in (VARIABLE, GRADIENT, FEED):
            return (f"{slot.kind} {slot.where}", 0, 1)
        return None
