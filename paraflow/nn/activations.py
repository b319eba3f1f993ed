"""Activations and other functions of features that are put together of operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.dtypes import float32, is_integer
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.ops.array import cast, identity
from paraflow.ops.clip import clip_by_value
from paraflow.ops.joining import concat
from paraflow.ops.logic import equal
from paraflow.ops.math import multiply
from paraflow.ops.nn import elu, log_softmax, relu, relu6, selu, softmax, xw_plus_b
from paraflow.ops.nn import leaky_relu as bent
from paraflow.ops.reduce import reduce_mean
from paraflow.ops.transcendental import erf, exp, sigmoid, softplus, tanh
from paraflow.ops.transcendental import softsign as soft_sign


def as_activation(given: Any) -> Callable[[Tensor], Tensor] | None:
    """What is given for an activation: the function that a name stands for, all else as it is.

    The names are those that TensorFlow's layers take from Keras. Raises ValueError for what is neither a function nor
    such a name.
    """
    if given is None or callable(given):
        function: Callable[[Tensor], Tensor] | None = given
        return function
    if given not in _BY_NAME:
        raise GraphError(f"an activation is a function or one of {', '.join(_BY_NAME)}, not {given!r}{at_user_line()}")
    return _BY_NAME[given]


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


def _hard_sigmoid(x: Tensor) -> Tensor:
    """0.2 x + 0.5, bounded by 0 and 1. Courbariaux et al., "BinaryConnect" (2015)."""
    result: Tensor = clip_by_value(0.2 * x + 0.5, 0.0, 1.0)
    return result


_BY_NAME: dict[str, Callable[..., Tensor]] = {
    "elu": elu, "exponential": exp, "gelu": gelu, "hard_sigmoid": _hard_sigmoid, "leaky_relu": leaky_relu,
    "linear": identity, "log_softmax": log_softmax, "relu": relu, "relu6": relu6, "selu": selu, "sigmoid": sigmoid,
    "softmax": softmax, "softplus": softplus, "softsign": softsign, "swish": swish, "tanh": tanh,
}  # fmt: skip
