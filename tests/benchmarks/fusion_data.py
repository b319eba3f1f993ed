"""What the sides of fusion.py compute with."""

from __future__ import annotations

import numpy as np

SHAPE = (512, 2048)  # float32, 4 MiB
CASES = ("GELU", "GELU and gradient", "layer norm and gradient", "cross entropy and gradient", "dropout chain")
RATE = 0.1
EPSILON = 1e-5


def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features and a cotangent [rows, columns], scale and shift [columns], and a class [rows]."""
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, *SHAPE), np.float32)
    scale, shift = rng.standard_normal((2, SHAPE[1]), np.float32)
    return x, dy, scale, shift, rng.integers(0, SHAPE[1], SHAPE[0]).astype(np.int32)
