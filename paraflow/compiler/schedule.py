"""The order of operations: what the earliest bucket of gradients needs comes first.

Gradients travel between nodes while backward goes on, so a bucket should be complete as early as can be: list
scheduling, where an operation's priority is the first bucket that waits for it. What no bucket waits for (metrics,
updates) comes last. Within a bucket program order stays, in which gradients are made from the last layer to the first.
"""

from __future__ import annotations

from paraflow.compiler.effects import order_effects
from paraflow.graph.node import Operation
from paraflow.graph.rebuild import Program, rebuild


def schedule(program: Program) -> Program:
    """The program in another order, if it exchanges gradients: none of its dependencies and effects is turned round."""
    operations = program.operations()
    starts = [o for o in operations if o.type == "start_exchange"]
    if not starts:
        return program
    after = _dependencies(program)
    placed: dict[Operation, None] = {}
    for start in starts:
        needed = {start}
        stack = [start]
        while stack:
            for operation in after[stack.pop()]:
                if operation not in needed and operation not in placed:
                    needed.add(operation)
                    stack.append(operation)
        placed.update(dict.fromkeys(sorted(needed - placed.keys(), key=lambda o: o.index)))
    placed.update(dict.fromkeys(operations))
    return rebuild(program, order=list(placed))


def _dependencies(program: Program) -> dict[Operation, list[Operation]]:
    """What has to come before each operation; those with effects of any kind keep their order."""
    effects = order_effects(program)
    after: dict[Operation, list[Operation]] = {}
    previous: Operation | None = None
    for operation in program.operations():
        waits = effects.after.get(operation, ())
        after[operation] = [*(t.op for t in operation.inputs), *operation.control_inputs, *waits]
        if operation.record.effect:
            if previous is not None:
                after[operation].append(previous)
            previous = operation
    return after
