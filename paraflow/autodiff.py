"""Gradients: one walk backwards over the graph that calls each op's gradient rule and so builds more graph."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from paraflow.errors import GraphError, InvalidTypeError
from paraflow.graph.dtypes import is_complex, is_differentiable, items
from paraflow.graph.graph import Graph, get_default_graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import compatible, format_dims, known
from paraflow.ops.array import ones_like, reshape, stop_gradient, zeros_like
from paraflow.ops.complexes import cotangents_by
from paraflow.ops.control import CONDS, LOOPS
from paraflow.ops.items import items_sum
from paraflow.ops.joining import pack
from paraflow.ops.math import add
from paraflow.ops.slices import IndexedSlices, slices_of
from paraflow.ops.state import Variable, read_variable

Gradient = Tensor | IndexedSlices | None


class UnconnectedGradients(enum.Enum):
    """What stands for a gradient that there is none of: None, or zeros."""

    NONE = "none"
    ZERO = "zero"


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    stop_gradients: Any = None,
    unconnected_gradients: Any = "none",
) -> list[Gradient]:
    """The derivatives of sum(ys) with respect to each of ``xs``, as new tensors of the graph.

    ``xs`` are tensors or variables; ``grad_ys`` are the cotangents of ``ys`` (ones when left out). ``stop_gradients``
    are tensors or variables taken as constants: nothing passes beyond them, so with xs among them derivatives are
    partial. The result has the shape and dtype of each x, or None where ys do not depend on it differentiably (zeros if
    ``unconnected_gradients`` is `UnconnectedGradients.ZERO`); it is
    `IndexedSlices` for a variable of which ys only look up rows (`gather` on axis 0, embedding_lookup). It is graph
    like any other, so gradients of gradients work. Reverse-mode accumulation as in Griewank & Walther,
    "Evaluating Derivatives" (2008), over the graph's own order. For complex numbers see `paraflow.ops.complexes`;
    complex ys need ``grad_ys``. Raises GraphError when an operation on the way has no gradient and when a cotangent
    does not have its y's shape and dtype.
    """
    outputs = [convert(y) for y in _as_list(ys)]
    wanted = _as_list(xs)
    graph = outputs[0].graph if outputs else get_default_graph()
    with graph.as_default(), graph.name_scope(name):
        stopping = _as_list(stop_gradients)
        reads = _reads(graph.operations) if any(isinstance(x, Variable) for x in (*wanted, *stopping)) else {}
        sources = [_sources(x, graph, reads) for x in wanted]
        stops = {t for stop in stopping for t in _sources(stop, graph, reads)}
        _check_read_outside([x.spec.name for x in wanted if isinstance(x, Variable)], outputs)
        cotangents = _by_tensor(outputs, _cotangents_of(outputs, grad_ys))
        _walk(outputs, cotangents, {t for source in sources for t in source}, stops)
        parts = [[c for t in source for c in cotangents.get(t, ())] for source in sources]
        rows = [slices_of(p) if isinstance(x, Variable) else None for p, x in zip(parts, wanted, strict=True)]
        found = [_total(p) if r is None else r for p, r in zip(parts, rows, strict=True)]
        if UnconnectedGradients(unconnected_gradients) is UnconnectedGradients.NONE:
            return found
        return [zeros_like(x) if g is None else g for g, x in zip(found, wanted, strict=True)]


def pull_back(ys: Sequence[Tensor], dys: Sequence[Tensor], xs: Sequence[Tensor]) -> list[Tensor | None]:
    """The cotangents of tensors ``xs`` of one graph, given those of its ``ys``; they are built in the default graph."""
    cotangents = _by_tensor(ys, dys)
    _walk(list(ys), cotangents, set(xs), set())
    return [_total(cotangents.get(x, [])) for x in xs]


def influential(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> set[Tensor]:
    """Those of ``xs`` on which ``ys`` depend differentiably."""
    path = _between(set(xs), list(ys), set())
    return {t for t in (*ys, *(t for operation in path for t in operation.inputs)) if t in set(xs)}


def _by_tensor(ys: Sequence[Tensor], dys: Sequence[Tensor]) -> dict[Tensor, list[Tensor]]:
    cotangents: dict[Tensor, list[Tensor]] = {}
    for y, dy in zip(ys, dys, strict=True):
        cotangents.setdefault(y, []).append(dy)
    return cotangents


def _walk(
    outputs: list[Tensor], cotangents: dict[Tensor, list[Tensor]], sources: set[Tensor], stops: set[Tensor]
) -> None:
    """Go back from ``outputs``, whose cotangents are given, to ``sources``, and fill in theirs."""
    for operation in reversed(_between(sources, outputs, stops)):
        _backward(operation, cotangents, sources, stops)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _reads(operations: list[Operation]) -> dict[str, list[Tensor]]:
    """The values that are read of each variable, by its name."""
    reads: dict[str, list[Tensor]] = {}
    for operation in operations:
        if operation.record is read_variable:
            reads.setdefault(operation.attrs["variable"], []).append(operation.outputs[0])
    return reads


def _sources(x: Any, graph: Graph, reads: dict[str, list[Tensor]]) -> list[Tensor]:
    """The tensors that stand for ``x``: itself, or every read of a variable."""
    return reads.get(x.spec.name, []) if isinstance(x, Variable) else [graph.capture(convert(x))]


def _check_read_outside(names: list[str], outputs: list[Tensor]) -> None:
    """Raise GraphError for a variable that a branch or loop above ``outputs`` reads and assigns inside."""
    seen: set[Operation] = set()
    stack = [y.op for y in outputs] if names else []
    while stack:
        operation = stack.pop()
        if operation in seen:
            continue
        seen.add(operation)
        stack.extend(t.op for t in operation.inputs)
        for name in operation.variables if operation.type in (*CONDS, *LOOPS) else ():
            if name in names:
                raise GraphError(
                    f"no gradient by variable '{name}' is defined for what {operation.where()} makes of it: it is "
                    "assigned inside, so it has several values there; read it before, and carry its value on"
                )


def _cotangents_of(ys: list[Tensor], grad_ys: Any) -> list[Tensor]:
    given = _as_list(grad_ys) or [None] * len(ys)
    if len(given) != len(ys):
        raise GraphError(f"gradients: {len(ys)} ys but {len(given)} grad_ys")
    for y in ys:
        if not is_differentiable(y.dtype):
            raise InvalidTypeError(f"gradients of {y.op.where()} are not defined: it is {y.dtype.name}")
        if is_complex(y.dtype) and not _as_list(grad_ys):
            raise InvalidTypeError(f"gradients of complex numbers ({y.op.where()}) need grad_ys; real(y) needs none")
    return [ones_like(y) if dy is None else _cotangent_of(y, dy) for y, dy in zip(ys, given, strict=True)]


def _cotangent_of(y: Tensor, given: Any) -> Tensor:
    dy = convert(given, y.dtype)
    if dy.dtype != y.dtype or not compatible(dy.spec.shape, y.spec.shape):
        raise GraphError(
            f"gradients: the grad_ys of '{y.name}' must be {y.dtype.name} of shape {format_dims(y.spec.shape)}, "
            f"but '{dy.name}' is {dy.dtype.name} of shape {format_dims(dy.spec.shape)}"
        )
    return dy


def _between(sources: set[Tensor], outputs: list[Tensor], stops: set[Tensor]) -> list[Operation]:
    """The operations on a path from ``sources`` to ``outputs`` that no stop interrupts, in program order."""
    above: set[Operation] = set()
    stack = [y.op for y in outputs]
    while stack:
        operation = stack.pop()
        if operation not in above:
            above.add(operation)
            stack.extend(t.op for t in operation.inputs)
    depends = {t for t in sources if t.op in above}
    path = []
    for operation in sorted(above, key=lambda o: o.index):
        if operation.record is stop_gradient:
            continue
        if any(t in depends for t in operation.inputs):
            path.append(operation)
            depends.update(t for t in operation.outputs if is_differentiable(t.dtype) and t not in stops)
    return path


def _backward(
    operation: Operation, cotangents: dict[Tensor, list[Tensor]], keep: set[Tensor], stops: set[Tensor]
) -> None:
    """Push the cotangents of the outputs to the inputs, but not beyond ``stops``."""
    totals = []
    for t in operation.outputs:
        total = _total(cotangents.get(t, []))
        if t not in keep:
            cotangents.pop(t, None)
        elif total is not None:
            cotangents[t] = [total]
        totals.append(None if t in stops else total)
    if all(total is None for total in totals):
        return
    if operation.record.gradient_rule is None:
        if any(is_differentiable(t.dtype) for t in operation.inputs):
            raise GraphError(f"no gradient is defined for {operation.where()}; stop_gradient cuts it out")
        return
    results = cotangents_by(operation.record, operation.outputs, totals)
    for tensor, cotangent in zip(operation.inputs, results, strict=True):
        if cotangent is not None:
            # A cotangent has its tensor's shape, which rules that reduce to shape(x) cannot always see.
            cotangent.set_shape(tensor.spec.shape)
            cotangents.setdefault(tensor, []).append(cotangent)


def _total(parts: list[Tensor]) -> Tensor | None:
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = items_sum(total, part) if total.dtype == items else add(total, part)
    return total


def hessians(ys: Any, xs: Any, name: str = "hessians") -> list[Tensor]:
    """The second derivatives of sum(ys) with respect to each of ``xs``: tensors with the axes of x twice.

    Raises GraphError where the shape of an x is not known, or ``ys`` do not depend on it.
    """
    found = []
    for x in _as_list(xs):
        tensor = convert(x)
        if not tensor.spec.static:
            raise GraphError(f"hessians: the shape of '{tensor.name}' is not known{at_user_line()}")
        with tensor.graph.name_scope(name):
            (first,) = gradients(ys, x)
            if first is None:
                raise GraphError(f"hessians: ys do not depend on '{tensor.name}'{at_user_line()}")
            flat = reshape(convert(first), [-1])
            rows = [gradients(flat[i], x)[0] for i in range(tensor.shape.num_elements() or 0)]
            zeros = zeros_like(tensor)
            whole = pack(*(zeros if row is None else convert(row) for row in rows)) if rows else reshape(zeros, [0])
            dims = known(tensor.spec.shape)
            found.append(reshape(whole, [*dims, *dims]))
    return found
