"""Comparisons, Boolean logic, tests on floating-point values, and choosing by a condition."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidTypeError
from paraflow.graph.dtypes import is_bool
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Spec, broadcast
from paraflow.ops.array import reshape, unbroadcast


@op(elementwise=True, result="bool")
def equal(x, y):
    """Whether x == y; NaN equals nothing."""
    return np.equal(x, y)


@op(elementwise=True, result="bool")
def not_equal(x, y):
    """Whether x != y."""
    return np.not_equal(x, y)


@op(elementwise=True, dtypes="real", result="bool")
def less(x, y):
    """Whether x < y."""
    return np.less(x, y)


@op(elementwise=True, dtypes="real", result="bool")
def less_equal(x, y):
    """Whether x <= y."""
    return np.less_equal(x, y)


@op(elementwise=True, dtypes="real", result="bool")
def greater(x, y):
    """Whether x > y."""
    return np.greater(x, y)


@op(elementwise=True, dtypes="real", result="bool")
def greater_equal(x, y):
    """Whether x >= y."""
    return np.greater_equal(x, y)


@op(elementwise=True, dtypes="bool")
def logical_and(x, y):
    """Whether both hold."""
    return np.logical_and(x, y)


@op(elementwise=True, dtypes="bool")
def logical_or(x, y):
    """Whether at least one holds."""
    return np.logical_or(x, y)


@op(elementwise=True, dtypes="bool")
def logical_xor(x, y):
    """Whether exactly one holds."""
    return np.logical_xor(x, y)


@op(elementwise=True, dtypes="bool")
def logical_not(x):
    """Whether x does not hold."""
    return np.logical_not(x)


@op(elementwise=True, dtypes="float", result="bool")
def is_nan(x):
    """Whether x is not a number."""
    return np.isnan(x)


@op(elementwise=True, dtypes="float", result="bool")
def is_inf(x):
    """Whether x is plus or minus infinity."""
    return np.isinf(x)


@op(elementwise=True, dtypes="float", result="bool")
def is_finite(x):
    """Whether x is neither infinite nor NaN."""
    return np.isfinite(x)


@op(elementwise=True, same=(1, 2))
def select(condition, x, y):
    """x where the condition holds, else y, elementwise with broadcasting."""
    return np.where(condition, x, y)


@select.shape
def _(condition: Spec, x: Spec, y: Spec) -> Spec:
    need_bool(condition)
    return Spec(x.dtype, broadcast(condition.shape, x.shape, y.shape))


@select.gradient
def _(z: Tensor, dz: Tensor) -> tuple[None, Tensor, Tensor]:
    condition, x, y = z.op.inputs
    return None, unbroadcast(select(condition, dz, 0), x), unbroadcast(select(condition, 0, dz), y)


@op
def true_indices(condition):
    """The indices of the elements that hold, or are not 0, in row-major order: int64 [number of them, rank]."""
    return np.argwhere(condition)


@true_indices.shape
def _(condition: Spec) -> Spec:
    return Spec(np.dtype("int64"), (None, condition.rank))


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """``x`` where ``condition`` holds, else ``y``; without them, the indices where it holds, or is not 0.

    Indices are int64 [count, rank].

    ``condition``, ``x`` and ``y`` broadcast, except that a vector chooses whole rows of tensors of higher rank, as in
    TensorFlow 1. No gradient passes the branch that was not chosen, not even a NaN. Raises GraphError when
    one of ``x`` and ``y`` is missing, or when unknown ranks leave open whether a vector chooses rows.
    """
    chooser = convert(condition)
    if x is None and y is None:
        indices: Tensor = true_indices(chooser, name=name)
        return indices
    if x is None or y is None:
        raise GraphError("where needs both x and y, or neither of them")
    typed = next((v for v in (x, y) if hasattr(v, "dtype")), None)
    dtype = None if typed is None else typed.dtype
    x, y = convert(x, dtype), convert(y, dtype)
    rank = None if x.spec.rank is None or y.spec.rank is None else max(x.spec.rank, y.spec.rank)
    of_rows = chooser.spec.rank in (None, 1) and (rank is None or rank > 1)
    if of_rows and (rank is None or chooser.spec.rank is None):
        raise GraphError(
            f"where: the ranks of the condition ({chooser.name}) and of x and y ({x.name}, {y.name}) must be known, "
            "because a vector chooses rows; give them with set_shape"
        )
    if of_rows and rank is not None:
        chooser = reshape(chooser, [-1] + [1] * (rank - 1))
    chosen: Tensor = select(chooser, x, y, name=name)
    return chosen


def where_v2(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """`where`, but ``condition``, ``x`` and ``y`` always broadcast: a vector chooses elements of the last axis."""
    if x is None and y is None:
        return where(condition, name=name)
    if x is None or y is None:
        raise GraphError("where_v2 needs both x and y, or neither of them")
    typed = next((v for v in (x, y) if hasattr(v, "dtype")), None)
    dtype = None if typed is None else typed.dtype
    chosen: Tensor = select(condition, convert(x, dtype), convert(y, dtype), name=name or "where")
    return chosen


def need_bool(condition: Spec) -> None:
    """Refuse a condition of another dtype; raises GraphError."""
    if not is_bool(condition.dtype):
        raise InvalidTypeError(f"the condition must be bool, not {condition.dtype.name}; compare it with something")
