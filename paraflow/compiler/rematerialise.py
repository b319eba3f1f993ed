"""Rematerialisation: results of the forward pass that backward needs are computed a second time instead of being kept.

The forward operations are cut into segments, about sqrt(n) for n results that live until backward (Chen et al., arXiv
1604.06174). What goes from one segment to the next is kept; all else in a segment is computed again right before the
first operation of backward that uses it, so that memory is that of the results between segments and of one segment.
How many segments there are, and how many of the first of them are computed again, is a `Cut`; budget.py chooses one.
Random numbers, statistics over ranks and whatever has an effect are kept, so that results keep their bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, sqrt

from paraflow.compiler.lower import step_cost
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, dependents, rebuild
from paraflow.graph.shape import num_elements
from paraflow.ops.collective import EXCHANGES, STATISTICS

SMALL = 1024  # bytes that are not worth computing again


@dataclass(frozen=True)
class Cut:
    """What of the forward pass is computed again.

    It is cut into ``count`` segments that leave about as much to backward. Of the first ``whole`` of them all is
    computed again (the last is never one of them), of the others nothing or, if ``light``, only what takes few
    operations an element: what products and convolutions make is kept.
    """

    count: int
    whole: int
    light: bool = False


@dataclass(eq=False)
class Segment:
    """Operations in program order; ``kept`` are those of their results that are not computed again.

    Forward ends with the operation with index ``end``: what comes later uses ``copies``, by the results they replace.
    """

    end: int
    operations: list[Operation] = field(default_factory=list)
    kept: set[Tensor] = field(default_factory=set)
    copies: dict[Tensor, Tensor] = field(default_factory=dict)


def rematerialise(
    program: Program, everything: bool | Cut, scopes: Sequence[tuple[str, tuple[str, ...]]] = ()
) -> Program:
    """Compute again what ``scopes`` ask for and, with ``everything``, the forward pass of a training step.

    Of that it is all but the last of sqrt(n) segments, or what a `Cut` says. A scope is a prefix of operations' names,
    with the names of the tensors that are its results.
    """
    operations = program.operations()
    segments = of_scopes(operations, scopes)
    if everything and (forward := Forward.of(operations, segments)):
        segments += forward.segments(forward.root if everything is True else everything)
    if not segments:
        return program
    return _Rematerialising(program, segments).run()


class _Rematerialising:
    def __init__(self, program: Program, segments: list[Segment]) -> None:
        self.program = program
        self.operations = program.operations()
        self.by_index = {o.index: o for o in self.operations}
        self.backward: dict[int, list[Operation]] = {}  # by the end of forward
        self.reached = 0
        self.moved: dict[Tensor, Tensor] = {}
        self.segment_of = {o: s for s in segments for o in s.operations}
        for segment in segments:
            segment.kept.update(program.fetches)

    def run(self) -> Program:
        return rebuild(self.program, self._rule, self.moved)

    def _rule(self, build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if op.record.shape_only or not op.outputs:
            return None
        own = self.segment_of.get(op)
        replaced = tuple(
            self._again(build, segment, op)[old]
            if (segment := self.segment_of.get(old.op)) not in (None, own)
            and old not in segment.kept
            and op.index > segment.end
            else new
            for old, new in zip(op.inputs, inputs, strict=True)
        )  # fmt: skip
        return None if replaced == inputs else build.copy(op, replaced).outputs

    def _again(self, build: Builder, segment: Segment, user: Operation) -> dict[Tensor, Tensor]:
        """The segment's results, computed again before ``user``, and after what comes before that."""
        if segment.copies:
            return segment.copies
        after = self._before(segment.end, user)
        waits = build.control_inputs
        for op in segment.operations:
            if not segment.kept.issuperset(op.outputs):
                inputs = tuple(segment.copies.get(t, self.moved[t]) for t in op.inputs)
                first = not any(t in segment.copies for t in op.inputs)
                build.control_inputs = after if first else ()
                made = build.copy(op, inputs).outputs
                segment.copies.update((old, new) for old, new in zip(op.outputs, made, strict=True))
        build.control_inputs = waits
        return segment.copies

    def _before(self, end: int, user: Operation) -> tuple[Operation, ...]:
        """What has to be over before results are computed again for ``user``: backward since the last time.

        Steps that may run in any order would else be run, and take memory, during forward. It is what cannot run
        before forward has ended, as it uses its last result.
        """
        if end not in self.backward:
            exchanges = [o for o in self.operations if o.type in EXCHANGES]
            below = dependents(self.operations, [self.by_index[end]])
            below -= dependents(self.operations, exchanges).union(exchanges)
            self.backward[end] = sorted((o for o in below if o.outputs), key=lambda o: o.index)
        since, self.reached = self.reached, user.index
        recent = [o for o in self.backward[end] if since <= o.index < user.index]
        used = {t.op for o in recent for t in o.inputs}
        return tuple(dict.fromkeys(self.moved[o.outputs[0]].op for o in recent if o not in used))


def _of_scope(operations: Sequence[Operation], scope: str, results: tuple[str, ...]) -> Segment | None:
    """What leads to the results of a scope; not what else is there, as the initial values of variables are."""
    inside = [o for o in operations if o.name.startswith(scope) and _computable(o)]
    kept = {t for o in inside for t in o.outputs if t.name in results}
    needed, mine = set(kept), []
    for op in reversed(inside):
        if not needed.isdisjoint(op.outputs):
            needed.update(op.inputs)
            mine.append(op)
    segment = Segment(max((o.index for o in mine), default=-1), mine[::-1], kept)
    _keep_views(segment)
    return segment if any(t not in segment.kept for o in mine for t in o.outputs) else None


