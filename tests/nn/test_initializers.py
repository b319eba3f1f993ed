"""Initial values: TensorFlow's, seed for seed, and the spread that each name promises."""

import math

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError
from paraflow.nn import initializers

# What tf.initializers (TensorFlow 2.21, tf.compat.v1) gives with seed=1 and no graph seed.
TENSORFLOW = [
    (initializers.glorot_uniform, [3, 2], [-0.57174045, 0.92104936, -0.98477793, -0.0093233585, 0.7350925, -1.0374514]),
    (initializers.glorot_uniform, [4], [-0.45200047, 0.7281534, -0.7785353, -0.00737077]),
    (initializers.glorot_normal, [3, 2], [-0.58334213, 1.0674344, 0.046972167, 0.07136013, 0.45994562, 1.1582251]),
    (initializers.he_uniform, [3, 2], [-0.7381137, 1.1890694, -1.2713428, -0.012036443, 0.94900024, -1.3393439]),
    (
        initializers.he_uniform,
        [2, 2, 2, 1],
        [-0.45200047, 0.7281534, -0.7785353, -0.00737077, 0.58114165, -0.82017726, -0.71340907, -0.07506639],
    ),
    (initializers.he_normal, [3, 2], [-0.75309145, 1.3780519, 0.060640808, 0.092125535, 0.59378725, 1.495262]),
    (
        initializers.he_normal,
        [2, 2, 2, 1],
        [-0.46117243, 0.843881, 0.03713476, 0.056415137, 0.36361894, 0.9156572, 0.09295751, -0.86156285],
    ),
    (initializers.he_normal, [4], [-0.65219635, 1.1934279, 0.05251648, 0.07978305]),
    (initializers.lecun_uniform, [3, 2], [-0.5219252, 0.8407991, -0.89897513, -0.008511066, 0.6710446, -0.94705915]),
    (
        initializers.lecun_normal,
        [2, 2, 2, 1],
        [-0.32609817, 0.59671396, 0.02625824, 0.039891526, 0.25711742, 0.64746743, 0.065730885, -0.60921693],
    ),
    (
        lambda seed: initializers.variance_scaling(0.5, "fan_out", "untruncated_normal", seed),
        [3, 2],
        [-0.4056591, 0.7422994, 0.032664686, -1.2213521, 0.0496242, 0.29561216],
    ),
    (
        lambda seed: initializers.variance_scaling(3.0, "fan_avg", "normal", seed),
        [3, 2],
        [-1.0103781, 1.8488506, 0.08135818, 0.123599365, 0.7966491, 2.0061045],
    ),
    (
        lambda seed: initializers.uniform_unit_scaling(0.5, seed),
        [3, 2],
        [-0.2609626, 0.42039955, -0.44948757, -0.0042555332, 0.3355223, -0.47352958],
    ),
    (
        lambda seed: initializers.orthogonal(2.0, seed),
        [3, 2],
        [-1.9788904, -0.0740474, 0.15934521, -1.8931122, 0.24207728, 0.64081454],
    ),
    (
        lambda seed: initializers.orthogonal(seed=seed),
        [1, 2, 3],
        [-0.9894452, 0.0796726, 0.12103864, -0.0370237, -0.9465561, 0.32040727],
    ),
]


def value(initializer, shape, dtype="float32"):
    with pf.Session() as session:
        return session.run(initializer(shape, dtype))


@pytest.mark.parametrize(("make", "shape", "expected"), TENSORFLOW)
def test_values_are_tensorflows(graph, make, shape, expected):
    np.testing.assert_allclose(value(make(seed=1), shape).ravel(), expected, rtol=2e-6)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: initializers.random_normal(1.0, 2.0, seed=3), [3.1233242, -0.7571566, 1.2237443]),
        (lambda: initializers.truncated_normal(1.0, 2.0, seed=3), [3.1233242, -0.7571566, 1.2237443]),
        (lambda: initializers.random_uniform(-1.0, 2.0, seed=3), [0.16078818, 0.08007872, 1.9306388]),
        (lambda: initializers.constant(0.25), [0.25, 0.25, 0.25]),
        (initializers.zeros, [0, 0, 0]),
        (initializers.ones, [1, 1, 1]),
    ],
)
def test_values_without_fans(graph, make, expected):
    np.testing.assert_allclose(value(make(), [3]), expected, rtol=2e-6)


