"""What branches and loops have in common while they are built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program
from paraflow.graph.record import at_user_line
from paraflow.graph.shape import compatible, format_dims


def kept_of(program: Program, beside: Iterable[Tensor]) -> list[Tensor]:
    """What a new operation offers to keep: ``beside`` and all that its program computes, but for constants."""
    feeds = set(program.feeds)
    inner = (t for o in program.operations() if o.type != "constant" for t in o.outputs if t not in feeds)
    return list(dict.fromkeys((*beside, *inner)))


def check_scalar_bool(tensor: Tensor, what: str) -> None:
    """Raise TypeError for another dtype than bool, and GraphError for another shape than that of a scalar."""
    if tensor.dtype.kind != "b":
        raise TypeError(f"{what} bool, not {tensor.dtype.name}{at_user_line()}")
    if not compatible(tensor.spec.shape, ()):
        raise GraphError(f"{what} a scalar, not of shape {format_dims(tensor.spec.shape)}{at_user_line()}")


def operation_of(made: Any) -> Operation:
    """The operation that the call of a record has made."""
    if isinstance(made, Operation):
        return made
    tensor: Tensor = made[0] if isinstance(made, tuple) else made
    return tensor.op
