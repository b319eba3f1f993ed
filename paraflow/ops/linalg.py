"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.node import Tensor
from paraflow.graph.record import op
from paraflow.graph.shape import Spec, broadcast
from paraflow.ops.array import unbroadcast


def swapped(x: Any, swap: bool) -> Any:
    """``x`` with its last two axes exchanged when ``swap`` (a view)."""
    return np.swapaxes(x, -1, -2) if swap else x


@op(dtypes="numeric")
def matmul(a, b, transpose_a=False, transpose_b=False):
    """The matrix product of the last two axes; leading axes are a batch and broadcast."""
    return np.matmul(swapped(a, transpose_a), swapped(b, transpose_b))


@matmul.shape
def _(a: Spec, b: Spec, transpose_a: bool, transpose_b: bool) -> Spec:
    if a.shape is None or b.shape is None:
        return Spec(a.dtype, None)
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise GraphError("both operands need at least two dimensions")
    rows, inner_a = a.shape[:-3:-1] if transpose_a else a.shape[-2:]
    inner_b, columns = b.shape[:-3:-1] if transpose_b else b.shape[-2:]
    if None not in (inner_a, inner_b) and inner_a != inner_b:
        raise GraphError(f"the inner sizes {inner_a} and {inner_b} differ")
    batch = broadcast(a.shape[:-2], b.shape[:-2]) or ()
    return Spec(a.dtype, (*batch, rows, columns))


@matmul.gradient
def _(c: Tensor, dc: Tensor) -> tuple[Tensor, Tensor]:
    a, b = c.op.inputs
    ta, tb = c.op.attrs["transpose_a"], c.op.attrs["transpose_b"]
    da = matmul(b, dc, tb, True) if ta else matmul(dc, b, False, not tb)
    db = matmul(dc, a, True, ta) if tb else matmul(a, dc, not ta, False)
    return _unbatch(da, a), _unbatch(db, b)


def _unbatch(gradient: Tensor, operand: Tensor) -> Tensor:
    """Sum over batch axes that broadcasting gave to ``operand``."""
    from_rank, to_rank = gradient.spec.rank, operand.spec.rank
    if from_rank == 2 and to_rank == 2:
        return gradient
    return unbroadcast(gradient, operand)


@op(view=True)
def matrix_transpose(a):
    """The last two axes exchanged."""
    return np.swapaxes(a, -1, -2)


@matrix_transpose.shape
def _(a: Spec) -> Spec:
    if a.shape is None:
        return Spec(a.dtype, None)
    if len(a.shape) < 2:
        raise GraphError("needs at least two dimensions")
    return Spec(a.dtype, (*a.shape[:-2], a.shape[-1], a.shape[-2]))


@matrix_transpose.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return matrix_transpose(dy)
