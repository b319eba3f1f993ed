"""Layer normalisation as one operation, whose gradient is another: Ba, Kiros & Hinton, "Layer normalization" (2016).

The last axes of each sample, a row, are shifted and scaled to mean 0 and variance 1. Statistics are cheap beside the
traffic of memory, so the gradient makes them anew. The order of all sums is fixed, so that
paraflow/kernels/normalization.py does the same in compiled loops, with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import widened
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, merge
from paraflow.ops.array import unbroadcast, zeros_like
from paraflow.ops.math import rsqrt
from paraflow.ops.reduce import ROWS, add_rows, moments_of, reduce_mean, reduce_sum, reduced_count, row_sums

Array = np.ndarray[Any, Any]

def _standardized(x: Array, epsilon: float) -> tuple[Array, Array]:
    """Rows of mean 0 and variance 1, and by what each was multiplied."""
    n = x.dtype.type(x.shape[1])
    distance = x - row_sums(x) / n
    variance = row_sums(distance * distance) / n
    factor = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    return distance * factor, factor


def as_rows(x: Array, axes: int) -> Array:
    """Float32 or float64 [samples, elements of the last ``axes`` axes]."""
    wide = np.ascontiguousarray(widened(x))
    return wide.reshape(-1, math.prod(x.shape[x.ndim - axes :])) if x.size else wide.reshape(0, 1)


def along_rows(parameter: Array, n: int) -> Array:
    """A parameter of the last axes, repeated to a row of ``n`` elements."""
    flat = widened(parameter).reshape(-1)
    return np.tile(flat, n // flat.size) if flat.size else flat


def folded(row: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of a parameter of this ``shape`` that `along_rows` repeated."""
    parts = row.reshape(-1, *shape)
    total = np.zeros(shape, row.dtype)
    for part in parts:
        total += part
    return total


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    for start in range(0, len(arrays[0]), ROWS):
        yield tuple(a[start : start + ROWS] for a in arrays)


@op(dtypes="float")
def layer_normalization(x, gamma, beta, axes=1, epsilon=1e-12):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, statistics over the last ``axes`` axes.

    ``gamma`` and ``beta`` have the sizes of the last of these axes.
    """
    rows = as_rows(x, axes)
    factor, offset = (along_rows(p, rows.shape[1]) for p in (gamma, beta))
    y = np.empty_like(rows)
    for given, out in _blocks(rows, y) if x.size else ():
        out[...] = _standardized(given, epsilon)[0] * factor + offset
    return y.reshape(x.shape).astype(x.dtype, copy=False)


def _check(x: Dims, parameter: Dims, axes: int) -> None:
    """Raise GraphError unless a parameter has the sizes of some of the last ``axes`` axes of x."""
    if x is None or parameter is None:
        return
    last = x[len(x) - len(parameter) :]
    if not len(parameter) <= axes <= len(x) or not compatible(last, parameter):
        raise GraphError(
            f"of {format_dims(x)} the last {axes} axes are normalised, and scale and offset have the sizes of the last "
            f"of these, not {format_dims(parameter)}"
        )


@layer_normalization.shape
def _(x: Spec, gamma: Spec, beta: Spec, axes: int, **_: Any) -> Spec:
    _check(x.shape, merge(gamma.shape, beta.shape), axes)
    return Spec(x.dtype, x.shape)


@layer_normalization.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, gamma, _ = y.op.inputs
    dx, d_gamma, d_beta = layer_normalization_gradient(dy, x, gamma, **y.op.attrs)
    return dx, d_gamma, d_beta


@op(dtypes="float")
def layer_normalization_gradient(dy, x, gamma, axes=1, epsilon=1e-12):
    """The gradients of a layer normalisation with respect to x, gamma and beta."""
    rows, given = as_rows(x, axes), as_rows(dy, axes)
    n = rows.shape[1]
    factor = along_rows(gamma, n)
    dx, to_gamma, to_beta = np.empty_like(rows), np.zeros(factor.shape, rows.dtype), np.zeros(factor.shape, rows.dtype)
    for seen, slopes, out in _blocks(rows, given, dx) if x.size else ():
        z, scale = _standardized(seen, epsilon)
        a = slopes * factor
        first, second = row_sums(a) / rows.dtype.type(n), row_sums(a * z) / rows.dtype.type(n)
        out[...] = ((a - first) - z * second) * scale
        add_rows(to_gamma, slopes * z)
        add_rows(to_beta, slopes)
    gradients = dx.reshape(x.shape), folded(to_gamma, gamma.shape), folded(to_beta, gamma.shape)
    return tuple(g.astype(x.dtype, copy=False) for g in gradients)


@layer_normalization_gradient.shape
def _(dy: Spec, x: Spec, gamma: Spec, axes: int, **_: Any) -> tuple[Spec, Spec, Spec]:
    shape = merge(dy.shape, x.shape)
    _check(shape, gamma.shape, axes)
    return Spec(x.dtype, shape), Spec(x.dtype, gamma.shape), Spec(x.dtype, gamma.shape)


@layer_normalization_gradient.gradient
def _(y: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """With z the standardised x, s what it was multiplied by and P(a) = a - mean(a) - z mean(a z):
    dx = s P(dy gamma), d gamma = sum(dy z), d beta = sum(dy)."""
    (dy, x, gamma), attrs = y[0].op.inputs, y[0].op.attrs
    to_x, to_gamma, to_beta = cotangents
    axes = tuple(range(-attrs["axes"], 0))
    mean, variance = moments_of(x, axes, True)
    s = rsqrt(variance + attrs["epsilon"])
    z = (x - mean) * s

    def projected(a: Tensor) -> Tensor:
        result: Tensor = a - reduce_mean(a, axes, True) - z * reduce_mean(a * z, axes, True)
        return result

    d_dy, d_gamma, d_z, d_s = zeros_like(dy), zeros_like(gamma), zeros_like(z), zeros_like(s)
    if to_x is not None:
        a, back = dy * gamma, s * projected(to_x)
        d_dy, d_gamma = back * gamma, unbroadcast(back * dy, gamma)
        d_z = -s * (to_x * reduce_mean(a * z, axes, True) + a * reduce_mean(to_x * z, axes, True))
        d_s = reduce_sum(to_x * projected(a), axes, True)
    if to_gamma is not None:
        d_dy, d_z = d_dy + z * to_gamma, d_z + dy * to_gamma
    if to_beta is not None:
        d_dy = d_dy + to_beta
    return d_dy, s * projected(d_z) - s * s * z * d_s / reduced_count(x, mean), d_gamma
