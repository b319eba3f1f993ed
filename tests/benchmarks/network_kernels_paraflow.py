"""Operations of convolutional networks under paraflow, as graphs have them; the setting is the ``data_format``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import worker

options = worker.arguments()
worker.pin(0, 1)

import network_kernels_data as data  # noqa: E402 (numpy must come after the pinning)
import numpy as np  # noqa: E402

import paraflow as pf  # noqa: E402

FORMAT, SHARE = options.settings["data_format"], options.settings["share"]


def in_format(array: Any) -> Any:
    """Images, which have the channels last, in the format."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 and FORMAT == "NCHW" else array


def result(number: int, x: Any, *others: Any) -> Any:
    """The operation of a case."""
    name, _, window, stride, _ = data.CASES[number]
    if name == "batch_norm":
        return pf.nn.fused_batch_norm(x, *others, epsilon=data.EPSILON[name], data_format=FORMAT)[0]
    if name == "layer_norm":
        return pf.layers.layer_norm(x)
    if name == "softmax_cross_entropy":
        return pf.nn.softmax_cross_entropy_with_logits(labels=others[0], logits=x)
    if name == "sparse_softmax_cross_entropy":
        return pf.nn.sparse_softmax_cross_entropy_with_logits(labels=others[0], logits=x)
    operation = getattr(pf.nn, name)
    return operation(x, *(others or [window]), stride, "SAME", data_format=FORMAT)


@functools.cache
def runs(number: int, part: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What runs a part of a case, and what fetches its results too."""
    given, dy = data.arrays(number, SHARE)
    given[0], dy = in_format(given[0]), in_format(dy)
    with_gradients = 1 if data.CASES[number][0].endswith("entropy") else len(given)
    with pf.Graph().as_default():
        inputs = [pf.Variable(array, trainable=False).value() for array in (*given, dy)]
        outputs = [result(number, *inputs[:-1])]
        if part != "forward":
            own = pf.trainable_variables()
            trained = [inputs[0], *own] if own else inputs[:with_gradients]
            outputs += pf.gradients(outputs[0], trained, [inputs[-1]])
        session = pf.Session(threads=1)
        session.run(pf.global_variables_initializer())
        return session.make_callable([t.op for t in outputs]), session.make_callable(outputs)


def seconds(number: int, part: str, calls: int) -> dict[str, Any]:
    """The best time of ``calls`` calls, and a sum over the results to compare."""
    run, fetch = runs(number, part)
    run()
    times = worker.timed(lambda _: run(), calls)
    return {"seconds": min(times), "sum": sum(float(np.abs(y).sum(dtype=float)) for y in fetch())}


about = {"version": f"paraflow {version('paraflow')}, numpy {np.__version__}"}
worker.serve(options.address, 0, about, {"seconds": seconds})
