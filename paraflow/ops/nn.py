"""Operations of neural networks: activations, softmax, cross entropies, normalisation, dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import is_integer
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, merge, normal_axis
from paraflow.ops.array import cast, known_shape, reshape, shape_tensor, stop_gradient, zeros_like
from paraflow.ops.gathering import check_indices
from paraflow.ops.linalg import matmul
from paraflow.ops.logic import greater_equal, less, less_equal, logical_and, select
from paraflow.ops.math import add, log, maximum, multiply, rsqrt, square
from paraflow.ops.random import random_uniform
from paraflow.ops.reduce import keep_axes, moments_of, reduce_sum, reduced_dims, sums_along, sums_in_lanes
from paraflow.ops.transcendental import exp, sigmoid, softplus

# Klambauer et al., "Self-normalizing neural networks" (2017).
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


# -- activations ------------------------------------------------------------------------------------------------------


@op(elementwise=True, dtypes="real")
def relu(features):
    """max(x, 0); its derivative at 0 is 0."""
    return np.maximum(features, 0)


@relu.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    passed: Tensor = relu_gradient(dy, y)
    return passed


@op(elementwise=True, dtypes="float")
def relu_gradient(dy, y):
    """dy where y > 0, else 0: by a product with the mask, which is many times faster than a choice."""
    return np.multiply(dy, np.greater(y, 0))


@relu_gradient.gradient
def _(z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    y = z.op.inputs[1]
    return relu_gradient(dz, y), zeros_like(y)  # they are connected: a second derivative is 0, not None


@op(elementwise=True, dtypes="real")
def relu6(features):
    """min(max(x, 0), 6); its derivative at 0 and at 6 is 0."""
    return np.minimum(np.maximum(features, 0), 6)


@relu6.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    passed: Tensor = relu_gradient(relu_gradient(dy, y), 6 - y)
    return passed


@op(elementwise=True, dtypes="float")
def leaky_relu(features, alpha=0.2):
    """x where x > 0, else alpha x."""
    return np.where(features > 0, features, alpha * features)


@leaky_relu.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    passed: Tensor = leaky_relu_gradient(dy, y.op.inputs[0], y.op.attrs["alpha"])
    return passed


@op(elementwise=True, dtypes="float")
def leaky_relu_gradient(dy, x, alpha):
    """dy where x > 0, else alpha dy."""
    return np.where(x > 0, dy, dy * alpha)


@leaky_relu_gradient.gradient
def _(z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, None]:
    _, x, alpha = z.op.inputs
    return leaky_relu_gradient(dz, x, alpha), zeros_like(x), None


@op(elementwise=True, dtypes="float")
def elu(features):
    """x where x > 0, else exp(x) - 1. Clevert, Unterthiner & Hochreiter (2015)."""
    # exp(x) - 1 is never below x, and 0 where x is above 0.
    return np.maximum(features, np.expm1(np.minimum(features, 0)))


@elu.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    passed: Tensor = select(less(y, 0), dy * (y + 1), dy)
    return passed


@op(elementwise=True, dtypes="float")
def selu(features):
    """scale x where x > 0, else scale alpha (exp(x) - 1), which drives activations to mean 0 and variance 1."""
    negative = np.expm1(np.minimum(features, 0))
    return np.maximum(features, 0) * SELU_SCALE + negative * (SELU_SCALE * SELU_ALPHA)


@selu.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    passed: Tensor = select(less(y, 0), dy * (y + SELU_SCALE * SELU_ALPHA), dy * SELU_SCALE)
    return passed


# -- softmax ----------------------------------------------------------------------------------------------------------


def _along_axis(logits: Spec, axis: int) -> Spec:
    """Shape rule: the operand's; the axis must exist."""
    if logits.shape is not None:
        normal_axis(axis, len(logits.shape))
    return Spec(logits.dtype, logits.shape)


