"""Programs (what one run needs of a graph) and the one rebuild by which every compiler pass works.

The user's graph is never changed: a pass is a pure function Program -> Program that copies the operations it keeps into
a fresh graph. A rebuild that merges gives equal uses of pure operations one node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np

from paraflow.errors import GraphError, ShapeError
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.record import OpRecord
from paraflow.graph.shape import Spec, merge
from paraflow.graph.text import text


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A graph and what is wanted of it.

    ``fetches`` are tensors whose values are returned, ``targets`` are operations that have to run, ``feeds`` are the
    placeholders whose values are handed in, in the caller's order. ``note`` is what a pass has to say of it.
    It never changes, so what it needs of the graph, and who uses what, is found once.
    """

    graph: Graph
    fetches: tuple[Tensor, ...]
    targets: tuple[Operation, ...]
    feeds: tuple[Tensor, ...] = ()
    note: str = ""

    def operations(self) -> Sequence[Operation]:
        """The operations that the fetches and targets need, in program order."""
        return self._operations

    @cached_property
    def _operations(self) -> tuple[Operation, ...]:
        return tuple(reachable([*(t.op for t in self.fetches), *self.targets, *(t.op for t in self.feeds)]))

    @cached_property
    def consumers(self) -> Mapping[Tensor, Sequence[Operation]]:
        """The operations that have a tensor as an input, in program order, once for each such input."""
        found: dict[Tensor, list[Operation]] = {}
        for operation in self._operations:
            for tensor in operation.inputs:
                found.setdefault(tensor, []).append(operation)
        return found

    def infer(self, specs: Sequence[Spec]) -> list[Spec]:
        """What is known of the fetches where this is known of the feeds.

        Raises GraphError where a shape rule refuses it.
        """
        known = dict(zip(self.feeds, specs, strict=True))
        for operation in self.operations():
            if not operation.outputs or all(t in known for t in operation.outputs):
                continue
            inputs = tuple(known[t] for t in operation.inputs)
            found = operation.record.infer_at(operation.source, inputs, operation.attrs)
            for tensor, spec in zip(operation.outputs, found, strict=True):
                # What the author said of a shape is known beside what follows from the inputs'.
                known.setdefault(tensor, spec.reshaped(merge(spec.shape, tensor.spec.shape)))
        return [known[t] for t in self.fetches]

    def text(self) -> str:
        """The note if there is one, the operations, one a line, then the feeds, fetches and targets."""
        wanted = {
            "feeds": [t.name for t in self.feeds],
            "fetches": [t.name for t in self.fetches],
            "targets": [o.name for o in self.targets],
        }
        note = [f"# {self.note}"] if self.note else []
        lines = (f"{key} {', '.join(names)}" for key, names in wanted.items())
        return "\n".join([*note, text(self.operations()), *lines])

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.text().encode()).hexdigest()[:16]
        return f"<{len(self.operations())} operations #{digest}>"


# A rule sees an operation of the old program and its inputs in the new one; it returns the tensors that take the
# outputs' places, or None to keep the operation as it is.
Rule = Callable[["Builder", Operation, tuple[Tensor, ...]], "Sequence[Tensor] | None"]

T = TypeVar("T")
Find = Callable[[Tensor], T]


