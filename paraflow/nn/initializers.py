"""Initial values of variables: functions that return an initializer, a function of a shape and a dtype.

Names, parameters and, seed for seed, values are those of ``tf.initializers`` (TensorFlow 1.15). Without a ``seed`` of
its own an initializer takes its numbers from the graph's seed, so they are the same on every rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from paraflow.graph.dtypes import float32
from paraflow.graph.node import Tensor
from paraflow.ops import array, random

Initializer = Callable[..., Tensor]

# A normal distribution cut off at two standard deviations has this standard deviation.
_TRUNCATED_STDDEV = 0.87962566103423978


def zeros() -> Initializer:
    """All zeros."""
    return lambda shape, dtype=float32: array.zeros(shape, dtype)


def ones() -> Initializer:
    """All ones."""
    return lambda shape, dtype=float32: array.ones(shape, dtype)


def constant(value: float) -> Initializer:
    """All ``value``."""
    return lambda shape, dtype=float32: array.make_constant(value, dtype, shape)


def random_normal(mean: float = 0.0, stddev: float = 1.0, seed: int | None = None) -> Initializer:
    """Normal numbers."""
    return lambda shape, dtype=float32: random.random_normal(shape, mean, stddev, dtype, seed)


def random_uniform(minval: float = 0.0, maxval: float = 1.0, seed: int | None = None) -> Initializer:
    """Uniform numbers in [minval, maxval)."""
    return lambda shape, dtype=float32: random.random_uniform(shape, minval, maxval, dtype, seed)


def truncated_normal(mean: float = 0.0, stddev: float = 1.0, seed: int | None = None) -> Initializer:
    """Normal numbers, those further than two standard deviations from the mean drawn again."""
    return lambda shape, dtype=float32: random.truncated_normal(shape, mean, stddev, dtype, seed)


def glorot_uniform(seed: int | None = None) -> Initializer:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Glorot & Bengio (AISTATS 2010), for tanh and for the last layer."""
    return lambda shape, dtype=float32: _uniform(shape, 1.0, "mean", dtype, seed)


def glorot_normal(seed: int | None = None) -> Initializer:
    """Truncated normal of standard deviation sqrt(2 / (fan_in + fan_out)). Glorot & Bengio (AISTATS 2010)."""
    return lambda shape, dtype=float32: _normal(shape, 1.0, "mean", dtype, seed)


def he_uniform(seed: int | None = None) -> Initializer:
    """Uniform in +-sqrt(6 / fan_in). He et al. (ICCV 2015), for layers that end in relu."""
    return lambda shape, dtype=float32: _uniform(shape, 2.0, "in", dtype, seed)


def he_normal(seed: int | None = None) -> Initializer:
    """Truncated normal of standard deviation sqrt(2 / fan_in). He et al. (ICCV 2015), for layers that end in relu."""
    return lambda shape, dtype=float32: _normal(shape, 2.0, "in", dtype, seed)


Fan = Literal["in", "mean"]


def _uniform(shape: Sequence[int], scale: float, fan: Fan, dtype: Any, seed: int | None) -> Tensor:
    limit = math.sqrt(3.0 * scale / _fan(shape, fan))
    return random.random_uniform(shape, -limit, limit, dtype, seed)


def _normal(shape: Sequence[int], scale: float, fan: Fan, dtype: Any, seed: int | None) -> Tensor:
    stddev = math.sqrt(scale / _fan(shape, fan)) / _TRUNCATED_STDDEV
    return random.truncated_normal(shape, 0.0, stddev, dtype, seed)


def _fan(shape: Sequence[int], fan: Fan) -> float:
    """The number of inputs of a unit, or the mean of its numbers of inputs and outputs.

    ``shape`` is [..., inputs, outputs], where the axes in front are those of a convolution's window.
    """
    sizes = [*shape] if len(shape) > 1 else [*shape, *shape] or [1, 1]
    window = math.prod(sizes[:-2])
    inputs, outputs = sizes[-2] * window, sizes[-1] * window
    return max(1.0, inputs if fan == "in" else (inputs + outputs) / 2)
