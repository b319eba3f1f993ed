"""Batch normalisation: activations are scaled to a given mean and variance, or to those of their batch.

Ioffe & Szegedy, "Batch normalization" (ICML 2015). Names, arguments and values are those of TensorFlow 1.15; the layer,
which keeps moving averages, is in paraflow/nn/normalization.py.
"""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import float32, float64
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.graph.shape import format_dims
from paraflow.ops.array import cast, identity, reshape, size
from paraflow.ops.math import maximum, rsqrt
from paraflow.ops.nn import moments


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float, name: str | None = None
) -> Tensor:
    """(x - mean) / sqrt(variance + variance_epsilon) * scale + offset.

    All broadcast to the shape of x; ``offset`` and ``scale`` may be None, and are then left out. It is computed in this
    form, not as x * a + b, which loses the digits of a small variance beside a large mean.
    """
    with name_scope(name or "batchnorm") as scope:
        t = convert(x)
        factor = rsqrt(convert(variance, t.dtype) + variance_epsilon)
        if scale is not None:
            factor = factor * convert(scale, t.dtype)
        y = (t - convert(mean, t.dtype)) * factor
        if offset is not None:
            y = y + convert(offset, t.dtype)
        result: Tensor = identity(y, name=scope)
        return result


def batch_norm_with_global_normalization(
    t: Any = None,
    m: Any = None,
    v: Any = None,
    beta: Any = None,
    gamma: Any = None,
    variance_epsilon: float | None = None,
    scale_after_normalization: bool | None = None,
    name: str | None = None,
    input: Any = None,
    mean: Any = None,
    variance: Any = None,
) -> Tensor:
    """`batch_normalization` of ``t``, with the scale ``gamma`` only if ``scale_after_normalization``.

    ``input``, ``mean`` and ``variance`` are other names of ``t``, ``m`` and ``v``.
    """
    x, middle, spread = (a if a is not None else b for a, b in ((t, input), (m, mean), (v, variance)))
    scale = gamma if scale_after_normalization else None
    return batch_normalization(x, middle, spread, beta, scale, variance_epsilon or 0.0, name)


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 0.001,
    data_format: str = "NHWC",
    is_training: bool = True,
    name: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Images ``x`` normalised channel by channel, and the mean and variance of each channel [channels].

    ``x`` is [n, height, width, channels], or [n, channels, height, width] with ``data_format`` "NCHW"; ``scale`` and
    ``offset`` are [channels]. In training the statistics are those of ``x``, and the variance that is returned, unlike
    that by which x is divided, is the unbiased one. Otherwise they are the given ``mean`` and ``variance``.
    (TensorFlow's takes the statistics that it returns for constants; here gradients pass them too.)
    Raises GraphError for other shapes and formats, InvalidArgumentError for statistics where there must be none, or
    none where there must be.
    """
    t = convert(x)
    if t.spec.rank != 4:
        raise GraphError(f"fused_batch_norm takes images of 4 axes, not {format_dims(t.spec.shape)}")
    if data_format not in ("NHWC", "NCHW"):
        raise GraphError(f"fused_batch_norm: data_format is 'NHWC' or 'NCHW', not {data_format!r}")
    if is_training != (mean is None and variance is None) or (mean is None) != (variance is None):
        raise InvalidArgumentError(
            "fused_batch_norm takes mean and variance where is_training is False, and neither in training"
        )
    channel = 3 if data_format == "NHWC" else 1
    kept = [-1 if axis == channel else 1 for axis in range(4)]
    with name_scope(name or "fused_batch_norm") as scope:
        full = cast(t, float32) if t.dtype.itemsize < 4 else t
        if is_training:
            axes = [axis for axis in range(4) if axis != channel]
            by_mean, by_variance = moments(full, axes, keepdims=True)
            mean, unbiased = reshape(by_mean, [-1]), without_bias(by_variance, elements_of_each(full, by_mean))
            variance = reshape(unbiased, [-1])
        else:
            mean, variance = convert(mean, full.dtype), convert(variance, full.dtype)
            by_mean, by_variance = reshape(mean, kept), reshape(variance, kept)
        by_scale, by_offset = (reshape(convert(v, full.dtype), kept) for v in (scale, offset))
        y = batch_normalization(full, by_mean, by_variance, by_offset, by_scale, epsilon)
        normalised: Tensor = cast(y, t.dtype, name=scope)
        return normalised, mean, variance


def elements_of_each(x: Tensor, mean: Tensor) -> Tensor:
    """How many elements of ``x`` go into each of ``mean``, a float64 scalar; 0 where there is no mean."""
    count: Tensor = cast(size(x), float64) / maximum(cast(size(mean), float64), 1.0)
    return count


def without_bias(variance: Tensor, count: Tensor) -> Tensor:
    """The unbiased estimate n / (n - 1) of a variance over ``count`` = n elements (Bessel's correction)."""
    return variance * cast(count / maximum(count - 1.0, 1.0), variance.dtype)
