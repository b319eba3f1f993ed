"""Graphs as plain values that JSON has: what `Graph.as_graph_def` returns and `import_graph_def` reads.

A graph definition is a dictionary::

    {"versions": {"producer": 2},
     "node": [{"name": "y", "op": "matmul", "input": ["x:0", "w:0", "^waited_for"], "attr": {"transpose_a": False, ...},
               "output": [["float32", [None, 10]]], "source": ["train.py", 12]}, ...],
     "variable": [{"name": "w", "dtype": "float32", "shape": [784, 10], "trainable": True, "slot_of": "",
                   "initial_value": "w/initial_value:0", "initializer": "w/Assign", "constrained": False}, ...],
     "seed": None}

Nodes stand in program order. Attributes are numbers, strings, lists (in the graph: tuples) and, where JSON has no such
value, an object of one key: ``{"float": "nan"}``, ``{"complex": [re, im]}``, ``{"dtype": "float32"}``,
``{"ellipsis": True}`` and ``{"array": [dtype, shape, base64 of the elements, little-endian and in C's order]}``, where
one element stands for as many as the shape has. So a definition holds no code, and reading one runs none.

The graph of a branch, or of a loop's condition or body, is an attribute of the operation that runs it, to any depth
(since form 2)::

    {"graph": {"node": [...], "feed": ["while/input:0", ...], "fetch": ["while/add:0", ...], "target": []}}

Its nodes are like others. Those in ``feed``, in the order of what the operation gives them, have no attributes, and
where one is a list of which the dtype and shape of elements are known, its output has these in a third place. A read of
a variable that is made once, before, stands there as a feed too: so the variables that an operation's graphs touch are
those that it names itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from paraflow.errors import DataError, GraphError
from paraflow.graph.dtypes import DType, as_dtype
from paraflow.graph.node import Operation
from paraflow.graph.shape import Spec

if TYPE_CHECKING:
    from paraflow.graph.graph import Graph
    from paraflow.graph.rebuild import Program

# The number of this form; it rises when what a reader has to know changes. Earlier ones are read too.
VERSION = 2

GraphDef = dict[str, Any]

_DTYPES = re.compile(r"b?float16|float(32|64)|u?int(8|16|32|64)|bool|complex(64|128)|bytes\d+")


def graph_def(graph: Graph, outputs: Iterable[Operation] | None) -> GraphDef:
    """The definition of ``graph``, or of the part of it that ``outputs`` need; see `Graph.as_graph_def`."""
    whole: GraphDef = {
        "versions": {"producer": VERSION},
        "node": [_node(operation) for operation in graph.operations],
        "variable": [_variable(graph, name) for name in graph.variables],
        "seed": graph.seed,
    }
    part = whole if outputs is None else part_of(whole, [o.name for o in outputs])
    for node in part["node"]:
        node["attr"] = _attributes(graph.get_operation_by_name(node["name"]))
    return part


def _node(operation: Operation) -> dict[str, Any]:
    """An operation as a node, its attributes as they are."""
    node: dict[str, Any] = {
        "name": operation.name,
        "op": operation.type,
        "input": [*(t.name for t in operation.inputs), *(f"^{o.name}" for o in operation.control_inputs)],
        "attr": operation.attrs,
        "output": [_output(t.spec) for t in operation.outputs],
    }
    if operation.device:
        node["device"] = operation.device
    if operation.source is not None:
        node["source"] = list(operation.source)
    return node


def _output(spec: Spec) -> list[Any]:
    return [spec.dtype.name, None if spec.shape is None else list(spec.shape)]


def _attributes(operation: Operation) -> dict[str, Any]:
    return {key: _encoded(value, operation, key) for key, value in operation.attrs.items()}


def _inner(program: Program) -> dict[str, Any]:
    """The definition of a graph that an operation runs."""
    nodes, feeds = [], set(program.feeds)
    for operation in program.operations():
        node = _node(operation)
        if operation.outputs and feeds.issuperset(operation.outputs):
            node["op"], node["attr"] = "placeholder", {}
            elements = [t.spec.element for t in operation.outputs]
            node["output"] = [
                [*output, _output(element)] if element else output
                for output, element in zip(node["output"], elements, strict=True)
            ]
        else:
            node["attr"] = _attributes(operation)
        nodes.append(node)
    return {
        "node": nodes,
        "feed": [t.name for t in program.feeds],
        "fetch": [t.name for t in program.fetches],
        "target": [o.name for o in program.targets],
    }


def _variable(graph: Graph, name: str) -> dict[str, Any]:
    spec, handle = graph.variables[name], graph.handles[name]
    return {
        "name": name,
        "dtype": spec.dtype.name,
        "shape": list(spec.shape),
        "trainable": spec.trainable,
        "slot_of": spec.slot_of,
        "initial_value": handle.initial_value.name,
        "initializer": handle.initializer.name,
        "constrained": handle.constraint is not None,
    }


def touched(node: Mapping[str, Any]) -> Sequence[str]:
    """The variables that a node names in its attributes."""
    attrs = node["attr"]
    single = [attrs["variable"]] if attrs.get("variable") else []
    names: Sequence[str] = attrs.get("variables") or single
    return names


def part_of(whole: Mapping[str, Any], names: Iterable[str]) -> GraphDef:
    """The part of a definition that the operations ``names`` need, with the initializers of the variables in it.

    Raises GraphError for a name that is not there.
    """
    nodes = {node["name"]: node for node in whole["node"]}
    variables = {variable["name"]: variable for variable in whole["variable"]}
    kept: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name in kept:
            continue
        if name not in nodes:
            raise GraphError(f"there is no operation '{name}' in the graph definition")
        kept.add(name)
        stack += [operation_of(text) for text in nodes[name]["input"]]
        for variable in (variables[v] for v in touched(nodes[name]) if v in variables):
            stack += [variable["name"], variable["initializer"], operation_of(variable["initial_value"])]
            stack += [variable["slot_of"]] if variable["slot_of"] else []
    part = {key: value for key, value in whole.items() if key != "digest"}
    part["node"] = [dict(node) for name, node in nodes.items() if name in kept]
    part["variable"] = [variable for name, variable in variables.items() if name in kept]
    return part


def without_devices(definition: Mapping[str, Any]) -> GraphDef:
    """A definition in which no operation has a device, those inside branches and loops included."""
    return {key: _without_device(value) for key, value in definition.items() if key != "digest"}


def _without_device(written: Any) -> Any:
    if isinstance(written, list):
        return [_without_device(item) for item in written]
    if not isinstance(written, Mapping):
        return written
    return {key: _without_device(value) for key, value in written.items() if key != "device" or "op" not in written}


def operation_of(text: str) -> str:
    """The name of the operation in an input of a node, ``name:index`` or ``^name``."""
    return text.removeprefix("^").partition(":")[0]


def _encoded(value: Any, operation: Operation, key: str) -> Any:
    if hasattr(value, "fetches"):
        return {"graph": _inner(value)}
    if isinstance(value, tuple):
        return [_encoded(item, operation, key) for item in value]
    try:
        return encode(value)
    except TypeError:
        raise GraphError(
            f"{operation.where()} cannot be written: its '{key}' is {value!r}, a Python object. Write a part of the "
            "graph without it, as_graph_def(outputs=[...]), or build the graph anew where it is needed"
        ) from None


def encode(value: Any) -> Any:
    """An attribute as JSON has it; raises TypeError for what cannot be written."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, complex):
        return {"complex": [encode(value.real), encode(value.imag)]}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    if isinstance(value, np.ndarray) and _DTYPES.fullmatch(value.dtype.name):
        flat = value.astype(value.dtype.newbyteorder("<")).ravel()
        as_bytes = flat.view(np.uint8).reshape(len(flat), -1) if len(flat) else flat
        elements = flat[: 1 if (as_bytes == as_bytes[:1]).all() else None].tobytes()
        return {"array": [value.dtype.name, list(value.shape), base64.b64encode(elements).decode()]}
    raise TypeError(f"{value!r} cannot be written")


