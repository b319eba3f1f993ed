"""The IDX reader against files written from the format's description, whole and damaged."""

import gzip
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraflow.data import read_idx
from paraflow.errors import DataError

TYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 0, 3), (2, 3, 4), ()])
@pytest.mark.parametrize("dtype", TYPES)
def test_reads_every_type_and_rank(path, idx_bytes, dtype, shape, packed):
    array = (np.random.default_rng(1).standard_normal(shape) * 50).astype(np.int8).astype(dtype)
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if packed else content)
    read = read_idx(path)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)
    with pytest.raises(ValueError, match="read-only"):
        read[...] = 0


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_every_truncation_is_an_error(path, idx_bytes, dtype, packed):
    content = idx_bytes(np.arange(6, dtype=dtype).reshape(2, 3))
    content = gzip.compress(content) if packed else content
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=f"{path}: .*(truncated|not an IDX file)"):
            read_idx(path)


@given(position=st.integers(0, 10**6), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=300)
def test_gzip_damage_is_an_error_or_harmless(path, idx_bytes, position, flip):
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    content = bytearray(gzip.compress(idx_bytes(array)))
    content[position % len(content)] ^= flip
    path.write_bytes(content)
    with suppress(DataError):
        np.testing.assert_array_equal(read_idx(path), array)


@given(content=st.binary(max_size=40))
@settings(deadline=None)
def test_noise_after_a_magic_number_is_an_error_or_an_array_of_that_many_bytes(path, content):
    content = b"\0\0\x08" + content
    path.write_bytes(content)
    with suppress(DataError):
        read = read_idx(path)
        assert read.nbytes == len(content) - 4 - 4 * read.ndim


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated IDX file: 0 bytes"),
        (b"\0\0\x08\x02\0\0\0\x05\0\0", "truncated IDX file: 10 bytes, its header alone has 12"),
        (b"\0\0\x08\x01\0\0\0\x05abcd", r"truncated IDX file: 12 bytes, uint8 \[5\] takes 13"),
        (b"\0\0\x08\x01\0\0\0\x05abcdef", r"corrupt IDX file: 14 bytes, uint8 \[5\] takes 13"),
        (b"\0\0\x0a\x01\0\0\0\x01a", "not an IDX file: it begins with 00 00 0a 01"),
        (b"\x89PNG\r\n", "not an IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x08\x03" + struct.pack(">III", 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"x", "truncated IDX file"),
        (b"\0\0\x08\x46" + b"\0\0\0\1" * 70 + b"x", "corrupt IDX file: 70 dimensions"),
        (b"\0\0\x08\x04" + struct.pack(">IIII", 0, *[2**32 - 1] * 3), "corrupt IDX file: 4 dimensions"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05abcd"), "truncated IDX file: 12 bytes"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x01a") + b"more", "corrupt gzip file"),
    ],
)
def test_the_fault_is_named(path, content, message):
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}: {message}"):
        read_idx(path)


def test_a_path_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}/none: cannot be read: No such file or directory"):
        read_idx(tmp_path / "none")
    with pytest.raises(DataError, match=f"{tmp_path}: cannot be read: Is a directory"):
        read_idx(tmp_path)
