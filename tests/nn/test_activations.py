"""Activations by name, in layers and in cells."""

import numpy as np
import pytest

import paraflow as pf

X = [-3.0, -1.0, 0.5, 2.0]
# What tf.layers.dense with that activation makes of X in TensorFlow 2.21 (tf_keras).
NAMED = {
    "elu": [-0.95021296, -0.6321205, 0.5, 2.0],
    "exponential": [0.04978707, 0.36787945, 1.6487212, 7.389056],
    "gelu": [-0.00405023, -0.15865526, 0.34573123, 1.9544997],
    "hard_sigmoid": [0.0, 0.3, 0.6, 0.9],
    "leaky_relu": [-0.6, -0.2, 0.5, 2.0],
    "linear": X,
    "log_softmax": [-5.2465906, -3.2465906, -1.7465906, -0.24659067],
    "relu": [0.0, 0.0, 0.5, 2.0],
    "relu6": [0.0, 0.0, 0.5, 2.0],
    "selu": [-1.6705687, -1.1113307, 0.5253505, 2.101402],
    "sigmoid": [0.04742587, 0.26894143, 0.62245935, 0.8807971],
    "softmax": [0.00526544, 0.03890663, 0.17436741, 0.7814606],
    "softplus": [0.04858735, 0.3132617, 0.974077, 2.126928],
    "softsign": [-0.75, -0.5, 0.33333334, 0.6666667],
    "swish": [-0.14227763, -0.26894143, 0.31122968, 1.7615942],
    "tanh": [-0.9950548, -0.7615942, 0.46211717, 0.9640276],
}


@pytest.mark.parametrize("name", NAMED)
def test_layers_and_cells_take_the_names_of_keras(graph, name):
    x = pf.constant([X])
    dense = pf.layers.dense(x, 4, activation=name, kernel_initializer="identity")
    image = pf.reshape(x, [1, 1, 1, 4])
    kernel = pf.constant_initializer(np.eye(4))
    convolved = pf.layers.conv2d(image, 4, 1, activation=name, kernel_initializer=kernel)
    with pf.variable_scope("cell", initializer=pf.constant_initializer(np.eye(8, 4))):
        output, _ = pf.nn.rnn_cell.BasicRNNCell(4, activation=name)(x, pf.zeros([1, 4]))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for got in session.run([dense, convolved, output]):
            np.testing.assert_allclose(got.reshape(-1), NAMED[name], rtol=1e-5, atol=1e-6)


def test_a_name_that_is_no_activations_is_answered_with_those_there_are(graph):
    for build in (
        lambda: pf.layers.dense(pf.zeros([1, 2]), 3, activation="rleu"),
        lambda: pf.layers.Conv2D(3, 1, activation="rleu"),
        lambda: pf.layers.layer_norm(pf.zeros([1, 2]), activation_fn="rleu"),
        lambda: pf.nn.rnn_cell.GRUCell(3, activation="rleu"),
        lambda: pf.nn.rnn_cell.LSTMCell(3, activation="rleu"),
    ):
        with pytest.raises(ValueError, match=r"one of elu, .*relu.*, not 'rleu' at .*test_activations\.py"):
            build()
