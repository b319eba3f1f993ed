"""Reductions over one axis, several or all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Dims, Spec, normal_axes
from paraflow.ops.array import broadcast_to, cast, known_shape, reshape, size


def reduced_dims(shape: Dims, axis: Any, keepdims: bool) -> Dims:
    """The shape after reducing ``axis`` (None: all axes)."""
    if shape is None:
        return () if axis is None and not keepdims else None
    axes = normal_axes(axis, len(shape))
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def same_dtype(x: Spec, axis: Any, keepdims: bool) -> Spec:
    """Shape rule of reductions that keep the dtype."""
    return Spec(x.dtype, reduced_dims(x.shape, axis, keepdims))


@op(same=(), shape_only=True)
def kept_shape(x, axis=None):
    """The shape of ``x`` with size 1 along the reduced axes, an int32 vector."""
    axes = normal_axes(axis, np.ndim(x))
    return np.array([1 if i in axes else n for i, n in enumerate(np.shape(x))], np.int32)


@kept_shape.shape
def _(x: Spec, axis: Any) -> Spec:
    kept = reduced_dims(x.shape, axis, True)
    value = np.array(kept, np.int32) if x.static else None
    return Spec(np.dtype("int32"), (None if kept is None else len(kept),), value)


def spread(t: Tensor, x: Tensor, axis: Any) -> Tensor:
    """Undo a reduction's shape: ``t`` repeated along the reduced axes until it has the shape of ``x``."""
    return broadcast_to(reshape(t, kept_shape(x, axis=axis)), known_shape(x))


@op(dtypes="numeric")
def reduce_sum(input_tensor, axis=None, keepdims=False):
    """The sum over ``axis``, in the tensor's own dtype."""
    return np.sum(input_tensor, axis=axis, keepdims=keepdims, dtype=input_tensor.dtype)


reduce_sum.shape(same_dtype)


@reduce_sum.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return spread(dy, y.op.inputs[0], y.op.attrs["axis"])


@op(dtypes="float")
def reduce_mean(input_tensor, axis=None, keepdims=False):
    """The mean over ``axis``; NaN over no elements."""
    return np.mean(input_tensor, axis=axis, keepdims=keepdims, dtype=input_tensor.dtype)


reduce_mean.shape(same_dtype)


@reduce_mean.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x = y.op.inputs[0]
    ratio = cast(size(x), dtype=y.dtype) / cast(size(y), dtype=y.dtype)
    return spread(dy / ratio, x, y.op.attrs["axis"])
