"""A training step of an LSTM in TensorFlow 1's language, for paraflow and for TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import recurrent_data as data


def step(tf: Any, size: list[int], loops: bool) -> Callable[[], float]:
    """A training step of [samples, steps, width, units], which returns the loss; ``loops``: by dynamic_rnn."""
    samples, steps, width, units = size
    sequences, labels = data.batch(samples, steps, width)
    kernel, last = data.initial_weights(width, units)
    with tf.Graph().as_default():
        x, y = tf.placeholder(tf.float32, sequences.shape), tf.placeholder(tf.int32, labels.shape)
        cell = tf.nn.rnn_cell.LSTMCell(units, initializer=tf.constant_initializer(kernel))
        if loops:
            _, state = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
        else:
            _, state = tf.nn.static_rnn(cell, tf.unstack(x, axis=1), dtype=tf.float32)
        logits = tf.nn.xw_plus_b(state.h, tf.Variable(last), tf.Variable([0.0] * data.CLASSES))
        loss = tf.losses.sparse_softmax_cross_entropy(y, logits)
        train = tf.train.AdamOptimizer(data.LEARNING_RATE).minimize(loss)
        session = session_of(tf)
        session.run(tf.global_variables_initializer())
        run = session.make_callable([loss, train], [x, y])
    return lambda: float(run(sequences, labels)[0])


def session_of(tf: Any) -> Any:
    """A session on one thread."""
    if not hasattr(tf, "ConfigProto"):
        return tf.Session()
    return tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1))


def best(run: Callable[[], float], calls: int) -> dict[str, Any]:
    """The best time of ``calls`` calls, and the last loss to compare."""
    for _ in range(3):
        run()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        loss = run()
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "loss": float(loss)}
