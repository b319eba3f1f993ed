"""Losses: scalar means over samples. Names and arguments of ``tf.losses``, without weights.

A mean over samples is what synchronous training averages exactly, whatever the sizes of the ranks' shards.
"""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import compatible, format_dims
from paraflow.ops.math import squared_difference
from paraflow.ops.nn import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    sparse_softmax_cross_entropy_with_logits,
)
from paraflow.ops.reduce import reduce_mean

__all__ = ["mean_squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy", "sparse_softmax_cross_entropy"]


def softmax_cross_entropy(onehot_labels: Any, logits: Any, *, scope: str | None = None) -> Tensor:
    """The mean cross entropy of softmax(``logits``) and the distributions ``onehot_labels``, both [..., classes].

    No gradient flows to the labels.
    """
    with name_scope(scope or "softmax_cross_entropy_loss"):
        return _mean(softmax_cross_entropy_with_logits(labels=onehot_labels, logits=logits))


def sparse_softmax_cross_entropy(labels: Any, logits: Any, *, scope: str | None = None) -> Tensor:
    """The mean cross entropy of softmax(``logits`` [..., classes]) at the class numbers ``labels`` [...]."""
    with name_scope(scope or "sparse_softmax_cross_entropy_loss"):
        return _mean(sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def sigmoid_cross_entropy(multi_class_labels: Any, logits: Any, *, scope: str | None = None) -> Tensor:
    """The mean cross entropy of independent yes-no decisions; labels in [0, 1], of the shape of ``logits``."""
    with name_scope(scope or "sigmoid_cross_entropy_loss"):
        return _mean(sigmoid_cross_entropy_with_logits(labels=multi_class_labels, logits=logits))


def mean_squared_error(labels: Any, predictions: Any, *, scope: str | None = None) -> Tensor:
    """The mean of (labels - predictions)^2, over tensors of one shape.

    Raises GraphError where the shapes differ: a broadcast of [n] against [n, 1] would be a mean over n^2 pairs.
    """
    with name_scope(scope or "mean_squared_error"):
        predicted = convert(predictions)
        expected = convert(labels, predicted.dtype)
        check_one_shape("mean_squared_error", expected, predicted)
        return _mean(squared_difference(predicted, expected))


def check_one_shape(what: str, labels: Tensor, predictions: Tensor) -> None:
    """Raise GraphError unless the two tensors can have the same shape."""
    if not compatible(labels.spec.shape, predictions.spec.shape):
        raise GraphError(
            f"{what}: labels {format_dims(labels.spec.shape)} and predictions "
            f"{format_dims(predictions.spec.shape)} need one shape{at_user_line()}"
        )


def _mean(per_sample: Tensor) -> Tensor:
    mean: Tensor = reduce_mean(per_sample)
    return mean
