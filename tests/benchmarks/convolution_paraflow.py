"""Convolutions under paraflow: the kernels that plans call, and training steps of a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import convolution_data as data
import numpy as np
import worker

import paraflow as pf
from paraflow.kernels.numpy import KERNELS
from paraflow.ops.pooling import window_max

options = worker.arguments()
worker.pin(0, 1)
SAME = {"strides": (1, 1), "padding": "SAME", "dilations": (1, 1)}
POOL = {"window": (2, 2), "strides": (2, 2), "padding": "VALID"}


def call(what: str, layer: list[int]) -> Callable[[], Any]:
    x, w, dy = data.arrays(layer)
    y = window_max.body(dy, **POOL)
    name, inputs, shape = {
        "forward": ("convolution", (x, w), dy.shape),
        "input gradient": ("convolution_input_gradient", (w, dy, np.array(x.shape)), x.shape),
        "filter gradient": ("convolution_filter_gradient", (x, dy, np.array(w.shape)), w.shape),
        "pool": ("window_max", (dy,), y.shape),
        "pool gradient": ("to_largest", (dy, y, y), dy.shape),
    }[what]
    kernel, out = KERNELS[name].bind(POOL if what.startswith("pool") else SAME), np.empty(shape, np.float32)

    def run() -> Any:
        kernel(*inputs, out)
        return out

    return run


def step(samples: int) -> Callable[[], float]:
    """A training step of the network, which returns the loss."""
    images, labels = data.batch(samples)
    with pf.Graph().as_default():
        x, y = pf.placeholder(pf.float32, images.shape), pf.placeholder(pf.int32, labels.shape)
        h: Any = x
        for number, weight in enumerate(data.initial_weights()):
            w = pf.Variable(weight)
            b = pf.Variable(np.zeros(weight.shape[-1], np.float32))
            if number < 2:
                h = pf.nn.max_pool(pf.nn.relu(pf.nn.bias_add(pf.nn.conv2d(h, w, 1, "SAME"), b)), 2, 2, "VALID")
                continue
            h = pf.nn.xw_plus_b(pf.layers.flatten(h) if number == 2 else pf.nn.relu(h), w, b)
        loss = pf.losses.sparse_softmax_cross_entropy(y, h)
        train = pf.train.AdamOptimizer(data.LEARNING_RATE).minimize(loss)
        session = pf.Session()
        session.run(pf.global_variables_initializer())
        run = session.make_callable([loss, train], [x, y])
    return lambda: float(run(images, labels)[0])


def seconds(what: str, layer: list[int], calls: int) -> dict[str, Any]:
    """The best time of ``calls`` calls, and a sum over the result to compare."""
    run = step(layer[0]) if what == "step" else call(what, layer)
    run()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "sum": float(np.abs(result).sum(dtype=float))}


about = {"version": f"paraflow {version('paraflow')}, numpy {np.__version__}"}
worker.serve(options.address, 0, about, {"seconds": seconds})
