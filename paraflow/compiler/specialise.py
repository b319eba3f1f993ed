"""From the user's graph to a program of one run: prune to what is needed and fix everything that the feeds decide.

These are shapes, and the choices that depend on scalar bools (is this training?): what was not chosen is not computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.graph.dtypes import is_bool
from paraflow.graph.graph import Graph
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.rebuild import Builder, Program, reachable, rebuild
from paraflow.graph.shape import format_dims
from paraflow.ops.array import placeholder

Given = tuple[int, ...] | bool
"""What is known of a fed tensor: its shape, or the value of a scalar bool."""


def specialise(
    graph: Graph,
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
    feeds: Mapping[Tensor, Given],
) -> Program:
    """The operations that ``fetches`` and ``targets`` need, given this of the tensors ``feeds``.

    The value of a pure operation does not depend on when it runs, so what it has to wait for becomes a target instead,
    and effects keep program order: later passes then see control inputs on operations with effects only.

    Raises InvalidArgumentError for a placeholder that is needed but not fed, and ShapeError, which is one too, where
    an operation cannot take the shapes that follow from the feeds.
    """
    builder = Builder()
    builder.graph.variables = dict(graph.variables)
    tensors: dict[Tensor, Tensor] = {}
    places: list[Tensor] = []
    for fed, given in feeds.items():
        shape = () if isinstance(given, bool) else given
        places += builder.emit(fed.op, placeholder, (), {"dtype": fed.dtype, "shape": shape})
        tensors[fed] = builder.constant(fed.op, np.array(given)) if isinstance(given, bool) else places[-1]
    operations: dict[Operation, tuple[Operation, ...]] = {}
    awaited: list[Operation] = []
    # What a pure operation would have to wait for; whatever has an effect further down waits for it instead.
    inherited: dict[Operation, tuple[Operation, ...]] = {}
    given_whole = {o for o in {t.op for t in feeds} if feeds.keys() >= set(o.outputs)}
    for operation in reachable([*(t.op for t in fetches), *targets], given_whole.__contains__):
        if operation in given_whole:
            operations[operation] = tuple(tensors[t].op for t in operation.outputs)
            continue
        if operation.record is placeholder:
            spec = operation.outputs[0].spec
            raise InvalidArgumentError(
                f"{operation.where()} must be fed: pass feed_dict={{{operation.name}: an array of dtype "
                f"{spec.dtype.name} and shape {format_dims(spec.shape)}}}"
            )
        inputs = tuple([tensors[t] for t in operation.inputs])
        waits = control = dict.fromkeys([new for old in operation.control_inputs for new in operations[old]])
        if inherited:
            above = (*operation.control_inputs, *[t.op for t in operation.inputs])
            waits = dict.fromkeys((*control, *[new for old in above for new in inherited.get(old, ())]))
        builder.control_inputs = () if operation.record.pure else tuple(waits)
        if operation.record.pure and waits:
            awaited += control
            inherited[operation] = tuple(waits)
        copied = builder.copy(operation, inputs)
        if operation.record.writes or operation.record.effect:
            awaited.append(copied)  # it runs even where only the shape of its result is used
        operations[operation] = (copied,)
        for old, new in zip(operation.outputs, copied.outputs, strict=True):
            tensors.setdefault(old, new)
    program = Program(
        builder.graph,
        tuple(tensors[t] for t in fetches),
        tuple(dict.fromkeys((*(new for old in targets for new in operations[old]), *awaited))),
        tuple(places),
    )
    decides = any(isinstance(given, bool) for given in feeds.values())
    return rebuild(rebuild(program, _decide)) if decides else program  # the second leaves out what was not chosen


def _decide(build: Builder, op: Operation, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
    """A choice by a scalar that is known is what it chooses; scalar bools that follow from such are known too."""
    if op.type == "select" and inputs[0].op.type == "constant" and inputs[0].spec.shape == ():
        chosen = inputs[1] if inputs[0].op.attrs["value"] else inputs[2]
        # The other one may give the result its shape.
        return (chosen,) if chosen.spec.static and chosen.spec.shape == op.outputs[0].spec.shape else None
    scalar = len(op.outputs) == 1 and op.outputs[0].spec.shape == () and is_bool(op.outputs[0].dtype)
    if scalar and op.record.pure and inputs and all(t.op.type == "constant" for t in inputs):
        return (build.constant(op, np.array(op.record.body(*(t.op.attrs["value"] for t in inputs), **op.attrs))),)
    return None
