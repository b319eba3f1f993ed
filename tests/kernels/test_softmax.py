"""Kernels of softmax and of cross entropies: the bits of the bodies, also from strange inputs."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError
from paraflow.graph.node import records
from paraflow.kernels import softmax
from paraflow.kernels.numpy import KERNELS

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _compile_small_in_blocks(monkeypatch):
    monkeypatch.setattr(softmax, "COMPILE_FROM", 0)
    monkeypatch.setattr(softmax, "BLOCK", 1 << 12)


def assert_same_bits(name, inputs, attrs):
    with np.errstate(all="ignore"):
        expected = records[name].body(*inputs, **attrs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = [np.full_like(e, 7, order="C") for e in expected]
        KERNELS[name].bind(attrs)(*inputs, *found)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        # Which NaN it is may differ, where numpy's own depends on the processor.
        assert np.where(one == one, one, 0).tobytes() == np.where(other == other, other, 0).tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(7, 5), (1, 3), (2, 3, 33), (130, 170), (9, 64), (3, 2, 65), (2, 5000)])
def test_kernels_have_the_bits_of_the_bodies(shape, dtype):
    x = (RNG.normal(size=shape) * 5).astype(dtype)
    masked = np.where(RNG.random(shape) < 0.2, -np.inf, x).astype(dtype)
    strange = x.copy()
    strange[0, -1], strange[-1, 0], strange[..., 2] = np.nan, -np.inf, -np.inf
    zeros = np.where(x > 0, -900, np.where(masked == x, 0, -0.0)).astype(dtype)
    labels = RNG.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    shares = np.where(RNG.random(shape) < 0.5, RNG.random(shape), 0).astype(dtype)
    for logits in (x, masked, strange, zeros, np.full_like(x, -np.inf), np.asfortranarray(x)):
        for axis in (-1, x.ndim - 1, 0):
            assert_same_bits("softmax", (logits,), {"axis": axis})
            assert_same_bits("log_softmax", (logits,), {"axis": axis})
            assert_same_bits("softmax_cross_entropy", (logits, shares), {"axis": axis})
        assert_same_bits("sparse_softmax_cross_entropy", (logits, labels), {})
    assert_same_bits("subtract_one_hot", (x, labels), {})


@pytest.mark.parametrize("limit", [0, 1 << 30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_rows_have_the_values_of_float64(monkeypatch, dtype, limit):
    monkeypatch.setattr(softmax, "COMPILE_FROM", limit)
    x = (RNG.normal(size=(6, 3001)) * 4).astype(dtype)
    wide = x.astype(np.longdouble)
    p = np.exp(wide) / np.exp(wide).sum(-1, keepdims=True)
    labels, classes = (p[::-1] ** 2).astype(dtype), RNG.integers(0, 3001, 6)
    nn, tolerance = pf.nn, 2e-6 if dtype == "float32" else 1e-13
    with pf.Graph().as_default(), pf.Session() as session:
        t = pf.constant(x)
        ops = [nn.softmax(t), nn.log_softmax(t), nn.softmax_cross_entropy_with_logits(labels=labels, logits=t),
               nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=t)]  # fmt: skip
        found = session.run(ops)
    expected = [p, np.log(p), -(labels * np.log(p)).sum(-1), -np.log(p[np.arange(6), classes])]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.astype(dtype), rtol=tolerance, atol=tolerance / 4)


def test_the_softmax_that_is_fetched_is_not_what_the_gradient_is_made_in():
    labels, logits = np.array([1, 0]), np.array([[0, 0], [1, 1]], np.float32)
    with pf.Graph().as_default(), pf.Session() as session:
        x = pf.placeholder(pf.float32, [2, 2])
        loss = pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x)
        (slope,) = pf.gradients(loss, [x])
        p, dx = session.run([loss.op.outputs[1], slope], {x: logits})
    np.testing.assert_array_equal(p, [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_array_equal(dx, [[0.5, -0.5], [-0.5, 0.5]])


def test_a_wrong_label_is_refused():
    with pf.Graph().as_default(), pf.Session() as session:
        loss = pf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 3], logits=pf.ones([2, 3]))
        with pytest.raises(InvalidArgumentError, match="index 3 is not in"):
            session.run(loss)
