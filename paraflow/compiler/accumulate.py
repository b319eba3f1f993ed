"""Gradient accumulation: of k runs of a training step k - 1 only add up gradients, the last one exchanges the mean.

Both programs come from the one with ``exchange`` markers, before a parallel strategy rewrites these.
"""

from __future__ import annotations

from collections.abc import Sequence

from paraflow.errors import GraphError
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, dependents, rebuild
from paraflow.ops.collective import EXCHANGES


def adding_program(program: Program) -> Program:
    """The program of the first k - 1 runs: it adds up gradients, and leaves out all that follows an exchange.

    Raises GraphError where a value is fetched that depends on an exchanged gradient: these runs have none.
    """
    operations = program.operations()
    exchanges = [o for o in operations if o.type in EXCHANGES]
    below = dependents(operations, exchanges)
    for tensor in program.fetches:
        if tensor.op in below or tensor.op in exchanges:
            raise GraphError(
                f"'{tensor.name}' depends on gradients that all ranks have exchanged, and with accumulate above 1 only "
                "the last micro-batch of a step has them: do not fetch it, or set accumulate to 1"
            )
    targets = [o for o in program.targets if o not in below and o not in exchanges]
    # The exchanges become targets, and additions in their places.
    upstream = Program(program.graph, program.fetches, (*targets, *exchanges), program.feeds)
    adds: list[Operation] = []

    def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if op.type not in EXCHANGES:
            return None
        record = "add_gradient" if op.type == "exchange" else "add_gradient_rows"
        build.emit(op, record, inputs, {"variable": op.attrs["variable"]})
        adds.append(build.graph.operations[-1])
        return inputs

    made = rebuild(upstream, rule)
    return Program(made.graph, made.fetches, (*made.targets, *adds), made.feeds)


def closing_program(program: Program) -> Program:
    """The program of the last run: it exchanges the mean over all micro-batches."""

    def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if op.type not in EXCHANGES:
            return None
        record = "accumulated_gradient" if op.type == "exchange" else "accumulated_gradient_rows"
        mean = build.emit(op, record, inputs, {"variable": op.attrs["variable"]})
        return build.copy(op, mean).outputs

    return rebuild(program, rule)
