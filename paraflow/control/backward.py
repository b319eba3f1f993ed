"""Gradients of branches and loops: operations of the same kinds, which follow what the forward ones kept.

The backward pass of a loop carries the cotangents of the carried values from its last turn to the first, and adds up
those of what all turns are given. Its body is built by the same reverse walk as any gradient, from the body's graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.autodiff import influential, pull_back
from paraflow.control.branches import conditional
from paraflow.control.loops import looping
from paraflow.control.totals import rows_of_products, total
from paraflow.control.tracing import kept_of
from paraflow.graph.dtypes import is_differentiable, items
from paraflow.graph.graph import get_default_graph, name_scope
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.rebuild import Program
from paraflow.graph.shape import Spec
from paraflow.graph.subgraph import SubGraph, written_by
from paraflow.ops import control
from paraflow.ops.array import zeros_like
from paraflow.ops.items import empty, items_sum
from paraflow.ops.math import add

Cotangents = tuple[Tensor | None, ...]


class Backward(SubGraph):
    """The graph of the backward pass of ``forward``, a program whose feeds are ``given``, the last of them lists.

    Where it uses a tensor of the forward graph, it follows the list of ``kept`` values of it.
    """

    def __init__(
        self, forward: Program, given: dict[Tensor, Tensor], lists: dict[Tensor, Tensor], kept: dict[Tensor, Tensor]
    ) -> None:
        super().__init__(get_default_graph())
        self.forward = forward.graph
        self.given = given
        self.lists = {**kept, **lists}
        self.followed: list[tuple[Tensor, Tensor]] = []
        self._held: dict[Tensor, Tensor] = {}

    def sees(self, graph: Any) -> bool:
        """Whether it is this graph, the forward one or one around it."""
        return graph is self.forward or super().sees(graph)

    def capture(self, tensor: Tensor) -> Tensor:
        """What stands here for a tensor of the forward graph or of one around this."""
        if tensor.graph is not self.forward:
            return super().capture(tensor)
        if tensor not in self._held:
            if tensor in self.given:
                self._held[tensor] = super().capture(self.given[tensor])
            else:
                known = self._known(tensor)
                self._held[tensor] = self.follow(self.lists[tensor], tensor.spec) if known is None else known
        return self._held[tensor]

    def _known(self, tensor: Tensor) -> Tensor | None:
        """A tensor that is the same in each turn, made here once more where that is known of it."""
        op = tensor.op
        if tensor.spec.value is None:
            return None
        if op.type == "constant" or op.record.shape_only:
            with self.as_default():
                constant: Tensor = records["constant"](value=tensor.spec.value)
            return constant
        if not op.record.pure or any(t.spec.value is None for t in op.inputs):
            return None
        made = op.record.build(self, tuple(map(self.capture, op.inputs)), op.attrs, op.type, op.source)
        return made.outputs[tensor.index]

    def follow(self, of: Tensor, spec: Spec) -> Tensor:
        """An input that is an element of the list ``of``."""
        tensor = self.input(spec)
        self.followed.append((of, tensor))
        return tensor

    def feeds(self, carried: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """All inputs, in the order of the operation's."""
        return (*carried, *(inner for _, inner in self.inputs), *(inner for _, inner in self.followed))


def _zeros(like: Tensor) -> Tensor:
    if like.dtype == items:
        return empty()
    zeros: Tensor = zeros_like(like)
    return zeros


def _sum(a: Tensor, b: Tensor) -> Tensor:
    total: Tensor = items_sum(a, b) if a.dtype == items else add(a, b)
    return total


# -- branches ---------------------------------------------------------------------------------------------------------


def _of_cond(ys: Any, dys: Any) -> Cotangents:
    outputs, cotangents = (ys, dys) if isinstance(ys, tuple) else ((ys,), (dys,))
    op: Operation = outputs[0].op
    attrs = op.attrs
    count: int = attrs["outputs"]
    inputs = op.inputs[1:]
    with name_scope(op.name.rpartition("/")[2] + "_grad") as scope:
        built: list[tuple[Backward, list[Tensor | None]]] = []
        at = count
        for branch, takes, followed in zip(attrs["branches"], attrs["takes"], attrs["followed"], strict=True):
            kept = outputs[at : at + len(branch.fetches) - count]
            d_kept = cotangents[at : at + len(kept)]
            at += len(kept)
            built.append(_branch(branch, [inputs[i] for i in takes], followed, kept, cotangents[:count], d_kept))
        return (None, *_of_inputs(op, built, scope))


