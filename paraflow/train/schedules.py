"""Learning rates that change with the step; formulas are TensorFlow 1.15's, each a float32 scalar of the graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import DType
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.ops.array import cast
from paraflow.ops.logic import greater, select
from paraflow.ops.math import ceil, floor, log, maximum, minimum, pow, sqrt
from paraflow.ops.random import random_normal
from paraflow.ops.state import Variable
from paraflow.ops.transcendental import cos, exp


def exponential_decay(
    learning_rate: Any, global_step: Any, decay_steps: int, decay_rate: float, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """rate * decay_rate ** (step / decay_steps); ``staircase`` rounds the exponent down."""
    with name_scope(name or "ExponentialDecay"):
        rate, step = _start(learning_rate, global_step)
        result: Tensor = rate * pow(convert(decay_rate, rate.dtype), _periods(step, decay_steps, staircase))
        return result


def natural_exp_decay(
    learning_rate: Any, global_step: Any, decay_steps: int, decay_rate: float, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """rate * exp(-decay_rate * step / decay_steps); ``staircase`` rounds step / decay_steps down."""
    with name_scope(name or "NaturalExpDecay"):
        rate, step = _start(learning_rate, global_step)
        result: Tensor = rate * exp(_periods(step, decay_steps, staircase) * -float(decay_rate))
        return result


def inverse_time_decay(
    learning_rate: Any, global_step: Any, decay_steps: int, decay_rate: float, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """rate / (1 + decay_rate * step / decay_steps); ``staircase`` rounds step / decay_steps down."""
    with name_scope(name or "InverseTimeDecay"):
        rate, step = _start(learning_rate, global_step)
        result: Tensor = rate / (_periods(step, decay_steps, staircase) * float(decay_rate) + 1.0)
        return result


def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: int,
    end_learning_rate: float = 0.0001,
    power: float = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Tensor:
    """(rate - end) * (1 - step / decay_steps) ** power + end, from ``decay_steps`` on the end.

    With ``cycle`` decay_steps becomes its first multiple that is not below the step.
    """
    with name_scope(name or "PolynomialDecay"):
        rate, step = _start(learning_rate, global_step)
        if cycle:
            periods = maximum(ceil(step / float(decay_steps)), 1.0)
            fraction = step / (periods * float(decay_steps))
        else:
            fraction = minimum(step, float(decay_steps)) / float(decay_steps)
        fall = rate - float(end_learning_rate)
        result: Tensor = pow(1.0 - fraction, convert(power, rate.dtype)) * fall + float(end_learning_rate)
        return result


def cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: int, alpha: float = 0.0, name: str | None = None
) -> Tensor:
    """rate * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha), from ``decay_steps`` on rate * alpha.

    Loshchilov & Hutter, ICLR 2017, without restarts.
    """
    with name_scope(name or "CosineDecay"):
        rate, step = _start(learning_rate, global_step)
        fraction = minimum(step, float(decay_steps)) / float(decay_steps)
        result: Tensor = rate * (_wave(fraction) * (1.0 - float(alpha)) + float(alpha))
        return result


def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: int,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Cosine decays one after the other (Loshchilov & Hutter, ICLR 2017).

    The first takes ``first_decay_steps``, each further one ``t_mul`` times as many as the one before it and begins at
    ``m_mul`` times its rate. ``alpha`` is the share of the rate at the end of each.
    """
    with name_scope(name or "SGDRDecay"):
        rate, step = _start(learning_rate, global_step)
        done = step / float(first_decay_steps)
        if t_mul == 1.0:
            restarts = floor(done)
            fraction = done - restarts
        else:
            factor = convert(t_mul, rate.dtype)
            restarts = floor(log(1.0 - done * (1.0 - factor)) / log(factor))
            length = pow(factor, restarts)
            fraction = (done - (1.0 - length) / (1.0 - factor)) / length
        height = pow(convert(m_mul, rate.dtype), restarts)
        result: Tensor = rate * (_wave(fraction) * height * (1.0 - float(alpha)) + float(alpha))
        return result


