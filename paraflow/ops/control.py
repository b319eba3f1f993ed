"""The operations that run graphs of their own: one of several branches, or a body turn after turn.

Their attributes are `Program`s, whose feeds are given inputs of the operation and whose first fetches are its outputs.
Further fetches are *kept*: the outputs that follow are lists of what they were in each turn (in the one turn of a
branch), for the backward pass. The last feeds of a program may be *followed*: what is given for them is a list too, of
which each turn gets one element. So the backward pass of a loop is a loop, which follows what the forward pass kept.

A new operation offers to keep every value of its graphs; the compiler leaves out what nobody asks for. An operation in
whose graphs something is written, printed or the like is a ``cond`` or a ``while_loop``; others are stateless. The
bodies here are the meaning; `paraflow.runtime.control` runs compiled plans of the programs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidTypeError
from paraflow.graph.dtypes import int32, items
from paraflow.graph.node import Tensor
from paraflow.graph.rebuild import Program
from paraflow.graph.record import op
from paraflow.graph.shape import Dims, Spec, format_dims, merge
from paraflow.ops.items import listed

# -- branches ---------------------------------------------------------------------------------------------------------


def _cond(*inputs, branches=(), takes=(), followed=(), outputs=0, variables=(), call):
    """What one of ``branches`` makes of its inputs: that with the number of the first input, the last one for others.

    Branch b is given the inputs ``takes[b]``, not counting the first; the last ``followed[b]`` of them are lists.
    """
    number = branch_number(inputs[0], len(branches))
    given = [inputs[1 + i] for i in takes[number]]
    plain = len(given) - followed[number]
    results = call(branches[number], [*given[:plain], *(element(x, 0) for x in given[plain:])])
    kept = [
        listed([value] if b == number else [])
        for b, branch in enumerate(branches)
        for value in (results[outputs:] if b == number else branch.fetches[outputs:])
    ]
    return (*results[:outputs], *kept)


def branch_number(index: Any, branches: int) -> int:
    """Which branch to run."""
    number = int(index)
    return number if 0 <= number < branches else branches - 1


def element(items: Any, place: int) -> Any:
    """An element of a list that is followed."""
    return items.item().get(place)


def _cond_shape(
    index: Spec, *inputs: Spec, branches: tuple[Program, ...], takes: Any, followed: Any, outputs: int, variables: Any
) -> tuple[Spec, ...]:
    if index.dtype.kind not in "biu":
        raise InvalidTypeError(f"what chooses a branch is bool or an integer, not {index.dtype.name}")
    if index.shape not in ((), None):
        raise GraphError(f"what chooses a branch is a scalar, not of shape {format_dims(index.shape)}")
    found = []
    for branch, taken, follows in zip(branches, takes, followed, strict=True):
        plain = len(taken) - follows
        given = [inputs[i] for i in taken[:plain]]
        elements = [_element(inputs[i], t) for i, t in zip(taken[plain:], branch.feeds[plain:], strict=True)]
        found.append(branch.infer([*given, *elements]))
    results = [
        Spec(several[0].dtype, common(*(s.shape for s in several)))
        for several in zip(*(specs[:outputs] for specs in found), strict=True)
    ]
    return (*results, *(_list_of(spec) for specs in found for spec in specs[outputs:]))


def _element(of: Spec, feed: Tensor) -> Spec:
    """What is known of an element of a list, for which there is this feed."""
    return Spec(feed.dtype, feed.spec.shape if of.element is None else merge(feed.spec.shape, of.element.shape))


def _list_of(spec: Spec) -> Spec:
    return Spec(items, (), element=Spec(spec.dtype, spec.shape))


def common(*shapes: Dims) -> Dims:
    """What holds for all of these shapes."""
    if any(shape is None for shape in shapes) or len({len(shape) for shape in shapes if shape is not None}) > 1:
        return None
    sizes = zip(*(shape for shape in shapes if shape is not None), strict=True)
    return tuple(several[0] if len(set(several)) == 1 else None for several in sizes)


# -- loops ------------------------------------------------------------------------------------------------------------


def _while(
    *inputs, cond=None, body=None, carried=0, given=0, followed=0, reverse=False, variables=(), call
):  # fmt: skip
    """Turns of ``body`` as long as ``cond`` holds, or as many as the first input says where there is no ``cond``.

    After that come the ``carried`` values, which each turn gives the next one, ``given`` further inputs of ``cond``,
    those of ``body``, and last the ``followed`` lists, with ``reverse`` from their ends. The outputs are what the last
    turn carries on, the number of turns, and the lists of what is kept.
    """
    limit = None
    if cond is None:
        limit, inputs = int(inputs[0]), inputs[1:]
    state, rest = list(inputs[:carried]), inputs[carried:]
    to_cond, to_body, lists = rest[:given], rest[given : len(rest) - followed], rest[len(rest) - followed :]
    kept: list[list[Any]] = [[] for _ in body.fetches[carried:]]
    turns = 0
    while (turns < limit) if limit is not None else bool(call(cond, [*state, *to_cond])[0]):
        place = limit - 1 - turns if limit is not None and reverse else turns
        results = call(body, [*state, *to_body, *(element(x, place) for x in lists)])
        state = list(results[:carried])
        for values, value in zip(kept, results[carried:], strict=True):
            values.append(value)
        turns += 1
    return (*state, np.array(turns, int32), *(listed(values[::-1] if reverse else values) for values in kept))


def _while_shape(
    *inputs: Spec, cond: Program | None, body: Program, carried: int, given: int, followed: int, reverse: bool,
    variables: Any,
) -> tuple[Spec, ...]:  # fmt: skip
    start = 1 if cond is None else 0
    state = [Spec(s.dtype, s.shape) for s in inputs[start : start + carried]]
    rest = inputs[start + carried + given : len(inputs) - followed]
    lists = zip(inputs[len(inputs) - followed :], body.feeds[len(body.feeds) - followed :], strict=True)
    elements = [_element(of, feed) for of, feed in lists]
    while True:
        after = body.infer([*state, *rest, *elements])
        both = [Spec(s.dtype, common(s.shape, a.shape)) for s, a in zip(state, after, strict=False)]
        if all(b.shape == s.shape for b, s in zip(both, state, strict=True)):
            return (*state, Spec(int32, ()), *map(_list_of, after[carried:]))
        state = both


def _record(name: str, body: Any, shape: Any, **properties: Any) -> Any:
    body.__name__ = name
    record = op(body, same=(), **properties)
    record.shape(shape)
    return record


EFFECTS = {"reads": True, "writes": True, "effect": True}
stateless_cond = _record("stateless_cond", _cond, _cond_shape)
cond = _record("cond", _cond, _cond_shape, **EFFECTS)
stateless_while = _record("stateless_while", _while, _while_shape)
while_loop = _record("while_loop", _while, _while_shape, **EFFECTS)

CONDS = ("cond", "stateless_cond")
LOOPS = ("while_loop", "stateless_while")
