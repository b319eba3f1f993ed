"""Elementwise mathematics: arithmetic, powers, exponentials, comparisons, logic."""

from __future__ import annotations

import numpy as np

from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.ops.array import unbroadcast

Pair = tuple[Tensor | None, Tensor | None]


@op(elementwise=True, dtypes="numeric")
def add(x, y):
    """x + y."""
    return np.add(x, y)


@add.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(dz, x), unbroadcast(dz, y)


@op(elementwise=True, dtypes="numeric")
def subtract(x, y):
    """x - y."""
    return np.subtract(x, y)


@subtract.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(dz, x), unbroadcast(-dz, y)


@op(elementwise=True, dtypes="numeric")
def multiply(x, y):
    """x * y."""
    return np.multiply(x, y)


@multiply.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(dz * y, x), unbroadcast(dz * x, y)


@op(elementwise=True, dtypes="float")
def divide(x, y):
    """x / y in floating point."""
    return np.divide(x, y)


@divide.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    dx = dz / y
    return unbroadcast(dx, x), unbroadcast(-dx * z, y)


@op(elementwise=True, dtypes="numeric")
def negative(x):
    """-x."""
    return np.negative(x)


@negative.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return -dy


@op(elementwise=True, dtypes="float")
def exp(x):
    """The exponential of x."""
    return np.exp(x)


@exp.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * y


@op(elementwise=True, dtypes="float")
def log(x):
    """Natural logarithm."""
    return np.log(x)


@log.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy / y.op.inputs[0]


@op(elementwise=True, dtypes="float")
def sqrt(x):
    """Square root."""
    return np.sqrt(x)


@sqrt.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * 0.5 / y


@op(elementwise=True, dtypes="float")
def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(x)


@tanh.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * (1 - y * y)