class Builder:
    """Makes the new graph of a rebuild; with ``merging`` equal uses of pure operations not in ``apart`` become one."""

    def __init__(self, merging: bool = False, apart: Collection[str] = ()) -> None:
        self.graph = Graph()
        self.merging = merging
        self.apart = apart
        # What is emitted while an operation is rebuilt inherits that operation's control inputs.
        self.control_inputs: tuple[Operation, ...] = ()
        self._memo: dict[Any, Operation] = {}

    def emit(
        self,
        origin: Operation,
        record: OpRecord | str,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, Any] | None = None,
        keep_specs: bool = False,
    ) -> tuple[Tensor, ...]:
        """The outputs of ``record(*inputs)``; name and source line are those of ``origin``, which it stands for.

        Tensors are converted by the record only when a user calls it; here dtypes have to fit already. Raises
        ShapeError where the record cannot take the shapes that are known now.
        """
        record = records[record] if isinstance(record, str) else record
        full = _full(record, attrs)
        inputs = tuple(inputs)
        control_inputs = self.control_inputs
        key = None
        if self.merging and record.pure and not control_inputs and record.name not in self.apart:
            key = _use_key(record, inputs, full)
            if key in self._memo:
                return self._memo[key].outputs
        if keep_specs:
            specs = tuple([t.spec for t in origin.outputs])
            made = self.graph.add(record, inputs, full, origin.name, origin.source, specs, control_inputs)
        else:
            try:
                made = record.build(self.graph, inputs, full, origin.name, origin.source, control_inputs)
            except GraphError as error:  # what the graph took: the feeds have decided
                raise ShapeError(str(error)) from None
        made.device = origin.device
        if key is not None:
            self._memo[key] = made
        return made.outputs

    def constant(self, origin: Operation, value: Any) -> Tensor:
        """A constant holding ``value`` (an array; its dtype and shape are kept)."""
        array = np.asarray(value)
        array.flags.writeable = False
        return self.emit(origin, "constant", (), {"value": array})[0]

    def copy(self, operation: Operation, inputs: tuple[Tensor, ...]) -> Operation:
        """The same operation in the new graph, its shapes inferred again only where the inputs' changed."""
        same = True
        for new, old in zip(inputs, operation.inputs, strict=True):
            same = same and (new.spec is old.spec or _alike(new.spec, old.spec))
        if operation.outputs and (not same or self.merging):
            outputs = self.emit(operation, operation.record, inputs, operation.attrs, keep_specs=same)
            return outputs[0].op
        specs = tuple([t.spec for t in operation.outputs])
        made = self.graph.add(
            operation.record, inputs, operation.attrs, operation.name, operation.source, specs, self.control_inputs
        )
        made.device = operation.device
        return made


def rebuild(
    program: Program,
    rule: Rule | None = None,
    moved: dict[Tensor, Tensor] | None = None,
    after: Callable[[Builder, Operation], None] | None = None,
    merging: bool = False,
    apart: Collection[str] = (),
    order: Sequence[Operation] | None = None,
) -> Program:
    """Copy what ``program`` needs into a fresh graph, asking ``rule`` about each operation in turn.

    ``moved`` is filled with old tensor -> new tensor as the rebuild goes on, for rules that look beyond the inputs.
    ``after`` is called when an operation of the old program has been dealt with. With ``merging`` equal uses of pure
    operations become one, but not of the types ``apart``. ``order`` has the operations in another valid order than that
    of the program.
    """
    builder = Builder(merging, apart)
    builder.graph.variables = dict(program.graph.variables)
    tensors: dict[Tensor, Tensor] = {} if moved is None else moved
    operations: dict[Operation, tuple[Operation, ...]] = {}
    for operation in program.operations() if order is None else order:
        inputs = tuple([tensors[t] for t in operation.inputs])
        waits = [new for old in operation.control_inputs for new in operations[old]]
        builder.control_inputs = tuple(dict.fromkeys(waits)) if waits else ()
        outputs = rule(builder, operation, inputs) if rule is not None else None
        if outputs is None:
            copied = builder.copy(operation, inputs)
            operations[operation] = (copied,)
            outputs = copied.outputs
        else:
            operations[operation] = tuple(dict.fromkeys(t.op for t in outputs))
        tensors.update(zip(operation.outputs, outputs, strict=True))
        if after is not None:
            after(builder, operation)
    return Program(
        builder.graph,
        tuple(tensors[t] for t in program.fetches),
        tuple(dict.fromkeys(new for old in program.targets for new in operations[old])),
        tuple(tensors[t] for t in program.feeds),
    )


class _Asked(Exception):
    """A rule has made something."""


class _Probe(Builder):
    """Stands for the new graph while it is found out whether a rule would make anything."""

    def emit(self, *_: Any, **__: Any) -> tuple[Tensor, ...]:
        raise _Asked


def transform(program: Program, rule: Rule) -> Program:
    """`rebuild`, or the program itself where the rule leaves all as it is.

    The rule has to be a function of its arguments: it is asked twice about some operations.
    """
    probe = _Probe()
    try:
        for operation in program.operations():
            if rule(probe, operation, operation.inputs) is not None:
                break
        else:
            return program
    except _Asked:
        pass
    return rebuild(program, rule)


