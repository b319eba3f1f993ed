"""Optimizers that keep weights sparse by a proximal step; formulas, slots and arguments are TensorFlow 1.15's.

Of an L1 norm they do not follow the slope, which has none at zero, but solve for the point where the step ends, so that
weights become exactly zero. ``use_locking`` has no meaning here: writes follow program order.
"""

from __future__ import annotations

from typing import Any

from paraflow.errors import InvalidArgumentError
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import convert
from paraflow.ops.array import cast
from paraflow.ops.math import abs as absolute
from paraflow.ops.math import maximum, minimum, pow, sign, sqrt, square
from paraflow.ops.state import Variable
from paraflow.train.optimizer import Optimizer, scalar_like


class FtrlOptimizer(Optimizer):
    """Follow the regularised leader, per coordinate: McMahan et al., KDD 2013, algorithm 1.

    n' = n + g^2; z <- z + g - (n'^p - n^p) / rate * w; w <- (clip(z, -l1, l1) - z) / (n'^p / rate + 2 * l2), where
    p = -``learning_rate_power``. To the g that enters z ``l2_shrinkage_regularization_strength`` * 2 * w is added.
    Slots: ``accum`` (n, from ``initial_accumulator_value`` on) and ``linear`` (z); ``accum_name`` and ``linear_name``
    name their variables. Raises ValueError for numbers of the wrong sign.
    """

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, name)
        if learning_rate_power > 0:
            raise InvalidArgumentError(f"learning_rate_power needs to be negative or zero, not {learning_rate_power}")
        _not_negative(
            initial_accumulator_value=initial_accumulator_value,
            l1_regularization_strength=l1_regularization_strength,
            l2_regularization_strength=l2_regularization_strength,
            l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength,
        )
        self._power = -learning_rate_power
        self._initial = initial_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength
        self._shrinkage = l2_shrinkage_regularization_strength
        self._names = accum_name, linear_name

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        accum = self._slot(var, "accum", self._initial, self._names[0])
        linear = self._slot(var, "linear", called=self._names[1])
        rate = self._rate(var)
        # Old values are used before anything is assigned.
        before = self._powered(accum.value(), var)
        total = accum.value() + square(gradient)
        after = self._powered(total, var)
        shrunk = gradient + var * scalar_like(2 * self._shrinkage, var) if self._shrinkage else gradient
        leader = linear + (shrunk - (after - before) / rate * var)
        threshold = scalar_like(self._l1, var)
        excess = maximum(minimum(leader, threshold), -threshold) - leader if self._l1 else -leader
        value = excess / (after / rate + scalar_like(2 * self._l2, var))
        return [accum.assign(total).op, linear.assign(leader).op, var.assign(value).op]

    def _powered(self, accumulated: Tensor, var: Variable) -> Tensor:
        result: Tensor = sqrt(accumulated) if self._power == 0.5 else pow(accumulated, scalar_like(self._power, var))
        return result


class ProximalGradientDescentOptimizer(Optimizer):
    """p = w - rate * g; w <- sign(p) * max(|p| - rate * l1, 0) / (1 + rate * l2) (Duchi & Singer, JMLR 2009)."""

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        super().__init__(learning_rate, name)
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        rate = self._rate(var)
        return [var.assign(_proximal(var - gradient * rate, rate, self._l1, self._l2, var)).op]


class ProximalAdagradOptimizer(Optimizer):
    """Adagrad with the step of `ProximalGradientDescentOptimizer`, whose rate is rate / sqrt(a).

    Slot: ``accumulator``. Raises ValueError for an ``initial_accumulator_value`` that is not positive.
    """

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        if initial_accumulator_value <= 0:
            raise InvalidArgumentError(f"initial_accumulator_value must be positive, not {initial_accumulator_value}")
        super().__init__(learning_rate, name)
        self._initial = initial_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        slot = self._slot(var, "accumulator", self._initial)
        accumulated = slot.assign(slot + square(gradient))
        rate = self._rate(var) / sqrt(accumulated)
        value = _proximal(var - gradient * rate, rate, self._l1, self._l2, var)
        return [accumulated.op, var.assign(value).op]


class AdagradDAOptimizer(Optimizer):
    """Adagrad by dual averaging: Duchi, Hazan & Singer, JMLR 2011, with an L1 norm that makes weights exactly zero.

    G <- G + g; a <- a + g^2; w <- -rate * sign(G) * max(|G| - l1 * t, 0) / (sqrt(a) + l2 * t * rate), where t is
    ``global_step`` + 1: let `apply_gradients` count it. Variables start where the formula puts them, mostly at zero,
    not at their initial values. Slots: ``gradient_accumulator``, ``gradient_squared_accumulator``.
    """

    def __init__(
        self,
        learning_rate: Any,
        global_step: Variable,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:
        if initial_gradient_squared_accumulator_value <= 0:
            raise InvalidArgumentError(
                "initial_gradient_squared_accumulator_value must be positive, not "
                f"{initial_gradient_squared_accumulator_value}"
            )
        super().__init__(learning_rate, name)
        self._global_step = global_step
        self._initial = initial_gradient_squared_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        rate = self._rate(var)
        steps = cast(convert(self._global_step), dtype=var.dtype) + 1
        sums = self._slot(var, "gradient_accumulator")
        squares = self._slot(var, "gradient_squared_accumulator", self._initial)
        total = sums.assign(sums + gradient)
        of_squares = squares.assign(squares + square(gradient))
        value: Tensor = total
        if self._l1:
            value = sign(total) * maximum(absolute(total) - steps * scalar_like(self._l1, var), 0)
        value = value * -rate / (sqrt(of_squares) + steps * scalar_like(self._l2, var) * rate)
        return [total.op, of_squares.op, var.assign(value).op]


def _proximal(point: Tensor, rate: Tensor, l1: float, l2: float, var: Variable) -> Tensor:
    """The point that a step of this rate towards less L1 and L2 norm leads to from ``point``."""
    if l1:
        point = sign(point) * maximum(absolute(point) - rate * scalar_like(l1, var), 0)
    shrunk: Tensor = point / (rate * scalar_like(l2, var) + 1)
    return shrunk


def _not_negative(**numbers: float) -> None:
    for name, number in numbers.items():
        if number < 0:
            raise InvalidArgumentError(f"{name} needs to be positive or zero, not {number}")
