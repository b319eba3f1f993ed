"""Layers as objects: when their variables are made, what they are called, who shares them."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError

X = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)


def run(fetches, feeds=None):
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return session.run(fetches, feeds)


def names(variables):
    return [v.name for v in variables]


def test_a_layer_has_its_variables_from_its_first_use_on(graph):
    layer = pf.layers.Dense(3, activation=pf.nn.relu)
    assert (layer.built, layer.weights, layer.dtype) == (False, [], None)
    for early in (layer.count_params, lambda: layer.scope_name):
        with pytest.raises(GraphError, match=r"layer 'dense' has no .* before it is used at .*test_layer_classes"):
            early()
    first, second = layer(X), layer.apply(2 * X)
    assert (layer.built, layer.count_params(), layer.dtype, layer.scope_name) == (True, 18, np.float32, "dense")
    assert layer.trainable_weights == [layer.kernel, layer.bias] == layer.variables
    assert second.op.name.startswith("dense/")
    a, b, kernel, bias = run([first, second, layer.kernel, layer.bias])
    np.testing.assert_allclose(a, np.maximum(X @ kernel + bias, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(b, np.maximum(2 * X @ kernel + bias, 0), rtol=1e-5, atol=1e-6)


def test_a_shared_layer_learns_from_both_uses(graph):
    layer = pf.layers.Dense(1, use_bias=False)
    loss = pf.reduce_sum(layer(X)) + pf.reduce_sum(layer(3 * X))
    (gradient,) = pf.gradients(loss, [layer.kernel])
    np.testing.assert_allclose(run(gradient), 4 * X.sum(0)[:, None], rtol=1e-5)


def test_names_are_tensorflows(graph):
    """What TensorFlow 2.21's tf.compat.v1.layers calls the variables of the same program."""
    x = pf.placeholder(pf.float32, (None, 5))
    hidden = pf.layers.Dense(3)(x)
    one, two = pf.layers.Dense(2, name="mine", use_bias=False), pf.layers.Dense(2, name="mine")
    one(hidden), two(hidden)
    pf.layers.dense(x, 4, name="fn")
    pf.layers.dense(x, 4, name="fn", reuse=True)
    with pytest.raises(ValueError, match="fn/kernel already exists"):
        pf.layers.dense(x, 4, name="fn")
    with pytest.raises(ValueError, match="nothere/kernel does not exist"):
        pf.layers.dense(x, 4, name="nothere", reuse=True)
    with pf.variable_scope("outer"):
        pf.layers.dense(x, 2), pf.layers.Dense(2)(x)
        with pf.name_scope("ns"):
            pf.layers.dense(x, 2)
    with pf.variable_scope("outer", reuse=True):
        pf.layers.dense(x, 2, name="dense")
    normalised = pf.layers.BatchNormalization()
    normalised(hidden, training=True), normalised(hidden, training=True)
    frozen = pf.layers.Dense(1, trainable=False)
    frozen(x)
    assert names(pf.trainable_variables()) == [
        "dense/kernel:0", "dense/bias:0", "mine/kernel:0", "mine_1/kernel:0", "mine_1/bias:0", "fn/kernel:0",
        "fn/bias:0", "outer/dense/kernel:0", "outer/dense/bias:0", "outer/dense_1/kernel:0", "outer/dense_1/bias:0",
        "outer/dense_2/kernel:0", "outer/dense_2/bias:0", "batch_normalization/gamma:0", "batch_normalization/beta:0",
    ]  # fmt: skip
    moving = ["batch_normalization/moving_mean:0", "batch_normalization/moving_variance:0"]
    assert names(normalised.non_trainable_weights) == moving
    assert names(frozen.trainable_weights) == []
    assert names(frozen.non_trainable_weights) == ["dense_1/kernel:0", "dense_1/bias:0"]
    assert len(normalised.updates) == 4 == len(pf.get_collection(pf.GraphKeys.UPDATE_OPS))
    assert (one.name, two.name, two.scope_name, frozen.name) == ("mine", "mine", "mine_1", "dense_1")


