"""The files of the Debian package dataset-fashion-mnist; not collected where they are not installed.

With PARAFLOW_TEST_DATA=required they are collected all the same, and their absence fails.
"""

import hashlib

import numpy as np
import pytest

from paraflow.data import Batches, load


@pytest.fixture(scope="module")
def parts():
    return load("fashion_mnist")


def test_all_images_are_there(parts):
    for part, n in zip(parts, (60_000, 10_000), strict=True):
        assert (part.features.shape, part.features.dtype) == ((n, 784), np.float32)
        assert (part.features.min(), part.features.max()) == (0, 1)
        assert np.bincount(part.labels).tolist() == [n // 10] * 10  # balanced, as its authors state
    assert parts[0].labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]


def test_the_ranks_of_a_world_of_three_share_an_epoch(parts):
    train = parts[0]
    seen = np.zeros(10, int)
    whole, ranks = hashlib.sha256(), hashlib.sha256()
    for batch in Batches(train, 500, seed=4).epoch(1):
        seen += np.bincount(batch["labels"], minlength=10)
        whole.update(batch["features"].tobytes())
    for together in zip(*(Batches(train, 500, rank, 3, seed=4).epoch(1) for rank in range(3)), strict=True):
        for batch in together:
            ranks.update(batch["features"].tobytes())
    assert seen.tolist() == [6000] * 10
    assert whole.hexdigest() == ranks.hexdigest()
