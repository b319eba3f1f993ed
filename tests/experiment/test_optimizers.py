"""The table [optimizer], from its keys to the values of variables."""

import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

import paraflow as pf
from paraflow.experiment.optimizers import build_train_op
from paraflow.experiment.schema import Config

TABLE = TypeAdapter(Config.model_fields["optimizer"].annotation)

DIRECT = {
    "gradient_descent": (lambda: pf.train.GradientDescentOptimizer(0.5), {}),
    "momentum": (lambda: pf.train.MomentumOptimizer(0.5, 0.7, use_nesterov=True), {"momentum": 0.7, "nesterov": True}),
    "adagrad": (lambda: pf.train.AdagradOptimizer(0.5, 0.3), {"initial_accumulator_value": 0.3}),
    "rmsprop": (
        lambda: pf.train.RMSPropOptimizer(0.5, 0.8, 0.2, 1e-3, centered=True),
        {"decay": 0.8, "momentum": 0.2, "epsilon": 1e-3, "centered": True},
    ),
    "adadelta": (lambda: pf.train.AdadeltaOptimizer(0.5, 0.7, 1e-3), {"rho": 0.7, "epsilon": 1e-3}),
    "ftrl": (
        lambda: pf.train.FtrlOptimizer(0.5, -0.4, 0.2, 0.1, 0.3, l2_shrinkage_regularization_strength=0.05),
        {"learning_rate_power": -0.4, "initial_accumulator_value": 0.2, "l1": 0.1, "l2": 0.3, "l2_shrinkage": 0.05},
    ),
    "proximal_gradient_descent": (
        lambda: pf.train.ProximalGradientDescentOptimizer(0.5, 0.1, 0.3), {"l1": 0.1, "l2": 0.3}
    ),
    "proximal_adagrad": (
        lambda: pf.train.ProximalAdagradOptimizer(0.5, 0.2, 0.1, 0.3),
        {"initial_accumulator_value": 0.2, "l1": 0.1, "l2": 0.3},
    ),
    "adagrad_da": (
        lambda: pf.train.AdagradDAOptimizer(0.5, pf.train.get_or_create_global_step(), 0.2, 0.1, 0.3),
        {"initial_accumulator_value": 0.2, "l1": 0.1, "l2": 0.3},
    ),
    "adam": (lambda: pf.train.AdamOptimizer(0.5, 0.7, 0.8, 1e-3), {"beta1": 0.7, "beta2": 0.8, "epsilon": 1e-3}),
    "adamw": (
        lambda: pf.train.AdamWOptimizer(0.1, 0.5, 0.7, 0.8, 1e-3, ["^b"]),
        {"weight_decay": 0.1, "beta1": 0.7, "beta2": 0.8, "epsilon": 1e-3, "exclude_from_weight_decay": ["^b"]},
    ),
    "lars": (
        lambda: pf.train.LARSOptimizer(0.5, 0.7, 0.1, 0.2, 0.3, skip_list=["^b"], use_nesterov=True),
        {"momentum": 0.7, "weight_decay": 0.1, "trust_coefficient": 0.2, "epsilon": 0.3, "skip_list": ["^b"],
         "nesterov": True},
    ),
    "lamb": (
        lambda: pf.train.LAMBOptimizer(0.5, 0.7, 0.8, 1e-3, 0.1, ["^b"], ["b$"]),
        {"beta1": 0.7, "beta2": 0.8, "epsilon": 1e-3, "weight_decay": 0.1, "exclude_from_weight_decay": ["^b"],
         "exclude_from_layer_adaptation": ["b$"]},
    ),
}  # fmt: skip


def trained(build, steps=4):
    """The variables after each step on a loss whose gradient depends on them."""
    with pf.Graph().as_default():
        w, b = pf.Variable(np.array([3.0, -4.0]), name="w"), pf.Variable(np.array([1.0]), name="b")
        train_op = build(pf.reduce_sum(pf.square(w)) * 0.5 + pf.reduce_sum(b * b * b))
        with pf.Session() as session:
            session.run(pf.global_variables_initializer())
            values = []
            for _ in range(steps):
                session.run(train_op)
                values.append(np.concatenate(session.run([w, b])))
            return np.array(values)


def by_table(**keys):
    table = TABLE.validate_python({"learning_rate": 0.5, **keys})
    return lambda loss: build_train_op(table, loss)