def test_scopes_say_how_variables_start_and_which_getter_is_asked(graph):
    with pf.variable_scope("zero", initializer=pf.zeros_initializer()):
        layer = pf.layers.Dense(2, bias_initializer=pf.ones_initializer())
        y = layer(X)
    assert (run(y) == 1).all()
    asked = []

    def getter(getter, name, *args, **kwargs):
        asked.append(name)
        return getter(name, *args, **kwargs)

    with pf.variable_scope("asked", custom_getter=getter):
        pf.layers.conv1d(X[:, :, None], 2, 3)
    assert asked == ["asked/conv1d/kernel", "asked/conv1d/bias"]


def test_losses_and_constraints(graph):
    layer = pf.layers.Dense(
        1, kernel_initializer=pf.constant_initializer(-0.5), kernel_regularizer=lambda w: pf.reduce_sum(w * w),
        activity_regularizer=pf.reduce_sum, kernel_constraint=pf.abs,
    )  # fmt: skip
    layer(X)
    y = layer(X)
    assert layer.losses == pf.losses.get_regularization_losses()
    assert len(layer.losses) == 3  # the kernel's once, the outputs' at each use
    step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_sum(y))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert session.run(layer.kernel).min() < 0
        session.run(step)
        assert session.run(layer.kernel).min() >= 0


@pytest.mark.parametrize(
    ("make", "shape", "function"),
    [
        (lambda **k: pf.layers.Conv1D(4, 3, 2, "same", **k), (2, 7, 3),
         lambda x, **k: pf.layers.conv1d(x, 4, 3, 2, "same", **k)),
        (lambda **k: pf.layers.Conv2D(4, 3, **k), (2, 7, 6, 3), lambda x, **k: pf.layers.conv2d(x, 4, 3, **k)),
        (lambda **k: pf.layers.Conv3D(2, 2, **k), (1, 3, 4, 5, 2), lambda x, **k: pf.layers.conv3d(x, 2, 2, **k)),
        (lambda **k: pf.layers.Conv2DTranspose(4, 3, 2, **k), (2, 3, 4, 3),
         lambda x, **k: pf.layers.conv2d_transpose(x, 4, 3, 2, **k)),
        (pf.layers.BatchNormalization, (4, 5), pf.layers.batch_normalization),
        (lambda **k: pf.layers.SeparableConv1D(4, 3, **k), (2, 7, 3),
         lambda x, **k: pf.layers.separable_conv1d(x, 4, 3, **k)),
        (lambda **k: pf.layers.SeparableConv2D(4, 3, **k), (2, 7, 6, 3),
         lambda x, **k: pf.layers.separable_conv2d(x, 4, 3, **k)),
    ],
)  # fmt: skip
def test_classes_do_what_functions_do(graph, make, shape, function):
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    layer = make(name="same")
    y, again = layer(x), layer(x)
    shared = function(x, name="same", reuse=True)
    a, b, c = run([y, again, shared])
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)
    assert {v.name for v in pf.global_variables()} == {v.name for v in layer.weights}


