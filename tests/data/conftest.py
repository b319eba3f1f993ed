import gzip
import os
import struct

import numpy as np
import pytest

from paraflow.data.sources import find_idx_directory
from paraflow.errors import DataError

IDX_CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}

collect_ignore = []
try:
    find_idx_directory("fashion_mnist")
except DataError:
    if os.environ.get("PARAFLOW_TEST_DATA") != "required":
        collect_ignore.append("test_fashion_mnist_files.py")


def to_idx(array: np.ndarray) -> bytes:
    """The IDX bytes of an array, written from the format's description with struct alone."""
    header = struct.pack(">BBBB", 0, 0, IDX_CODES[array.dtype.name], array.ndim)
    dimensions = struct.pack(f">{array.ndim}I", *array.shape)
    return header + dimensions + struct.pack(f">{array.size}{array.dtype.char}", *array.ravel().tolist())


@pytest.fixture(scope="session")
def idx_bytes():
    return to_idx


@pytest.fixture
def idx_set(tmp_path):
    """A directory with a small image set in the layout of Fashion-MNIST: 30 + 12 images, half of the files gzipped."""
    rng = np.random.default_rng(7)
    for part, n in (("train", 30), ("t10k", 12)):
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(to_idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(to_idx(labels))
    return tmp_path
