"""Large graphs of several shapes, for any module that speaks the graph language; and the side that times them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import worker

WIDTH = 8  # features of what flows through the graphs


def chain(tf: Any, operations: int) -> tuple[Callable[[], Any], list[Any]]:
    """One operation after the other; the gradient by what goes in."""
    x = y = tf.placeholder(tf.float32, (None, WIDTH))
    for _ in range(operations - 1):
        y = tf.tanh(y)
    total = tf.reduce_sum(y)
    return lambda: tf.gradients(total, [x]), [x]


def wide(tf: Any, operations: int) -> tuple[Callable[[], Any], list[Any]]:
    """Many variables side by side, each multiplied and squashed by itself; one sum, and a gradient for each."""
    x = tf.placeholder(tf.float32, (None, WIDTH))
    # Initial value, assignment, read, product, tanh, their sum: eight operations each.
    parts = [tf.tanh(x * tf.Variable(tf.ones([WIDTH]))) for _ in range(operations // 8)]
    total = tf.reduce_sum(tf.add_n(parts))
    variables = tf.trainable_variables()
    return lambda: tf.gradients(total, variables), [x]


def deep(tf: Any, operations: int) -> tuple[Callable[[], Any], list[Any]]:
    """A perceptron of as many layers as have so many operations when Adam trains them, a hundred each."""
    x = h = tf.placeholder(tf.float32, (None, WIDTH))
    for _ in range(operations // 100):
        w, b = tf.Variable(tf.eye(WIDTH)), tf.Variable(tf.zeros([WIDTH]))
        h = tf.nn.relu(tf.matmul(h, w) + b)
    loss = tf.reduce_mean(tf.square(h))
    return lambda: [tf.train.AdamOptimizer(0.001).minimize(loss)], [x]


SHAPES: dict[str, Callable[[Any, int], tuple[Callable[[], Any], list[Any]]]] = {
    "chain": chain, "wide": wide, "deep": deep
}  # fmt: skip


def parts(tf: Any, shape: str, operations: int, plan: Callable[[Any, Any, Any], object] | None) -> dict[str, Any]:
    """The seconds of each part of the way from nothing to the first result, and how many operations there are."""
    found: dict[str, Any] = {}
    with tf.Graph().as_default() as graph:
        before = time.perf_counter()
        gradients, fed = SHAPES[shape](tf, operations)
        found["build"] = time.perf_counter() - before
        found["operations before gradients"] = len(graph.get_operations())
        before = time.perf_counter()
        fetches = gradients()
        found["gradients"] = time.perf_counter() - before
        found["operations"] = len(graph.get_operations())
        initialize = tf.global_variables_initializer()
        feeds = {x: [[0.5] * WIDTH] * 4 for x in fed}
        with tf.Session() as session:
            before = time.perf_counter()
            session.run(initialize)
            found["initialize"] = time.perf_counter() - before
            if plan is not None:
                before = time.perf_counter()
                plan(session, fetches, feeds)
                found["plan"] = time.perf_counter() - before
            for name in ("first run", "second run"):
                before = time.perf_counter()
                session.run(fetches, feeds)
                found[name] = time.perf_counter() - before
    return found


def serve(tf: Any, version: str, plan: Callable[[Any, Any, Any], object] | None = None) -> None:
    """Obey; each order builds a graph anew. ``plan(session, fetches, feeds)`` is timed where it can be by itself."""

    def build(shape: str, operations: int) -> dict[str, Any]:
        return parts(tf, shape, operations, plan)

    worker.serve(worker.arguments().address, 0, {"version": version}, {"build": build})