def test_layers_without_variables(graph):
    images = np.random.default_rng(2).normal(size=(2, 6, 4, 3)).astype(np.float32)
    volumes = images[:, :, :, None, :] * np.ones((1, 1, 1, 2, 1), np.float32)
    pooled = run([
        pf.layers.MaxPooling2D(2, 2)(images), pf.layers.AveragePooling2D(2, 2)(images),
        pf.layers.MaxPooling1D(2, 2)(images[0]), pf.layers.AveragePooling1D(2, 2)(images[0]),
        pf.layers.MaxPooling3D(2, 2)(volumes), pf.layers.average_pooling3d(volumes, 2, 2),
        pf.layers.Flatten()(images), pf.layers.Flatten("channels_first")(np.moveaxis(images, -1, 1)),
    ])  # fmt: skip
    blocks = images.reshape(2, 3, 2, 2, 2, 3)
    np.testing.assert_array_equal(pooled[0], blocks.max((2, 4)))
    np.testing.assert_allclose(pooled[1], blocks.mean((2, 4)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pooled[2], images[0].reshape(6, 2, 2, 3).max(2))
    np.testing.assert_allclose(pooled[3], images[0].reshape(6, 2, 2, 3).mean(2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pooled[4], blocks.max((2, 4))[:, :, :, None])
    np.testing.assert_allclose(pooled[5], blocks.mean((2, 4))[:, :, :, None], rtol=1e-5, atol=1e-6)
    for flat in pooled[6:]:
        np.testing.assert_array_equal(flat, images.reshape(2, -1))
    layer = pf.layers.Dropout(0.5, seed=1)
    kept, dropped = run([layer(np.ones(1000, np.float32)), layer(np.ones(1000, np.float32), training=True)])
    assert (kept == 1).all()
    assert set(dropped.tolist()) == {0.0, 2.0}


def test_separable_conv1d_is_a_product(graph):
    """Against numpy, with strides and dilations."""
    x = np.random.default_rng(4).normal(size=(2, 9, 3)).astype(np.float32)
    for strides, dilation in ((1, 1), (2, 1), (1, 3)):
        layer = pf.layers.SeparableConv1D(4, 3, strides, dilation_rate=dilation, depth_multiplier=2)
        y = layer(x)
        out, depthwise, pointwise, bias = run([y, layer.depthwise_kernel, layer.pointwise_kernel, layer.bias])
        assert (depthwise.shape, pointwise.shape) == ((3, 3, 2), (1, 6, 4))
        places = range(0, 9 - 2 * dilation, strides)
        taken = np.stack([x[:, p : p + 2 * dilation + 1 : dilation] for p in places], 1)
        deep = np.einsum("npkc,kcm->npcm", taken, depthwise).reshape(2, len(places), 6)
        np.testing.assert_allclose(out, deep @ pointwise[0] + bias, rtol=1e-4, atol=1e-5)
        assert y.shape.as_list() == [2, len(places), 4]


def test_a_layer_of_ones_own(graph):
    class Scale(pf.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", input_shape[-1:], initializer=pf.ones_initializer())
            self.seen = self.add_variable("seen", [], pf.int32, pf.zeros_initializer(), trainable=False)

        def call(self, inputs, power=1):
            self.add_update(self.seen.assign_add(1).op)
            self.add_loss(pf.reduce_sum(self.scale))
            return inputs * self.scale**power

    layer = Scale(name="scale")
    y = layer(X, power=2)
    assert names(layer.weights) == ["scale/scale:0", "scale/seen:0"]
    assert (layer.updates, layer.losses) == (pf.get_collection("update_ops"), pf.losses.get_regularization_losses())
    np.testing.assert_array_equal(run(y), X)
    assert repr(layer) == "<paraflow.layers.Scale 'scale'>"


def test_what_is_refused(graph):
    for make, error, message in (
        (lambda: pf.layers.dense(X), TypeError, r"dense\(\): missing a required argument: 'units' at .*test_layer_cl"),
        (lambda: pf.layers.dense(X, 2, unit=3), TypeError, r"dense\(\): got an unexpected keyword argument 'unit'"),
        (lambda: pf.layers.Dense(2, unit=3), TypeError, "unexpected keyword argument 'unit'"),
        (lambda: pf.layers.Flatten("NHWC"), GraphError, "data_format is 'channels_last' or"),
        (lambda: pf.layers.Dense(2)(pf.placeholder(pf.float32, name="images")), GraphError, "give operation 'images'"),
    ):
        with pytest.raises(error, match=message):
            make()


@pytest.mark.parametrize(
    ("layer", "inputs", "expected"),  # what TensorFlow 2.21 returns
    [
        (lambda tf: tf.Conv2D(5, 3, padding="same", strides=2), [None, 7, 7, 3], [None, 4, 4, 5]),
        (lambda tf: tf.Conv2D(5, (3, 2), dilation_rate=2), [None, 9, None, 3], [None, 5, None, 5]),
        (lambda tf: tf.Conv2D(5, 3, data_format="channels_first"), [None, 3, 7, 7], [None, 5, 5, 5]),
        (lambda tf: tf.Conv1D(5, 3), [2, 9, 3], [2, 7, 5]),
        (lambda tf: tf.Conv3D(5, 3), [2, 9, 9, 9, 3], [2, 7, 7, 7, 5]),
        (lambda tf: tf.Conv2DTranspose(4, 3, strides=2), [None, 7, 7, 3], [None, 15, 15, 4]),
        (lambda tf: tf.Conv2DTranspose(4, 3, strides=2, padding="same"), [None, 7, None, 3], [None, 14, None, 4]),
        (lambda tf: tf.Conv3DTranspose(4, 3, strides=2, padding="same"), [None, 7, 7, 7, 3], [None, 14, 14, 14, 4]),
        (lambda tf: tf.SeparableConv2D(4, 3), [None, 7, 7, 3], [None, 5, 5, 4]),
        (lambda tf: tf.SeparableConv1D(4, 3), [None, 7, 3], [None, 5, 4]),
        (lambda tf: tf.MaxPooling2D(2, 2), [None, 7, 7, 3], [None, 3, 3, 3]),
        (lambda tf: tf.AveragePooling1D(2, 2, padding="same"), [None, 7, 3], [None, 4, 3]),
        (lambda tf: tf.AveragePooling3D(2, 2), [None, 7, 7, 7, 3], [None, 3, 3, 3, 3]),
        (lambda tf: tf.Flatten(), [None, 7, 3], [None, 21]),
        (lambda tf: tf.Flatten(), [None, None, 3], [None, None]),
        (lambda tf: tf.Flatten(), [None], [None, 1]),
        (lambda tf: tf.Dropout(), [None, 7], [None, 7]),
        (lambda tf: tf.BatchNormalization(), [None, 7], [None, 7]),
        (lambda tf: tf.Dense(3), [None, 4], [None, 3]),
    ],
)
def test_the_shape_of_outputs_is_told_without_making_any(graph, layer, inputs, expected):
    made = layer(pf.layers)
    assert made.compute_output_shape(inputs) == expected
    assert (graph.version, made.built, made.weights, pf.global_variables()) == (0, False, [], [])


def test_the_shape_of_outputs_is_told_of_a_layer_in_use(graph):
    layer = pf.layers.Dense(3, kernel_regularizer=pf.reduce_sum)
    y = layer(X)
    kernel, losses, before = layer.kernel, layer.losses, graph.version
    assert layer.compute_output_shape([7, None, 9]) == [7, None, 3]
    assert (layer.kernel, layer.losses, graph.version, y.shape) == (kernel, losses, before, [4, 3])
    for unfit in ([4], [None, None]):
        with pytest.raises(ValueError, match="dense needs inputs"):
            layer.compute_output_shape(unfit)


@pytest.mark.parametrize("kind", ["layer", "cell"])
def test_weights_are_read_and_set_in_the_default_session(graph, kind):
    if kind == "layer":
        used = pf.layers.Dense(3, name="used")
        used(X)
    else:
        used = pf.nn.rnn_cell.BasicRNNCell(3, name="used")
        used(X, used.zero_state(4, pf.float32))
    rows = 5 if kind == "layer" else 8
    with pytest.raises(ValueError, match="session"):
        used.get_weights()
    with pf.Session():
        pf.global_variables_initializer().run()
        kernel, bias = used.get_weights()
        assert (kernel.shape, bias.tolist(), used.count_params()) == ((rows, 3), [0.0] * 3, 3 * rows + 3)
        used.set_weights([kernel + 1, np.ones(3)])
        np.testing.assert_array_equal(used.get_weights()[0], kernel + 1)
        assert used.get_weights()[1].tolist() == [1.0] * 3
        for wrong in ([kernel], [kernel[1:], bias]):
            with pytest.raises(ValueError, match=rf"'used' has weights of shapes \({rows}, 3\), \(3,\), and was given"):
                used.set_weights(wrong)
        assert used.get_weights()[1].tolist() == [1.0] * 3


def test_cells_have_names_and_variables_that_are_not_trained(graph):
    cell = pf.nn.rnn_cell.GRUCell(2)
    assert (cell.name, cell.weights) == ("gru_cell", [])
    with pytest.raises(GraphError, match="'gru_cell' has no variables before it is used"):
        cell.count_params()
    with pf.variable_scope("outer"):
        cell(X, cell.zero_state(4, pf.float32))
    frozen = pf.nn.rnn_cell.GRUCell(2, trainable=False)
    frozen(X, frozen.zero_state(4, pf.float32))
    assert (cell.name, cell.non_trainable_weights, len(cell.trainable_weights)) == ("gru_cell", [], 4)
    assert (frozen.trainable_variables, frozen.non_trainable_variables) == ([], frozen.weights)