def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: int,
    num_periods: float = 0.5,
    alpha: float = 0.0,
    beta: float = 0.001,
    name: str | None = None,
) -> Tensor:
    """rate * ((alpha + 1 - done) * (1 + cos(2 pi * num_periods * done)) / 2 + beta), where done = step / decay_steps.

    From ``decay_steps`` on it stays. Bello et al., "Neural optimizer search" (ICML 2017).
    """
    with name_scope(name or "LinearCosineDecay"):
        rate, step = _start(learning_rate, global_step)
        done = minimum(step, float(decay_steps)) / float(decay_steps)
        result: Tensor = rate * ((1.0 - done + float(alpha)) * _wave(done * (2.0 * num_periods)) + float(beta))
        return result


def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: int,
    initial_variance: float = 1.0,
    variance_decay: float = 0.55,
    num_periods: float = 0.5,
    alpha: float = 0.0,
    beta: float = 0.001,
    name: str | None = None,
) -> Tensor:
    """`linear_cosine_decay` with noise of variance initial_variance / (1 + step) ** variance_decay on 1 - done.

    All ranks draw the same noise, from the graph's seed.
    """
    with name_scope(name or "NoisyLinearCosineDecay"):
        rate, step = _start(learning_rate, global_step)
        step = minimum(step, float(decay_steps))
        variance = float(initial_variance) / pow(step + 1.0, convert(variance_decay, rate.dtype))
        done = step / float(decay_steps)
        left = 1.0 - done + random_normal([], dtype=rate.dtype) * sqrt(variance)
        result: Tensor = rate * ((left + float(alpha)) * _wave(done * (2.0 * num_periods)) + float(beta))
        return result


def piecewise_constant(
    x: Any, boundaries: Sequence[float], values: Sequence[float], name: str | None = None
) -> Tensor:
    """values[0] while ``x`` <= boundaries[0], values[1] while x <= boundaries[1], ..., then the last value.

    Raises GraphError unless there is one value more than boundaries, and these increase.
    """
    if len(values) != len(boundaries) + 1:
        raise GraphError(f"{len(boundaries)} boundaries separate {len(boundaries) + 1} values, not {len(values)}")
    if any(a >= b for a, b in itertools.pairwise(boundaries)):
        raise GraphError(f"boundaries have to increase: {list(boundaries)}")
    with name_scope(name or "PiecewiseConstant"):
        position = convert(x)
        result = _rate(values[0])
        for boundary, value in zip(boundaries, values[1:], strict=True):
            limit = convert(np.asarray(boundary, position.dtype))
            result = select(greater(position, limit), _rate(value), result)
        return result


piecewise_constant_decay = piecewise_constant


def linear_warmup(learning_rate: Any, global_step: Any, warmup_steps: int) -> Tensor:
    """rate * min(1, (step + 1) / warmup_steps): the rate rises over the first steps (Goyal et al., arXiv 1706.02677).

    ``learning_rate`` is a number or what a schedule returns.
    """
    rate, step = _start(learning_rate, global_step)
    result: Tensor = minimum((step + 1.0) / float(warmup_steps), 1.0) * rate
    return result


_FLOAT32: DType = np.dtype("float32")


def _rate(value: Any) -> Tensor:
    """A number as float32, a tensor or variable as it is."""
    return convert(value) if isinstance(value, (Tensor, Variable)) else convert(np.asarray(value, _FLOAT32))


def _start(learning_rate: Any, global_step: Any) -> tuple[Tensor, Tensor]:
    """The rate before it changes, and the step in its dtype."""
    rate = _rate(learning_rate)
    step: Tensor = cast(convert(global_step), dtype=rate.dtype)
    return rate, step


def _periods(step: Tensor, decay_steps: int, staircase: bool) -> Tensor:
    """step / decay_steps, rounded down for a staircase."""
    periods: Tensor = step / float(decay_steps)
    return floor(periods) if staircase else periods


def _wave(fraction: Tensor) -> Tensor:
    """From 1 at 0 down to 0 at 1, and up again."""
    wave: Tensor = (cos(fraction * math.pi) + 1.0) * 0.5
    return wave