def _branch(
    branch: Program, given: list[Tensor], followed: int, kept: Sequence[Tensor], dys: Sequence[Tensor | None],
    d_kept: Sequence[Tensor | None],
) -> tuple[Backward, list[Tensor | None]]:  # fmt: skip
    """The backward graph of one branch, and in it the cotangents of the branch's feeds."""
    plain = len(given) - followed
    by_feed = list(zip(branch.feeds, given, strict=True))
    values = branch.fetches[len(dys) :]
    graph = Backward(branch, dict(by_feed[:plain]), dict(by_feed[plain:]), dict(zip(values, kept, strict=True)))
    with graph.as_default():
        pairs = [(y, graph.capture(dy)) for y, dy in zip(branch.fetches, dys, strict=False) if dy is not None]
        pairs += [(y, graph.follow(dy, y.spec)) for y, dy in zip(values, d_kept, strict=True) if dy is not None]
        wanted = [t for t in branch.feeds if is_differentiable(t.dtype)]
        found = dict(zip(wanted, pull_back([y for y, _ in pairs], [d for _, d in pairs], wanted), strict=True))
    return graph, [found.get(t) for t in branch.feeds]


def _of_inputs(op: Operation, built: list[tuple[Backward, list[Tensor | None]]], scope: str) -> Cotangents:
    """The cotangents of an operation's inputs but the first, by an operation with the branches ``built``."""
    inputs, takes, follows = op.inputs[1:], op.attrs["takes"], op.attrs["followed"]
    whole: dict[int, list[Tensor | None]] = {}  # input -> its cotangent in each branch
    of_list: dict[int, list[list[Tensor]]] = {}  # followed input -> in each branch what becomes an element
    for number, (_, found) in enumerate(built):
        plain = len(found) - follows[number]
        for place, (i, cotangent) in enumerate(zip(takes[number], found, strict=True)):
            if cotangent is None:
                continue
            if place < plain:
                whole.setdefault(i, [None] * len(built))[number] = cotangent
            else:
                of_list.setdefault(i, [[] for _ in built])[number].append(cotangent)
    if not whole and not of_list:
        return (None,) * len(inputs)
    programs = []
    for number, (graph, _) in enumerate(built):
        with graph.as_default():
            fetches = [
                _or_zeros(several[number], graph, inputs[i]) for i, several in whole.items()
            ]
        elements = [graph.capture(c) for several in of_list.values() for c in several[number]]
        graph.hoist(Program(graph, (*fetches, *elements), ()), written_by(Program(graph, (*fetches, *elements), ())))
        feeds = graph.feeds(())
        kept = kept_of(Program(graph, (*fetches, *elements), (), feeds), ())
        programs.append(Program(graph, (*fetches, *elements, *kept), (), feeds))
    operation = conditional(
        op.inputs[0], tuple(programs), [[o for o, _ in g.inputs] for g, _ in built],
        [[o for o, _ in g.followed] for g, _ in built], len(whole), [o for g, _ in built for o in g.waits], scope,
    )  # fmt: skip
    results: dict[int, Tensor] = dict(zip(whole, operation.outputs, strict=False))
    at = len(whole)
    for number, program in enumerate(programs):
        for i, several in of_list.items():
            for _ in several[number]:
                results[i] = _sum(results[i], operation.outputs[at]) if i in results else operation.outputs[at]
                at += 1
        at += len(program.fetches) - len(whole) - sum(len(several[number]) for several in of_list.values())
    return tuple(results.get(i) for i in range(len(inputs)))


# -- loops ------------------------------------------------------------------------------------------------------------


