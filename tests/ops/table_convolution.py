"""Rows for paraflow.ops.convolution and paraflow.ops.depthwise."""

import numpy as np

from paraflow.ops import convolution
from paraflow.ops import depthwise as depthwise_ops

from .rows import Row, normal


def places(size, window, stride, padding, dilation):
    """(number of places, elements of padding in front), straight from the definition."""
    extent = (window - 1) * dilation + 1
    if padding == "SAME":
        count = len(range(0, size, stride))
        return count, max((count - 1) * stride + extent - size, 0) // 2
    before, after = (0, 0) if padding == "VALID" else padding
    return len(range(0, before + size + after - extent + 1, stride)), before


def products(x, w, strides, padding, dilations):
    """Every (place, element of the window, pixel that is seen there), for arrays of these shapes."""
    rank = len(strides)
    pairs = [padding] * rank if isinstance(padding, str) else padding
    axes = [places(x[1 + i], w[i], strides[i], pairs[i], dilations[i]) for i in range(rank)]
    for n in range(x[0]):
        for place in np.ndindex(*(count for count, _ in axes)):
            for tap in np.ndindex(*w[:rank]):
                at = [p * strides[i] + t * dilations[i] - axes[i][1]
                      for i, (p, t) in enumerate(zip(place, tap, strict=True))]
                if all(0 <= a < size for a, size in zip(at, x[1:], strict=False)):
                    yield (n, *place), tap, (n, *at)


def result_shape(x, w, strides, padding, dilations):
    rank = len(strides)
    pairs = [padding] * rank if isinstance(padding, str) else padding
    counts = [places(x[1 + i], w[i], strides[i], pairs[i], dilations[i])[0] for i in range(rank)]
    return (x[0], *counts)


def defaults(strides=(1, 1), padding="VALID", dilations=(1, 1)):
    return strides, padding, dilations


def convolved(x, w, **attrs):
    windows = defaults(**attrs)
    y = np.zeros((*result_shape(x.shape, w.shape, *windows), w.shape[-1]))
    for place, tap, pixel in products(x.shape, w.shape, *windows):
        y[place] += x[pixel] @ w[tap]
    return y


def to_input(w, dy, sizes, **attrs):
    dx = np.zeros(sizes)
    for place, tap, pixel in products(dx.shape, w.shape, *defaults(**attrs)):
        dx[pixel] += w[tap] @ dy[place]
    return dx


def to_filter(x, dy, sizes, **attrs):
    dw = np.zeros(sizes)
    for place, tap, pixel in products(x.shape, dw.shape, *defaults(**attrs)):
        dw[tap] += np.outer(x[pixel], dy[place])
    return dw


# input, filter, result: unequal sizes, strides that leave a rest, windows of even size, padding on one side, 1 x 1
# windows, windows as large as the input, one axis and three.
CASES = [
    ((2, 4, 5, 2), (3, 2, 2, 3), (2, 2, 4, 3), {}),
    ((2, 4, 5, 2), (3, 2, 2, 3), (2, 4, 5, 3), {"padding": "SAME"}),
    ((1, 5, 4, 6), (3, 3, 6, 2), (1, 3, 2, 2), {"padding": "SAME", "strides": (2, 2)}),
    ((1, 6, 5, 2), (2, 2, 2, 2), (1, 2, 2, 2), {"dilations": (2, 3), "strides": (2, 1)}),
    ((1, 5, 6, 5), (2, 3, 5, 2), (1, 5, 6, 2), {"padding": "SAME", "dilations": (2, 2)}),
    ((1, 3, 4, 2), (2, 3, 2, 2), (1, 4, 3, 2), {"padding": ((2, 0), (0, 1))}),
    ((1, 3, 3, 1), (2, 2, 1, 2), (1, 3, 5, 2), {"padding": ((1, 2), (4, 3)), "strides": (2, 2)}),
    ((2, 2, 3, 5), (1, 1, 5, 3), (2, 2, 3, 3), {}),
    ((2, 3, 4, 2), (1, 1, 2, 3), (2, 2, 2, 3), {"strides": (2, 3)}),
    ((2, 3, 2, 2), (3, 2, 2, 3), (2, 1, 1, 3), {}),
    ((2, 5, 3), (2, 3, 2), (2, 4, 2), {"strides": (1,), "dilations": (1,)}),
    ((1, 3, 3, 4, 2), (2, 3, 2, 2, 2), (1, 2, 2, 2, 2),
     {"strides": (1, 2, 2), "dilations": (1, 1, 1), "padding": ((0, 0), (1, 1), (0, 0))}),
]  # fmt: skip

