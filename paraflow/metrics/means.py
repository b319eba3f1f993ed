"""Means over all samples so far: of values, of errors, of each element."""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.dtypes import float32
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.metrics.state import Metric, Names, collected, matched, metric_variable, weights_of
from paraflow.nn.variable_scope import variable_scope
from paraflow.ops.array import cast, ones_like, size
from paraflow.ops.logic import equal, less, select
from paraflow.ops.math import abs, div_no_nan, divide, maximum, sqrt, squared_difference
from paraflow.ops.reduce import reduce_sum
from paraflow.ops.state import Variable


def mean(
    values: Any, weights: Any = None, metrics_collections: Names = None, updates_collections: Names = None,
    name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean of all elements of ``values`` so far, weighted by ``weights``; 0 where there are none.

    Keeps float32 NAME/total and NAME/count.
    """
    with variable_scope(name, "mean", [values, weights]):
        x = cast(convert(values), float32)
        total, count = metric_variable("total"), metric_variable("count")
        value = _quotient(total, count, "value")
        if weights is None:
            number = cast(size(x), float32)
        else:
            each = weights_of(x, weights)
            x, number = x * each, reduce_sum(each)
        update = _quotient(total.assign_add(reduce_sum(x)), count.assign_add(number), "update_op")
        return collected(value, update, metrics_collections, updates_collections)


def mean_tensor(
    values: Any, weights: Any = None, metrics_collections: Names = None, updates_collections: Names = None,
    name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean of each element of ``values`` over all runs so far; the shape has to be fully known."""
    with variable_scope(name, "mean", [values, weights]):
        x = cast(convert(values), float32)
        if not x.spec.static:
            raise GraphError(f"mean_tensor needs values of a fully known shape, not {x!r}{at_user_line()}")
        total, count = (metric_variable(n, x.shape.as_list()) for n in ("total_tensor", "count_tensor"))
        value = _quotient(total, count, "value")
        number = ones_like(x) if weights is None else weights_of(x, weights)
        update = _quotient(total.assign_add(x * number), count.assign_add(number), "update_op")
        return collected(value, update, metrics_collections, updates_collections)


def _quotient(total: Tensor | Variable, count: Tensor | Variable, name: str) -> Tensor:
    quotient: Tensor = div_no_nan(total, maximum(count, 0.0), name=name)
    return quotient


def accuracy(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The share of ``predictions`` that equal their ``labels``."""
    expected, predicted = matched(labels, predictions)
    if predicted.dtype != expected.dtype:
        predicted = cast(predicted, expected.dtype)
    right = cast(equal(predicted, expected), float32)
    return mean(right, weights, metrics_collections, updates_collections, name or "accuracy")


def mean_absolute_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean of abs(predictions - labels)."""
    expected, predicted = matched(labels, predictions)
    error = abs(predicted - expected)
    return mean(error, weights, metrics_collections, updates_collections, name or "mean_absolute_error")


def mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean of (predictions - labels)^2."""
    expected, predicted = matched(labels, predictions)
    error = squared_difference(expected, predicted)
    return mean(error, weights, metrics_collections, updates_collections, name or "mean_squared_error")


def root_mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The square root of the mean of (predictions - labels)^2."""
    error = mean_squared_error(labels, predictions, weights, name=name or "root_mean_squared_error")
    return collected(sqrt(error[0]), sqrt(error[1]), metrics_collections, updates_collections)


def mean_relative_error(
    labels: Any, predictions: Any, normalizer: Any, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean of abs(predictions - labels) / normalizer, where that is 0 of 0."""
    expected, predicted = matched(labels, predictions)
    scale, predicted = matched(convert(normalizer, predicted.dtype), predicted)
    none = equal(scale, convert(0.0, scale.dtype))
    error = select(none, convert(0.0, expected.dtype), divide(abs(expected - predicted), scale))
    return mean(error, weights, metrics_collections, updates_collections, name or "mean_relative_error")


def mean_cosine_distance(
    labels: Any, predictions: Any, dim: int, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """1 less the mean of the products summed over axis ``dim``, along which both are to have length 1."""
    expected, predicted = matched(labels, predictions)
    cosine = reduce_sum(predicted * expected, axis=[dim], keepdims=True)
    value, update = mean(cosine, weights, name=name or "mean_cosine_distance")
    return collected(1.0 - value, 1.0 - update, metrics_collections, updates_collections)


def percentage_below(
    values: Any, threshold: Any, weights: Any = None, metrics_collections: Names = None,
    updates_collections: Names = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The share of ``values`` that are less than ``threshold``."""
    below = cast(less(values, threshold), float32)
    return mean(below, weights, metrics_collections, updates_collections, name or "percentage_below_threshold")
