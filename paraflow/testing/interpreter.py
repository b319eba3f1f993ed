"""An interpreter of graphs in one screen: record bodies, one after the other, in program order.

It shares nothing with the compiler and the runtime, so it is what their results are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from paraflow.graph.graph import as_operation
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Program
from paraflow.graph.record import body_of


def interpret(
    fetches: Any, feeds: Mapping[Tensor, Any] | None = None, runtime: Mapping[str, Any] | None = None
) -> Any:
    """The values of ``fetches`` (tensors, operations, or a list of them), given the values of some tensors.

    ``runtime`` holds what an executor supplies to bodies that ask for it: ``store`` (variable name -> array,
    written in place), ``comm``, ``samples``; ``draw`` is called with the operation to get the body's ``draw``.
    """
    return interpreter(fetches, feeds or (), runtime)(feeds or {})


def interpreter(
    fetches: Any, fed: Iterable[Tensor] = (), runtime: Mapping[str, Any] | None = None
) -> Callable[[Mapping[Tensor, Any]], Any]:
    """`interpret` as a function of the values of ``fed``, for the many calls of which finite differences are made."""
    wanted = fetches if isinstance(fetches, (list, tuple)) else [fetches]
    calls = [_call(operation, runtime) for operation in _needed([as_operation(f) for f in wanted], set(fed))]

    def run(feeds: Mapping[Tensor, Any]) -> Any:
        values = {tensor: np.asarray(value) for tensor, value in feeds.items()}
        with np.errstate(all="ignore"):
            for call in calls:
                call(values)
        results = [values.get(f.__tensor__() if hasattr(f, "__tensor__") else f) for f in wanted]
        return results if isinstance(fetches, (list, tuple)) else results[0]

    return run


def _call(operation: Operation, runtime: Mapping[str, Any] | None) -> Callable[[dict[Tensor, Any]], None]:
    """A function that adds the operation's results to the values of tensors."""
    record, inputs, outputs = operation.record, operation.inputs, operation.outputs
    supplied = {key: (runtime or {})[key] for key in record.runtime if key != "call"}
    if "call" in record.runtime:
        supplied["call"] = lambda program, arrays: _called(program, arrays, runtime)
    if "draw" in supplied:
        supplied["draw"] = supplied["draw"](operation)
    given = dict(operation.attrs) | supplied
    body = body_of(record, [x.dtype for x in inputs], [y.dtype for y in outputs])
    # What a variable holds now must not change under a later assignment.
    as_array: Callable[[Any], Any] = np.array if record.reads or record.writes else np.asarray

    def run(values: dict[Tensor, Any]) -> None:
        result = body(*(values[t] for t in inputs), **given)
        parts = result if isinstance(result, tuple) else (result,)
        for tensor, part in zip(outputs, parts, strict=True):
            values[tensor] = as_array(part)

    return run


def _called(program: Program, arrays: Sequence[Any], runtime: Mapping[str, Any] | None) -> list[Any]:
    """The fetches of a program that an operation runs."""
    feeds = dict(zip(program.feeds, arrays, strict=True))
    results: list[Any] = interpret([*program.fetches, *program.targets], feeds, runtime)
    return results[: len(program.fetches)]


def _needed(roots: list[Operation], fed: Set[Tensor]) -> list[Operation]:
    """The operations that ``roots`` depend on beyond the fed tensors, in program order."""
    needed = set(roots)
    graph = roots[0].graph
    for operation in reversed(graph.operations):
        if operation in needed and operation.outputs and all(t in fed for t in operation.outputs):
            needed.remove(operation)
        elif operation in needed:
            needed.update(t.op for t in operation.inputs)
            needed.update(operation.control_inputs)
    return [operation for operation in graph.operations if operation in needed]
