"""Transposes and gradients of convolutions, patches, dilation, and windows with holes. See tf_case.py."""

from .tf_case import Case
from .tf_network_cases import IMAGES, PATCH, numbers

VOLUMES = numbers(1, 4, 3, 5, 2)


def patches(sizes, strides, rates, padding):
    return Case(lambda tf, x: tf.extract_image_patches(x, [1, *sizes, 1], [1, *strides, 1], [1, *rates, 1], padding), (
        IMAGES,))


def pooled(window, kind, padding, **attrs):
    return Case(lambda tf, x: tf.nn.pool(x, window, kind, padding, **attrs), (IMAGES,))


def morphology(name, *attrs):
    return Case(lambda tf, x, w: getattr(tf.nn, name)(x, w, *attrs), (IMAGES, numbers(3, 2, 3)))


CASES = {
    "conv1d_transpose": Case(lambda tf, y, w: [
        tf.nn.conv1d_transpose(y, w, [2, 7, 3], 2), tf.nn.conv1d_transpose(y, w, [2, 9, 3], [2], "VALID"),
    ], (numbers(2, 4, 2), numbers(3, 3, 2))),
    "conv3d_transpose": Case(lambda tf, y, w: [
        tf.nn.conv3d_transpose(y, w, [1, 7, 3, 9, 3], [1, 2, 1, 2, 1]),
        tf.nn.conv3d_transpose(y, w, [1, 5, 5, 6, 3], [1, 1, 1, 1, 1], padding="VALID"),
    ], (VOLUMES, numbers(2, 3, 2, 3, 2))),
    "conv_transpose": Case(lambda tf, y, w: [
        tf.nn.conv_transpose(y, w, [2, 6, 5, 2], 2), tf.nn.conv_transpose(y, w, [2, 8, 7, 2], [2, 2], "VALID"),
    ], (numbers(2, 3, 3, 4), numbers(3, 2, 2, 4))),
    "atrous_conv2d_transpose": Case(lambda tf, y, w: [
        tf.nn.atrous_conv2d_transpose(y, w, [1, 8, 9, 2], 2, "SAME"),
        tf.nn.atrous_conv2d_transpose(y, w, [1, 10, 13, 2], 2, "VALID"),
    ], (numbers(1, 8, 9, 3), numbers(2, 3, 2, 3))),
    "conv3d_backprop_filter": Case(lambda tf, x, dy: tf.nn.conv3d_backprop_filter(
        x, [2, 2, 3, 2, 2], dy, [1, 1, 1, 1, 1], "SAME"), (VOLUMES, VOLUMES)),
    "depthwise_conv2d_native and its gradients": Case(lambda tf, x, w, dy: [
        tf.nn.depthwise_conv2d_native(x, w, [1, 2, 2, 1], "SAME"),
        tf.nn.depthwise_conv2d_backprop_input([2, 7, 6, 3], w, dy, [1, 2, 2, 1], "SAME"),
        tf.nn.depthwise_conv2d_native_backprop_filter(x, [3, 2, 3, 2], dy, [1, 2, 2, 1], "SAME"),
    ], (IMAGES, numbers(3, 2, 3, 2), numbers(2, 4, 3, 6))),
    **{f"extract_image_patches {i}": patches(*attrs) for i, attrs in enumerate([
        ((3, 3), (1, 1), (1, 1), "VALID"), ((2, 3), (2, 1), (1, 1), "SAME"), ((3, 2), (1, 2), (2, 3), "SAME"),
        ((1, 1), (2, 2), (1, 1), "VALID"),
    ])},
    "extract_volume_patches": Case(lambda tf, x: [
        tf.extract_volume_patches(x, [1, 2, 2, 3, 1], [1, 1, 1, 2, 1], padding) for padding in ("VALID", "SAME")
    ], (VOLUMES,), gradients=False),  # TensorFlow's gradient fails: an integer is divided as a float
    **{f"{name} {i}": morphology(name, *attrs) for name in ("dilation2d", "erosion2d") for i, attrs in enumerate([
        ([1, 1, 1, 1], [1, 1, 1, 1], "VALID"), ([1, 2, 1, 1], [1, 1, 1, 1], "SAME"),
        ([1, 1, 2, 1], [1, 2, 2, 1], "SAME"),
    ])},
    **{f"pool {i}": pooled(*args, **attrs) for i, (args, attrs) in enumerate([
        (([2, 2], "MAX", "VALID"), {}), (([3, 2], "AVG", "SAME"), {"strides": [2, 2]}),
        (([2, 2], "MAX", "VALID"), {"dilation_rate": [2, 3]}), (([2, 3], "AVG", "VALID"), {"dilations": [3, 2]}),
    ])},
    "pool of one axis": Case(lambda tf, x: tf.nn.pool(x, [3], "MAX", "SAME", strides=[2]), (numbers(2, 7, 3),)),
    "pool of three axes": Case(lambda tf, x: tf.nn.pool(x, [2, 1, 2], "AVG", "VALID"), (VOLUMES,), ("float32",)),
    "max_pool2d": Case(lambda tf, x: tf.nn.max_pool2d(x, 2, 2, "VALID"), (IMAGES,)),
    "with_space_to_batch": Case(lambda tf, x, w: [
        tf.nn.with_space_to_batch(x, [2, 1], p, lambda y, _, how: tf.nn.conv2d(y, w, 1, how), [3, 2, 3, 4], axes)
        for p, axes in (("SAME", None), ("VALID", [1, 2]))
    ], (IMAGES, PATCH)),
    "with_space_to_batch of the second axis": Case(lambda tf, x: tf.nn.with_space_to_batch(
        x, [2], "VALID", lambda y, _, how: tf.nn.max_pool2d(y, [1, 2], 1, how), [2], [2]), (IMAGES,)),
    "batch_norm_with_global_normalization": Case(lambda tf, x, m, v, b, g: [
        tf.nn.batch_norm_with_global_normalization(x, m, v, b, g, 0.25, scale) for scale in (False, True)
    ], (IMAGES, [0.5, 0.0, -1.0], [1.0, 0.5, 2.0], [0.25, 1.0, 0.0], [2.0, 1.0, -0.5])),
}  # fmt: skip
