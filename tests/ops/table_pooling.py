"""Rows for paraflow.ops.pooling."""

import numpy as np

from paraflow.ops import pooling

from .rows import Row, given, normal
from .table_convolution import products, result_shape


def seen(x, window, strides, padding):
    """For every place, in row-major order: (n, places...) and the pixels that its window sees, in row-major order."""
    shape = result_shape(x, window, strides, padding, (1,) * len(window))
    pixels = {place: [] for place in np.ndindex(*shape)}
    for place, _, pixel in products(x, window, strides, padding, (1,) * len(window)):
        pixels[place].append(pixel)
    return shape, pixels


def defaults(window=(2, 2), strides=(2, 2), padding="VALID"):
    return window, strides, padding


def largest(x, **attrs):
    shape, pixels = seen(x.shape, *defaults(**attrs))
    y = np.zeros((*shape, x.shape[-1]), x.dtype)
    for place, at in pixels.items():
        y[place] = np.max([x[p] for p in at], axis=0)
    return y


def first_largest(x, **attrs):
    """((n, places..., channel), (n, sizes..., channel)) of each window and of the first of its largest elements."""
    _, pixels = seen(x.shape, *defaults(**attrs))
    for place, at in pixels.items():
        for channel in range(x.shape[-1]):
            values = [x[(*p, channel)] for p in at]
            yield (*place, channel), (*at[values.index(max(values))], channel)


def to_largest(x, y, dy, **attrs):
    dx = np.zeros(x.shape)
    for place, pixel in first_largest(x, **attrs):
        dx[pixel] += dy[place]
    return dx


def of_largest(x, y, values, **attrs):
    result = np.zeros(y.shape)
    for place, pixel in first_largest(x, **attrs):
        result[place] = values[pixel]
    return result


def place_of_largest(x, y, batch=False, **attrs):
    result = np.zeros(y.shape, np.int64)
    for place, pixel in first_largest(x, **attrs):
        result[place] = np.ravel_multi_index(pixel if batch else (0, *pixel[1:]), x.shape)
    return result


def mean(x, **attrs):
    shape, pixels = seen(x.shape, *defaults(**attrs))
    y = np.zeros((*shape, x.shape[-1]))
    for place, at in pixels.items():
        y[place] = sum(x[p] for p in at) / len(at)
    return y


def mean_gradient(dy, sizes, **attrs):
    _, pixels = seen(tuple(sizes), *defaults(**attrs))
    dx = np.zeros(sizes)
    for place, at in pixels.items():
        for p in at:
            dx[p] += dy[place] / len(at)
    return dx


def different(*shape):
    """Whole numbers that all differ, so that no step of a difference quotient changes which is the largest."""
    return given(np.random.default_rng(3).permutation(int(np.prod(shape))).reshape(shape))


def with_largest(x, **attrs):
    """Makers of ``x`` and of the maxima of its windows, which belong together."""
    return given(x), given(largest(x, **attrs))


# Shape of the input and windows: apart, overlapping, with gaps between, padded on both sides and on one, one axis.
CASES = [
    ((2, 4, 4, 2), {}),
    ((1, 5, 4, 2), {"window": (3, 2), "strides": (2, 1), "padding": "SAME"}),
    ((1, 5, 5, 1), {"window": (3, 3), "strides": (1, 2)}),
    ((2, 5, 4, 1), {"window": (2, 1), "strides": (3, 2), "padding": "SAME"}),
    ((2, 5, 2), {"window": (3,), "strides": (2,), "padding": "SAME"}),
]
TIES = np.array([0, 0, 1, 1, 0, 2, 1, 0, 0, 0, 0, 3, 0, 0, 3, 3.0]).reshape(1, 4, 4, 1)


def rows_of(shape, attrs):
    x = np.random.default_rng(4).permutation(int(np.prod(shape))).reshape(shape)
    y = largest(x, **attrs)
    places = {"empty": (normal(0, *shape[1:]), normal(0, *y.shape[1:]))}
    three = {"differentiable": (2,), "dtypes": ("float32", "float64")}
    sizes, none = np.array(shape, np.int32), np.array((0, *shape[1:]), np.int32)
    return [
        Row(pooling.window_max, (different(*shape),), largest, attrs),
        Row(pooling.to_largest, (given(x), given(y), normal(*y.shape)), to_largest, attrs, **three),
        Row(pooling.of_largest, (given(x), given(y), normal(*shape)), of_largest, attrs, **three),
        Row(pooling.place_of_largest, (given(x), given(y)), place_of_largest, attrs, **places),
        Row(pooling.window_mean, (normal(*shape),), mean, attrs),
        Row(pooling.window_mean_gradient, (normal(*y.shape), sizes), mean_gradient, attrs, constant=(1,),
            empty=(normal(0, *y.shape[1:]), none)),
    ]  # fmt: skip


ROWS = [
    *(row for shape, attrs in CASES for row in rows_of(shape, attrs)),
    Row(pooling.to_largest, (*with_largest(TIES), normal(1, 2, 2, 1)), to_largest, differentiable=(2,)),
    Row(pooling.place_of_largest, with_largest(TIES), place_of_largest, {"batch": True}),
]
