"""Losses: means of the losses of samples, weighted or not. Names and arguments of ``tf.losses``.

Synchronous training weights each rank's gradient by its samples, so it averages means over samples exactly, whatever
the sizes of the ranks' shards. With ``weights`` that are not all equal the mean of a rank is over its own weights, as
TensorFlow's replicas have it: for the exact mean of all use Reduction.SUM_OVER_BATCH_SIZE.
Every loss joins the graph's collection of losses, of which `get_total_loss` makes the sum.
"""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import float32, is_floating
from paraflow.graph.graph import get_default_graph, name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import compatible, format_dims
from paraflow.ops.array import broadcast_to, cast, known_shape, make_constant, size, stop_gradient
from paraflow.ops.logic import greater, not_equal, select
from paraflow.ops.math import abs, add_n, div_no_nan, log, maximum, minimum, multiply, square, squared_difference
from paraflow.ops.nn import (
    relu,
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    sparse_softmax_cross_entropy_with_logits,
)
from paraflow.ops.rearrange import expand_dims, squeeze
from paraflow.ops.reduce import reduce_mean, reduce_sum
from paraflow.ops.state import GraphKeys

__all__ = [
    "Reduction",
    "absolute_difference",
    "add_loss",
    "compute_weighted_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "huber_loss",
    "log_loss",
    "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]


class Reduction:
    """What is made of the weighted losses of samples: nothing, their sum, or the sum by a number.

    MEAN divides by the sum of the weights, SUM_BY_NONZERO_WEIGHTS by the number of losses whose weight is not 0,
    SUM_OVER_BATCH_SIZE by the number of losses.
    """

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """All reductions."""
        return cls.NONE, cls.SUM, cls.MEAN, cls.SUM_OVER_BATCH_SIZE, cls.SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def validate(cls, key: str) -> None:
        """Raise InvalidArgumentError for what is no reduction."""
        if key not in cls.all():
            raise InvalidArgumentError(f"a reduction is one of {', '.join(cls.all())}, not {key!r}{at_user_line()}")


BY_WEIGHTS = Reduction.SUM_BY_NONZERO_WEIGHTS


# -- the collection ---------------------------------------------------------------------------------------------------


def add_loss(loss: Tensor, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Add a loss of the program's own to the collection."""
    if loss_collection:
        get_default_graph().add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Tensor]:
    """The losses made so far, in order; with ``scope``, a regular expression, those whose name begins with a match."""
    return get_default_graph().get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Tensor]:
    """What the regularizers of layers have made of their variables."""
    return get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Tensor:
    """The sum of `get_regularization_losses`, 0 if there are none."""
    losses = get_regularization_losses(scope)
    total: Tensor = add_n(losses, name=name) if losses else make_constant(0.0)
    return total


def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> Tensor:
    """The sum of all losses, and of those of regularizers unless ``add_regularization_losses`` is False.

    Raises GraphError where there is none.
    """
    losses = get_losses(scope) + (get_regularization_losses(scope) if add_regularization_losses else [])
    if not losses:
        raise GraphError(f"get_total_loss: the graph has no loss yet{at_user_line()}")
    total: Tensor = add_n(losses, name=name)
    return total


# -- weights ----------------------------------------------------------------------------------------------------------


