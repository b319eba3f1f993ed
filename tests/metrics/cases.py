"""Metrics that are run by TensorFlow 1's interface and by ours, over three batches; ``tf`` is one of the two.

make_tf_reference.py keeps what TensorFlow makes of them, test_metrics.py compares.
"""

from typing import Any, NamedTuple

import numpy as np

BATCHES = 3
SIZES = (5, 3, 8)


class Case(NamedTuple):
    """``build(tf, *tensors)`` returns value and update; ``inputs`` are made by functions of a generator and a size."""

    build: Any
    inputs: tuple[Any, ...]
    static: bool = False  # every batch has the first one's size, and the tensors have it too


def batches(case):
    """The arrays of each batch."""
    rng = np.random.default_rng(7)
    return [[make(rng, SIZES[0] if case.static else n) for make in case.inputs] for n in SIZES]


def shapes(case):
    """The shapes of the tensors: the first size is that of a batch."""
    return [a.shape if case.static else (None, *a.shape[1:]) for a in batches(case)[0]]


def numbers(*shape):
    return lambda rng, n: rng.normal(size=(n, *shape)).astype(np.float32)


def probabilities(*shape):
    """Some of them 0, 1 and exactly at thresholds."""
    return lambda rng, n: (rng.integers(0, 11, (n, *shape)) / 10).astype(np.float32)


def classes(number, *shape, dtype=np.int64):
    return lambda rng, n: rng.integers(0, number, (n, *shape)).astype(dtype)


def weights(*shape):
    return lambda rng, n: (rng.integers(0, 4, (n, *shape)) / 2).astype(np.float32)


def binary(rng, n):
    return rng.integers(0, 2, n).astype(bool)


def odd_labels(rng, n):
    """Some of which are no class."""
    return rng.integers(-1, 8, (n, 3))


def never(rng, n):
    return np.zeros(n, bool)


def weighted(name, inputs, *args, of=(), scalar=0.5):
    """The metric without weights, with weights of the samples, a second one with a scalar weight, and with a name."""
    def build(tf, *tensors, **options):
        return getattr(tf.metrics, name)(*tensors, *args, **options)

    def with_weights(tf, *tensors):
        return build(tf, *tensors[:-1], weights=tensors[-1])

    def twice(tf, *tensors):
        build(tf, *tensors)
        return build(tf, *tensors, weights=scalar and tf.constant(scalar))

    return {
        name: Case(build, inputs),
        f"{name}, weights": Case(with_weights, (*inputs, weights(*of))),
        f"{name}, twice": Case(twice, inputs),
        f"{name}, named": Case(lambda tf, *tensors: build(tf, *tensors, name="mine"), inputs),
    }


THRESHOLDS = [0.1, 0.25, 0.5, 0.9]
CURVE = (classes(2), probabilities())
SCORES = (classes(6, 3), numbers(6))

