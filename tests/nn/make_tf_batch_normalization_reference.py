"""Makes tf_batch_normalization_reference.npz: TensorFlow's values for the cases of batch_normalization_cases.py.

Run it with a Python that has TensorFlow 2 and tf_keras: ``TF_USE_LEGACY_KERAS=1 python make_tf_...reference.py``.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

sys.path.insert(0, str(Path(__file__).parent))
from batch_normalization_cases import LAYERS, OPERATIONS, STATISTICS, trajectory, weight

tf.disable_eager_execution()


def operation(build, values):
    """Outputs, and the gradients of their weighted sum, where TensorFlow has any."""
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = [tf.constant(v) for v in values]
        outputs = list(build(tf, *inputs))
        gradients = tf.gradients(tf.add_n([tf.reduce_sum(y * weight(y.shape.as_list())) for y in outputs]), inputs)
        named = {f"output {i}": y for i, y in enumerate(outputs)}
        return session.run(named | {f"gradient {i}": g for i, g in enumerate(gradients) if g is not None})


if __name__ == "__main__":
    arrays = {}
    for name, case in OPERATIONS.items():
        arrays |= {f"{name}|{part}": value for part, value in operation(*case).items()}
    with tf.Graph().as_default(), tf.Session() as session:
        build, values = STATISTICS
        for i, value in enumerate(session.run(build(tf, *map(tf.constant, values)))):
            arrays[f"statistics|{i}"] = value
    for name, (shape, options) in LAYERS.items():
        with tf.Graph().as_default():
            arrays |= {f"{name}|{key}": value for key, value in trajectory(tf, shape, options).items()}
    np.savez_compressed(Path(__file__).with_name("tf_batch_normalization_reference.npz"), **arrays)
    print(f"{len(arrays)} arrays, TensorFlow {tf.__version__}")
