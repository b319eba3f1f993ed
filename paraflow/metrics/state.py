"""What metrics are made of: variables that add up, and weights and labels in the shape of the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.dtypes import float32
from paraflow.graph.graph import get_default_graph
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import compatible, format_dims
from paraflow.nn.losses import fitting_weights
from paraflow.ops.array import broadcast_to, cast, known_shape, zeros
from paraflow.ops.rearrange import expand_dims, squeeze
from paraflow.ops.state import GraphKeys, Variable

Names = Sequence[str] | None
Metric = tuple[Tensor, Tensor]  # the value, and what updates it


def metric_variable(name: str, shape: Sequence[int] = (), dtype: Any = float32) -> Variable:
    """A local variable in which a metric adds up, at first 0."""
    keys = [GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES]
    return Variable(lambda: zeros(list(shape), dtype), False, keys, name=name)


def collected(value: Tensor, update: Tensor, metrics_collections: Names, updates_collections: Names) -> Metric:
    """Both, added to the collections that the caller has named."""
    graph = get_default_graph()
    graph.add_to_collections(metrics_collections or (), value)
    graph.add_to_collections(updates_collections or (), update)
    return value, update


def without_last(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    """The two, of which the one with an axis of size 1 more at its end loses that."""
    ranks = labels.spec.rank, predictions.spec.rank
    if ranks[0] is not None and ranks[1] is not None:
        if ranks[0] == ranks[1] + 1 and labels.shape.as_list()[-1] in (1, None):
            return squeeze(labels, [-1]), predictions
        if ranks[1] == ranks[0] + 1 and predictions.shape.as_list()[-1] in (1, None):
            return labels, squeeze(predictions, [-1])
    return labels, predictions


def matched(labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    """Labels and predictions of one shape; raises GraphError where they cannot have one."""
    expected, predicted = without_last(convert(labels), convert(predictions))
    if not compatible(expected.spec.shape, predicted.spec.shape):
        raise GraphError(
            f"labels {format_dims(expected.spec.shape)} and predictions {format_dims(predicted.spec.shape)} need one "
            f"shape{at_user_line()}"
        )
    return expected, predicted


def weights_of(values: Tensor, weights: Any, dtype: Any = float32) -> Tensor:
    """``weights``, a scalar or broadcast to the shape of ``values``, as numbers of that shape.

    An axis of size 1 at the end may be there or not. Raises GraphError for weights of another shape.
    """
    given = convert(weights)
    if given.spec.rank and values.spec.rank is not None:
        if given.spec.rank == values.spec.rank + 1:
            given = squeeze(given, [-1])
        elif given.spec.rank == values.spec.rank - 1:
            given = expand_dims(given, -1)
    whole: Tensor = broadcast_to(fitting_weights("values", values, cast(given, dtype)), known_shape(values))
    return whole
