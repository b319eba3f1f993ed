"""Layers, losses and metrics against numpy, and the shapes that they refuse."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError
from paraflow.nn import initializers

X = np.array([[1.0, -2.0, 0.5], [0.1, 0.2, 3.0]], np.float32)
ONEHOT = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], np.float32)


def run(fetches, feeds=None):
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return session.run(fetches, feeds)


def variables():
    return {v.spec.name: v for v in pf.trainable_variables()}


def test_dense_is_a_product_and_a_bias(graph):
    x = pf.placeholder(pf.float32, (None, 3))
    y = pf.layers.dense(x, 4, activation=pf.nn.relu, bias_initializer=initializers.constant(0.5))
    assert y.shape.as_list() == [None, 4]
    assert {name: v.shape.as_list() for name, v in variables().items()} == {"dense/kernel": [3, 4], "dense/bias": [4]}
    out, kernel, bias = run([y, *variables().values()], {x: X})
    assert (bias == 0.5).all()
    np.testing.assert_allclose(out, np.maximum(X @ kernel + 0.5, 0), rtol=1e-6)
    assert out.any()


def test_dense_of_more_axes_is_a_product_of_the_last(graph):
    x = pf.placeholder(pf.float64, (None, 2, 3))
    y = pf.layers.dense(x, 4, use_bias=False)
    assert y.shape.as_list() == [None, 2, 4]
    fed = np.arange(18.0).reshape(3, 2, 3)
    out, kernel = run([y, *variables().values()], {x: fed})
    assert kernel.dtype == np.float64
    np.testing.assert_allclose(out, fed @ kernel, rtol=1e-12)


def test_layers_have_names_and_values_of_their_own(graph):
    pf.set_random_seed(1)
    x = pf.placeholder(pf.float32, (None, 3))
    pf.layers.dense(pf.layers.dense(x, 3), 3, name="last", trainable=False)
    pf.layers.dense(x, 3)
    assert list(variables()) == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    one, other = run([variables()["dense/kernel"], variables()["dense_1/kernel"]])
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("shape", [None, (), (3,), (None, None)])
def test_dense_needs_the_width_of_its_inputs(graph, shape):
    x = pf.placeholder(pf.float32, shape, name="images")
    with pytest.raises(GraphError, match=r"dense needs inputs .* give operation 'images'"):
        pf.layers.dense(x, 4)


def test_mlp(graph):
    x = pf.placeholder(pf.float32, (None, 3, 2))
    y = pf.layers.mlp(x, [5, 4, 2], activation=pf.nn.tanh, kernel_initializer=initializers.he_normal())
    assert [v.shape.as_list() for v in variables().values()] == [[6, 5], [5], [5, 4], [4], [4, 2], [2]]
    fed = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 3, 2)
    out, *values = run([y, *variables().values()], {x: fed})
    h = fed.reshape(4, 6)
    for kernel, bias in ((values[0], values[1]), (values[2], values[3])):
        h = np.tanh(h @ kernel + bias)
    np.testing.assert_allclose(out, h @ values[4] + values[5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [  # TensorFlow 2.21, tf.compat.v1.losses
        (lambda x: pf.losses.softmax_cross_entropy(ONEHOT, x), 1.8070992),
        (lambda x: pf.losses.sparse_softmax_cross_entropy([1, 2], x), 1.8070992),
        (lambda x: pf.losses.sigmoid_cross_entropy(ONEHOT, x), 1.0008982),
        (lambda x: pf.losses.mean_squared_error(ONEHOT, x), 2.3833334),
    ],
)
def test_losses_are_tensorflows_means(graph, loss, expected):
    x = pf.placeholder(pf.float32, (None, 3))
    mean = loss(x)
    assert mean.shape.as_list() == []
    assert run(mean, {x: X}) == pytest.approx(expected, rel=1e-6)


def test_accuracy(graph):
    labels = pf.placeholder(pf.int32, (None,))
    share = pf.nn.metrics.accuracy(labels, pf.argmax(pf.constant(X), 1))
    assert run(share, {labels: [0, 2]}) == 1
    assert run(share, {labels: [0, 1]}) == 0.5
    assert run(share, {labels: [1, 1]}) == 0


@pytest.mark.parametrize("function", [pf.losses.mean_squared_error, pf.nn.metrics.accuracy])
def test_a_column_is_not_compared_with_a_row(graph, function):
    column, row = pf.placeholder(pf.float32, (None, 1)), pf.placeholder(pf.float32, (None,))
    with pytest.raises(GraphError, match=r"labels \(\?, 1\) and predictions \(\?,\) need one shape at .*test_layers"):
        function(column, row)


def test_the_names_of_nn_are_all_there():
    assert sorted(pf.nn.__all__) == list(pf.nn.__all__)
    assert all(hasattr(pf.nn, name) for name in pf.nn.__all__)
