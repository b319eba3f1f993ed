"""Initial values of variables: functions that return an initializer, a function of a shape and a dtype.

Names, parameters and, seed for seed, values are those of ``tf.initializers`` (TensorFlow 1.15). Without a ``seed`` of
its own an initializer takes its numbers from the graph's seed, so they are the same on every rank. ``dtype`` is that of
the values where none is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from paraflow.errors import InvalidArgumentError
from paraflow.graph.dtypes import DType, as_dtype, float32
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, literal
from paraflow.ops import array, random
from paraflow.ops.linalg import eye, orthonormal
from paraflow.ops.math import multiply
from paraflow.ops.rearrange import transpose
from paraflow.ops.state import global_variables_initializer as global_variables
from paraflow.ops.state import make_shape
from paraflow.ops.state import variables_initializer as variables
from paraflow.ops.variables import local_variables_initializer as local_variables

__all__ = [
    "constant",
    "global_variables",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "local_variables",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "uniform_unit_scaling",
    "variables",
    "variance_scaling",
    "zeros",
]

Initializer = Callable[..., Tensor]

# A normal distribution cut off at two standard deviations has this standard deviation.
_TRUNCATED_STDDEV = 0.87962566103423978


def _initializer(make: Callable[[Sequence[int], DType], Tensor], default: Any) -> Initializer:
    """An initializer that calls ``make`` with a shape and a dtype."""

    def values(shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        sizes = list(make_shape(shape))
        return make(sizes, as_dtype(default if dtype is None else dtype))

    return values


def zeros(dtype: Any = float32) -> Initializer:
    """All zeros."""
    return _initializer(array.zeros, dtype)


def ones(dtype: Any = float32) -> Initializer:
    """All ones."""
    return _initializer(array.ones, dtype)


def constant(value: Any = 0, dtype: Any = float32, verify_shape: bool = False) -> Initializer:
    """All ``value``, or the values of a list or array in row-major order, the last of them over and over.

    With ``verify_shape`` it has to have the shape that is asked for.
    """

    def make(shape: Sequence[int], chosen: DType) -> Tensor:
        given = literal(value).shape
        if verify_shape and given != tuple(shape):
            raise InvalidArgumentError(
                f"a constant initializer of shape {given} was asked for {tuple(shape)}{at_user_line()}"
            )
        return array.make_constant(value, chosen, shape)

    return _initializer(make, dtype)


def random_normal(mean: float = 0.0, stddev: float = 1.0, seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Normal numbers."""
    return _initializer(lambda shape, chosen: random.random_normal(shape, mean, stddev, chosen, seed), dtype)


def random_uniform(
    minval: float = 0.0, maxval: float | None = None, seed: int | None = None, dtype: Any = float32
) -> Initializer:
    """Uniform numbers in [minval, maxval); for floating point ``maxval`` is 1 by default."""
    return _initializer(lambda shape, chosen: random.random_uniform(shape, minval, maxval, chosen, seed), dtype)


def truncated_normal(
    mean: float = 0.0, stddev: float = 1.0, seed: int | None = None, dtype: Any = float32
) -> Initializer:
    """Normal numbers, those further than two standard deviations from the mean drawn again."""
    return _initializer(lambda shape, chosen: random.truncated_normal(shape, mean, stddev, chosen, seed), dtype)


Mode = Literal["fan_in", "fan_out", "fan_avg"]


def variance_scaling(
    scale: float = 1.0,
    mode: Mode = "fan_in",
    distribution: str = "truncated_normal",
    seed: int | None = None,
    dtype: Any = float32,
) -> Initializer:
    """Numbers of variance ``scale`` / n, where n is the number of a unit's inputs, of its outputs, or the mean of both.

    ``mode`` says which: "fan_in", "fan_out" or "fan_avg". ``distribution`` is "truncated_normal" (or "normal"),
    "untruncated_normal" or "uniform".
    """
    kind = "truncated_normal" if distribution == "normal" else distribution
    if scale <= 0 or mode not in _FANS or kind not in ("truncated_normal", "untruncated_normal", "uniform"):
        raise InvalidArgumentError(
            f"variance_scaling takes a scale above 0, a mode of {', '.join(_FANS)} and a distribution of normal, "
            f"truncated_normal, untruncated_normal and uniform, not {scale}, {mode!r}, {distribution!r}{at_user_line()}"
        )

    def make(shape: Sequence[int], chosen: DType) -> Tensor:
        stddev = math.sqrt(scale / _fan(shape, mode))
        if kind == "uniform":
            limit = math.sqrt(3.0 * scale / _fan(shape, mode))
            return random.random_uniform(shape, -limit, limit, chosen, seed)
        if kind == "untruncated_normal":
            return random.random_normal(shape, 0.0, stddev, chosen, seed)
        return random.truncated_normal(shape, 0.0, stddev / _TRUNCATED_STDDEV, chosen, seed)

    return _initializer(make, dtype)


