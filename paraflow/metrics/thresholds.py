"""Metrics of probabilities: each threshold above which a sample counts as predicted True has counts of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError
from paraflow.graph.dtypes import bool_, float32, int32
from paraflow.graph.graph import control_dependencies
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.metrics.state import Metric, Names, collected, matched, metric_variable, weights_of
from paraflow.nn.variable_scope import variable_scope
from paraflow.ops.array import cast, identity, reshape
from paraflow.ops.checks import assert_greater_equal, assert_less_equal
from paraflow.ops.gathering import gather
from paraflow.ops.linalg import matmul
from paraflow.ops.logic import equal, greater, logical_and, select
from paraflow.ops.math import abs, div_no_nan, divide, log, maximum, minimum
from paraflow.ops.reduce import argmax, argmin, reduce_min, reduce_sum
from paraflow.ops.scan import cumsum

Counts = dict[str, Any]

# What is counted -> (the label, the prediction) of the samples.
_KINDS = {
    "true_positives": (True, True),
    "false_negatives": (True, False),
    "true_negatives": (False, False),
    "false_positives": (False, True),
}
_BESIDE = 1e-7  # the outermost thresholds lie outside of [0, 1] by this


def _counts(
    labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any, kinds: Sequence[str] = tuple(_KINDS)
) -> tuple[Counts, Counts]:
    """Counts so far, [thresholds], and what updates them, by kind.

    Raises InvalidArgumentError, in the run, for predictions outside of [0, 1].
    """
    given = convert(predictions)
    outside = "predictions must be in [0, 1]"
    checks = [assert_greater_equal(given, 0.0, message=outside), assert_less_equal(given, 1.0, message=outside)]
    with control_dependencies(checks):
        label, predicted = matched(cast(convert(labels), bool_), identity(given))
    predicted = cast(predicted, float32)
    each = None if weights is None else reshape(weights_of(predicted, weights), [-1, 1])
    above = cast(greater(reshape(predicted, [1, -1]), np.array(thresholds, np.float32)[:, None]), float32)
    labelled = cast(reshape(label, [-1, 1]), float32)
    values: Counts = {}
    updates: Counts = {}
    for kind in kinds:
        true, positive = _KINDS[kind]
        samples = labelled if true else 1.0 - labelled
        found = matmul(above if positive else 1.0 - above, samples if each is None else samples * each)
        count = metric_variable(kind, [len(thresholds)])
        values[kind] = identity(count)
        updates[kind] = count.assign_add(reshape(found, [-1]))
    return values, updates


def _count(kind: str) -> Callable[..., Metric]:
    def metric(
        labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any = None,
        metrics_collections: Names = None, updates_collections: Names = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with variable_scope(name, kind, [predictions, labels, weights]):
            values, updates = _counts(labels, predictions, thresholds, weights, [kind])
            return collected(values[kind], updates[kind], metrics_collections, updates_collections)

    true, positive = _KINDS[kind]
    metric.__name__ = metric.__qualname__ = f"{kind}_at_thresholds"
    metric.__doc__ = (
        f"For each of ``thresholds`` the number so far, or the sum of the ``weights``, of samples labelled {true}\n    "
        f"whose prediction, in [0, 1], is {'above' if positive else 'not above'} it."
    )
    return metric


true_positives_at_thresholds = _count("true_positives")
true_negatives_at_thresholds = _count("true_negatives")
false_positives_at_thresholds = _count("false_positives")
false_negatives_at_thresholds = _count("false_negatives")


def _share(name: str, other: str, doc: str) -> Callable[..., Metric]:
    """The metric true positives / (true positives + ``other``)."""

    def metric(
        labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any = None,
        metrics_collections: Names = None, updates_collections: Names = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        def share(counts: Counts, name: str) -> Tensor:
            right = counts["true_positives"]
            result: Tensor = divide(right, right + 1e-7 + counts[other], name=name)
            return result

        with variable_scope(name, metric.__name__, [predictions, labels, weights]):
            values, updates = _counts(labels, predictions, thresholds, weights, ["true_positives", other])
            word = metric.__name__.partition("_")[0]
            ours = share(values, f"{word}_value"), share(updates, f"{word}_update_op")
            return collected(*ours, metrics_collections, updates_collections)

    metric.__name__ = metric.__qualname__ = name
    metric.__doc__ = doc
    return metric


precision_at_thresholds = _share(
    "precision_at_thresholds",
    "false_positives",
    "For each of ``thresholds``, of the samples whose prediction is above it, the share labelled True.",
)
recall_at_thresholds = _share(
    "recall_at_thresholds",
    "false_negatives",
    "For each of ``thresholds``, of the samples labelled True, the share whose prediction is above it.",
)


# -- curves -----------------------------------------------------------------------------------------------------------


def _spread(number: int, last: float = 1 + _BESIDE) -> list[float]:
    """``number`` thresholds at equal distances, of which the first and the last lie outside of [0, 1]."""
    return [-_BESIDE, *((i + 1) / (number - 1) for i in range(number - 2)), last]


def auc(
    labels: Any, predictions: Any, weights: Any = None, num_thresholds: int = 200, metrics_collections: Names = None,
    updates_collections: Names = None, curve: str = "ROC", name: str | None = None,
    summation_method: str = "trapezoidal", thresholds: Sequence[float] | None = None,
) -> Metric:  # fmt: skip
    """The area under a curve of counts at thresholds: "ROC" (recall over false positive rate) or "PR" (precision over
    recall).

    There are ``num_thresholds`` of them at equal distances, or ``thresholds`` and one at each end. The area between two
    is, by ``summation_method``, "trapezoidal", the smaller ("minoring") or larger one ("majoring"), or, for precision
    and recall, "careful_interpolation": that of counts which grow linearly, Davis & Goadrich, "The relationship between
    precision-recall and ROC curves" (ICML 2006), section 4. Raises ValueError for another curve or method.
    """
    if curve not in ("ROC", "PR"):
        raise InvalidArgumentError(f"curve is 'ROC' or 'PR', not {curve!r}{at_user_line()}")
    if summation_method not in ("trapezoidal", "careful_interpolation", "minoring", "majoring"):
        raise InvalidArgumentError(
            "summation_method is 'trapezoidal', 'careful_interpolation', 'minoring' or 'majoring', not "
            f"{summation_method!r}{at_user_line()}"
        )
    chosen = _spread(num_thresholds) if thresholds is None else [-_BESIDE, *sorted(thresholds), 1 + _BESIDE]

    def area(counts: Counts, name: str) -> Tensor:
        if curve == "PR" and summation_method == "careful_interpolation":
            return _interpolated_area(counts, name)
        right, missed = counts["true_positives"], counts["false_negatives"]
        wrong, rejected = counts["false_positives"], counts["true_negatives"]
        sensitivity = divide(right + 1e-6, right + missed + 1e-6)
        if curve == "ROC":
            x, y = divide(wrong, wrong + rejected + 1e-6), sensitivity
        else:
            x, y = sensitivity, divide(right + 1e-6, right + wrong + 1e-6)
        heights = {"minoring": minimum, "majoring": maximum}.get(summation_method, lambda a, b: (a + b) / 2.0)
        total: Tensor = reduce_sum((x[:-1] - x[1:]) * heights(y[:-1], y[1:]), name=name)
        return total

    with variable_scope(name, "auc", [labels, predictions, weights]):
        values, updates = _counts(labels, predictions, chosen, weights)
        ours = area(values, "value"), area(updates, "update_op")
        return collected(*ours, metrics_collections, updates_collections)


def _interpolated_area(counts: Counts, name: str) -> Tensor:
    """The area under precision over recall where counts grow linearly between thresholds: with p the number predicted
    True and s = d(true positives) / dp, the integral of precision is s (d(true positives) + c log(p_a / p_b)), where c
    is what true positives would be at p = 0."""
    right = counts["true_positives"]
    predicted = right + counts["false_positives"]
    grown = right[:-1] - right[1:]
    slope = div_no_nan(grown, maximum(predicted[:-1] - predicted[1:], 0.0))
    intercept = right[1:] - slope * predicted[1:]
    both = logical_and(greater(predicted[:-1], 0.0), greater(predicted[1:], 0.0))
    ratio = select(both, div_no_nan(predicted[:-1], maximum(predicted[1:], 0.0)), np.float32(1))
    positives = maximum(right[1:] + counts["false_negatives"][1:], 0.0)
    total: Tensor = reduce_sum(div_no_nan(slope * (grown + intercept * log(ratio)), positives), name=name)
    return total


def sensitivity_at_specificity(
    labels: Any, predictions: Any, specificity: float, weights: Any = None, num_thresholds: int = 200,
    metrics_collections: Names = None, updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The recall at that of ``num_thresholds`` thresholds whose true negative rate is nearest to ``specificity``.

    Raises ValueError for a ``specificity`` outside of [0, 1].
    """
    _need_rate("specificity", specificity)

    def sensitivity(counts: Counts, name: str) -> Tensor:
        rejected = counts["true_negatives"]
        rates = divide(rejected, rejected + counts["false_positives"] + 1e-7)
        place = cast(argmin(abs(rates - specificity), 0), int32)
        return _rate_at(place, counts["true_positives"], counts["false_negatives"], name)

    with variable_scope(name, "sensitivity_at_specificity", [predictions, labels, weights]):
        values, updates = _counts(labels, predictions, _spread(num_thresholds), weights)
        ours = sensitivity(values, "value"), sensitivity(updates, "update_op")
        return collected(*ours, metrics_collections, updates_collections)