@pytest.mark.parametrize("name", DIRECT)
def test_every_key_reaches_its_optimizer(name):
    optimizer, keys = DIRECT[name]
    expected = trained(lambda loss: optimizer().minimize(loss, pf.train.get_or_create_global_step()))
    np.testing.assert_array_equal(trained(by_table(name=name, **keys)), expected)


def test_gradients_are_clipped_by_their_common_norm():
    """The gradients are w and 3 b b, so w = (3, -4) and b = 1 have the norm sqrt(34)."""
    w, b = np.array([3.0, -4.0]), np.array([1.0])
    for clip_norm in (1.5, 100.0):
        found = trained(by_table(name="gradient_descent", clip_norm=clip_norm), steps=1)[0]
        scale = 0.5 * min(1.0, clip_norm / math.sqrt(34))
        np.testing.assert_allclose(found, [*(w - scale * w), *(b - scale * 3 * b * b)], rtol=1e-6)


SCHEDULES = {
    "warmup": ({"warmup_steps": 4}, lambda n: min(1, (n + 1) / 4)),
    "exponential": (
        {"schedule": "exponential", "decay_steps": 2, "decay_rate": 0.25}, lambda n: 0.25 ** (n / 2)
    ),
    "staircase": (
        {"schedule": "exponential", "decay_steps": 2, "decay_rate": 0.25, "staircase": True}, lambda n: 0.25 ** (n // 2)
    ),
    "cosine": (
        {"schedule": "cosine", "decay_steps": 3, "end_learning_rate": 0.05},
        lambda n: 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(n, 3) / 3)),
    ),
    "polynomial": (
        {"schedule": "polynomial", "decay_steps": 3, "end_learning_rate": 0.05, "power": 2.0},
        lambda n: 0.1 + 0.9 * (1 - min(n, 3) / 3) ** 2,
    ),
    "piecewise": (
        {"schedule": "piecewise", "boundaries": [0, 2], "values": [0.25, 0.125]},
        lambda n: 1.0 if n <= 0 else 0.5 if n <= 2 else 0.25,
    ),
    "cosine after a warmup": (
        {"schedule": "cosine", "decay_steps": 10, "warmup_steps": 2},
        lambda n: min(1, (n + 1) / 2) * 0.5 * (1 + math.cos(math.pi * n / 10)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_follows_its_schedule(schedule):
    """A step of gradient descent on w * w / 2 leaves 1 - rate of w."""
    keys, formula = SCHEDULES[schedule]
    found = trained(by_table(name="gradient_descent", **keys), steps=5)[:, 0]
    expected = 3.0 * np.cumprod([1 - 0.5 * formula(n) for n in range(5)])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_decay_of_adamw_follows_the_schedule_too():
    """With beta1 = beta2 = 0 Adam's step is rate * sign(g)."""
    keys = {"name": "adamw", "weight_decay": 0.1, "beta1": 0.0, "beta2": 0.0, "epsilon": 1e-30}
    found = trained(by_table(schedule="exponential", decay_steps=1, decay_rate=0.5, **keys), steps=3)[:, 0]
    w = 3.0
    for n in range(3):
        w = w - 0.5**n * (0.1 * w + 0.5 * np.sign(w))
        np.testing.assert_allclose(found[n], w, rtol=1e-6)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"schedule": "exponential", "decay_steps": 3}, "needs 'decay_steps' and 'decay_rate'"),
        ({"schedule": "piecewise", "boundaries": [1]}, "needs 'boundaries' and 'values'"),
        ({"decay_steps": 3}, "decay_steps is for schedule = 'exponential' or 'cosine' or 'polynomial', not 'constant'"),
        ({"schedule": "cosine", "decay_steps": 3, "power": 2.0}, "power is for schedule = 'polynomial', not 'cosine'"),
        ({"schedule": "piecewise", "boundaries": [1, 2], "values": [0.1]}, "2 boundaries need as many values, not 1"),
        ({"schedule": "piecewise", "boundaries": [2, 2], "values": [0.1, 0.2]}, "boundaries have to increase"),
        ({"name": "lamb", "exclude_from_weight_decay": ["("]}, r"'\(' is no regular expression"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        TABLE.validate_python({"name": "adam", "learning_rate": 0.5, **keys})
