"""Layers with windows: their variables, shapes and values against the operations; dropout and normalisation."""

import numpy as np
import pytest

import paraflow as pf

IMAGES = np.random.default_rng(2).normal(size=(2, 7, 6, 3)).astype(np.float32)


def run(fetches, feeds=None):
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return session.run(fetches, feeds)


def shapes():
    return {v.spec.name: v.shape.as_list() for v in pf.trainable_variables()}


def first(images):
    """The same images with the channels in second place."""
    return np.moveaxis(images, -1, 1)


def test_conv2d_is_a_convolution_and_a_bias(graph):
    x = pf.placeholder(pf.float32, (None, 7, 6, 3))
    y = pf.layers.conv2d(x, 4, [3, 2], 2, "same", activation=pf.nn.relu, bias_initializer=pf.constant_initializer(0.5))
    assert y.shape.as_list() == [None, 4, 3, 4]
    assert shapes() == {"conv2d/kernel": [3, 2, 3, 4], "conv2d/bias": [4]}
    kernel, _ = pf.trainable_variables()
    same = pf.nn.relu(pf.nn.conv2d(x, kernel, [1, 2, 2, 1], "SAME") + 0.5)
    out, expected = run([y, same], {x: IMAGES})
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert out.any()


@pytest.mark.parametrize(
    ("layer", "shape", "attrs", "result", "kernel"),
    [
        (pf.layers.conv1d, (2, 7, 3), {"kernel_size": 3, "dilation_rate": 2}, [2, 3, 4], [3, 3, 4]),
        (pf.layers.conv2d, (2, 7, 6, 3), {"kernel_size": (3, 2), "padding": "SAME"}, [2, 7, 6, 4], [3, 2, 3, 4]),
        (pf.layers.conv3d, (1, 3, 4, 5, 2), {"kernel_size": 2, "strides": (1, 2, 2)}, [1, 2, 2, 2, 4], [2, 2, 2, 2, 4]),
        (
            pf.layers.conv2d_transpose,
            (2, 3, 4, 3),
            {"kernel_size": (3, 2), "strides": (2, 3)},
            [2, 7, 12, 4],
            [3, 2, 4, 3],
        ),
        (
            pf.layers.conv2d_transpose,
            (2, 3, 4, 3),
            {"kernel_size": 3, "strides": 2, "padding": "same"},
            [2, 6, 8, 4],
            [3, 3, 4, 3],
        ),
        (
            pf.layers.conv3d_transpose,
            (2, 3, 2, 4, 3),
            {"kernel_size": (3, 2, 1), "strides": (1, 2, 3)},
            [2, 5, 4, 12, 4],
            [3, 2, 1, 4, 3],
        ),
    ],
)
def test_channels_may_stand_in_second_place(graph, layer, shape, attrs, result, kernel):
    images = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    made = pf.glorot_uniform_initializer(seed=5)
    last = layer(images, 4, **attrs, kernel_initializer=made)
    assert last.shape.as_list() == result
    assert shapes()[f"{layer.__name__}/kernel"] == kernel
    second = layer(first(images), 4, **attrs, kernel_initializer=made, data_format="channels_first", use_bias=False)
    assert second.shape.as_list() == [result[0], result[-1], *result[1:-1]]
    a, b = run([last, second])
    np.testing.assert_allclose(first(a), b, rtol=1e-5, atol=1e-5)


def test_conv2d_transpose_of_unknown_sizes(graph):
    x = pf.placeholder(pf.float32, (None, None, None, 3))
    y = pf.layers.conv2d_transpose(x, 2, 3, 2)
    assert y.shape.as_list() == [None, None, None, 2]
    out = run(y, {x: IMAGES})
    assert out.shape == (2, 15, 13, 2)


