"""The model and the samples that all sides of the training benchmark share; numpy only."""

from __future__ import annotations

import gzip
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 0.001
POOL = 8  # different global batches, fed in turn


def initial_weights(layers: list[int]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """(weights [inputs, outputs], zero biases [outputs]) of each layer, Glorot uniform, float32."""
    random = np.random.RandomState(1)
    weights = []
    for inputs, outputs in pairwise(layers):
        limit = np.sqrt(6 / (inputs + outputs))
        values = random.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
        weights.append((values, np.zeros(outputs, np.float32)))
    return weights


def shards(layers: list[int], batch: int, rank: int, ranks: int) -> list[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """This rank's part (features, labels) of each global batch of random samples."""
    random = np.random.RandomState(2)
    parts = []
    for _ in range(POOL):
        features = random.rand(batch, layers[0]).astype(np.float32)
        labels = random.randint(0, layers[-1], batch).astype(np.int32)
        parts.append((np.array_split(features, ranks)[rank].copy(), np.array_split(labels, ranks)[rank].copy()))
    return parts


def read_fashion_mnist(folder: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The training samples in ``folder``: features [60000, 784] in 0..1 and labels [60000]."""
    images = _idx(Path(folder) / "train-images-idx3-ubyte")
    labels = _idx(Path(folder) / "train-labels-idx1-ubyte")
    return images.reshape(len(images), -1).astype(np.float32) / 255, labels.astype(np.int64)


def _idx(path: Path) -> NDArray[np.uint8]:
    content = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())
    rank = content[3]
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
