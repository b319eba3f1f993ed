"""More uses of operations run by TensorFlow 1's interface and by ours: those of networks. See tf_case.py."""

import numpy as np

from .tf_case import Case


def numbers(*shape):
    """Multiples of 1/4 in no order, with ties, whose products add up exactly."""
    return (((np.arange(int(np.prod(shape))) * 7 + 3) % 11 - 5) / 4).reshape(shape).tolist()


IMAGES, PATCH = numbers(2, 7, 6, 3), numbers(3, 2, 3, 4)
WINDOWS = [
    {"strides": [1, 1, 1, 1], "padding": "SAME"},
    {"strides": [1, 1, 1, 1], "padding": "VALID"},
    {"strides": [1, 2, 2, 1], "padding": "SAME"},
    {"strides": [1, 2, 3, 1], "padding": "VALID"},
    {"strides": [1, 3, 2, 1], "padding": "SAME"},
    {"strides": [1, 1, 1, 1], "padding": "SAME", "dilations": [1, 2, 1, 1]},
    {"strides": [1, 1, 1, 1], "padding": "VALID", "dilations": [1, 2, 3, 1]},
    {"strides": [1, 1, 1, 1], "padding": [[0, 0], [1, 0], [2, 3], [0, 0]]},
    {"strides": [1, 2, 1, 1], "padding": [[0, 0], [0, 2], [1, 1], [0, 0]]},
]


def conv2d(attrs):
    def build(tf, x, w):
        # TensorFlow has no gradient of dilated convolutions on CPUs, but for `convolution`.
        return tf.nn.conv2d(*map(tf.stop_gradient if "dilations" in attrs else tf.identity, (x, w)), **attrs)

    return Case(build, (IMAGES, PATCH))


def pool(name, ksize, strides, padding):
    return Case(lambda tf, x: getattr(tf.nn, name)(x, ksize, strides, padding), (IMAGES,))


def depthwise(attrs):
    return Case(lambda tf, x, w: tf.nn.depthwise_conv2d(x, w, **attrs), (IMAGES, numbers(3, 2, 3, 2)))


WEIGHTS = [1.0, [[2.0], [0.0], [0.5]], [[1.0, 0.0, 3.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.5]]]
REDUCTIONS = ("NONE", "SUM", "MEAN", "SUM_OVER_BATCH_SIZE", "SUM_BY_NONZERO_WEIGHTS")


def loss(name, labels, predictions, **attrs):
    """The loss of every reduction and of weights that are one, one for each row, and all different."""

    def build(tf, z, x):
        function = getattr(tf.losses, name)
        return [function(z, x, weights=w, reduction=getattr(tf.losses.Reduction, r), **attrs)
                for w in WEIGHTS for r in REDUCTIONS]  # fmt: skip

    return Case(build, (labels, predictions), ("float32",))


def loss_of_rows(name, labels, predictions, weights, **attrs):
    def build(tf, z, x):
        function = getattr(tf.losses, name)
        return [function(z, x, weights=w, **attrs) for w in (1.0, 2.5, weights, [0.0, 0.0, 0.0])]

    return Case(build, (labels, predictions), ("float32",))


SOME, OTHERS = numbers(3, 3), [[0.5, -1.0, 2.0], [0.0, 4.0, -0.25], [3.0, 0.75, 1.0]]
ONES = [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0]]
SHARES = [[0.0, 0.25, 1.0], [1.0, 0.5, 0.75], [0.0, 1.0, 0.0]]
DISTRIBUTIONS = [[1.0, 0.0, 0.0], [0.0, 0.25, 0.75], [0.0, 1.0, 0.0]]

