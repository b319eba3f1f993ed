"""Rows for paraflow.ops.normalization, and for the markers of statistics, which alone change nothing."""

import numpy as np

from paraflow.ops import collective, normalization

from .oracles import ranked
from .rows import Row, normal, positive


def normalized(x, mean, variance, offset=0.0, scale=1.0, variance_epsilon=0.0):
    return (x - mean) / np.sqrt(variance + variance_epsilon) * scale + offset


def plain(x, mean, variance, **attrs):
    return normalization.batch_normalization(x, mean, variance, None, None, **attrs)


def fused(x, scale, offset, data_format="NHWC", epsilon=0.001):
    axes, kept = ((0, 1, 2), (1, 1, 1, -1)) if data_format == "NHWC" else ((0, 2, 3), (1, -1, 1, 1))
    count = x.size // scale.size
    mean = x.mean(axis=axes)
    variance = ((x - mean.reshape(kept)) ** 2).sum(axis=axes) / count
    y = normalized(x, *(v.reshape(kept) for v in (mean, variance, offset, scale)), epsilon)
    return y, mean, variance * count / max(count - 1, 1)


def given_statistics(x, scale, offset, mean, variance):
    return normalized(x, mean, variance, offset, scale, 0.001), mean, variance


STATISTICS = (normal(3), positive(3), normal(3), positive(3))
FLOATS = ("float32", "float64")

COUNT = np.array(7.0)

ROWS = [
    Row(collective.global_moments, (normal(1, 3), positive(1, 3), COUNT), lambda *values: values,
        differentiable=(0, 1), empty=(normal(1, 0), positive(1, 0), COUNT)),
    Row(collective.global_average, (normal(3), normal(2, 2), COUNT), lambda first, second, count: (first, second),
        differentiable=(0, 1)),
    Row(collective.global_average, (normal(3), normal(3), COUNT), lambda first, second, count, cotangents: (
        first, second), {"cotangents": True}, differentiable=(0, 1)),
    Row(collective.global_sums, (normal(3), normal(2, 2)), lambda *values: values, differentiable=()),
    Row(normalization.batch_normalization, (normal(4, 3), *STATISTICS), normalized, {"variance_epsilon": 0.1},
        dtypes=FLOATS, differentiable=(0, 1, 2, 3, 4), tolerance=32, empty=(normal(0, 3), *STATISTICS)),
    Row(plain, (normal(2, 4, 3), normal(1, 1, 3), positive(1, 1, 3)), normalized, {"variance_epsilon": 1e-3},
        dtypes=FLOATS, differentiable=(0, 1, 2), tolerance=32, empty=(normal(0, 4, 3), normal(3), positive(3))),
    Row(ranked(normalization.fused_batch_norm, 4), (normal(3, 2, 2, 3), positive(3), normal(3)), fused,
        dtypes=("float32", "float64"), differentiable=(0, 1, 2), tolerance=64, empty=None),
    Row(ranked(normalization.fused_batch_norm, 4), (normal(3, 3, 2, 2), positive(3), normal(3)), fused,
        {"data_format": "NCHW", "epsilon": 0.1}, dtypes=("float32", "float64"), differentiable=(0, 1, 2),
        tolerance=64, empty=None),
    Row(ranked(normalization.fused_batch_norm, 4, is_training=False),
        (normal(3, 2, 2, 3), positive(3), normal(3), normal(3), positive(3)), given_statistics,
        dtypes=FLOATS, differentiable=(0, 1, 2, 3, 4), tolerance=64,
        empty=(normal(0, 2, 2, 3), positive(3), normal(3), normal(3), positive(3))),
]
