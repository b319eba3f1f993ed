"""How often predictions are right and wrong: of two classes, and of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from paraflow.graph.dtypes import bool_, float32, float64, int64
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.metrics.state import Metric, Names, collected, matched, metric_variable, weights_of
from paraflow.nn.variable_scope import variable_scope
from paraflow.ops.array import cast, identity, reshape
from paraflow.ops.linalg import diag_part
from paraflow.ops.logic import equal, greater, logical_and, logical_not, not_equal, select
from paraflow.ops.math import div_no_nan, divide, maximum
from paraflow.ops.ordering import confusion_matrix
from paraflow.ops.reduce import reduce_mean, reduce_sum
from paraflow.ops.rows import scatter_add_to


def _count(name: str, of_label: bool, of_prediction: bool) -> Callable[..., Metric]:
    """The metric that counts the samples with this label and this prediction."""

    def metric(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Names = None,
        updates_collections: Names = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with variable_scope(name, metric.__name__, [predictions, labels, weights]):
            label, predicted = matched(cast(convert(labels), bool_), cast(convert(predictions), bool_))
            sides = (label if of_label else logical_not(label), predicted if of_prediction else logical_not(predicted))
            found = cast(logical_and(*sides), float32)
            count = metric_variable("count")
            value: Tensor = identity(count)
            counted = found if weights is None else found * weights_of(found, weights)
            return collected(value, count.assign_add(reduce_sum(counted)), metrics_collections, updates_collections)

    metric.__name__ = metric.__qualname__ = name
    metric.__doc__ = (
        f"The number so far, or the sum of the ``weights``, of samples labelled {of_label} and predicted "
        f"{of_prediction}.\n\n    Labels and predictions are cast to bool. Keeps float32 NAME/count."
    )
    return metric


true_positives = _count("true_positives", True, True)
true_negatives = _count("true_negatives", False, False)
false_positives = _count("false_positives", False, True)
false_negatives = _count("false_negatives", True, False)


def precision(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Of the samples predicted True the share that is; 0 where there are none. Both are cast to bool."""
    with variable_scope(name, "precision", [predictions, labels, weights]):
        return _share_of_true_positives(
            false_positives, labels, predictions, weights, metrics_collections, updates_collections
        )


def recall(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Of the samples labelled True the share predicted so; 0 where there are none. Both are cast to bool."""
    with variable_scope(name, "recall", [predictions, labels, weights]):
        return _share_of_true_positives(
            false_negatives, labels, predictions, weights, metrics_collections, updates_collections
        )


def _share_of_true_positives(
    other: Callable[..., Metric], labels: Any, predictions: Any, weights: Any, metrics_collections: Names,
    updates_collections: Names,
) -> Metric:  # fmt: skip
    right, wrong = (count(labels, predictions, weights) for count in (true_positives, other))
    value, update = (
        div_no_nan(r, r + w, name=name) for r, w, name in zip(right, wrong, ("value", "update_op"), strict=True)
    )
    return collected(value, update, metrics_collections, updates_collections)


def mean_per_class_accuracy(
    labels: Any, predictions: Any, num_classes: int, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean over classes of the share of each class's samples predicted as it; the update has the shares.

    Labels are in [0, num_classes). Keeps float32 NAME/total and NAME/count, [num_classes].
    """
    with variable_scope(name, "mean_accuracy", [predictions, labels, weights]):
        label, predicted = _flat(labels, predictions)
        total, count = (metric_variable(n, [num_classes]) for n in ("total", "count"))
        value: Tensor = reduce_mean(div_no_nan(count, maximum(total, 0.0)), name="mean_accuracy")
        ones = cast(equal(label, label), float32)
        right = cast(equal(label, predicted), float32)
        if weights is not None:
            each = weights_of(right, _vector(weights))
            ones, right = ones * each, right * each
        totals, counts = scatter_add_to(total, label, ones), scatter_add_to(count, label, right)
        update: Tensor = div_no_nan(counts, maximum(totals, 0.0), name="update_op")
        return collected(value, update, metrics_collections, updates_collections)


def mean_iou(
    labels: Any, predictions: Any, num_classes: int, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean over classes of true positives / (true positives + false positives + false negatives).

    Classes that are in no label and no prediction do not count. Keeps float64 NAME/total_confusion_matrix
    [num_classes, num_classes], which the update returns.
    """
    with variable_scope(name, "mean_iou", [predictions, labels, weights]):
        label, predicted = _flat(labels, predictions)
        matrix = metric_variable("total_confusion_matrix", [num_classes, num_classes], float64)
        rows, columns = (cast(reduce_sum(matrix, axis), float32) for axis in (0, 1))
        right = cast(diag_part(matrix), float32)
        union = rows + columns - right
        classes = reduce_sum(cast(not_equal(union, 0.0), float32))
        ious = divide(right, select(greater(union, 0.0), union, np.float32(1)))
        value: Tensor = div_no_nan(reduce_sum(ious), classes, name="mean_iou")
        each = None if weights is None else weights_of(cast(label, float64), _vector(weights), float64)
        now = confusion_matrix(label, predicted, num_classes, float64, weights=each)
        return collected(value, matrix.assign_add(now), metrics_collections, updates_collections)


def _flat(labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    """Both as int64 vectors."""
    label, predicted = matched(labels, predictions)
    return _vector(cast(label, int64)), _vector(cast(predicted, int64))


def _vector(x: Any) -> Tensor:
    tensor = convert(x)
    if tensor.spec.rank in (0, 1):
        return tensor
    vector: Tensor = reshape(tensor, [-1])
    return vector
