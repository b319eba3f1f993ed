"""bfloat16 in sessions: feeds, variables, training, random numbers, saturation, and what has no bfloat16."""

import subprocess
import sys

import numpy as np
import pytest

import paraflow as pf

LARGEST = 2.0**128 - 2.0**120


def floats(values):
    return np.asarray(values).astype(np.float64).tolist()


def test_it_is_imported_only_when_it_is_asked_for():
    program = "import sys, paraflow as pf; assert 'ml_dtypes' not in sys.modules; pf.bfloat16; print('ml_dtypes' in "
    found = subprocess.run([sys.executable, "-c", f"{program}sys.modules)"], capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"


@pytest.mark.parametrize("name", ["bfloat16", np.dtype("float32").type])
def test_names_of_dtypes(name):
    assert pf.as_dtype(name).name in ("bfloat16", "float32")
    assert pf.as_dtype("bfloat16") == pf.bfloat16 == pf.dtypes.bfloat16


def test_feeds_constants_and_python_numbers_are_rounded_to_the_nearest():
    x = pf.placeholder(pf.bfloat16, (3,))
    y = x * 1.0 + pf.constant(0, pf.bfloat16)
    with pf.Session() as session:
        found = session.run(y, {x: [257.0, 259.0, 0.1]})  # 257 and 259 lie halfway between two numbers
        assert found.dtype == pf.bfloat16
        assert floats(found) == [256.0, 260.0, 0.10009765625]
        assert floats(session.run(y, {x: found})) == floats(found)
        assert floats(session.run(x, {x: np.array([1, 2, 3])})) == [1.0, 2.0, 3.0]


def test_mixing_it_with_others_is_refused():
    with pytest.raises(pf.errors.InvalidArgumentError, match="one dtype, but got bfloat16 and float32"):
        pf.constant(1.0, pf.bfloat16) + pf.constant(1.0)
    with pytest.raises(pf.errors.InvalidArgumentError, match="does not fit a tensor of dtype int32"):
        pf.constant([1, 2]) + np.array([1, 2]).astype(pf.bfloat16)


def test_a_network_trains_in_it():
    """The loss falls as far as that of float32 does, to the precision of the numbers."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(64, 8))
    targets = features @ rng.normal(size=(8, 2))
    losses = {}
    for dtype in (pf.float32, pf.bfloat16):
        with pf.Graph().as_default():
            pf.set_random_seed(3)
            x, y = (pf.placeholder(dtype, (None, n)) for n in (8, 2))
            hidden = pf.layers.dense(x, 16, pf.nn.tanh, kernel_initializer=pf.glorot_uniform_initializer(dtype=dtype))
            loss = pf.reduce_mean(pf.square(pf.layers.dense(hidden, 2) - y))
            step = pf.train.MomentumOptimizer(0.02, 0.5).minimize(loss)
            assert all(v.dtype == dtype for v in pf.trainable_variables())
            with pf.Session() as session:
                session.run(pf.global_variables_initializer())
                for _ in range(150):
                    session.run(step, {x: features, y: targets})
                losses[dtype.name] = float(session.run(loss, {x: features, y: targets}))
    assert losses["float32"] < 0.3
    assert losses["bfloat16"] < losses["float32"] + 0.1, losses


def test_random_numbers_are_tensorflows():
    """What TensorFlow 2.21 draws with these seeds."""
    draws = [
        pf.random_uniform([4], dtype=pf.bfloat16, seed=5),
        pf.random_normal([4], dtype=pf.bfloat16, seed=5),
        pf.random_uniform([4], -3, 7, dtype=pf.bfloat16, seed=5),
    ]
    with pf.Session() as session:
        found = [floats(v) for v in session.run(draws)]
    assert found == [
        [0.3671875, 0.1171875, 0.0625, 0.8671875],
        [-1.1796875, -0.7109375, -1.75, -0.49609375],
        [0.671875, -1.828125, -2.375, 5.6875],
    ]


@pytest.mark.parametrize(
    "initializer",
    ["zeros", "ones", "random_normal", "random_uniform", "truncated_normal", "glorot_uniform", "orthogonal"],
)
def test_initializers(initializer):
    with pf.Graph().as_default():
        make = getattr(pf, f"{initializer}_initializer")
        v = pf.get_variable("v", [4, 3], pf.bfloat16, make(dtype=pf.bfloat16))
        with pf.Session() as session:
            session.run(v.initializer)
            value = session.run(v)
    assert value.dtype == pf.bfloat16
    assert np.isfinite(value.astype(np.float32)).all()


def test_saturating_casts():
    big = pf.constant([1e39, -1e39, 2.0], pf.float64)
    with pf.Session() as session:
        assert floats(session.run(pf.saturate_cast(big, pf.bfloat16))) == [LARGEST, -LARGEST, 2]


def test_fetched_gradients_are_sums_of_float32():
    """Of 3000 ones a sum in bfloat16 would stay at 256."""
    x = pf.placeholder(pf.bfloat16, (3000, 2))
    w = pf.Variable(np.ones(2).astype(pf.bfloat16))
    (gradient,) = pf.gradients(pf.reduce_sum(x * w), [w])
    with pf.Session() as session:
        session.run(w.initializer)
        assert floats(session.run(gradient, {x: np.ones((3000, 2))})) == [3008.0, 3008.0]
