"""Initial values of variables: an initializer is called with a shape and a dtype.

Names, parameters and, seed for seed, values are those of ``tf.initializers`` (TensorFlow 1.15). Without a ``seed`` of
its own an initializer takes its numbers from the graph's seed, so they are the same on every rank. ``dtype`` is that of
the values where none is asked for.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paraflow.errors import GraphError, InvalidArgumentError
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

# What `get_variable` and layers take: an `Initial`, a class of them, any function of a shape and a dtype, or a name.
Initializer = Callable[..., Any] | str

# A normal distribution cut off at two standard deviations has this standard deviation.
_TRUNCATED_STDDEV = 0.87962566103423978


class Initial:
    """The base of initializers: a subclass has its parameters as fields, and makes ``values``."""

    dtype: Any

    def __post_init__(self) -> None:
        self.dtype = as_dtype(self.dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """The values for a variable of that shape; ``partition_info`` is TensorFlow's and means nothing here."""
        return self.values(list(make_shape(shape)), self.dtype if dtype is None else as_dtype(dtype))

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """The values, of ``dtype``."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments by which another initializer is the same as this one."""
        names = inspect.signature(type(self)).parameters
        return {name: self.dtype.name if name == "dtype" else getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initial:
        """The initializer with the arguments that `get_config` has told."""
        return cls(**config)


@dataclass(eq=False, repr=False)
class Zeros(Initial):
    """All zeros."""

    dtype: Any = float32

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """All zeros."""
        return array.zeros(shape, dtype)


@dataclass(eq=False, repr=False)
class Ones(Initial):
    """All ones."""

    dtype: Any = float32

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """All ones."""
        return array.ones(shape, dtype)


@dataclass(eq=False, repr=False)
class Constant(Initial):
    """All ``value``, or the values of a list or array in row-major order, the last of them over and over.

    With ``verify_shape`` it has to have the shape that is asked for.
    """

    value: Any = 0
    dtype: Any = float32
    verify_shape: bool = False

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """The value, as often as it is needed."""
        given = literal(self.value).shape
        if self.verify_shape and given != tuple(shape):
            raise InvalidArgumentError(
                f"a constant initializer of shape {given} was asked for {tuple(shape)}{at_user_line()}"
            )
        return array.make_constant(self.value, dtype, shape)


@dataclass(eq=False, repr=False)
class RandomNormal(Initial):
    """Normal numbers."""

    mean: float = 0.0
    stddev: float = 1.0
    seed: int | None = None
    dtype: Any = float32

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """Normal numbers."""
        return random.random_normal(shape, self.mean, self.stddev, dtype, self.seed)


@dataclass(eq=False, repr=False)
class RandomUniform(Initial):
    """Uniform numbers in [minval, maxval); for floating point ``maxval`` is 1 by default."""

    minval: float = 0.0
    maxval: float | None = None
    seed: int | None = None
    dtype: Any = float32

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """Uniform numbers."""
        return random.random_uniform(shape, self.minval, self.maxval, dtype, self.seed)


@dataclass(eq=False, repr=False)
class TruncatedNormal(Initial):
    """Normal numbers, those further than two standard deviations from the mean drawn again."""

    mean: float = 0.0
    stddev: float = 1.0
    seed: int | None = None
    dtype: Any = float32

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """Truncated normal numbers."""
        return random.truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


Mode = Literal["fan_in", "fan_out", "fan_avg"]


class VarianceScaling(Initial):
    """Numbers of variance ``scale`` / n, where n is the number of a unit's inputs, of its outputs, or the mean of both.

    ``mode`` says which: "fan_in", "fan_out" or "fan_avg". ``distribution`` is "truncated_normal" (or "normal"),
    "untruncated_normal" or "uniform".
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: Mode = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        kinds = "normal", "truncated_normal", "untruncated_normal", "uniform"
        if scale <= 0 or mode not in _FANS or distribution not in kinds:
            raise InvalidArgumentError(
                f"variance_scaling takes a scale above 0, a mode of {', '.join(_FANS)} and a distribution of "
                f"{', '.join(kinds)}, not {scale}, {mode!r}, {distribution!r}{at_user_line()}"
            )
        self.scale, self.mode, self.seed, self.dtype = scale, mode, seed, as_dtype(dtype)
        self.distribution = "truncated_normal" if distribution == "normal" else distribution

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """Numbers of the distribution."""
        stddev = math.sqrt(self.scale / _fan(shape, self.mode))
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * self.scale / _fan(shape, self.mode))
            return random.random_uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random.random_normal(shape, 0.0, stddev, dtype, self.seed)
        return random.truncated_normal(shape, 0.0, stddev / _TRUNCATED_STDDEV, dtype, self.seed)


class GlorotUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Glorot & Bengio (AISTATS 2010), for tanh and for the last layer."""

    def __init__(self, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)


class GlorotNormal(VarianceScaling):
    """Truncated normal of standard deviation sqrt(2 / (fan_in + fan_out)). Glorot & Bengio (AISTATS 2010)."""

    def __init__(self, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)


def he_uniform(seed: int | None = None, dtype: Any = float32) -> VarianceScaling:
    """Uniform in +-sqrt(6 / fan_in). He et al. (ICCV 2015), for layers that end in relu."""
    return VarianceScaling(2.0, "fan_in", "uniform", seed, dtype)


def he_normal(seed: int | None = None, dtype: Any = float32) -> VarianceScaling:
    """Truncated normal of standard deviation sqrt(2 / fan_in). He et al. (ICCV 2015), for layers that end in relu."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed, dtype)


def lecun_uniform(seed: int | None = None, dtype: Any = float32) -> VarianceScaling:
    """Uniform in +-sqrt(3 / fan_in). LeCun et al., "Efficient backprop" (1998), for selu and tanh."""
    return VarianceScaling(1.0, "fan_in", "uniform", seed, dtype)


def lecun_normal(seed: int | None = None, dtype: Any = float32) -> VarianceScaling:
    """Truncated normal of standard deviation sqrt(1 / fan_in). LeCun et al., "Efficient backprop" (1998)."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed, dtype)


@dataclass(eq=False, repr=False)
class UniformUnitScaling(Initial):
    """Uniform in +-factor sqrt(3 / n) for shape [..., m] of n rows: keeps the scale of what goes through."""

    factor: float = 1.0
    seed: int | None = None
    dtype: Any = float32

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """Uniform numbers."""
        limit = math.sqrt(3 / max(1.0, math.prod(shape[:-1]))) * self.factor
        return random.random_uniform(shape, -limit, limit, dtype, self.seed)


@dataclass(eq=False, repr=False)
class Orthogonal(Initial):
    """``gain`` times a matrix [prod(shape[:-1]), shape[-1]] with orthonormal rows or columns, of which there are fewer.

    Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning" (ICLR 2014).
    """

    gain: float = 1.0
    seed: int | None = None
    dtype: Any = float32

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """The matrix; raises InvalidArgumentError for fewer than two axes."""
        if len(shape) < 2:
            raise InvalidArgumentError(f"an orthogonal initializer needs 2 axes or more, not {shape}{at_user_line()}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = random.random_normal([max(rows, columns), min(rows, columns)], dtype=dtype, seed=self.seed)
        q = orthonormal(normal)
        tensor: Tensor = multiply(array.reshape(transpose(q) if rows < columns else q, list(shape)), self.gain)
        return tensor


@dataclass(eq=False, repr=False)
class Identity(Initial):
    """``gain`` times the identity matrix."""

    gain: float = 1.0
    dtype: Any = float32

    def values(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """The matrix; raises InvalidArgumentError for another number of axes than two."""
        if len(shape) != 2:
            raise InvalidArgumentError(f"an identity initializer needs 2 axes, not {shape}{at_user_line()}")
        tensor: Tensor = multiply(eye(shape[0], shape[1], dtype=dtype), self.gain)
        return tensor


zeros, ones, constant, identity, orthogonal = Zeros, Ones, Constant, Identity, Orthogonal
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling, uniform_unit_scaling = VarianceScaling, UniformUnitScaling
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal

# What a name stands for. As TensorFlow's layers take them from Keras, random numbers are small by this way.
_BY_NAME: dict[str, Callable[[], Initial]] = {
    "zeros": zeros, "ones": ones, "constant": constant, "identity": identity, "orthogonal": orthogonal,
    "random_normal": lambda: RandomNormal(stddev=0.05), "random_uniform": lambda: RandomUniform(-0.05, 0.05),
    "truncated_normal": lambda: TruncatedNormal(stddev=0.05), "variance_scaling": variance_scaling,
    "uniform_unit_scaling": uniform_unit_scaling, "glorot_uniform": glorot_uniform, "glorot_normal": glorot_normal,
    "he_uniform": he_uniform, "he_normal": he_normal, "lecun_uniform": lecun_uniform, "lecun_normal": lecun_normal,
}  # fmt: skip


def as_initializer(given: Any) -> Any:
    """What is given for an initializer: the one that a name stands for, one of a class, all else as it is.

    Names are those of Keras, with which "random_normal" and "truncated_normal" have a standard deviation of 0.05, and
    "random_uniform" lies within 0.05 of 0. Raises ValueError for a name that there is not.
    """
    if isinstance(given, str):
        if given not in _BY_NAME:
            raise GraphError(f"an initializer is one of {', '.join(_BY_NAME)}, not {given!r}{at_user_line()}")
        return _BY_NAME[given]()
    return given() if inspect.isclass(given) else given


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
