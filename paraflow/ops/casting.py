"""Changing dtypes: the casts with a name of their own, saturating casts, the bits of a tensor read as another dtype."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import (
    DType,
    as_dtype,
    complex64,
    complex128,
    float32,
    float64,
    int32,
    int64,
    is_integer,
    limits,
)
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Spec
from paraflow.ops.math import maximum, minimum
from paraflow.ops.sparse import cast


def to_float(x: Any, name: str = "ToFloat") -> Tensor:
    """``x`` as float32."""
    tensor: Tensor = cast(x, float32, name=name)
    return tensor


def to_double(x: Any, name: str = "ToDouble") -> Tensor:
    """``x`` as float64."""
    tensor: Tensor = cast(x, float64, name=name)
    return tensor


def to_int32(x: Any, name: str = "ToInt32") -> Tensor:
    """``x`` as int32."""
    tensor: Tensor = cast(x, int32, name=name)
    return tensor


def to_int64(x: Any, name: str = "ToInt64") -> Tensor:
    """``x`` as int64."""
    tensor: Tensor = cast(x, int64, name=name)
    return tensor


def to_complex64(x: Any, name: str = "ToComplex64") -> Tensor:
    """``x`` as complex64."""
    tensor: Tensor = cast(x, complex64, name=name)
    return tensor


def to_complex128(x: Any, name: str = "ToComplex128") -> Tensor:
    """``x`` as complex128."""
    tensor: Tensor = cast(x, complex128, name=name)
    return tensor


def to_bfloat16(x: Any, name: str = "ToBFloat16") -> Tensor:
    """``x`` as bfloat16."""
    tensor: Tensor = cast(x, as_dtype("bfloat16"), name=name)
    return tensor


def _bounds(dtype: DType) -> tuple[Any, Any]:
    found = limits(dtype)
    return found.min, found.max


def _inside(bound: Any, source: DType) -> Any:
    """The number of dtype ``source`` nearest to ``bound`` that does not lie outside it."""
    if is_integer(source):
        low, high = _bounds(source)
        return source.type(max(low, min(high, bound if abs(bound) < sys.float_info.max else int(bound))))
    with np.errstate(over="ignore"):
        number = source.type(bound)
    beyond = not np.isfinite(number) or abs(int(number)) > abs(int(bound))
    return np.nextafter(number, source.type(0)) if beyond else number


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """Elements converted to ``dtype``, those beyond its range to the nearest number in it."""
    x, target = convert(value), as_dtype(dtype)
    low, high = (_bounds(d) for d in (x.dtype, target))
    if low[0] < high[0]:
        x = maximum(x, _inside(high[0], x.dtype))
    if low[1] > high[1]:
        x = minimum(x, _inside(high[1], x.dtype))
    tensor: Tensor = cast(x, target, name=name or "saturate_cast")
    return tensor


@op(view=True)
def bitcast(input, type=None):
    """The bytes of ``input`` read as elements of ``type``.

    Larger elements are split along a new last axis; smaller ones are joined along the last axis, which goes.
    """
    ratio = input.dtype.itemsize / type.itemsize
    if ratio == 1:
        return input.view(type)
    if ratio > 1:
        return np.ascontiguousarray(input)[..., None].view(type)
    return np.ascontiguousarray(input).view(type)[..., 0]


@bitcast.shape
def _(input: Spec, type: Any) -> Spec:
    if type is None:
        raise GraphError("bitcast needs the type")
    old, new = input.dtype.itemsize, type.itemsize
    if input.shape is None or old == new:
        return Spec(type, input.shape)
    if old > new:
        return Spec(type, (*input.shape, old // new))
    if not input.shape or input.shape[-1] not in (new // old, None):
        raise GraphError(f"the last axis must have size {new // old} to be read as one {type.name}")
    return Spec(type, input.shape[:-1])


@bitcast.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None
