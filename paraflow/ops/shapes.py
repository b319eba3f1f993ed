"""Shapes that are required, broadcast or asked for of several tensors, and several tensors as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import int32
from paraflow.graph.node import Tensor
from paraflow.graph.partial import sizes_spec
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, TensorShape, as_dims, broadcast, compatible, format_dims, merge
from paraflow.ops.array import identity, shape, vector_entries


@op(view=True)
def require_shape(x, dims=None):
    """The tensor itself; raises InvalidArgumentError unless its shape fits ``dims``."""
    if not compatible(x.shape, dims):
        raise InvalidArgumentError(f"ensure_shape: the tensor has shape {x.shape}, not {format_dims(dims)}")
    return x


@require_shape.shape
def _(x: Spec, dims: Dims) -> Spec:
    return x.reshaped(merge(x.shape, dims))


@require_shape.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """``x``, of which ``shape`` (None for a size that is open) is known from here on.

    Raises GraphError where it cannot be, InvalidArgumentError when a run finds another shape.
    """
    tensor: Tensor = require_shape(x, as_dims(shape), name=name or "ensure_shape")
    return tensor


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The shape of an elementwise result for two static shapes; raises GraphError when there is none."""
    return TensorShape(broadcast(as_dims(shape_x), as_dims(shape_y)))


@op(dtypes="int")
def broadcast_dynamic_shape(shape_x, shape_y):
    """The shape of an elementwise result for two shapes given as integer vectors."""
    try:
        return np.array(np.broadcast_shapes(tuple(shape_x), tuple(shape_y)), shape_x.dtype)
    except ValueError as error:
        raise InvalidArgumentError(f"broadcast_dynamic_shape: {error}") from None


@broadcast_dynamic_shape.shape
def _(shape_x: Spec, shape_y: Spec) -> Spec:
    return sizes_spec(shape_x.dtype, broadcast(vector_entries(shape_x), vector_entries(shape_y)))


def shape_n(input: Sequence[Any], out_type: Any = int32, name: str | None = None) -> list[Tensor]:
    """The shapes of several tensors."""
    return [shape(x, name=name, out_type=out_type) for x in input]


def identity_n(input: Sequence[Any], name: str | None = None) -> list[Tensor]:
    """Several tensors as they are, as new nodes."""
    if isinstance(input, Tensor) or not input:
        raise GraphError(f"identity_n needs a list of tensors, not {input!r}{at_user_line()}")
    return [identity(convert(x), name=name or "IdentityN") for x in input]
