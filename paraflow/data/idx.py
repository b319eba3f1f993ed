"""The IDX format of MNIST and its relatives.

A file is two zero bytes, one byte for the type, one for the number of dimensions, the dimensions as big-endian
unsigned 32-bit integers, and the items in C order, big-endian (Y. LeCun, "The MNIST database", file formats).
"""

import gzip
import zlib
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paraflow.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | PathLike[str]) -> NDArray[Any]:
    """Read one IDX file, plain or gzip-compressed, whatever its name says.

    Returns a read-only array in the machine's byte order, of the file's shape and type: uint8, int8, int16, int32,
    float32 or float64. Raises DataError, naming the file and what is wrong, if it cannot be read, is truncated or
    corrupt, has another format, or holds more or fewer bytes than its header says.
    """
    content = _read(Path(path))
    if len(content) < 4:
        raise DataError(f"{path}: truncated IDX file: {len(content)} bytes, the header has at least 4")
    zeros, code, ndim = content[:2], content[2], content[3]
    if zeros != b"\0\0" or code not in _TYPES:
        raise DataError(f"{path}: not an IDX file: it begins with {content[:4].hex(' ')}, not 00 00 and a type code")
    header = 4 + 4 * ndim
    if len(content) < header:
        raise DataError(f"{path}: truncated IDX file: {len(content)} bytes, its header alone has {header}")
    shape = tuple(int(d) for d in np.frombuffer(content, ">u4", ndim, offset=4))
    dtype = np.dtype(_TYPES[code])
    expected = header + prod(shape) * dtype.itemsize
    if len(content) != expected:
        fault = "truncated IDX file" if len(content) < expected else "corrupt IDX file"
        raise DataError(f"{path}: {fault}: {len(content)} bytes, {dtype.name} {list(shape)} takes {expected}")
    try:
        items = np.frombuffer(content, dtype, offset=header).reshape(shape)
    except ValueError as error:  # more dimensions than numpy has, or none of them small enough
        raise DataError(f"{path}: corrupt IDX file: {ndim} dimensions {list(shape)}: {error}") from error
    array = items.astype(dtype.newbyteorder("="), copy=False)
    array.flags.writeable = False
    return array


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except EOFError as error:
        raise DataError(f"{path}: truncated gzip file; get it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: corrupt gzip file ({error}); get it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
