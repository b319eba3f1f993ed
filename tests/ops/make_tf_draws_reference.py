"""Writes tf_draws_reference.npz, what TensorFlow draws for draw_cases.py: ``python -m ops.make_tf_draws_reference``."""

from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from .draw_cases import found

if __name__ == "__main__":
    tf.disable_eager_execution()
    with tf.Session() as session:
        np.savez_compressed(Path(__file__).with_name("tf_draws_reference.npz"), **found(tf, session))
