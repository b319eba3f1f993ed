"""Joining and splitting: stack and unstack along a new axis, concat and split along one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, known, merge, normal_axis
from paraflow.ops.array import (
    Array,
    fill,
    identity,
    known_early,
    reshape,
    shape_tensor,
    size_along,
    vector_entries,
    zeros_like,
)


@op(early=True)
def pack(*values, axis=0):
    """Tensors of one shape joined along a new axis."""
    return np.stack(values, axis=axis)


@pack.shape
def _(*values: Spec, axis: int) -> Spec:
    dims: Dims = None
    for value in values:
        if not compatible(dims, value.shape):
            raise GraphError("tensors to be stacked must have one shape")
        dims = merge(dims, value.shape)
    if dims is None:
        return Spec(values[0].dtype, None)
    at = normal_axis(axis, len(dims) + 1)
    return Spec(values[0].dtype, (*dims[:at], len(values), *dims[at:]))


@pack.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, ...] | Tensor:
    parts: tuple[Tensor, ...] | Tensor = unpack(dy, num=len(y.op.inputs), axis=y.op.attrs["axis"])
    return parts


def parallel_stack(values: Sequence[Any], name: str = "parallel_stack") -> Tensor:
    """`stack` along a new first axis; tensors are stacked as soon as all are there."""
    return stack(values, name=name)


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """The tensors ``values``, all of one shape, joined along a new ``axis``.

    Along the first axis numbers and lists are what they are as one list, of the dtype that fits them all, and a tensor
    or an array is itself.
    """
    if axis == 0 and not (isinstance(values, (list, tuple)) and any(isinstance(v, np.ndarray) for v in values)):
        return convert(_several(values, "stack") if isinstance(values, (list, tuple)) else values, name=name)
    packed: Tensor = pack(*_several(values, "stack"), axis=axis, name=name)
    return packed


def _several(values: Any, what: str) -> list[Any]:
    """The operands of a join, at least one."""
    if not isinstance(values, (list, tuple)) or not values:
        raise InvalidArgumentError(f"{what} needs a list of one or more tensors, not {values!r}{at_user_line()}")
    return list(values)


def _outputs(parts: list[Array]) -> tuple[Array, ...] | Array:
    """What the body of a record with any number of outputs returns: copies, since only one output may be a view."""
    copies = tuple(np.array(part) for part in parts)
    return copies if len(copies) != 1 else copies[0]


@op(early=True)
def unpack(value, num=0, axis=0):
    """The ``num`` slices of ``value`` along ``axis``, without that axis."""
    if value.shape[axis] != num:
        raise InvalidArgumentError(f"unstack: the size along axis {axis} is {value.shape[axis]}, not {num}")
    return _outputs(list(np.moveaxis(value, axis, 0)))


@unpack.shape
def _(value: Spec, num: int, axis: int) -> tuple[Spec, ...]:
    if value.shape is None:
        return (Spec(value.dtype, None),) * num
    at = normal_axis(axis, len(value.shape))
    if value.shape[at] not in (num, None):
        raise GraphError(f"the size along axis {axis} is {value.shape[at]}, not {num}")
    return (Spec(value.dtype, (*value.shape[:at], *value.shape[at + 1 :])),) * num


@unpack.gradient
def _(y: tuple[Tensor, ...] | Tensor, dy: tuple[Tensor | None, ...] | Tensor) -> Tensor:
    if isinstance(y, Tensor):
        return stack([dy], y.op.attrs["axis"])
    return stack(_filled(y, dy), y[0].op.attrs["axis"])


def _filled(y: tuple[Tensor, ...], dy: Any) -> list[Tensor]:
    """The cotangents, zeros where nothing depends on the output."""
    return [zeros_like(output) if d is None else d for output, d in zip(y, dy, strict=True)]


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The slices of ``value`` along ``axis``, without that axis; ``num`` is needed where that size is not known."""
    x = convert(value)
    if num is None and x.spec.shape is not None:
        num = x.spec.shape[normal_axis(axis, len(x.spec.shape))]
    if num is None:
        raise GraphError(f"unstack: the size of {x.name} along axis {axis} is not known; give num{at_user_line()}")
    parts = unpack(x, num=num, axis=axis, name=name) if num else ()
    return list(parts) if isinstance(parts, tuple) else [parts]


@op(early=True)
def concatenate(*values, axis=0):
    """Tensors joined along an axis they have; their other sizes are equal."""
    return np.concatenate(values, axis=axis)