def shifted(logits: Any, axis: int, out: Any = None) -> Any:
    """The logits less their largest, so that their exponentials cannot overflow and one of them is 1."""
    # The largest of zeros of both signs has either of them; added to 0 it is not negative.
    largest = np.max(logits, axis=axis, keepdims=True, initial=-np.inf) + 0
    return np.subtract(logits, largest, out=out, order="C")


def divide_by_sums(x: Any, axis: int) -> Any:
    """Divide ``x`` where it is by its sums along ``axis``; returns these, which are 1 or more or NaN."""
    total = sums_along(x, axis)
    if sums_in_lanes(x, axis):
        x *= 1 / total  # a division for each element would take longer than the rest
    else:
        x /= total
    return total


@op(dtypes="float")
def softmax(logits, axis=-1):
    """exp(x) / sum(exp(x)) along ``axis``."""
    result = shifted(logits, axis)
    np.exp(result, out=result)
    divide_by_sums(result, axis)
    return result


softmax.shape(_along_axis)


@softmax.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return _through_softmax(y, dy, y.op.attrs["axis"])


def _through_softmax(p: Tensor, dp: Tensor, axis: int) -> Tensor:
    """The cotangent of the logits from that of their softmax ``p``."""
    return (dp - reduce_sum(dp * p, axis, True)) * p


@op(dtypes="float")
def log_softmax(logits, axis=-1):
    """log(softmax(x)) along ``axis``, finite where the softmax itself would round to 0."""
    result = shifted(logits, axis)
    result -= np.log(sums_along(np.exp(result), axis))
    return result


log_softmax.shape(_along_axis)


@log_softmax.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy - exp(y) * reduce_sum(dy, y.op.attrs["axis"], True)


# -- cross entropies --------------------------------------------------------------------------------------------------


@op(dtypes="float")
def softmax_cross_entropy(logits, labels, axis=-1):
    """The cross entropy -sum(labels log(softmax(logits))) along ``axis``, and the softmax for its gradient."""
    scores = shifted(logits, axis)
    p = np.exp(scores)
    total = divide_by_sums(p, axis)
    np.subtract(np.log(total), scores, out=scores)
    loss = sums_along(np.multiply(labels, scores, order="C"), axis)
    if not np.all(np.isfinite(loss)):
        # A label of 0 asks nothing of its class, even where the class has probability 0 (logits masked by -inf).
        loss = sums_along(np.where(np.equal(labels, 0), np.zeros((), scores.dtype), labels * scores), axis)
    return loss.squeeze(axis), p


@softmax_cross_entropy.shape
def _(logits: Spec, labels: Spec, axis: int) -> tuple[Spec, Spec]:
    shape = merge(logits.shape, labels.shape)
    return Spec(logits.dtype, reduced_dims(shape, axis, False)), Spec(logits.dtype, shape)


