"""The network of recurrent.py, the same for every side."""

from __future__ import annotations

from typing import Any

import numpy as np

LEARNING_RATE, CLASSES = 0.001, 10


def batch(samples: int, steps: int, width: int) -> tuple[Any, Any]:
    """Sequences [samples, steps, width] and labels."""
    rng = np.random.default_rng(2)
    return rng.normal(size=(samples, steps, width)).astype(np.float32), rng.integers(0, CLASSES, samples).astype("i4")


def initial_weights(width: int, units: int) -> tuple[Any, Any]:
    """The LSTM's kernel [width + units, 4 units], of gates i, j, f and o, and the matrix [units, classes].

    Biases begin at zero, and the forget gate adds 1 to its own.
    """
    rng = np.random.default_rng(3)
    shapes = (width + units, 4 * units), (units, CLASSES)
    kernel, last = ((rng.normal(size=s) / np.sqrt(s[0])).astype(np.float32) for s in shapes)
    return kernel, last
