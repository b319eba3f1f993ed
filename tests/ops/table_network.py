"""Rows for the candidate samplers, and for functions of paraflow.nn that are put together of operations."""

import math

import numpy as np

from paraflow import nn
from paraflow.ops import candidates, ctc, unigram

from .rows import Row, each, normal, positive, uniform
from .table_random import RUNTIME, SEEDED

# TensorFlow 2.21, tf.compat.v1.nn, op seed 3 of log_uniform and 5 of uniform; range_max 20 and 1000.
TRUE = np.array([[0, 3], [2, 1]])
UNIQUE = (
    np.array([0, 10, 6, 2, 9]),
    np.array([[0.7877652, 0.36663598], [0.44874233, 0.57579297]]),
    np.array([0.7877652, 0.15968291, 0.23593529, 0.44874233, 0.17373168]),
)
UNIFORM = np.array([135, 8, 416, 361, 200, 945]), np.full((2, 2), 0.006), np.full(6, 0.006)
WEIGHTED = (
    np.array([3, 3, 0, 0, 3, 0, 0, 2]),
    np.array([[40, 16], [24, 8]]) / 11,
    np.array([16, 16, 40, 40, 16, 40, 40, 24]) / 11,
)


class FirstCounts:
    """Nothing has been counted in earlier runs."""

    def setdefault(self, label, counts):
        return counts


LEARNED = np.array([1, 3, 5, 5, 6]), np.full((2, 2), 5 / 7), np.full(5, 5 / 7)


def unique_of_rows(labels):
    """By Python's dictionaries, which keep the order of coming."""
    rows = [list(dict.fromkeys(row)) for row in labels.tolist()]
    padded = [row + [0] * (labels.shape[1] - len(row)) for row in rows]
    return np.array(padded), np.array([[row.index(n) for n in given] for row, given in zip(rows, labels, strict=True)])


def gelu(x, approximate=False):
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * each(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(x)


def weighted_entropy(labels, logits, pos_weight):
    p = 1 / (1 + np.exp(-logits))
    return -labels * np.log(p) * pos_weight - (1 - labels) * np.log(1 - p)


def poisson(targets, log_input, compute_full_loss=False):
    loss = np.exp(log_input) - log_input * targets
    stirling = targets * np.log(targets) - targets + 0.5 * np.log(2 * np.pi * targets)
    return loss + np.where(targets > 1, stirling, 0) if compute_full_loss else loss


def lrn(x, depth_radius, bias, alpha, beta):
    channels = x.shape[3]
    sums = [np.sum(x[..., max(0, c - depth_radius) : c + depth_radius + 1] ** 2, -1) for c in range(channels)]
    return x / (bias + alpha * np.stack(sums, -1)) ** beta


def known_channels(x, **attrs):
    x.set_shape([None, None, None, 4])
    return nn.lrn(x, **attrs)


def weighted_moments(x, weights, axes):
    mean = np.average(x, axes, np.broadcast_to(weights, x.shape))
    distance = x - np.expand_dims(mean, axes)
    return mean, np.average(distance**2, axes, np.broadcast_to(weights, x.shape))


def moments_with_weights(x, weights, axes):
    return nn.weighted_moments(x, axes, weights)


def moments_of_sums(x, shift=None):
    counts, total, squares, given = nn.sufficient_statistics(x, [0], shift)
    return nn.normalize_moments(counts, total, squares, given)


ROWS = [
    Row(candidates.sample_candidates, (TRUE,), lambda *_, **__: UNIQUE, {
        "sampler": "log_uniform", "num_sampled": 5, "range_max": 20, "seed": (SEEDED, 3)},
        runtime=RUNTIME, empty=None),
    Row(candidates.sample_candidates, (TRUE,), lambda *_, **__: UNIFORM, {
        "sampler": "uniform", "num_sampled": 6, "unique": False, "range_max": 1000, "seed": (SEEDED, 5)},
        runtime=RUNTIME, empty=None),
    Row(unigram.sample_weighted, (TRUE, np.array([5, 1, 3, 2], "f")), lambda *_, **__: WEIGHTED, {
        "num_sampled": 8, "unique": False, "seed": (SEEDED, 5)}, constant=(1,), runtime=RUNTIME, empty=None),
    Row(unigram.sample_learned, (TRUE,), lambda *_, **__: LEARNED, {
        "num_sampled": 5, "unique": False, "range_max": 7, "seed": (SEEDED, 3)}, empty=None,
        runtime={**RUNTIME, "counts": FirstCounts()}),
    Row(candidates.accidental_hits, (np.array([[1, 4], [0, 0], [7, 2]]), np.array([2, 0, 4, 2, 9])),
        lambda *_: (np.array([0, 1, 1, 2]), np.array([2, 1, 1, 3])), exact=False, empty=None),
    Row(candidates.accidental_hits, (np.array([[1, 4]]), np.zeros(0, int)),
        lambda *_: (np.zeros(0), np.zeros(0)), exact=False, empty=None),
    Row(nn.softsign, (normal(2, 3),), lambda x: x / (1 + abs(x)), differentiable=(0,)),
    Row(nn.swish, (normal(2, 3),), lambda x: x / (1 + np.exp(-x)), differentiable=(0,)),
    Row(nn.gelu, (normal(2, 3),), gelu, differentiable=(0,), tolerance=16),
    Row(nn.gelu, (normal(2, 3),), gelu, {"approximate": True}, differentiable=(0,), tolerance=16),
    Row(nn.weighted_cross_entropy_with_logits, (uniform(0, 1, 2, 3), normal(2, 3)), weighted_entropy,
        {"pos_weight": 2.5}, differentiable=(0, 1), tolerance=64),
    Row(nn.log_poisson_loss, (positive(2, 3), normal(2, 3)), poisson, differentiable=(0, 1), tolerance=16),
    Row(nn.log_poisson_loss, (positive(2, 3), normal(2, 3)), poisson, {"compute_full_loss": True},
        differentiable=(0, 1), tolerance=32),
    Row(known_channels, (normal(1, 2, 2, 4),), lrn, {"depth_radius": 1, "bias": 1.5, "alpha": 0.5, "beta": 0.75},
        differentiable=(0,), tolerance=32),
    Row(moments_with_weights, (normal(3, 4), positive(1, 4)), weighted_moments, {"axes": 1},
        differentiable=(0, 1), tolerance=64, empty=(normal(0, 4), positive(1, 4))),
    Row(moments_of_sums, (normal(5, 3),), lambda x: (np.mean(x, 0), np.var(x, 0)), differentiable=(0,), empty=None,
        tolerance=64),
    Row(moments_of_sums, (normal(5, 3),), lambda x, shift: (np.mean(x, 0), np.var(x, 0)), {"shift": 0.5},
        differentiable=(0,), empty=None, tolerance=64),
    Row(ctc.unique_labels, (np.array([[3, 4, 4, 3], [0, 5, 0, 2]]),), unique_of_rows, empty=None),
]  # fmt: skip
