"""Common sub-expressions: equal uses of pure operations become one."""

from __future__ import annotations

from paraflow.graph.rebuild import Program, has_equals, rebuild


def merge(program: Program) -> Program:
    """Compute once what has equal operands and attributes, where nothing but these decides the result."""
    return rebuild(program, merging=True) if has_equals(program) else program
