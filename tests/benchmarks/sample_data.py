"""The samples of the sample program, as its user writes them, and its initial weights."""

from __future__ import annotations

from numpy.random import RandomState

BATCH_SIZE = 8
DATASET_SIZE = 128

X = RandomState(1).rand(DATASET_SIZE, 2)
Y = [[int(x1 + x2 < 1)] for (x1, x2) in X]

# What random_normal with seed 1 gives, for libraries that have other generators.
W1 = [[-0.8113182, 1.4845988, 0.06532937], [-2.4427042, 0.0992484, 0.5912243]]
W2 = [[-0.8113182], [1.4845988], [0.06532937]]


def bounds(i: int) -> tuple[int, int]:
    """Where the batch of step ``i`` starts and ends."""
    start = (i * BATCH_SIZE) % DATASET_SIZE
    return start, min(start + BATCH_SIZE, DATASET_SIZE)
