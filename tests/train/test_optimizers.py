"""The optimizers' arithmetic, against numpy transcriptions of the formulas and against TensorFlow's own values."""

from pathlib import Path

import numpy as np
import pytest

import paraflow as pf

from .cases import CASES, GRADIENTS, START, STEPS

pytestmark = pytest.mark.usefixtures("graph")

REFERENCE = np.load(Path(__file__).parent / "tf_optimizers_reference.npz")


def trajectory(optimizer, arguments, dtype, threads=1):
    """Every variable and slot after every step."""
    variables = [pf.Variable(start.astype(dtype), name=name) for name, start in START.items()]
    fed = [pf.placeholder(dtype, start.shape) for start in START.values()]
    counter = pf.train.get_or_create_global_step() if "global_step" in arguments else None
    arguments = arguments if counter is None else {**arguments, "global_step": counter}
    step = getattr(pf.train, optimizer)(**arguments).apply_gradients(list(zip(fed, variables, strict=True)), counter)
    watched = pf.global_variables()
    found = {v.name: [] for v in watched}
    with pf.Session(threads=threads) as session:
        session.run(pf.global_variables_initializer())
        for t in range(STEPS):
            session.run(step, {f: GRADIENTS[name][t] for f, name in zip(fed, START, strict=True)})
            for v, value in zip(watched, session.run(watched), strict=True):
                found[v.name].append(value)
    return {name: np.stack(values) for name, values in found.items()}


@pytest.mark.parametrize("case", CASES)
def test_variables_and_slots_are_tensorflow_s_in_name_and_value(case):
    found = trajectory(*CASES[case], pf.float32)
    expected = {key.partition("|")[2]: REFERENCE[key] for key in REFERENCE if key.startswith(f"{case}|")}
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_allclose(found[name], values, rtol=2e-6, atol=1e-7, err_msg=name)


# -- transcriptions of the papers' formulas, one element after the other ----------------------------------------------


def gradient_descent(w, gradients, learning_rate):
    for g in gradients:
        w = w - learning_rate * g
        yield w


def momentum(w, gradients, learning_rate, momentum, use_nesterov=False):
    a = 0.0
    for g in gradients:
        a = momentum * a + g
        w = w - learning_rate * (g + momentum * a if use_nesterov else a)
        yield w


def adagrad(w, gradients, learning_rate, initial_accumulator_value=0.1):
    total = initial_accumulator_value
    for g in gradients:
        total = total + g * g
        w = w - learning_rate * g / np.sqrt(total)
        yield w


def rmsprop(w, gradients, learning_rate, decay=0.9, momentum=0.0, epsilon=1e-10, centered=False):
    square, mean, moved = 1.0, 0.0, 0.0
    for g in gradients:
        square = decay * square + (1 - decay) * g * g
        mean = decay * mean + (1 - decay) * g
        variance = square - mean * mean if centered else square
        moved = momentum * moved + learning_rate * g / np.sqrt(variance + epsilon)
        w = w - moved
        yield w


def adam(w, gradients, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        w = w - learning_rate * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + epsilon)
        yield w


def adadelta(w, gradients, learning_rate=0.001, rho=0.95, epsilon=1e-8):
    a = u = 0.0
    for g in gradients:
        a = rho * a + (1 - rho) * g * g
        step = np.sqrt(u + epsilon) / np.sqrt(a + epsilon) * g
        u = rho * u + (1 - rho) * step * step
        w = w - learning_rate * step
        yield w


def ftrl(
    w, gradients, learning_rate, learning_rate_power=-0.5, initial_accumulator_value=0.1,
    l1_regularization_strength=0.0, l2_regularization_strength=0.0, l2_shrinkage_regularization_strength=0.0, **names,
):  # fmt: skip
    n, z = initial_accumulator_value, 0.0
    for g in gradients:
        sigma = ((n + g * g) ** -learning_rate_power - n**-learning_rate_power) / learning_rate
        n = n + g * g
        z = z + g + 2 * l2_shrinkage_regularization_strength * w - sigma * w
        quadratic = n**-learning_rate_power / learning_rate + 2 * l2_regularization_strength
        toward = np.sign(z) * l1_regularization_strength - z
        w = np.where(np.abs(z) > l1_regularization_strength, toward / quadratic, 0.0)
        yield w


def shrunk(p, rate, l1, l2):
    return np.sign(p) * np.maximum(np.abs(p) - rate * l1, 0) / (1 + rate * l2)


def proximal(w, gradients, learning_rate, l1_regularization_strength=0.0, l2_regularization_strength=0.0):
    for g in gradients:
        point = w - learning_rate * g
        w = shrunk(point, learning_rate, l1_regularization_strength, l2_regularization_strength)
        yield w


def proximal_adagrad(
    w, gradients, learning_rate, initial_accumulator_value=0.1, l1_regularization_strength=0.0,
    l2_regularization_strength=0.0,
):  # fmt: skip
    total = initial_accumulator_value
    for g in gradients:
        total = total + g * g
        rate = learning_rate / np.sqrt(total)
        w = shrunk(w - rate * g, rate, l1_regularization_strength, l2_regularization_strength)
        yield w


def adagrad_da(
    w, gradients, learning_rate, global_step, initial_gradient_squared_accumulator_value=0.1,
    l1_regularization_strength=0.0, l2_regularization_strength=0.0,
):  # fmt: skip
    total, squares = 0.0, initial_gradient_squared_accumulator_value
    for t, g in enumerate(gradients, 1):
        total, squares = total + g, squares + g * g
        excess = np.sign(total) * np.maximum(np.abs(total) - l1_regularization_strength * t, 0)
        yield -learning_rate * excess / (np.sqrt(squares) + l2_regularization_strength * t * learning_rate)


TRANSCRIPTIONS = {
    "AdadeltaOptimizer": adadelta,
    "FtrlOptimizer": ftrl,
    "ProximalGradientDescentOptimizer": proximal,
    "ProximalAdagradOptimizer": proximal_adagrad,
    "AdagradDAOptimizer": adagrad_da,
    "GradientDescentOptimizer": gradient_descent,
    "MomentumOptimizer": momentum,
    "AdagradOptimizer": adagrad,
    "RMSPropOptimizer": rmsprop,
    "AdamOptimizer": adam,
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_variables_follow_the_formulas(case, threads):
    optimizer, arguments = CASES[case]
    found = trajectory(optimizer, arguments, pf.float64, threads)
    for name, start in START.items():
        gradients = GRADIENTS[name].astype(np.float64)
        expected = list(TRANSCRIPTIONS[optimizer](start.astype(np.float64), gradients, **arguments))
        np.testing.assert_allclose(found[f"{name}:0"], expected, rtol=1e-12, err_msg=name)
