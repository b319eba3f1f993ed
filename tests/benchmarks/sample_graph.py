"""The sample program in the graph language, for any module that speaks it; and its side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import worker
from sample_data import X, Y, bounds


def build(tf: Any) -> tuple[Any, Any, Any, Any]:
    """(x, y_, cross_entropy, train_step) of the sample program."""
    w1 = tf.Variable(tf.random_normal([2, 3], stddev=1, seed=1))
    w2 = tf.Variable(tf.random_normal([3, 1], stddev=1, seed=1))
    x = tf.placeholder(tf.float32, shape=(None, 2), name="x-input")
    y_ = tf.placeholder(tf.float32, shape=(None, 1), name="y-input")
    a = tf.matmul(x, w1)
    y = tf.matmul(a, w2)
    cross_entropy = -tf.reduce_mean(y_ * tf.log(tf.clip_by_value(y, 1e-10, 1.0)))
    train_step = tf.train.AdamOptimizer(0.001).minimize(cross_entropy)
    return x, y_, cross_entropy, train_step


def serve(tf: Any, version: str, callable_of: Callable[..., Any] | None = None) -> None:
    """Build, initialise and obey; ``callable_of(session, train_step, [x, y_])`` stands in for session.run."""
    options = worker.arguments()
    x, y_, cross_entropy, train_step = build(tf)
    with tf.Session() as session:
        session.run(tf.initialize_all_variables())
        if callable_of is None:

            def step(i: int) -> None:
                start, end = bounds(i)
                session.run(train_step, feed_dict={x: X[start:end], y_: Y[start:end]})
        else:
            call = callable_of(session, train_step, [x, y_])

            def step(i: int) -> None:
                start, end = bounds(i)
                call(X[start:end], Y[start:end])

        worker.serve_steps(
            options.address, version, step, lambda: float(session.run(cross_entropy, feed_dict={x: X, y_: Y}))
        )