@softmax_cross_entropy.gradient
def _(y: tuple[Tensor, Tensor], dy: tuple[Tensor | None, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    (loss, p), (d_loss, d_p) = y, dy
    logits, labels = loss.op.inputs
    axis = loss.op.attrs["axis"]
    d_labels, parts = None, []
    if d_loss is not None:
        weight = keep_axes(d_loss, p, axis)
        parts.append(weight * (p * reduce_sum(labels, axis, True) - labels))
        d_labels = -weight * log_softmax(logits, axis)
    if d_p is not None:
        parts.append(_through_softmax(p, d_p, axis))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1], d_labels


def softmax_cross_entropy_with_logits_v2(
    labels: Any, logits: Any, axis: int = -1, name: str | None = None
) -> Tensor:
    """The cross entropy between distributions ``labels`` and softmax(``logits``) along ``axis``; gradient to both.

    Labels need not sum to 1: the gradient is that of -sum(labels log(softmax(logits))) all the same, where
    TensorFlow's takes for granted that they do (so rows of zeros give no gradient here).
    """
    loss: Tensor = softmax_cross_entropy(logits, labels, axis, name=name or "softmax_cross_entropy")[0]
    return loss


def softmax_cross_entropy_with_logits(
    *, labels: Any, logits: Any, axis: int = -1, name: str | None = None
) -> Tensor:
    """As `softmax_cross_entropy_with_logits_v2`, with a gradient to the logits only."""
    x = convert(logits)
    fixed = stop_gradient(convert(labels, x.dtype))
    return softmax_cross_entropy_with_logits_v2(fixed, x, axis, name)


def _need_classes(scores: Spec, labels: Spec) -> Dims:
    """The shape of one label a row of ``scores``, checked; raises GraphError."""
    if not is_integer(labels.dtype):
        raise InvalidTypeError(f"labels are class numbers of an integer dtype, not {labels.dtype.name}")
    if scores.shape == ():
        raise GraphError("a scalar has no classes")
    rows = None if scores.shape is None else scores.shape[:-1]
    if not compatible(rows, labels.shape):
        raise GraphError(
            f"labels need the shape of the logits without the last axis, {format_dims(rows)}, "
            f"not {format_dims(labels.shape)}"
        )
    return merge(rows, labels.shape)


@op(same=(0,), dtypes="float")
def sparse_softmax_cross_entropy(logits, labels):
    """-log(softmax(logits)) at the class ``labels`` of each row, and the softmax for its gradient."""
    check_indices(labels, logits.shape[-1], "labels")
    p = np.ascontiguousarray(shifted(logits, -1))
    at_label = p.reshape(-1)[label_places(labels, p)]
    np.exp(p, out=p)
    total = divide_by_sums(p, -1)
    return np.log(total[..., 0]) - at_label, p


def label_places(labels: Any, rows: Any) -> Any:
    """Where the elements of ``rows`` [..., classes] at the ``labels`` [...] lie in the flattened rows."""
    classes = rows.shape[-1]
    return np.arange(0, labels.size * classes, max(classes, 1)).reshape(labels.shape) + labels


@sparse_softmax_cross_entropy.shape
def _(logits: Spec, labels: Spec) -> tuple[Spec, Spec]:
    rows = _need_classes(logits, labels)
    shape = None if rows is None else (*rows, None if logits.shape is None else logits.shape[-1])
    return Spec(logits.dtype, rows), Spec(logits.dtype, shape)


@sparse_softmax_cross_entropy.gradient
def _(y: tuple[Tensor, Tensor], dy: tuple[Tensor | None, Tensor | None]) -> tuple[Tensor, None]:
    (loss, p), (d_loss, d_p) = y, dy
    labels = loss.op.inputs[1]
    parts = []
    if d_loss is not None:
        parts.append(subtract_one_hot(p, labels) * keep_axes(d_loss, p, -1))
    if d_p is not None:
        parts.append(_through_softmax(p, d_p, -1))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1], None


@op(same=(0,), dtypes="float")
def subtract_one_hot(p, labels):
    """``p`` less 1 at the class ``labels`` of each row (all in range)."""
    result = np.array(p, order="C")
    result.reshape(-1)[label_places(labels, result)] -= 1
    return result


@subtract_one_hot.shape
def _(p: Spec, labels: Spec) -> Spec:
    rows = _need_classes(p, labels)
    return Spec(p.dtype, None if rows is None else (*rows, None if p.shape is None else p.shape[-1]))


@subtract_one_hot.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return dy, None


def sparse_softmax_cross_entropy_with_logits(*, labels: Any, logits: Any, name: str | None = None) -> Tensor:
    """The cross entropy of softmax(``logits`` [..., classes]) at the integer ``labels`` [...]: shape [...].

    The run fails with InvalidArgumentError for a label outside [0, classes).
    """
    loss: Tensor = sparse_softmax_cross_entropy(logits, labels, name=name or "sparse_softmax_cross_entropy")[0]
    return loss


