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
    step = getattr(pf.train, optimizer)(**arguments).apply_gradients(list(zip(fed, variables, strict=True)))
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


TRANSCRIPTIONS = {
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
