"""Rows for paraflow.ops.patches and paraflow.ops.morphology."""

import numpy as np

from paraflow.ops import morphology, patches

from .rows import Row, given, normal
from .table_convolution import products, result_shape


def seen(x, window, strides=(1, 1), padding="VALID", dilations=(1, 1)):
    """The shape of the places, and every (place, number of the element of the window, pixel that is seen there)."""
    found = products(x, window, strides, padding, dilations)
    return result_shape(x, window, strides, padding, dilations), [
        (place, int(np.ravel_multi_index(tap, window)), pixel) for place, tap, pixel in found
    ]


def row_of_patches(x, window=(2, 2), **attrs):
    shape, taken = seen(x.shape, window, **attrs)
    result = np.zeros((*shape, int(np.prod(window)), x.shape[-1]), x.dtype)
    for place, tap, pixel in taken:
        result[(*place, tap)] = x[pixel]
    return result.reshape(*shape, -1 if x.size else result.shape[-2] * x.shape[-1])


def put_back(dy, sizes, window=(2, 2), **attrs):
    dx = np.zeros(sizes, dy.dtype)
    parts = dy.reshape(*dy.shape[:-1], int(np.prod(window)), sizes[-1])
    for place, tap, pixel in seen(tuple(sizes), window, **attrs)[1]:
        dx[pixel] += parts[(*place, tap)]
    return dx


PATCHES = [
    ((2, 4, 3, 2), {}),
    ((1, 5, 4, 6), {"window": (3, 2), "strides": (2, 1), "padding": "SAME"}),
    ((1, 5, 6, 1), {"window": (2, 3), "dilations": (3, 2)}),
    ((2, 3, 3, 2), {"window": (1, 1), "strides": (1, 2)}),
    ((1, 3, 4, 3, 2), {"window": (2, 2, 2), "strides": (1, 2, 1), "dilations": (1, 1, 1), "padding": "SAME"}),
]


def rows_of_patches(x, attrs):
    sizes, none = np.array(x, np.int32), np.array((0, *x[1:]), np.int32)
    y = row_of_patches(np.zeros(x), **attrs).shape
    return (
        Row(patches.window_patches, (normal(*x),), row_of_patches, attrs),
        Row(patches.window_patches_gradient, (normal(*y), sizes), put_back, attrs, constant=(1,),
            empty=(normal(0, *y[1:]), none)),
    )  # fmt: skip


def largest_sums(x, w, **attrs):
    """For each place and channel the position of the pixel and of the element of the filter, by one at a time."""
    shape, taken = seen(x.shape, w.shape[:-1], **attrs)
    channels = x.shape[-1]
    best = np.full((*shape, channels), -np.inf)
    pixels, elements = np.zeros((2, *shape, channels), np.int64)
    for place, tap, pixel in taken:
        for c in range(channels):
            element = (*np.unravel_index(tap, w.shape[:-1]), c)
            if x[(*pixel, c)] + w[element] > best[(*place, c)]:
                best[(*place, c)] = x[(*pixel, c)] + w[element]
                pixels[(*place, c)] = np.ravel_multi_index((*pixel, c), x.shape)
                elements[(*place, c)] = np.ravel_multi_index(element, w.shape)
    return pixels, elements


def dilated(x, w, **attrs):
    pixels, elements = largest_sums(x, w, **attrs)
    return x.reshape(-1)[pixels] + w.reshape(-1)[elements]


def dilation(x, w, **windows):
    return morphology.dilate(x, w, windows, "dilation")


def different(*shape, step=1.0):
    """Numbers that all differ, by a step that no difference quotient crosses."""
    return given(np.random.default_rng(5).permutation(int(np.prod(shape))).reshape(shape) * step)


DILATIONS = [
    ((2, 4, 3, 2), (2, 2, 2), {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}),
    ((1, 5, 4, 1), (3, 2, 1), {"strides": (2, 1), "padding": "SAME", "dilations": (1, 1)}),
    ((1, 5, 6, 2), (2, 3, 2), {"strides": (1, 2), "padding": "SAME", "dilations": (2, 2)}),
]
TIED = (given(np.zeros((1, 3, 3, 1))), given(np.array([0, 0, 1, 1.0]).reshape(2, 2, 1)))

ROWS = [
    *(row for x, attrs in PATCHES for row in rows_of_patches(x, attrs)),
    *(row for x, w, attrs in DILATIONS for row in (
        Row(morphology.places_of_largest_sums, (normal(*x), normal(*w)), largest_sums, attrs, dtypes=("float64",),
            empty=(normal(0, *x[1:]), normal(*w))),
        Row(dilation, (different(*x), different(*w, step=0.01)), dilated, attrs, dtypes=("float32", "float64"),
            empty=(normal(0, *x[1:]), normal(*w))),
    )),
    Row(morphology.places_of_largest_sums, TIED, largest_sums, empty=None),
]  # fmt: skip