@concatenate.shape
def _(*values: Spec, axis: int) -> Spec:
    dims: Dims = None
    total: int | None = 0
    for value in values:
        if value.shape is not None:
            at = normal_axis(axis, len(value.shape))
            rest = (*value.shape[:at], None, *value.shape[at + 1 :])
            if not compatible(dims, rest):
                shapes = " and ".join(format_dims(v.shape) for v in values)
                raise GraphError(f"{shapes} differ in more than axis {axis}")
            dims = merge(dims, rest)
        length = None if value.shape is None else value.shape[at]
        total = None if total is None or length is None else total + length
    if dims is None:
        return Spec(values[0].dtype, None)
    dims = tuple(total if i == axis % len(dims) else n for i, n in enumerate(dims))
    return Spec(values[0].dtype, dims)


@concatenate.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, ...] | Tensor:
    axis = y.op.attrs["axis"]
    if len(y.op.inputs) == 1:
        return dy
    parts: tuple[Tensor, ...] = split_sizes(dy, convert([size_along(x, axis) for x in y.op.inputs]), axis=axis)
    return parts


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """The tensors ``values`` joined along ``axis``; their other sizes are equal.

    One alone, in a list or not, is itself, whatever the axis.
    """
    several = _several(values if isinstance(values, (list, tuple)) else [values], "concat")
    joined: Tensor = identity(*several, name=name) if len(several) == 1 else concatenate(*several, axis=axis, name=name)
    return joined


@op(same=(0,), early=True)
def split_sizes(value, sizes, axis=0):
    """``value`` cut along ``axis`` into parts of the given sizes, one of which may be -1: what is left."""
    at = (slice(None),) * (axis % value.ndim)
    ends = [0, *accumulate(_part_sizes(value.shape[axis], sizes.tolist()))]  # numpy's own split takes 20 µs more
    return _outputs([value[(*at, slice(*ends_of))] for ends_of in pairwise(ends)])


def _part_sizes(total: int, sizes: Sequence[int]) -> list[int]:
    """The sizes with -1 worked out; raises InvalidArgumentError when they do not add up to ``total``."""
    rest = total - sum(n for n in sizes if n != -1)
    parts = [rest if n == -1 else n for n in sizes]
    if min(parts, default=0) < 0 or sum(parts) != total:
        raise InvalidArgumentError(f"split: sizes {list(sizes)} do not add up to {total}")
    return parts


@split_sizes.shape
def _(value: Spec, sizes: Spec, axis: int) -> tuple[Spec, ...]:
    given = vector_entries(sizes)
    if given is None:
        raise GraphError("the number of parts must be known")
    if value.shape is None:
        return (Spec(value.dtype, None),) * len(given)
    at = normal_axis(axis, len(value.shape))
    total = value.shape[at]
    parts: list[int | None] = [None if n == -1 else n for n in given]
    if total is not None and None not in given:
        with known_early():
            parts = list(_part_sizes(total, known(given)))
    return tuple(Spec(value.dtype, (*value.shape[:at], n, *value.shape[at + 1 :])) for n in parts)


@split_sizes.gradient
def _(y: tuple[Tensor, ...], dy: tuple[Tensor | None, ...]) -> tuple[Tensor, None]:
    return concat(_filled(y, dy), y[0].op.attrs["axis"]), None


def split(
    value: Any, num_or_size_splits: Any, axis: int = 0, num: int | None = None, name: str = "split"
) -> list[Tensor]:
    """``value`` cut along ``axis``: into so many equal parts, or into parts of the given sizes (one may be -1).

    ``num`` is the number of parts where the sizes are a tensor of unknown length. Raises GraphError, or
    InvalidArgumentError when it runs, if the parts do not make up the axis exactly.
    """
    x = convert(value)
    if not isinstance(num_or_size_splits, (int, np.integer)):
        sizes = shape_tensor(num_or_size_splits)
        if num is not None and sizes.spec.value is None:
            sizes = reshape(sizes, [num])
    elif num_or_size_splits < 1:
        raise GraphError(f"split: cannot cut into {num_or_size_splits} parts{at_user_line()}")
    else:
        if x.spec.rank is not None:
            normal_axis(axis, x.spec.rank)
        parts = int(num_or_size_splits)
        length = size_along(x, axis)
        if isinstance(length, int) and length % parts:
            raise GraphError(f"split: {length} elements cannot be cut into {parts} equal parts{at_user_line()}")
        sizes = fill([parts], length // parts) if isinstance(length, Tensor) else convert([length // parts] * parts)
    if sizes.spec.shape == (1,):
        return [identity(x, name=name)]
    return list(split_sizes(x, sizes, axis=axis, name=name))
