"""Gamma, Poisson and categorical numbers, and stateless ones: TensorFlow's, and distributed as they should be."""

from pathlib import Path

import numpy as np
import pytest

import paraflow as pf

from .draw_cases import found

REFERENCE = np.load(Path(__file__).with_name("tf_draws_reference.npz"))


def test_draws_are_tensorflows():
    with pf.Graph().as_default(), pf.Session() as session:
        ours = found(pf, session)
    assert set(ours) == set(REFERENCE)
    for name, value in ours.items():
        expected = REFERENCE[name]
        assert (value.dtype, value.shape) == (expected.dtype, expected.shape), name
        if value.dtype == np.float64:
            np.testing.assert_allclose(value, expected, rtol=1e-14, err_msg=name)  # log and power of the machine
        else:
            np.testing.assert_array_equal(value, expected, err_msg=name)


def moments(tensor):
    with pf.Session(graph=tensor.graph) as session:
        values = session.run(tensor).astype(np.float64)
    return values.mean(0), values.var(0), len(values)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 8.0])
def test_gamma_numbers_have_mean_and_variance(alpha):
    with pf.Graph().as_default():
        mean, variance, n = moments(pf.random_gamma([20_000], alpha, 2.0, seed=1))
    assert abs(mean - alpha / 2) < 5 * np.sqrt(alpha / 4 / n)
    assert abs(variance / (alpha / 4) - 1) < 0.15


@pytest.mark.parametrize("rate", [0.3, 9.0, 11.0, 500.0])
def test_poisson_numbers_have_mean_and_variance(rate):
    with pf.Graph().as_default():
        mean, variance, n = moments(pf.random_poisson(rate, [20_000], seed=1))
    assert abs(mean - rate) < 5 * np.sqrt(rate / n)
    assert abs(variance / rate - 1) < 0.1


def test_classes_have_their_probabilities():
    p = np.array([0.1, 0.2, 0.7])
    with pf.Graph().as_default(), pf.Session() as session:
        drawn = session.run(pf.random.categorical(pf.constant(np.log([p])), 20_000, seed=2))
    assert np.abs(np.bincount(drawn[0], minlength=3) / 20_000 - p).max() < 0.02


def test_the_rate_of_gamma_numbers_has_a_gradient_and_the_shape_none():
    with pf.Graph().as_default(), pf.Session() as session:
        alpha, beta = pf.constant([2.0, 3.0]), pf.constant([1.0, 4.0])
        drawn = pf.random_gamma([5], alpha, beta, seed=1)
        slope, values = session.run([pf.gradients(drawn, beta)[0], drawn])
        np.testing.assert_allclose(slope, -values.sum(0) / [1.0, 4.0], rtol=1e-5)
        with pytest.raises(pf.errors.GraphError, match=r"no gradient for alpha .*test_draws"):
            pf.gradients(drawn, alpha)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: pf.random.stateless_uniform([2], [1, 2, 3]), r"a seed is two integers, not int32 of shape \(3,\)"),
        (lambda: pf.random.stateless_uniform([2], [1, 2], dtype=pf.int32), "random integers need maxval"),
        (lambda: pf.random.stateless_normal([2], [1, 2], dtype=pf.int32), "a float one, not int32"),
        (lambda: pf.random.categorical(pf.constant([1.0]), 3), r"logits are \[rows, classes\], not \(1,\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pf.Graph().as_default(), pytest.raises((pf.errors.GraphError, pf.errors.InvalidArgumentError), match=message):
        draw()
