"""Learning rates that change with the step; formulas are TensorFlow 1.15's, each a float32 scalar of the graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import DType
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.ops.array import cast
from paraflow.ops.logic import greater, select
from paraflow.ops.math import ceil, floor, maximum, minimum, pow
from paraflow.ops.state import Variable
from paraflow.ops.transcendental import cos, exp


def exponential_decay(
    learning_rate: float, global_step: Any, decay_steps: int, decay_rate: float, staircase: bool = False
) -> Tensor:
    """rate * decay_rate ** (step / decay_steps); ``staircase`` rounds the exponent down."""
    result: Tensor = _rate(learning_rate) * pow(
        convert(float(decay_rate)), _periods(global_step, decay_steps, staircase)
    )
    return result


def natural_exp_decay(
    learning_rate: float, global_step: Any, decay_steps: int, decay_rate: float, staircase: bool = False
) -> Tensor:
    """rate * exp(-decay_rate * step / decay_steps); ``staircase`` rounds step / decay_steps down."""
    result: Tensor = _rate(learning_rate) * exp(_periods(global_step, decay_steps, staircase) * -float(decay_rate))
    return result


def inverse_time_decay(
    learning_rate: float, global_step: Any, decay_steps: int, decay_rate: float, staircase: bool = False
) -> Tensor:
    """rate / (1 + decay_rate * step / decay_steps); ``staircase`` rounds step / decay_steps down."""
    result: Tensor = _rate(learning_rate) / (_periods(global_step, decay_steps, staircase) * float(decay_rate) + 1.0)
    return result


def polynomial_decay(
    learning_rate: float,
    global_step: Any,
    decay_steps: int,
    end_learning_rate: float = 0.0001,
    power: float = 1.0,
    cycle: bool = False,
) -> Tensor:
    """(rate - end) * (1 - step / decay_steps) ** power + end, from ``decay_steps`` on the end.

    With ``cycle`` decay_steps becomes its first multiple that is not below the step.
    """
    step = _step(global_step)
    if cycle:
        periods = maximum(ceil(step / float(decay_steps)), 1.0)
        fraction = step / (periods * float(decay_steps))
    else:
        fraction = minimum(step, float(decay_steps)) / float(decay_steps)
    fall = float(learning_rate) - float(end_learning_rate)
    result: Tensor = pow(1.0 - fraction, convert(float(power))) * fall + float(end_learning_rate)
    return result


def cosine_decay(learning_rate: float, global_step: Any, decay_steps: int, alpha: float = 0.0) -> Tensor:
    """rate * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha), from ``decay_steps`` on rate * alpha.

    Loshchilov & Hutter, ICLR 2017, without restarts.
    """
    fraction = minimum(_step(global_step), float(decay_steps)) / float(decay_steps)
    wave = (cos(fraction * math.pi) + 1.0) * 0.5
    result: Tensor = _rate(learning_rate) * (wave * (1.0 - float(alpha)) + float(alpha))
    return result


def piecewise_constant(x: Any, boundaries: Sequence[float], values: Sequence[float]) -> Tensor:
    """values[0] while ``x`` <= boundaries[0], values[1] while x <= boundaries[1], ..., then the last value.

    Raises GraphError unless there is one value more than boundaries, and these increase.
    """
    if len(values) != len(boundaries) + 1:
        raise GraphError(f"{len(boundaries)} boundaries separate {len(boundaries) + 1} values, not {len(values)}")
    if any(a >= b for a, b in itertools.pairwise(boundaries)):
        raise GraphError(f"boundaries have to increase: {list(boundaries)}")
    position = convert(x)
    result = _rate(values[0])
    for boundary, value in zip(boundaries, values[1:], strict=True):
        limit = convert(np.asarray(boundary, position.dtype))
        result = select(greater(position, limit), _rate(value), result)
    return result


def linear_warmup(learning_rate: Any, global_step: Any, warmup_steps: int) -> Tensor:
    """rate * min(1, (step + 1) / warmup_steps): the rate rises over the first steps (Goyal et al., arXiv 1706.02677).

    ``learning_rate`` is a number or what a schedule returns.
    """
    share = minimum((_step(global_step) + 1.0) / float(warmup_steps), 1.0)
    result: Tensor = share * (learning_rate if isinstance(learning_rate, Tensor) else _rate(learning_rate))
    return result


def create_global_step() -> Variable:
    """A variable that counts steps, not trainable."""
    return Variable(0, trainable=False, name="global_step", dtype="int64")


_FLOAT32: DType = np.dtype("float32")


def _rate(value: float) -> Tensor:
    return convert(np.asarray(value, _FLOAT32))


def _step(global_step: Any) -> Tensor:
    tensor: Tensor = cast(convert(global_step), dtype=_FLOAT32)
    return tensor


def _periods(global_step: Any, decay_steps: int, staircase: bool) -> Tensor:
    """step / decay_steps, rounded down for a staircase."""
    periods: Tensor = _step(global_step) / float(decay_steps)
    return floor(periods) if staircase else periods
