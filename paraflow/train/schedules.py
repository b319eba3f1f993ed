"""Learning rates that fall with the step; formulas are TensorFlow 1.15's."""

from __future__ import annotations

from typing import Any

from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.ops.array import cast
from paraflow.ops.math import floor, pow
from paraflow.ops.state import Variable


def exponential_decay(
    learning_rate: float, global_step: Any, decay_steps: int, decay_rate: float, staircase: bool = False
) -> Tensor:
    """rate * decay_rate ** (step / decay_steps), a float32 scalar; ``staircase`` rounds the exponent down."""
    rate = convert(float(learning_rate))
    exponent = cast(convert(global_step), dtype=rate.dtype) / float(decay_steps)
    result: Tensor = rate * pow(convert(float(decay_rate)), floor(exponent) if staircase else exponent)
    return result


def create_global_step() -> Variable:
    """A variable that counts steps, not trainable."""
    return Variable(0, trainable=False, name="global_step", dtype="int64")
