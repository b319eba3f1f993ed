"""Arrays in few words, as TensorFlow's Print, Assert and print write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.graph.dtypes import widened


def summarize(array: np.ndarray[Any, Any], count: int) -> str:
    """The first ``count`` elements, all where it is negative: ``1 2 3...``; a matrix as ``[1 2][3...]...``.

    As TensorFlow writes it: as few digits as say the number, 6 or 9 of single precision, 15 or 17 of double.
    """
    array = np.asarray(array)
    limit = array.size if count < 0 else count
    said = _axis(array, 0, limit) if array.ndim else "".join(map(_element, array.reshape(-1)[:limit]))
    return said + "..." * (array.size > limit)


def _axis(array: np.ndarray[Any, Any], depth: int, limit: int) -> str:
    """The first ``limit`` elements of an axis; ``depth`` axes are outside of it."""
    if array.ndim == 1:
        return " ".join(map(_element, array[:limit])) + "..." * (depth > 0 and len(array) > limit)
    rest = [limit - i * array[0].size for i in range(len(array))]
    return "".join(f"[{_axis(row, depth + 1, left)}]" for row, left in zip(array, rest, strict=True) if left > 0)


def edges(array: np.ndarray[Any, Any], count: int) -> str:
    """The first and the last ``count`` elements of each axis, all where it is negative: ``[1 2 3 ... 7 8 9]``."""
    return _edges(widened(np.asarray(array)), 0, count)


def _edges(array: np.ndarray[Any, Any], depth: int, count: int) -> str:
    if not array.ndim:
        return _element(array[()])
    short = 0 <= 2 * count < len(array)
    shown = [*array[:count], None, *array[len(array) - count :]] if short else array
    space = " " if array.ndim == 1 else "\n" * (array.ndim - 1) + " " * (depth + 1)
    return f"[{space.join('...' if row is None else _edges(np.asarray(row), depth + 1, count) for row in shown)}]"


def _element(value: Any) -> str:
    if isinstance(value, np.bool_):
        return str(int(value))
    if isinstance(value, np.floating):
        few, all_ = (15, 17) if value.dtype == np.float64 else (6, 9)
        short = f"{float(value):.{few}g}"
        return short if value.dtype.type(float(short)) == value else f"{float(value):.{all_}g}"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
