"""Sums of products over named axes (einsum, tensordot), put together of transposes, reshapes and matrix products."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from functools import reduce as fold
from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import normal_axis
from paraflow.ops.array import reshape, size_along
from paraflow.ops.linalg import matmul, matrix_diag_part
from paraflow.ops.math import multiply
from paraflow.ops.rearrange import transpose
from paraflow.ops.reduce import reduce_sum
from paraflow.ops.shapes import ensure_shape

# One name for each axis of a tensor: a letter, a number, or for one of an ellipsis a pair ("...", which from the
# right). Axes of equal name run together.
Labels = list[Any]
ELLIPSIS = "..."


def einsum(equation: str, *inputs: Any, name: str = "einsum") -> Tensor:
    """The sum of products that ``equation`` describes in Einstein's convention, e.g. ``"bij,bjk->bik"``.

    One group of letters for the axes of each input, then those of the output. A letter twice in a group takes the
    diagonal of its axes (``"ii->"`` is the trace). ``...`` stands for all axes that have no letter, which broadcast.
    Without ``->`` the output has the axes of the ellipses and then the letters that occur once, in alphabetical order.
    Pairs of inputs are contracted from left to right. Raises GraphError for an equation that is none and for sizes that
    do not fit.
    """
    if not inputs:
        raise GraphError(f"einsum: {equation!r} needs tensors{at_user_line()}")
    dtype = next((x.dtype for x in inputs if hasattr(x, "dtype")), None)
    tensors = [convert(x, dtype) for x in inputs]
    what = f"einsum {equation!r}"
    with tensors[0].graph.name_scope(name):
        tensors, operands, output = _parse(equation, tensors, what)
        _check_sizes(tensors, operands, what)
        pairs = [_diagonals(x, labels) for x, labels in zip(tensors, operands, strict=True)]
        total, labels = pairs[0]
        for i in range(1, len(tensors)):
            keep = {*output, *(label for _, later in pairs[i + 1 :] for label in later)}
            total, labels = _contract((total, labels), pairs[i], keep)
        total, labels = _sum_out(total, labels, output)
        return _arrange(total, labels, output)


def _parse(equation: str, tensors: list[Tensor], what: str) -> tuple[list[Tensor], list[Labels], Labels]:
    """The tensors, of known rank now, the labels of each, and those of the output."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    groups = left.split(",")
    if len(groups) != len(tensors):
        raise GraphError(f"{what} is for {len(groups)} inputs, not {len(tensors)}{at_user_line()}")
    ranked = [x if x.spec.rank is not None or ELLIPSIS in group else ensure_shape(x, [None] * len(group))
              for x, group in zip(tensors, groups, strict=True)]  # fmt: skip
    operands = [_labels(group, x.spec.rank, f"{what}: {x.name}") for x, group in zip(ranked, groups, strict=True)]
    every = [label for labels in operands for label in labels]
    wide = sorted({label for label in every if isinstance(label, tuple)}, key=lambda label: -label[1])
    if not arrow:
        return ranked, operands, [*wide, *sorted(x for x in every if isinstance(x, str) and every.count(x) == 1)]
    letters = right.replace(ELLIPSIS, "", 1)
    output = _labels(right, len(letters) + len(wide) * (letters != right), f"{what}: the output")
    if len(set(output)) != len(output) or not set(wide) <= set(output) <= set(every):
        raise GraphError(f"{what}: an output has axes of the inputs, each once, and all of an ellipsis{at_user_line()}")
    return ranked, operands, output


def _labels(group: str, rank: int | None, what: str) -> Labels:
    """The names of ``rank`` axes; raises GraphError where the group is not for so many."""
    before, dots, after = group.partition(ELLIPSIS)
    count = 0 if rank is None else rank - len(before) - len(after)
    letters = before + after
    if not all(x.isalpha() for x in letters):
        raise GraphError(f"{what} has axes {group!r}, where letters and one '...' can stand{at_user_line()}")
    if rank is None or count < 0 or (count and not dots):
        raise GraphError(
            f"{what} has {'an unknown number of' if rank is None else rank} axes, not {group!r}{at_user_line()}"
        )
    return [*before, *((ELLIPSIS, i) for i in range(count - 1, -1, -1)), *after]


def _check_sizes(tensors: Sequence[Tensor], operands: Sequence[Labels], what: str) -> None:
    """Raise GraphError where axes of one name are known to have different sizes; those of an ellipsis may be 1 too."""
    sizes: dict[Any, int] = {}
    for tensor, labels in zip(tensors, operands, strict=True):
        for label, size in zip(labels, tensor.spec.shape or (), strict=True):
            if size is None or (size == 1 and isinstance(label, tuple)):
                continue
            known = sizes.setdefault(label, size)
            if known != size:
                raise GraphError(f"{what}: an axis has size {known} in one tensor, {size} in another{at_user_line()}")


def _diagonals(x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """``x`` with one axis for each name, the diagonal where there have been several."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            others = [i for i in range(len(labels)) if i not in (first, second)]
            x = _with_size(x, second, size_along(x, first))
            x = matrix_diag_part(transpose(x, (*others, first, second)))
            labels = [*(labels[i] for i in others), label]
    return x, labels


def _with_size(x: Tensor, axis: int, size: Any) -> Tensor:
    """``x``, whose axis has that size; where it is not known to have, a run sees to it."""
    own = [size_along(x, i) for i in range(x.spec.rank or 0)]
    if isinstance(own[axis], int) and isinstance(size, int):
        return x
    checked: Tensor = reshape(x, convert([*own[:axis], size, *own[axis + 1 :]]))
    return checked


def _sum_out(x: Tensor, labels: Labels, keep: Collection[Any]) -> tuple[Tensor, Labels]:
    """The sum over the axes whose labels nobody needs."""
    gone = tuple(i for i, label in enumerate(labels) if label not in keep)
    return (reduce_sum(x, gone) if gone else x), [label for label in labels if label in keep]


def _arrange(x: Tensor, labels: Labels, order: Labels) -> Tensor:
    tensor: Tensor = x if labels == order else transpose(x, tuple(labels.index(label) for label in order))
    return tensor


def _contract(a: tuple[Tensor, Labels], b: tuple[Tensor, Labels], keep: Collection[Any]) -> tuple[Tensor, Labels]:
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
    n = len(batch)
    if len(inner) > 1:  # of one axis the product sees to it
        for i in range(len(inner)):
            right = _with_size(right, n + i, size_along(left, n + len(rows) + i))
    product = matmul(_merge(left, n, len(rows)), _merge(right, n, len(inner)))
    if len(rows) != 1 or len(columns) != 1:
        sizes = [size_along(product, i) for i in range(n)]  # which may have been 1 in one of both
        sizes += [size_along(left, n + i) for i in range(len(rows))]
        sizes += [size_along(right, n + len(inner) + i) for i in range(len(columns))]
        product = reshape(product, convert(sizes) if labels else [])
    return product, labels


def _merge(x: Tensor, batch: int, first: int) -> Tensor:
    """Matrices of tensors that ``batch`` axes number: the ``first`` axes after them made into one, the rest as well."""
    sizes = [size_along(x, i) for i in range(x.spec.rank or 0)]
    groups = sizes[batch : batch + first], sizes[batch + first :]
    if len(groups[0]) == len(groups[1]) == 1:
        return x
    matrices: Tensor = reshape(x, convert([*sizes[:batch], *(fold(operator.mul, group, 1) for group in groups)]))
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
        _check_sizes([x, y], [labels_x, labels_y], "tensordot")
        return _contract((x, labels_x), (y, labels_y), set(labels_x) ^ set(labels_y))[0]