def join(first: Program, second: Program, given: Mapping[Tensor, Tensor]) -> Program:
    """Both programs, one after the other; ``given`` are feeds of the second that the first computes.

    The feeds are those of the first and what else the second needs, the fetches are those of both.
    """
    builder = Builder()
    builder.graph.variables = dict(first.graph.variables)
    tensors: dict[Tensor, Tensor] = {}
    operations: dict[Operation, Operation] = {}
    for program in (first, second):
        if program is second:
            tensors.update((feed, tensors[value]) for feed, value in given.items())
        for operation in program.operations():
            if operation.outputs and all(t in tensors for t in operation.outputs):
                continue
            builder.control_inputs = tuple(operations[o] for o in operation.control_inputs)
            operations[operation] = builder.copy(operation, tuple(tensors[t] for t in operation.inputs))
            for old, new in zip(operation.outputs, operations[operation].outputs, strict=True):
                tensors.setdefault(old, new)
    return Program(
        builder.graph,
        tuple(tensors[t] for t in (*first.fetches, *second.fetches)),
        tuple(operations[o] for o in (*first.targets, *second.targets)),
        tuple(tensors[t] for t in (*first.feeds, *(t for t in second.feeds if t not in given))),
    )


def reachable(roots: Iterable[Operation], stop: Callable[[Operation], bool] | None = None) -> list[Operation]:
    """``roots`` and all they depend on, in program order; the walk does not go beyond operations where ``stop``."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        operation = stack.pop()
        if stop is not None and stop(operation):
            continue
        for tensor in operation.inputs:
            if tensor.op not in seen:
                seen.add(tensor.op)
                stack.append(tensor.op)
        for waited_for in operation.control_inputs:
            if waited_for not in seen:
                seen.add(waited_for)
                stack.append(waited_for)
    return sorted(seen, key=attrgetter("index"))


def resolve(root: Tensor, known: dict[Tensor, T], needs: Callable[[Tensor], Iterable[Tensor]], find: Find[T]) -> T:
    """``known[root]``: what ``find`` says of it when all that it ``needs`` is known, which is found in the same way.

    A recursion without Python's limit to its depth: chains of operations may be longer.
    """
    stack = [root]
    while stack:
        tensor = stack[-1]
        missing = [] if tensor in known else [t for t in needs(tensor) if t not in known]
        stack += reversed(missing)
        if not missing:
            stack.pop()
            if tensor not in known:
                known[tensor] = find(tensor)
    return known[root]


def dependents(operations: Iterable[Operation], roots: Iterable[Operation]) -> set[Operation]:
    """Those of ``operations``, in program order, that depend on one of ``roots`` by inputs or control inputs."""
    start = set(roots)
    below = set(start)
    for operation in operations:
        if any(t.op in below for t in operation.inputs) or any(o in below for o in operation.control_inputs):
            below.add(operation)
    return below - start


def has_equals(program: Program) -> bool:
    """Whether operations of a program are equal uses of a pure one, so that a rebuild which merges has work to do."""
    seen: set[Any] = set()
    for operation in program.operations():
        if operation.record.pure and operation.outputs and not operation.control_inputs:
            key = _use_key(operation.record, operation.inputs, _full(operation.record, operation.attrs))
            if key in seen:
                return True
            seen.add(key)
    return False


def _alike(a: Spec, b: Spec) -> bool:
    """Whether as much, and the same, is known of two tensors; without a look at values."""
    return a.shape == b.shape and a.dtype == b.dtype and a.value is b.value and a.partial is b.partial


def _full(record: OpRecord, attrs: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The attributes, those that are not given as the record has them, in its order."""
    return {**record.attributes, **attrs} if attrs else record.attributes


def _use_key(record: OpRecord, inputs: Sequence[Tensor], attrs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for equal uses of a record: the same operands and equal attributes, which are all there."""
    return (record.name, *map(id, inputs), *map(_attr_key, attrs.values()))


def _attr_key(value: Any) -> tuple[Any, ...]:
    """A hashable stand-in for an attribute: equal keys mean equal values."""
    if isinstance(value, np.ndarray):
        if value.nbytes > 4096:
            return ("array", id(value))
        return ("array", value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, tuple):
        return tuple(map(_attr_key, value))
    # 1, 1.0 and True are equal keys of a dictionary but not equal attributes, and so are 0.0 and -0.0.
    return (type(value), value, repr(value) if isinstance(value, float) else "")
