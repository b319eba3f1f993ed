"""Rows for paraflow.ops.reduce and scan."""

import math

import numpy as np

from paraflow.ops import reduce, scan

from .rows import Row, given, normal, positive, uniform

FLOATS = ("float16", "bfloat16", "float32", "float64")
NUMBERS = ("float16", "bfloat16", "float32", "float64", "int32", "int64")
AXES = [
    {},
    {"keepdims": True},
    {"axis": 0},
    {"axis": -1, "keepdims": True},
    {"axis": [0, 2]},
    {"axis": (-1, 0), "keepdims": True},
    {"axis": []},
]


def over_axes(fold):
    """An oracle that folds the elements of each group one after the other, in Python."""

    def apply(x, axis=None, keepdims=False):
        axes = range(x.ndim) if axis is None else [a % x.ndim for a in np.atleast_1d(np.array(axis, int))]
        shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
        groups = {index: [] for index in np.ndindex(*shape)}
        for index, value in np.ndenumerate(x):
            groups[tuple(0 if i in axes else n for i, n in enumerate(index))].append(value)
        result = np.empty(shape, x.dtype)
        for index, group in groups.items():
            result[index] = fold(group)
        return result if keepdims else result.reshape([n for i, n in enumerate(shape) if i not in axes])

    return apply


def total(values):
    return sum(values)


def mean(values):
    return sum(values) / len(values) if values else np.nan


def product(values):
    result = 1
    for value in values:
        result = result * value
    return result


def logsumexp(values):
    return np.log(sum(np.exp(v) for v in values)) if values else -np.inf


def variance(values):
    return mean([(v - mean(values)) ** 2 for v in values])


def index_of(best):
    def apply(x, axis=0, output_type="int64"):
        rows = np.moveaxis(x, axis, -1)
        found = [list(row).index(best(row)) for row in rows.reshape(-1, rows.shape[-1])]
        return np.reshape(found, rows.shape[:-1]).astype(output_type)

    return apply


def running(fold, start):
    def apply(x, axis=0, exclusive=False, reverse=False):
        rows = np.moveaxis(x, axis, -1)
        rows = rows[..., ::-1] if reverse else rows
        result = np.empty(rows.shape, x.dtype)
        for index in np.ndindex(rows.shape):
            before = rows[index[:-1]][: index[-1] + (not exclusive)]
            result[index] = fold([start, *before])
        return np.moveaxis(result[..., ::-1] if reverse else result, -1, axis)

    return apply


def shifted(x, axis=0, reverse=False):
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        source = list(index)
        source[axis] += 1 if reverse else -1
        if 0 <= source[axis] < x.shape[axis]:
            result[index] = x[tuple(source)]
    return result


def recurrence(a, b, axis=0, reverse=False):
    result = np.zeros_like(b)
    a, b, h = (np.moveaxis(t, axis, 0)[:: -1 if reverse else 1] for t in (a, b, result))
    for i in range(len(b)):
        h[i] = b[i] + (a[i] * h[i - 1] if i else 0)
    return result


def per_axes(op, oracle, maker, dtypes=(), axes=AXES, **more):
    return [Row(op, (maker,), over_axes(oracle), attrs, dtypes, **more) for attrs in axes]


