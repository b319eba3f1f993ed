"""Kernels of softmax and of the cross entropy of class numbers: the bits of the bodies, also from strange inputs."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError
from paraflow.graph.node import records
from paraflow.kernels.numpy import KERNELS

RNG = np.random.default_rng(7)


def assert_same_bits(name, inputs, attrs):
    with np.errstate(all="ignore"):
        expected = records[name].body(*inputs, **attrs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = [np.full_like(e, 7) for e in expected]
        KERNELS[name].bind(attrs)(*inputs, *found)
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(7, 5), (1, 3), (2, 3, 33), (130, 170)])
def test_kernels_have_the_bits_of_the_bodies(shape, dtype):
    x = (RNG.normal(size=shape) * 5).astype(dtype)
    masked = np.where(RNG.random(shape) < 0.2, -np.inf, x).astype(dtype)
    labels = RNG.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    for logits in (x, masked, np.asfortranarray(x)):
        assert_same_bits("softmax", (logits,), {"axis": -1})
        assert_same_bits("softmax", (logits,), {"axis": 0})
        assert_same_bits("sparse_softmax_cross_entropy", (logits, labels), {})
    assert_same_bits("subtract_one_hot", (x, labels), {})


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
