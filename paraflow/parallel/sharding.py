"""What is random differs from shard to shard where gradients follow from it, dropout masks for instance.

Everything else that is random, initial values for instance, is equal on all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.compiler.inside import all_inside
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, reachable, rebuild
from paraflow.ops.control import CONDS


class ShardRandom:
    """The rule of a rebuild that gives the random operations above ``exchanges`` other numbers for each shard.

    Above them are also those in branches and loops, and in the branches and loops of these.
    """

    def __init__(self, exchanges: Sequence[Operation]) -> None:
        self._above = set(reachable(exchanges))

    def __call__(self, build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        """The outputs that take the place of the operation's; None where it stays as it is."""
        return _sharded(build, op, inputs) if op in self._above else None


def _sharded(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
    if _draws(op):
        return build.emit(op, op.record, inputs, {**op.attrs, "sharded": True})
    if not any(map(_draws, all_inside(op))):
        return None
    attrs: dict[str, Any] = {k: rebuild(v, _sharded) if isinstance(v, Program) else v for k, v in op.attrs.items()}
    if op.type in CONDS:
        attrs["branches"] = tuple(rebuild(branch, _sharded) for branch in op.attrs["branches"])
    return build.emit(op, op.record, inputs, attrs, keep_specs=True)


def _draws(op: Operation) -> bool:
    return op.record.random and "sharded" in op.attrs
