"""Variables: tensors that live from run to run.

Reads and writes are operations like all others. They declare which variable they touch, and the compiler keeps them in
program order: a read sees every assignment made before it in the program, and none made after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidTypeError
from paraflow.graph.context import Runner
from paraflow.graph.dtypes import DType, as_dtype
from paraflow.graph.graph import Graph, VariableSpec, get_default_graph, innermost
from paraflow.graph.node import Operation, Tensor, operators
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, TensorShape, as_dims, compatible, format_dims, merge
from paraflow.ops.array import group, identity
from paraflow.ops.gathering import gather, gather_nd
from paraflow.ops.slices import IndexedSlices


class GraphKeys:
    """Names of the standard collections of a graph, those of TensorFlow.

    Variables, layers and averages add to some of them; the others are for programs to fill.
    """

    GLOBAL_VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    MODEL_VARIABLES = "model_variables"
    METRIC_VARIABLES = "metric_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    VARIABLES = GLOBAL_VARIABLES
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    LOSSES = "losses"
    REGULARIZATION_LOSSES = "regularization_losses"
    UPDATE_OPS = "update_ops"
    TRAIN_OP = "train_op"
    GLOBAL_STEP = "global_step"
    EVAL_STEP = "eval_step"
    SUMMARIES = "summaries"
    SUMMARY_OP = "summary_op"
    SAVEABLE_OBJECTS = "saveable_objects"
    SAVERS = "savers"
    QUEUE_RUNNERS = "queue_runners"
    TABLE_INITIALIZERS = "table_initializer"
    RESOURCES = "resources"
    LOCAL_RESOURCES = "local_resources"
    TRAINABLE_RESOURCE_VARIABLES = "trainable_resource_variables"
    CONCATENATED_VARIABLES = "concatenated_variables"
    ASSET_FILEPATHS = "asset_filepaths"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    READY_OP = "ready_op"
    READY_FOR_LOCAL_INIT_OP = "ready_for_local_init_op"
    COND_CONTEXT = "cond_context"
    WHILE_CONTEXT = "while_context"


@op(reads=True)
def read_variable(variable="", dtype=None, shape=(), *, store):
    """The current value of the variable."""
    return store[variable]


@read_variable.shape
def _(variable: str, dtype: DType, shape: tuple[int, ...]) -> Spec:
    return Spec(dtype, shape)


@op(writes=True)
def assign_variable(value, variable="", shape=(), *, store):
    """Make ``value`` the variable's value; the output is the new value."""
    store[variable][...] = value
    return store[variable]


@assign_variable.shape
def _(value: Spec, variable: str, shape: tuple[int, ...]) -> Spec:
    if not compatible(value.shape, shape):
        raise GraphError(f"variable '{variable}' has shape {shape}, the value {format_dims(value.shape)}")
    return Spec(value.dtype, shape)


@op(reads=True)
def value_or_initial(initial, variable="", *, store):
    """The value of the variable, or ``initial`` where it has none before the run."""
    return np.array(store[variable] if variable in store.initialized else initial)


@value_or_initial.shape
def _(initial: Spec, variable: str) -> Spec:
    return Spec(initial.dtype, initial.shape)


@op
def is_initialized(variable="", *, store):
    """Whether the variable has a value before the run."""
    return np.array(variable in store.initialized)


@is_initialized.shape
def _(variable: str) -> Spec:
    return Spec(np.dtype("bool"), ())


