"""Gradient descent and its adaptive relatives, as update expressions; formulas and slots are TensorFlow 1.15's.

So are the arguments; ``use_locking`` has no meaning here, since writes follow program order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.graph.dtypes import sum_dtype
from paraflow.graph.node import Operation, Tensor
from paraflow.ops.math import sqrt, square
from paraflow.ops.state import Variable
from paraflow.train.optimizer import Optimizer, scalar_like


class GradientDescentOptimizer(Optimizer):
    """w <- w - rate * g."""

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(learning_rate, name)

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        return [var.assign_sub(gradient * self._rate(var)).op]


class MomentumOptimizer(Optimizer):
    """a <- momentum * a + g; w <- w - rate * a (Polyak 1964).

    With ``use_nesterov`` w <- w - rate * (g + momentum * a), the form of Sutskever et al., ICML 2013.
    Slot: ``momentum``.
    """

    _decays = ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(learning_rate, name)
        self._momentum = momentum
        self._nesterov = use_nesterov

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        slot = self._slot(var, "momentum")
        momentum = scalar_like(self._momentum, var)
        accumulated = slot.assign(slot * momentum + gradient)
        direction = gradient + accumulated * momentum if self._nesterov else accumulated
        return [accumulated.op, var.assign_sub(direction * self._rate(var)).op]


class AdagradOptimizer(Optimizer):
    """a <- a + g^2; w <- w - rate * g / sqrt(a) (Duchi, Hazan & Singer, JMLR 2011). Slot: ``accumulator``."""

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        if initial_accumulator_value <= 0:
            raise ValueError(f"initial_accumulator_value must be positive, not {initial_accumulator_value}")
        super().__init__(learning_rate, name)
        self._initial = initial_accumulator_value

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        slot = self._slot(var, "accumulator", self._initial)
        accumulated = slot.assign(slot + square(gradient))
        return [accumulated.op, var.assign_sub(gradient * self._rate(var) / sqrt(accumulated)).op]


class AdadeltaOptimizer(Optimizer):
    """a <- rho * a + (1 - rho) * g^2; d = g * sqrt(u + epsilon) / sqrt(a + epsilon); w <- w - rate * d.

    u, the mean of d^2, follows as a does (Zeiler, arXiv 1212.5701). Slots: ``accum`` and ``accum_update``.
    """

    _decays = ("rho",)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: float = 1e-08,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(learning_rate, name)
        self._rho = rho
        self._epsilon = epsilon

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        rho, epsilon = scalar_like(self._rho, var), scalar_like(self._epsilon, var)
        accum, accum_update = self._slot(var, "accum"), self._slot(var, "accum_update")
        mean = accum.assign(accum * rho + square(gradient) * (1 - rho))
        # The old mean of the steps is needed twice, and read before it is assigned.
        step = sqrt(accum_update + epsilon) / sqrt(mean + epsilon) * gradient
        moved = accum_update.assign(accum_update * rho + square(step) * (1 - rho))
        return [mean.op, moved.op, var.assign_sub(step * self._rate(var)).op]


class RMSPropOptimizer(Optimizer):
    """s <- decay * s + (1 - decay) * g^2; m <- momentum * m + rate * g / sqrt(s + epsilon); w <- w - m.

    Tieleman & Hinton, lecture 6.5 of "Neural networks for machine learning", 2012. With ``centered`` the square of the
    running mean of g is taken off s. Slots: ``rms`` (starts at one), ``momentum`` and, centered, ``mg``.
    """

    _decays = ("decay", "momentum")

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: float = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(learning_rate, name)
        self._decay = decay
        self._momentum = momentum
        self._epsilon = epsilon
        self._centered = centered

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        decay = scalar_like(self._decay, var)
        rms = self._slot(var, "rms", 1.0)
        mean_square = rms.assign(rms + (square(gradient) - rms) * (1 - decay))
        variance = mean_square
        updates = [mean_square.op]
        if self._centered:
            mg = self._slot(var, "mg")
            mean = mg.assign(mg + (gradient - mg) * (1 - decay))
            variance = mean_square - square(mean)
            updates.append(mean.op)
        slot = self._slot(var, "momentum")
        scaled = gradient * self._rate(var) / sqrt(variance + scalar_like(self._epsilon, var))
        step = slot.assign(slot * scalar_like(self._momentum, var) + scaled)
        return [*updates, step.op, var.assign_sub(step).op]


class AdamOptimizer(Optimizer):
    """Adaptive moments: Kingma & Ba, ICLR 2015, in the form just before its section 2.1 (epsilon hat).

    m <- m + (1 - beta1)(g - m); v <- v + (1 - beta2)(g^2 - v);
    w <- w - rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon). Slots: ``m``, ``v``.
    """

    _decays = ("beta1", "beta2")
    _every_row = True  # TensorFlow's too: the moments of rows that are not looked up decay, and move them

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-08,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(learning_rate, name)
        self._beta1 = beta1
        self._beta2 = beta2
        self._epsilon = epsilon
        self._powers: tuple[Variable, Variable] | None = None
        self._corrections: dict[np.dtype[Any], tuple[Tensor, ...]] = {}

    def _prepare(self, variables: list[Variable]) -> None:
        if self._powers is None:
            first = variables[0]
            with first.graph.name_scope(""):
                # In 16 bits they would be off after a few steps; TensorFlow keeps them in float32 too.
                dtype = sum_dtype(first.dtype)
                self._powers = (
                    Variable(np.asarray(self._beta1, dtype), trainable=False, name="beta1_power"),
                    Variable(np.asarray(self._beta2, dtype), trainable=False, name="beta2_power"),
                )
        self._corrections = {v.dtype: self._correction(v) for v in variables}

    def _correction(self, var: Variable) -> tuple[Tensor, ...]:
        """The scalars by which the moments' bias is corrected: here rate * sqrt(1 - beta2^t) / (1 - beta1^t)."""
        power1, power2 = self._current_powers(var)
        return (self._rate(var) * sqrt(1 - power2) / (1 - power1),)

    def _current_powers(self, var: Variable) -> tuple[Tensor, Tensor]:
        """beta1^t and beta2^t as scalars of the variable's dtype."""
        assert self._powers is not None
        power1, power2 = self._powers
        return scalar_like(power1, var), scalar_like(power2, var)

    def _moments(self, gradient: Tensor, var: Variable) -> tuple[Tensor, Tensor]:
        """The new means of the gradient and of its square, as they are assigned to the slots."""
        m, v = self._slot(var, "m"), self._slot(var, "v")
        # The difference is taken in the variable's dtype, as TensorFlow does: in float32 1 - 0.999 is not 0.001.
        one1, one2 = (1 - scalar_like(beta, var) for beta in (self._beta1, self._beta2))
        return m.assign(m + (gradient - m) * one1), v.assign(v + (square(gradient) - v) * one2)

    def _step(self, mean: Tensor, variance: Tensor, var: Variable) -> Tensor:
        """What is taken off the variable."""
        (alpha,) = self._corrections[var.dtype]
        step: Tensor = mean * alpha / (sqrt(variance) + scalar_like(self._epsilon, var))
        return step

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        mean, variance = self._moments(gradient, var)
        return [mean.op, variance.op, var.assign_sub(self._step(mean, variance, var)).op]

    def _finish(self) -> list[Operation]:
        assert self._powers is not None
        power1, power2 = self._powers
        return [power1.assign(power1.value() * self._beta1).op, power2.assign(power2.value() * self._beta2).op]

    def variables(self) -> list[Variable]:
        """The slots and the two powers of the decay rates."""
        return [*super().variables(), *(self._powers or ())]
