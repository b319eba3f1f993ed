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


@op(view=True)
def matrix_diag_part(input):
    """The main diagonals of the last two axes: [..., m, n] becomes [..., min(m, n)]."""
    return np.diagonal(input, axis1=-2, axis2=-1)


@matrix_diag_part.shape
def _(input: Spec) -> Spec:
    if input.shape is None:
        return Spec(input.dtype, None)
    if len(input.shape) < 2:
        raise GraphError("needs at least two dimensions")
    rows, columns = input.shape[-2:]
    return Spec(input.dtype, (*input.shape[:-2], None if rows is None or columns is None else min(rows, columns)))


@matrix_diag_part.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x = y.op.inputs[0]
    matrix: Tensor = diagonal_matrix(dy, size_along(x, -2), size_along(x, -1))
    return matrix


@op(same=(0,))
def diagonal_matrix(diagonal, num_rows, num_columns):
    """Matrices [..., num_rows, num_columns] of zeros, but ``diagonal`` on their main diagonals."""
    result = np.zeros((*diagonal.shape[:-1], int(num_rows), int(num_columns)), diagonal.dtype)
    places = np.arange(diagonal.shape[-1])
    result[..., places, places] = diagonal
    return result


@diagonal_matrix.shape
def _(diagonal: Spec, num_rows: Spec, num_columns: Spec) -> Spec:
    if diagonal.shape is None:
        return Spec(diagonal.dtype, None)
    if not diagonal.shape:
        raise GraphError("the diagonal needs at least one dimension")
    sizes = [None if n.value is None else int(n.value) for n in (num_rows, num_columns)]
    return Spec(diagonal.dtype, (*diagonal.shape[:-1], *sizes))


@diagonal_matrix.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return matrix_diag_part(dy), None, None


def matrix_diag(diagonal: Any, name: str = "MatrixDiag") -> Tensor:
    """Square matrices with ``diagonal`` [..., n] on their main diagonals: [..., n, n]."""
    d = convert(diagonal)
    n = size_along(d, -1) if d.spec.shape != () else 0
    matrix: Tensor = diagonal_matrix(d, n, n, name=name)
    return matrix


def diag(diagonal: Any, name: str = "Diag") -> Tensor:
    """A tensor of twice the rank with ``diagonal`` where both halves of the index are equal, zeros elsewhere."""
    d = convert(diagonal)
    matrix = matrix_diag(reshape(d, [-1]), name=name)
    if d.spec.rank == 1:
        return matrix
    sizes = known_shape(d)
    tensor: Tensor = reshape(matrix, concat([sizes, sizes], 0))
    return tensor


def diag_part(input: Any, name: str = "DiagPart") -> Tensor:
    """The elements of a tensor of even rank for which both halves of the index are equal; the inverse of `diag`."""
    x = convert(input)
    if not x.spec.rank or x.spec.rank % 2:
        raise GraphError(f"diag_part needs a tensor of known even rank, not {x.shape}{at_user_line()}")
    if x.spec.rank == 2:
        part: Tensor = matrix_diag_part(x, name=name)
        return part
    sizes = known_shape(x)[: x.spec.rank // 2]
    total = int(np.prod(sizes.spec.value)) if sizes.spec.value is not None else size(x[(..., *[0] * len(sizes.shape))])
    part = reshape(matrix_diag_part(reshape(x, [total, total])), sizes, name=name)
    return part
