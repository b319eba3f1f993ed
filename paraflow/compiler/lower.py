"""From a program to a plan: choose how each operation runs, where its result lies, and what it has to wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paraflow.compiler.effects import Effects, order_effects
from paraflow.compiler.memory import Arena
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
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.rebuild import Program
from paraflow.graph.shape import Dims, known, num_elements
from paraflow.kernels.numpy import KERNELS

Array = np.ndarray[Any, Any]

UNKNOWN_COST = 1 << 16
# Where, among inputs and output, the faces of a convolution have its result and its filter (their gradients' places).
_CONVOLUTIONS = {
    "convolution": (2, 1), "convolution_input_gradient": (1, 0), "convolution_filter_gradient": (1, 3)
}  # fmt: skip


@dataclass
class SlotDraft:
    """A slot being made. ``base`` is the slot whose memory a view shares; ``ready`` the steps that fill it."""

    kind: str
    tensor: Tensor
    where: Any = None
    base: int | None = None
    ready: tuple[int, ...] = ()
    users: list[int] = field(default_factory=list)
    dummy: Array | None = None


@dataclass
class StepDraft:
    """A step being made."""

    operation: Operation
    mode: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    depends: tuple[int, ...]
    record_name: str
    lane: int | None = None


class Lowering:
    """The state of one lowering; `lower` is the way in."""

    def __init__(self, program: Program, threads: int) -> None:
        self.program = program
        self.threads = threads
        self.parallel = threads > 1
        self.operations = program.operations()
        self.effects: Effects = order_effects(program, self.operations)
        self.consumers: dict[Tensor, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            for tensor in operation.inputs:
                self.consumers[tensor].append(operation)
        self.slots: list[SlotDraft] = []
        self.steps: list[StepDraft] = []
        self.last_on: dict[int, int] = {}  # the last step of each lane so far
        self.slot_of: dict[Tensor, int] = {}
        self.done: dict[Operation, tuple[int, ...]] = {}
        self.updates = self._in_place_updates()
        self.gradients = dict(placed_gradients(self.operations))

    # -- which assignments need no step of their own -----------------------------------------------------------

    def _in_place_updates(self) -> dict[Operation, Operation]:
        """Producer -> assignment, where the producer may write straight into the variable's memory."""
        updates = {}
        for write in self.operations:
            if write.type == "assign_variable" and self._updates_in_place(write):
                updates[write.inputs[0].op] = write
        return updates

    def _updates_in_place(self, write: Operation) -> bool:
        value = write.inputs[0]
        producer = value.op
        variable = self.program.graph.variables[write.attrs["variable"]]
        kernel = KERNELS.get(producer.type)
        if (
            kernel is None
            or not producer.record.elementwise
            or len(producer.outputs) > 1
            or write in self.effects.snapshots
            or value in self.program.fetches
            or self.consumers[value] != [write]
            or value.spec.shape != variable.shape
            or value.dtype != variable.dtype
        ):
            return False
        waits = [*(o for o in self.effects.after[write] if o is not producer), *write.control_inputs]
        if any(o.index > producer.index for o in waits):
            return False
        for position, operand in enumerate(producer.inputs):
            root = operand
            while root.op.record.view:
                root = root.op.inputs[0]
            shares = (
                (root.op.record.reads or root.op.record.writes)
                and root.op.attrs["variable"] == variable.name
                and root.op not in self.effects.snapshots
            )
            if shares and (root is not operand or position not in kernel.inplace):
                return False
        return True

    # -- slots and steps ----------------------------------------------------------------------------------------

    def run(self) -> Plan:
        """Lower every operation, then place the arena's blocks."""
        for operation in self.operations:
            self._lower(operation)
        for tensor in self.program.fetches:
            self.slots[self._root(self.slot_of[tensor])].users.append(len(self.steps))
        self._place()
        return self._freeze()

    def _new_slot(
        self, kind: str, tensor: Tensor, where: object = None, base: int | None = None, ready: tuple[int, ...] = ()
    ) -> int:
        self.slots.append(SlotDraft(kind, tensor, where, base, ready))
        return len(self.slots) - 1

    def _root(self, slot: int) -> int:
        while (base := self.slots[slot].base) is not None:
            slot = base
        return slot

    def _waits(self, operation: Operation, inputs: tuple[int, ...]) -> tuple[int, ...]:
        waits = {step for slot in inputs for step in self.slots[slot].ready}
        for other in (*operation.control_inputs, *self.effects.after[operation]):
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
        lane = self._lane(operation)
        if lane is not None:
            waits = tuple(sorted({*waits, self.last_on.get(lane, index)} - {index}))
            self.last_on[lane] = index
        for slot in inputs:
            self.slots[self._root(slot)].users.append(index)
        for slot in outputs:
            self.slots[slot].ready = (index,)
            self.slots[self._root(slot)].users.append(index)
        self.steps.append(StepDraft(operation, mode, inputs, outputs, waits, record_name or operation.type, lane))
        self.done[operation] = (index,)

    def _lane(self, operation: Operation) -> int | None:
        """The lane that the author asked for, counted round where there are fewer; None where any will do."""
        number = lane_number(operation.device) if self.parallel and operation.device else None
        return None if number is None else number % self.threads

    def _lower(self, operation: Operation) -> None:
        inputs = tuple(self.slot_of[t] for t in operation.inputs)
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
        fixed_rest = all(self.slots[s].kind == CONSTANT for s in inputs[1:])
        if not operation.record.view or self.slots[inputs[0]].kind == OBJECT or not fixed_rest:
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
        static = all(t.spec.static for t in operation.outputs)
        if operation.type not in KERNELS or not static:
            # What a body returns is memory of its own, or a view of its first input and so of the arena.
            shares = operation.record.view and self.slots[self._root(inputs[0])].kind != OBJECT
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
        if operation.outputs[0] in self.gradients:
            slot = self._output(operation, GRADIENT, self.gradients[operation.outputs[0]])
            self._add_step(operation, KERNEL, inputs, (slot,), waits)
            return
        if write is None:
            self._add_step(operation, KERNEL, inputs, (self._output(operation, ARENA),), waits)
            return
        slot = self._output(operation, VARIABLE, write.attrs["variable"])
        more = {s for o in (*write.control_inputs, *self.effects.after[write]) for s in self.done.get(o, ())}
        self._add_step(operation, KERNEL, inputs, (slot,), tuple(sorted({*waits, *more})))

    # -- memory ---------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        arena = Arena()
        ancestors = self._ancestors()
        ends: dict[int, list[int]] = defaultdict(list)
        for i, draft in enumerate(self.slots):
            if draft.kind == ARENA:
                ends[max(draft.users)].append(i)
        for index, step in enumerate(self.steps):
            over = _contains(ancestors[index])
            taken = self._take_over(index, step, ends[index], over)
            for slot in () if step.mode == BIND_VIEW else step.outputs:
                draft = self.slots[slot]
                if draft.kind == ARENA and draft.where is None:
                    draft.where = arena.allocate(self._bytes(slot), over)
            for slot in ends[index]:
                if slot != taken:
                    draft = self.slots[slot]
                    arena.release(draft.where, self._bytes(slot), self._guard(draft.users))
        self.arena_bytes = arena.bytes

    def _guard(self, steps: list[int]) -> tuple[int, ...]:
        """The steps; with one lane program order says it all, so nothing needs guarding."""
        return tuple(dict.fromkeys(steps)) if self.parallel else ()

    def _take_over(
        self, index: int, step: StepDraft, ending: list[int], over: Callable[[int], object]
    ) -> int | None:
        """Give the output the memory of an input that ends here, where the kernel may work in place."""
        if step.mode != KERNEL or len(step.outputs) > 1 or self.slots[step.outputs[0]].kind != ARENA:
            return None
        output = self.slots[step.outputs[0]]
        for position in KERNELS[step.record_name].inplace:
            if position >= len(step.inputs):
                break
            slot = step.inputs[position]
            draft = self.slots[slot]
            if (
                slot in ending
                and draft.kind == ARENA
                and draft.tensor.spec.shape == output.tensor.spec.shape
                and draft.tensor.dtype == output.tensor.dtype
                and all(over(user) for user in self._guard(draft.users) if user != index)
                and self._alone(slot, step)
            ):
                output.where = draft.where
                # The block now also has the readers of its former tenant behind it, all of them over.
                return slot
        return None

    def _alone(self, slot: int, step: StepDraft) -> bool:
        """Whether no operand that the kernel cannot work on in place has the same memory, perhaps as a view."""
        inplace = KERNELS[step.record_name].inplace
        return all(
            self._root(other) != slot or (other == slot and position in inplace)
            for position, other in enumerate(step.inputs)
        )

    def _bytes(self, slot: int) -> int:
        tensor = self.slots[slot].tensor
        return (num_elements(tensor.spec.shape) or 0) * tensor.dtype.itemsize

    def _ancestors(self) -> list[int]:
        """For each step the bit mask of the steps that are over before it starts; empty where nothing is guarded."""
        if not self.parallel:
            return [0] * len(self.steps)
        masks: list[int] = []
        for step in self.steps:
            mask = 0
            for d in step.depends:
                mask |= masks[d] | 1 << d
            masks.append(mask)
        return masks

    # -- the result -------------------------------------------------------------------------------------------------

    def _freeze(self) -> Plan:
        releases = defaultdict(list)
        for i, slot in enumerate(self.slots):
            # "The last user" is a matter of program order, which only one lane keeps.
            if not self.parallel and slot.kind == OBJECT and slot.users and max(slot.users) < len(self.steps):
                releases[max(slot.users)].append(i)
        slots = tuple(
            Slot(
                kind=s.kind,
                dtype=s.tensor.dtype,
                shape=s.tensor.spec.shape,
                where=s.where,
                value=s.tensor.spec.value if s.kind == CONSTANT else None,
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
        reads, writes = self._variables()
        return Plan(
            slots,
            steps,
            tuple(self.slot_of[t] for t in self.program.feeds),
            tuple(self.slot_of[t] for t in self.program.fetches),
            self.arena_bytes,
            reads,
            writes,
        )

    def _variables(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The variables read before they are written, and those written."""
        reads: dict[str, None] = {}
        writes: dict[str, None] = {}
        for operation in self.operations:
            if operation.record.reads:
                reads.update((name, None) for name in variables_read(operation) if name not in writes)
            if operation.record.writes:
                writes.update(dict.fromkeys(operation.variables))
        return tuple(reads), tuple(writes)


def _contains(mask: int) -> Callable[[int], object]:
    """Whether a step is in a bit mask, in a time that does not depend on its length."""
    bits = mask.to_bytes(mask.bit_length() // 8 + 1, "little")
    return lambda step: step >> 3 < len(bits) and bits[step >> 3] >> (step & 7) & 1


def placed_gradients(operations: list[Operation]) -> Iterator[tuple[Tensor, str]]:
    """The tensors whose kernels write into the gradient plane, and the variables whose place they take."""
    for operation in operations:
        if operation.type == "start_exchange":
            flags = zip(operation.inputs, operation.attrs["exchanged"], operation.attrs["placed"], strict=True)
            yield from ((tensor, name) for tensor, name, placed in flags if placed)
        elif operation.type in ("update", "reduce_slices"):
            yield from ((t, name) for t, name in zip(operation.inputs, operation.attrs["placed"], strict=False) if name)


def variables_read(operation: Operation) -> Iterable[str]:
    """The variables that have to have a value before a reading operation runs."""
    if operation.type == "value_or_initial":
        return ()
    if operation.type not in ("update", "reduce_slices"):
        return operation.variables
    return (name for state in operation.attrs["body"].reads() for name in operation.attrs["states"][state])


def step_cost(operation: Operation) -> int:
    """A rough count of elementary operations, to tell cheap steps from dear ones."""
    shapes: list[Dims] = [t.spec.shape for t in (*operation.inputs, *operation.outputs)]
    sizes = [num_elements(s) for s in shapes]
    if None in sizes or operation.record.collective:
        return UNKNOWN_COST  # a collective also waits for other ranks
    if operation.type == "matmul":
        return (sizes[-1] or 0) * known(shapes[0])[-1]
    if operation.type in _CONVOLUTIONS:
        result, window = _CONVOLUTIONS[operation.type]
        return (sizes[result] or 0) * (num_elements(known(shapes[window])[:-1]) or 0)
    return sum(n for n in sizes if n is not None)


def lower(program: Program, threads: int = 1) -> Plan:
    """The plan of ``program``; with several ``threads`` its memory allows independent steps to run at the same time."""
    return Lowering(program, threads).run()
