"""Softmax and cross entropies block by block: the bits of what is done at once."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError
from paraflow.graph.node import records
from paraflow.kernels import rows
from paraflow.kernels.numpy import KERNELS

RNG = np.random.default_rng(7)
SHAPES = [(7, 5), (1, 3), (2, 3, 33), (130, 17)]


def assert_same_bits(name, inputs, attrs, outputs):
    with np.errstate(all="ignore"):
        expected = records[name].body(*inputs, **attrs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = [np.full_like(e, 7) for e in expected]
        KERNELS[name].bind(attrs)(*inputs, *found)
    assert len(expected) == outputs
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes(), name


@pytest.mark.parametrize("block", [1, 40, 1 << 14])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_have_the_bits_of_the_bodies(monkeypatch, shape, dtype, block):
    monkeypatch.setattr(rows, "BLOCK", block)
    x = (RNG.normal(size=shape) * 5).astype(dtype)
    masked = np.where(RNG.random(shape) < 0.2, -np.inf, x).astype(dtype)
    masked[..., 0] = 1
    distribution = RNG.random(shape).astype(dtype)
    unwanted = np.where(np.isinf(masked), 0, distribution).astype(dtype)
    labels = RNG.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    for logits in (x, masked, np.asfortranarray(x)):
        assert_same_bits("softmax", (logits,), {"axis": -1}, 1)
        assert_same_bits("softmax", (logits,), {"axis": 0}, 1)
        assert_same_bits("sparse_softmax_cross_entropy", (logits, labels), {}, 2)
    assert_same_bits("softmax_cross_entropy", (x, distribution), {"axis": -1}, 2)
    assert_same_bits("softmax_cross_entropy", (masked, unwanted), {"axis": -1}, 2)
    assert_same_bits("softmax_cross_entropy", (x, distribution[:1]), {"axis": -1}, 2)
    assert_same_bits("subtract_one_hot", (distribution, labels), {}, 1)


def test_a_wrong_label_is_refused_in_blocks_too(monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 1)
    with pf.Graph().as_default(), pf.Session() as session:
        loss = pf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 3], logits=pf.ones([2, 3]))
        with pytest.raises(InvalidArgumentError, match="index 3 is not in"):
            session.run(loss)
