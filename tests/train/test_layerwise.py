"""AdamW, LARS and LAMB against transcriptions of the papers' algorithms, and where these have a closed form."""

import numpy as np
import pytest

import paraflow as pf

from .cases import GRADIENTS, START

pytestmark = pytest.mark.usefixtures("graph")

DECAYED = {"w": 1.0, "b": 0.0}  # the cases leave b out


def adamw(w, gradients, included, learning_rate=0.001, weight_decay=0.0, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        # Epsilon stands as in AdamOptimizer, beside the root of the uncorrected v.
        alpha = learning_rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
        w = w - alpha * m / (np.sqrt(v) + epsilon) - included * weight_decay * w
        yield w


def lamb(w, gradients, included, learning_rate=0.001, weight_decay=0.0, beta1=0.9, beta2=0.999, epsilon=1e-6):
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon) + included * weight_decay * w
        lengths = np.linalg.norm(w), np.linalg.norm(u)
        ratio = lengths[0] / lengths[1] if included and all(lengths) else 1.0
        w = w - learning_rate * ratio * u
        yield w


def lars(
    w, gradients, included, learning_rate, momentum=0.9, weight_decay=1e-4, eeta=0.001, epsilon=0.0, use_nesterov=False
):
    a = np.zeros_like(w)
    for g in gradients:
        lengths = np.linalg.norm(w), np.linalg.norm(g)
        ratio = eeta * lengths[0] / (lengths[1] + weight_decay * lengths[0] + epsilon) if all(lengths) else 1.0
        change = learning_rate * (ratio * (g + weight_decay * w) if included else g)
        a = momentum * a + change
        w = w - (momentum * a + change if use_nesterov else a)
        yield w


CASES = {
    "adamw": (adamw, "AdamWOptimizer", {"weight_decay": 0.01}, ["exclude_from_weight_decay"]),
    "adamw_arguments": (
        adamw,
        "AdamWOptimizer",
        {"weight_decay": 0.1, "learning_rate": 0.05, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
        ["exclude_from_weight_decay"],
    ),
    "lars": (lars, "LARSOptimizer", {"learning_rate": 3.0}, ["skip_list"]),
    "lars_arguments": (
        lars,
        "LARSOptimizer",
        {"learning_rate": 1.0, "momentum": 0.5, "weight_decay": 0.1, "eeta": 0.1, "epsilon": 0.3, "use_nesterov": True},
        ["skip_list"],
    ),
    "lamb": (lamb, "LAMBOptimizer", {}, ["exclude_from_weight_decay", "exclude_from_layer_adaptation"]),
    "lamb_arguments": (
        lamb,
        "LAMBOptimizer",
        {"weight_decay": 0.2, "learning_rate": 0.1, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
        ["exclude_from_weight_decay", "exclude_from_layer_adaptation"],
    ),
}


def trained(optimizer, start, gradients, dtype="float64", threads=1):
    """The variables after every step: name -> [steps, ...]."""
    variables = {name: pf.Variable(value.astype(dtype), name=name) for name, value in start.items()}
    fed = {name: pf.placeholder(dtype, value.shape) for name, value in start.items()}
    step = optimizer.apply_gradients([(fed[name], variables[name]) for name in start])
    found = {name: [] for name in start}
    with pf.Session(threads=threads) as session:
        session.run(pf.global_variables_initializer())
        for t in range(len(next(iter(gradients.values())))):
            session.run(step, {fed[name]: gradients[name][t] for name in start})
            for name, variable in variables.items():
                found[name].append(session.run(variable))
    return {name: np.stack(values) for name, values in found.items()}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_variables_follow_the_papers(case, threads):
    transcription, name, arguments, excluding = CASES[case]
    optimizer = getattr(pf.train, name)(**arguments, **{key: ["^b$"] for key in excluding})
    found = trained(optimizer, START, GRADIENTS, threads=threads)
    for key, start in START.items():
        gradients = GRADIENTS[key].astype(np.float64)
        expected = list(transcription(start.astype(np.float64), gradients, DECAYED[key], **arguments))
        np.testing.assert_allclose(found[key], expected, rtol=1e-11, err_msg=key)


@pytest.mark.parametrize("case", CASES)
def test_a_large_variable_in_float32_follows_the_papers(case):
    """Large enough for a compiled loop and several blocks, and not a whole number of them."""
    transcription, name, arguments, _ = CASES[case]
    rng = np.random.default_rng(1)
    start = {"w": rng.normal(size=(251, 397)), "b": rng.normal(size=3)}
    gradients = {key: rng.normal(size=(3, *value.shape)) for key, value in start.items()}
    found = trained(getattr(pf.train, name)(**arguments), start, gradients, "float32")
    for key, value in start.items():
        expected = list(transcription(value, gradients[key], 1.0, **arguments))
        np.testing.assert_allclose(found[key], expected, rtol=1e-4, atol=1e-5, err_msg=key)


def test_adamw_without_gradient_decays_geometrically():
    optimizer = pf.train.AdamWOptimizer(0.25)
    found = trained(optimizer, {"w": np.array([8.0, -4.0])}, {"w": np.zeros((5, 2))})
    np.testing.assert_allclose(found["w"], np.outer(0.75 ** np.arange(1, 6), [8.0, -4.0]), rtol=1e-15)


def test_lars_moves_by_its_share_of_the_length_whatever_the_gradient_s_scale():
    for scale in (1e-6, 1.0, 1e6):
        optimizer = pf.train.LARSOptimizer(2.0, momentum=0.0, weight_decay=0.0, eeta=0.01)
        found = trained(optimizer, {"w": np.array([3.0, 4.0])}, {"w": np.array([[0.0, scale]])})
        np.testing.assert_allclose(found["w"][0], [3.0, 4.0 - 2.0 * 0.01 * 5.0], rtol=1e-14)


def test_lamb_moves_by_the_rate_times_the_length():
    """At the first step u is the gradient's sign (epsilon 0), of length sqrt(2)."""
    optimizer = pf.train.LAMBOptimizer(0.1, epsilon=0.0)
    found = trained(optimizer, {"w": np.array([3.0, 4.0])}, {"w": np.array([[7.0, -1e-3]])})
    np.testing.assert_allclose(found["w"][0], [3.0 - 0.5 / np.sqrt(2), 4.0 + 0.5 / np.sqrt(2)], rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["LARSOptimizer", "LAMBOptimizer"])
def test_zero_variables_and_zero_gradients_have_the_ratio_one(optimizer):
    made = getattr(pf.train, optimizer)(learning_rate=0.5, weight_decay=0.0)
    start = {"zero": np.zeros(3), "still": np.ones(3)}
    found = trained(made, start, {"zero": np.full((1, 3), 4.0), "still": np.zeros((1, 3))})
    moved = 0.5 * (4.0 if optimizer == "LARSOptimizer" else 1.0)
    np.testing.assert_allclose(found["zero"][0], -np.full(3, moved), rtol=1e-5)
    assert found["still"][0].tolist() == [1.0] * 3


def test_slots_have_tensorflow_s_names():
    for name, slots in (("AdamW", ["m", "v"]), ("LAMB", ["m", "v"]), ("LARS", ["momentum"])):
        with pf.Graph().as_default():
            arguments = {"weight_decay": 0.1, "learning_rate": 0.1}
            optimizer = getattr(pf.train, f"{name}Optimizer")(**arguments)
            w = pf.Variable(np.ones(2), name="w")
            optimizer.minimize(pf.reduce_sum(w))
            assert optimizer.get_slot_names() == slots
            assert optimizer.get_slot(w, slots[0]).name == f"w/{name}:0"


