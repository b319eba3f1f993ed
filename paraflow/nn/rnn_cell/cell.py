"""What all recurrent cells have in common: their variables, the scope that these are in, and a state of zeros."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paraflow.control.structure import flatten, mapped
from paraflow.errors import GraphError, InvalidTypeError
from paraflow.graph.dtypes import as_dtype, float32
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import TensorShape
from paraflow.nn.layer import Regularizer, WithWeights
from paraflow.nn.variable_scope import get_variable, variable_scope
from paraflow.ops.array import size_along, zeros
from paraflow.ops.state import Variable


class RNNCell(WithWeights):
    """A step of a recurrent network: called with inputs [batch, ...] and a state it gives outputs and the next state.

    A cell of a program's own has ``state_size`` and ``output_size``: numbers, shapes, or nested lists, tuples and
    dictionaries of them, without the batch's axis. It defines ``call(inputs, state)``, which may make variables by
    `get_variable`, or by `add_weight` in ``build(inputs_shape)``, which comes before the first call; or it defines
    ``__call__(inputs, state, scope=None)``, which then does everything by itself.

    A cell keeps its variables: called again, wherever that is, it uses the same ones. They are in the scope in which it
    was first called, in one named ``name``, by default the name of the class as in ``basic_lstm_cell``, made unique.
    """

    # Set here, since a class of a program's own need not call __init__.
    trainable = True
    dtype: Any = None
    _reuse: bool | None = None

    def __init__(self, trainable: bool = True, name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        self.trainable = trainable
        self.dtype = None if dtype is None else as_dtype(dtype)
        self._given_name = name
        self._reuse = kwargs.pop("_reuse", None)
        if kwargs:
            raise TypeError(f"{type(self).__name__} has no argument {next(iter(kwargs))!r}{at_user_line()}")
        if self.dtype is not None and self.dtype.kind not in "fc":
            raise InvalidTypeError(f"recurrent cells are of floating point, not {self.dtype.name}{at_user_line()}")

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        """The outputs and the next state; see the class. ``scope`` names the cell's scope where it has none yet."""
        with self._scoped(scope):
            tensors, before = mapped(convert, inputs), mapped(convert, state)
            if not self.built:
                self.dtype = self.dtype or next((t.dtype for t in flatten(tensors) if t.dtype.kind in "fc"), None)
                self.build(mapped(lambda t: t.shape, tensors))
            output, after = self.call(tensors, before)
            self.built = True
            return output, after

    def build(self, inputs_shape: Any) -> None:
        """Make the variables, for inputs of this shape; a cell without variables need not have it."""

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """The outputs and the next state."""
        raise NotImplementedError(f"{type(self).__name__} has neither call nor __call__")

    @property
    def state_size(self) -> Any:
        """The sizes of the state, without the batch's axis."""
        raise NotImplementedError(f"{type(self).__name__} has no state_size")

    @property
    def output_size(self) -> Any:
        """The sizes of the outputs, without the batch's axis."""
        raise NotImplementedError(f"{type(self).__name__} has no output_size")

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """A state of zeros for a batch of this size, a number or an integer scalar tensor."""
        with name_scope(type(self).__name__ + "ZeroState"):
            return zeros_of(self.state_size, batch_size, dtype)

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        """`zero_state` for the batch of ``inputs`` [batch, ...], or of this size and dtype."""
        if inputs is not None:
            tensor = convert(inputs)
            batch_size, dtype = size_along(tensor, 0), tensor.dtype
        if batch_size is None or dtype is None:
            raise GraphError(f"get_initial_state needs inputs, or batch_size and dtype{at_user_line()}")
        return self.zero_state(batch_size, dtype)

    def add_weight(
        self, name: str, shape: Any, dtype: Any = None, initializer: Any = None, regularizer: Regularizer | None = None,
        trainable: bool | None = None, constraint: Any = None,
    ) -> Variable:  # fmt: skip
        """The variable of this name, made by `get_variable` in the cell's scope.

        Its dtype is by default that of the cell, which is that of the first inputs of floating point.
        """
        with self._scoped(None):
            return get_variable(
                name, shape, dtype or self.dtype or float32, initializer, regularizer,
                self.trainable if trainable is None else trainable and self.trainable, constraint=constraint,
            )  # fmt: skip

    add_variable = add_weight

    @property
    def variables(self) -> list[Variable]:
        """The variables that the cell has made so far."""
        kept: list[Variable] = self.__dict__.setdefault("_variables", [])
        return list(kept)

    @property
    def weights(self) -> list[Variable]:
        """The same as ``variables``."""
        return self.variables

    @property
    def trainable_variables(self) -> list[Variable]:
        """Those of them that optimizers change."""
        return [v for v in self.variables if v.trainable]

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """Those of them that optimizers do not change."""
        return [v for v in self.variables if not v.trainable]

    trainable_weights = trainable_variables
    non_trainable_weights = non_trainable_variables

    @property
    def scope_name(self) -> str:
        """The name of the scope of the variables; raises ValueError before the first call."""
        if self._scope is None:
            raise GraphError(f"{type(self).__name__} has no scope before it is called{at_user_line()}")
        return self._scope.name

    def _noting(self, getter: Any, *args: Any, **kwargs: Any) -> Variable:
        """A custom getter, which notes the variables of the cell."""
        variable: Variable = getter(*args, **kwargs)
        kept = self.__dict__.setdefault("_variables", [])
        if not any(variable is v for v in kept):
            kept.append(variable)
        return variable

    @contextmanager
    def _scoped(self, scope: Any) -> Iterator[None]:
        """Open the scope of the cell, which is where it was first called."""
        if self._scope is None:
            given = self._base_name if scope is None and self._reuse else scope
            with variable_scope(given, self._base_name, custom_getter=self._noting) as own:
                self._scope = own
        reuse = True if self.built else self._reuse
        inside = variable_scope(self._scope, reuse=reuse, auxiliary_name_scope=False)
        with inside, name_scope(self._scope.original_name_scope):
            yield


def zeros_of(sizes: Any, batch_size: Any, dtype: Any) -> Any:
    """Zeros [batch_size, *size] for each of the nested ``sizes``."""

    def one(size: Any) -> Tensor:
        rest = size.as_list() if isinstance(size, TensorShape) else [size]
        return zeros([batch_size, *rest], dtype)

    return mapped(one, sizes)


def depth_of(shape: TensorShape, cell: RNNCell) -> int:
    """The size of the last axis of a cell's inputs; raises GraphError where it is not known."""
    depth = shape.as_list()[-1] if shape.ndims else None
    if shape.ndims != 2 or depth is None:
        raise GraphError(
            f"{type(cell).__name__} takes inputs [batch, n] of a known n, not {shape}{at_user_line()}"
        )
    return depth


def check_like_cell(what: str, cell: Any) -> None:
    """Raise TypeError unless ``cell``, the argument ``what``, is called and has sizes as cells have."""
    lacking = [name for name in ("output_size", "state_size", "zero_state") if not hasattr(type(cell), name)
               and name not in getattr(cell, "__dict__", {})]  # fmt: skip
    if not callable(cell) or lacking:
        wrong = f"has no {' and no '.join(lacking)}" if lacking else "cannot be called"
        raise TypeError(f"{what} is an RNNCell, but {cell!r} {wrong}{at_user_line()}")
