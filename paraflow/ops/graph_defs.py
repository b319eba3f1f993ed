"""Reading graph definitions: into the default graph, in part, or with the values of variables in their places."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from paraflow.errors import DataError, GraphError, InvalidTypeError, ParaflowError
from paraflow.graph.dtypes import DType, items
from paraflow.graph.graph import Graph, VariableSpec, get_default_graph
from paraflow.graph.graph_def import (
    VERSION,
    GraphDef,
    check_seal,
    decode,
    decode_dtype,
    encode,
    operation_of,
    part_of,
    touched,
)
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.rebuild import Program
from paraflow.graph.record import OpRecord, convert
from paraflow.graph.shape import Dims, Spec, compatible, format_dims
from paraflow.graph.subgraph import SubGraph
from paraflow.ops.array import placeholder
from paraflow.ops.control import CONDS
from paraflow.ops.control_defs import PROGRAMS, Source, check, sources_of_branches, sources_of_loop
from paraflow.ops.state import Variable, read_variable


class Values(Protocol):
    """What `convert_variables_to_constants` needs of a session."""

    def values_to_keep(self, names: Sequence[str]) -> Any:
        """Context manager: the values of variables by name."""


def import_graph_def(
    graph_def: Mapping[str, Any],
    input_map: Mapping[str, Any] | None = None,
    return_elements: Sequence[str] | None = None,
    name: str | None = None,
    op_dict: None = None,
    producer_op_list: None = None,
) -> list[Any] | None:
    """Add the operations and variables of a graph definition (see `Graph.as_graph_def`) to the default graph.

    Their names are put below ``name/``, by default ``import/``; with an empty name they stay as they are.
    ``input_map`` maps tensors of the definition, by name, to what takes their place as inputs, and ``^operation`` to
    operations waited for; what is inside branches and loops has no such names. Returns the operations and tensors named
    in ``return_elements``, if any. Variables come with their initializers; they are put into no collection, which
    `train.import_meta_graph` does. ``op_dict`` and ``producer_op_list`` change nothing, as in TensorFlow.

    Definitions hold no code, and reading one runs none. Raises DataError, naming the operation, for a definition of a
    later version, of operations that are not known here, or that is damaged; and GraphError for names that are taken
    already, or not there. The graph is then of no further use.
    """
    _check_version(graph_def)
    graph = get_default_graph()
    with graph.control_dependencies(None), graph.name_scope("import" if name is None else name) as prefix:
        reader = _Reader(graph, prefix, input_map or {})
        reader.read(graph_def)
    if return_elements is None:
        return None
    return [reader.element(wanted) for wanted in return_elements]


def _check_version(graph_def: Mapping[str, Any]) -> None:
    if not isinstance(graph_def, Mapping) or "node" not in graph_def or "versions" not in graph_def:
        raise DataError(f"not a graph definition, as as_graph_def() makes them: {str(graph_def)[:60]!r}")
    version = graph_def["versions"].get("producer") if isinstance(graph_def["versions"], Mapping) else None
    if version not in range(1, VERSION + 1):
        raise DataError(
            f"the graph definition is of form {version}, and this version of paraflow reads forms 1 to {VERSION}: read "
            "it with the version that wrote it"
        )
    check_seal(graph_def)


class _Reader:
    """Adds the nodes of one definition to a graph, below ``prefix``.

    That of a branch or of a loop's turn has ``sources`` for its feeds, by their names.
    """

    def __init__(
        self, graph: Graph, prefix: str, input_map: Mapping[str, Any], sources: Mapping[str, Source] | None = None
    ) -> None:
        self._graph = graph
        self._prefix = prefix
        self._operations: dict[str, Operation] = {}
        self._variables: dict[str, str] = {}  # name in the definition -> name in the graph
        self._tensors: dict[str, Tensor] = {}  # what stands in the place of an input
        self._mapped: dict[str, Any] = {}
        self._waited_for: dict[str, Operation] = {}
        for key, value in input_map.items():
            if key.startswith("^"):
                self._waited_for[key[1:]] = value if isinstance(value, Operation) else convert(value).op
            else:
                self._mapped[key if ":" in key else f"{key}:0"] = value
        self._changed: set[Tensor] = set()  # depend on what was put in the place of others
        self._sources = sources or {}

    def read(self, graph_def: Mapping[str, Any]) -> None:
        variables = _items(graph_def, "variable")
        self._variables = {_string(v, "name", "a variable"): self._prefix + v["name"] for v in variables}
        for variable in variables:
            with _reading(f"variable '{variable['name']}'"):
                self._declare(variable)
        self._add_all(graph_def)
        for variable in variables:
            with _reading(f"variable '{variable['name']}'"):
                self._make_handle(variable)
        known = {*self._tensors, *(f"^{name}" for name in self._operations)}
        missing = [key for key in (*self._mapped, *(f"^{n}" for n in self._waited_for)) if key not in known]
        if missing:
            raise GraphError(f"input_map: there is no {', '.join(map(repr, missing))} in the graph definition")

    def element(self, wanted: str) -> Any:
        """The operation or tensor of that name in the definition."""
        if operation_of(wanted) not in self._operations:
            raise GraphError(f"return_elements: there is no '{wanted}' in the graph definition")
        return self._graph.as_graph_element(self._prefix + wanted)

    def _declare(self, variable: Mapping[str, Any]) -> None:
        full = self._variables[variable["name"]]
        if full in self._graph.variables:
            raise GraphError(f"there is a variable '{full}' in the graph already: give import_graph_def another name")
        slot_of = self._variables[variable["slot_of"]] if variable["slot_of"] else ""
        shape = tuple(_size(n) for n in variable["shape"])
        self._graph.add_variable(full, decode_dtype(variable["dtype"]), shape, variable["trainable"] is True, slot_of)

    def _make_handle(self, variable: Mapping[str, Any]) -> None:
        spec = self._graph.variables[self._variables[variable["name"]]]
        op, initializer = self._operations[variable["name"]], self._operations[variable["initializer"]]
        initial = self._operations[operation_of(variable["initial_value"])].outputs[0]
        Variable.of_operations(spec, op, initial, initializer, _lost(spec) if variable.get("constrained") else None)

    def _add_all(self, graph_def: Mapping[str, Any]) -> None:
        for node in _items(graph_def, "node"):
            with _reading(f"operation '{node.get('name')}'"):
                self._add(node)
        self._graph.mark_scopes([o.name for o in self._operations.values()])

    def _add(self, node: Mapping[str, Any]) -> None:
        name = _string(node, "name", "a node")
        record = _record(name, _string(node, "op", f"operation '{name}'"))
        source = self._sources.get(f"{name}:0")
        full = self._prefix + name
        if self._graph.has_operation(full):
            raise GraphError(f"there is an operation '{full}' in the graph already: give import_graph_def another name")
        where = f"operation '{name}' of type {record.name}"
        texts = [_name(text) for text in node["input"]]
        try:
            inputs = tuple(self._tensors[text] for text in texts if not text.startswith("^"))
            control = [self._waited_for.get(t[1:]) or self._operations[t[1:]] for t in texts if t.startswith("^")]
        except KeyError as error:
            raise DataError(f"the graph definition is damaged: {where} needs {error}, which is not before it") from None
        changed = not self._changed.isdisjoint(inputs if source is None else [source.tensor])
        if source is None:
            with _fitting(where, changed):
                attrs = self._attributes(record, node)
            attrs.update(self._programs(record, node, attrs, inputs))
            with _fitting(where, changed):
                specs = self._specs(record, inputs, attrs, node, changed)
        else:
            with _fitting(where, changed):
                specs = (source.spec(_feed_spec(node), changed),)
            record, attrs = placeholder, {"dtype": specs[0].dtype, "shape": specs[0].shape}
        operation = self._graph.add(record, inputs, attrs, f"{full}/", _source(node), specs, tuple(control))
        operation.device = _name(node.get("device", operation.device))
        self._operations[name] = operation
        for tensor in operation.outputs:
            key = f"{name}:{tensor.index}"
            self._tensors[key] = convert(self._mapped[key], tensor.dtype) if key in self._mapped else tensor
            if self._tensors[key].dtype != tensor.dtype:
                raise InvalidTypeError(
                    f"input_map: '{key}' is {tensor.dtype.name}, not {self._tensors[key].dtype.name}"
                )
            if key in self._mapped or changed:
                self._changed.add(self._tensors[key])

    def _attributes(self, record: OpRecord, node: Mapping[str, Any]) -> dict[str, Any]:
        inside = PROGRAMS.get(record.name, ())
        attrs: dict[str, Any] = {key: None if key in inside else decode(value) for key, value in node["attr"].items()}
        if set(attrs) != set(record.attributes):
            raise ValueError(f"it has the attributes {sorted(attrs)}, not {sorted(record.attributes)}")
        for key, default in record.attributes.items():
            if isinstance(default, bool) and not isinstance(attrs[key], bool):
                raise ValueError(f"its '{key}' is {attrs[key]!r}, neither true nor false")
        names = [_name(name) for name in touched(node)]
        if (record.reads or record.writes) and not set(names) <= set(self._variables):
            raise ValueError(f"it touches the variables {names}, which are not all declared")
        if attrs.get("variable"):
            attrs["variable"] = self._variables.get(attrs["variable"], attrs["variable"])
        for key in ("variables", "names"):
            if attrs.get(key):
                attrs[key] = tuple(self._variables.get(name, name) for name in attrs[key])
        return attrs

    def _programs(
        self, record: OpRecord, node: Mapping[str, Any], attrs: Mapping[str, Any], inputs: tuple[Tensor, ...]
    ) -> dict[str, Any]:
        """The attributes that are graphs, where the others are ``attrs``."""
        if record.name not in PROGRAMS:
            return {}
        written = node["attr"]
        if record.name in CONDS:
            sources = sources_of_branches(inputs, attrs["takes"], attrs["followed"])
            branches = zip(written["branches"], sources, strict=True)
            return {"branches": tuple(self._program(*pair) for pair in branches)}
        numbers = (attrs[key] for key in ("carried", "given", "followed"))
        to_cond, to_body = sources_of_loop(inputs, written["cond"] is None, *numbers)
        cond = None if written["cond"] is None else self._program(written["cond"], to_cond)
        return {"cond": cond, "body": self._program(written["body"], to_body)}

    def _program(self, written: Mapping[str, Any], sources: Sequence[Source]) -> Program:
        document = written["graph"]
        feeds = dict(zip(document["feed"], sources, strict=True))
        if len(feeds) < len(sources):
            raise ValueError("one of its feeds is there twice")
        graph = SubGraph(self._graph)
        reader = _Reader(graph, self._prefix, {}, feeds)
        reader._variables, reader._changed = self._variables, self._changed
        with graph.as_default():
            reader._add_all(document)
        tensors, operations = reader._tensors, reader._operations
        return Program(
            graph,
            tuple(tensors[name] for name in document["fetch"]),
            tuple(operations[name] for name in document["target"]),
            tuple(tensors[name] for name in feeds),
        )

    def _specs(
        self, record: OpRecord, inputs: tuple[Tensor, ...], attrs: Mapping[str, Any], node: Mapping[str, Any],
        changed: bool,
    ) -> tuple[Spec, ...]:  # fmt: skip
        """Dtypes and shapes as written, which know of every `set_shape`, where they agree with the shape rule."""
        if not record.variadic and len(inputs) != len(record.inputs):
            raise ValueError(f"it has {len(inputs)} inputs, not {len(record.inputs)}")
        if record.name in PROGRAMS:
            check(record, attrs)
        inferred = record.infer(tuple(t.spec for t in inputs), attrs)
        if changed:
            return inferred
        specs = []
        for spec, (name, sizes) in zip(inferred, node["output"], strict=True):
            dims = _dims(sizes)
            # Byte strings are as long as the longest name is here; objects are summaries or lists, as the record says.
            dtype = spec.dtype if spec.dtype.kind in "SO" else decode_dtype(name)
            if dtype != spec.dtype or not compatible(dims, spec.shape):
                raise ValueError(
                    f"its output is {spec.dtype.name}{format_dims(spec.shape)}, not {dtype.name}{format_dims(dims)}"
                )
            specs.append(Spec(dtype, dims, spec.value, spec.element, spec.partial))
        return tuple(specs)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Inside, whatever a damaged definition leads to is an error that says so."""
    try:
        yield
    except ParaflowError:
        raise
    except Exception as error:
        raise DataError(f"the graph definition is damaged: {where}: {error!r}") from error