@op(elementwise=True, dtypes="float")
def sigmoid_cross_entropy(logits, labels):
    """-labels log(sigmoid(logits)) - (1 - labels) log(1 - sigmoid(logits)), without overflow or cancellation."""
    loss = np.log1p(np.exp(-np.abs(logits)))
    return loss + (np.maximum(logits, 0) - logits * labels)


@sigmoid_cross_entropy.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    logits, labels = y.op.inputs
    return dy * (sigmoid(logits) - labels), -dy * logits


def sigmoid_cross_entropy_with_logits(*, labels: Any, logits: Any, name: str | None = None) -> Tensor:
    """The cross entropy of independent yes-no decisions, elementwise; ``labels`` in [0, 1] of the logits' shape."""
    x = convert(logits)
    z = convert(labels, x.dtype)
    if not compatible(x.spec.shape, z.spec.shape):
        raise GraphError(
            f"sigmoid_cross_entropy_with_logits: logits {format_dims(x.spec.shape)} and labels "
            f"{format_dims(z.spec.shape)} need one shape"
        )
    loss: Tensor = sigmoid_cross_entropy(x, z, name=name)
    return loss


def weighted_cross_entropy_with_logits(
    labels: Any = None, logits: Any = None, pos_weight: Any = None, name: str | None = None, targets: Any = None
) -> Tensor:
    """As `sigmoid_cross_entropy_with_logits`, but with the part of the label 1 ``pos_weight`` times as heavy.

    ``targets`` is the older name of ``labels``.
    """
    labels = targets if labels is None else labels
    if labels is None or logits is None or pos_weight is None:
        raise GraphError(f"weighted_cross_entropy_with_logits needs labels, logits and pos_weight{at_user_line()}")
    with name_scope(name or "logistic_loss") as scope:
        x = convert(logits)
        z = convert(labels, x.dtype)
        if not compatible(x.spec.shape, z.spec.shape):
            raise GraphError(
                f"weighted_cross_entropy_with_logits: logits {format_dims(x.spec.shape)} and labels "
                f"{format_dims(z.spec.shape)} need one shape{at_user_line()}"
            )
        loss: Tensor = add((1 - z) * x, (1 + (pos_weight - 1) * z) * softplus(-x), name=scope)
        return loss


def log_poisson_loss(
    targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None
) -> Tensor:
    """exp(log_input) - log_input * targets: -log of the Poisson probability of ``targets``, less a constant.

    ``compute_full_loss`` adds that, log(targets!), by Stirling's approximation where targets are above 1.
    """
    with name_scope(name or "log_poisson_loss"):
        x = convert(log_input)
        z = convert(targets, x.dtype)
        if not compatible(x.spec.shape, z.spec.shape):
            raise GraphError(
                f"log_poisson_loss: log_input {format_dims(x.spec.shape)} and targets {format_dims(z.spec.shape)} "
                f"need one shape{at_user_line()}"
            )
        loss: Tensor = exp(x) - x * z
        if compute_full_loss:
            stirling = z * log(z) - z + 0.5 * log(2 * math.pi * z)
            small = logical_and(greater_equal(z, 0), less_equal(z, 1))
            loss += select(small, 0, stirling)
        return loss


# -- composites -------------------------------------------------------------------------------------------------------


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """``value`` plus a vector ``bias`` along its last axis ("NHWC"), or along axis 1 when ``data_format`` is "NCHW"."""
    x = convert(value)
    b = convert(bias, x.dtype)
    if b.spec.rank not in (1, None):
        raise GraphError(f"bias_add: the bias must be a vector, not {format_dims(b.spec.shape)}")
    if data_format == "NCHW":
        if x.spec.rank is None:
            raise GraphError("bias_add: NCHW needs the rank of the value; give it with set_shape")
        b = reshape(b, [-1] + [1] * (x.spec.rank - 2))
    elif data_format not in ("NHWC", None):
        raise GraphError(f"bias_add: data_format is 'NHWC' or 'NCHW', not {data_format!r}")
    channels = None if x.spec.shape is None else x.spec.shape[1 if data_format == "NCHW" else -1]
    size = None if b.spec.shape is None else b.spec.shape[0]
    if None not in (channels, size) and channels != size:
        raise GraphError(f"bias_add: a bias of {size} elements does not fit {channels} channels")
    total: Tensor = add(x, b, name=name or "bias_add")
    return total


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """matmul(x, weights) + biases."""
    with name_scope(name or "xw_plus_b") as scope:
        return bias_add(matmul(x, weights), biases, name=scope)


