"""Joining, splitting, permuting, repeating and padding: every element keeps its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.node import Tensor, records
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, merge, normal_axes, normal_axis
from paraflow.ops.array import Array, fill, identity, known_shape, reshape, shape, shape_tensor, vector_value

# A shape put together of known sizes is itself known while the graph is built; larger values are for the compiler.
FOLD_LIMIT = 64


def _folded(body: Any, specs: Sequence[Spec], **attributes: Any) -> Array | None:
    """The value of a join whose operands are all known and few."""
    values = [spec.value for spec in specs]
    if any(value is None or value.size > FOLD_LIMIT for value in values):
        return None
    folded: Array = body(values, **attributes)
    return folded


@op
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
    return Spec(values[0].dtype, (*dims[:at], len(values), *dims[at:]), _folded(np.stack, values, axis=axis))


@pack.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, ...] | Tensor:
    parts: tuple[Tensor, ...] | Tensor = unpack(dy, num=len(y.op.inputs), axis=y.op.attrs["axis"])
    return parts


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """The tensors ``values``, all of one shape, joined along a new ``axis``."""
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


@op
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
def _(y: tuple[Tensor, ...] | Tensor, dy: tuple[Tensor, ...] | Tensor) -> Tensor:
    parts = dy if isinstance(dy, tuple) else (dy,)
    first = y[0] if isinstance(y, tuple) else y
    return stack(parts, first.op.attrs["axis"])


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The slices of ``value`` along ``axis``, without that axis; ``num`` is needed where that size is not known."""
    x = convert(value)
    if num is None and x.spec.shape is not None:
        num = x.spec.shape[normal_axis(axis, len(x.spec.shape))]
    if num is None:
        raise GraphError(f"unstack: the size of {x.name} along axis {axis} is not known; give num{at_user_line()}")
    parts = unpack(x, num=num, axis=axis, name=name) if num else ()
    return list(parts) if isinstance(parts, tuple) else [parts]


@op
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
    return Spec(values[0].dtype, dims, _folded(np.concatenate, values, axis=axis))


@concatenate.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, ...] | Tensor:
    axis = y.op.attrs["axis"]
    if len(y.op.inputs) == 1:
        return dy
    parts: tuple[Tensor, ...] = split_sizes(dy, convert([size_along(x, axis) for x in y.op.inputs]), axis=axis)
    return parts


def size_along(x: Tensor, axis: int) -> Any:
    """The size of one axis: a number where it is known, else an int32 scalar tensor."""
    known = None if x.spec.shape is None else x.spec.shape[axis]
    return shape(x)[axis] if known is None else known


def concat(values: Any, axis: int, name: str = "concat") -> Tensor:
    """The tensors ``values`` joined along ``axis``; their other sizes are equal."""
    joined: Tensor = concatenate(*_several(values, "concat"), axis=axis, name=name)
    return joined


@op(same=(0,))
def split_sizes(value, sizes, axis=0):
    """``value`` cut along ``axis`` into parts of the given sizes, one of which may be -1: what is left."""
    ends = np.cumsum(_part_sizes(value.shape[axis], sizes.tolist()))[:-1]
    return _outputs(np.split(value, ends, axis=axis))


def _part_sizes(total: int, sizes: Sequence[int]) -> list[int]:
    """The sizes with -1 worked out; raises InvalidArgumentError when they do not add up to ``total``."""
    rest = total - sum(n for n in sizes if n != -1)
    parts = [rest if n == -1 else n for n in sizes]
    if min(parts, default=0) < 0 or sum(parts) != total:
        raise InvalidArgumentError(f"split: sizes {list(sizes)} do not add up to {total}")
    return parts


@split_sizes.shape
def _(value: Spec, sizes: Spec, axis: int) -> tuple[Spec, ...]:
    given = vector_value(sizes)
    if sizes.shape is None or sizes.shape[0] is None:
        raise GraphError("the number of parts must be known")
    if value.shape is None:
        return (Spec(value.dtype, None),) * sizes.shape[0]
    at = normal_axis(axis, len(value.shape))
    total = value.shape[at]
    parts: list[int | None] = [None] * sizes.shape[0]
    if given is not None and total is not None:
        parts = list(_part_sizes(total, given))
    elif given is not None:
        parts = [None if n == -1 else n for n in given]
    return tuple(Spec(value.dtype, (*value.shape[:at], n, *value.shape[at + 1 :])) for n in parts)