def decode(value: Any) -> Any:
    """The attribute that `encode` has written; raises DataError for anything else."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    try:
        ((kind, written),) = value.items()
        return _DECODE[kind](written)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{json.dumps(value)[:60]} is no value of an attribute: {error}") from None


def decode_dtype(name: Any) -> DType:
    """The dtype of that name; raises ValueError for any other than those of tensors."""
    if not isinstance(name, str) or not _DTYPES.fullmatch(name):
        raise ValueError(f"{name!r} is no dtype")
    return np.dtype(f"S{int(name[5:]) // 8}") if name.startswith("bytes") else as_dtype(name)


def _decode_array(written: Sequence[Any]) -> np.ndarray[Any, Any]:
    name, shape, text = written
    dtype = decode_dtype(name)
    elements = np.frombuffer(base64.b64decode(text, validate=True), dtype.newbyteorder("<")).astype(dtype)
    array = np.full(shape, elements[0]) if len(elements) == 1 else np.array(elements.reshape(shape))
    array.flags.writeable = False
    return array


_DECODE: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "complex": lambda parts: complex(*(decode(part) for part in parts)),
    "dtype": decode_dtype,
    "ellipsis": lambda _: Ellipsis,
    "array": _decode_array,
}


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with a digest of all the rest in ``digest``, for a file."""
    return {**document, "digest": _digest(document)}


def check_seal(document: Mapping[str, Any]) -> None:
    """Raise DataError where ``document`` has a digest, which is not that of the rest."""
    if "digest" in document and document["digest"] != _digest(document):
        raise DataError(
            "the graph definition is damaged: its digest is another one. Where it was changed on purpose, take out "
            "the key 'digest'"
        )


def _digest(document: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def scopes(names: Iterable[str]) -> Iterator[str]:
    """The name scopes that ``names`` are in."""
    seen: set[str] = set()
    for name in names:
        while name := name.rpartition("/")[0]:
            if name in seen:
                break
            seen.add(name)
            yield name
