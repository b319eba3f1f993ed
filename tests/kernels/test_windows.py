"""Compiled depthwise convolutions and pooling: the bits of numpy's bodies for windows of any kind, NaN and all."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paraflow as pf
from paraflow import native
from paraflow.graph.node import records
from paraflow.kernels import windows
from paraflow.kernels.numpy import KERNELS

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def _compile_small(monkeypatch):
    monkeypatch.setattr(windows, "COMPILE_FROM", 0)


def assert_same_bits(name, inputs, attrs):
    """The kernel gives the body's bits, which are returned."""
    with np.errstate(all="ignore"):
        expected = records[name].body(*inputs, **attrs)
        found = np.full_like(expected, 7)
        KERNELS[name].bind(attrs)(*inputs, found)
    assert found.tobytes() == expected.tobytes(), name
    return expected


@st.composite
def slides(draw):
    """(sizes, window, strides, padding, dilations): windows may be larger than images, and pixels unseen."""
    rank = draw(st.integers(1, 3))

    def numbers(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank)))

    sizes, window = numbers(1, 11 if rank < 3 else 5), numbers(1, 5 if rank < 3 else 2)
    strides, dilations = numbers(1, 3), numbers(1, 2)
    extents = [(k - 1) * d + 1 for k, d in zip(window, dilations, strict=True)]
    pairs = tuple(zip(numbers(0, 3), numbers(0, 3), strict=True))
    fit = [p for p, more in (("VALID", [0] * rank), (pairs, map(sum, pairs)))
           if all(n + m >= e for n, m, e in zip(sizes, more, extents, strict=True))]  # fmt: skip
    return sizes, window, strides, draw(st.sampled_from(["SAME", *fit])), dilations


CHANNELS = st.sampled_from([1, 2, 3, 7, 16, 24, 37])
DTYPES = st.sampled_from(["float32", "float64"])


@settings(max_examples=80, deadline=None)
@given(slides(), CHANNELS, st.integers(1, 3), st.integers(1, 3), DTYPES)
def test_depthwise_convolutions_have_the_bits_of_the_bodies(slide, channels, many, n, dtype):
    sizes, window, strides, padding, dilations = slide
    attrs = {"strides": strides, "padding": padding, "dilations": dilations}
    x, w = (RNG.normal(size=s).astype(dtype) for s in ((n, *sizes, channels), (*window, channels, many)))
    y = assert_same_bits("depthwise", (x, w), attrs)
    dy = RNG.normal(size=y.shape).astype(dtype)
    assert_same_bits("depthwise_input_gradient", (w, dy, np.array(x.shape)), attrs)
    assert_same_bits("depthwise_filter_gradient", (x, dy, np.array(w.shape)), attrs)


@settings(max_examples=80, deadline=None)
@given(slides(), CHANNELS, st.integers(1, 3), DTYPES, st.sampled_from([None, np.nan, -np.inf, np.inf, -0.0]))
def test_pooling_has_the_bits_of_the_bodies(slide, channels, n, dtype, strange):
    """With ties, and with NaN, infinities and zeros of both signs in places."""
    sizes, window, strides, padding, _ = slide
    attrs = {"window": window, "strides": strides, "padding": padding}
    x = np.round(RNG.normal(size=(n, *sizes, channels)) * 2).astype(dtype)
    if strange is not None:
        x[RNG.random(x.shape) < 0.3] = strange
    y = assert_same_bits("window_max", (x,), attrs)
    dy = RNG.normal(size=y.shape).astype(dtype)
    assert_same_bits("to_largest", (x, y, dy), attrs)
    assert_same_bits("window_mean", (x,), attrs)
    assert_same_bits("window_mean_gradient", (dy, np.array(x.shape)), attrs)


@pytest.mark.parametrize("kind", [windows.PRODUCTS, windows.SUMS, windows.MAXIMA])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_is_compiled_code_where_there_is_a_compiler(kind, dtype):
    arrays = [np.ones(3, dtype), np.ones(3, dtype)]
    assert (windows._compiled(kind, arrays) is not None) == (native.compiler() is not None)
    assert windows._compiled(kind, [np.ones((3, 2), dtype).T]) is None  # a result that is not contiguous
    assert windows._compiled(kind, [np.ones(3, np.float16)]) is None
    assert windows._compiled(kind, [np.ones(0, dtype), np.ones(3, dtype)]) is None