ROWS = [
    row
    for x, w, y, attrs in CASES
    for row in (
        Row(convolution.convolution, (normal(*x), normal(*w)), convolved, attrs, tolerance=32,
            empty=(normal(0, *x[1:]), normal(*w))),
        Row(convolution.convolution_input_gradient, (normal(*w), normal(*y), np.array(x, np.int32)), to_input, attrs,
            constant=(2,), tolerance=32, empty=(normal(*w), normal(0, *y[1:]), np.array((0, *x[1:]), np.int32))),
        Row(convolution.convolution_filter_gradient, (normal(*x), normal(*y), np.array(w, np.int32)), to_filter, attrs,
            constant=(2,), tolerance=32, empty=(normal(0, *x[1:]), normal(0, *y[1:]), np.array(w, np.int32))),
    )
]  # fmt: skip


def depthwise(x, w, **attrs):
    windows = defaults(**attrs)
    y = np.zeros((*result_shape(x.shape, w.shape, *windows), *w.shape[-2:]))
    for place, tap, pixel in products(x.shape, w.shape, *windows):
        y[place] += x[pixel][:, None] * w[tap]
    return y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])


def depthwise_to_input(w, dy, sizes, **attrs):
    dx = np.zeros(sizes)
    for place, tap, pixel in products(dx.shape, w.shape, *defaults(**attrs)):
        dx[pixel] += np.sum(w[tap] * dy[place].reshape(w.shape[-2:]), axis=1)
    return dx


def depthwise_to_filter(x, dy, sizes, **attrs):
    dw = np.zeros(sizes)
    for place, tap, pixel in products(x.shape, dw.shape, *defaults(**attrs)):
        dw[tap] += x[pixel][:, None] * dy[place].reshape(dw.shape[-2:])
    return dw


DEPTHWISE = [
    ((2, 4, 3, 3), (3, 2, 3, 1), (2, 2, 2, 3), {}),
    ((1, 4, 5, 2), (2, 3, 2, 2), (1, 2, 3, 4), {"padding": "SAME", "strides": (2, 2)}),
    ((1, 5, 4, 2), (2, 2, 2, 1), (1, 5, 4, 2), {"padding": "SAME", "dilations": (2, 3)}),
    ((1, 3, 2, 1), (2, 2, 1, 3), (1, 4, 1, 3), {"padding": ((2, 0), (0, 0))}),
]

ROWS += [
    row
    for x, w, y, attrs in DEPTHWISE
    for row in (
        Row(depthwise_ops.depthwise, (normal(*x), normal(*w)), depthwise, attrs, tolerance=32,
            empty=(normal(0, *x[1:]), normal(*w))),
        Row(depthwise_ops.depthwise_input_gradient, (normal(*w), normal(*y), np.array(x, np.int32)),
            depthwise_to_input, attrs, constant=(2,), tolerance=32,
            empty=(normal(*w), normal(0, *y[1:]), np.array((0, *x[1:]), np.int32))),
        Row(depthwise_ops.depthwise_filter_gradient, (normal(*x), normal(*y), np.array(w, np.int32)),
            depthwise_to_filter, attrs, constant=(2,), tolerance=32,
            empty=(normal(0, *x[1:]), normal(0, *y[1:]), np.array(w, np.int32))),
    )
]  # fmt: skip
