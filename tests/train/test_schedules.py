"""Schedules against TensorFlow 1's formulas, written out for one step after the other."""

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
