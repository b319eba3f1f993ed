"""Optimizers and averages of variables with 16 bits: TensorFlow's values, and a warning where these diverge.

The values are those of tf.compat.v1.train in TensorFlow 2.21, for variables and for resource variables alike.
"""

import numpy as np
import pytest

import paraflow as pf

pytestmark = pytest.mark.usefixtures("graph")

TENSORFLOW = {
    "AdamOptimizer": (
        {"beta2": 0.99},
        [[0.8984375, -1.8984375, 2.90625], [0.8046875, -1.8046875, 2.8125], [0.7109375, -1.7109375, 2.71875],
         [0.62109375, -1.6171875, 2.625], [0.53125, -1.5234375, 2.53125]],
    ),
    "RMSPropOptimizer": (
        {},
        [[0.82421875, -1.75, 2.71875], [0.6875, -1.5625, 2.515625], [0.57421875, -1.40625, 2.34375],
         [0.48046875, -1.2734375, 2.203125], [0.400390625, -1.15625, 2.078125]],
    ),
    "AdagradOptimizer": (
        {},
        [[0.90234375, -1.8984375, 2.90625], [0.8359375, -1.828125, 2.84375], [0.78515625, -1.7734375, 2.78125],
         [0.7421875, -1.7265625, 2.734375], [0.703125, -1.6875, 2.6875]],
    ),
}  # fmt: skip


def trained(optimizer, steps=5, dtype=pf.bfloat16):
    w = pf.Variable(np.array([1.0, -2.0, 3.0]).astype(dtype), name="w")
    step = optimizer.minimize(pf.reduce_sum(pf.square(w)))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return [(session.run(step), session.run(w).astype(np.float64).tolist())[1] for _ in range(steps)]


@pytest.mark.parametrize("name", TENSORFLOW)
def test_steps_in_bfloat16_are_tensorflow_s(name):
    arguments, expected = TENSORFLOW[name]
    assert trained(getattr(pf.train, name)(0.1, **arguments)) == expected


def test_adam_s_powers_have_the_bits_that_they_need():
    optimizer = pf.train.AdamOptimizer(0.1, beta2=0.99)
    trained(optimizer)
    assert [v.dtype.name for v in optimizer.variables()] == ["bfloat16", "bfloat16", "float32", "float32"]


def test_adam_with_a_rate_that_is_1_diverges_as_tensorflow_s_does_and_says_so():
    with pytest.warns(RuntimeWarning) as caught:
        found = trained(pf.train.AdamOptimizer(0.1), steps=2)
    assert found == [[1.0, -2.0, 3.0], [-1261568.0, 2523136.0, -3784704.0]]
    (warning,) = caught
    said = str(warning.message)
    assert said.startswith(f"AdamOptimizer(beta2=0.999) at {__file__}:")
    assert "in bfloat16, the dtype of variable 'w', 0.999 is 1" in said
    assert "take a smaller beta2, such as 0.99, or keep the variable in float32 and cast it to bfloat16" in said


@pytest.mark.parametrize(
    ("name", "arguments", "rate"),
    [
        ("MomentumOptimizer", {"momentum": 0.999}, "momentum=0.999"),
        ("RMSPropOptimizer", {"decay": 0.999}, "decay=0.999"),
        ("AdadeltaOptimizer", {"rho": 0.9999}, "rho=0.9999"),
        ("AdamWOptimizer", {"weight_decay": 0.01}, "beta2=0.999"),
        ("LAMBOptimizer", {}, "beta2=0.999"),
        ("LARSOptimizer", {"momentum": 0.999}, "momentum=0.999"),
    ],
)
def test_others_say_it_too_once_for_all_variables(name, arguments, rate):
    variables = [pf.Variable(np.ones(3, pf.bfloat16), name=f"w{i}") for i in range(3)]
    loss = pf.add_n([pf.reduce_sum(pf.square(v)) for v in variables])
    with pytest.warns(RuntimeWarning, match="variable 'w0' and of 2 more") as caught:
        getattr(pf.train, name)(learning_rate=0.1, **arguments).minimize(loss)
    assert [str(w.message).partition("(")[2].partition(")")[0] for w in caught] == [rate]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_where_the_rate_is_below_1_nothing_is_said(dtype):
    losses = [sum(abs(x) for x in w) for w in trained(pf.train.AdamOptimizer(0.1), dtype=dtype)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (pf.bfloat16, [[1.296875, -2.203125, 2.890625], [1.59375, -2.40625, 2.78125], [1.890625, -2.609375, 2.671875]]),
        (
            np.float16,
            [[1.298828125, -2.197265625, 2.896484375], [1.59765625, -2.39453125, 2.79296875],
             [1.896484375, -2.591796875, 2.689453125]],
        ),
    ],
)  # fmt: skip
def test_averages_move_as_tensorflow_s(dtype, expected):
    w = pf.Variable(np.array([1.0, -2.0, 3.0]).astype(dtype))
    averages = pf.train.ExponentialMovingAverage(0.999)
    update = averages.apply([w])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(w.assign(np.array([300.0, -200.0, -100.0]).astype(dtype)))
        found = [session.run([update, averages.average(w)])[1].astype(np.float64).tolist() for _ in expected]
    assert found == expected