def specificity_at_sensitivity(
    labels: Any, predictions: Any, sensitivity: float, weights: Any = None, num_thresholds: int = 200,
    metrics_collections: Names = None, updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The true negative rate at the last of ``num_thresholds`` thresholds whose recall is nearest to ``sensitivity``.

    Raises ValueError for a ``sensitivity`` outside of [0, 1].
    """
    _need_rate("sensitivity", sensitivity)

    def specificity(counts: Counts, name: str) -> Tensor:
        right = counts["true_positives"]
        distance = abs(divide(right, right + counts["false_negatives"] + 1e-7) - sensitivity)
        nearest = cast(equal(distance, reduce_min(distance)), int32)
        place = cast(argmax(cumsum(nearest), 0), int32)
        return _rate_at(place, counts["true_negatives"], counts["false_positives"], name)

    with variable_scope(name, "specificity_at_sensitivity", [predictions, labels, weights]):
        values, updates = _counts(labels, predictions, _spread(num_thresholds, 1 - _BESIDE), weights)
        ours = specificity(values, "value"), specificity(updates, "update_op")
        return collected(*ours, metrics_collections, updates_collections)


def _rate_at(place: Tensor, counted: Tensor, others: Tensor, name: str) -> Tensor:
    one = gather(counted, place)
    rate: Tensor = divide(one, one + gather(others, place) + 1e-7, name=name)
    return rate


def _need_rate(what: str, rate: float) -> None:
    if not 0 <= rate <= 1:
        raise InvalidArgumentError(f"{what} is in [0, 1], not {rate}{at_user_line()}")