@pytest.mark.parametrize("limit", [0, sys.maxsize])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_a_network_has_the_derivatives_of_float64_loops(monkeypatch, limit, data_format):
    """Odd sizes and strides: against sums over all places, elements and channels in float64."""
    monkeypatch.setattr(windows, "COMPILE_FROM", limit)
    n, size, channels, many = 3, 9, 5, 2
    x = RNG.normal(size=(n, size, size, channels))
    w = RNG.normal(size=(3, 3, channels, many))
    dz = RNG.normal(size=(n, 2, 2, channels * many))
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    y, dw, dx = np.zeros((n, 5, 5, channels, many)), np.zeros(w.shape), np.zeros(padded.shape)
    for i, j in np.ndindex(3, 3):
        y += padded[:, i : i + 9 : 2, j : j + 9 : 2, :, None] * w[i, j]
    y = y.reshape(n, 5, 5, channels * many)
    z, dy = np.zeros(dz.shape), np.zeros(y.shape)
    for a, b, i, c in np.ndindex(n, 2, 2, channels * many):
        seen = y[a, 2 * b : 2 * b + 2, 2 * i : 2 * i + 2, c]
        k, m = np.unravel_index(seen.argmax(), seen.shape)
        z[a, b, i, c] = seen[k, m]
        dy[a, 2 * b + k, 2 * i + m, c] += dz[a, b, i, c]
    given_y = dy.reshape(n, 5, 5, channels, many)
    for i, j in np.ndindex(3, 3):
        at = (slice(None), slice(i, i + 9, 2), slice(j, j + 9, 2))
        dw[i, j] = np.einsum("nhwc,nhwcm->cm", padded[at], given_y)
        dx[at] += (given_y * w[i, j]).sum(-1)

    def formatted(images):
        return images.transpose(0, 3, 1, 2) if data_format == "NCHW" else images

    with pf.Graph().as_default():
        image = pf.placeholder(pf.float32, formatted(x).shape)
        filters = pf.placeholder(pf.float32, w.shape)
        step = [1, 2, 2, 1] if data_format == "NHWC" else [1, 1, 2, 2]
        found = pf.nn.depthwise_conv2d(image, filters, step, "SAME", data_format=data_format)
        pooled = pf.nn.max_pool(found, 2, 2, "VALID", data_format=data_format)
        slopes = pf.gradients(pooled, [image, filters], [formatted(dz).astype(np.float32)])
        with pf.Session() as session:
            actual = session.run([pooled, *slopes], {image: formatted(x), filters: w})
    for value, expected in zip(actual, (formatted(z), formatted(dx[:, 1:10, 1:10]), dw), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("limit", [0, sys.maxsize])
def test_nan_is_the_largest_and_gets_the_gradient(monkeypatch, limit):
    monkeypatch.setattr(windows, "COMPILE_FROM", limit)
    x = np.array([[1, 5, 2, 3], [np.nan, 9, 4, 4], [0, -0.0, -1, -2], [-0.0, np.nan, np.nan, -1]], np.float32)
    with pf.Graph().as_default():
        image = pf.placeholder(pf.float32, (1, 4, 4, 1))
        y = pf.nn.max_pool(image, 2, 2, "VALID")
        (dx,) = pf.gradients(y, [image], [np.array([np.inf, 2, 3, 4], np.float32).reshape(1, 2, 2, 1)])
        with pf.Session() as session:
            found, slope = session.run([y, dx], {image: x.reshape(1, 4, 4, 1)})
    np.testing.assert_array_equal(found.ravel(), [np.nan, 4, np.nan, np.nan])
    expected = [[0, 0, 0, 0], [np.inf, 0, 2, 0], [0, 0, 0, 0], [0, 3, 4, 0]]
    np.testing.assert_array_equal(slope.reshape(4, 4), expected)


def test_a_maximum_of_zeros_is_not_negative():
    zeros = -np.zeros((1, 8, 8, 40), np.float32)
    y = assert_same_bits("window_max", (zeros,), {"window": (2, 2), "strides": (2, 2), "padding": "VALID"})
    assert not np.signbit(y).any()


PROGRAM = """
import zlib, numpy as np, paraflow as pf
rng = np.random.default_rng(0)
x, w = rng.normal(size=(4, 13, 17, 12)).astype("f4"), pf.Variable(rng.normal(size=(3, 3, 12, 2)).astype("f4"))
h = pf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME")
h = pf.nn.avg_pool(pf.nn.max_pool(h, 3, 2, "SAME"), 2, 1, "SAME")
step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(pf.square(h)))
with pf.Session() as session:
    session.run(pf.global_variables_initializer())
    for _ in range(3): session.run(step)
    print(zlib.crc32(session.run(w).tobytes()))
"""


def test_without_a_compiler_training_has_the_same_bits(tmp_path):
    def run(**environment):
        return subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | environment, capture_output=True,
                              text=True, check=True)  # fmt: skip

    compiled, plain = run(PARAFLOW_CACHE=str(tmp_path / "new")), run(PARAFLOW_NATIVE="0")
    assert (plain.stdout, plain.stderr) == (compiled.stdout, compiled.stderr) == (compiled.stdout, "")
    if native.compiler() is not None:
        assert any((tmp_path / "new").iterdir())
