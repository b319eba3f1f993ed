"""The graph: an append-only list of operations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paraflow.errors import GraphError
from paraflow.graph.context import stacks
from paraflow.graph.dtypes import DType
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.shape import Dims, Spec

if TYPE_CHECKING:
    from paraflow.graph.record import OpRecord


@dataclass(frozen=True)
class VariableSpec:
    """What the compiler and the variable store need to know of a variable; ``shape`` is fully known.

    ``slot_of`` names the trainable variable for which an optimizer keeps this one, if it is a slot.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    trainable: bool
    slot_of: str = ""

    @property
    def owner(self) -> str:
        """The trainable variable whose place in the parameter plane it shares; empty for any other variable."""
        return self.name if self.trainable else self.slot_of


class Graph:
    """A dataflow graph. Operations are only ever added, so the order of ``operations`` is a valid order to run them."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.variables: dict[str, VariableSpec] = {}
        self.collections: dict[str, list[Any]] = {}
        self.seed: int | None = None
        self.last_reads: dict[str, Tensor] = {}
        self._by_name: dict[str, Operation] = {}
        self._name_counts: dict[str, int] = {}
        self._scope = ""
        self._control: list[tuple[Operation, ...]] = []
        self._finalized = False

    def add(
        self,
        record: OpRecord,
        inputs: tuple[Tensor, ...],
        attrs: Mapping[str, Any],
        name: str,
        source: tuple[str, int] | None,
        specs: tuple[Spec, ...],
        control_inputs: tuple[Operation, ...] = (),
    ) -> Operation:
        """Append an operation; `OpRecord.__call__` is the way to come here."""
        if self._finalized and not record.reads:
            raise GraphError(f"the graph is finalized: {record.name} '{name}' cannot be added")
        for tensor in inputs:
            if tensor.op.graph is not self:
                raise GraphError(
                    f"{record.name} '{name}' has an input from another graph: {tensor.op.where()}; "
                    "build it inside `with graph.as_default():`"
                )
        control = dict.fromkeys((*control_inputs, *(c for scope in self._control for c in scope)))
        for waited_for in control:
            if waited_for.graph is not self:
                raise GraphError(f"{record.name} '{name}' has a control input from another graph: {waited_for.where()}")
        operation = Operation(
            self, len(self.operations), self.unique_name(name), record, inputs, attrs, tuple(control), source, specs
        )
        self.operations.append(operation)
        self._by_name[operation.name] = operation
        return operation

    def unique_name(self, name: str) -> str:
        """``name`` inside the current name scope, with ``_1``, ``_2``, ... added when it is taken.

        A name that ends in ``/``, what `name_scope` gives, is the scope's own: its first operation may bear it.
        """
        full = name[:-1] if name.endswith("/") else self._scope + name
        if name.endswith("/") and full not in self._by_name:
            self._name_counts.setdefault(full, 1)
            return full
        count = self._name_counts.get(full, 0)
        self._name_counts[full] = count + 1
        if not count:
            return full
        unique = f"{full}_{count}"
        while unique in self._name_counts:
            count += 1
            unique = f"{full}_{count}"
        self._name_counts[full] = count + 1
        self._name_counts[unique] = 1
        return unique

    @contextmanager
    def name_scope(self, name: str) -> Iterator[str]:
        """Prefix the names of operations made inside with ``name/``; a name that ends in ``/`` re-enters that scope."""
        outer = self._scope
        self._scope = (name if name.endswith("/") else self.unique_name(name) + "/") if name else ""
        try:
            yield self._scope
        finally:
            self._scope = outer

    @contextmanager
    def control_dependencies(self, control_inputs: Sequence[Any] | None) -> Iterator[None]:
        """Make every operation added inside run after ``control_inputs``; None lifts all outer dependencies."""
        outer = self._control
        if control_inputs is None:
            self._control = []
        else:
            self._control = [*outer, tuple(as_operation(x) for x in control_inputs)]
        try:
            yield
        finally:
            self._control = outer

    @property
    def in_control_scope(self) -> bool:
        """Whether operations added now would get control inputs."""
        return any(self._control)

    def get_operations(self) -> list[Operation]:
        """All operations, in the order of their making."""
        return list(self.operations)

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation of that name; raises GraphError naming near misses."""
        if name in self._by_name:
            return self._by_name[name]
        near = [known for known in self._by_name if known.endswith(name) or name in known][:3]
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise GraphError(f"there is no operation '{name}' in the graph{hint}")

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor ``operation:index``; for the name of a variable its value at this place of the program."""
        for variable in self.collections.get("variables", ()):
            if variable.name == name:
                tensor: Tensor = variable.__tensor__()
                return tensor
        operation, _, index = name.partition(":")
        if not index.isdigit():
            raise GraphError(f"'{name}' is not the name of a tensor; those look like 'operation:0'")
        outputs = self.get_operation_by_name(operation).outputs
        if int(index) >= len(outputs):
            raise GraphError(f"operation '{operation}' has {len(outputs)} outputs, so there is no '{name}'")
        return outputs[int(index)]

    def as_graph_element(self, item: Any) -> Tensor | Operation:
        """The tensor or operation that a fetch or feed stands for: itself, a variable, or a name."""
        if isinstance(item, str):
            return self.get_tensor_by_name(item) if ":" in item else self.get_operation_by_name(item)
        element = item.__tensor__() if hasattr(item, "__tensor__") else item
        if not isinstance(element, (Tensor, Operation)):
            raise TypeError(f"{item!r} is neither a tensor, an operation, a variable nor the name of one")
        if element.graph is not self:
            raise GraphError(f"{element!r} belongs to another graph than this session's")
        return element

    def add_to_collection(self, name: str, value: Any) -> None:
        """Append ``value`` to the named collection."""
        self.collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: str | Sequence[str], value: Any) -> None:
        """Append ``value`` to each of the named collections, once where a name comes twice."""
        for name in dict.fromkeys((names,) if isinstance(names, str) else names):
            self.add_to_collection(name, value)

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """A copy of the named collection, in the order of adding.

        With ``scope``, a regular expression, only the items whose name begins with a match; those without name are left
        out.
        """
        items = self.collections.get(name, ())
        return [x for x in items if not scope or (hasattr(x, "name") and re.match(scope, x.name))]

    def get_collection_ref(self, name: str) -> list[Any]:
        """The named collection itself: what is done to the list is done to the collection."""
        return self.collections.setdefault(name, [])

    def add_variable(
        self, name: str, dtype: DType, shape: Dims, trainable: bool, slot_of: str = ""
    ) -> VariableSpec:
        """Declare a variable; its shape must be fully known."""
        if shape is None or None in shape:
            raise GraphError(f"variable '{name}' needs a fully known shape; its initial value has {shape}")
        spec = VariableSpec(name, dtype, tuple(size for size in shape if size is not None), trainable, slot_of)
        self.variables[name] = spec
        return spec

    def finalize(self) -> None:
        """Refuse further operations, except reads: to fetch a variable may take one."""
        self._finalized = True

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make this the graph that operations are added to, inside the ``with``."""
        stacks.graphs.append(self)
        try:
            yield self
        finally:
            stacks.graphs.pop()


