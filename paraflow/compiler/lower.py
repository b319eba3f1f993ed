"""From a program to a plan: choose how each operation runs, where its result lies, and what it has to wait for."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from paraflow.compiler.draft import Array, Draft, SlotDraft, StepDraft
from paraflow.compiler.effects import Effects, order_effects
from paraflow.compiler.in_place import updates_in_place
from paraflow.compiler.memory import place
from paraflow.compiler.plan import (
    ARENA,
    BIND_VIEW,
    BODY,
    CONSTANT,
    FEED,
    GRADIENT,
    KERNEL,
    OBJECT,
    PLANES,
    VARIABLE,
    VIEW,
    WRITE,
    Plan,
    Slot,
    Step,
)
from paraflow.graph.device import lane_number
from paraflow.graph.dtypes import items
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.rebuild import Program
from paraflow.graph.shape import known
from paraflow.kernels.numpy import KERNELS
from paraflow.ops.control import CONDS, LOOPS

UNKNOWN_COST = 1 << 16
RUNS_PROGRAMS = frozenset((*CONDS, *LOOPS))
# Where, among inputs and output, the faces of a convolution have its result and its filter (their gradients' places).
_CONVOLUTIONS = {
    "convolution": (2, 1), "convolution_input_gradient": (1, 0), "convolution_filter_gradient": (1, 3)
}  # fmt: skip


class Lowering:
    """The state of one lowering; `lower` is the way in."""

    def __init__(self, program: Program, threads: int, in_place: bool, reuse: bool) -> None:
        self.program = program
        self.threads = threads
        self.parallel = threads > 1
        self.in_place = in_place
        self.reuse = reuse
        self.operations = program.operations()
        self.effects: Effects = order_effects(program)
        self.draft = Draft()
        self.slots, self.steps = self.draft.slots, self.draft.steps
        self.last_on: dict[int, int] = {}  # the last step of each lane so far
        self.slot_of: dict[Tensor, int] = {}
        self.done: dict[Operation, tuple[int, ...]] = {}
        self.updates = updates_in_place(program, self.effects) if in_place else {}
        self.gradients = dict(placed_gradients(self.operations))

    # -- slots and steps ----------------------------------------------------------------------------------------

    def run(self) -> Plan:
        """Lower every operation, then place the arena's blocks."""
        for operation in self.operations:
            self._lower(operation)
        for tensor in self.program.fetches:
            self.slots[self.draft.root(self.slot_of[tensor])].users.append(len(self.steps))
        self.arena_bytes = place(self.draft, self.parallel, self.in_place, self.reuse)
        return self._freeze()

    def _new_slot(
        self, kind: str, tensor: Tensor, where: object = None, base: int | None = None, ready: tuple[int, ...] = ()
    ) -> int:
        self.slots.append(SlotDraft(kind, tensor, where, base, ready))
        return len(self.slots) - 1

    def _waits(self, operation: Operation, inputs: tuple[int, ...]) -> tuple[int, ...]:
        waits = {step for slot in inputs for step in self.slots[slot].ready}
        for other in (*operation.control_inputs, *self.effects.after.get(operation, ())):
            waits.update(self.done.get(other, ()))
        return tuple(sorted(waits))

    def _add_step(
        self,
        operation: Operation,
        mode: str,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        waits: tuple[int, ...],
        record_name: str | None = None,
    ) -> None:
        index = len(self.steps)
        lane = self._lane(operation) if self.parallel else None
        if lane is not None:
            waits = tuple(sorted({*waits, self.last_on.get(lane, index)} - {index}))
            self.last_on[lane] = index
        for slot in inputs:
            self.slots[self.draft.root(slot)].users.append(index)
        for slot in outputs:
            self.slots[slot].ready = (index,)
            self.slots[self.draft.root(slot)].users.append(index)
        self.steps.append(StepDraft(operation, mode, inputs, outputs, waits, record_name or operation.type, lane))
        self.done[operation] = (index,)

    def _lane(self, operation: Operation) -> int | None:
        """The lane that the author asked for, counted round where there are fewer; None where any will do."""
        number = lane_number(operation.device) if operation.device else None
        return None if number is None else number % self.threads

    def _lower(self, operation: Operation) -> None:
        inputs = tuple([self.slot_of[t] for t in operation.inputs])
        waits = self._waits(operation, inputs)
        self.done[operation] = waits
        if operation.type == "constant":
            self._output(operation, CONSTANT)
        elif operation.type == "placeholder":
            self._output(operation, FEED, self.program.feeds.index(operation.outputs[0]))
        elif operation.type == "read_variable":
            self._access(operation, waits)
        elif operation.type == "assign_variable":
            if self.updates.get(operation.inputs[0].op) is not operation:
                variable = self._new_slot(VARIABLE, operation.outputs[0], operation.attrs["variable"])
                self._add_step(operation, WRITE, inputs, (variable,), waits)
                waits = self.done[operation]
            self._access(operation, waits)
        elif operation.type == "no_op":
            pass
        elif operation.type in ("update", "start_exchange", "settle"):
            self._add_step(operation, PLANES, inputs, (), waits)
        elif operation.type in ("average_gradient", "reduce_slices", "combine_slices"):
            outputs = tuple(self._new_slot(ARENA, t) for t in operation.outputs)
            self.slot_of.update(zip(operation.outputs, outputs, strict=True))
            self._add_step(operation, PLANES, inputs, outputs, waits)
        elif not self._bound_view(operation, inputs):
            self._compute(operation, inputs, waits)

    def _output(self, operation: Operation, kind: str, where: object = None, ready: tuple[int, ...] = ()) -> int:
        slot = self._new_slot(kind, operation.outputs[0], where, ready=ready)
        self.slot_of[operation.outputs[0]] = slot
        return slot

    def _access(self, operation: Operation, waits: tuple[int, ...]) -> None:
        """A read, or the value that a write returns: the variable's memory, or a snapshot of it."""
        slot = self._output(operation, VARIABLE, operation.attrs["variable"], waits)
        if operation in self.effects.snapshots:
            taken = self._output(operation, ARENA)
            self._add_step(operation, KERNEL, (slot,), (taken,), waits, "copy")

    def _bound_view(self, operation: Operation, inputs: tuple[int, ...]) -> bool:
        """Lower a view of a fixed array, if it is one: it is resolved when the plan is loaded and costs nothing."""
        if not operation.record.view or self.slots[inputs[0]].kind == OBJECT:
            return False
        if not all(self.slots[s].kind == CONSTANT for s in inputs[1:]):
            return False
        if not operation.outputs[0].spec.static or operation.control_inputs:
            return False
        base = self._dummy(inputs[0])
        rest = [self.slots[s].tensor.spec.value for s in inputs[1:]]
        view = operation.record.body(base, *rest, **operation.attrs)
        if not np.may_share_memory(view, base) and base.size:
            return False
        slot = self._new_slot(VIEW, operation.outputs[0], base=inputs[0], ready=self.done[operation])
        self.slots[slot].dummy = view
        self.slot_of[operation.outputs[0]] = slot
        self.steps.append(StepDraft(operation, BIND_VIEW, inputs, (slot,), self.done[operation], operation.type))
        return True

    def _dummy(self, slot: int) -> Array:
        """An array with the strides that the slot's array will have; its pages are never touched."""
        draft = self.slots[slot]
        if draft.dummy is None:
            draft.dummy = np.empty(known(draft.tensor.spec.shape), draft.tensor.dtype)
        return draft.dummy

    def _compute(self, operation: Operation, inputs: tuple[int, ...], waits: tuple[int, ...]) -> None:
        if operation.type in RUNS_PROGRAMS:
            kinds = [ARENA if t.spec.static and t.dtype != items else OBJECT for t in operation.outputs]
            outputs = tuple(self._new_slot(*pair) for pair in zip(kinds, operation.outputs, strict=True))
            self.slot_of.update(zip(operation.outputs, outputs, strict=True))
            self._add_step(operation, BODY, inputs, outputs, waits)
            return
        static = all(t.spec.static and t.dtype != items for t in operation.outputs)
        if operation.type not in KERNELS or not static:
            # What a body returns is memory of its own, or a view of its first input and so of the arena.
            shares = operation.record.view and self.slots[self.draft.root(inputs[0])].kind != OBJECT
            outputs = tuple(self._new_slot(OBJECT, t, base=inputs[0] if shares else None) for t in operation.outputs)
            self.slot_of.update(zip(operation.outputs, outputs, strict=True))
            self._add_step(operation, BODY, inputs, outputs, waits)
            return
        if len(operation.outputs) > 1:
            outputs = tuple(self._new_slot(ARENA, t) for t in operation.outputs)
            self.slot_of.update(zip(operation.outputs, outputs, strict=True))
            self._add_step(operation, KERNEL, inputs, outputs, waits)
            return
        write = self.updates.get(operation)
        if write is None:
            outputs = tuple([
                self._new_slot(GRADIENT, t, self.gradients[t]) if t in self.gradients else self._new_slot(ARENA, t)
                for t in operation.outputs
            ])
            self.slot_of.update(zip(operation.outputs, outputs, strict=True))
            self._add_step(operation, KERNEL, inputs, outputs, waits)
            return
        slot = self._output(operation, VARIABLE, write.attrs["variable"])
        before = (*write.control_inputs, *self.effects.after.get(write, ()))
        more = {s for o in before for s in self.done.get(o, ())}
        self._add_step(operation, KERNEL, inputs, (slot,), tuple(sorted({*waits, *more})))

    # -- the result -------------------------------------------------------------------------------------------------

    def _freeze(self) -> Plan:
        releases = defaultdict(list)
        for i, slot in enumerate(self.slots):
            # "The last user" is a matter of program order, which only one lane keeps.
            if not self.parallel and slot.kind == OBJECT and slot.users and max(slot.users) < len(self.steps):
                releases[max(slot.users)].append(i)
        slots = tuple(
            Slot(
                s.kind, s.tensor.dtype, s.tensor.spec.shape, s.where,
                s.tensor.spec.value if s.kind == CONSTANT else None,
            )
            for s in self.slots
        )
        steps = tuple(
            Step(
                name=s.operation.name,
                record=records[s.record_name],
                mode=s.mode,
                inputs=s.inputs,
                outputs=s.outputs,
                attrs=s.operation.attrs if s.record_name == s.operation.type else {},
                depends=s.depends,
                releases=tuple(releases[i]),
                cost=step_cost(s.operation),
                source=s.operation.source,
                lane=s.lane,
            )
            for i, s in enumerate(self.steps)
        )
        reads, writes, may_write = self._variables()
        return Plan(
            slots,
            steps,
            tuple(self.slot_of[t] for t in self.program.feeds),
            tuple(self.slot_of[t] for t in self.program.fetches),
            self.arena_bytes,
            reads,
            writes,
            may_write,
        )

    def _variables(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The variables read before they are written, those written, and those written perhaps."""
        reads: dict[str, None] = {}
        writes: dict[str, None] = {}
        may_write: dict[str, None] = {}
        for operation in self.operations:
            if operation.record.reads:
                reads.update((name, None) for name in variables_read(operation) if name not in writes)
            if operation.record.writes:
                written = may_write if operation.type in RUNS_PROGRAMS else writes
                written.update(dict.fromkeys(operation.variables))
        return tuple(reads), tuple(writes), tuple(may_write)


def placed_gradients(operations: Sequence[Operation]) -> Iterator[tuple[Tensor, str]]:
    """The tensors whose kernels write into the gradient plane, and the variables whose place they take."""
    for operation in operations:
        if operation.type == "start_exchange":
            flags = zip(operation.inputs, operation.attrs["exchanged"], operation.attrs["placed"], strict=True)
            yield from ((tensor, name) for tensor, name, placed in flags if placed)
        elif operation.type in ("update", "reduce_slices"):
            yield from ((t, name) for t, name in zip(operation.inputs, operation.attrs["placed"], strict=False) if name)


def variables_read(operation: Operation) -> Iterable[str]:
    """The variables that have to have a value before a reading operation runs."""
    if operation.type == "value_or_initial" or operation.type in RUNS_PROGRAMS:
        return ()  # for what runs programs that is looked at when one of them runs
    if operation.type not in ("update", "reduce_slices"):
        return operation.variables
    return (name for state in operation.attrs["body"].reads() for name in operation.attrs["states"][state])


def step_cost(operation: Operation) -> int:
    """A rough count of elementary operations, to tell cheap steps from dear ones."""
    operands, cost = (*operation.inputs, *operation.outputs), 0
    for tensor in operands:
        if not tensor.spec.static:
            return UNKNOWN_COST
        cost += math.prod(known(tensor.spec.shape))
    if operation.record.collective or operation.type in RUNS_PROGRAMS:
        return UNKNOWN_COST  # a collective also waits for other ranks
    if operation.type == "matmul":
        return math.prod(known(operands[-1].spec.shape)) * known(operands[0].spec.shape)[-1]
    if operation.type in _CONVOLUTIONS:
        result, window = (known(operands[i].spec.shape) for i in _CONVOLUTIONS[operation.type])
        return math.prod(result) * math.prod(window[:-1])
    return cost


def lower(program: Program, threads: int = 1, in_place: bool = True, reuse: bool = True) -> Plan:
    """The plan of ``program``; with several ``threads`` its memory allows independent steps to run at the same time.

    ``in_place``: kernels may write into the memory of an input, and of a variable that is assigned their result;
    ``reuse``: results that are over leave their memory to others.
    """
    return Lowering(program, threads, in_place, reuse).run()
