"""Arrays in few words, as TensorFlow's Print and Assert write them."""

from __future__ import annotations

from typing import Any

import numpy as np


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


def _element(value: Any) -> str:
    if isinstance(value, np.bool_):
        return str(int(value))
    if isinstance(value, np.floating):
        few, all_ = (15, 17) if value.dtype == np.float64 else (6, 9)
        short = f"{float(value):.{few}g}"
        return short if value.dtype.type(float(short)) == value else f"{float(value):.{all_}g}"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
