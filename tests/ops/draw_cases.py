"""Draws of TensorFlow 1's interface and of ours, seed for seed: name -> tensor (make_tf_draws_reference.py)."""

import numpy as np

AGAIN = ("categorical", "multinomial", "gamma", "poisson")  # drawn twice in a session
LOGITS = [[0.0, 1.0, 2.0], [3.0, 0.0, -1.0]]


def draws(tf):
    r, seed, large = tf.random, [1, 2], tf.constant([12345678901, -7], tf.int64)
    two = tf.constant([0.5, 7.0], tf.float64)
    return {
        "stateless_uniform": r.stateless_uniform([5], large),
        "stateless_uniform float64": r.stateless_uniform([5], seed, -1, 3, dtype=tf.float64),
        "stateless_uniform int32": r.stateless_uniform([7], seed, -5, 20, tf.int32),
        "stateless_uniform int64": r.stateless_uniform([7], seed, 0, 2**40, tf.int64),
        "stateless_normal": r.stateless_normal([2, 5], seed, 1.0, 2.0),
        "stateless_normal float16": r.stateless_normal([5], seed, dtype=tf.float16),
        "stateless_truncated_normal": r.stateless_truncated_normal([200], seed),
        "stateless_categorical": r.stateless_categorical(tf.constant(LOGITS), 50, seed),
        "categorical": r.categorical(tf.constant(LOGITS), 50, seed=3),
        "multinomial": tf.multinomial(tf.constant([[0.0, 1.0, 2.0, -np.inf]]), 7, seed=3, output_dtype=tf.int32),
        "gamma": tf.random_gamma([20], [0.3, 1.0, 2.5, 40.0], seed=5),
        "gamma float64": tf.random_gamma([20], two, tf.constant(2.0, tf.float64), tf.float64, seed=5),
        "poisson": tf.random_poisson([0.5, 3.0, 9.9, 10.0, 200.0], [30], seed=4),
        "poisson int32": tf.random_poisson(tf.constant([4.0, 50.0], tf.float64), [30], tf.int32, seed=4),
    }


def found(tf, session):
    """All draws, and the second ones of `AGAIN`."""
    tensors = draws(tf)
    values = {name: session.run(tensor) for name, tensor in tensors.items()}
    return values | {f"{name} again": session.run(tensors[name]) for name in AGAIN}