def of_scopes(operations: Sequence[Operation], scopes: Sequence[tuple[str, tuple[str, ...]]]) -> list[Segment]:
    """The segments that authors have asked for."""
    return [s for scope, results in scopes if (s := _of_scope(operations, scope, results))]


class Forward:
    """The forward pass of a training step: its operations up to where most memory is in use, after index ``turn``.

    ``living`` are its results that backward uses, ``uses`` says of any result the indices of its users, and ``most``
    is the memory in use at the turn, in bytes.
    """

    def __init__(self, operations: Sequence[Operation], exchanges: list[Operation], taken: Sequence[Segment]) -> None:
        self.uses: dict[Tensor, list[int]] = defaultdict(list)
        for op in operations:
            for tensor in () if op.record.shape_only else op.inputs:  # a shape is known without the value
                self.uses[tensor].append(op.index)
        self.turn, self.most = _fullest(operations, exchanges, self.uses)
        # A gradient is kept where it is made: by that ranks order their exchanges, and cuts depend on the batch's size.
        self._gradients = {t for o in exchanges for t in o.inputs}
        others = {o for s in taken for o in s.operations}
        self.operations = [o for o in operations if o.index <= self.turn and _computable(o) and o not in others]
        self.living = [
            t for o in self.operations for t in o.outputs
            if nbytes(t) > SMALL and max(self.uses[t], default=-1) > self.turn
        ]  # fmt: skip

    @classmethod
    def of(cls, operations: Sequence[Operation], taken: Sequence[Segment] = ()) -> Forward | None:
        """The forward pass, without what ``taken`` has of it; None where no gradients are exchanged."""
        exchanges = [o for o in operations if o.type in EXCHANGES]
        return cls(operations, exchanges, taken) if exchanges else None

    @property
    def root(self) -> Cut:
        """About sqrt(n) segments for n results, all computed again but the last, which backward begins with."""
        count = ceil(sqrt(len(self.living))) or 1
        return Cut(count, count - 1)

    def segments(self, cut: Cut) -> list[Segment]:
        """The segments of which something is computed again."""
        total, wanted = sum(map(nbytes, self.living)), set(self.living)
        segments, filled = [Segment(self.turn)], 0
        for op in self.operations:
            if filled >= total / cut.count and len(segments) < cut.count:
                segments.append(Segment(self.turn))
                filled = 0
            segments[-1].operations.append(op)
            filled += sum(nbytes(t) for t in op.outputs if t in wanted)
        whole = min(cut.whole, len(segments) - 1)
        chosen = segments if cut.light else segments[:whole]
        for number, segment in enumerate(chosen):
            inside = {o.index for o in segment.operations}
            for op in segment.operations:
                for tensor in op.outputs:
                    later = any(use <= self.turn and use not in inside for use in self.uses[tensor])
                    if later or tensor in self._gradients or (number >= whole and is_heavy(op)):
                        segment.kept.add(tensor)
            _keep_views(segment)
            _leave_out_unused(segment, wanted)
        return [s for s in chosen if s.operations]


def _fullest(
    operations: Sequence[Operation], exchanges: list[Operation], uses: dict[Tensor, list[int]]
) -> tuple[int, int]:
    """The index of the operation at which most memory is in use by results, and how many bytes.

    Gradients of variables have a place of their own.
    """
    elsewhere = {t for o in exchanges for t in o.inputs}
    after = dependents(operations, exchanges)
    change: dict[int, int] = defaultdict(int)
    for op in operations:
        if op in after or op.type in EXCHANGES:
            continue
        for tensor in op.outputs:
            if uses[tensor] and tensor not in elsewhere and takes_memory(tensor):
                change[op.index] += nbytes(tensor)
                change[max(uses[tensor]) + 1] -= nbytes(tensor)
    most, turn, now = 0, -1, 0
    for index in sorted(change):
        now += change[index]
        if now > most:
            most, turn = now, index
    return turn, most


def _keep_views(segment: Segment) -> None:
    """A view of what is kept, or of what lies outside, costs nothing, so it is kept as well."""
    inside = {t for o in segment.operations for t in o.outputs}
    for op in segment.operations:
        if op.record.view and (op.inputs[0] in segment.kept or op.inputs[0] not in inside):
            segment.kept.update(op.outputs)


def _leave_out_unused(segment: Segment, wanted: set[Tensor]) -> None:
    """Keep only the operations that lead to a result that backward wants and that is not kept."""
    needed: set[Tensor] = {t for t in wanted if t not in segment.kept}
    operations = []
    for op in reversed(segment.operations):
        if any(t in needed and t not in segment.kept for t in op.outputs):
            needed.update(op.inputs)
            operations.append(op)
        else:
            segment.kept.update(op.outputs)
    segment.operations = operations[::-1]


def _computable(op: Operation) -> bool:
    return op.record.pure and bool(op.outputs) and op.type != "constant" and op.type not in (*EXCHANGES, *STATISTICS)


def is_heavy(op: Operation) -> bool:
    """Whether an operation takes many elementary operations for each element that it reads or writes."""
    return step_cost(op) > 4 * elements(op)


def elements(op: Operation) -> int:
    """How many elements an operation reads and writes, as far as shapes are known."""
    return sum(num_elements(t.spec.shape) or 0 for t in (*op.inputs, *op.outputs))


def takes_memory(tensor: Tensor) -> bool:
    """Whether a result has memory of its own in the plan's arena, if an operation computes it as it is written."""
    return tensor.op.record.pure and not tensor.op.record.view and tensor.op.type not in ("constant", "placeholder")


def nbytes(tensor: Tensor) -> int:
    """The size of a result, as far as its shape is known."""
    return (num_elements(tensor.spec.shape) or 0) * tensor.dtype.itemsize
