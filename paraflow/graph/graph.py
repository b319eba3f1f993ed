"""The graph: an append-only list of operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from paraflow.errors import FinalizedError, GraphError, UnknownNameError
from paraflow.graph.context import stacks
from paraflow.graph.device import DeviceScope, resolve
from paraflow.graph.dtypes import DType
from paraflow.graph.graph_def import GraphDef, graph_def, scopes
from paraflow.graph.node import Operation, Tensor, records
from paraflow.graph.shape import Dims, Spec

if TYPE_CHECKING:
    from paraflow.graph.record import OpRecord


# Of scopes, and of operations with the scopes around them.
_SCOPE = re.compile(r"[A-Za-z0-9_.\\\-/]+")
_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\\-/]*")
_LETTERS = "letters, digits and _.\\-/ make one, and it begins with a letter, a digit or ."


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
        self.handles: dict[str, Any] = {}  # what users hold of a variable, by the variable's name
        self._by_name: dict[str, Operation] = {}
        self._name_counts: dict[str, int] = {}
        self._scope = ""
        self._control: list[tuple[Operation, ...]] = []
        self._devices: list[DeviceScope] = []
        self._finalized = False
        self.gradient_overrides: dict[str, str] = {}  # name of a record -> of the gradient that its uses get now
        self._unfed: set[Tensor] = set()
        self._unfetched: set[Operation] = set()

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
            raise FinalizedError(f"the graph is finalized: {record.name} '{name}' cannot be added")
        for tensor in inputs:
            if tensor.op.graph is not self:
                raise GraphError(
                    f"{record.name} '{name}' has an input from another graph: {tensor.op.where()}; "
                    "build it inside `with graph.as_default():`"
                )
        control = control_inputs
        if control or self._control:
            control = tuple(dict.fromkeys((*control, *(c for scope in self._control for c in scope))))
        for waited_for in control:
            if waited_for.graph is not self:
                raise GraphError(f"{record.name} '{name}' has a control input from another graph: {waited_for.where()}")
        full = self.unique_name(name)
        if not _NAME.fullmatch(full):
            place = f" at {source[0]}:{source[1]}" if source else ""
            raise GraphError(f"{full!r} is not a valid name of an operation: {_LETTERS}{place}")
        operation = Operation(self, len(self.operations), full, record, inputs, attrs, control, source, specs)
        if self._devices:
            operation.device = resolve(self._devices, operation)
        self.operations.append(operation)
        return operation

    def _named(self) -> dict[str, Operation]:
        """The operations by their names; those made since it was last asked for are entered now."""
        self._by_name.update((o.name, o) for o in self.operations[len(self._by_name) :])
        return self._by_name

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """``name`` inside the current name scope, with ``_1``, ``_2``, ... added when it is taken.

        Names that differ in case alone are the same one, as in TensorFlow. A name that ends in ``/``, what `name_scope`
        gives, is the scope's own: its first operation may bear it. With ``mark_as_used`` false nothing is taken.
        """
        own = name.endswith("/")
        full = name[:-1] if own else self._scope + name
        counts = self._name_counts if mark_as_used else dict(self._name_counts)
        key = full if full.islower() else full.lower()
        if own and full not in self._named():
            counts.setdefault(key, 1)
            return full
        if key not in counts:
            counts[key] = 1
            return full
        count = counts[key]
        counts[key] = count + 1
        while f"{key}_{count}" in counts:
            count += 1
        counts[key] = count + 1
        counts[f"{key}_{count}"] = 1
        return f"{full}_{count}"

    def mark_scopes(self, names: Iterable[str]) -> None:
        """Have the scopes of ``names`` count as used, so that a `name_scope` of such a name is another one."""
        for scope in scopes(names):
            self._name_counts.setdefault(scope.lower(), 1)

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Prefix the names of operations made inside with ``name/``; a name that ends in ``/`` re-enters that scope.

        None, or an empty name, leaves all scopes. Raises ValueError for what cannot stand in a name.
        """
        if name and not (_SCOPE if self._scope else _NAME).fullmatch(name):
            raise ValueError(f"{name!r} is not a valid scope name: {_LETTERS}")
        outer = self._scope
        self._scope = (name if name.endswith("/") else self.unique_name(name) + "/") if name else ""
        try:
            yield self._scope
        finally:
            self._scope = outer

    def get_name_scope(self) -> str:
        """The current name scope, without the ``/`` at its end."""
        return self._scope[:-1]

    @contextmanager
    def device(self, device_name_or_function: DeviceScope) -> Iterator[None]:
        """A device for operations made inside; see `paraflow.device`."""
        if isinstance(device_name_or_function, str):
            resolve([device_name_or_function], None)
        self._devices.append(device_name_or_function)
        try:
            yield
        finally:
            self._devices.pop()

    @contextmanager
    def gradient_override_map(self, op_type_map: Mapping[str, str]) -> Iterator[None]:
        """Give operations made inside, of the types that are mapped, the gradients of these names.

        ``{"Sign": "Clipped"}``: a type is TensorFlow's name, or that of one of our own records; a gradient is one that
        `paraflow.RegisterGradient` has, or that of another type. Raises ValueError for a type that there is not: what
        paraflow makes of several operations has none, and `paraflow.custom_gradient` serves there.
        """
        before = self.root.gradient_overrides
        self.root.gradient_overrides = before | {record_of(kind).name: name for kind, name in op_type_map.items()}
        try:
            yield
        finally:
            self.root.gradient_overrides = before

    @contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """The device of ``op`` for operations made inside, whatever scopes of devices say; None lifts these all.

        Raises ValueError for None without ``ignore_existing``, which else means nothing here.
        """
        if op is None and not ignore_existing:
            raise GraphError("colocate_with(None) needs ignore_existing=True")
        outer = self._devices
        self._devices = [] if op is None else [as_operation(op).device]
        try:
            yield
        finally:
            self._devices = outer

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
    def root(self) -> Graph:
        """The graph itself; of the graph of a branch or of a loop's body the one that all is built in."""
        return self

    def sees(self, graph: Graph) -> bool:
        """Whether operations added here may have inputs from ``graph``."""
        return graph is self

    def capture(self, tensor: Tensor) -> Tensor:
        """The tensor of this graph that stands for ``tensor``, which may belong to a graph around it."""
        return tensor

    @property
    def in_control_scope(self) -> bool:
        """Whether operations added now would get control inputs."""
        return any(self._control)

    @property
    def version(self) -> int:
        """A number that grows with each operation that is added."""
        return len(self.operations)

    @property
    def building_function(self) -> bool:
        """Whether this is the graph of a branch or of a loop's body."""
        return self.root is not self

    def get_operations(self) -> list[Operation]:
        """All operations, in the order of their making."""
        return list(self.operations)

    def has_operation(self, name: str) -> bool:
        """Whether there is an operation of that name."""
        return name in self._named()

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation of that name; raises UnknownNameError, a KeyError, naming near misses."""
        if not isinstance(name, str):
            raise TypeError(f"names of operations are strings, not {name!r}")
        if name in self._named():
            return self._by_name[name]
        near = [known for known in self._by_name if known.endswith(name) or name in known][:3]
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UnknownNameError(f"there is no operation '{name}' in the graph{hint}")

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor ``operation:index``; for the name of a variable its value at this place of the program.

        Raises ValueError for what cannot be a tensor's name, and UnknownNameError, a KeyError, where there is none.
        """
        if not isinstance(name, str):
            raise TypeError(f"names of tensors are strings, not {name!r}")
        operation, _, index = name.partition(":")
        if not index.isdigit():
            raise GraphError(f"'{name}' is not the name of a tensor; those look like 'operation:0'")
        if operation in self.handles and index == "0":
            tensor: Tensor = self.handles[operation].__tensor__()
            return tensor
        outputs = self.get_operation_by_name(operation).outputs
        if int(index) >= len(outputs):
            raise UnknownNameError(f"operation '{operation}' has {len(outputs)} outputs, so there is no '{name}'")
        return outputs[int(index)]

    def as_graph_element(
        self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True
    ) -> Tensor | Operation:
        """The tensor or operation that a fetch or feed stands for: itself, a variable, or a name.

        Raises TypeError for what is neither, or not allowed here.
        """
        if isinstance(obj, str):
            by_tensor = ":" in obj or not allow_operation
            return self.get_tensor_by_name(obj) if by_tensor else self.get_operation_by_name(obj)
        element = obj.__tensor__() if hasattr(obj, "__tensor__") else obj
        allowed = (Tensor,) * allow_tensor + (Operation,) * allow_operation
        if not isinstance(element, allowed):
            wanted = "".join(f"{kind.__name__.lower()}, " for kind in allowed)
            raise TypeError(f"{obj!r} is neither a {wanted}a variable nor the name of one")
        if element.graph is not self:
            raise GraphError(f"{element!r} belongs to another graph than this session's")
        return element

    def is_feedable(self, tensor: Any) -> bool:
        """Whether a run may be fed a value for ``tensor``."""
        return tensor not in self._unfed

    def is_fetchable(self, tensor_or_op: Any) -> bool:
        """Whether a run may be asked for a tensor or an operation."""
        fetched = tensor_or_op.op if isinstance(tensor_or_op, Tensor) else tensor_or_op
        return fetched not in self._unfetched

    def prevent_feeding(self, tensor: Tensor) -> None:
        """Have sessions raise ValueError where ``tensor`` is fed that they have not been fed before."""
        self._unfed.add(tensor)

    def prevent_fetching(self, op: Operation) -> None:
        """Have sessions raise ValueError where ``op``, or a tensor of it, is fetched in a way that is new to them."""
        self._unfetched.add(op)

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

    def get_all_collection_keys(self) -> list[str]:
        """The names of the collections that are there."""
        return list(self.collections)

    def clear_collection(self, name: str) -> None:
        """Take everything out of the named collection."""
        self.collections.pop(name, None)

    def add_variable(
        self, name: str, dtype: DType, shape: Dims, trainable: bool, slot_of: str = ""
    ) -> VariableSpec:
        """Declare a variable; its shape must be fully known."""
        if shape is None or None in shape:
            raise GraphError(f"variable '{name}' needs a fully known shape; its initial value has {shape}")
        spec = VariableSpec(name, dtype, tuple(size for size in shape if size is not None), trainable, slot_of)
        self.variables[name] = spec
        return spec

    def as_graph_def(
        self, from_version: None = None, add_shapes: bool = False, *, outputs: Sequence[Any] | None = None
    ) -> GraphDef:
        """The graph as a dictionary of values that JSON has, which `import_graph_def` reads.

        With ``outputs`` (tensors, operations, variables or names) only the part that they need, with the initializers
        of the variables in it. Shapes are always there, whatever ``add_shapes`` says, and ``from_version`` has to be
        None. Collections and the functions that constrain variables are no part of it.

        Branches and loops have definitions of their own inside it. Raises GraphError for an operation that holds a
        Python function (`py_func`, `custom_gradient`), with its line.
        """
        if from_version is not None:
            raise GraphError("as_graph_def: graphs have no versions, so from_version has to be None")
        wanted = None if outputs is None else [as_operation(self.as_graph_element(item)) for item in outputs]
        return graph_def(self, wanted)

    @property
    def finalized(self) -> bool:
        """Whether operations are refused."""
        return self._finalized

    def finalize(self) -> None:
        """Refuse further operations, except reads: to fetch a variable may take one."""
        self._finalized = True

    def unfinalize(self) -> None:
        """Take operations again: a session that has finalized the graph has ended."""
        self._finalized = False

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