def l2_normalize(
    x: Any,
    axis: int | Sequence[int] | None = None,
    epsilon: float = 1e-12,
    name: str | None = None,
    dim: int | Sequence[int] | None = None,
) -> Tensor:
    """x / sqrt(max(sum(x^2), epsilon)), the sum taken over ``axis`` (``dim`` is its older name)."""
    axis = dim if axis is None else axis
    with name_scope(name or "l2_normalize") as scope:
        t = convert(x)
        scale = rsqrt(maximum(reduce_sum(square(t), axis, True), epsilon))
        normalised: Tensor = multiply(t, scale, name=scope)
        return normalised


def moments(
    x: Any,
    axes: int | Sequence[int],
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and variance (the mean squared distance from the mean) of ``x`` over ``axes``.

    ``keep_dims`` is the older name of ``keepdims``; ``shift`` changes nothing, as in TensorFlow 1.15.
    """
    mean, variance = moments_of(x, axes, bool(keep_dims or keepdims), name=name or "moments")
    return mean, variance


@op(same=(0,), dtypes="float")
def in_top_k(predictions, targets, k=1):
    """Whether fewer than ``k`` classes of a row [classes] are rated above its target class, bool [rows].

    False where the target is no class or a prediction of the row is not finite.
    """
    rows, classes = np.shape(predictions)
    known = (targets >= 0) & (targets < classes)
    chosen = predictions[np.arange(rows), np.where(known, targets, 0)] if classes else np.zeros(rows)
    above = np.sum(predictions > chosen[:, None], axis=1)
    return known & np.all(np.isfinite(predictions), axis=1) & (above < k)


@in_top_k.shape
def _(predictions: Spec, targets: Spec, k: int) -> Spec:
    if predictions.rank not in (2, None):
        raise GraphError(f"predictions are [rows, classes], not {format_dims(predictions.shape)}")
    rows = merge(_need_classes(predictions, targets), (None,))
    return Spec(np.dtype("bool"), rows)


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Tensor:
    """Each element kept with probability ``keep_prob`` and divided by it, else 0; ``rate`` is 1 - keep_prob.

    ``noise_shape`` broadcasts to the shape of x: where it has size 1 elements are kept or dropped together.
    Raises InvalidArgumentError unless just one of keep_prob and rate is given, in (0, 1] and [0, 1).
    Srivastava et al., "Dropout" (2014).
    """
    if (keep_prob is None) == (rate is None):
        raise InvalidArgumentError("dropout needs keep_prob or rate, one of them")
    if rate is None:
        rate = 1 - keep_prob
    if isinstance(rate, (int, float)):
        if not 0 <= rate < 1:
            raise InvalidArgumentError(f"dropout: rate must be in [0, 1), keep_prob in (0, 1]; rate is {rate}")
        if rate == 0:
            return convert(x)
    with name_scope(name or "dropout"):
        t = convert(x)
        shape = known_shape(t) if noise_shape is None else shape_tensor(noise_shape)
        scaled = t * (1 / (1 - rate)) if isinstance(rate, (int, float)) else t / (1 - convert(rate, t.dtype))
        kept = greater_equal(random_uniform(shape, seed=seed, dtype=t.dtype), rate)
        result: Tensor = scaled * cast(kept, t.dtype)
        return result