@contextmanager
def _fitting(where: str, changed: bool) -> Iterator[None]:
    """Inside, whatever a rule makes of a definition that it does not fit is an error that says why it may not."""
    try:
        yield
    except Exception as error:
        if changed:
            raise GraphError(f"what input_map has does not fit: {where}: {error}") from None
        raise DataError(f"the graph definition is damaged, or of another version: {where}: {error}") from error


def _lost(spec: VariableSpec) -> Callable[[Any], Any]:
    """Stands for the constraint of a variable that was read: no file holds a function."""

    def constraint(_: Any) -> Any:
        raise GraphError(
            f"variable '{spec.name}' was made with a constraint, a Python function, which its file does not have: set "
            "variable.constraint anew, or to None, before an optimizer applies gradients to it"
        )

    return constraint


def _record(name: str, kind: str) -> OpRecord:
    if kind not in records:
        raise DataError(
            f"operation '{name}' is of the type {kind}, which is not known here: it is one of the program's own, whose "
            "module has to be imported first, or of another version of paraflow"
        )
    if records[kind].python:
        raise DataError(f"operation '{name}' is of the type {kind}, which no graph definition can have")
    return records[kind]


def _items(graph_def: Mapping[str, Any], key: str) -> list[Any]:
    items = graph_def.get(key)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise DataError(f"the graph definition is damaged: its '{key}' is no list of objects")
    return items


