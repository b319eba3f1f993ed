"""Common sub-expressions: equal uses of pure operations become one."""

from __future__ import annotations

from collections.abc import Collection

from paraflow.graph.rebuild import Program, has_equals, rebuild


def merge(program: Program, apart: Collection[str] = ()) -> Program:
    """Compute once what has equal operands and attributes, where nothing but these decides the result.

    Operations of the types ``apart`` stay as many as they are.
    """
    return rebuild(program, merging=True, apart=apart) if has_equals(program) else program