class Variable:
    """A tensor whose value lasts from run to run of a session and is changed by assignments.

    ``initial_value`` is a tensor, an array, a number, or a function without arguments that returns one; its shape must
    be fully known. The variable has no value until its ``initializer`` has run. Used as an operand it stands for
    its value at that place of the program. It is added to ``collections`` (default: the global variables) and, if
    ``trainable``, to the trainable ones. Optimizers apply ``constraint``, a function of the value that returns the
    value to take instead, after each update. Optimizers make slots, which are kept beside the variable ``slot_of``.

    The arguments are TensorFlow's. ``validate_shape``, ``caching_device``, ``expected_shape``, ``import_scope`` and
    ``use_resource`` change nothing here: the shape is that of the initial value, a read is in program order, and a rank
    has its variables in its own memory. Raises ValueError without an initial value.
    """

    __array_ufunc__ = None

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Sequence[str] | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: None = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[[Any], Any] | None = None,
        use_resource: bool | None = None,
        *,
        slot_of: str = "",
    ) -> None:
        if initial_value is None:
            raise ValueError(f"initial_value must be specified{at_user_line()}")
        if isinstance(collections, str) or variable_def is not None:
            raise TypeError(f"collections is a list of names, and variable_def is not taken{at_user_line()}")
        graph = get_default_graph().root
        trainable = trainable is None or trainable
        with graph.as_default(), graph.control_dependencies(None):
            name = graph.unique_name(name or "Variable")
            with graph.name_scope(name + "/"):
                value = initial_value() if callable(initial_value) else initial_value
                self.initial_value = convert(value, None if dtype is None else as_dtype(dtype), "initial_value")
            spec = self.initial_value.spec
            if dtype is not None and spec.dtype != as_dtype(dtype):
                raise InvalidTypeError(
                    f"variable '{name}' is {as_dtype(dtype).name}, its initial value {spec.dtype.name}"
                )
            self.graph: Graph = graph
            self.constraint = constraint
            self.spec = graph.add_variable(name, spec.dtype, spec.shape, trainable, slot_of)
            self.op: Operation = self._read(name + "/").op  # what bears the variable's name
            self.initializer: Operation = self._assign(self.initial_value, None).op
        graph.handles[name] = self
        keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
        graph.add_to_collections([*keys, GraphKeys.TRAINABLE_VARIABLES] if trainable else keys, self)

    @classmethod
    def of_operations(
        cls,
        spec: VariableSpec,
        op: Operation,
        initial_value: Tensor,
        initializer: Operation,
        constraint: Callable[[Any], Any] | None = None,
    ) -> Variable:
        """A variable whose operations are there already, in a graph that was written and read again."""
        variable = cls.__new__(cls)
        variable.graph, variable.spec, variable.constraint = op.graph, spec, constraint
        variable.op, variable.initial_value, variable.initializer = op, initial_value, initializer
        op.graph.handles[spec.name] = variable
        return variable

    def __tensor__(self) -> Tensor:
        """The value at this place of the program: one read serves all uses up to the next assignment."""
        graph = innermost(self.graph)
        if graph.in_control_scope:
            return self._read()
        if self.spec.name not in graph.last_reads:
            graph.last_reads[self.spec.name] = self._read()
        return graph.last_reads[self.spec.name]

    def _read(self, name: str = "read") -> Tensor:
        spec = self.spec
        graph = innermost(self.graph)
        with graph.as_default(), graph.name_scope(spec.name + "/"):
            tensor: Tensor = read_variable(variable=spec.name, dtype=spec.dtype, shape=spec.shape, name=name)
            return tensor

    def _assign(self, value: Any, name: str | None, default: str = "Assign") -> Tensor:
        """A name that the user gave stands in the user's scope, the ``default`` one in the variable's."""
        graph = innermost(self.graph)
        graph.last_reads.pop(self.spec.name, None)
        tensor = convert(value, self.spec.dtype)
        if tensor.dtype != self.spec.dtype:
            raise InvalidTypeError(
                f"variable '{self.spec.name}' is {self.spec.dtype.name}, the value {tensor.dtype.name}"
            )
        attrs = {"variable": self.spec.name, "shape": self.spec.shape}
        with graph.as_default():
            if name is None:
                with graph.name_scope(self.spec.name + "/"):
                    result: Tensor = assign_variable(tensor, name=default, **attrs)
            else:
                result = assign_variable(tensor, name=name, **attrs)
            return result

    @property
    def name(self) -> str:
        """The variable's name with the ``:0`` of a tensor."""
        return self.spec.name + ":0"

    @property
    def device(self) -> str:
        """The device that the author asked for, or nothing."""
        return self.op.device

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.spec.dtype

    @property
    def shape(self) -> TensorShape:
        """Shape, fully known."""
        return TensorShape(self.spec.shape)

    def get_shape(self) -> TensorShape:
        """The same as ``shape``."""
        return self.shape

    @property
    def trainable(self) -> bool:
        """Whether optimizers change it by default."""
        return self.spec.trainable

    def value(self) -> Tensor:
        """The value at this place of the program, as a tensor."""
        return self.__tensor__()

    def read_value(self) -> Tensor:
        """A read of its own at this place, honouring the control dependencies around it."""
        tensor: Tensor = identity(self._read())
        return tensor

    def initialized_value(self) -> Tensor:
        """The value, or where the variable has none before the run its initial value.

        For initial values that depend on other variables.
        """
        graph = innermost(self.graph)
        with graph.as_default(), graph.control_dependencies(None):
            with graph.name_scope(self.spec.name + "/"):
                tensor: Tensor = value_or_initial(self.initial_value, variable=self.spec.name, name="initialized")
            return tensor

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        """Make ``value`` the new value; the output is the new value, without ``read_value`` the operation.

        ``use_locking`` has no meaning here: writes follow program order.
        """
        return _output(self._assign(value, name), read_value)

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Add ``delta``; otherwise like `assign`."""
        return _output(self._assign(operators["add"](self, delta), name, "AssignAdd"), read_value)

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Subtract ``delta``; otherwise like `assign`."""
        return _output(self._assign(operators["subtract"](self, delta), name, "AssignSub"), read_value)

    def set_shape(self, shape: Any) -> None:
        """Raise ValueError unless ``shape`` may be that of the variable, which is fixed."""
        merge(self.spec.shape, as_dims(shape))

    def count_up_to(self, limit: int) -> Tensor:
        """`paraflow.count_up_to` of this variable, an integer scalar."""
        counted: Tensor = operators["count_up_to"](self, limit)
        return counted

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """The rows at ``indices``, as `gather` has them."""
        rows: Tensor = gather(self, indices, name=name)
        return rows

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements or slices at ``indices`` [..., k], as `gather_nd` has them."""
        parts: Tensor = gather_nd(self, indices, name=name)
        return parts

    def scatter_update(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Make the values of ``sparse_delta`` the rows at its indices; the output is the whole new value.

        This and its kin are `paraflow.scatter_update` and its kin. Raises TypeError for what is no `IndexedSlices`.
        """
        return self._scattered("scatter_update", sparse_delta, name)

    def scatter_add(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Add the values of ``sparse_delta`` to the rows at its indices; like `scatter_update`."""
        return self._scattered("scatter_add", sparse_delta, name)

    def scatter_sub(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Subtract the values of ``sparse_delta`` from the rows at its indices; like `scatter_update`."""
        return self._scattered("scatter_sub", sparse_delta, name)

    def scatter_mul(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Multiply the rows at the indices of ``sparse_delta`` by its values; like `scatter_update`."""
        return self._scattered("scatter_mul", sparse_delta, name)

    def scatter_div(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Divide the rows at the indices of ``sparse_delta`` by its values; like `scatter_update`."""
        return self._scattered("scatter_div", sparse_delta, name)

    def scatter_min(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Bound the rows at the indices of ``sparse_delta`` from above by its values; like `scatter_update`."""
        return self._scattered("scatter_min", sparse_delta, name)

    def scatter_max(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Bound the rows at the indices of ``sparse_delta`` from below by its values; like `scatter_update`."""
        return self._scattered("scatter_max", sparse_delta, name)

    def batch_scatter_update(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """`paraflow.batch_scatter_update` by the values of ``sparse_delta`` at its indices [..., n]."""
        return self._scattered("batch_scatter_update", sparse_delta, name)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`paraflow.scatter_nd_update` of this variable."""
        value: Tensor = operators["scatter_nd_update"](self, indices, updates, name=name)
        return value

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`paraflow.scatter_nd_add` to this variable."""
        value: Tensor = operators["scatter_nd_add"](self, indices, updates, name=name)
        return value

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`paraflow.scatter_nd_sub` from this variable."""
        value: Tensor = operators["scatter_nd_sub"](self, indices, updates, name=name)
        return value

    def _scattered(self, how: str, delta: Any, name: str | None) -> Tensor:
        if not isinstance(delta, IndexedSlices):
            raise TypeError(f"sparse_delta is not IndexedSlices: {delta!r}{at_user_line()}")
        value: Tensor = operators[how](self, delta.indices, delta.values, name=name)
        return value

    def eval(self, session: Runner | None = None) -> np.ndarray[Any, Any]:
        """The current value in ``session`` or in the default session."""
        value: np.ndarray[Any, Any] = self.__tensor__().eval(session=session)
        return value

    def load(self, value: Any, session: Runner | None = None) -> None:
        """Set the value from an array, outside the graph's own operations."""
        self.initializer.run({self.initial_value: value}, session)

    def __repr__(self) -> str:
        return f"<paraflow.Variable '{self.name}' shape={format_dims(self.spec.shape)} dtype={self.dtype.name}>"

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        raise TypeError(f"variable '{self.name}' has no truth value while the graph is being built")


def _output(value: Tensor, read_value: bool) -> Any:
    return value if read_value else value.op


def _forward(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    def forward(self: Variable, *operands: Any) -> Any:
        return method(self.__tensor__(), *operands)

    return forward


# A variable takes part in expressions as its value does.
for _name in dir(Tensor):
    if _name.startswith("__") and _name[2:-2] in {
        "neg", "abs", "invert", "getitem", "iter", "lt", "le", "gt", "ge",
        *(f"{r}{o}" for r in ("", "r") for o in (
            "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")),
    }:
        setattr(Variable, _name, _forward(_name))


def global_variables(scope: str | None = None) -> list[Variable]:
    """All variables of the default graph, in the order of their making; ``scope`` as for `Graph.get_collection`."""
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    """The variables that optimizers change by default."""
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def variables_initializer(var_list: list[Variable], name: str = "init") -> Any:
    """An operation that initialises the given variables."""
    return group(*(v.initializer for v in var_list), name=name)


def global_variables_initializer() -> Any:
    """An operation that initialises every variable made so far."""
    return variables_initializer(global_variables())


def initialize_all_variables() -> Any:
    """The older name of `global_variables_initializer`."""
    return global_variables_initializer()


def assign(
    ref: Variable, value: Any, validate_shape: bool | None = None, use_locking: bool | None = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Make ``value`` the new value of the variable ``ref``, whose shape it must have.

    ``validate_shape`` and ``use_locking`` have no meaning here: shapes are fixed, and writes follow program order.
    """
    return ref._assign(value, name)


def assign_add(ref: Variable, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Add ``value`` to the variable ``ref``; like `assign`."""
    return ref._assign(operators["add"](ref, value), name, "AssignAdd")


def assign_sub(ref: Variable, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Subtract ``value`` from the variable ``ref``; like `assign`."""
    return ref._assign(operators["subtract"](ref, value), name, "AssignSub")


def is_variable(item: Any) -> bool:
    """Whether ``item`` is a variable."""
    return isinstance(item, Variable)


def make_shape(value: Any) -> tuple[int, ...]:
    """A fully known shape from what a user wrote; raises GraphError when a size is missing."""
    dims = as_dims(value)
    if dims is None or None in dims:
        raise GraphError(f"a fully known shape is needed, not {format_dims(dims)}")
    return tuple(n for n in dims if n is not None)
