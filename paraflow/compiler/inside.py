"""The programs inside a program, and what must not be in them where ranks train together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from paraflow.errors import GraphError
from paraflow.graph.node import Operation
from paraflow.graph.rebuild import Program
from paraflow.ops.collective import EXCHANGES, STATISTICS
from paraflow.ops.control import CONDS, LOOPS


def inside(op: Operation) -> Iterator[Program]:
    """The programs that an operation runs."""
    if op.type in CONDS:
        yield from op.attrs["branches"]
    elif op.type in LOOPS:
        yield from (p for p in (op.attrs["cond"], op.attrs["body"]) if p is not None)


def all_inside(op: Operation) -> Iterator[Operation]:
    """The operations of the programs that an operation runs, and of those inside these."""
    for program in inside(op):
        for inner in program.operations():
            yield inner
            yield from all_inside(inner)


def check_inside(program: Program, synchronous: bool, private: Callable[[str], bool]) -> None:
    """Raise GraphError where a branch or a loop does what all ranks do together, which they might not all do alike."""
    for op in program.operations():
        for inner in all_inside(op):
            if inner.record.collective or inner.type in (*EXCHANGES, *STATISTICS):
                raise GraphError(
                    f"{inner.where()} takes part in what ranks do together, and is inside {op.where()}: ranks may run "
                    "different branches and numbers of turns, so compute gradients and statistics outside"
                )
            for name in inner.variables if synchronous and inner.record.writes else ():
                if program.graph.variables[name].owner and not private(name):
                    raise GraphError(
                        f"{inner.where()} assigns variable '{name}', which the ranks of a node have in common, inside "
                        f"{op.where()}: assign it outside, or make it with trainable=False"
                    )
