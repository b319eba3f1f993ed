"""Statistics of features over some of their axes, and normalisation by neighbouring channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims
from paraflow.ops.array import cast, known_shape, make_constant, reshape, size, zeros_like
from paraflow.ops.linalg import matmul
from paraflow.ops.math import multiply, pow, reciprocal, square, squared_difference
from paraflow.ops.rearrange import squeeze
from paraflow.ops.reduce import reduce_sum

Axes = int | Sequence[int]


def sufficient_statistics(
    x: Any,
    axes: Axes,
    shift: Any = None,
    keep_dims: bool | None = None,
    name: str | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Number, sum and sum of squares of the elements over ``axes``, each less ``shift``, and the shift as it is given.

    `normalize_moments` makes mean and variance of them. A shift near the mean keeps digits.
    """
    keep = bool(keep_dims or keepdims)
    with name_scope(name or "sufficient_statistics"):
        t = convert(x)
        total = reduce_sum(t if shift is None else t - shift, axes, keep)
        squares = reduce_sum(square(t) if shift is None else squared_difference(t, shift), axes, keep)
        count = cast(size(t), t.dtype) / cast(size(total), t.dtype)
        return count, total, squares, None if shift is None else convert(shift, t.dtype)


def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance of what `sufficient_statistics` returns (``shift`` may be None)."""
    with name_scope(name or "normalize"):
        share = reciprocal(convert(counts))
        shifted = multiply(mean_ss, share)
        mean = shifted if shift is None else shifted + shift
        return mean, multiply(variance_ss, share) - square(shifted)


def weighted_moments(
    x: Any,
    axes: Axes,
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and variance over ``axes`` where each element counts ``frequency_weights`` times (they broadcast to x)."""
    with name_scope(name or "weighted_moments"):
        t = convert(x)
        weights = convert(frequency_weights, t.dtype)
        if weights.dtype != t.dtype:
            weights = cast(weights, t.dtype)
        share = reciprocal(reduce_sum(weights + zeros_like(t), axes, True))
        mean = reduce_sum(weights * t, axes, True) * share
        variance = reduce_sum(weights * squared_difference(t, mean), axes, True) * share
        if keep_dims or keepdims:
            return mean, variance
        gone = (axes,) if isinstance(axes, int) else tuple(axes)
        return squeeze(mean, gone), squeeze(variance, gone)


def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1, alpha: float = 1, beta: float = 0.5, name: str | None = None
) -> Tensor:
    """x / (bias + alpha * s)^beta, with s the sum of squares over the ``depth_radius`` channels on either side and x's.

    ``input`` is [n, h, w, channels] with a known number of channels. Krizhevsky, Sutskever & Hinton, "ImageNet
    classification with deep convolutional neural networks" (NIPS 2012).
    """
    with name_scope(name or "LRN") as scope:
        x = convert(input)
        channels = None if x.spec.shape is None or x.spec.rank != 4 else x.spec.shape[3]
        if channels is None:
            raise GraphError(
                f"local_response_normalization needs [n, h, w, channels] with the number of channels, not "
                f"{format_dims(x.spec.shape)}{at_user_line()}"
            )
        distance = np.abs(np.arange(channels)[:, None] - np.arange(channels))
        near = make_constant((distance <= depth_radius).astype(x.dtype))
        sums = reshape(matmul(reshape(square(x), [-1, channels]), near), known_shape(x))
        result: Tensor = multiply(x, pow(bias + alpha * sums, -beta), name=scope)
        return result
