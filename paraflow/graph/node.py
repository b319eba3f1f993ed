"""The two things a graph is made of: operations and the tensors that flow between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.context import Runner, session_or_default
from paraflow.graph.dtypes import DType
from paraflow.graph.shape import Spec, TensorShape, as_dims, format_dims, merge

if TYPE_CHECKING:
    from paraflow.graph.graph import Graph
    from paraflow.graph.record import OpRecord

# Filled by the records themselves (see record.op); operators look their operation up here by name.
records: dict[str, OpRecord] = {}


class Operation:
    """A node of a graph: one use of an op record, with its inputs and attributes.

    Operations are made by calling a record and never change afterwards. ``index`` is the position in the
    graph, so inputs always have smaller indices; ``source`` is the user's (file, line) that made it; ``device`` is
    where the author wants it to run; ``type`` is the name of the op record, e.g. ``"matmul"``.
    """

    __slots__ = (
        "attrs", "control_inputs", "device", "graph", "index", "inputs", "name", "outputs", "record", "source", "type"
    )  # fmt: skip

    def __init__(
        self,
        graph: Graph,
        index: int,
        name: str,
        record: OpRecord,
        inputs: tuple[Tensor, ...],
        attrs: Mapping[str, Any],
        control_inputs: tuple[Operation, ...],
        source: tuple[str, int] | None,
        specs: tuple[Spec, ...],
    ) -> None:
        self.graph = graph
        self.index = index
        self.name = name
        self.record = record
        self.type: str = record.name
        self.inputs = inputs
        self.attrs = attrs
        self.control_inputs = control_inputs
        self.source = source
        self.device = ""
        self.outputs = tuple([Tensor(self, i, spec) for i, spec in enumerate(specs)])

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables that it reads or writes."""
        if not (self.record.reads or self.record.writes):
            return ()
        several: tuple[str, ...] | None = self.attrs.get("variables")
        return (self.attrs["variable"],) if several is None else several

    def values(self) -> tuple[Tensor, ...]:
        """The outputs."""
        return self.outputs

    def get_attr(self, name: str) -> Any:
        """The attribute ``name`` of its record, a dtype, a number, a tuple; raises ValueError where it has none such.

        Attributes have the names of the record's arguments (``attrs`` has them all), not those of TensorFlow's kernels.
        """
        if name not in self.attrs:
            known = ", ".join(self.attrs) or "none"
            raise GraphError(f"{self.where()} has no attr named '{name}'; it has {known}")
        return self.attrs[name]

    @property
    def traceback(self) -> list[tuple[str, int, str, str | None]]:
        """Where it was made, as `traceback.format_list` takes it: the user's line, or nothing where it is not known."""
        return [] if self.source is None else [(*self.source, "<graph>", None)]

    def run(self, feed_dict: Mapping[Any, Any] | None = None, session: Runner | None = None) -> None:
        """Execute this operation in ``session`` or in the default session."""
        session_or_default(session, "Operation.run").run(self, feed_dict)

    def where(self) -> str:
        """The operation and the user's line that made it, for error messages."""
        place = f" (made at {self.source[0]}:{self.source[1]})" if self.source else ""
        return f"operation '{self.name}' of type {self.type}{place}"

    def __repr__(self) -> str:
        return f"<paraflow.Operation '{self.name}' type={self.type}>"


class Tensor:
    """One output of an operation: an array that exists only while a session runs.

    Comparison with ``==`` is identity, so tensors can be dictionary keys; use `equal` for the elementwise test.
    """

    __slots__ = ("index", "op", "spec")
    __array_priority__ = 100.0
    # numpy must hand `array + tensor` to Tensor.__radd__ instead of looping over the elements.
    __array_ufunc__ = None

    def __init__(self, op: Operation, index: int, spec: Spec) -> None:
        self.op = op
        self.index = index
        self.spec = spec

    @property
    def name(self) -> str:
        """``operation name:output index``."""
        return f"{self.op.name}:{self.index}"

    @property
    def value_index(self) -> int:
        """Which of the operation's outputs it is, the same as ``index``."""
        return self.index

    @property
    def graph(self) -> Graph:
        """The graph this tensor belongs to."""
        return self.op.graph

    @property
    def device(self) -> str:
        """The device that the author asked for, or nothing."""
        return self.op.device

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.spec.dtype

    def consumers(self) -> list[Operation]:
        """The operations of the graph that have this tensor as an input."""
        return [operation for operation in self.graph.operations if self in operation.inputs]

    @property
    def shape(self) -> TensorShape:
        """Static shape: what is known before running."""
        return TensorShape(self.spec.shape)

    def get_shape(self) -> TensorShape:
        """The same as ``shape``."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Add what the author knows about the shape; raises GraphError when it contradicts what is known."""
        self.spec = self.spec.reshaped(merge(self.spec.shape, as_dims(shape)))

    def eval(self, feed_dict: Mapping[Any, Any] | None = None, session: Runner | None = None) -> Any:
        """The value of this tensor in ``session`` or in the default session."""
        return session_or_default(session, "Tensor.eval").run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<paraflow.Tensor '{self.name}' shape={format_dims(self.spec.shape)} dtype={self.dtype.name}>"

    def __bool__(self) -> bool:
        raise TypeError(
            f"tensor '{self.name}' has no truth value while the graph is being built; "
            "run it in a session, or use paraflow.where"
        )

    def __iter__(self) -> Iterator[Tensor]:
        if self.spec.shape is None or not self.spec.shape or self.spec.shape[0] is None:
            raise TypeError(f"tensor '{self.name}' can be iterated only when its first size is known; use unstack")
        return (self[i] for i in range(self.spec.shape[0]))

    def __array__(self, *_: Any, **__: Any) -> np.ndarray[Any, Any]:
        raise TypeError(f"tensor '{self.name}' has no value yet: run it in a session instead of handing it to numpy")

    def __getitem__(self, key: Any) -> Tensor:
        return _apply("getitem", self, key)

    def __neg__(self) -> Tensor:
        return _apply("negative", self)

    def __abs__(self) -> Tensor:
        return _apply("abs", self)

    def __invert__(self) -> Tensor:
        return _apply("logical_not", self)

    def __add__(self, other: Any) -> Tensor:
        return _apply("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _apply("add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _apply("subtract", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _apply("truediv", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _apply("truediv", other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return _apply("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _apply("floordiv", other, self)

    def __mod__(self, other: Any) -> Tensor:
        return _apply("floormod", self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return _apply("floormod", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _apply("pow", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _apply("pow", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return _apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _apply("matmul", other, self)

    def __lt__(self, other: Any) -> Tensor:
        return _apply("less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return _apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _apply("greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _apply("greater_equal", self, other)

    def __and__(self, other: Any) -> Tensor:
        return _apply("logical_and", self, other)

    def __rand__(self, other: Any) -> Tensor:
        return _apply("logical_and", other, self)

    def __or__(self, other: Any) -> Tensor:
        return _apply("logical_or", self, other)

    def __ror__(self, other: Any) -> Tensor:
        return _apply("logical_or", other, self)

    def __xor__(self, other: Any) -> Tensor:
        return _apply("logical_xor", self, other)

    def __rxor__(self, other: Any) -> Tensor:
        return _apply("logical_xor", other, self)


def _apply(name: str, *operands: Any) -> Tensor:
    result: Tensor = operators[name](*operands)
    return result


# Python's operators, and methods of variables, by name; the ops layer, which stands above this one, fills it in
# (ops/__init__.py).
operators: dict[str, Any] = {}
