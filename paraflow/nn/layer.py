"""The base of layers: objects that make their variables when they are first used, and share them ever after."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import DType, as_dtype, float32
from paraflow.graph.graph import Graph, get_default_graph, name_scope
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import Dims, TensorShape, format_dims
from paraflow.nn.variable_scope import Reuse, VariableScope, get_variable, variable_scope
from paraflow.ops.array import make_placeholder
from paraflow.ops.nn import bias_add
from paraflow.ops.state import GraphKeys, Variable

# What layers and cells take: a function or a name, see `as_activation`.
Activation = Callable[[Tensor], Tensor] | str
Regularizer = Callable[[Any], Any]
Constraint = Callable[[Any], Any]


class WithWeights:
    """What layers and recurrent cells do with their ``weights``, whose values are those of a session."""

    # Set here, since a class of a program's own need not call __init__.
    built = False
    _given_name: str | None = None
    _scope: VariableScope | None = None

    @property
    def _base_name(self) -> str:
        """The name given, or that of the class as in ``conv2d_transpose``."""
        return self._given_name or _snake_case(type(self).__name__)

    @property
    def name(self) -> str:
        """The name given, else the last part of the scope's; before the first use the class's."""
        if self._given_name is not None or self._scope is None:
            return self._base_name
        return self._scope.name.rpartition("/")[2]

    @property
    def weights(self) -> list[Variable]:
        """All its variables."""
        raise NotImplementedError

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """The values of ``weights`` in the default session; raises ValueError where there is none."""
        return [variable.eval() for variable in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Give ``weights`` these values in the default session; raises ValueError where their number or shapes differ.

        Nothing changes then.
        """
        variables, arrays = self.weights, [np.asarray(array) for array in weights]
        shapes = [variable.spec.shape for variable in variables]
        if shapes != [array.shape for array in arrays]:
            given = ", ".join(str(array.shape) for array in arrays) or "nothing"
            needed = ", ".join(map(str, shapes)) or "nothing"
            raise GraphError(f"layer '{self.name}' has weights of shapes {needed}, and was given {given}")
        for variable, array in zip(variables, arrays, strict=True):
            variable.load(array)

    def count_params(self) -> int:
        """The number of elements of its variables; raises ValueError before the first use."""
        if not self.built:
            raise GraphError(f"layer '{self.name}' has no variables before it is used{at_user_line()}")
        return sum(variable.shape.num_elements() or 0 for variable in self.weights)


