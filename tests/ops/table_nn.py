"""Rows for paraflow.ops.nn."""

import math

import numpy as np

from paraflow.ops import nn

from .rows import Row, each, given, nonzero, normal, uniform
from .table_array import ranked

SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
LABELS = np.array([2, 0, 1, 2], np.int32)


def relu(x):
    return max(x, 0)


def softmax(logits, axis=-1):
    e = np.exp(logits)
    return e / np.sum(e, axis=axis, keepdims=True)


def log_softmax(logits, axis=-1):
    return np.log(softmax(logits, axis))


def cross_entropy(logits, labels, axis=-1):
    return -np.sum(labels * log_softmax(logits, axis), axis=axis), softmax(logits, axis)


def dense(logits, labels, **attrs):
    return nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits, **attrs)


def dense_v2(logits, labels, **attrs):
    return nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits, **attrs)


def dense_loss(logits, labels, axis=-1):
    return cross_entropy(logits, labels, axis)[0]


def one_hot(labels, classes):
    return (np.arange(classes) == labels[..., None]).astype(float)


def sparse_entropy(logits, labels):
    return cross_entropy(logits, one_hot(labels, logits.shape[-1]))


def sparse(logits, labels):
    return nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def binary_entropy(logits, labels):
    p = 1 / (1 + np.exp(-logits))
    return -labels * np.log(p) - (1 - labels) * np.log(1 - p)


def binary(logits, labels):
    return nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)


def l2_normalized(x, axis=None):
    return x / np.sqrt(np.sum(x * x, axis=axis, keepdims=True)) if x.size else x


def moments(x, axes, keep_dims=False):
    mean = np.mean(x, axis=axes, keepdims=True)
    variance = np.sum((x - mean) ** 2, axis=axes, keepdims=True) / x.shape[axes]
    return (mean, variance) if keep_dims else (mean.squeeze(axes), variance.squeeze(axes))


def channels_first(value, bias, data_format):
    return value + bias[None, :, None, None]


def in_top_k(predictions, targets, k):
    return np.array([
        np.isfinite(row).all() and t in range(len(row)) and list(row > row[t]).count(True) < k
        for row, t in zip(predictions, targets, strict=True)
    ], bool)