def _string(thing: Mapping[str, Any], key: str, where: str) -> str:
    value = thing.get(key)
    if not isinstance(value, str) or not value:
        raise DataError(f"the graph definition is damaged: the '{key}' of {where} is {value!r}")
    return value


def _name(text: Any) -> str:
    if isinstance(text, str):
        return text
    raise ValueError(f"{text!r} is no name")


def _size(n: Any) -> int:
    if isinstance(n, int) and n >= 0:
        return n
    raise ValueError(f"{n!r} is no size")


def _dims(sizes: Any) -> Dims:
    return None if sizes is None else tuple(n and _size(n) for n in sizes)


def _feed_spec(node: Mapping[str, Any]) -> Spec:
    """What is written of a feed of a branch or of a loop's turn."""
    ((name, sizes, *element),) = node["output"]
    known = [Spec(_dtype(of), _dims(dims)) for of, dims in element]
    return Spec(_dtype(name), _dims(sizes), element=known[0] if known else None)


def _dtype(name: Any) -> DType:
    return items if name == items.name else decode_dtype(name)


def _source(node: Mapping[str, Any]) -> tuple[str, int] | None:
    source = node.get("source")
    return (str(source[0]), int(source[1])) if source else None


def extract_sub_graph(graph_def: Mapping[str, Any], dest_nodes: Sequence[str]) -> GraphDef:
    """The part of a graph definition that the operations ``dest_nodes``, names, need.

    The initializers of its variables are in it too. Raises TypeError for a single string, and GraphError for a name
    that is not there.
    """
    if isinstance(dest_nodes, str):
        raise TypeError("dest_nodes must be a list")
    return part_of(graph_def, dest_nodes)


