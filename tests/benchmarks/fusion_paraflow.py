"""Chains of elementwise operations under paraflow; settings: ``fuse``, and ``by_hand`` (GELU made of primitives)."""

from __future__ import annotations

import math
import time
from typing import Any

import fusion_data as data
import worker

options = worker.arguments()
worker.pin(0, 1)

import numpy as np  # noqa: E402 (it must come after the pinning)

import paraflow as pf  # noqa: E402


def gelu(x: Any) -> Any:
    if options.settings["by_hand"]:
        return 0.5 * x * (1.0 + pf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return pf.nn.gelu(x, approximate=True)


def normalised(x: Any, scale: Any, shift: Any) -> Any:
    mean, variance = pf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) * pf.rsqrt(variance + data.EPSILON) * scale + shift


def build() -> dict[str, list[Any]]:
    variables = [pf.Variable(array, trainable=False) for array in data.inputs()]
    x, dy, scale, shift, labels = (v.value() for v in variables)
    layer = normalised(x, scale, shift)
    loss = pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x)
    chain = pf.nn.relu(pf.nn.dropout(x * scale + shift, rate=data.RATE)) * dy
    results = [
        [gelu(x)],
        [gelu(x), *pf.gradients(gelu(x), [x], [dy])],
        [layer, *pf.gradients(layer, [x, scale, shift], [dy])],
        [loss, *pf.gradients(loss, [x])],
        [chain],
    ]
    return dict(zip(data.CASES, results, strict=True))


outputs = build()
session = pf.Session(threads=1, compiler=pf.CompilerOptions(disable=[] if options.settings["fuse"] else ["fuse"]))
session.run(pf.global_variables_initializer())
runs = {case: [tensor.op for tensor in tensors] for case, tensors in outputs.items()}


def seconds(case: str, calls: int) -> dict[str, Any]:
    session.run(runs[case])
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        session.run(runs[case])
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "sum": float(abs(session.run(outputs[case])[-1]).sum())}


worker.serve(options.address, 0, {"version": f"paraflow, numpy {np.__version__}"}, {"seconds": seconds})
