"""Sums of products over named axes (einsum, tensordot), put together of transposes, reshapes and matrix products."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from functools import reduce as fold
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import format_dims, normal_axis
from paraflow.ops.array import reshape, size_along
from paraflow.ops.linalg import matmul
from paraflow.ops.math import multiply
from paraflow.ops.rearrange import transpose
from paraflow.ops.reduce import reduce_sum

# One name (a letter, a number) for each axis of a tensor; axes of equal name run together.
Labels = list[Any]


def einsum(equation: str, *inputs: Any, name: str = "einsum") -> Tensor:
    """The sum of products that ``equation`` describes in Einstein's convention, e.g. ``"bij,bjk->bik"``.

    One group of letters for the axes of each input, then those of the output; without ``->`` the output has the letters
    that occur once, in alphabetical order. Pairs of inputs are contracted from left to right. Raises GraphError for
    sizes that do not fit, for an ellipsis and for a letter that occurs twice in one group.
    """
    tensors = [convert(x) for x in inputs]
    operands, output = _parse(equation)
    if len(operands) != len(tensors):
        raise GraphError(f"einsum: {equation!r} is for {len(operands)} inputs, not {len(tensors)}{at_user_line()}")
    with tensors[0].graph.name_scope(name):
        sizes = _label_sizes(tensors, operands, f"einsum {equation!r}")
        total, labels = tensors[0], operands[0]
        for i in range(1, len(tensors)):
            keep = {*output, *(label for later in operands[i + 1 :] for label in later)}
            total, labels = _contract((total, labels), (tensors[i], operands[i]), keep, sizes)
        total, labels = _sum_out(total, labels, output)
        return _arrange(total, labels, output)


def _parse(equation: str) -> tuple[list[Labels], Labels]:
    """The labels of each input and of the output."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    operands = [list(group) for group in left.split(",")]
    letters = [letter for group in operands for letter in group]
    output = list(right) if arrow else sorted(x for x in letters if letters.count(x) == 1)
    for group in (*operands, output):
        if len(set(group)) != len(group) or not all(x.isalpha() for x in group):
            raise GraphError(
                f"einsum: {equation!r} has the group {''.join(group)!r}; a group is made of different "
                f"letters{at_user_line()}"
            )
    if not set(output) <= set(letters):
        raise GraphError(f"einsum: {equation!r} has letters in the output that no input has{at_user_line()}")
    return operands, output


def _label_sizes(tensors: Sequence[Tensor], operands: Sequence[Labels], what: str) -> dict[Any, Any]:
    """The size of the axes of each name: a number where it is known, else a scalar tensor."""
    sizes: dict[Any, Any] = {}
    for tensor, labels in zip(tensors, operands, strict=True):
        if tensor.spec.rank != len(labels):
            raise GraphError(
                f"{what}: {len(labels)} axes are named, the tensor {tensor.name} has shape "
                f"{format_dims(tensor.spec.shape)}{at_user_line()}"
            )
        for axis, label in enumerate(labels):
            size = size_along(tensor, axis)
            known = sizes.setdefault(label, size)
            if isinstance(known, int) and isinstance(size, int) and known != size:
                raise GraphError(f"{what}: an axis has size {known} in one tensor, {size} in another{at_user_line()}")
            if isinstance(size, int):
                sizes[label] = size
    return sizes


def _sum_out(x: Tensor, labels: Labels, keep: Collection[Any]) -> tuple[Tensor, Labels]:
    """The sum over the axes whose labels nobody needs."""
    gone = tuple(i for i, label in enumerate(labels) if label not in keep)
    return (reduce_sum(x, gone) if gone else x), [label for label in labels if label in keep]


def _arrange(x: Tensor, labels: Labels, order: Labels) -> Tensor:
    tensor: Tensor = x if labels == order else transpose(x, tuple(labels.index(label) for label in order))
    return tensor


def _contract(
    a: tuple[Tensor, Labels], b: tuple[Tensor, Labels], keep: Collection[Any], sizes: dict[Any, Any]
) -> tuple[Tensor, Labels]:
    """The product of two tensors, summed over the labels that are not in ``keep``."""
    left, left_labels = _sum_out(*a, {*keep, *b[1]})
    right, right_labels = _sum_out(*b, {*keep, *a[1]})
    batch = [x for x in left_labels if x in right_labels and x in keep]
    inner = [x for x in left_labels if x in right_labels and x not in keep]
    rows = [x for x in left_labels if x not in right_labels]
    columns = [x for x in right_labels if x not in left_labels]
    labels = [*batch, *rows, *columns]
    left = _arrange(left, left_labels, [*batch, *rows, *inner])
    right = _arrange(right, right_labels, [*batch, *inner, *columns])
    if not inner:
        key = (*(slice(None) for _ in batch), *(None for _ in rows), ...)
        outer = left[(..., *(None for _ in columns))] if columns else left
        return multiply(outer, right[key] if rows else right), labels
    product = matmul(_merge(left, batch, rows, inner, sizes), _merge(right, batch, inner, columns, sizes))
    if len(rows) != 1 or len(columns) != 1:
        product = reshape(product, convert([sizes[x] for x in labels]) if labels else [])
    return product, labels


def _merge(x: Tensor, batch: Labels, first: Labels, second: Labels, sizes: dict[Any, Any]) -> Tensor:
    """A batch of matrices: the ``first`` axes made into one, the ``second`` as well."""
    if len(first) == len(second) == 1:
        return x
    merged = [fold(operator.mul, (sizes[label] for label in group), 1) for group in (first, second)]
    matrices: Tensor = reshape(x, convert([*(sizes[label] for label in batch), *merged]))
    return matrices


def tensordot(a: Any, b: Any, axes: Any, name: str = "Tensordot") -> Tensor:
    """The sum of products over ``axes``: the last n axes of a with the first n of b, or a pair of lists of axes.

    The result has the other axes of a, then those of b. Both ranks must be known.
    """
    x, y = convert(a), convert(b)
    if x.spec.rank is None or y.spec.rank is None:
        raise GraphError(f"tensordot needs tensors of known rank{at_user_line()}")
    if isinstance(axes, int):
        axes = list(range(x.spec.rank - axes, x.spec.rank)), list(range(axes))
    of_x, of_y = ([axis] if isinstance(axis, int) else list(axis) for axis in axes)
    pairs = {normal_axis(j, y.spec.rank): normal_axis(i, x.spec.rank) for i, j in zip(of_x, of_y, strict=False)}
    if not len(of_x) == len(of_y) == len(pairs) == len(set(pairs.values())):
        raise GraphError(f"tensordot: axes {of_x} of a and {of_y} of b are no pairs{at_user_line()}")
    labels_x: Labels = list(range(x.spec.rank))
    labels_y: Labels = [pairs.get(j, x.spec.rank + j) for j in range(y.spec.rank)]
    with x.graph.name_scope(name):
        sizes = _label_sizes([x, y], [labels_x, labels_y], "tensordot")
        output = set(labels_x) ^ set(labels_y)
        return _contract((x, labels_x), (y, labels_y), output, sizes)[0]
