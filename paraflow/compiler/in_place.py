"""Assignments that need no step of their own, since what makes the value can write it into the variable's memory."""

from __future__ import annotations

from paraflow.compiler.effects import Effects
from paraflow.graph.node import Operation
from paraflow.graph.rebuild import Program
from paraflow.kernels.numpy import KERNELS


def updates_in_place(program: Program, effects: Effects) -> dict[Operation, Operation]:
    """Producer -> assignment, where the producer may write straight into the variable's memory."""
    updates = {}
    for write in program.operations():
        if write.type == "assign_variable" and _fits(program, effects, write):
            updates[write.inputs[0].op] = write
    return updates


def _fits(program: Program, effects: Effects, write: Operation) -> bool:
    value = write.inputs[0]
    producer = value.op
    variable = program.graph.variables[write.attrs["variable"]]
    kernel = KERNELS.get(producer.type)
    if (
        kernel is None
        or not producer.record.elementwise
        or len(producer.outputs) > 1
        or write in effects.snapshots
        or value in program.fetches
        or program.consumers[value] != [write]
        or value.spec.shape != variable.shape
        or value.dtype != variable.dtype
    ):
        return False
    waits = [*(o for o in effects.after[write] if o is not producer), *write.control_inputs]
    if any(o.index > producer.index for o in waits):
        return False
    for position, operand in enumerate(producer.inputs):
        root = operand
        while root.op.record.view:
            root = root.op.inputs[0]
        shares = (
            (root.op.record.reads or root.op.record.writes)
            and root.op.attrs.get("variable") == variable.name
            and root.op not in effects.snapshots
        )
        if shares and (root is not operand or position not in kernel.inplace):
            return False
    return True
