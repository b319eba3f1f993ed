"""The parts of a tensor that is cut are views of it, where their places are known: nothing is copied.

It is not optional: sums over a view may be taken in another order than those over a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, transform
from paraflow.graph.shape import known


def show_parts(program: Program) -> Program:
    """Replace ``split_sizes`` and ``unpack`` by an index for each part."""
    return transform(program, _rule)


def _rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
    if op.type not in ("split_sizes", "unpack") or not inputs[0].spec.static:
        return None
    if not all(t.spec.static for t in op.outputs):
        return None
    axis = op.attrs["axis"] % len(known(inputs[0].spec.shape))
    whole = ((None, None, None),) * axis
    places: list[Any] = list(range(len(op.outputs)))
    if op.type == "split_sizes":
        sizes = [known(t.spec.shape)[axis] for t in op.outputs]
        if inputs[1].spec.value is None or sum(sizes) != known(inputs[0].spec.shape)[axis]:
            return None
        places = [(start, stop, None) for start, stop in pairwise((0, *accumulate(sizes)))]
    return [build.emit(op, "basic_index", inputs[:1], {"key": (*whole, place)})[0] for place in places]