# TensorFlow's types of operations whose records, of the same inputs, have other names than theirs in small letters.
_TYPES = {
    "PyFunc": "call_python", "Sub": "subtract", "Mul": "multiply", "Neg": "negative", "RealDiv": "divide",
    "AddV2": "add", "BiasAdd": "add_along", "Conv2D": "convolution", "MaxPool": "window_max", "AvgPool": "window_mean",
}  # fmt: skip


def record_of(kind: str) -> OpRecord:
    """The record for a type of operations, TensorFlow's name of it or ours; raises GraphError where there is none."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    record = records.get(_TYPES.get(kind, snake))
    if record is None:
        raise GraphError(f"there are no operations of the type '{kind}' here; a function may have a custom_gradient")
    return record


_global_graph: list[Graph] = [Graph()]


def get_default_graph() -> Graph:
    """The graph that operations are added to: the innermost ``as_default()``, else the program's one graph."""
    return stacks.graphs[-1] if stacks.graphs else _global_graph[0]


def innermost(graph: Graph) -> Graph:
    """``graph``, or the graph of a branch or body inside it that is being built."""
    default = get_default_graph()
    return default if default.sees(graph) else graph


def reset_default_graph() -> None:
    """Replace the program's one graph by an empty one; refused inside ``as_default()``."""
    if stacks.graphs:
        raise GraphError("reset_default_graph() inside `with graph.as_default():`; leave that block first")
    _global_graph[0] = Graph()