def test_separable_conv2d(graph):
    y = pf.layers.separable_conv2d(IMAGES, 5, (3, 2), depth_multiplier=2)
    assert shapes() == {
        "separable_conv2d/depthwise_kernel": [3, 2, 3, 2],
        "separable_conv2d/pointwise_kernel": [1, 1, 6, 5],
        "separable_conv2d/bias": [5],
    }
    depthwise, pointwise, _ = pf.trainable_variables()
    out, expected = run([y, pf.nn.separable_conv2d(IMAGES, depthwise, pointwise, 1, "VALID")])
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_pooling(graph):
    out = run([
        pf.layers.max_pooling2d(IMAGES, 2, 2), pf.layers.average_pooling2d(IMAGES, (3, 2), (2, 1), "same"),
        pf.layers.max_pooling1d(IMAGES[0], 2, 2), pf.layers.average_pooling1d(IMAGES[0], 2, 1),
        pf.layers.max_pooling2d(first(IMAGES), 2, 2, data_format="channels_first"),
    ])  # fmt: skip
    assert [o.shape for o in out[:4]] == [(2, 3, 3, 3), (2, 4, 6, 3), (7, 3, 3), (7, 5, 3)]
    np.testing.assert_array_equal(out[0], IMAGES[:, :6].reshape(2, 3, 2, 3, 2, 3).max((2, 4)))
    np.testing.assert_array_equal(out[2], IMAGES[0].reshape(7, 3, 2, 3).max(2))
    np.testing.assert_allclose(out[3], (IMAGES[0, :, 1:] + IMAGES[0, :, :-1]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(out[4], first(out[0]))


def test_regularizers_join_the_collection(graph):
    def squares(scale):
        return lambda w: scale * pf.nn.l2_loss(w)

    x = pf.layers.conv2d(IMAGES, 2, 3, kernel_regularizer=squares(0.1), bias_initializer=pf.ones_initializer(),
                         bias_regularizer=squares(1.0))  # fmt: skip
    y = pf.layers.dense(pf.layers.flatten(x), 2, kernel_regularizer=lambda w: None, activity_regularizer=squares(2.0))
    error = pf.losses.mean_squared_error(np.zeros((2, 2), np.float32), y)
    assert len(pf.losses.get_regularization_losses()) == 3
    total, own, kernel, out = run([pf.losses.get_total_loss(), error, pf.trainable_variables()[0], y])
    expected = own + 0.05 * np.sum(kernel**2) + 0.5 * 2 + np.sum(out**2)
    assert total == pytest.approx(expected, rel=1e-5)


def test_dropout_is_for_training(graph):
    x = np.ones((100, 10), np.float32)
    training = pf.placeholder(pf.bool, ())
    y = pf.layers.dropout(x, 0.25, training=training, seed=3)
    assert pf.layers.dropout(x, 0.25).op.type == "constant"
    with pf.Session() as session:
        np.testing.assert_array_equal(session.run(y, {training: False}), x)
        dropped = session.run(y, {training: True})
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
    assert np.mean(dropped == 0) == pytest.approx(0.25, abs=0.05)


def test_layer_norm(graph):
    x = pf.placeholder(pf.float32, (None, 6, 3))
    y = pf.layers.layer_norm(x, activation_fn=pf.nn.relu)
    assert shapes() == {"LayerNorm/beta": [3], "LayerNorm/gamma": [3]}
    z = pf.layers.layer_norm(x, False, False, begin_norm_axis=2)
    fed = IMAGES.reshape(14, 6, 3)
    out, other = run([y, z], {x: fed})
    mean, deviation = fed.mean((1, 2), keepdims=True), fed.std((1, 2), keepdims=True)
    np.testing.assert_allclose(out, np.maximum((fed - mean) / deviation, 0), rtol=1e-4, atol=1e-5)
    mean, deviation = fed.mean(2, keepdims=True), fed.std(2, keepdims=True)
    np.testing.assert_allclose(other, (fed - mean) / deviation, rtol=1e-3, atol=1e-4)
    assert len(pf.trainable_variables()) == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: pf.layers.conv2d(x, 2, 3), r"conv2d needs inputs of 4 axes .* give operation 'images'"),
        (lambda x: pf.layers.conv2d_transpose(x, 2, 3), "conv2d_transpose needs inputs"),
        (lambda x: pf.layers.separable_conv2d(x, 2, 3), "separable_conv2d needs inputs"),
        (pf.layers.layer_norm, "layer_norm needs the sizes of the axes from -1"),
        (lambda x: pf.layers.conv2d(IMAGES, 2, 3, data_format="NCHW"), "'channels_first', not 'NCHW'"),
        (lambda x: pf.layers.conv2d(IMAGES, 2, (1, 2, 3)), "kernel_size are 1, 2 or 4 numbers"),
        (lambda x: pf.losses.compute_weighted_loss(IMAGES, [1.0, 2.0]), r"weights \(2,\) do not fit losses"),
        (lambda x: pf.losses.mean_squared_error(1.0, 2.0, reduction="mean"), "a reduction is one of .*, not 'mean'"),
        (lambda x: pf.losses.get_total_loss(), "the graph has no loss yet at .*test_convolution_layers"),
    ],
)
def test_what_is_refused(graph, build, message):
    x = pf.placeholder(pf.float32, (None, None, None, None), name="images")
    with pytest.raises(ValueError, match=message):
        build(x)
