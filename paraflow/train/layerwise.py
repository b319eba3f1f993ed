"""Optimizers for large batches and regularised models: decoupled weight decay, and steps scaled layer by layer.

The layerwise ones measure a variable and its step by their L2 norms; the compiler lets each rank sum up its slice of
them (compiler/updates.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from paraflow.graph.node import Operation, Tensor
from paraflow.ops.logic import greater, logical_and, select
from paraflow.ops.math import sqrt, square
from paraflow.ops.reduce import reduce_sum
from paraflow.ops.state import Variable
from paraflow.train.optimizer import Optimizer, scalar_like
from paraflow.train.optimizers import AdamOptimizer


class AdamWOptimizer(AdamOptimizer):
    """Adam with decoupled weight decay: Loshchilov & Hutter, ICLR 2019, algorithm 2.

    w <- w - weight_decay * w - (Adam's step). ``weight_decay`` is the paper's eta_t * lambda: it is not multiplied by
    the learning rate, so where that follows a schedule, let the decay follow it too. Variables in whose name one of the
    patterns ``exclude_from_weight_decay`` is found (regular expressions) do not decay. Names and arguments are those of
    TensorFlow's contrib.opt and Addons. Slots: ``m``, ``v``.
    """

    def __init__(
        self,
        weight_decay: Any,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-08,
        exclude_from_weight_decay: Sequence[str] = (),
        name: str = "AdamW",
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, name=name)
        self._weight_decay = weight_decay
        self._undecayed = tuple(exclude_from_weight_decay)

    def _step(self, mean: Tensor, variance: Tensor, var: Variable) -> Tensor:
        step = super()._step(mean, variance, var)
        if matches(var, self._undecayed):
            return step
        return var * scalar_like(self._weight_decay, var) + step


class LAMBOptimizer(AdamOptimizer):
    """Layerwise adaptive moments for large batches: You et al., ICLR 2020, algorithm 2, phi the identity.

    u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay * w; w <- w - rate * |w| / |u| * u, with
    Adam's m and v. The ratio is 1 where one of the norms is 0, and for variables in whose name one of the patterns
    ``exclude_from_layer_adaptation`` is found. Slots: ``m``, ``v``.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: Any = 0.0,
        exclude_from_weight_decay: Sequence[str] = (),
        exclude_from_layer_adaptation: Sequence[str] = (),
        name: str = "LAMB",
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, name=name)
        self._weight_decay = weight_decay
        self._undecayed = tuple(exclude_from_weight_decay)
        self._unadapted = tuple(exclude_from_layer_adaptation)

    def _correction(self, var: Variable) -> tuple[Tensor, ...]:
        power1, power2 = self._current_powers(var)
        return 1 - power1, 1 - power2

    def _step(self, mean: Tensor, variance: Tensor, var: Variable) -> Tensor:
        rest1, rest2 = self._corrections[var.dtype]
        direction: Tensor = mean / rest1 / (sqrt(variance / rest2) + scalar_like(self._epsilon, var))
        if not matches(var, self._undecayed):
            direction = direction + var * scalar_like(self._weight_decay, var)
        if matches(var, self._unadapted):
            return direction * self._rate(var)
        length = norm(direction)
        return direction * (self._rate(var) * trust_ratio(norm(var), length, length))


class LARSOptimizer(Optimizer):
    """Layerwise adaptive rate scaling: You, Gitman & Ginsburg, arXiv 1708.03888, algorithm 1.

    a <- momentum * a + rate * eeta * |w| / (|g| + weight_decay * |w| + epsilon) * (g + weight_decay * w); w <- w - a,
    with ``use_nesterov`` w <- w - (momentum * a + what a has grown by). The ratio is 1 where |w| or |g| is 0. Variables
    in whose name one of the patterns ``skip_list`` is found neither decay nor have a ratio. Arguments are those of
    TensorFlow's contrib.opt, which applies the rate to a as a whole. Slot: ``momentum``.
    """

    _decays = ("momentum",)
    _every_row = True

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any = 0.9,
        weight_decay: Any = 0.0001,
        eeta: Any = 0.001,
        epsilon: float = 0.0,
        name: str = "LARS",
        skip_list: Sequence[str] = (),
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(learning_rate, name)
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._eeta = eeta
        self._epsilon = epsilon
        self._skipped = tuple(skip_list)
        self._nesterov = use_nesterov

    def _update(self, gradient: Tensor, var: Variable) -> list[Operation]:
        slot = self._slot(var, "momentum")
        momentum = scalar_like(self._momentum, var)
        change = gradient * self._rate(var) if matches(var, self._skipped) else self._scaled(gradient, var)
        accumulated = slot.assign(slot * momentum + change)
        step = change + accumulated * momentum if self._nesterov else accumulated
        return [accumulated.op, var.assign_sub(step).op]

    def _scaled(self, gradient: Tensor, var: Variable) -> Tensor:
        decay, eeta, epsilon = (scalar_like(x, var) for x in (self._weight_decay, self._eeta, self._epsilon))
        size, slope = norm(var), norm(gradient)
        ratio = trust_ratio(size * eeta, slope + size * decay + epsilon, slope)
        scaled: Tensor = (gradient + var * decay) * (self._rate(var) * ratio)
        return scaled


def norm(tensor: Tensor | Variable) -> Tensor:
    """The L2 norm of all elements, a scalar."""
    root: Tensor = sqrt(reduce_sum(square(tensor)))
    return root


def trust_ratio(numerator: Tensor, denominator: Tensor, measured: Tensor) -> Tensor:
    """numerator / denominator where ``numerator`` and ``measured`` are positive, else 1; scalars."""
    defined = logical_and(greater(numerator, 0), greater(measured, 0))
    ratio: Tensor = select(defined, numerator / select(defined, denominator, 1), 1)
    return ratio


def matches(var: Variable, patterns: Sequence[str]) -> bool:
    """Whether one of the regular expressions is found in the variable's name."""
    return any(re.search(pattern, var.spec.name) for pattern in patterns)