@pytest.mark.parametrize(
    ("make", "stddev", "limit"),
    [
        (initializers.glorot_uniform, math.sqrt(2 / 700), math.sqrt(6 / 700)),
        (initializers.glorot_normal, math.sqrt(2 / 700), 2 * math.sqrt(2 / 700) / 0.8796),
        (initializers.he_uniform, math.sqrt(2 / 300), math.sqrt(6 / 300)),
        (initializers.he_normal, math.sqrt(2 / 300), 2 * math.sqrt(2 / 300) / 0.8796),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spread(graph, make, stddev, limit, dtype):
    values = value(make(seed=5), [300, 400], dtype)
    assert values.dtype == dtype
    assert np.std(values) == pytest.approx(stddev, rel=0.01)
    assert np.mean(values) == pytest.approx(0, abs=0.01 * stddev)
    assert 0.99 * limit < np.abs(values).max() <= limit


def test_constants_and_the_identity(graph):
    np.testing.assert_array_equal(value(initializers.constant([1.0, 2.0]), [2, 2]), [[1, 2], [2, 2]])
    np.testing.assert_array_equal(value(initializers.constant(np.arange(4)), [2, 2]), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(value(initializers.identity(2.0), [2, 3]), [[2, 0, 0], [0, 2, 0]])


def test_the_dtype_is_the_initializers_where_none_is_asked_for(graph):
    with pf.Session() as session:
        for make in (initializers.zeros, initializers.glorot_uniform, initializers.orthogonal, initializers.identity):
            initializer = make(dtype=pf.float64)
            assert session.run(initializer([2, 2])).dtype == np.float64
            assert session.run(initializer([2, 2], pf.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: initializers.variance_scaling(mode="fan"), "mode of fan_in, fan_out, fan_avg .* 'fan'"),
        (lambda: initializers.variance_scaling(scale=0), "scale above 0"),
        (lambda: initializers.orthogonal()([3]), "2 axes or more"),
        (lambda: initializers.identity()([3, 3, 3]), "2 axes, not"),
        (lambda: initializers.constant([1, 2], verify_shape=True)([3]), r"shape \(2,\) was asked for \(3,\)"),
    ],
)
def test_what_initializers_refuse(graph, build, message):
    with pytest.raises(InvalidArgumentError, match=rf"{message}.*test_initializers\.py"):
        build()


def test_the_graphs_seed_gives_each_variable_numbers_of_its_own(graph):
    def kernels(seed):
        with pf.Graph().as_default():
            pf.set_random_seed(seed)
            initializer = initializers.glorot_uniform()
            both = [initializer([3, 3]), initializer([3, 3])]
            with pf.Session() as session:
                return session.run(both)

    one, other = kernels(1)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(kernels(1), [one, other])
    assert not np.array_equal(kernels(2)[0], one)


@pytest.mark.parametrize(
    "kind",
    [
        pf.zeros_initializer, pf.ones_initializer, pf.constant_initializer, pf.random_normal_initializer,
        pf.random_uniform_initializer, pf.truncated_normal_initializer, pf.variance_scaling_initializer,
        pf.glorot_uniform_initializer, pf.glorot_normal_initializer, pf.uniform_unit_scaling_initializer,
        pf.orthogonal_initializer, pf.initializers.identity,
    ],
)  # fmt: skip
def test_a_class_stands_for_an_initializer_of_it_and_a_config_for_an_equal_one(graph, kind):
    pf.set_random_seed(5)
    a = pf.get_variable("a", [3, 3], initializer=kind)
    with pf.variable_scope("scope", initializer=kind):
        b = pf.get_variable("b", [3, 3])
    again = kind.from_config(kind().get_config())
    assert isinstance(again, kind)
    assert again.get_config() == kind().get_config()
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        first, second = session.run([a, b])
    assert first.shape == second.shape == (3, 3)
    with pf.Graph().as_default(), pf.Session() as session:
        pf.set_random_seed(5)
        same = pf.get_variable("a", [3, 3], initializer=kind())
        session.run(pf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(same), first)


def test_configs_are_tensorflows():
    config = pf.variance_scaling_initializer(2.0, "fan_out", "uniform", 7, pf.float64).get_config()
    assert config == {"scale": 2.0, "mode": "fan_out", "distribution": "uniform", "seed": 7, "dtype": "float64"}
    assert pf.glorot_uniform_initializer(3).get_config() == {"seed": 3, "dtype": "float32"}
    assert pf.constant_initializer([1, 2]).get_config() == {"value": [1, 2], "dtype": "float32", "verify_shape": False}


# Standard deviation and largest number of tf.layers.dense's kernel [200, 200] in TensorFlow 2.21 (tf_keras).
NAMED = {
    "zeros": (0, 0), "ones": (0, 1), "constant": (0, 0), "identity": (0.0705, 1), "orthogonal": (0.0707, 0.29),
    "random_normal": (0.05, 0.20), "random_uniform": (0.0289, 0.05), "truncated_normal": (0.0440, 0.1),
    "variance_scaling": (0.0707, 0.161), "glorot_uniform": (0.0707, 0.1225), "glorot_normal": (0.0707, 0.161),
    "he_uniform": (0.1, 0.1732), "he_normal": (0.1, 0.2274), "lecun_uniform": (0.0707, 0.1225),
    "lecun_normal": (0.0707, 0.161),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_layers_take_the_names_of_keras(graph, name):
    pf.set_random_seed(3)
    pf.layers.dense(pf.zeros([1, 200]), 200, kernel_initializer=name)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        kernel = session.run(pf.trainable_variables()[0])
    spread, largest = NAMED[name]
    np.testing.assert_allclose(kernel.std(), spread, rtol=0.02)
    np.testing.assert_allclose(kernel.max(), largest, rtol=0.02 if "normal" not in name else 0.2)


def test_a_name_that_is_no_initializers_is_answered_with_those_there_are(graph):
    for build in (
        lambda: pf.layers.dense(pf.zeros([1, 2]), 3, kernel_initializer="he_norma"),
        lambda: pf.layers.conv2d(pf.zeros([1, 2, 2, 1]), 3, 1, bias_initializer="he_norma"),
        lambda: pf.nn.rnn_cell.LSTMCell(3, initializer="he_norma")(pf.zeros([1, 3]), [pf.zeros([1, 3])] * 2),
        lambda: pf.get_variable("v", [2], initializer="he_norma"),
    ):
        with pytest.raises(ValueError, match=r"one of zeros, .*he_normal.* not 'he_norma' at .*test_initializers\.py"):
            build()
