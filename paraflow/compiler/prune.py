"""What branches and loops make for nobody.

A program has only operations that its run needs (`paraflow.compiler.specialise`), but one that runs graphs of its own
has many results, and offers more: every value that a backward pass might follow. What nobody uses of these is left out,
and inside what only these need. What a branch or a turn does besides, such as assigning and printing, stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.rebuild import Builder, Program, reachable, rebuild
from paraflow.ops.control import CONDS, LOOPS


@dataclass(frozen=True)
class Narrow:
    """An operation without what nobody needs of it: its attributes, and which inputs and outputs it keeps."""

    attrs: dict[str, Any]
    inputs: list[int]
    outputs: list[int]


def prune(program: Program) -> Program:
    """Leave out what loops and branches offer to keep for nobody, and what loops carry on for nobody.

    It goes from the program's end to its beginning: what a backward loop does not need the forward one need not keep.
    Loops that count up to a limit are told how many turns there are.
    """
    if any(op.type in LOOPS and op.attrs["cond"] is not None for op in program.operations()):
        program = rebuild(program, _counted)
    operations = program.operations()
    used = set(program.fetches)
    needed = set(program.targets)
    found: dict[Operation, Narrow] = {}
    for op in reversed(operations):
        if op not in needed and used.isdisjoint(op.outputs):
            continue
        needed.update(op.control_inputs)
        inputs: Iterable[Tensor] = op.inputs
        if op.type in CONDS or op.type in LOOPS:
            wanted = {t.index for t in op.outputs if t in used}
            # It keeps an output in any case, by which it is found where it is a target; a loop has its turns.
            found[op] = _cond(op, wanted or {0}) if op.type in CONDS else _loop(op, wanted)
            inputs = [op.inputs[i] for i in found[op].inputs]
        used.update(inputs)
    if all(len(n.outputs) == len(op.outputs) and len(n.inputs) == len(op.inputs) for op, n in found.items()):
        return program

    def rule(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if op not in found:
            return None
        less = found[op]
        if op.type in LOOPS and less.attrs["cond"] is None and _makes_nothing(less.attrs["body"]):
            return [_at_least_zero(build, op, inputs[0])] * len(op.outputs)
        made = op.record.build(
            build.graph, tuple(inputs[i] for i in less.inputs), less.attrs, op.name, op.source, build.control_inputs
        )
        kept = dict(zip(less.outputs, made.outputs, strict=True))
        # Nobody looks at what stands for an output that is left out.
        return [kept.get(t.index, made.outputs[0]) for t in op.outputs]

    return rebuild(rebuild(program, rule))


def _counted(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
    """A loop while i < limit, in each turn of which i grows by 1, has limit - i turns: nothing has to be tested."""
    if op.type not in LOOPS or op.attrs["cond"] is None:
        return None
    cond, body, carried = op.attrs["cond"], op.attrs["body"], op.attrs["carried"]
    test = cond.fetches[0].op
    if test.type not in ("less", "greater") or test.control_inputs:
        return None
    counter, limit = test.inputs if test.type == "less" else test.inputs[::-1]
    state = cond.feeds[:carried]
    if counter not in state or limit in state or counter.dtype != np.int32 or limit.spec.shape != ():
        return None
    k = state.index(counter)
    steps = body.fetches[k].op.inputs if body.fetches[k].op.type == "add" else ()
    ones = [t for t in steps if t.op.type == "constant" and t.spec.shape == () and t.op.attrs["value"] == 1]
    if body.feeds[k] not in steps or len(ones) != 1 or inputs[k].spec.shape != ():
        return None
    if limit.op.type == "constant":
        end = records["constant"].build(build.graph, (), limit.op.attrs, f"{op.name}/limit", op.source).outputs[0]
    elif limit in cond.feeds:
        end = inputs[cond.feeds.index(limit)]
    else:
        return None
    given = inputs[carried + op.attrs["given"] :]
    attrs = {**op.attrs, "cond": None, "given": 0}
    turns = _difference(build, op, end, inputs[k])
    made = op.record.build(
        build.graph, (turns, *inputs[:carried], *given), attrs, op.name, op.source, build.control_inputs
    )
    return made.outputs


def _difference(build: Builder, op: Operation, x: Tensor, y: Tensor) -> Tensor:
    """x - y in int64."""
    x, y = (_make(build, op, "cast", (t,), {"dtype": np.dtype("int64")}) for t in (x, y))
    return _make(build, op, "subtract", (x, y), {})


def _at_least_zero(build: Builder, op: Operation, limit: Tensor) -> Tensor:
    """How many turns a loop to ``limit`` makes: it is all that is wanted where only its backward pass is."""
    turns = _make(build, op, "cast", (limit,), {"dtype": np.dtype("int32")})
    return _make(build, op, "maximum", (turns, _make(build, op, "constant", (), {"value": np.int32(0)})), {})


def _make(build: Builder, op: Operation, name: str, inputs: tuple[Tensor, ...], attrs: dict[str, Any]) -> Tensor:
    """An operation on the number of turns of ``op``, under a name of its own beside that."""
    return records[name].build(build.graph, inputs, attrs, f"{op.name}/turns", op.source).outputs[0]


def _makes_nothing(program: Program) -> bool:
    return not program.fetches and not program.targets


def _acts(program: Program) -> tuple[Operation, ...]:
    """The targets of a program: what it does besides making its values is done even where nobody needs these."""
    fed = {t.op for t in program.feeds}
    acts = (o for o in program.operations() if (o.record.writes or o.record.effect) and o not in fed)
    return tuple(dict.fromkeys((*program.targets, *acts)))


def _reached(feeds: Sequence[Tensor], fetches: Sequence[Tensor], targets: Sequence[Operation] = ()) -> set[Tensor]:
    """The feeds on which ``fetches`` and ``targets`` depend."""
    fed = set(feeds)
    above = reachable(
        [*(t.op for t in fetches), *targets], lambda op: bool(op.outputs) and all(t in fed for t in op.outputs)
    )
    return {t for op in above for t in op.outputs if t in fed}


def _loop(op: Operation, wanted: set[int]) -> Narrow:
    attrs, cond, body = op.attrs, op.attrs["cond"], op.attrs["body"]
    carried, given, followed = attrs["carried"], attrs["given"], attrs["followed"]
    first = 1 if cond is None else 0
    kept = [i for i in range(carried + 1, len(op.outputs)) if i in wanted]
    live = {i for i in range(carried) if i in wanted}
    targets = _acts(body)
    tested = set() if cond is None else _reached(cond.feeds, cond.fetches)
    live |= {i for i in range(carried) if cond is not None and cond.feeds[i] in tested}
    while True:
        fetches = [body.fetches[i] for i in sorted(live)] + [body.fetches[i - 1] for i in kept]
        reached = _reached(body.feeds, fetches, targets)
        more = live | {i for i in range(carried) if body.feeds[i] in reached}
        if more == live:
            break
        live = more
    state = sorted(live)
    to_cond = [] if cond is None else [i for i in range(carried, len(cond.feeds)) if cond.feeds[i] in tested]
    to_body = [i for i in range(carried, len(body.feeds)) if body.feeds[i] in reached]
    new = dict(attrs)
    if cond is not None:
        new["cond"] = Program(cond.graph, cond.fetches, cond.targets, tuple(cond.feeds[i] for i in (*state, *to_cond)))
    new["body"] = Program(body.graph, tuple(fetches), targets, tuple(body.feeds[i] for i in (*state, *to_body)))
    new["carried"], new["given"] = len(state), len(to_cond)
    new["followed"] = sum(i >= len(body.feeds) - followed for i in to_body)
    inputs = [
        *range(first), *(first + i for i in state), *(first + i for i in to_cond), *(first + given + i for i in to_body)
    ]  # fmt: skip
    return Narrow(new, inputs, [*state, carried, *kept])


def _cond(op: Operation, wanted: set[int]) -> Narrow:
    attrs = op.attrs
    count: int = attrs["outputs"]
    values = [i for i in range(count) if i in wanted]
    outputs = list(values)
    branches, taken = [], []
    follows: list[int] = []
    at = count
    for branch, takes, followed in zip(attrs["branches"], attrs["takes"], attrs["followed"], strict=True):
        kept = [i for i in range(at, at + len(branch.fetches) - count) if i in wanted]
        outputs += kept
        fetches = [*(branch.fetches[i] for i in values), *(branch.fetches[i - at + count] for i in kept)]
        at += len(branch.fetches) - count
        targets = _acts(branch)
        reached = _reached(branch.feeds, fetches, targets)
        feeds = [i for i, t in enumerate(branch.feeds) if t in reached]
        branches.append(Program(branch.graph, tuple(fetches), targets, tuple(branch.feeds[i] for i in feeds)))
        taken.append([takes[i] for i in feeds])
        follows.append(sum(i >= len(branch.feeds) - followed for i in feeds))
    inputs = sorted({i for takes in taken for i in takes})
    takes = tuple(tuple(inputs.index(i) for i in takes) for takes in taken)
    new = {**attrs, "branches": tuple(branches), "takes": takes, "followed": tuple(follows), "outputs": len(values)}
    return Narrow(new, [0, *(1 + i for i in inputs)], outputs)