def glorot_uniform(seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Glorot & Bengio (AISTATS 2010), for tanh and for the last layer."""
    return variance_scaling(1.0, "fan_avg", "uniform", seed, dtype)


def glorot_normal(seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Truncated normal of standard deviation sqrt(2 / (fan_in + fan_out)). Glorot & Bengio (AISTATS 2010)."""
    return variance_scaling(1.0, "fan_avg", "truncated_normal", seed, dtype)


def he_uniform(seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Uniform in +-sqrt(6 / fan_in). He et al. (ICCV 2015), for layers that end in relu."""
    return variance_scaling(2.0, "fan_in", "uniform", seed, dtype)


def he_normal(seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Truncated normal of standard deviation sqrt(2 / fan_in). He et al. (ICCV 2015), for layers that end in relu."""
    return variance_scaling(2.0, "fan_in", "truncated_normal", seed, dtype)


def lecun_uniform(seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Uniform in +-sqrt(3 / fan_in). LeCun et al., "Efficient backprop" (1998), for selu and tanh."""
    return variance_scaling(1.0, "fan_in", "uniform", seed, dtype)


def lecun_normal(seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Truncated normal of standard deviation sqrt(1 / fan_in). LeCun et al., "Efficient backprop" (1998)."""
    return variance_scaling(1.0, "fan_in", "truncated_normal", seed, dtype)


def uniform_unit_scaling(factor: float = 1.0, seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Uniform in +-factor sqrt(3 / n) for shape [..., m] of n rows: keeps the scale of what goes through."""

    def make(shape: Sequence[int], chosen: DType) -> Tensor:
        limit = math.sqrt(3 / max(1.0, math.prod(shape[:-1]))) * factor
        return random.random_uniform(shape, -limit, limit, chosen, seed)

    return _initializer(make, dtype)


def orthogonal(gain: float = 1.0, seed: int | None = None, dtype: Any = float32) -> Initializer:
    """``gain`` times a matrix [prod(shape[:-1]), shape[-1]] with orthonormal rows or columns, of which there are fewer.

    Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning" (ICLR 2014).
    """

    def make(shape: Sequence[int], chosen: DType) -> Tensor:
        if len(shape) < 2:
            raise InvalidArgumentError(f"an orthogonal initializer needs 2 axes or more, not {shape}{at_user_line()}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = random.random_normal([max(rows, columns), min(rows, columns)], dtype=chosen, seed=seed)
        q = orthonormal(normal)
        tensor: Tensor = multiply(array.reshape(transpose(q) if rows < columns else q, list(shape)), gain)
        return tensor

    return _initializer(make, dtype)


def identity(gain: float = 1.0, dtype: Any = float32) -> Initializer:
    """``gain`` times the identity matrix."""

    def make(shape: Sequence[int], chosen: DType) -> Tensor:
        if len(shape) != 2:
            raise InvalidArgumentError(f"an identity initializer needs 2 axes, not {shape}{at_user_line()}")
        tensor: Tensor = multiply(eye(shape[0], shape[1], dtype=chosen), gain)
        return tensor

    return _initializer(make, dtype)


_FANS: dict[str, Callable[[float, float], float]] = {
    "fan_in": lambda inputs, outputs: inputs,
    "fan_out": lambda inputs, outputs: outputs,
    "fan_avg": lambda inputs, outputs: (inputs + outputs) / 2,
}


def _fan(shape: Sequence[int], mode: str) -> float:
    """The number of inputs of a unit, of its outputs, or their mean, 1 at least.

    ``shape`` is [..., inputs, outputs], where the axes in front are those of a convolution's window.
    """
    sizes = [*shape] if len(shape) > 1 else [*shape, *shape] or [1, 1]
    window = math.prod(sizes[:-2])
    return max(1.0, _FANS[mode](sizes[-2] * window, sizes[-1] * window))
