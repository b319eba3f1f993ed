"""Loops in the graph language, for any module that speaks it; and the side that runs them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import worker

LOOPS = (
    "two scalars", "tanh(h w + x)", "its gradient", "scan", "gradient of scan", "TensorArrays",
    "gradient of TensorArrays",
)  # fmt: skip


def build(tf: Any, turns: int, samples: int, width: int) -> tuple[dict[str, Any], dict[Any, Any]]:
    """What to fetch for each of `LOOPS`, and what to feed for all of them."""
    rng = np.random.default_rng(1)
    x = tf.placeholder(tf.float32, (samples, width))
    rows = tf.placeholder(tf.float32, (turns, samples, width))
    w = tf.Variable(rng.normal(size=(width, width)).astype(np.float32) / width)
    start = tf.zeros([samples, width])

    def cell(h: Any, add: Any) -> Any:
        return tf.tanh(tf.matmul(h, w) + add)

    def gradient(y: Any) -> Any:
        return tf.gradients(tf.reduce_sum(y * y), w)[0]

    scalars = tf.while_loop(lambda i, y: i < turns, lambda i, y: (i + 1, y * 0.999 + 1.0), (0, 0.0))[1]
    last = tf.while_loop(lambda i, h: i < turns, lambda i, h: (i + 1, cell(h, x)), (0, start))[1]
    scanned = tf.scan(cell, rows, start)
    given = tf.TensorArray(tf.float32, turns).unstack(rows)

    def turn(i: Any, h: Any, made: Any) -> Any:
        h = cell(h, given.read(i))
        return i + 1, h, made.write(i, h)

    made = tf.while_loop(lambda i, *_: i < turns, turn, (0, start, tf.TensorArray(tf.float32, turns)))[2].stack()
    fetches = [scalars, last, gradient(last), scanned, gradient(scanned), made, gradient(made)]
    feeds = {
        x: rng.normal(size=(samples, width)).astype(np.float32),
        rows: rng.normal(size=(turns, samples, width)).astype(np.float32),
    }
    return dict(zip(LOOPS, fetches, strict=True)), feeds


def serve(tf: Any, version: str, **session_options: Any) -> None:
    """Build, initialise and obey."""
    options = worker.arguments()
    worker.pin(0, 1)
    fetches, feeds = build(tf, **options.settings)
    x, rows = feeds
    with tf.Session(**session_options) as session:
        session.run(tf.initialize_all_variables())

        def seconds(loop: str, calls: int) -> dict[str, Any]:
            """Seconds of one run, and a sum over its result to compare."""
            number = LOOPS.index(loop)
            fed = {} if number == 0 else {x: feeds[x]} if number < 3 else {rows: feeds[rows]}
            result = session.run(fetches[loop], feed_dict=fed)
            begun = time.perf_counter()
            for _ in range(calls):
                session.run(fetches[loop], feed_dict=fed)
            taken = (time.perf_counter() - begun) / calls
            return {"seconds": taken, "sum": float(np.abs(result).sum(dtype=float))}

        worker.serve(options.address, 0, {"version": version}, {"seconds": seconds})
