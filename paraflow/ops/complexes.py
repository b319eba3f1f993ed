"""Complex numbers and their parts. Complex tensors are values only: no gradient passes through them."""

from __future__ import annotations

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import DType
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, broadcast
from paraflow.ops.math import real_dtype


def _part(input: Spec) -> Spec:
    return Spec(real_dtype(input.dtype), input.shape)


@op(elementwise=True, dtypes="numeric")
def real(input):
    """The real part; of real numbers themselves."""
    return np.array(np.real(input))


@op(elementwise=True, dtypes="numeric")
def imag(input):
    """The imaginary part; of real numbers 0."""
    return np.array(np.imag(input))


@op(elementwise=True, dtypes="float or complex")
def angle(input):
    """The angle in (-pi, pi] of a complex number in its plane; of real numbers 0 or pi."""
    return np.angle(input).astype(real_dtype(input.dtype), copy=False)


for _record in (real, imag, angle):
    _record.shape(_part)


@real.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy


@imag.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


@angle.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


@op(elementwise=True, dtypes="numeric")
def conj(x):
    """The complex conjugate; of real numbers themselves."""
    return np.conjugate(x)


@conj.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy


@op(elementwise=True, dtypes="float")
def complex(real, imag):
    """The complex numbers with these parts: complex64 of float32, complex128 of float64."""
    result = np.empty(np.broadcast_shapes(np.shape(real), np.shape(imag)), _whole_dtype(real.dtype))
    result.real, result.imag = real, imag
    return result


def _whole_dtype(part: DType) -> DType:
    if part.itemsize < 4:
        raise GraphError(f"there are no complex numbers of {part.name}; use cast")
    return np.dtype(f"complex{part.itemsize * 16}")


@complex.shape
def _(real: Spec, imag: Spec) -> Spec:
    return Spec(_whole_dtype(real.dtype), broadcast(real.shape, imag.shape))