class name_scope:  # noqa: N801  (TensorFlow's name)
    """Context manager: operations made inside are named ``name/...``, or ``default_name/...`` where it is None.

    They are those of the default graph, or of the graph of ``values``, what they are made of. Gives the scope with its
    ``/``, which `Graph.name_scope` re-enters. Raises ValueError, where it is entered, for ``values`` without a name.
    """

    def __init__(
        self, name: str | None, default_name: str | None = None, values: Sequence[Any] | None = None
    ) -> None:
        self._name = default_name if name is None else name
        self._values = values
        self._entered: list[ExitStack] = []

    @property
    def name(self) -> str | None:
        """The name it was given."""
        return self._name

    def __enter__(self) -> str:
        if self._values is not None and self._name is None:
            raise GraphError("name_scope: at least one of name and default_name is needed")
        made = next((v.graph for v in self._values or () if hasattr(v, "graph")), None)
        with ExitStack() as scopes:
            graph = get_default_graph()
            if made is not None and not graph.sees(made):
                graph = scopes.enter_context(made.as_default())
            scope = scopes.enter_context(graph.name_scope(self._name))
            self._entered.append(scopes.pop_all())
        return scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, trace)


def device(device_name_or_function: DeviceScope) -> Any:
    """Context manager: operations of the default graph made inside have this ``device``.

    It is a name such as ``"/job:ps/task:0/cpu:0"``, of which inner scopes overrule the parts that they mention, a
    function of the operation that returns one, or None, which lifts all outer scopes. Raises ValueError for other
    names. In a session with n ``threads``, operations on ``"/cpu:i"``, or ``"/lane:i"``, run on thread i modulo n,
    one after the other in program order, and all others wherever there is time; with one thread there is one lane.
    Everything else in a name is only recorded: which rank does what is for the strategy to say, not for devices.
    """
    return get_default_graph().device(device_name_or_function)


def colocate_with(op: Any, ignore_existing: bool = False) -> Any:
    """Context manager: `Graph.colocate_with` of the default graph."""
    return get_default_graph().colocate_with(op, ignore_existing)


@contextmanager
def init_scope() -> Iterator[None]:
    """Context manager: what is made inside is outside of all branches, loops and control dependencies."""
    graph = get_default_graph().root
    with graph.as_default(), graph.control_dependencies(None):
        yield


def op_scope(values: Sequence[Any], name: str | None, default_name: str | None = None) -> Any:
    """`name_scope`, with the order of arguments that it had at first."""
    return name_scope(name, default_name, values)


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
