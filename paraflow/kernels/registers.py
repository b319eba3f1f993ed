"""Elementwise programs on few places: where each value of a body lies while numpy's kernels run over a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from paraflow.graph.node import records
from paraflow.kernels.numpy import ANY_INPUT, KERNELS, Call, Kernel
from paraflow.ops.update import Body, Node


class Inner(NamedTuple):
    """One elementary operation on places: ``node`` says what it is, ``function`` does it."""

    function: Call
    inputs: tuple[int, ...]
    output: int
    node: Node


@dataclass
class Registers:
    """A body with a place for every value: states, leaves and scalars come first, scratch after them."""

    steps: list[Inner] = field(default_factory=list)
    scratch: list[np.dtype[Any]] = field(default_factory=list)


def kernel_of(name: str) -> Kernel:
    """The kernel of an elementwise operation: its own, or its numpy body with the result copied to its place."""
    return KERNELS[name] if name in KERNELS else Kernel(lambda attrs: _by_body(name, attrs), ANY_INPUT)


def _by_body(name: str, attrs: Any) -> Call:
    body = records[name].body

    def kernel(*operands: Any) -> None:
        np.copyto(operands[-1], body(*operands[:-1], **attrs))

    return kernel


def allocate_registers(body: Body, dtypes: Sequence[np.dtype[Any]]) -> Registers:
    """Decide where each value of ``body`` lies: in the state it becomes, where nobody needs the old one, or in scratch.

    ``dtypes`` are those of the states. A value may take the place of an operand wherever the kernel can work in place,
    and that of a state that is only written until the state's own value comes.
    """
    given = body.states + body.leaves + body.scalars
    values = [n.inputs for n in body.nodes]
    last = {r: i for i, inputs in enumerate(values) for r in inputs}
    last |= {r: len(values) for _, r in body.writes}
    becomes: dict[int, int] = {}
    for state, r in body.writes:
        sources = {other for s, other in body.writes if s != state}
        if r >= given and r not in becomes and state not in sources:
            becomes[r] = state
    arrives = {state: value - given for value, state in becomes.items() if state not in last}
    found = Registers()
    place = {r: r for r in range(given)}
    free: list[int] = []
    for i, node in enumerate(body.nodes):
        kernel = kernel_of(node.op)
        value = given + i
        ending = [place[r] for r in dict.fromkeys(node.inputs) if last[r] == i and place[r] >= given]
        unsafe = {place[r] for position, r in enumerate(node.inputs) if position not in kernel.inplace}
        home = becomes.get(value)
        wanted = np.dtype(node.dtype)
        if home is not None and last.get(home, -1) <= i and home not in unsafe and wanted == dtypes[home]:
            place[value] = home
        else:
            usable = [*free, *(p for p in ending if p not in unsafe)]
            fitting = [p for p in usable if found.scratch[p - given] == wanted]
            over = last.get(value, i)
            held = unsafe | {place[r] for r in range(given, value) if last.get(r, -1) > i}
            vacant = [s for s, at in arrives.items() if over <= at and wanted == dtypes[s] and s not in held]
            fitting = vacant or fitting
            if not fitting:
                found.scratch.append(wanted)
                fitting = [given + len(found.scratch) - 1]
            place[value] = fitting[0]
            if fitting[0] in free:
                free.remove(fitting[0])
        function = kernel.bind(dict(node.attrs))
        found.steps.append(Inner(function, tuple(place[r] for r in node.inputs), place[value], node))
        free += [p for p in ending if p != place[value]]
    spare = given + len(found.scratch)
    copies = _copies({state: place[r] for state, r in body.writes if place[r] != state}, spare)
    for source, target in copies:
        dtype = dtypes[target if target < spare else source]
        found.steps.append(Inner(_copy, (source,), target, Node("copy", (), (source,), dtype.name)))
    if any(target == spare for _, target in copies):
        found.scratch.append(dtypes[0])
    return found


def _copies(sources: dict[int, int], spare: int) -> list[tuple[int, int]]:
    """Copies (source, target), one after the other, that do what copying all ``sources`` (by target) at once would.

    Where targets are sources in a ring, the old value of one of them is kept in ``spare`` meanwhile.
    """
    pending, copies = dict(sources), []
    while pending:
        target = next((t for t in pending if t not in pending.values()), None)
        if target is None:
            target = next(iter(pending))
            copies.append((target, spare))
            pending = {t: spare if s == target else s for t, s in pending.items()}
        copies.append((pending.pop(target), target))
    return copies


def _copy(value: Any, out: Any) -> None:
    np.copyto(out, value)
