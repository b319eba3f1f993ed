"""Rows of variables that the ranks of a node share: when they are written, and that each is written once.

Every rank has the same rows. Writes of rows between which nobody touches their variables become one ``write_rows`` at
the place of the last of them, so that the ranks meet once before it and once after it, not around each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, rebuild


@dataclass(eq=False)
class _Run:
    """Writes that take place together; ``inputs`` and ``waits`` are those of the new program."""

    writes: list[Operation] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    waits: list[Operation] = field(default_factory=list)


def share_rows(program: Program, private: Callable[[str], bool]) -> Program:
    """Replace the writes of rows of trained variables and their slots, whose copy is the node's if not ``private``."""
    run_of = {op: run for run in _runs(program, private) for op in run.writes}
    if not run_of:
        return program
    written: list[Operation] = []

    def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        run = run_of.get(op)
        if run is None:
            return None
        run.inputs += inputs
        run.waits += build.control_inputs
        if op is run.writes[-1]:
            build.control_inputs = tuple(dict.fromkeys(run.waits))
            build.emit(op, "write_rows", run.inputs, {"variables": tuple(o.attrs["variable"] for o in run.writes)})
            written.append(build.graph.operations[-1])
        return inputs[:1]

    shared = rebuild(program, rule)
    return Program(shared.graph, shared.fetches, (*shared.targets, *written), shared.feeds)


def _runs(program: Program, private: Callable[[str], bool]) -> list[_Run]:
    runs: list[_Run] = []
    names: set[str] = set()  # of the variables that the last run writes, while it is open
    for op in program.operations():
        if not names.isdisjoint(op.variables):
            names = set()
        variable = program.graph.variables[op.attrs["variable"]] if op.type == "scatter_variable" else None
        if variable is not None and variable.owner and not private(variable.name):
            if not names:
                runs.append(_Run())
            runs[-1].writes.append(op)
            names.add(op.attrs["variable"])
    return runs
