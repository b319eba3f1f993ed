"""Running sums and products along an axis, and the linear recurrence that their derivatives are made of.

Every gradient rule here stays inside this file's operations and never divides, so derivatives of any order are right
where elements are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, merge, normal_axis

Array = np.ndarray[Any, Any]


def along(x: Array, axis: int, reverse: bool) -> Array:
    """A view of ``x`` with ``axis`` in front, from the back when ``reverse``."""
    moved = np.moveaxis(x, axis, 0)
    return moved[::-1] if reverse else moved


def _same(x: Spec, axis: int, **_: Any) -> Spec:
    """Shape rule: the operand's; the axis must exist."""
    if x.shape is not None:
        normal_axis(axis, len(x.shape))
    return Spec(x.dtype, x.shape)


def _accumulate(ufunc: np.ufunc, x: Array, axis: int, exclusive: bool, reverse: bool) -> Array:
    result = np.empty(x.shape, x.dtype)
    source, target = along(x, axis, reverse), along(result, axis, reverse)
    if exclusive and len(source):
        target[0] = ufunc.identity
        source, target = source[:-1], target[1:]
    ufunc.accumulate(source, axis=0, out=target)
    return result


@op(dtypes="numeric")
def cumsum(x, axis=0, exclusive=False, reverse=False):
    """Running sums along ``axis``: x0, x0 + x1, ...; 0, x0, ... when ``exclusive``; from the end when ``reverse``."""
    return _accumulate(np.add, x, axis, exclusive, reverse)


cumsum.shape(_same)


@cumsum.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    axis, exclusive, reverse = _attributes(y)
    return cumsum(dy, axis, exclusive, not reverse)


@op(dtypes="numeric")
def cumprod(x, axis=0, exclusive=False, reverse=False):
    """Running products along ``axis``: x0, x0 x1, ...; 1, x0, ... when ``exclusive``; from the end when ``reverse``."""
    return _accumulate(np.multiply, x, axis, exclusive, reverse)


cumprod.shape(_same)


@cumprod.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    # dx_k = (product before k) * S_k, where S_k sums dy_i * (product between k and i) over the i that x_k enters.
    axis, exclusive, reverse = _attributes(y)
    x = y.op.inputs[0]
    entered = shift(dy, axis, not reverse) if exclusive else dy
    after = linear_recurrence(shift(x, axis, not reverse), entered, axis, not reverse)
    return cumprod(x, axis, True, reverse) * after


@op
def shift(x, axis=0, reverse=False):
    """Every element moved one place up along ``axis`` (down when ``reverse``); zero comes in, the last falls out."""
    result = np.zeros(x.shape, x.dtype)
    along(result, axis, reverse)[1:] = along(x, axis, reverse)[:-1]
    return result


shift.shape(_same)


@shift.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return shift(dy, y.op.attrs["axis"], not y.op.attrs["reverse"])


@op(dtypes="numeric")
def linear_recurrence(a, b, axis=0, reverse=False):
    """h_i = a_i h_(i-1) + b_i along ``axis``, with h_(-1) = 0; from the end when ``reverse``.

    Computed in log2(n) vectorised steps (Hillis & Steele, "Data parallel algorithms", 1986): composing two steps
    of the recurrence is a step of the same form.
    """
    decay, result = np.array(a), np.array(b)
    d, h = along(decay, axis, reverse), along(result, axis, reverse)
    step = 1
    while step < len(h):
        h[step:] += d[step:] * h[:-step]
        d[step:] = d[step:] * d[:-step]
        step *= 2
    return result


@linear_recurrence.shape
def _(a: Spec, b: Spec, axis: int, reverse: bool) -> Spec:
    return _same(Spec(a.dtype, merge(a.shape, b.shape)), axis)


@linear_recurrence.gradient
def _(h: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
    axis, reverse = h.op.attrs["axis"], h.op.attrs["reverse"]
    db = linear_recurrence(shift(h.op.inputs[0], axis, not reverse), dh, axis, not reverse)
    return db * shift(h, axis, reverse), db


def _attributes(y: Tensor) -> tuple[int, bool, bool]:
    return y.op.attrs["axis"], y.op.attrs["exclusive"], y.op.attrs["reverse"]
