"""Schedules against TensorFlow 1's formulas, written out for one step after the other."""

import functools
import math

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError

pytestmark = pytest.mark.usefixtures("graph")

STEPS = [0, 1, 2, 3, 7, 10, 11, 19, 20, 25, 1000]


def rates(schedule):
    """What ``schedule(global step)`` is at each of STEPS."""
    step = pf.placeholder(pf.int64, ())
    rate = schedule(step)
    assert rate.dtype == pf.float32
    with pf.Session() as session:
        return [session.run(rate, {step: n}) for n in STEPS]


def expect(schedule, formula):
    np.testing.assert_allclose(rates(schedule), [formula(n) for n in STEPS], rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("staircase", [False, True])
def test_decays_by_periods(staircase):
    def periods(n):
        return math.floor(n / 7) if staircase else n / 7

    train = pf.train
    expect(lambda s: train.exponential_decay(0.5, s, 7, 0.9, staircase), lambda n: 0.5 * 0.9 ** periods(n))
    expect(lambda s: train.natural_exp_decay(0.5, s, 7, 0.2, staircase), lambda n: 0.5 * math.exp(-0.2 * periods(n)))
    expect(lambda s: train.inverse_time_decay(0.5, s, 7, 0.2, staircase), lambda n: 0.5 / (1 + 0.2 * periods(n)))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_polynomial_decay(power):
    expect(
        lambda s: pf.train.polynomial_decay(0.5, s, 20, 0.1, power),
        lambda n: 0.4 * (1 - min(n, 20) / 20) ** power + 0.1,
    )


def test_polynomial_decay_in_cycles():
    expect(
        lambda s: pf.train.polynomial_decay(0.5, s, 10, 0.1, 2.0, cycle=True),
        lambda n: 0.4 * (1 - n / (10 * max(1, math.ceil(n / 10)))) ** 2 + 0.1,
    )


def test_cosine_decay():
    expect(
        lambda s: pf.train.cosine_decay(0.5, s, 20, 0.1),
        lambda n: 0.5 * (0.9 * 0.5 * (1 + math.cos(math.pi * min(n, 20) / 20)) + 0.1),
    )


def test_piecewise_constant_includes_its_boundaries():
    expect(
        lambda s: pf.train.piecewise_constant(s, [2, 10], [1.0, 0.5, 0.25]),
        lambda n: 1.0 if n <= 2 else 0.5 if n <= 10 else 0.25,
    )


@pytest.mark.parametrize(("boundaries", "values"), [([1, 2], [1.0, 2.0]), ([2, 2], [1.0, 2.0, 3.0])])
def test_pieces_that_do_not_fit_are_refused(boundaries, values):
    with pytest.raises(GraphError, match="boundaries"):
        pf.train.piecewise_constant(pf.placeholder(pf.int64, ()), boundaries, values)


def test_linear_warmup_of_a_number_and_of_a_schedule():
    expect(lambda s: pf.train.linear_warmup(0.5, s, 4), lambda n: 0.5 * min(1, (n + 1) / 4))
    expect(
        lambda s: pf.train.linear_warmup(pf.train.exponential_decay(0.5, s, 7, 0.9), s, 4),
        lambda n: 0.5 * 0.9 ** (n / 7) * min(1, (n + 1) / 4),
    )


def test_a_schedule_follows_the_global_step():
    with pf.Graph().as_default():
        step = pf.train.create_global_step()
        w = pf.Variable(0.0)
        rate = pf.train.piecewise_constant(step, [1], [1.0, 0.25])
        train = pf.train.GradientDescentOptimizer(rate).minimize(w * 1.0, global_step=step)
        with pf.Session() as session:
            session.run(pf.global_variables_initializer())
            values = [(session.run(train), float(session.run(w)))[1] for _ in range(4)]
    assert values == [-1.0, -2.0, -2.25, -2.5]


def test_cosine_decay_with_restarts():
    def of(n, first, t_mul, m_mul, alpha):
        start, length, height = 0.0, float(first), 1.0
        while n >= start + length:
            start, length, height = start + length, length * t_mul, height * m_mul
        return 0.5 * ((1 - alpha) * height * 0.5 * (1 + math.cos(math.pi * (n - start) / length)) + alpha)

    for t_mul, m_mul, alpha in ((2.0, 1.0, 0.0), (1.0, 0.7, 0.1)):
        schedule = functools.partial(
            pf.train.cosine_decay_restarts, 0.5, first_decay_steps=10, t_mul=t_mul, m_mul=m_mul, alpha=alpha
        )
        step = pf.placeholder(pf.int64, ())
        rate = schedule(global_step=step)
        with pf.Session() as session:
            for n in (0, 1, 5, 9, 10, 11, 29, 30, 31, 100):  # TensorFlow's are the same
                np.testing.assert_allclose(session.run(rate, {step: n}), of(n, 10, t_mul, m_mul, alpha), rtol=2e-4)


def linear_cosine(n, steps, num_periods=0.5, alpha=0.0, beta=0.001):
    done = min(n, steps) / steps
    return 0.5 * ((alpha + 1 - done) * 0.5 * (1 + math.cos(2 * math.pi * num_periods * done)) + beta)


def test_linear_cosine_decay():
    expect(lambda s: pf.train.linear_cosine_decay(0.5, s, 20), lambda n: linear_cosine(n, 20))
    expect(
        lambda s: pf.train.linear_cosine_decay(0.5, s, 20, 1.5, 0.1, 0.2), lambda n: linear_cosine(n, 20, 1.5, 0.1, 0.2)
    )


def test_noise_around_a_linear_cosine_decay():
    """Its standard deviation is 0.5 * sqrt(2 / (1 + n) ** 0.5), times the wave."""
    step = pf.placeholder(pf.int64, ())
    rate = pf.train.noisy_linear_cosine_decay(0.5, step, 20, initial_variance=2.0, variance_decay=0.5)
    with pf.Session() as session:
        for n in (0, 8):
            values = [float(session.run(rate, {step: n})) for _ in range(400)]
            deviation = 0.25 * (1 + math.cos(math.pi * n / 20)) * math.sqrt(2.0 / (1 + n) ** 0.5)
            np.testing.assert_allclose(np.mean(values), linear_cosine(n, 20), atol=4 * deviation / 20)
            np.testing.assert_allclose(np.std(values), deviation, rtol=0.15)


def test_rates_may_be_tensors_and_keep_their_dtype():
    step = pf.placeholder(pf.int64, ())
    rate = pf.train.exponential_decay(pf.constant(0.5, pf.float64), step, 2, 0.25)
    assert rate.dtype == pf.float64
    with pf.Session() as session:
        assert session.run(rate, {step: 4}) == 0.5 * 0.25**2


def test_the_global_step_is_one_of_a_graph():
    assert pf.train.get_global_step() is None
    with pf.name_scope("inside"):
        step = pf.train.get_or_create_global_step()
    assert (step.name, step.dtype, step.trainable) == ("global_step:0", pf.int64, False)
    assert pf.train.get_or_create_global_step() is pf.train.get_global_step() is step
    assert pf.get_collection(pf.GraphKeys.GLOBAL_STEP) == [step]
    with pytest.raises(ValueError, match="already exists"):
        pf.train.create_global_step()
    with pf.Session() as session:
        session.run(step.initializer)
        session.run(step.assign_add(3))
        assert pf.train.global_step(session, step) == 3


def test_what_can_be_no_global_step():
    pf.Variable(1.0, name="global_step")
    with pytest.raises(TypeError, match="integer"):
        pf.train.get_global_step()
    with pytest.raises(TypeError, match="scalar"):
        pf.train.assert_global_step(pf.Variable([1]))