def compute_weighted_loss(
    losses: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """``losses`` times ``weights``, which are a scalar or broadcast to their shape, put together by ``reduction``.

    A sum that is to be divided by 0 is 0. Raises GraphError for weights of another shape.
    """
    Reduction.validate(reduction)
    with name_scope(scope or "weighted_loss"):
        given = convert(losses)
        each = given if is_floating(given.dtype) else cast(given, float32)
        if isinstance(weights, (int, float)) and weights == 1 and reduction not in (Reduction.NONE, Reduction.SUM):
            loss: Tensor = reduce_mean(each, name="value")
        else:
            loss = _reduced(each, fitting_weights("losses", each, weights), reduction)
        loss = loss if loss.dtype == given.dtype else cast(loss, given.dtype)
        add_loss(loss, loss_collection)
        return loss


def fitting_weights(what: str, values: Tensor, weights: Any) -> Tensor:
    """``weights`` as numbers of the dtype of ``values``; raises GraphError unless they broadcast to their shape."""
    w: Tensor = cast(convert(weights), values.dtype)
    given, needed = w.spec.shape, values.spec.shape
    if given and needed is not None and not (
        len(given) == len(needed) and all(a in (1, b, None) or b is None for a, b in zip(given, needed, strict=True))
    ):
        raise GraphError(
            f"weights {format_dims(given)} do not fit {what} {format_dims(needed)}: they are a scalar, or have as many "
            f"axes, each of size 1 or the {what}'{at_user_line()}"
        )
    return w


def _reduced(losses: Tensor, weights: Tensor, reduction: str) -> Tensor:
    weighted: Tensor = multiply(losses, weights)
    if reduction == Reduction.NONE:
        return weighted
    total: Tensor = reduce_sum(weighted)
    if reduction == Reduction.SUM:
        return total
    if reduction == Reduction.SUM_OVER_BATCH_SIZE:
        number = cast(size(losses), losses.dtype)
    else:
        counted = weights if reduction == Reduction.MEAN else cast(not_equal(weights, 0), losses.dtype)
        number = reduce_sum(broadcast_to(counted, known_shape(losses)))
    mean: Tensor = div_no_nan(total, number, name="value")
    return mean


def _pair(what: str, labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    """Labels, as numbers of the predictions' dtype, and predictions, of one shape."""
    predicted = convert(predictions)
    expected = convert(labels, None if hasattr(labels, "dtype") else predicted.dtype)
    expected = expected if expected.dtype == predicted.dtype else cast(expected, predicted.dtype)
    check_one_shape(what, expected, predicted)
    return expected, predicted


def check_one_shape(what: str, labels: Tensor, predictions: Tensor) -> None:
    """Raise GraphError unless the two tensors can have the same shape."""
    if not compatible(labels.spec.shape, predictions.spec.shape):
        raise GraphError(
            f"{what}: labels {format_dims(labels.spec.shape)} and predictions "
            f"{format_dims(predictions.spec.shape)} need one shape{at_user_line()}"
        )


# -- distances --------------------------------------------------------------------------------------------------------


def absolute_difference(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """|labels - predictions|, reduced."""
    with name_scope(scope or "absolute_difference") as name:
        expected, predicted = _pair("absolute_difference", labels, predictions)
        return compute_weighted_loss(abs(predicted - expected), weights, name, loss_collection, reduction)


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """(labels - predictions)^2, reduced.

    Raises GraphError where the shapes differ: a broadcast of [n] against [n, 1] would be a mean over n^2 pairs.
    """
    with name_scope(scope or "mean_squared_error") as name:
        expected, predicted = _pair("mean_squared_error", labels, predictions)
        return compute_weighted_loss(squared_difference(predicted, expected), weights, name, loss_collection, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """Half the squared distance up to ``delta``, beyond it delta times the distance less delta / 2. Huber (1964)."""
    with name_scope(scope or "huber_loss") as name:
        expected, predicted = _pair("huber_loss", labels, predictions)
        distance = abs(predicted - expected)
        quadratic = minimum(distance, delta)
        each = 0.5 * quadratic * quadratic + delta * (distance - quadratic)
        return compute_weighted_loss(each, weights, name, loss_collection, reduction)


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int | None = None,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
    dim: int | None = None,
) -> Tensor:
    """1 - the sum of products along ``axis`` (``dim`` is its older name), which are to be of unit length."""
    along = dim if axis is None else axis
    if along is None:
        raise GraphError(f"cosine_distance needs the axis{at_user_line()}")
    with name_scope(scope or "cosine_distance_loss") as name:
        expected, predicted = _pair("cosine_distance", labels, predictions)
        each = 1 - reduce_sum(multiply(predicted, expected), along, True)
        return compute_weighted_loss(each, weights, name, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
) -> Tensor:
    """The mean over pairs of elements of a sample of the squared errors of their differences, summed over samples.

    ``weights`` are a scalar, or one for each sample ([n, 1, ...]).
    """
    with name_scope(scope or "mean_pairwise_squared_error"):
        expected, predicted = _pair("mean_pairwise_squared_error", labels, predictions)
        difference = predicted - expected
        if difference.spec.rank is None:
            raise GraphError(f"mean_pairwise_squared_error needs predictions of known rank{at_user_line()}")
        inner = tuple(range(1, difference.spec.rank))
        w = fitting_weights("losses", difference, weights)
        present = broadcast_to(cast(not_equal(w, 0), difference.dtype), known_shape(difference))
        count = reduce_sum(present, inner, True)
        squares = div_no_nan(reduce_sum(square(difference), inner, True), maximum(count - 1, 0))
        others = div_no_nan(square(reduce_sum(difference, inner, True)), maximum(count * (count - 1), 0))
        total = reduce_sum((2 * squares - 2 * others) * w)
        loss: Tensor = select(greater(reduce_sum(count), 0), total, 0)
        add_loss(loss, loss_collection)
        return loss


# -- classes ----------------------------------------------------------------------------------------------------------


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """-labels log(predictions + epsilon) - (1 - labels) log(1 - predictions + epsilon), reduced."""
    with name_scope(scope or "log_loss") as name:
        z, p = _pair("log_loss", labels, predictions)
        each = -multiply(z, log(p + epsilon)) - multiply(1 - z, log(1 - p + epsilon))
        return compute_weighted_loss(each, weights, name, loss_collection, reduction)


def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """max(0, 1 - (2 labels - 1) logits) for labels of 0 and 1, reduced."""
    with name_scope(scope or "hinge_loss") as name:
        z, x = _pair("hinge_loss", labels, logits)
        return compute_weighted_loss(relu(1 - (2 * z - 1) * x), weights, name, loss_collection, reduction)


def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """The cross entropy of independent yes-no decisions, reduced; labels in [0, 1], of the shape of ``logits``.

    ``label_smoothing`` moves labels by so much of their way to 1/2.
    """
    with name_scope(scope or "sigmoid_cross_entropy_loss") as name:
        z, x = _pair("sigmoid_cross_entropy", multi_class_labels, logits)
        if label_smoothing:
            z = z * (1 - label_smoothing) + 0.5 * label_smoothing
        each = sigmoid_cross_entropy_with_logits(labels=z, logits=x)
        return compute_weighted_loss(each, weights, name, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """The cross entropy of softmax(``logits``) and the distributions ``onehot_labels``, both [n, classes], reduced.

    ``label_smoothing`` mixes so much of the uniform distribution into the labels. No gradient flows to them.
    """
    with name_scope(scope or "softmax_cross_entropy_loss") as name:
        z, x = _pair("softmax_cross_entropy", onehot_labels, logits)
        if label_smoothing:
            classes = None if z.spec.shape is None else z.spec.shape[-1]
            if classes is None:
                raise GraphError(f"softmax_cross_entropy: smoothing needs the number of classes{at_user_line()}")
            z = z * (1 - label_smoothing) + label_smoothing / classes
        each = softmax_cross_entropy_with_logits(labels=stop_gradient(z), logits=x)
        return compute_weighted_loss(each, weights, name, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = BY_WEIGHTS,
) -> Tensor:
    """The cross entropy of softmax(``logits`` [..., classes]) at the class numbers ``labels`` [...], reduced.

    Labels, and weights, may have one more axis of size 1.
    """
    with name_scope(scope or "sparse_softmax_cross_entropy_loss") as name:
        x, z = convert(logits), convert(labels)
        if z.spec.rank is not None and z.spec.rank == x.spec.rank:
            z = squeeze(z, (-1,))
        each = sparse_softmax_cross_entropy_with_logits(labels=z, logits=x)
        if not isinstance(weights, (int, float)):
            weights = convert(weights)
            extra = (weights.spec.rank or 0) - (each.spec.rank or 0)
            if extra == 1:
                weights = squeeze(weights, (-1,))
            elif extra == -1 and weights.spec.rank:
                weights = expand_dims(weights, -1)
        return compute_weighted_loss(each, weights, name, loss_collection, reduction)
