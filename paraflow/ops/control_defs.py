"""Branches and loops in graph definitions: what stands around each feed of their graphs, and what must hold of them.

All that `paraflow.control` sees to when it builds such an operation is checked here when one is read, as a file may say
anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paraflow.graph.dtypes import items
from paraflow.graph.node import Tensor
from paraflow.graph.rebuild import Program
from paraflow.graph.record import OpRecord
from paraflow.graph.shape import Spec, compatible, format_dims
from paraflow.graph.subgraph import touched_by
from paraflow.ops.control import CONDS, LOOPS, common

PROGRAMS = {**dict.fromkeys(CONDS, ("branches",)), **dict.fromkeys(LOOPS, ("cond", "body"))}


@dataclass(frozen=True)
class Source:
    """The input of an operation that a feed gets its value from.

    What is "given" is the same in all turns, what is "carried" is its value in the first one, and of a list that is
    "followed" each turn gets one element.
    """

    tensor: Tensor
    kind: Literal["given", "carried", "followed"]

    def spec(self, written: Spec, changed: bool) -> Spec:
        """What is known of the feed, for which ``written`` is in the definition.

        Where the input is ``changed``, not the one that the definition was written with, less may be known, or other
        things. Raises ValueError for what the input cannot give.
        """
        outer = self.tensor.spec
        if (items if self.kind == "followed" else written.dtype) != outer.dtype:
            raise ValueError(f"a feed of dtype {written.dtype.name} gets '{self.tensor.name}', {outer.dtype.name}")
        if self.kind == "followed":
            dims = None if outer.element is None else outer.element.shape
            return Spec(written.dtype, dims) if changed else written
        if self.kind == "carried":
            return Spec(written.dtype, common(written.shape, outer.shape)) if changed else written
        if not changed and not compatible(written.shape, outer.shape):
            raise ValueError(f"a feed of shape {format_dims(written.shape)} gets {format_dims(outer.shape)}")
        return outer.reshaped(outer.shape if changed else written.shape)


def sources_of_branches(inputs: Sequence[Tensor], takes: Any, followed: Any) -> list[list[Source]]:
    """What stands around the feeds of each branch; raises ValueError for inputs that there are not."""
    found = []
    for taken, follows in zip(takes, followed, strict=True):
        tensors = [inputs[1 + _count(i, len(inputs) - 2)] for i in taken]
        plain = len(tensors) - _count(follows, len(tensors))
        found.append(_sources((), tensors[:plain], tensors[plain:]))
    return found


def sources_of_loop(
    inputs: Sequence[Tensor], counted: bool, carried: Any, given: Any, followed: Any
) -> tuple[list[Source], list[Source]]:
    """What stands around the feeds of the condition and of the body; raises ValueError for inputs that there are not.

    A loop that is ``counted`` has no condition, and the number of turns as its first input.
    """
    rest = inputs[1:] if counted else inputs
    state, rest = rest[: _count(carried, len(rest))], rest[carried:]
    to_cond, rest = rest[: _count(given, len(rest))], rest[given:]
    plain = len(rest) - _count(followed, len(rest))
    return _sources(state, to_cond, ()), _sources(state, rest[:plain], rest[plain:])


def _sources(carried: Sequence[Tensor], given: Sequence[Tensor], followed: Sequence[Tensor]) -> list[Source]:
    return [
        *(Source(t, "carried") for t in carried),
        *(Source(t, "given") for t in given),
        *(Source(t, "followed") for t in followed),
    ]


def _count(n: Any, most: int) -> int:
    if isinstance(n, int) and 0 <= n <= most:
        return n
    raise ValueError(f"{n!r} is no number from 0 to {most}")


def check(record: OpRecord, attrs: Mapping[str, Any]) -> None:
    """Raise ValueError unless the graphs of a branch or loop fit each other, and do what the operation says."""
    if record.name in CONDS:
        programs = attrs["branches"]
        outputs = _count(attrs["outputs"], min(len(branch.fetches) for branch in programs))
        kinds = {tuple(t.dtype for t in branch.fetches[:outputs]) for branch in programs}
        if len(kinds) > 1:
            raise ValueError("its branches return other dtypes than each other")
    else:
        programs = [program for program in (attrs["cond"], attrs["body"]) if program is not None]
        _check_turn(attrs["cond"], attrs["body"], attrs["carried"])
    touched = [touched_by(program) for program in programs]
    if {name for names, _ in touched for name in names} != set(attrs["variables"]):
        raise ValueError(f"it says that {list(attrs['variables'])} are the variables that are touched inside")
    if any(acts for _, acts in touched) != record.effect:
        raise ValueError("what is inside it does more than make values, or nothing else, and it says otherwise")


def _check_turn(cond: Program | None, body: Program, carried: int) -> None:
    _count(carried, len(body.fetches))
    for after, before in zip(body.fetches[:carried], body.feeds, strict=False):
        if after.dtype != before.dtype:
            raise ValueError(f"a turn is given {before.dtype.name}, and carries {after.dtype.name} on")
    if cond is not None:
        (holds,) = cond.fetches
        if holds.dtype.kind != "b" or not compatible(holds.spec.shape, ()):
            raise ValueError(f"its condition is {holds.dtype.name}{format_dims(holds.spec.shape)}, no bool")