class Layer(WithWeights):
    """A function of tensors with variables of its own, as TensorFlow 1's ``tf.layers.Layer``.

    A subclass makes variables in ``build(input_shape)`` with `add_weight`, and graph in ``call(inputs, ...)``. A layer
    is used by calling it: the first call builds it, all others share the variables, which are called ``NAME/...``.
    NAME is the ``name`` given, or the class's, made unique in the open variable scope. ``dtype`` is that of its
    variables, by default the inputs'. What ``activity_regularizer``, a function of the outputs, returns joins the
    collection of regularisation losses.
    """

    _makes_variables: ClassVar[bool] = True

    def __init__(
        self,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        *,
        activity_regularizer: Regularizer | None = None,
        _scope: str | VariableScope | None = None,
        _reuse: Reuse = None,
    ) -> None:
        self.trainable = trainable
        self.built = False
        self.activity_regularizer = activity_regularizer
        self.updates: list[Operation] = []
        self._dtype = None if dtype is None else as_dtype(dtype)
        self._given_name = name
        self._asked_for = _scope
        self._reuse = _reuse
        self._scope: VariableScope | None = None
        self._first_inputs: Tensor | None = None
        self._variables: list[tuple[Variable, bool]] = []  # with whether it is trained
        self._losses: list[Any] = []

    def build(self, input_shape: TensorShape) -> None:
        """Make the variables, for inputs of that shape."""

    def call(self, inputs: Tensor) -> Any:
        """The outputs for ``inputs``."""
        return inputs

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs for ``inputs``, a tensor or what becomes one; further arguments are those of ``call``."""
        x = convert(inputs)
        with x.graph.as_default(), self._inside():
            if not self.built:
                self._dtype = self._dtype or x.dtype
                self._first_inputs = x
                self.build(x.shape)
                self.built = True
            outputs = self.call(x, *args, **kwargs)
            self._regularise(outputs)
        return outputs

    apply = __call__

    @contextmanager
    def _inside(self) -> Any:
        """The variable scope and the name scope of this layer, which are found at its first use."""
        if self._scope is None:
            with variable_scope(self._asked_for, default_name=self._base_name, reuse=self._reuse) as scope:
                self._scope = scope
                yield
            return
        with (
            variable_scope(self._scope, reuse=self.built or self._reuse, auxiliary_name_scope=False),
            name_scope(self._scope.original_name_scope),
        ):
            yield

    def _regularise(self, outputs: Any) -> None:
        loss = None if self.activity_regularizer is None else self.activity_regularizer(outputs)
        if loss is not None:
            self.add_loss(loss)

    def _unfit(self, needed: str, dims: Dims) -> GraphError:
        """The error that inputs of the shape ``dims`` are not what is ``needed``."""
        what = "inputs" if self._first_inputs is None else self._first_inputs.op.where()
        return GraphError(f"{self.name} needs inputs {needed}, not {format_dims(dims)}: give {what} a shape")

    def add_weight(
        self,
        name: str,
        shape: Sequence[int] | TensorShape,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Regularizer | None = None,
        trainable: bool | None = None,
        constraint: Constraint | None = None,
    ) -> Variable:
        """The variable NAME/``name`` of this layer, by `get_variable`; trained if the layer is, unless it says not."""
        trained = trainable is not False and self.trainable
        chosen = (self._dtype or float32) if dtype is None else as_dtype(dtype)
        collection = get_default_graph().get_collection_ref(GraphKeys.REGULARIZATION_LOSSES)
        before = len(collection)
        variable = get_variable(name, shape, chosen, initializer, regularizer, trained, constraint=constraint)
        self._losses += collection[before:]
        self._variables.append((variable, trained))
        return variable

    add_variable = add_weight

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Add one loss or several to those of the layer, and to the collection of regularisation losses.

        ``inputs``, which they depend on, change nothing here.
        """
        for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
            self._losses.append(loss)
            get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)

    def add_update(self, updates: Any) -> None:
        """Add operations that training has to run: to ``updates``, and to the collection UPDATE_OPS."""
        for update in updates if isinstance(updates, (list, tuple)) else [updates]:
            self.updates.append(update)
            get_default_graph().add_to_collection(GraphKeys.UPDATE_OPS, update)

    @property
    def scope_name(self) -> str:
        """The name of the variable scope; raises ValueError before the first use."""
        if self._scope is None:
            raise GraphError(f"layer '{self.name}' has no scope before it is used{at_user_line()}")
        return self._scope.name

    @property
    def dtype(self) -> DType | None:
        """The dtype of its variables, None where it is not known yet."""
        return self._dtype

    @property
    def losses(self) -> list[Any]:
        """What its regularizers have returned."""
        return list(self._losses)

    @property
    def weights(self) -> list[Variable]:
        """All its variables, trained ones first."""
        return self.trainable_weights + self.non_trainable_weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The variables that are trained."""
        return [variable for variable, trained in self._variables if trained]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The variables that are not trained, averages say."""
        return [variable for variable, trained in self._variables if not trained]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """The shape of the outputs for inputs of ``input_shape``, as far as it is known; makes no variables.

        Raises ValueError where the layer cannot take such inputs.
        """
        other = copy.copy(self)
        other.built, other._scope, other._asked_for, other._reuse = False, None, None, None
        other._variables, other._losses, other.updates = [], [], []
        with Graph().as_default():
            outputs: Tensor = other(make_placeholder(self._dtype or float32, input_shape))
            return outputs.shape

    def __repr__(self) -> str:
        return f"<paraflow.layers.{type(self).__name__} '{self.name}'>"


def finished(
    y: Tensor, bias: Variable | None, activation: Callable[[Tensor], Tensor] | None, data_format: str = "NHWC"
) -> Tensor:
    """activation(y + bias), as far as there are any."""
    y = y if bias is None else bias_add(y, bias, data_format)
    return y if activation is None else activation(y)


def as_function(layer: type[Layer], doc: str) -> Callable[..., Any]:
    """The function of that layer's name: makes a layer and uses it once.

    It takes the inputs, the arguments of the class, those of its ``call`` before ``trainable`` or ``name``, and, for a
    layer with variables, ``reuse``: whether those of an earlier layer of this ``name`` are shared.
    """
    name = _snake_case(layer.__name__)
    own = [p for p in _parameters(layer.__init__) if p.kind is not p.VAR_KEYWORD]
    called = _parameters(layer.call)[1:]
    place = next(i for i, p in enumerate(own) if p.name in ("trainable", "name"))
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    reuse = [inspect.Parameter("reuse", either, default=None)] if layer._makes_variables else []
    inputs = inspect.Parameter("inputs", either)
    kind = own[place].kind
    parameters = [inputs, *own[:place], *(p.replace(kind=kind) for p in called), *own[place:]]
    keyword_only = any(p.kind is p.KEYWORD_ONLY for p in parameters)
    parameters += [p.replace(kind=p.KEYWORD_ONLY) if keyword_only else p for p in reuse]
    signature = inspect.Signature(parameters)
    late = {p.name for p in called}

    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{name}(): {error}{at_user_line()}") from None
        x = given.pop("inputs")
        call = {key: given.pop(key) for key in late & given.keys()}
        scope = given.get("name") if layer._makes_variables else None
        options = {"_scope": scope, "_reuse": given.pop("reuse", None)}
        return layer(**given, **options).apply(x, **call)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _parameters(method: Any) -> list[inspect.Parameter]:
    """The parameters of a method, without ``self``."""
    return list(inspect.signature(method).parameters.values())[1:]


def _snake_case(name: str) -> str:
    """``Conv2DTranspose`` as ``conv2d_transpose``; no name begins with a ``_``."""
    apart = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    snake = re.sub("([a-z])([A-Z])", r"\1_\2", apart).lower()
    return f"private{snake}" if snake.startswith("_") else snake