def _of_loop(outputs: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> Cotangents:
    op = outputs[0].op
    body: Program = op.attrs["body"]
    carried: int = op.attrs["carried"]
    first = 1 if op.attrs["cond"] is None else 0
    before = first + carried + op.attrs["given"]  # inputs before those of the body alone
    plain = len(body.feeds) - op.attrs["followed"]
    given = [*op.inputs[first : first + carried], *op.inputs[before:]]  # for the body's feeds
    kept = body.fetches[carried:]
    later = [(y, dy) for y, dy in zip(kept, cotangents[carried + 1 :], strict=True) if dy is not None]
    active = _active(body, carried, {k for k in range(carried) if cotangents[k] is not None}, [y for y, _ in later])
    with name_scope(op.name.rpartition("/")[2] + "_grad") as scope:
        by_feed = list(zip(body.feeds, given, strict=True))
        graph = Backward(
            body, dict(by_feed[carried:plain]), dict(by_feed[plain:]),
            dict(zip(kept, outputs[carried + 1 :], strict=True)),
        )  # fmt: skip
        wanted = [t for i, t in enumerate(body.feeds) if is_differentiable(t.dtype) and (i >= carried or i in active)]
        with graph.as_default():
            arriving = {k: graph.input(Spec(body.fetches[k].dtype, body.fetches[k].spec.shape)) for k in active}
            pairs = [(body.fetches[k], arriving[k]) for k in active]
            pairs += [(y, graph.follow(dy, y.spec)) for y, dy in later]
            found = dict(zip(wanted, pull_back([y for y, _ in pairs], [d for _, d in pairs], wanted), strict=True))
            leaving = [_or_zeros(found[body.feeds[k]], graph, body.feeds[k]) for k in active]
            terms = {i: t for i in range(carried, plain) if (t := found.get(body.feeds[i])) is not None}
            rows = rows_of_products(terms, {inner for _, inner in graph.inputs})
            invariant = [i for i in terms if i not in rows]
            sums = {i: graph.input(Spec(body.feeds[i].dtype, body.feeds[i].spec.shape)) for i in invariant}
            leaving += [_sum(sums[i], terms[i]) for i in invariant]
        listed = [i for i in range(plain, len(body.feeds)) if found.get(body.feeds[i]) is not None]
        elements = [graph.capture(_needed(found[body.feeds[i]])) for i in listed]
        lists = {inner: of for of, inner in graph.followed}
        made = [t for t in dict.fromkeys(t for several in rows.values() for t in several) if t not in lists]
        start = [_start(cotangents[k], outputs[k]) for k in active] + [_zeros(given[i]) for i in invariant]
        turns = _backward_loop(
            op, outputs[carried], start, graph, [*arriving.values(), *sums.values()], leaving, [*elements, *made], scope
        )
        new = turns.outputs[len(start) + 1 :]
        lists.update(zip(made, new[len(listed) :], strict=False))
        totals = {i: total(terms[i], [lists[t] for t in several], several) for i, several in rows.items()}
    results: dict[int, Tensor] = dict(zip([*active, *invariant], turns.outputs, strict=False))
    results.update(zip(listed, new, strict=False))
    results.update(totals)
    of_feeds = [results.get(i) for i in range(len(body.feeds))]
    return (*(None,) * first, *of_feeds[:carried], *(None,) * op.attrs["given"], *of_feeds[carried:])


def _active(body: Program, carried: int, active: set[int], later: list[Tensor]) -> list[int]:
    """The carried values whose cotangents some turn needs."""
    candidates = [k for k in range(carried) if is_differentiable(body.feeds[k].dtype)]
    while True:
        reached = influential([body.feeds[k] for k in candidates], [*(body.fetches[k] for k in active), *later])
        more = active | {k for k in candidates if body.feeds[k] in reached}
        if more == active:
            return sorted(active)
        active = more


def _needed(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def _or_zeros(cotangent: Tensor | None, graph: Backward, feed: Tensor) -> Tensor:
    return _zeros(graph.capture(feed)) if cotangent is None else graph.capture(cotangent)


def _start(cotangent: Tensor | None, output: Tensor) -> Tensor:
    return _zeros(output) if cotangent is None else cotangent


def _backward_loop(
    op: Operation, turns: Tensor, start: list[Tensor], graph: Backward, feeds: list[Tensor], leaving: list[Tensor],
    elements: list[Tensor], scope: str,
) -> Operation:  # fmt: skip
    """As many turns as the forward loop had, through its lists the other way."""
    plain = Program(graph, (*leaving, *elements), ())
    graph.hoist(plain, written_by(plain))
    inputs = graph.feeds(feeds)
    kept = kept_of(Program(graph, plain.fetches, (), inputs), feeds)
    return looping(
        Program(graph, (*leaving, *elements, *kept), (), inputs),
        start,
        [outer for outer, _ in graph.inputs],
        turns=turns,
        lists=[outer for outer, _ in graph.followed],
        reverse=not op.attrs["reverse"],
        waits=list(graph.waits),
        name=scope,
    )


for _record in (control.cond, control.stateless_cond):
    _record.gradient(_of_cond)
for _record in (control.while_loop, control.stateless_while):
    _record.gradient(_of_loop)
