"""Complex numbers and their parts.

Gradients are TensorFlow's: that of a real loss L at z = x + iy is dL/dx + i dL/dy. So a holomorphic function passes on
the cotangent times the conjugate of its derivative, which `autodiff.gradients` does for every operation; the rules of
those that are not holomorphic (``holomorphic=False``) see to conjugates themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import InvalidTypeError
from paraflow.graph.dtypes import DType, is_complex, real_dtype
from paraflow.graph.node import Tensor
from paraflow.graph.record import OpRecord, convert, op
from paraflow.graph.shape import Spec, broadcast
from paraflow.ops.array import unbroadcast, zeros_like


def _part(input: Spec) -> Spec:
    return Spec(real_dtype(input.dtype), input.shape)


@op(elementwise=True, dtypes="numeric", holomorphic=False)
def real(input):
    """The real part; of real numbers themselves."""
    return np.array(np.real(input))


@op(elementwise=True, dtypes="numeric", holomorphic=False)
def imag(input):
    """The imaginary part; of real numbers 0."""
    return np.array(np.imag(input))


@op(elementwise=True, dtypes="float or complex", holomorphic=False)
def angle(input):
    """The angle in (-pi, pi] of a complex number in its plane; of real numbers 0 or pi."""
    return np.angle(input).astype(real_dtype(input.dtype), copy=False)


for _record in (real, imag, angle):
    _record.shape(_part)


@real.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return complex(dy, zeros_like(dy)) if is_complex(y.op.inputs[0].dtype) else dy


@imag.gradient
def _(y: Tensor, dy: Tensor) -> Tensor | None:
    return complex(zeros_like(dy), dy) if is_complex(y.op.inputs[0].dtype) else None


@angle.gradient
def _(y: Tensor, dy: Tensor) -> Tensor | None:
    x = y.op.inputs[0]
    return complex(zeros_like(dy), dy) / conj(x) if is_complex(x.dtype) else None


@op(elementwise=True, dtypes="numeric", holomorphic=False)
def conj(x):
    """The complex conjugate; of real numbers themselves."""
    return np.conjugate(x)


@conj.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return conj(dy)


def dual(x: Any) -> Tensor:
    """The conjugate of a tensor of complex numbers, others as they are; no operation where ``x`` is a conjugate."""
    tensor = convert(x)
    if not is_complex(tensor.dtype):
        return tensor
    if tensor.op.record is conj:
        return tensor.op.inputs[0]
    conjugate: Tensor = conj(tensor)
    return conjugate


def cotangents_by(
    record: OpRecord, outputs: Sequence[Tensor], totals: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """What the gradient rule of ``record`` makes of the cotangents ``totals`` of ``outputs``, input by input."""
    rule = record.gradient_rule
    assert rule is not None
    conjugated = record.holomorphic and any(is_complex(t.dtype) for t in outputs)
    if conjugated:
        totals = [None if total is None else dual(total) for total in totals]
    found = rule(outputs[0], totals[0]) if len(outputs) == 1 else rule(outputs, tuple(totals))
    results: tuple[Tensor | None, ...] = found if isinstance(found, tuple) else (found,)
    if conjugated:
        results = tuple(None if cotangent is None else dual(cotangent) for cotangent in results)
    return results


@op(elementwise=True, dtypes="float", holomorphic=False)
def complex(real, imag):
    """The complex numbers with these parts: complex64 of float32, complex128 of float64."""
    result = np.empty(np.broadcast_shapes(np.shape(real), np.shape(imag)), _whole_dtype(real.dtype))
    result.real, result.imag = real, imag
    return result


def _whole_dtype(part: DType) -> DType:
    if part.itemsize < 4:
        raise InvalidTypeError(f"there are no complex numbers of {part.name}; use cast")
    return np.dtype(f"complex{part.itemsize * 16}")


@complex.shape
def _(real: Spec, imag: Spec) -> Spec:
    return Spec(_whole_dtype(real.dtype), broadcast(real.shape, imag.shape))


@complex.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    re, im = y.op.inputs
    return unbroadcast(real(dy), re), unbroadcast(imag(dy), im)
