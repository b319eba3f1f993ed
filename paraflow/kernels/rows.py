"""Softmax and cross entropies some rows at a time, which stay in the core's own cache through all of their passes.

The numbers of each row depend on that row alone, so the bits are those of the bodies (paraflow/ops/nn.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from paraflow.graph.dtypes import is_short
from paraflow.kernels.sources import by_body
from paraflow.ops import nn
from paraflow.ops.gathering import check_indices

Array = np.ndarray[Any, Any]

BLOCK = 1 << 14  # elements


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The same rows of all arrays, [rows, ...] each, of which the first is the longest."""
    step = max(1, BLOCK // arrays[0].shape[1])
    for start in range(0, len(arrays[0]), step):
        yield tuple(a[start : start + step] for a in arrays)


def _rows(*arrays: Array) -> list[Array] | None:
    """The arrays as matrices of the rows of their last axis; None where the body does as well or has to do it."""
    x = arrays[0]
    if x.size <= BLOCK or is_short(x.dtype) or not all(a.flags.c_contiguous for a in arrays):
        return None
    return [a.reshape(-1, x.shape[-1]) for a in arrays]


def _last(axis: int, x: Array) -> bool:
    return axis in (-1, x.ndim - 1)


def _less_largest(x: Array, y: Array) -> None:
    np.subtract(x, np.max(x, axis=-1, keepdims=True, initial=-np.inf), out=y)


def softmax(x: Array, axis: int, y: Array) -> None:
    """The result of `paraflow.ops.nn.softmax`, in ``y``."""
    rows = _rows(x, y) if _last(axis, x) else None
    if rows is None:
        by_body(nn.softmax, (x,), (axis,), (y,))
        return
    for logits, p in _blocks(*rows):
        _less_largest(logits, p)
        np.exp(p, out=p)
        np.divide(p, np.sum(p, axis=-1, keepdims=True), out=p)


def sparse_softmax_cross_entropy(x: Array, labels: Array, loss: Array, p: Array) -> None:
    """The results of `paraflow.ops.nn.sparse_softmax_cross_entropy`, in the last two."""
    rows = _rows(x, p)
    if rows is None or not loss.flags.c_contiguous:
        by_body(nn.sparse_softmax_cross_entropy, (x, labels), (), (loss, p))
        return
    check_indices(labels, x.shape[-1], "labels")
    columns = (labels.reshape(-1, 1), loss.reshape(-1, 1))
    for logits, y, label, out in _blocks(*rows, *columns):
        _less_largest(logits, y)
        at_label = np.take_along_axis(y, label, -1)
        np.exp(y, out=y)
        total = np.sum(y, axis=-1, keepdims=True)
        np.divide(y, total, out=y)
        np.subtract(np.log(total), at_label, out=out)


def softmax_cross_entropy(x: Array, labels: Array, axis: int, loss: Array, p: Array) -> None:
    """The results of `paraflow.ops.nn.softmax_cross_entropy`, in the last two."""
    same = x.shape == labels.shape and _last(axis, x) and loss.flags.c_contiguous
    rows = _rows(x, labels, p) if same else None
    if rows is None:
        by_body(nn.softmax_cross_entropy, (x, labels), (axis,), (loss, p))
        return
    scores = np.empty((max(1, BLOCK // x.shape[-1]), x.shape[-1]), x.dtype)
    for logits, label, y, out in _blocks(*rows, loss.reshape(-1, 1)):
        score = scores[: len(logits)]
        _less_largest(logits, score)
        np.exp(score, out=y)
        total = np.sum(y, axis=-1, keepdims=True)
        np.divide(y, total, out=y)
        np.subtract(np.log(total), score, out=score)
        np.sum(np.multiply(label, score, out=score), axis=-1, out=out[:, 0])
    if not np.all(np.isfinite(loss)):
        by_body(nn.softmax_cross_entropy, (x, labels), (axis,), (loss, p))  # which looks closer


def subtract_one_hot(p: Array, labels: Array, out: Array) -> None:
    """The result of `paraflow.ops.nn.subtract_one_hot`, in ``out``, which may be ``p``."""
    if not out.flags.c_contiguous:
        by_body(nn.subtract_one_hot, (p, labels), (), (out,))
        return
    if out.ctypes.data != p.ctypes.data:
        np.copyto(out, p)
    out.reshape(-1)[nn.label_places(labels, out)] -= 1
