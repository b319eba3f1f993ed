"""Keeping values and norms within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Spec, broadcast, compatible, format_dims, merge
from paraflow.ops.array import cast, size, unbroadcast
from paraflow.ops.logic import greater, greater_equal, is_finite, less_equal, logical_and, logical_not, select
from paraflow.ops.math import add_n, divide, maximum, minimum, multiply, rsqrt, sqrt, square
from paraflow.ops.reduce import Axis, l2_loss, reduce_sum
from paraflow.ops.slices import IndexedSlices


@op(elementwise=True, dtypes="real")
def clip_by_value(t, clip_value_min, clip_value_max):
    """``t`` with elements above the maximum set to it, then those below the minimum set to that.

    The bounds broadcast to the shape of ``t``. The gradient reaches t within the bounds (both included), elsewhere
    the bound that took its place.
    """
    return np.maximum(np.minimum(t, clip_value_max), clip_value_min)


@clip_by_value.shape
def _(t: Spec, clip_value_min: Spec, clip_value_max: Spec) -> Spec:
    result = broadcast(t.shape, clip_value_min.shape, clip_value_max.shape)
    if not compatible(t.shape, result):
        raise GraphError(f"the bounds make the result {format_dims(result)}; they must broadcast to t")
    return Spec(t.dtype, merge(t.shape, result))


@clip_by_value.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    t, low, high = y.op.inputs
    below_high, above_low = less_equal(t, high), greater_equal(minimum(t, high), low)
    inside = select(logical_and(below_high, above_low), dy, 0)
    at_high = select(logical_and(logical_not(below_high), above_low), dy, 0)
    return inside, unbroadcast(select(above_low, 0, dy), low), unbroadcast(at_high, high)


def clip_by_norm(t: Any, clip_norm: Any, axes: Axis = None, name: str | None = None) -> Any:
    """``t`` scaled down to the L2 norm ``clip_norm`` where its norm over ``axes`` (None: all) is larger.

    Of `IndexedSlices` the values are scaled, by their own norm.
    """
    if isinstance(t, IndexedSlices):
        return t.with_values(clip_by_norm(t.values, clip_norm, axes, name))
    with name_scope(name or "clip_by_norm") as scope:
        t = convert(t)
        squares = reduce_sum(square(t), axes, keepdims=True)
        # The root of a zero norm has no derivative; the branch not chosen must not see it.
        positive = greater(squares, 0)
        norm = select(positive, sqrt(select(positive, squares, 1)), squares)
        clipped: Tensor = divide(t * clip_norm, maximum(norm, clip_norm), name=scope)
        return clipped


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """``t`` scaled down where its L2 norm by its number of elements is larger than ``clip_norm``, to that."""
    with name_scope(name or "clip_by_average_norm") as scope:
        x = convert(t)
        limit = convert(clip_norm, x.dtype)
        count = cast(size(x), x.dtype)
        inverse = count * rsqrt(reduce_sum(square(x)))
        clipped: Tensor = multiply(x * limit, minimum(inverse, 1 / limit), name=scope)
        return clipped


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """The L2 norm of all elements of a list of tensors taken together; entries of None are skipped.

    Of `IndexedSlices` it takes the values: rows of one index count one by one, unless they come from
    ``compute_gradients``, where each index comes once.
    """
    present = _present(t_list, "global_norm")
    with name_scope(name or "global_norm"):
        norm: Tensor = sqrt(add_n([l2_loss(t.values if isinstance(t, IndexedSlices) else t) for t in present]) * 2)
        return norm


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Tensor | IndexedSlices | None], Tensor]:
    """All tensors scaled by one factor so that their common L2 norm is at most ``clip_norm``; and that norm.

    ``use_norm`` is the norm where it is known already. Entries of None stay None. Where the norm is not finite
    every element becomes NaN, so that the fault cannot pass unseen. Pascanu, Mikolov & Bengio, "On the
    difficulty of training recurrent neural networks" (2013).
    """
    _present(t_list, "clip_by_global_norm")
    with name_scope(name or "clip_by_global_norm"):
        norm = global_norm(t_list) if use_norm is None else convert(use_norm)
        limit = convert(clip_norm, norm.dtype)
        factor = limit * minimum(1 / norm, 1 / limit)
        scale = select(is_finite(norm), factor, np.nan)
        return [None if t is None else _scaled(t, scale) for t in t_list], norm


def _scaled(t: Any, scale: Tensor) -> Tensor | IndexedSlices:
    if isinstance(t, IndexedSlices):
        return t.with_values(t.values * scale)
    scaled: Tensor = convert(t) * scale
    return scaled


def _present(t_list: Sequence[Any], what: str) -> list[Any]:
    if isinstance(t_list, Tensor) or not any(t is not None for t in t_list):
        raise InvalidArgumentError(f"{what} needs a list with at least one tensor, not {t_list!r}")
    return [t for t in t_list if t is not None]