CASES = {
    **{f"conv2d {i}": conv2d(attrs) for i, attrs in enumerate(WINDOWS)},
    "conv2d of one pixel": Case(lambda tf, x, w: [
        tf.nn.conv2d(x, w, 1, "SAME"), tf.nn.conv2d(x, w, strides=[2, 2], padding="VALID"),
    ], (IMAGES, numbers(1, 1, 3, 2))),
    "conv2d of one channel": Case(lambda tf, x, w: tf.nn.conv2d(x, filters=w, strides=1, padding="SAME"), (
        numbers(2, 5, 5, 1), numbers(3, 3, 1, 2))),
    "conv1d": Case(lambda tf, x, w: [
        tf.nn.conv1d(x, w, 2, "SAME"), tf.nn.conv1d(x, w, stride=1, padding="VALID"),
        tf.nn.conv1d(tf.stop_gradient(x), tf.stop_gradient(w), 1, "VALID", dilations=2),
    ], (numbers(2, 7, 3), numbers(3, 3, 2))),
    "conv3d": Case(lambda tf, x, w: [
        tf.nn.conv3d(x, w, [1, 1, 1, 1, 1], "VALID"), tf.nn.conv3d(x, w, [1, 2, 1, 2, 1], "SAME"),
    ], (numbers(1, 4, 3, 5, 2), numbers(2, 3, 2, 2, 3))),
    "convolution": Case(lambda tf, x, w: [
        tf.nn.convolution(x, w, "SAME", dilation_rate=[2, 1]), tf.nn.convolution(x, w, "VALID", [2, 1]),
    ], (IMAGES, PATCH)),
    "atrous_conv2d": Case(lambda tf, x, w: [
        tf.nn.atrous_conv2d(x, w, 2, "SAME"), tf.nn.atrous_conv2d(x, w, 3, "VALID"),
    ], (numbers(1, 8, 9, 2), numbers(2, 3, 2, 2))),
    "conv2d_transpose": Case(lambda tf, y, w: [
        tf.nn.conv2d_transpose(y, w, [2, 6, 5, 2], [1, 2, 2, 1]),
        tf.nn.conv2d_transpose(y, w, [2, 8, 7, 2], [1, 2, 2, 1], padding="VALID"),
        tf.nn.conv2d_transpose(y, w, [2, 3, 3, 2], 1),
    ], (numbers(2, 3, 3, 4), numbers(3, 2, 2, 4))),
    "conv2d_backprop_input, conv2d_backprop_filter": Case(lambda tf, x, w, dy: [
        tf.nn.conv2d_backprop_input([2, 7, 6, 3], w, dy, [1, 2, 2, 1], "SAME"),
        tf.nn.conv2d_backprop_filter(x, [3, 2, 3, 4], dy, [1, 2, 2, 1], "SAME"),
    ], (IMAGES, PATCH, numbers(2, 4, 3, 4))),
    **{f"depthwise_conv2d {i}": depthwise(attrs) for i, attrs in enumerate([
        {"strides": [1, 1, 1, 1], "padding": "SAME"},
        {"strides": [1, 2, 2, 1], "padding": "SAME"},
        {"strides": [1, 2, 2, 1], "padding": "VALID"},
        {"strides": [1, 1, 1, 1], "padding": "SAME", "rate": [2, 3]},
    ])},
    "separable_conv2d": Case(lambda tf, x, w, v: tf.nn.separable_conv2d(x, w, v, [1, 2, 2, 1], "SAME"), (
        IMAGES, numbers(3, 2, 3, 2), numbers(1, 1, 6, 2))),
    **{f"{name} {i}": pool(name, *windows) for name in ("max_pool", "avg_pool") for i, windows in enumerate([
        (2, 2, "VALID"), ([1, 3, 2, 1], [1, 2, 1, 1], "SAME"), ([3, 3], [1, 2], "VALID"), (2, 3, "SAME"),
        ([1, 7, 6, 1], [1, 1, 1, 1], "VALID"),
    ])},
    "max_pool of negative numbers": Case(lambda tf, x: tf.nn.max_pool(x, 3, 2, "SAME"), (
        (np.array(IMAGES) - 5).tolist(),)),
    "max_pool_with_argmax": Case(lambda tf, x: [
        y for strides, padding, batch in (([1, 2, 2, 1], "VALID", False), ([1, 1, 2, 1], "SAME", True))
        for y in tf.nn.max_pool_with_argmax(x, [1, 3, 2, 1], strides, padding, include_batch_in_index=batch)
    ], (IMAGES,)),
    "pooling of one axis": Case(lambda tf, x: [
        tf.nn.max_pool1d(x, 2, 2, "VALID"), tf.nn.avg_pool1d(x, 3, 2, "SAME"),
    ], (numbers(2, 7, 3),)),
    "pooling of three axes": Case(lambda tf, x: [
        tf.nn.max_pool3d(x, 2, 2, "SAME"), tf.nn.avg_pool3d(x, [1, 2, 3, 2, 1], [1, 1, 1, 2, 1], "SAME"),
    ], (numbers(1, 4, 3, 5, 2),), ("float32",)),
    "activations": Case(lambda tf, x: [
        tf.nn.softsign(x), tf.nn.swish(x), tf.nn.crelu(x), tf.nn.crelu(x, axis=0),
    ], ([[-3.0, -1.0, 0.0], [0.5, 1.0, 20.0]],)),
    "relu_layer": Case(lambda tf, x, w, b: tf.nn.relu_layer(x, w, b), (numbers(4, 3), numbers(3, 2), numbers(2))),
    "zero_fraction": Case(lambda tf, x: tf.nn.zero_fraction(x), ([[0.0, -0.0, 1.0], [2.0, 0.0, -1.0]],)),
    "weighted_cross_entropy": Case(lambda tf, x, z: [
        tf.nn.weighted_cross_entropy_with_logits(z, x, 3.0),
        tf.nn.weighted_cross_entropy_with_logits(labels=z, logits=x, pos_weight=0.5),
    ], ([-100.0, -1.0, -0.25, 0.5, 1.0, 30.0, 100.0], [0.0, 1.0, 0.0, 0.5, 0.25, 1.0, 0.0])),
    "log_poisson_loss": Case(lambda tf, z, x: [
        tf.nn.log_poisson_loss(z, x), tf.nn.log_poisson_loss(z, x, compute_full_loss=True),
    ], ([0.5, 1.0, 1.5, 2.0, 7.0], [-1.0, 0.0, 1.0, 2.0, 0.5])),
    "weighted_moments": Case(lambda tf, x, w: [
        *tf.nn.weighted_moments(x, [0, 2], w), *tf.nn.weighted_moments(x, 1, w, keep_dims=True),
    ], (numbers(3, 4, 2), [[[2.0], [1.0], [0.5], [3.0]]])),
    "sufficient_statistics": Case(lambda tf, x: [
        *tf.nn.sufficient_statistics(x, [0, 2])[:3], *tf.nn.sufficient_statistics(x, [1], 0.5, True)[:3],
        *tf.nn.normalize_moments(*tf.nn.sufficient_statistics(x, [0], 0.25)),
        *tf.nn.normalize_moments(*tf.nn.sufficient_statistics(x, [0])),
    ], (numbers(3, 4, 2),), ("float32",)),
    "lrn": Case(lambda tf, x: [
        tf.nn.lrn(x), tf.nn.local_response_normalization(x, depth_radius=1, bias=2.0, alpha=0.5, beta=0.75),
    ], (numbers(2, 2, 3, 7),), ("float32",)),
    **{name: Case(lambda tf, w, b, x, labels, drawn, true_count, drawn_count, name=name: [
        getattr(tf.nn, name)(1 * w, 1 * b, labels, x, 4, 9, 2, (drawn, true_count, drawn_count), hits)
        for hits in (False, True)
    ], (numbers(9, 3), numbers(9), numbers(2, 3), np.array([[1, 4], [0, 8]]), np.array([4, 2, 0, 7]),
        np.array([[0.5, 0.25], [0.75, 0.125]], "f"), np.array([0.25, 0.5, 0.75, 0.125], "f")), ("float32",))
       for name in ("nce_loss", "sampled_softmax_loss")},
    **{f"losses.{name}": loss(name, SOME, OTHERS)
       for name in ("absolute_difference", "mean_squared_error", "huber_loss")},
    "losses.huber_loss of delta 2": loss("huber_loss", SOME, OTHERS, delta=2.0),
    "losses.hinge_loss": loss("hinge_loss", ONES, OTHERS),
    "losses.log_loss": loss("log_loss", ONES, SHARES, epsilon=0.125),
    "losses.sigmoid_cross_entropy": loss("sigmoid_cross_entropy", SHARES, OTHERS),
    "losses.sigmoid_cross_entropy, smoothed": loss("sigmoid_cross_entropy", SHARES, OTHERS, label_smoothing=0.25),
    "losses.softmax_cross_entropy": loss_of_rows("softmax_cross_entropy", DISTRIBUTIONS, OTHERS, [1.0, 0.0, 3.0]),
    "losses.softmax_cross_entropy, smoothed": loss_of_rows(
        "softmax_cross_entropy", DISTRIBUTIONS, OTHERS, [1.0, 0.0, 3.0], label_smoothing=0.25),
    **{f"losses.sparse_softmax_cross_entropy {i}": loss_of_rows(
        "sparse_softmax_cross_entropy", np.array(labels), OTHERS, weights)
       for i, (labels, weights) in enumerate([
           ([2, 0, 1], [1.0, 0.0, 3.0]), ([[2], [0], [1]], [1.0, 0.0, 3.0]), ([2, 0, 1], [[1.0], [0.0], [3.0]])])},
    "losses.cosine_distance": Case(lambda tf, z, x: [
        tf.losses.cosine_distance(z, x, axis=1), tf.losses.cosine_distance(z, x, 0, weights=[[1.0, 2.0, 0.0]]),
    ], (SOME, OTHERS), ("float32",)),
    "losses.mean_pairwise_squared_error": Case(lambda tf, z, x: [
        tf.losses.mean_pairwise_squared_error(z, x, w) for w in (1.0, 2.0, [[2.0], [0.0], [0.5]], 0.0)
    ], (SOME, OTHERS), ("float32",)),
    "losses.get_total_loss": Case(lambda tf, z, x: [
        tf.losses.mean_squared_error(z, x), tf.losses.absolute_difference(z, x, 0.5), tf.losses.get_total_loss(),
        tf.losses.get_regularization_loss(),
    ], (SOME, OTHERS), ("float32",)),
    "labels": Case(lambda tf, x, n: [
        *tf.nn.ctc_unique_labels(x), *tf.nn.collapse_repeated(x, n),
        *tf.nn.collapse_repeated(tf.cast(x, tf.float32), n),
    ], (np.array([[3, 4, 4, 3], [5, 5, 5, 2], [1, 1, 0, 0]]), np.array([4, 3, 2], np.int32)), ("float32",)),
}  # fmt: skip
