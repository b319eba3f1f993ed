"""The layers and the network of convolution.py, the same for every side; arrays have the channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

LEARNING_RATE = 0.001
# The network: channels of two convolutions of 5 x 5 (SAME, relu, pooled 2 x 2), then widths of dense layers.
CHANNELS, WIDTHS = (6, 16), (120, 84, 10)


def arrays(layer: list[int]) -> tuple[Any, Any, Any]:
    """Input, filter and cotangent of a convolution [n, size, channels, window, outputs], SAME, without strides."""
    n, size, channels, window, outputs = layer
    rng = np.random.default_rng(1)
    shapes = (n, size, size, channels), (window, window, channels, outputs), (n, size, size, outputs)
    x, w, dy = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return x, w, dy


def batch(samples: int) -> tuple[Any, Any]:
    """Images [samples, 28, 28, 1] and labels."""
    rng = np.random.default_rng(2)
    return rng.random((samples, 28, 28, 1), np.float32), rng.integers(0, 10, samples).astype(np.int32)


def initial_weights() -> list[Any]:
    """Filters [5, 5, channels, outputs], then matrices [inputs, outputs]; biases begin at zero."""
    rng = np.random.default_rng(3)
    shapes: list[tuple[int, ...]] = [(5, 5, 1, CHANNELS[0]), (5, 5, *CHANNELS)]
    inputs = 7 * 7 * CHANNELS[1]
    for width in WIDTHS:
        shapes.append((inputs, width))
        inputs = width
    return [(rng.normal(size=s) / np.sqrt(np.prod(s[:-1]))).astype(np.float32) for s in shapes]
