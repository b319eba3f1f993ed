"""The models of memory.py, the same for every side."""

from __future__ import annotations

import numpy as np

LEARNING_RATE = 0.001
STEPS = 4
WIDTH, DEPTH, SAMPLES = 512, 20, 4096  # of the perceptron
CHANNELS, PICTURES = (32, 64), 256  # of the convolutional network: 3 x 3 (SAME), relu, pooled 2 x 2, then dense
MODELS = ("20-layer MLP", "convolutional network")


def batch(model: str) -> tuple[np.ndarray, np.ndarray]:
    """Features [samples, width] or pictures [samples, 28, 28, 1], and labels."""
    rng = np.random.default_rng(2)
    shape = (SAMPLES, WIDTH) if model == MODELS[0] else (PICTURES, 28, 28, 1)
    return rng.random(shape, np.float32), rng.integers(0, 10, shape[0]).astype(np.int32)


def weights(model: str) -> list[np.ndarray]:
    """Filters [3, 3, channels, outputs] and matrices [inputs, outputs]; biases begin at zero."""
    rng = np.random.default_rng(3)
    shapes: list[tuple[int, ...]] = [(WIDTH, WIDTH)] * (DEPTH - 1) + [(WIDTH, 10)]
    if model == MODELS[1]:
        shapes = [(3, 3, 1, CHANNELS[0]), (3, 3, *CHANNELS), (7 * 7 * CHANNELS[1], 128), (128, 10)]
    return [(rng.standard_normal(s, np.float32) * np.sqrt(2 / np.prod(s[:-1]))).astype(np.float32) for s in shapes]


def resident(peak: bool = False) -> int:
    """Bytes of memory that this process has, or has had at most (Linux)."""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmHWM" if peak else "VmRSS"].split()[0]) << 10
