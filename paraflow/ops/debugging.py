"""What finds errors: numbers that are not finite, things that are no tensors, variables without value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.graph.dtypes import DType, as_dtype, float32, is_floating
from paraflow.graph.graph import control_dependencies, get_default_graph, name_scope
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec
from paraflow.ops.array import convert_to_tensor, group, identity
from paraflow.ops.slices import IndexedSlices
from paraflow.ops.state import GraphKeys, Variable


@op(effect=True, dtypes="float")
def check_numerics(tensor, message="", name=None):
    """The tensor; raises InvalidArgumentError with ``message`` where an element is NaN or infinite."""
    found = [what for what, bad in (("Inf", np.isinf), ("NaN", np.isnan)) if bad(tensor).any()]
    if found:
        raise InvalidArgumentError(f"{message} : Tensor had {' and '.join(found)} values")
    return np.array(tensor)


@check_numerics.shape
def _(tensor: Spec, message: str) -> Spec:
    return Spec(tensor.dtype, tensor.shape)


@check_numerics.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    said = y.op.attrs["message"]
    checked: Tensor = check_numerics(dy, f"Not a number (NaN) or infinity (Inf) values detected in gradient. {said}")
    return checked


def verify_tensor_all_finite(
    t: Any = None, msg: str | None = None, name: str | None = None, x: Any = None, message: str | None = None
) -> Tensor:
    """``x`` (or ``t``); a run fails with ``message`` (or ``msg``) where an element is NaN or infinite."""
    value, said = t if x is None else x, msg if message is None else message
    if value is None or said is None:
        raise TypeError(f"verify_tensor_all_finite needs a tensor and a message{at_user_line()}")
    with name_scope(name or "VerifyFinite"):
        tensor = convert(value)
        with control_dependencies([check_numerics(tensor, said)]):
            checked: Tensor = identity(tensor)
            return checked


def add_check_numerics_ops() -> Operation:
    """An operation that checks every floating point tensor of the default graph, one after the other.

    The error names the first tensor that is not finite. All placeholders have to be fed.
    """
    checks: list[Any] = []
    for operation in get_default_graph().get_operations():
        for tensor in (t for t in operation.outputs if is_floating(t.dtype)):
            with control_dependencies(checks[-1:]):
                checks.append(check_numerics(tensor, tensor.name))
    operation = group(*checks)
    assert isinstance(operation, Operation)
    return operation


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a tensor, a variable or IndexedSlices."""
    return isinstance(x, (Tensor, Variable, IndexedSlices))


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether ``tensor`` is a tensor of numbers."""
    return isinstance(tensor, Tensor) and tensor.dtype.kind in "iufc"


def assert_proper_iterable(values: Any) -> None:
    """Raise TypeError for a tensor, an array, a string, or what cannot be iterated: something else is expected."""
    if is_tensor(values) or isinstance(values, (np.ndarray, bytes, str)):
        raise TypeError(f"Expected argument 'values' to be a 'proper' iterable.  Found: {type(values)}")
    if not isinstance(values, Iterable):
        raise TypeError(f"Expected argument 'values' to be iterable.  Found: {type(values)}")


def assert_same_float_dtype(tensors: Sequence[Any] | None = None, dtype: Any = None) -> DType:
    """The one dtype of ``tensors`` and ``dtype``, by default float32.

    Raises ValueError where they differ, or it is not floating point.
    """
    found = None if dtype is None else as_dtype(dtype)
    for tensor in (t for t in tensors or () if t is not None):
        found = found or tensor.dtype
        if tensor.dtype != found:
            raise InvalidArgumentError(f"{tensor!r} must be of type {found.name}{at_user_line()}")
    found = found or float32
    if not is_floating(found):
        raise InvalidArgumentError(f"Expected floating point type, got {found.name}{at_user_line()}")
    return found


def assert_variables_initialized(var_list: Sequence[Variable] | None = None) -> Operation:
    """An operation that raises FailedPreconditionError where one of the variables has no value.

    By default all global and local variables.
    """
    if var_list is None:
        keys = GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES
        var_list = [v for key in keys for v in get_default_graph().get_collection(key)]
    operation = group(*(variable.read_value() for variable in var_list), name="assert_variables_initialized")
    assert isinstance(operation, Operation)
    return operation


def get_static_value(tensor: Any, partial: bool = False) -> np.ndarray[Any, Any] | None:
    """The value of a tensor where it is known while the graph is built, else None.

    It is for constants, and for arithmetic on few integers. ``partial`` changes nothing.
    """
    value = convert(tensor).spec.value
    return None if value is None else np.array(value)


def convert_to_tensor_or_indexed_slices(value: Any, dtype: Any = None, name: str | None = None) -> Any:
    """``value`` where it is IndexedSlices, else as a tensor."""
    if isinstance(value, IndexedSlices):
        return value
    return convert_to_tensor(value, dtype, name or "Const")


class AggregationMethod:
    """How gradients would be added up, for `Optimizer.minimize`, where it changes nothing."""

    ADD_N = 0
    DEFAULT = ADD_N
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2
