"""Exponentials, logarithms, trigonometric and hyperbolic functions, and those built on them, elementwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.ops.array import cast, unbroadcast
from paraflow.ops.error_function import erf_of, erfc_of
from paraflow.ops.logic import not_equal
from paraflow.ops.math import abs as magnitude
from paraflow.ops.math import negative, rsqrt, square


@op(elementwise=True, dtypes="float or complex")
def exp(x):
    """e to the power x."""
    return np.exp(x)


@exp.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * y


@op(elementwise=True, dtypes="float or complex")
def expm1(x):
    """exp(x) - 1 without loss of digits near 0."""
    return np.expm1(x)


@expm1.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * (y + 1)


@op(elementwise=True, dtypes="float or complex")
def log1p(x):
    """log(1 + x) without loss of digits near 0."""
    return np.log1p(x)


@log1p.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy / (1 + y.op.inputs[0])


@op(elementwise=True, dtypes="float or complex")
def sin(x):
    """Sine of an angle in radians."""
    return np.sin(x)


@sin.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * cos(y.op.inputs[0])


@op(elementwise=True, dtypes="float or complex")
def cos(x):
    """Cosine of an angle in radians."""
    return np.cos(x)


@cos.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return -dy * sin(y.op.inputs[0])


@op(elementwise=True, dtypes="float or complex")
def tan(x):
    """Tangent of an angle in radians."""
    return np.tan(x)


@tan.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * (1 + y * y)


@op(elementwise=True, dtypes="float or complex")
def asin(x):
    """The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1]."""
    return np.arcsin(x)


@asin.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * rsqrt(1 - square(y.op.inputs[0]))


@op(elementwise=True, dtypes="float or complex")
def acos(x):
    """The angle in [0, pi] whose cosine is x; NaN outside [-1, 1]."""
    return np.arccos(x)


@acos.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return -dy * rsqrt(1 - square(y.op.inputs[0]))


@op(elementwise=True, dtypes="float or complex")
def atan(x):
    """The angle in (-pi/2, pi/2) whose tangent is x."""
    return np.arctan(x)


@atan.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy / (1 + square(y.op.inputs[0]))


@op(elementwise=True, dtypes="float")
def atan2(y, x):
    """The angle in [-pi, pi] of the point (x, y)."""
    return np.arctan2(y, x)


@atan2.gradient
def _(z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    y, x = z.op.inputs
    scaled = dz / (square(x) + square(y))
    return unbroadcast(x * scaled, y), unbroadcast(-y * scaled, x)


@op(elementwise=True, dtypes="float or complex")
def sinh(x):
    """Hyperbolic sine."""
    return np.sinh(x)


@sinh.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * cosh(y.op.inputs[0])


@op(elementwise=True, dtypes="float or complex")
def cosh(x):
    """Hyperbolic cosine."""
    return np.cosh(x)


@cosh.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * sinh(y.op.inputs[0])


@op(elementwise=True, dtypes="float or complex")
def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(x)


@tanh.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * (1 - y * y)


@op(elementwise=True, dtypes="float or complex")
def asinh(x):
    """The number whose hyperbolic sine is x."""
    return np.arcsinh(x)


@asinh.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy / cosh(y)


@op(elementwise=True, dtypes="float or complex")
def acosh(x):
    """The number from 0 on whose hyperbolic cosine is x; NaN below 1."""
    return np.arccosh(x)


@acosh.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy / sinh(y)


@op(elementwise=True, dtypes="float or complex")
def atanh(x):
    """The number whose hyperbolic tangent is x; NaN outside [-1, 1]."""
    return np.arctanh(x)


@atanh.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy / (1 - square(y.op.inputs[0]))


@op(elementwise=True, dtypes="float or complex")
def sigmoid(x):
    """1 / (1 + exp(-x)); accurate in relative terms for negative x too, where exp(-x) overflows only to give 0."""
    result = np.exp(np.negative(x))
    result += 1
    return np.reciprocal(result)


@sigmoid.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * (y * (1 - y))


@op(elementwise=True, dtypes="float")
def softplus(features):
    """log(1 + exp(x)), computed so that neither large nor small x loses digits."""
    result = np.log1p(np.exp(-np.abs(features)))
    result += np.maximum(features, 0)
    return result


@softplus.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * sigmoid(y.op.inputs[0])


@op(elementwise=True, dtypes="float")
def softsign(features):
    """x / (1 + |x|)."""
    return np.divide(features, 1 + np.abs(features))


@softsign.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy / square(1 + magnitude(y.op.inputs[0]))


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """log(sigmoid(x)) = -softplus(-x)."""
    with name_scope(name or "log_sigmoid") as scope:
        result: Tensor = negative(softplus(-convert(x)), name=scope)
        return result


@op(elementwise=True, dtypes="float")
def erf(x):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x; see `erf_of`."""
    return erf_of(x)


@erf.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * (exp(-square(y.op.inputs[0])) * (2 / math.sqrt(math.pi)))


@op(elementwise=True, dtypes="float")
def erfc(x):
    """1 - erf(x), without loss of digits where erf(x) is near 1."""
    return erfc_of(x)


@erfc.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * (exp(-square(y.op.inputs[0])) * (-2 / math.sqrt(math.pi)))


@op(elementwise=True, dtypes="float or complex")
def xlogy(x, y):
    """x log(y), and 0 where x is 0 whatever y is."""
    return np.where(np.equal(x, 0), np.zeros((), x.dtype), np.multiply(x, np.log(y)))


@xlogy.gradient
def _(z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    x, y = z.op.inputs
    present = cast(not_equal(x, 0), dtype=x.dtype)
    return unbroadcast(dz * xlogy(present, y), x), unbroadcast(dz * xdivy(x, y), y)


@op(elementwise=True, dtypes="float or complex")
def xdivy(x, y):
    """x / y, and 0 where x is 0 whatever y is."""
    return np.where(np.equal(x, 0), np.zeros((), x.dtype), np.divide(x, y))


@xdivy.gradient
def _(z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    x, y = z.op.inputs
    present = cast(not_equal(x, 0), dtype=x.dtype)
    return unbroadcast(dz * xdivy(present, y), x), unbroadcast(dz * xdivy(-x, square(y)), y)
