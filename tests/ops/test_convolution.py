"""Convolution and pooling: shapes without end against seven loops, data formats, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paraflow as pf
from paraflow.errors import GraphError
from paraflow.ops import convolution, windows
from paraflow.ops.array import make_constant, make_placeholder
from paraflow.testing import interpret

from .table_convolution import convolved, to_filter, to_input

RNG = np.random.default_rng(8)


@st.composite
def convolutions(draw):
    """(input shape, filter shape, strides, padding, dilations)."""
    rank = draw(st.integers(1, 3))

    def numbers(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank)))

    sizes, window = numbers(1, 7 if rank < 3 else 4), numbers(1, 4 if rank < 3 else 2)
    strides, dilations = numbers(1, 3), numbers(1, 2)
    fits = all((k - 1) * d < n for n, k, d in zip(sizes, window, dilations, strict=True))
    pairs = tuple(zip(numbers(0, 3), numbers(0, 3), strict=True))
    extents = [n + sum(p) - (k - 1) * d for n, k, d, p in zip(sizes, window, dilations, pairs, strict=True)]
    padding = draw(st.sampled_from(["SAME", *(["VALID"] if fits else []), *([pairs] if min(extents) > 0 else [])]))
    channels, outputs = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    return (draw(st.integers(1, 4)), *sizes, channels), (*window, channels, outputs), strides, padding, dilations


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.sampled_from([1, 500, 1 << 19]))
def test_any_convolution_is_that_of_the_loops(case, piece):
    """In pieces of any size, down to one line of an image."""
    x_shape, w_shape, strides, padding, dilations = case
    x, w = RNG.normal(size=x_shape), RNG.normal(size=w_shape)
    attrs = {"strides": strides, "padding": padding, "dilations": dilations}
    expected = convolved(x, w, **attrs)
    dy = RNG.normal(size=expected.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "PIECE_BYTES", piece)
        actual = (
            convolution.convolve(x, w, strides, padding, dilations),
            convolution.input_gradient(w, dy, x_shape, strides, padding, dilations),
            convolution.filter_gradient(x, dy, w_shape, strides, padding, dilations),
        )
    loops = expected, to_input(w, dy, x_shape, **attrs), to_filter(x, dy, w_shape, **attrs)
    for a, e in zip(actual, loops, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels", [3, 16])
def test_a_convolution_of_many_pieces(channels):
    x = RNG.normal(size=(12, 40, 37, channels)).astype(np.float32)
    w = RNG.normal(size=(3, 5, channels, 24)).astype(np.float32)
    seen = np.lib.stride_tricks.sliding_window_view(x.astype(float), (3, 5), (1, 2))[:, ::2]
    expected = np.einsum("nhwcij,ijck->nhwk", seen, w, optimize=True)
    pieces = list(windows.Patches(x, windows.axes_of((40, 37), (3, 5), (2, 1), "VALID", (1, 1))))
    assert len(pieces) > 2
    actual = convolution.convolve(x, w, (2, 1), "VALID", (1, 1))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    dw = convolution.filter_gradient(x, actual, w.shape, (2, 1), "VALID", (1, 1))
    expected = np.einsum("nhwcij,nhwk->ijck", seen, actual.astype(float), optimize=True)
    np.testing.assert_allclose(dw, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


PADDING = [[0, 0], [1, 2], [0, 1], [0, 0]]
# Each (function of a data format and tensors, shapes of the tensors with channels last).
FORMATS = {
    "conv1d": (lambda f, x, w: pf.nn.conv1d(x, w, 2, "SAME", data_format=f), [(2, 5, 3), (2, 3, 4)]),
    "conv2d": (
        lambda f, x, w: pf.nn.conv2d(x, w, [1, 1, 2, 1] if f == "NHWC" else [1, 1, 1, 2], "SAME", data_format=f),
        [(2, 5, 4, 3), (2, 3, 3, 2)],
    ),
    "conv2d, padded": (
        lambda f, x, w: pf.nn.conv2d(x, w, 1, PADDING if f == "NHWC" else [PADDING[i] for i in (0, 3, 1, 2)], True, f),
        [(2, 5, 4, 3), (2, 3, 3, 2)],
    ),
    "conv3d": (lambda f, x, w: pf.nn.conv3d(x, w, 1, "VALID", data_format=f), [(1, 3, 2, 4, 2), (2, 2, 2, 2, 3)]),
    "depthwise_conv2d": (
        lambda f, x, w: pf.nn.depthwise_conv2d(x, w, 1, "SAME", data_format=f), [(2, 4, 3, 2), (2, 2, 2, 2)],
    ),
    "separable_conv2d": (
        lambda f, x, w: pf.nn.separable_conv2d(x, w, np.arange(12.0).reshape(1, 1, 4, 3), 1, "SAME", data_format=f),
        [(2, 4, 3, 2), (2, 2, 2, 2)],
    ),
    "max_pool": (lambda f, x: pf.nn.max_pool(x, [2, 3], 2, "SAME", data_format=f), [(2, 5, 4, 3)]),
    "avg_pool": (lambda f, x: pf.nn.avg_pool(x, 2, [1, 2], "VALID", data_format=f), [(2, 5, 4, 3)]),
    "avg_pool1d": (lambda f, x: pf.nn.avg_pool1d(x, 2, 2, "VALID", data_format=f), [(2, 5, 3)]),
    "conv3d_transpose": (
        lambda f, y, w: pf.nn.conv3d_transpose(
            y, w, [1, 3, 4, 8, 3] if f == "NDHWC" else [1, 3, 3, 4, 8], (1, 1, 2), data_format=f),
        [(1, 3, 4, 4, 2), (2, 2, 2, 3, 2)],
    ),
    "pool with holes": (lambda f, x: pf.nn.pool(x, [2, 3], "AVG", "VALID", [2, 1], data_format=f), [(2, 6, 5, 3)]),
    "max_pool3d": (lambda f, x: pf.nn.max_pool3d(x, 2, 2, "SAME", data_format=f), [(1, 3, 2, 4, 2)]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_channels_in_second_place(name):
    build, shapes = FORMATS[name]
    arrays = [RNG.normal(size=s) for s in shapes]
    rank = len(shapes[0]) - 2
    last, first = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}[rank]
    with pf.Graph().as_default():
        expected = interpret(build(last, *map(make_constant, arrays)))
        moved = [np.moveaxis(arrays[0], -1, 1), *arrays[1:]]
        inputs = [make_placeholder(a.dtype, a.shape) for a in moved]
        y = build(first, *inputs)
        assert tuple(y.shape) == (*expected.shape[:1], expected.shape[-1], *expected.shape[1:-1])
        feeds = dict(zip(inputs, moved, strict=True))
        np.testing.assert_allclose(np.moveaxis(interpret(y, feeds), 1, -1), expected, rtol=1e-12)
        (dx,) = pf.gradients(y, [inputs[0]])
        assert interpret(dx, feeds).shape == moved[0].shape


def test_the_transpose_and_gradients_with_channels_in_second_place():
    w, y = RNG.normal(size=(3, 2, 3, 4)), RNG.normal(size=(2, 4, 3, 4))
    x = RNG.normal(size=(2, 7, 6, 3))
    y_first, x_first = np.moveaxis(y, -1, 1), np.moveaxis(x, -1, 1)
    with pf.Graph().as_default():
        last = [
            pf.nn.conv2d_transpose(y, w, [2, 7, 6, 3], 2),
            pf.nn.conv2d_backprop_input([2, 7, 6, 3], w, y, 2, "SAME"),
        ]
        first = [
            pf.nn.conv2d_transpose(y_first, w, [2, 3, 7, 6], 2, data_format="NCHW"),
            pf.nn.conv2d_backprop_input([2, 3, 7, 6], w, y_first, 2, "SAME", data_format="NCHW"),
        ]
        for a, b in zip(interpret(last), interpret(first), strict=True):
            np.testing.assert_array_equal(a, np.moveaxis(b, 1, -1))
        a = pf.nn.conv2d_backprop_filter(x, w.shape, y, 2, "SAME")
        b = pf.nn.conv2d_backprop_filter(x_first, w.shape, y_first, 2, "SAME", data_format="NCHW")
        np.testing.assert_array_equal(interpret(a), interpret(b))


def images(*shape):
    return make_placeholder("float32", shape)


REFUSED = {
    "other channels": (
        lambda: pf.nn.conv2d(images(1, 5, 5, 3), images(2, 2, 4, 1), 1, "SAME"), r"test_conv.*4 channels.* 3"),
    "a filter of other rank": (lambda: pf.nn.conv2d(images(1, 5, 5, 3), images(2, 3, 1), 1, "SAME"), "the filter is"),
    "an input of other rank": (lambda: pf.nn.conv2d(images(5, 5, 3), images(2, 2, 3, 1), 1, "SAME"), "the input is"),
    "a filter that is too large": (
        lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(5, 2, 1, 1), 1, "VALID"), "spans 5 elements does not fit"),
    "no padding": (lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), 1), "padding has to be given"),
    "unknown padding": (lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), 1, "FULL"), "not 'FULL'"),
    "negative padding": (
        lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), 1, [[0, 0], [0, -1], [0, 0], [0, 0]]), "negative"),
    "padded channels": (
        lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), 1, [[0, 0], [0, 0], [0, 0], [1, 0]]), "channels"),
    "no stride": (lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), 0, "SAME"), "numbers above 0"),
    "strides of samples": (
        lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), [2, 1, 1, 1], "SAME"), "samples and channels"),
    "three strides": (lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), [1, 1, 1], "SAME"), "1, 2 or 4"),
    "an unknown data format": (
        lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), 1, "SAME", data_format="HWCN"), "not 'HWCN'"),
    "two filters": (
        lambda: pf.nn.conv2d(images(1, 3, 3, 1), images(2, 2, 1, 1), 1, "SAME", filters=images(2, 2, 1, 1)), "one of"),
    "a gradient of other shape": (
        lambda: pf.nn.conv2d_backprop_input([1, 4, 4, 1], images(2, 2, 1, 1), images(1, 4, 4, 1), 1, "VALID"), "fit"),
    "windows over channels": (lambda: pf.nn.max_pool(images(1, 4, 4, 2), [1, 1, 1, 2], 1, "SAME"), "channels"),
    "no window": (lambda: pf.nn.max_pool(images(1, 4, 4, 2), None, 1, "SAME"), "one of ksize"),
    "an empty window": (lambda: pf.nn.avg_pool(images(1, 4, 4, 2), 0, 1, "SAME"), "sizes above 0"),
    "a transpose to six axes": (
        lambda: pf.nn.conv_transpose(images(1, 4, 4, 2), images(2, 2, 2, 2), [1] * 6, 1), "3 to 5 sizes"),
    "another kind of pooling": (lambda: pf.nn.pool(images(1, 4, 4, 2), [2, 2], "SUM", "SAME"), "'MAX' or 'AVG'"),
    "padded windows with holes": (lambda: pf.nn.pool(images(1, 4, 4, 2), [2, 2], "MAX", "SAME", [2, 2]), "holes"),
    "holes in sizes that are not known": (
        lambda: pf.nn.pool(images(1, None, 4, 2), [2, 2], "MAX", "VALID", [2, 2]), "needs the sizes of axes"),
    "a window of patches without samples": (
        lambda: pf.extract_image_patches(images(1, 4, 4, 2), [2, 2], [1, 1, 1, 1], [1, 1, 1, 1], "SAME"), "1, n, n, 1"),
    "an element for other channels": (
        lambda: pf.nn.dilation2d(images(1, 4, 4, 2), images(2, 2, 3), 1, 1, "SAME"), r"test_conv.*3 channels.* 2"),
    "pointwise filters that are not": (
        lambda: pf.nn.separable_conv2d(images(1, 4, 4, 2), images(2, 2, 2, 1), images(2, 1, 2, 3), 1, "SAME"), "1, 1"),
}  # fmt: skip


def test_a_dilation_that_sees_nothing_but_padding_is_an_error():
    with pf.Graph().as_default(), pytest.raises(pf.errors.InvalidArgumentError, match="nothing but padding"):
        interpret(pf.nn.dilation2d(np.zeros((1, 2, 2, 1), "f"), np.zeros((2, 2, 1), "f"), 1, 3, "SAME"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    build, message = REFUSED[name]
    with pf.Graph().as_default(), pytest.raises(GraphError, match=rf"(?s){message}"):
        build()
