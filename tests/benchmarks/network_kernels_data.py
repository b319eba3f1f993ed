"""The cases of network_kernels.py, the same for every side; images have the channels last here."""

from __future__ import annotations

from typing import Any

import numpy as np

PARTS = ("forward", "with gradients")
EPSILON = {"batch_norm": 1e-5, "layer_norm": 1e-12}
# Operation, shape of the input, window, stride, outputs (for a depthwise convolution, of each channel).
# Sizes are such that "SAME" padding is the same before and after, which PyTorch's is always.
CASES: list[tuple[str, tuple[int, ...], int, int, int]] = [
    ("conv2d", (8, 32, 32, 32), 3, 1, 64),
    ("conv2d", (8, 55, 55, 32), 3, 2, 64),
    ("depthwise_conv2d", (8, 32, 32, 64), 3, 1, 1),
    ("depthwise_conv2d", (8, 55, 55, 64), 3, 2, 1),
    ("depthwise_conv2d", (8, 28, 28, 24), 5, 1, 1),
    ("depthwise_conv2d", (8, 32, 32, 16), 3, 1, 2),
    ("max_pool", (8, 32, 32, 64), 2, 2, 0),
    ("max_pool", (8, 55, 55, 64), 3, 2, 0),
    ("max_pool", (64, 28, 28, 6), 2, 2, 0),
    ("avg_pool", (8, 32, 32, 64), 2, 2, 0),
    ("avg_pool", (8, 55, 55, 64), 3, 2, 0),
    ("batch_norm", (8, 32, 32, 64), 0, 0, 0),
    ("layer_norm", (2048, 512), 0, 0, 0),
    ("softmax_cross_entropy", (1024, 1000), 0, 0, 0),
    ("sparse_softmax_cross_entropy", (1024, 1000), 0, 0, 0),
]


def title(case: tuple[str, tuple[int, ...], int, int, int]) -> str:
    """A case for readers."""
    name, shape, window, stride, outputs = case
    text = f"{name} {' x '.join(map(str, shape))}"
    if window:
        text += f", {window} x {window}" + (f" / {stride}" if stride > 1 else "")
    return text + (f" to {outputs * (shape[-1] if name.startswith('depth') else 1)}" if outputs else "")


def result_shape(case: tuple[str, tuple[int, ...], int, int, int]) -> tuple[int, ...]:
    """The shape of the result, "SAME" padding."""
    name, shape, _, stride, outputs = case
    if name.endswith("entropy"):
        return shape[:1]
    if not stride:
        return shape
    channels = shape[-1] * (outputs or 1) if name != "conv2d" else outputs
    return (shape[0], *(-(-n // stride) for n in shape[1:-1]), channels)


def arrays(number: int, share: int) -> tuple[list[Any], Any]:
    """The inputs of a case that have gradients, those that have none (labels), and the cotangent of the result.

    What comes after the input is a filter [height, width, channels, outputs], scale and offset, or labels.
    """
    name, shape, window, stride, outputs = CASES[number]
    shape = (-(-shape[0] // share), *shape[1:])
    rng = np.random.default_rng(number)

    def normal(*sizes: int) -> Any:
        return rng.normal(size=sizes).astype(np.float32)

    given = [normal(*shape)]
    if outputs:
        given.append(normal(window, window, shape[-1], outputs))
    elif name == "layer_norm":  # which makes them
        given += [np.ones(shape[-1], np.float32), np.zeros(shape[-1], np.float32)]
    elif name.endswith("norm"):
        given += [normal(shape[-1]), normal(shape[-1])]
    elif name == "softmax_cross_entropy":
        labels = rng.random(shape).astype(np.float32)
        given.append(labels / labels.sum(-1, keepdims=True))
    elif name.endswith("entropy"):
        given.append(rng.integers(0, shape[-1], shape[0]).astype(np.int32))
    return given, normal(*result_shape((name, shape, window, stride, outputs)))
