"""Activations and other functions of features that are put together of operations."""

from __future__ import annotations

import math
from typing import Any

from paraflow.graph.dtypes import float32, is_integer
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.ops.array import cast
from paraflow.ops.joining import concat
from paraflow.ops.logic import equal
from paraflow.ops.math import multiply
from paraflow.ops.nn import leaky_relu as bent
from paraflow.ops.nn import relu, xw_plus_b
from paraflow.ops.reduce import reduce_mean
from paraflow.ops.transcendental import erf, sigmoid, tanh
from paraflow.ops.transcendental import softsign as soft_sign


def softsign(features: Any, name: str | None = None) -> Tensor:
    """x / (1 + |x|)."""
    result: Tensor = soft_sign(convert(features), name=name or "Softsign")
    return result


def swish(features: Any, name: str | None = None) -> Tensor:
    """x sigmoid(x). Ramachandran, Zoph & Le, "Searching for activation functions" (2017)."""
    with name_scope(name or "swish") as scope:
        x = convert(features)
        result: Tensor = multiply(x, sigmoid(x), name=scope)
        return result


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """x where x > 0, else ``alpha`` x; integers become float32. Maas, Hannun & Ng (2013)."""
    x = convert(features)
    result: Tensor = bent(cast(x, float32) if is_integer(x.dtype) else x, alpha, name=name or "LeakyRelu")
    return result


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Tensor:
    """x times the standard normal distribution function of x, with ``approximate`` by a tanh.

    Hendrycks & Gimpel, "Gaussian error linear units" (2016).
    """
    with name_scope(name or "Gelu") as scope:
        x = convert(features)
        if approximate:
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
            result: Tensor = multiply(0.5 * x, 1 + tanh(inner), name=scope)
        else:
            result = multiply(0.5 * x, 1 + erf(x * math.sqrt(0.5)), name=scope)
        return result


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """The positive parts of x and of -x, one after the other along ``axis``.

    Shang et al., "Concatenated rectified linear units" (ICML 2016).
    """
    with name_scope(name or "CRelu") as scope:
        x = convert(features)
        result: Tensor = relu(concat([x, -x], axis), name=scope)
        return result


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(matmul(x, weights) + biases)."""
    with name_scope(name or "relu_layer") as scope:
        result: Tensor = relu(xw_plus_b(x, weights, biases), name=scope)
        return result


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of zeros among the elements, a float32 scalar."""
    with name_scope(name or "zero_fraction") as scope:
        share: Tensor = reduce_mean(cast(equal(convert(value), 0), float32), name=scope)
        return share