CASES = {
    **weighted("mean", (numbers(3),), of=(3,)),
    **weighted("accuracy", (classes(3), classes(3))),
    **weighted("mean_absolute_error", (numbers(), numbers())),
    **weighted("mean_squared_error", (numbers(2), numbers(2)), of=(1,)),
    **weighted("root_mean_squared_error", (numbers(2), numbers(2)), of=(2,)),
    **weighted("mean_relative_error", (numbers(), numbers(), probabilities())),
    **weighted("mean_cosine_distance", (numbers(3), numbers(3)), 1, of=(1,)),
    **weighted("percentage_below", (numbers(),), 0.3),
    **weighted("true_positives", (classes(2), binary)),
    **weighted("true_negatives", (classes(2), binary)),
    **weighted("false_positives", (classes(2), binary)),
    **weighted("false_negatives", (classes(2), binary)),
    **weighted("precision", (classes(2), binary)),
    **weighted("recall", (classes(2), binary)),
    **weighted("mean_per_class_accuracy", (classes(3), classes(4)), 4),
    **weighted("mean_iou", (classes(3), classes(4)), 5, scalar=None),
    **weighted("true_positives_at_thresholds", CURVE, THRESHOLDS),
    **weighted("true_negatives_at_thresholds", CURVE, THRESHOLDS),
    **weighted("false_positives_at_thresholds", CURVE, THRESHOLDS),
    **weighted("false_negatives_at_thresholds", CURVE, THRESHOLDS),
    **weighted("precision_at_thresholds", CURVE, THRESHOLDS),
    **weighted("recall_at_thresholds", CURVE, THRESHOLDS),
    **weighted("auc", CURVE),
    **weighted("sensitivity_at_specificity", CURVE, 0.7),
    **weighted("specificity_at_sensitivity", CURVE, 0.7),
    **weighted("recall_at_k", SCORES, 2),
    **weighted("precision_at_k", SCORES, 2),
    **weighted("average_precision_at_k", SCORES, 4),
    **{
        f"auc {curve} {how}, {thresholds}": Case(
            lambda tf, *t, c=curve, h=how, th=thresholds: tf.metrics.auc(
                *t, curve=c, summation_method=h, num_thresholds=20, thresholds=th),
            (classes(2), probabilities(), weights()))
        for curve in ("ROC", "PR")
        for how in ("trapezoidal", "careful_interpolation", "minoring", "majoring")
        for thresholds in (None, [0.7, 0.2, 0.45])
    },
    "mean_tensor": Case(lambda tf, x: tf.metrics.mean_tensor(x), (numbers(2),), True),
    "mean_tensor, weights": Case(lambda tf, x, w: tf.metrics.mean_tensor(x, w), (numbers(2), weights(1)), True),
    "accuracy, an axis more": Case(lambda tf, a, b: tf.metrics.accuracy(a, b), (classes(3, 1), classes(3))),
    "accuracy, two dtypes": Case(lambda tf, a, b: tf.metrics.accuracy(a, b), (classes(3), probabilities())),
    "mean, weights of an axis less": Case(lambda tf, x, w: tf.metrics.mean(x, w), (numbers(3), weights())),
    "precision of none": Case(lambda tf, a, b: tf.metrics.precision(a, b), (classes(2), never)),
    "recall of none": Case(lambda tf, a, b: tf.metrics.recall(a, b), (never, binary)),
    "mean_iou of images": Case(lambda tf, a, b, w: tf.metrics.mean_iou(a, b, 3, w),
                               (classes(3, 2, 2), classes(3, 2, 2), weights(2, 2))),
    "mean_per_class_accuracy of images": Case(lambda tf, a, b, w: tf.metrics.mean_per_class_accuracy(a, b, 3, w),
                                              (classes(3, 2), classes(3, 2), weights(2))),
    **{
        f"{name}, {what}": Case(
            lambda tf, *t, name=name, o=options: getattr(tf.metrics, name)(*t, 2, **o), inputs)
        for name in ("recall_at_k", "precision_at_k")
        for what, inputs, options in (
            ("class 1", SCORES, {"class_id": 1}),
            ("one label", (classes(6), numbers(6)), {}),
            ("odd labels", (odd_labels, numbers(6)), {}),
            ("odd labels, class 3", (odd_labels, numbers(6)), {"class_id": 3}),
        )
    },
    "average_precision_at_k, one label": Case(
        lambda tf, a, b: tf.metrics.average_precision_at_k(a, b, 3), (classes(6), numbers(6))),
    "average_precision_at_k, odd labels": Case(
        lambda tf, a, b: tf.metrics.average_precision_at_k(a, b, 3),
        (lambda rng, n: np.concatenate([rng.integers(0, 6, (n, 1)), rng.integers(-1, 8, (n, 2))], 1), numbers(6))),
    "recall_at_top_k": Case(lambda tf, a, b: tf.metrics.recall_at_top_k(a, b), (classes(6, 2), classes(6, 3))),
    "precision_at_top_k": Case(lambda tf, a, b, w: tf.metrics.precision_at_top_k(a, b, 3, weights=w),
                               (classes(6, 2), classes(6, 3), weights())),
}  # fmt: skip
