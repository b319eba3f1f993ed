"""Markers of gradients and statistics that have nothing left to do once the strategy has rewritten a program."""

from __future__ import annotations

from collections.abc import Sequence

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, transform
from paraflow.ops.collective import STATISTICS


def resolve_markers(program: Program) -> Program:
    """Take out the markers of statistics that no strategy has rewritten, and those below all-reduces.

    One below an all-reduce stays where the gradient's size is known only at run time, and has to be looked at.
    """
    return transform(program, _rule)


def _rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
    if op.type in STATISTICS:
        return inputs[: len(op.outputs)]  # alone they are the identity
    marker = inputs[0].op if op.type == "all_reduce" else None
    if marker is None or marker.type != "exchange" or not marker.inputs[0].spec.static:
        return None
    return build.emit(op, op.record, marker.inputs, op.attrs)
