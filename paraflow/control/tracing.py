"""What branches and loops have in common while they are built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program


def kept_of(program: Program, beside: Iterable[Tensor]) -> list[Tensor]:
    """What a new operation offers to keep: ``beside`` and all that its program computes, but for constants."""
    feeds = set(program.feeds)
    inner = (t for o in program.operations() if o.type != "constant" for t in o.outputs if t not in feeds)
    return list(dict.fromkeys((*beside, *inner)))


def operation_of(made: Any) -> Operation:
    """The operation that the call of a record has made."""
    if isinstance(made, Operation):
        return made
    tensor: Tensor = made[0] if isinstance(made, tuple) else made
    return tensor.op
