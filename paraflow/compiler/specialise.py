"""From the user's graph to a program of one run: prune to what is needed and fix every shape that the feeds decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paraflow.errors import InvalidArgumentError
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, reachable
from paraflow.graph.shape import format_dims
from paraflow.ops.array import placeholder


def specialise(
    graph: Graph,
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
    feeds: Mapping[Tensor, tuple[int, ...]],
) -> Program:
    """The operations that ``fetches`` and ``targets`` need, given that the tensors ``feeds`` have these shapes.

    The value of a pure operation does not depend on when it runs, so what it has to wait for becomes a target instead,
    and effects keep program order: later passes then see control inputs on operations with effects only.

    Raises InvalidArgumentError for a placeholder that is needed but not fed.
    """
    builder = Builder()
    builder.graph.variables = dict(graph.variables)
    tensors: dict[Tensor, Tensor] = {}
    for fed, shape in feeds.items():
        tensors[fed] = builder.emit(fed.op, placeholder, (), {"dtype": fed.dtype, "shape": shape})[0]
    operations: dict[Operation, tuple[Operation, ...]] = {}
    awaited: list[Operation] = []
    # What a pure operation would have to wait for; whatever has an effect further down waits for it instead.
    inherited: dict[Operation, tuple[Operation, ...]] = {}
    for operation in reachable([*(t.op for t in fetches), *targets], lambda o: _fed(o, feeds)):
        if _fed(operation, feeds):
            operations[operation] = tuple(tensors[t].op for t in operation.outputs)
            continue
        if operation.record is placeholder:
            spec = operation.outputs[0].spec
            raise InvalidArgumentError(
                f"{operation.where()} must be fed: pass feed_dict={{{operation.name}: an array of dtype "
                f"{spec.dtype.name} and shape {format_dims(spec.shape)}}}"
            )
        inputs = tuple(tensors[t] for t in operation.inputs)
        above = (*operation.control_inputs, *(t.op for t in operation.inputs))
        control = tuple(dict.fromkeys(new for old in operation.control_inputs for new in operations[old]))
        waits = tuple(dict.fromkeys((*control, *(new for old in above for new in inherited.get(old, ())))))
        builder.control_inputs = () if operation.record.pure else waits
        if operation.record.pure:
            awaited += control
            inherited[operation] = waits
        copied = builder.copy(operation, inputs)
        if operation.record.writes or operation.record.effect:
            awaited.append(copied)  # it runs even where only the shape of its result is used
        operations[operation] = (copied,)
        for old, new in zip(operation.outputs, copied.outputs, strict=True):
            tensors.setdefault(old, new)
    return Program(
        builder.graph,
        tuple(tensors[t] for t in fetches),
        tuple(dict.fromkeys((*(new for old in targets for new in operations[old]), *awaited))),
        tuple(tensors[t] for t in feeds),
    )


def _fed(operation: Operation, feeds: Mapping[Tensor, tuple[int, ...]]) -> bool:
    return bool(operation.outputs) and all(t in feeds for t in operation.outputs)
