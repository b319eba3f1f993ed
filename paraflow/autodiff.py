"""Gradients: one walk backwards over the graph that calls each op's gradient rule and so builds more graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.dtypes import is_floating
from paraflow.graph.graph import get_default_graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import convert
from paraflow.ops.array import ones_like, stop_gradient
from paraflow.ops.math import add
from paraflow.ops.state import Variable, read_variable


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    stop_gradients: Any = None,
) -> list[Tensor | None]:
    """The derivatives of sum(ys) with respect to each of ``xs``, as new tensors of the graph.

    ``xs`` are tensors or variables; ``grad_ys`` are the cotangents of ``ys`` (ones when left out). The result has the
    shape and dtype of each x, or None where ys do not depend on it differentiably. The result is graph like any
    other, so gradients of gradients work. Reverse-mode accumulation as in Griewank & Walther, "Evaluating
    Derivatives" (2008), over the graph's own order. Raises GraphError when an operation on the way has no gradient.
    """
    outputs = [convert(y) for y in _as_list(ys)]
    wanted = _as_list(xs)
    graph = outputs[0].graph if outputs else get_default_graph()
    with graph.as_default(), graph.name_scope(name):
        sources = [_sources(x, graph.operations) for x in wanted]
        stops = {convert(t) for t in _as_list(stop_gradients)}
        cotangents: dict[Tensor, list[Tensor]] = {}
        for y, dy in zip(outputs, _cotangents_of(outputs, grad_ys), strict=True):
            cotangents.setdefault(y, []).append(dy)
        path = _between({t for source in sources for t in source}, outputs, stops)
        keep = {t for source in sources for t in source}
        for operation in reversed(path):
            _backward(operation, cotangents, keep)
        return [_total([c for t in source for c in cotangents.get(t, ())]) for source in sources]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _sources(x: Any, operations: list[Operation]) -> list[Tensor]:
    """The tensors that stand for ``x``: itself, or every read of a variable."""
    if isinstance(x, Variable):
        return [
            o.outputs[0] for o in operations if o.record is read_variable and o.attrs["variable"] == x.spec.name
        ]
    return [convert(x)]


def _cotangents_of(ys: list[Tensor], grad_ys: Any) -> list[Tensor]:
    given = _as_list(grad_ys) or [None] * len(ys)
    if len(given) != len(ys):
        raise GraphError(f"gradients: {len(ys)} ys but {len(given)} grad_ys")
    for y in ys:
        if not is_floating(y.dtype):
            raise GraphError(f"gradients of {y.op.where()} are not defined: it is {y.dtype.name}")
    return [ones_like(y) if dy is None else convert(dy, y.dtype) for y, dy in zip(ys, given, strict=True)]


def _between(sources: set[Tensor], outputs: list[Tensor], stops: set[Tensor]) -> list[Operation]:
    """The operations on a path from ``sources`` to ``outputs``, in program order."""
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
        if any(t in depends and t not in stops for t in operation.inputs):
            path.append(operation)
            depends.update(t for t in operation.outputs if is_floating(t.dtype))
    return path


def _backward(operation: Operation, cotangents: dict[Tensor, list[Tensor]], keep: set[Tensor]) -> None:
    """Push the cotangents of the outputs to the inputs."""
    totals = []
    for t in operation.outputs:
        total = _total(cotangents.get(t, []))
        if t not in keep:
            cotangents.pop(t, None)
        elif total is not None:
            cotangents[t] = [total]
        totals.append(total)
    if all(total is None for total in totals):
        return
    rule = operation.record.gradient_rule
    if rule is None:
        if any(is_floating(t.dtype) for t in operation.inputs):
            raise GraphError(f"no gradient is defined for {operation.where()}; stop_gradient cuts it out")
        return
    if len(operation.outputs) == 1:
        results = rule(operation.outputs[0], totals[0])
    else:
        results = rule(operation.outputs, tuple(totals))
    if not isinstance(results, tuple):
        results = (results,)
    for tensor, cotangent in zip(operation.inputs, results, strict=True):
        if cotangent is not None:
            cotangents.setdefault(tensor, []).append(cotangent)


def _total(parts: list[Tensor]) -> Tensor | None:
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = add(total, part)
    return total