def convert_variables_to_constants(
    sess: Values,
    input_graph_def: Mapping[str, Any],
    output_node_names: Sequence[str],
    variable_names_whitelist: Collection[str] | None = None,
    variable_names_blacklist: Collection[str] | None = None,
) -> GraphDef:
    """The part of a definition that ``output_node_names`` need, constants in the places of variables.

    They have the values that the variables have in the session ``sess``. With ``variable_names_whitelist`` only these
    variables become constants, and none of ``variable_names_blacklist``. Raises GraphError where the part changes such
    a variable, or asks whether it is initialised, and FailedPreconditionError for one without value.
    """
    part = part_of(input_graph_def, output_node_names)
    chosen = [v["name"] for v in part["variable"] if v["name"] not in (variable_names_blacklist or ())]
    if variable_names_whitelist is not None:
        chosen = [name for name in chosen if name in variable_names_whitelist]
    with sess.values_to_keep(chosen) as values:
        frozen = {name: encode(np.array(values[name])) for name in chosen}
    nodes = [_frozen(node, frozen) for node in part["node"]]
    left = [v for v in part["variable"] if v["name"] not in frozen]
    result = part_of({**part, "node": nodes, "variable": left}, output_node_names)
    for node in result["node"]:
        record = records[node["op"]]
        if (record.reads or record.writes) and frozen.keys() & set(touched(node)):
            raise GraphError(
                f"operation '{node['name']}' of type {node['op']} changes '{touched(node)[0]}' or asks for its state, "
                "which then cannot be a constant: take other output_node_names, or put it into the blacklist"
            )
    return result


def _frozen(node: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    if node["op"] != read_variable.name or node["attr"]["variable"] not in values:
        return node
    return {**node, "op": "constant", "attr": {"value": values[node["attr"]["variable"]]}}
