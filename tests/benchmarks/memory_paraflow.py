"""Memory of a training step under paraflow."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import memory_data as data
import worker

options = worker.arguments()
worker.pin(0, 1)
model = options.settings["model"]

import numpy as np  # noqa: E402 (it must come after the pinning)

import paraflow as pf  # noqa: E402


def build() -> tuple[Any, Any, list[Any]]:
    """The loss, the training step and what is fed."""
    features, labels = data.batch(model)
    x, y = pf.placeholder(pf.float32, features.shape), pf.placeholder(pf.int32, labels.shape)
    h: Any = x
    found = data.weights(model)
    for number, weight in enumerate(found):
        w, b = pf.Variable(weight), pf.Variable(np.zeros(weight.shape[-1], np.float32))
        if weight.ndim == 4:
            h = pf.nn.max_pool(pf.nn.relu(pf.nn.bias_add(pf.nn.conv2d(h, w, 1, "SAME"), b)), 2, 2, "VALID")
            continue
        h = pf.nn.xw_plus_b(pf.layers.flatten(h), w, b)
        h = pf.nn.relu(h) if number < len(found) - 1 else h
    loss = pf.losses.sparse_softmax_cross_entropy(y, h)
    return loss, pf.train.AdamOptimizer(data.LEARNING_RATE).minimize(loss), [x, y]


def train() -> dict[str, Any]:
    """Some steps; the memory that they took above what there was after the import."""
    before = data.resident()
    loss, step, places = build()
    features, labels = data.batch(model)
    with pf.Session(threads=1) as session:
        session.run(pf.global_variables_initializer())
        run = session.make_callable([loss, step], places)
        for _ in range(data.STEPS):
            last = float(run(features, labels)[0])
        planned = sum(loaded.executable.plan.arena_bytes for loaded in session._plans.values())
        variables = sum(array.nbytes for _, array in session.store.items())
    return {"bytes": data.resident(True) - before, "loss": last, "arena": planned, "variables": variables}


worker.serve(options.address, 0, {"version": f"paraflow {version('paraflow')}"}, {"train": train})
