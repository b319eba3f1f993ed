"""Softmax and the cross entropies, in the memory of their results; for the bodies see ops/nn.py.

Along the last axis some rows at a time, which stay in the core's cache, go through all that is done to them: by
compiled loops, where there is a C compiler (see softmax.c), and numpy's exponentials and logarithms. The bits are
those of the bodies, which do the work otherwise.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from paraflow.graph.dtypes import is_short
from paraflow.kernels.sources import by_body, call, usable
from paraflow.ops import nn
from paraflow.ops.gathering import check_indices
from paraflow.ops.reduce import sums_in_lanes

Array = np.ndarray[Any, Any]

COMPILE_FROM = 1 << 14  # elements; below, a compilation (0.2 s, once in a machine's life) is not worth it
BLOCK = 1 << 16  # elements of the rows that are worked on at a time


def _compiled(x: Array, axis: int, *others: Array) -> ctypes.CDLL | None:
    rows_summed = sums_in_lanes(x, axis) and all(a.flags.c_contiguous for a in others)
    return usable(("lanes.c", "softmax.c"), (x, *others), COMPILE_FROM) if rows_summed else None


def _matrix(x: Array) -> Array:
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The same rows of each of the arrays, the first a matrix, some at a time."""
    rows, n = arrays[0].shape
    step = max(1, BLOCK // n)
    return (tuple(a[row : row + step] for a in arrays) for row in range(0, rows, step))


def softmax(x: Array, axis: int, y: Array) -> None:
    """The result of `paraflow.ops.nn.softmax`, in ``y``."""
    library = _compiled(x, axis, y)
    if library is not None:
        _softmax(library, x, y)
    elif is_short(x.dtype):
        by_body(nn.softmax, (x,), (axis,), (y,))
    else:
        nn.shifted(x, axis, y)
        np.exp(y, out=y)
        nn.divide_by_sums(y, axis)


def _softmax(library: ctypes.CDLL, x: Array, p: Array) -> tuple[Array, Array]:
    """Writes the softmax to ``p``; returns the largest element and the sum of exponentials of each row."""
    rows = _matrix(x)
    largest, total = np.empty((2, len(rows)), x.dtype)
    for of, to, most, level in _blocks(rows, _matrix(p), largest, total):
        call(library.shift, *of.shape, to, most, of)
        np.exp(to, to)
        call(library.divide_by_sums, *of.shape, to, level)
    return largest, total


def log_softmax(x: Array, axis: int, y: Array) -> None:
    """The result of `paraflow.ops.nn.log_softmax`, in ``y``."""
    library = _compiled(x, axis, y)
    if library is None:
        by_body(nn.log_softmax, (x,), (axis,), (y,))
        return
    rows, scratch = _matrix(x), _scratch(x)
    largest, total = np.empty((2, len(rows)), x.dtype)
    for of, to, most, level in _blocks(rows, _matrix(y), largest, total):
        call(library.shift, *of.shape, to, most, of)
        call(library.sums, *of.shape, level, np.exp(to, scratch[: len(to)]))
        to -= np.log(level, level)[:, None]


def softmax_cross_entropy(x: Array, labels: Array, axis: int, loss: Array, p: Array) -> None:
    """The results of `paraflow.ops.nn.softmax_cross_entropy`, in the last two."""
    library = _compiled(x, axis, loss, p)
    if library is None:
        by_body(nn.softmax_cross_entropy, (x, labels), (axis,), (loss, p))
        return
    rows, scores = _matrix(x), _scratch(x)
    largest, total = np.empty((2, len(rows)), x.dtype)
    for of, to, most, level, weights, result in _blocks(
        rows, _matrix(p), largest, total, _matrix(labels), loss.reshape(-1)
    ):
        call(library.shift, *of.shape, scores, most, of)
        np.exp(scores[: len(to)], to)
        call(library.divide_by_sums, *of.shape, to, level)
        call(library.cross_entropies, *of.shape, result, np.log(level, level), scores, weights)


def _scratch(x: Array) -> Array:
    """Memory for a block of rows."""
    return np.empty((max(1, BLOCK // x.shape[-1]), x.shape[-1]), x.dtype)


def sparse_softmax_cross_entropy(x: Array, labels: Array, loss: Array, p: Array) -> None:
    """The results of `paraflow.ops.nn.sparse_softmax_cross_entropy`, in the last two."""
    library = _compiled(x, -1, p)
    if library is None and (is_short(x.dtype) or not p.flags.c_contiguous):
        by_body(nn.sparse_softmax_cross_entropy, (x, labels), (), (loss, p))
        return
    check_indices(labels, x.shape[-1], "labels")
    places = nn.label_places(labels, p)
    if library is not None:
        largest, total = (a.reshape(loss.shape) for a in _softmax(library, x, p))
        at_label = _matrix(x).reshape(-1)[places] - largest
    else:
        nn.shifted(x, -1, p)
        at_label = p.reshape(-1)[places]
        np.exp(p, out=p)
        total = nn.divide_by_sums(p, -1)[..., 0]
    np.subtract(np.log(total), at_label, out=loss)


def subtract_one_hot(p: Array, labels: Array, out: Array) -> None:
    """The result of `paraflow.ops.nn.subtract_one_hot`, in ``out``, which may be ``p``."""
    if not out.flags.c_contiguous:
        by_body(nn.subtract_one_hot, (p, labels), (), (out,))
        return
    if out.ctypes.data != p.ctypes.data:
        np.copyto(out, p)
    out.reshape(-1)[nn.label_places(labels, out)] -= 1
