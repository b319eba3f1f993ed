"""Dropout: TensorFlow's numbers seed for seed, one mask for value and gradient, exact expectation of the scaling."""

from pathlib import Path

import numpy as np
import pytest

import paraflow as pf

REFERENCE = np.load(Path(__file__).with_name("tf_random_reference.npz"))


@pytest.fixture(autouse=True)
def graph():
    with pf.Graph().as_default():
        yield


@pytest.mark.parametrize(
    ("name", "size", "keep_prob", "seed", "runs"),
    [("dropout_20_seed4", 20, 0.5, 4, 2), ("dropout_50_keep_70_seed9", 50, 0.7, 9, 3)],
)
def test_numbers_are_tensorflows(name, size, keep_prob, seed, runs):
    y = pf.nn.dropout(pf.ones([size]), keep_prob=keep_prob, seed=seed)
    with pf.Session() as session:
        for run in range(runs):
            np.testing.assert_array_equal(session.run(y), REFERENCE[f"{name}/run{run}/out0"])


def test_gradient_has_the_mask_of_the_value():
    x = pf.placeholder(pf.float64, [40])
    y = pf.nn.dropout(x, rate=0.25, seed=3)
    (gradient,) = pf.gradients(y, x)
    with pf.Session() as session:
        value, slope = session.run([y, gradient], {x: np.arange(1.0, 41)})
    np.testing.assert_allclose(value, slope * np.arange(1, 41))
    assert set(slope) == {0, 1 / 0.75}


def test_noise_shape_drops_whole_rows():
    y = pf.nn.dropout(pf.ones([30, 4]), 0.5, noise_shape=[30, 1], seed=1)
    with pf.Session() as session:
        value = session.run(y)
    assert {tuple(row) for row in value} == {(0, 0, 0, 0), (2, 2, 2, 2)}


def test_rate_may_be_fed():
    rate = pf.placeholder(pf.float32, [])
    y = pf.nn.dropout(pf.ones([100]), rate=rate, seed=1)
    with pf.Session() as session:
        assert set(session.run(y, {rate: 0.75})) == {0, 4}
        assert set(session.run(y, {rate: 0.0})) == {1}


def test_keeping_all_draws_nothing():
    x = pf.ones([3])
    assert pf.nn.dropout(x, keep_prob=1.0) is x