ROWS = [
    # Activations
    Row(nn.relu, (nonzero(2, 3),), each(relu)),
    Row(nn.relu_gradient, (normal(2, 3), nonzero(2, 3)), each(lambda dy, y: dy if y > 0 else 0), differentiable=(0, 1)),
    Row(nn.leaky_relu_gradient, (normal(2, 3), nonzero(2, 3), np.array(0.3)),
        lambda dy, x, alpha: np.where(x > 0, dy, alpha * dy), dtypes=("float64",), differentiable=(0, 1)),
    Row(nn.relu6, (uniform(-4, 12, 3, 4),), each(lambda x: min(max(x, 0), 6))),
    Row(nn.leaky_relu, (nonzero(2, 3),), each(lambda x: x if x > 0 else x / 5)),
    Row(nn.leaky_relu, (nonzero(2, 3),), lambda x, alpha: np.where(x > 0, x, x * alpha), {"alpha": 1.5}),
    Row(nn.elu, (nonzero(2, 3),), each(lambda x: x if x > 0 else math.expm1(x))),
    Row(nn.selu, (nonzero(2, 3),), each(lambda x: SCALE * x if x > 0 else SCALE * ALPHA * math.expm1(x))),
    # Softmax
    Row(nn.softmax, (normal(3, 4),), softmax),
    Row(nn.softmax, (normal(3, 4, 2),), softmax, {"axis": 1}),
    Row(nn.softmax, (given([[1000, 0, -1000], [-999, -999, -999]]),),
        lambda x: np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])[: len(x)], differentiable=()),
    Row(nn.log_softmax, (normal(3, 4),), log_softmax),
    Row(nn.log_softmax, (normal(3, 4),), log_softmax, {"axis": 0}, empty=(normal(3, 0),)),
    Row(nn.log_softmax, (given([[300, 0, -300]]),), lambda x: np.array([[0, -300, -600]])[: len(x)]),
    # Cross entropies
    Row(nn.softmax_cross_entropy, (normal(4, 3), uniform(0, 1, 4, 3)), cross_entropy, tolerance=32),
    Row(nn.softmax_cross_entropy, (normal(3, 4, 2), uniform(0, 1, 3, 4, 2)), cross_entropy, {"axis": 1}, tolerance=32),
    Row(nn.softmax_cross_entropy, (given([[-np.inf, 1, 1], [300, 0, 0]]), given([[0, 1, 0], [0, 0.5, 0.5]])),
        lambda x, y: (np.array([math.log(2), 300])[: len(x)], np.array([[0, 0.5, 0.5], [1, 0, 0]])[: len(x)]),
        differentiable=()),
    Row(dense, (normal(4, 3), uniform(0, 1, 4, 3)), dense_loss, differentiable=(0,), tolerance=32),
    Row(dense_v2, (normal(4, 3), uniform(0, 1, 4, 3)), dense_loss, differentiable=(0, 1), tolerance=32),
    Row(nn.sparse_softmax_cross_entropy, (normal(4, 3), LABELS), sparse_entropy, tolerance=32,
        empty=(normal(0, 3), LABELS[:0])),
    Row(nn.sparse_softmax_cross_entropy, (normal(2, 2, 3), LABELS.reshape(2, 2).astype(np.int64)), sparse_entropy,
        tolerance=32, empty=(normal(0, 2, 3), np.zeros((0, 2), np.int64))),
    Row(sparse, (normal(4, 3), LABELS), lambda x, y: sparse_entropy(x, y)[0], differentiable=(0,), tolerance=32,
        empty=(normal(0, 3), LABELS[:0])),
    Row(sparse, (normal(3), np.array(1)), lambda x, y: sparse_entropy(x, y)[0], differentiable=(0,), tolerance=32,
        empty=None),
    Row(nn.subtract_one_hot, (normal(4, 3), LABELS), lambda p, y: p - one_hot(y, 3), tolerance=32,
        empty=(normal(0, 3), LABELS[:0])),
    Row(nn.sigmoid_cross_entropy, (normal(2, 3), uniform(0, 1, 2, 3)), binary_entropy, tolerance=64),
    Row(nn.sigmoid_cross_entropy, (given([90, -90]), given([1, 0])), lambda x, z: np.full(len(x), math.exp(-90)),
        dtypes=("float32", "float64"), differentiable=()),
    Row(binary, (normal(2, 3), uniform(0, 1, 2, 3)), binary_entropy, differentiable=(0, 1), tolerance=64),
    # Composites
    Row(nn.bias_add, (normal(4, 3), normal(3)), lambda x, b: x + b, differentiable=(0, 1),
        empty=(normal(0, 3), normal(3))),
    Row(ranked(nn.bias_add, 4), (normal(2, 3, 2, 2), normal(3)), channels_first, {"data_format": "NCHW"},
        differentiable=(0, 1), empty=(normal(0, 3, 2, 2), normal(3))),
    Row(nn.xw_plus_b, (normal(4, 3), normal(3, 2), normal(2)), lambda x, w, b: x @ w + b, differentiable=(0, 1, 2),
        empty=(normal(0, 3), normal(3, 2), normal(2)), tolerance=32),
    Row(nn.l2_normalize, (normal(4, 3),), l2_normalized, {"axis": 1}, differentiable=(0,)),
    Row(nn.l2_normalize, (normal(4, 3),), l2_normalized, differentiable=(0,)),
    Row(nn.moments, (normal(4, 3),), moments, {"axes": 1}, differentiable=(0,), tolerance=64),
    Row(nn.moments, (normal(4, 3),), moments, {"axes": 0, "keep_dims": True}, differentiable=(0,), empty=None,
        tolerance=64),
    Row(nn.in_top_k, (given([[1, 3, 2], [2, 2, 2], [3, 1, 2], [1, np.nan, 0], [1, 2, 3]]), np.array([2, 0, 1, 0, 3])),
        in_top_k, {"k": 2}, dtypes=("float32", "float64"), empty=(normal(0, 3), np.array([], np.int32))),
]