def as_operation(item: Any) -> Operation:
    """The operation behind an operation, a tensor or a variable."""
    if isinstance(item, Operation):
        return item
    if isinstance(item, Tensor):
        return item.op
    if hasattr(item, "__tensor__"):
        tensor: Tensor = item.__tensor__()
        return tensor.op
    raise TypeError(f"{item!r} is neither an operation nor a tensor")


_global_graph: list[Graph] = [Graph()]


def get_default_graph() -> Graph:
    """The graph that operations are added to: the innermost ``as_default()``, else the program's one graph."""
    return stacks.graphs[-1] if stacks.graphs else _global_graph[0]


def reset_default_graph() -> None:
    """Replace the program's one graph by an empty one; refused inside ``as_default()``."""
    if stacks.graphs:
        raise GraphError("reset_default_graph() inside `with graph.as_default():`; leave that block first")
    _global_graph[0] = Graph()


def name_scope(name: str | None, default_name: str | None = None, values: Sequence[Any] | None = None) -> Any:
    """Context manager: operations of the default graph made inside are named ``name/...``.

    ``values`` may be what the scope's operations are made of, as TensorFlow 1 has it; nothing depends on it.
    """
    return get_default_graph().name_scope(name or default_name or "")


def control_dependencies(control_inputs: Sequence[Any] | None) -> Any:
    """Context manager: operations of the default graph made inside run after ``control_inputs``."""
    return get_default_graph().control_dependencies(control_inputs)


def add_to_collection(name: str, value: Any) -> None:
    """Append ``value`` to the named collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: str | Sequence[str], value: Any) -> None:
    """Append ``value`` to each of the named collections of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """A copy of the collection ``key`` of the default graph; ``scope`` as for `Graph.get_collection`."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: str) -> list[Any]:
    """The collection ``key`` of the default graph itself."""
    return get_default_graph().get_collection_ref(key)
