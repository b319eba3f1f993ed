"""Kernels written in C beside this file, compiled for a type of floats when first needed, and numpy beside them."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paraflow.graph.record import OpRecord, body_of
from paraflow.native import load

Array = np.ndarray[Any, Any]

# By dtype: the type in C, and the integer of its size.
_TYPES = {"float32": ("float", "int"), "float64": ("double", "long long")}


def usable(files: tuple[str, ...], arrays: Sequence[Array], compile_from: int, kind: int = 0) -> ctypes.CDLL | None:
    """The functions of C files, read as one, for inputs and, as the last, output; None where numpy has to do the work.

    That is so without a compiler, for other dtypes, and where no array has ``compile_from`` elements. In the files T is
    the type of the elements, I an integer of its size, KIND the ``kind``.
    """
    dtype, sizes = arrays[0].dtype, [a.size for a in arrays]
    if dtype.name not in _TYPES or max(sizes) < compile_from or not min(sizes) or not arrays[-1].flags.c_contiguous:
        return None
    return _library(files, dtype.name, kind)


@functools.cache
def _library(files: tuple[str, ...], dtype: str, kind: int) -> ctypes.CDLL | None:
    text = "".join(Path(__file__).with_name(file).read_text(encoding="utf-8") for file in files)
    number, integer = _TYPES[dtype]
    return load(f"#define T {number}\n#define I {integer}\n#define KIND {kind}\n{text}")


def call(function: Callable[..., None], *arguments: Any) -> None:
    """Call with numbers as they are, long or double, and with arrays, which have to be contiguous, by address."""
    function(*map(_argument, arguments))


def _argument(value: Any) -> Any:
    if isinstance(value, float):
        return ctypes.c_double(value)
    return ctypes.c_long(int(value)) if isinstance(value, int) else ctypes.c_void_p(value.ctypes.data)


def by_body(record: OpRecord, inputs: Sequence[Array], attributes: Sequence[Any], outputs: Sequence[Array]) -> None:
    """What the record's body returns, in ``outputs``."""
    body = body_of(record, [x.dtype for x in inputs], [y.dtype for y in outputs])
    result = body(*inputs, **dict(zip(record.attributes, attributes, strict=True)))
    for out, part in zip(outputs, result if isinstance(result, tuple) else (result,), strict=True):
        np.copyto(out, part, casting="same_kind")
