"""Metrics of the k classes with the largest predictions: of several labels for a sample, how many are among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import float64, int64
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims
from paraflow.metrics.state import Metric, Names, collected, metric_variable, weights_of
from paraflow.ops.array import cast, size
from paraflow.ops.array import shape as shape_of
from paraflow.ops.gathering import top_k
from paraflow.ops.logic import equal, greater_equal, less, logical_and, logical_not
from paraflow.ops.math import div_no_nan, divide, minimum
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.reduce import argmax, reduce_any, reduce_sum
from paraflow.ops.scan import cumsum
from paraflow.ops.sequences import range as range_of


def _at_k(word: str, k: int | None, class_id: int | None = None) -> str:
    """The name of a metric."""
    name = f"{word}_at_{'k' if k is None else k}"
    return name if class_id is None else f"{name}_class{class_id}"


def _several(labels: Any, predicted: Tensor) -> Tensor:
    """Labels [..., number] as int64; a single one a sample may lack the last axis."""
    label = cast(convert(labels), int64)
    ranks = label.spec.rank, predicted.spec.rank
    if None in ranks or ranks[0] not in (ranks[1], (ranks[1] or 0) - 1):
        raise GraphError(
            f"labels {format_dims(label.spec.shape)} have as many axes as predictions "
            f"{format_dims(predicted.spec.shape)}, or one less{at_user_line()}"
        )
    whole: Tensor = label if ranks[0] == ranks[1] else expand_dims(label, -1)
    return whole


def _pairs(x: Tensor, y: Tensor) -> Tensor:
    """Whether x[..., i] equals y[..., j]: [..., i, j]."""
    same: Tensor = equal(expand_dims(x, -1), expand_dims(y, -2))
    return same


def _members(x: Tensor, others: Tensor, within: bool, class_id: int | None) -> Tensor:
    """How many different numbers of x [..., n] are, or are not, ``within`` others [..., m]; of one class, or of all."""
    found = reduce_any(_pairs(x, others), -1)
    places = range_of(shape_of(x)[-1])
    first = equal(argmax(cast(_pairs(x, x), int64), -1, output_type=places.dtype), places)
    counted = logical_and(first, found if within else logical_not(found))
    if class_id is not None:
        counted = logical_and(counted, equal(x, np.int64(class_id)))
    number: Tensor = reduce_sum(cast(counted, float64), -1)
    return number


def _share(word: str, other: str, doc: str) -> Callable[..., Metric]:
    """The metric true positives / (true positives + ``other``), of the numbers of the classes predicted."""

    def metric(
        labels: Any, predictions_idx: Any, k: int | None = None, class_id: int | None = None, weights: Any = None,
        metrics_collections: Names = None, updates_collections: Names = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with name_scope(name or _at_k(word, k, class_id)) as scope:
            predicted = cast(convert(predictions_idx), int64)
            label = _several(labels, predicted)
            right = _members(label, predicted, True, class_id)
            wrong = (_members(label, predicted, False, class_id) if other == "false_negative" else
                     _members(predicted, label, False, class_id))  # fmt: skip
            totals, updates = [], []
            for kind, number in (("true_positive", right), (other, wrong)):
                total = metric_variable(_at_k(kind, k, class_id), dtype=float64)
                totals.append(convert(total))
                each = number if weights is None else number * weights_of(number, weights, float64)
                updates.append(total.assign_add(reduce_sum(each)))
            value: Tensor = divide(totals[0], totals[0] + totals[1], name=scope)
            update: Tensor = divide(updates[0], updates[0] + updates[1], name="update")
            return collected(value, update, metrics_collections, updates_collections)

    metric.__name__ = metric.__qualname__ = f"{word}_at_top_k"
    metric.__doc__ = doc
    return metric


recall_at_top_k = _share(
    "recall",
    "false_negative",
    """Of the labels [..., number], or [...] of one each, the share that are among the classes predictions_idx [..., k].

    Labels that are no class count as missed; of equal ones one counts. With ``class_id`` labels of that class alone
    count. ``weights`` are of samples. NaN before anything is counted.
    """,
)
precision_at_top_k = _share(
    "precision",
    "false_positive",
    """Of the classes predictions_idx [..., k] the share that are among the labels [..., number], or [...] of one each.

    With ``class_id`` samples count for which that class is predicted. ``weights`` are of samples. NaN before anything
    is counted.
    """,
)


def recall_at_k(
    labels: Any, predictions: Any, k: int, class_id: int | None = None, weights: Any = None,
    metrics_collections: Names = None, updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """`recall_at_top_k` of the k classes with the largest ``predictions`` [..., classes]."""
    with name_scope(name or _at_k("recall", k, class_id)) as scope:
        largest = top_k(predictions, k)[1]
        return recall_at_top_k(labels, largest, k, class_id, weights, metrics_collections, updates_collections, scope)


def precision_at_k(
    labels: Any, predictions: Any, k: int, class_id: int | None = None, weights: Any = None,
    metrics_collections: Names = None, updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """`precision_at_top_k` of the k classes with the largest ``predictions`` [..., classes]."""
    with name_scope(name or _at_k("precision", k, class_id)) as scope:
        largest = top_k(predictions, k)[1]
        return precision_at_top_k(
            labels, largest, k, class_id, weights, metrics_collections, updates_collections, scope
        )


def average_precision_at_k(
    labels: Any, predictions: Any, k: int, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean over samples of the mean precision at the places, among the k largest ``predictions``, of right classes.

    Predictions are [..., classes], labels [..., number], or [...] of one each; labels that are no class do not count.
    The precision at place i is the share of right classes among the first i; the sum over the right ones is divided by
    the number of labels, or k if that is less. Raises InvalidArgumentError for k below 1.
    """
    if k < 1:
        raise InvalidArgumentError(f"k is at least 1, not {k}{at_user_line()}")
    with name_scope(name or _at_k("average_precision", k)) as scope:
        given = convert(predictions)
        largest = cast(top_k(given, k)[1], int64)
        label = _several(labels, largest)
        right = cast(reduce_any(_pairs(largest, label), -1), float64)
        precision = divide(cumsum(right, axis=-1), np.arange(1.0, k + 1))
        real = logical_and(greater_equal(label, np.int64(0)), less(label, cast(shape_of(given)[-1], int64)))
        relevant = minimum(reduce_sum(cast(real, float64), -1), float(k))
        each = divide(reduce_sum(precision * right, -1), relevant)
        most, total = metric_variable("max", dtype=float64), metric_variable("total", dtype=float64)
        value: Tensor = div_no_nan(total, most, name="mean")
        whole = None if weights is None else weights_of(each, weights, float64)
        number = cast(size(each), float64) if whole is None else reduce_sum(whole)
        seen = most.assign_add(number)
        summed = total.assign_add(reduce_sum(each if whole is None else each * whole))
        update: Tensor = div_no_nan(summed, seen, name=scope)
        return collected(value, update, metrics_collections, updates_collections)
