"""Uses of batch normalisation that are run by TensorFlow 1's interface and by ours; ``tf`` is one of the two.

make_tf_batch_normalization_reference.py keeps what TensorFlow makes of them, test_batch_normalization.py compares.
"""

import numpy as np

STEPS = 4
_rng = np.random.default_rng(12)

# -- operations: (function of tf and tensors, the tensors' values) -----------------------------------------------------

IMAGES = (_rng.normal(size=(3, 2, 4, 3)) * [1, 10, 0.1] + [0, 100, -3]).astype(np.float32)
SCALE, OFFSET = (_rng.uniform(0.5, 2, 3).astype(np.float32), _rng.normal(size=3).astype(np.float32))
MEAN, VARIANCE = (_rng.normal(size=3).astype(np.float32), _rng.uniform(0.5, 2, 3).astype(np.float32))

OPERATIONS = {
    "moments": (lambda tf, x: tf.nn.moments(x, [0, 1], None, "m", True), (IMAGES,)),
    "batch_normalization": (
        lambda tf, x, m, v, b, g: [tf.nn.batch_normalization(x, m, v, b, g, 0.01)],
        (IMAGES, MEAN, VARIANCE, OFFSET, SCALE),
    ),
    "batch_normalization, bare": (
        lambda tf, x, m, v: [tf.nn.batch_normalization(x, m, v, None, None, 1e-3)], (IMAGES, MEAN, VARIANCE)
    ),
    "fused": (lambda tf, x, g, b: tf.nn.fused_batch_norm(x, g, b)[:1], (IMAGES, SCALE, OFFSET)),
    "fused, small epsilon": (lambda tf, x, g, b: tf.nn.fused_batch_norm(x, g, b, epsilon=1e-9)[:1],
                             (IMAGES, SCALE, OFFSET)),
    "fused, given": (
        lambda tf, x, g, b, m, v: tf.nn.fused_batch_norm(x, g, b, m, v, 0.01, is_training=False)[:1],
        (IMAGES, SCALE, OFFSET, MEAN, VARIANCE),
    ),
}  # fmt: skip
# What training returns beside the images, through which TensorFlow lets no gradient pass.
STATISTICS = (lambda tf, x, g, b: tf.nn.fused_batch_norm(x, g, b)[1:], (IMAGES, SCALE, OFFSET))


def weight(shape):
    """The cotangent of an output: different for each element."""
    return np.linspace(-1, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape)


# -- layers: (shape of a sample, options); TensorFlow fuses in single precision only -----------------------------------

LAYERS = {
    "vectors": ((5,), {}),
    "options": ((5,), {"momentum": 0.7, "epsilon": 0.1, "center": False}),
    "no scale": ((5,), {"momentum": 0.5, "scale": False}),
    "axis 1": ((4, 3), {"axis": 1, "momentum": 0.9}),
    "images": ((3, 2, 4), {"momentum": 0.9}),
    "images, not fused": ((3, 2, 4), {"momentum": 0.9, "fused": False, "epsilon": 1e-6}),
}  # fmt: skip


def batches(shape):
    """The samples of each step, and those to be evaluated, of other sizes, away from mean 0."""
    rng = np.random.default_rng(3)
    return [rng.normal(size=(n, *shape)) * 2 + 1 for n in (7, 4, 9, 3, 5)]


def trajectory(tf, shape, options):
    """Outputs in training, all variables after each step, and outputs in an evaluation, by name."""
    dtype = tf.float32 if len(shape) == 3 and "fused" not in options else tf.float64
    x, training = tf.placeholder(dtype, (None, *shape)), tf.placeholder(tf.bool, ())
    target = tf.constant(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape), dtype)
    y = tf.layers.batch_normalization(x, training=training, name="bn", **options)
    z = tf.layers.batch_normalization(y * y, training=training, **options)
    loss = tf.reduce_mean(tf.square(z - target))
    optimizer = tf.train.GradientDescentOptimizer(0.125)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        step = optimizer.minimize(loss)
    names = [v.name for v in tf.global_variables()]
    found = {name: [] for name in (*names, "loss")}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        *parts, last = batches(shape)
        for part in parts:
            found["loss"].append(session.run([loss, step], {x: part, training: True})[0])
            for name, value in zip(names, session.run(tf.global_variables()), strict=True):
                found[name].append(value)
        found = {name: np.stack(values) for name, values in found.items()}
        found["evaluated"] = session.run(z, {x: last, training: False})
        found["trainable"] = np.array([v.name for v in tf.trainable_variables()])
        # A graph for evaluation alone has no updates.
        before = len(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
        tf.layers.batch_normalization(x, training=False)
        found["updates"] = np.array([before, len(tf.get_collection(tf.GraphKeys.UPDATE_OPS))])
    return found
