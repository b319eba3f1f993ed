"""Softmax and the cross entropy of class numbers, in the memory of their results; for the bodies see ops/nn.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.graph.dtypes import is_short
from paraflow.kernels.sources import by_body
from paraflow.ops import nn
from paraflow.ops.gathering import check_indices

Array = np.ndarray[Any, Any]


def softmax(x: Array, axis: int, y: Array) -> None:
    """The result of `paraflow.ops.nn.softmax`, in ``y``."""
    if is_short(x.dtype):
        by_body(nn.softmax, (x,), (axis,), (y,))
        return
    nn.shifted(x, axis, y)
    np.exp(y, out=y)
    np.divide(y, np.sum(y, axis=axis, keepdims=True), out=y)


def sparse_softmax_cross_entropy(x: Array, labels: Array, loss: Array, p: Array) -> None:
    """The results of `paraflow.ops.nn.sparse_softmax_cross_entropy`, in the last two."""
    if is_short(x.dtype) or not p.flags.c_contiguous:
        by_body(nn.sparse_softmax_cross_entropy, (x, labels), (), (loss, p))
        return
    check_indices(labels, x.shape[-1], "labels")
    nn.shifted(x, -1, p)
    at_label = p.reshape(-1)[nn.label_places(labels, p)]
    np.exp(p, out=p)
    total = np.sum(p, axis=-1, keepdims=True)
    np.divide(p, total, out=p)
    np.subtract(np.log(total[..., 0]), at_label, out=loss)


def subtract_one_hot(p: Array, labels: Array, out: Array) -> None:
    """The result of `paraflow.ops.nn.subtract_one_hot`, in ``out``, which may be ``p``."""
    if not out.flags.c_contiguous:
        by_body(nn.subtract_one_hot, (p, labels), (), (out,))
        return
    if out.ctypes.data != p.ctypes.data:
        np.copyto(out, p)
    out.reshape(-1)[nn.label_places(labels, out)] -= 1