@split_sizes.gradient
def _(y: tuple[Tensor, ...], dy: tuple[Tensor, ...]) -> tuple[Tensor, None]:
    return concat(dy, y[0].op.attrs["axis"]), None


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
        parts = int(num_or_size_splits)
        length = size_along(x, axis)
        if isinstance(length, int) and length % parts:
            raise GraphError(f"split: {length} elements cannot be cut into {parts} equal parts{at_user_line()}")
        sizes = fill([parts], length // parts) if isinstance(length, Tensor) else convert([length // parts] * parts)
    if sizes.spec.shape == (1,):
        return [identity(x, name=name)]
    return list(split_sizes(x, sizes, axis=axis, name=name))


@op(view=True)
def transpose(a, perm=None):
    """The axes in the order ``perm``; reversed when it is left out."""
    return np.transpose(a, perm)


@transpose.shape
def _(a: Spec, perm: Any) -> Spec:
    if perm is None:
        return Spec(a.dtype, None if a.shape is None else a.shape[::-1])
    if a.shape is None:
        return Spec(a.dtype, (None,) * len(perm))
    if sorted(perm) != list(range(len(a.shape))):
        raise GraphError(f"perm {list(perm)} is no order of {len(a.shape)} axes")
    return Spec(a.dtype, tuple(a.shape[i] for i in perm))


@transpose.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    perm = y.op.attrs["perm"]
    inverse = None if perm is None else tuple(int(i) for i in np.argsort(perm))
    back: Tensor = transpose(dy, inverse)
    return back


@op(view=True)
def expand_dims(input, axis=None):
    """A new axis of size 1 at position ``axis``."""
    return np.expand_dims(input, axis)


@expand_dims.shape
def _(input: Spec, axis: int | None) -> Spec:
    if axis is None:
        raise GraphError("expand_dims needs the axis")
    if input.shape is None:
        return Spec(input.dtype, None)
    at = normal_axis(axis, len(input.shape) + 1)
    return Spec(input.dtype, (*input.shape[:at], 1, *input.shape[at:]))


@expand_dims.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    back: Tensor = squeeze(dy, (y.op.attrs["axis"],))
    return back


@op(view=True)
def squeeze(input, axis=None):
    """Without the axes of size 1: those named, or all."""
    return np.squeeze(input, axis)


@squeeze.shape
def _(input: Spec, axis: int | Sequence[int] | None) -> Spec:
    dims = input.shape
    if dims is None or (axis is None and None in dims):
        return Spec(input.dtype, None)
    axes = [i for i, n in enumerate(dims) if n == 1] if axis is None else normal_axes(axis, len(dims))
    if any(dims[i] not in (1, None) for i in axes):
        raise GraphError(f"axes {list(axes)} do not all have size 1")
    return Spec(input.dtype, tuple(n for i, n in enumerate(dims) if i not in axes))


@squeeze.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    back: Tensor = reshape(dy, known_shape(y.op.inputs[0]))
    return back


def flatten(inputs: Any, name: str = "flatten") -> Tensor:
    """All axes but the first merged into one: [n, d1, d2, ...] becomes [n, d1 * d2 * ...]."""
    x = convert(inputs)
    dims = x.spec.shape
    if dims is not None and None not in dims[1:]:
        sizes: Any = [-1 if dims[0] is None else dims[0], int(np.prod(dims[1:], dtype=np.int64))]
    else:
        sizes = [size_along(x, 0), -1]
    flat: Tensor = reshape(x, sizes, name=name)
    return flat


@op(same=(0,))
def tile(input, multiples):
    """``input`` repeated ``multiples[i]`` times along axis i."""
    return np.tile(input, tuple(multiples))


@tile.shape
def _(input: Spec, multiples: Spec) -> Spec:
    return Spec(input.dtype, _tiled(input.shape, multiples, lambda n, times: n * times))


def _tiled(dims: Dims, multiples: Spec, size: Any) -> Dims:
    """The shape of a tiling, or, with division for ``size``, of what was tiled."""
    times = vector_value(multiples)
    count = None if multiples.shape is None else multiples.shape[0]
    if dims is None or count is None:
        return dims and (None,) * len(dims)
    if count != len(dims):
        raise GraphError(f"{count} multiples for {len(dims)} axes")
    if times is None:
        return (None,) * len(dims)
    if min(times, default=0) < 0:
        raise GraphError(f"multiples {list(times)} must not be negative")
    return tuple(None if n is None else size(n, m) for n, m in zip(dims, times, strict=True))


@tile.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return sum_tiles(dy, y.op.inputs[1], known_shape(y.op.inputs[0])), None


@op(same=(0,))
def sum_tiles(x, multiples, shape):
    """The sum of the tiles, each of the given shape, of which ``x`` consists."""
    split = [n for pair in zip(multiples.tolist(), shape.tolist(), strict=True) for n in pair]
    return np.sum(x.reshape(split), axis=tuple(range(0, len(split), 2)), dtype=x.dtype)


@sum_tiles.shape
def _(x: Spec, multiples: Spec, shape: Spec) -> Spec:
    sizes = vector_value(shape)
    return Spec(x.dtype, sizes or (x.shape and (None,) * len(x.shape)))


@sum_tiles.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return tile(dy, y.op.inputs[1]), None, None


@op(view=True)
def reverse(tensor, axis=None):
    """The elements in reverse order along the given axes."""
    return np.flip(tensor, axis)


@reverse.shape
def _(tensor: Spec, axis: int | Sequence[int] | None) -> Spec:
    if axis is None:
        raise GraphError("reverse needs the axes")
    if tensor.shape is not None:
        normal_axes(axis, len(tensor.shape))
    return Spec(tensor.dtype, tensor.shape)


@reverse.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    back: Tensor = reverse(dy, y.op.attrs["axis"])
    return back


@op(same=(0,))
def pad(tensor, paddings, mode="CONSTANT", constant_values=0):
    """``tensor`` with ``paddings[i] = (before, after)`` elements added to axis i.

    ``mode`` says what is added: CONSTANT the number ``constant_values``, REFLECT the neighbours mirrored about the edge
    element, SYMMETRIC mirrored about the edge itself.
    """
    widths = [(int(before), int(after)) for before, after in paddings]
    if mode.upper() == "CONSTANT":
        return np.pad(tensor, widths, constant_values=constant_values)
    _check_mirror(tensor.shape, widths, mode)
    return np.pad(tensor, widths, mode=mode.lower())
