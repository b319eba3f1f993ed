"""Metrics: scalar means over the samples of one run. (`paraflow.metrics` keeps running means in variables instead.)"""

from __future__ import annotations

from typing import Any

from paraflow.graph.dtypes import float32
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.nn.losses import check_one_shape
from paraflow.ops.array import cast
from paraflow.ops.logic import equal
from paraflow.ops.reduce import reduce_mean

__all__ = ["accuracy"]


def accuracy(labels: Any, predictions: Any, name: str | None = None) -> Tensor:
    """The share of ``predictions`` that equal their ``labels``, a float32 scalar; both are classes, of one shape.

    Raises GraphError where the shapes differ.
    """
    with name_scope(name or "accuracy"):
        expected, predicted = convert(labels), convert(predictions)
        check_one_shape("accuracy", expected, predicted)
        if predicted.dtype != expected.dtype:
            predicted = cast(predicted, expected.dtype)
        share: Tensor = reduce_mean(cast(equal(predicted, expected), float32))
        return share