ROWS = [
    Row(reduce.kept_shape, (normal(2, 3, 2),), lambda x, axis: np.array([1, 3, 1], np.int32), {"axis": (0, 2)},
        dtypes=("float32", "int32"), empty=None),
    *per_axes(reduce.reduce_sum, total, normal(2, 3, 2), NUMBERS, tolerance=32),
    Row(reduce.reduce_sum, (normal(5),), np.sum, dtypes=("complex64", "float32")),
    # Summing one after the other would lose three digits here.
    Row(reduce.reduce_sum, (uniform(0, 1, 200_000),), math.fsum, dtypes=("float32",), empty=None),
    # Many short rows, the last of them left over where several are added at a time.
    *(Row(reduce.reduce_sum, (given(np.arange(9003).reshape(shape) % 17),), np.sum, {"axis": axis, "keepdims": keep},
          dtypes=("float32", "float64"), differentiable=())
      for shape, axis, keep in (((3001, 3), 0, False), ((3001, 3), 0, True), ((1, 3001, 3), (0, 1), True))),
    Row(reduce.reduce_mean, (uniform(0, 100, 3000),), lambda x: math.fsum(x) / 3000, empty=None,
        dtypes=("float16", "bfloat16", "float32")),
    *per_axes(reduce.reduce_mean, mean, normal(2, 3, 2), (*FLOATS, "complex64", "complex128"), tolerance=32),
    # Towards 0, as TensorFlow's; of no integers there is none.
    *per_axes(reduce.reduce_mean, lambda values: int(sum(map(int, values)) / len(values)),
              given([[[-7, 2], [3, -4], [5, 6]], [[-7, 100], [0, 120], [-1, 127]]]), ("int8", "int32", "int64"),
              empty=None),
    Row(reduce.reduce_mean, (given([250, 250, 3]),), lambda x: 167, dtypes=("uint8",), empty=None),
    *per_axes(reduce.reduce_prod, product, positive(2, 3, 2), NUMBERS, tolerance=64),
    *per_axes(reduce.reduce_prod, product, given([[[0, 2], [3, 4], [5, 6]], [[7, 8], [0, 0.5], [0, 2]]]), FLOATS[1:],
              tolerance=64),
    *per_axes(reduce.reduce_max, max, normal(2, 3, 2), axes=AXES[:-1], empty=None),
    *per_axes(reduce.reduce_min, min, normal(2, 3, 2), axes=AXES[:-1], empty=None),
    Row(reduce.reduce_max, (normal(2, 3),), lambda x, axis: np.full(3, -np.inf) if not x.size else np.max(x, 0),
        {"axis": 0}, dtypes=("float32", "float64")),
    Row(reduce.reduce_min, (normal(2, 3),), lambda x: np.array(min(x.ravel().tolist(), default=2**31 - 1), np.int32),
        dtypes=("int32",)),
    *per_axes(reduce.reduce_all, all, normal(2, 3, 2)),
    *per_axes(reduce.reduce_any, any, normal(2, 3, 2)),
    *per_axes(reduce.reduce_logsumexp, logsumexp, normal(2, 3, 2), tolerance=32),
    *(
        Row(reduce.moments_of, (normal(3, 2, 2),), lambda x, axes=None, keepdims=False: (
            over_axes(mean)(x, axes, keepdims), over_axes(variance)(x, axes, keepdims)), attrs, tolerance=64)
        for attrs in ({}, {"axes": 0}, {"axes": [0, 2], "keepdims": True})
    ),
    Row(reduce.reduce_variance, (normal(3, 4),), over_axes(variance), {"axis": -1}, differentiable=(0,), tolerance=64),
    Row(reduce.reduce_std, (normal(3, 4),), over_axes(lambda v: variance(v) ** 0.5), {"axis": -1}, tolerance=64),
    Row(reduce.reduce_euclidean_norm, (normal(3, 4),), over_axes(lambda v: math.hypot(*v)), {"axis": 0}, empty=None),
    Row(reduce.count_nonzero, (given([[0, 2, 0], [1, 0, -1]]),), over_axes(np.count_nonzero), {"axis": 1},
        differentiable=()),
    Row(reduce.zero_fraction, (given([0, 2, 0, 1]),), lambda x: np.mean(x == 0), differentiable=(), empty=None),
    Row(reduce.is_non_decreasing, (given([[1, 1], [2, 3]]),), lambda x: np.array(True), differentiable=()),
    Row(reduce.is_strictly_increasing, (given([1, 1, 2, 3]),), lambda x: np.array(not x.size), differentiable=()),
    Row(reduce.argmax, (normal(3, 4),), index_of(max), empty=None),
    Row(reduce.argmax, (given([[1, 3, 3], [2, 2, 1]]),), index_of(max), {"axis": -1}, empty=None),
    Row(reduce.argmax, (normal(3, 4),), index_of(max), {"axis": 1, "output_type": np.int32}),
    Row(reduce.argmin, (normal(3, 4),), index_of(min), empty=None),
    Row(reduce.argmin, (given([[1, 3, 1], [2, 1, 1]]),), index_of(min), {"axis": 1}),
    Row(reduce.l2_loss, (normal(3, 4),), lambda t: np.array(0.5 * sum(v * v for v in t.ravel())), differentiable=(0,)),
    *(
        Row(op, (maker,), running(fold, start), {"axis": axis, "exclusive": exclusive, "reverse": reverse},
            NUMBERS, tolerance=32)
        for op, maker, fold, start in [
            (scan.cumsum, normal(3, 4), total, 0),
            (scan.cumprod, positive(3, 4), product, 1),
        ]
        for axis, exclusive, reverse in [(0, False, False), (-1, True, False), (1, False, True), (0, True, True)]
    ),
    *(
        Row(scan.cumprod, (given([[2, 0, 3, 0.5, 0, 4]]),), running(product, 1),
            {"axis": 1, "exclusive": exclusive, "reverse": reverse}, FLOATS)
        for exclusive in (False, True) for reverse in (False, True)
    ),
    Row(scan.shift, (normal(3, 2),), shifted, dtypes=("float32", "float64", "bool")),
    Row(scan.shift, (normal(3, 2),), shifted, {"axis": 1, "reverse": True}),
    *(
        Row(scan.linear_recurrence, (uniform(-2, 2, *shape), normal(*shape)), recurrence, attrs, NUMBERS, tolerance=64)
        for shape, attrs in [((7, 2), {}), ((2, 8), {"axis": 1, "reverse": True}), ((1, 3), {})]
    ),
]
