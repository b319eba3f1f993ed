"""Graphs as text: one line an operation, the same on every machine, for people and for digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from paraflow.graph.node import Operation
from paraflow.graph.shape import format_dims


def operation_line(operation: Operation) -> str:
    """One operation as text: name, type, inputs, attributes, control inputs, dtypes and shapes of the outputs."""
    attrs = [f"{key}={attr_text(value)}" for key, value in operation.attrs.items()]
    inputs = [t.name for t in operation.inputs]
    control = [f"^{o.name}" for o in operation.control_inputs]
    outputs = ", ".join(f"{t.dtype.name}{format_dims(t.spec.shape)}" for t in operation.outputs)
    return f"{operation.name} = {operation.type}({', '.join([*inputs, *attrs, *control])}) -> {outputs or 'nothing'}"


def attr_text(value: Any) -> str:
    """An attribute as text; long arrays appear by their SHA-256."""
    if isinstance(value, np.ndarray):
        if value.size <= 8:
            return f"{value.dtype.name} {value.tolist()}"
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return f"{value.dtype.name}{format_dims(value.shape)}#{digest}"
    return value.name if isinstance(value, np.dtype) else repr(value)


def text(operations: Iterable[Operation]) -> str:
    """The operations, one line each; under those that run graphs of their own these, indented."""
    return "\n".join(line for o in operations for line in (operation_line(o), *inside(o)))


def inside(operation: Operation) -> Iterator[str]:
    """The programs that an operation runs, its attributes."""
    for key, value in operation.attrs.items():
        for inner in value if isinstance(value, tuple) else (value,):
            if hasattr(inner, "operations"):
                yield f"  {key}:"
                yield from (f"    {line}" for line in inner.text().splitlines())
