"""Permuting, repeating, reversing and padding: elements keep their values and change their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError, ShapeError
from paraflow.graph.node import Tensor
from paraflow.graph.partial import entries
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Dims, Spec, compatible, need_integers, normal_axes, normal_axis, num_elements
from paraflow.ops.array import known_early, known_shape, reshape, size_along, value_dims, vector_entries
from paraflow.ops.indexing import slice


@op(view=True, early=True)
def transpose(a, perm=None):
    """The axes in the order ``perm``; reversed when it is left out."""
    return np.transpose(a, perm)


@transpose.shape
def _(a: Spec, perm: Any) -> Spec:
    if perm is None:
        return Spec(a.dtype, None if a.shape is None else a.shape[::-1])
    if a.shape is None:
        return Spec(a.dtype, (None,) * len(perm))
    if not all(isinstance(axis, int) for axis in perm):
        raise InvalidTypeError(f"axes are integers, not {list(perm)}")
    if sorted(perm) != list(range(len(a.shape))):
        raise ShapeError(f"perm {list(perm)} is no order of {len(a.shape)} axes")
    return Spec(a.dtype, tuple(a.shape[i] for i in perm))


@transpose.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    perm = y.op.attrs["perm"]
    inverse = None if perm is None else tuple(int(i) for i in np.argsort(perm))
    back: Tensor = transpose(dy, inverse)
    return back


@op(view=True, early=True)
def expand_dims(input, axis=None, name=None):
    """A new axis of size 1 at position ``axis``, a number or a list of one."""
    return np.expand_dims(input, axis)


def _one_axis(axis: Any) -> int:
    axes = axis if isinstance(axis, tuple) else (axis,)
    if len(axes) != 1 or not isinstance(axes[0], int):
        raise GraphError(f"expand_dims needs the axis, one number, not {axis}")
    return axes[0]


@expand_dims.shape
def _(input: Spec, axis: Any) -> Spec:
    given = _one_axis(axis)
    if input.shape is None:
        return Spec(input.dtype, None)
    at = normal_axis(given, len(input.shape) + 1)
    return Spec(input.dtype, (*input.shape[:at], 1, *input.shape[at:]))


@expand_dims.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    back: Tensor = squeeze(dy, (_one_axis(y.op.attrs["axis"]),))
    return back


@op(view=True, early=True)
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
    merged = None if dims is None else num_elements(dims[1:])
    flat: Tensor = reshape(x, [size_along(x, 0), -1 if merged is None else merged], name=name)
    return flat


@op(same=(0,), early=True)
def tile(input, multiples):
    """``input`` repeated ``multiples[i]`` times along axis i."""
    return np.tile(input, tuple(multiples))


@tile.shape
def _(input: Spec, multiples: Spec) -> Spec:
    return Spec(input.dtype, _tiled(input.shape, multiples, lambda n, times: n * times))


def _tiled(dims: Dims, multiples: Spec, size: Any) -> Dims:
    """The shape of a tiling, or, with division for ``size``, of what was tiled."""
    times = vector_entries(multiples)
    if dims is None or times is None:
        either = times if dims is None else dims
        return None if either is None else (None,) * len(either)
    if len(times) != len(dims):
        raise GraphError(f"{len(times)} multiples for {len(dims)} axes")
    if any(m is not None and m < 0 for m in times):
        raise ShapeError(f"multiples {list(times)} must not be negative")
    return tuple(None if n is None or m is None else size(n, m) for n, m in zip(dims, times, strict=True))


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
    sizes = value_dims(shape)
    return Spec(x.dtype, (None,) * len(x.shape) if sizes is None and x.shape is not None else sizes)


@sum_tiles.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return tile(dy, y.op.inputs[1]), None, None


@op(view=True, early=True)
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
def roll(input, shift, axis=None):
    """Elements moved ``shift`` places up along ``axis``, those that fall out coming in again at the start.

    Lists of both move along several axes.
    """
    return np.roll(input, tuple(np.atleast_1d(shift).tolist()), (axis,) if isinstance(axis, int) else axis)


@roll.shape
def _(input: Spec, shift: Spec, axis: int | Sequence[int] | None) -> Spec:
    axes = (axis,) if isinstance(axis, int) else axis
    if axes is None or (shift.shape is not None and shift.shape not in ((len(axes),), (None,), ())):
        raise GraphError("roll needs as many axes as shifts")
    for a in axes if input.shape is not None else ():
        normal_axis(a, len(input.shape or ()))
    return Spec(input.dtype, input.shape)


@roll.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return roll(dy, -y.op.inputs[1], y.op.attrs["axis"]), None


@op(same=(0,))
def reverse_sequence(input, seq_lengths, seq_axis=None, batch_axis=0):
    """The first ``seq_lengths[i]`` elements along ``seq_axis`` in reverse order, for each i along ``batch_axis``."""
    result = np.array(input)
    moved, source = (np.moveaxis(x, (batch_axis, seq_axis), (0, 1)) for x in (result, input))
    for i, n in enumerate(seq_lengths.tolist()):
        if not 0 <= n <= source.shape[1]:
            raise InvalidArgumentError(f"reverse_sequence: a length of {n} for sequences of {source.shape[1]}")
        moved[i, :n] = source[i, :n][::-1]
    return result


@reverse_sequence.shape
def _(input: Spec, seq_lengths: Spec, seq_axis: int | None, batch_axis: int | None) -> Spec:
    if seq_axis is None or batch_axis is None:
        raise GraphError("reverse_sequence needs seq_axis and batch_axis")
    need_integers(seq_lengths, "the lengths")
    if seq_lengths.rank not in (1, None):
        raise GraphError("the lengths are a vector")
    if input.shape is not None:
        s, b = (normal_axis(a, len(input.shape)) for a in (seq_axis, batch_axis))
        if s == b or (seq_lengths.shape is not None and not compatible(input.shape[b : b + 1], seq_lengths.shape)):
            raise GraphError("two different axes are needed, and a length for each index of the batch")
    return Spec(input.dtype, input.shape)


@reverse_sequence.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    attrs = y.op.attrs
    return reverse_sequence(dy, y.op.inputs[1], attrs["seq_axis"], attrs["batch_axis"]), None


PAD_MODES = ("CONSTANT", "REFLECT", "SYMMETRIC")


@op(same=(0,))
def pad(tensor, paddings, mode="CONSTANT", name=None, constant_values=0):
    """``tensor`` with ``paddings[i] = (before, after)`` elements added to axis i.

    ``mode`` says what is added: CONSTANT the number ``constant_values``, REFLECT the neighbours mirrored about the edge
    element, SYMMETRIC mirrored about the edge itself.
    """
    widths = [(int(before), int(after)) for before, after in paddings]
    _check_widths(tensor.shape, widths, mode)
    if mode.upper() == "CONSTANT":
        return np.pad(tensor, widths, constant_values=constant_values)
    return np.pad(tensor, widths, mode=mode.lower())


def _check_widths(dims: Sequence[int | None], widths: Sequence[tuple[int, int]], mode: str) -> None:
    """A mirror shows each element at most once on either side, as in TensorFlow."""
    for n, (before, after) in zip(dims, widths, strict=True):
        most = None if mode.upper() == "CONSTANT" or n is None else max(n - (mode.upper() == "REFLECT"), 0)
        if min(before, after) < 0 or (most is not None and max(before, after) > most):
            raise InvalidArgumentError(f"pad: {before} and {after} elements cannot be added to {n} in mode {mode}")


@pad.shape
def _(tensor: Spec, paddings: Spec, mode: str, constant_values: Any) -> Spec:
    if mode.upper() not in PAD_MODES:
        raise GraphError(f"mode is one of {', '.join(PAD_MODES)}, not {mode!r}")
    return Spec(tensor.dtype, _padded(tensor.shape, paddings, mode, 1))


def _padded(dims: Dims, paddings: Spec, mode: str, sign: int) -> Dims:
    """The shape with padding added (``sign`` 1) or taken away (-1)."""
    if paddings.shape != (0, 2):
        need_integers(paddings, "paddings")
    if paddings.shape is not None and (len(paddings.shape) != 2 or paddings.shape[1] not in (2, None)):
        raise GraphError(f"paddings have shape [rank, 2], not {list(paddings.shape)}")
    if dims is None:
        return None if paddings.shape is None or paddings.shape[0] is None else (None,) * paddings.shape[0]
    if paddings.shape is not None and paddings.shape[0] not in (len(dims), None):
        raise GraphError(f"paddings for {paddings.shape[0]} axes, but the tensor has {len(dims)}")
    widths = entries(paddings)
    if widths is None:
        return (None,) * len(dims)
    padded = tuple(None if n is None or None in w else n + sign * sum(w) for n, w in zip(dims, widths, strict=True))
    with known_early():
        _check_widths(dims if sign > 0 else padded, [w if None not in w else (0, 0) for w in widths], mode)
    return padded


@pad.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    x, paddings = y.op.inputs
    mode = y.op.attrs["mode"]
    if mode.upper() == "CONSTANT":
        return slice(dy, paddings[:, 0], known_shape(x)), None
    return fold_mirror(dy, paddings, mode), None


@op(same=(0,))
def fold_mirror(x, paddings, mode="REFLECT"):
    """Every padded element of ``x`` added to the one it mirrors, and the padding cut off."""
    for axis, (before, after) in enumerate(paddings.tolist()):
        source = np.pad(np.arange(x.shape[axis] - before - after), (before, after), mode=mode.lower())
        folded = np.zeros((len(source) - before - after, *np.delete(x.shape, axis)), x.dtype)
        np.add.at(folded, source, np.moveaxis(x, axis, 0))
        x = np.moveaxis(folded, 0, axis)
    return np.array(x)


@fold_mirror.shape
def _(x: Spec, paddings: Spec, mode: str) -> Spec:
    return Spec(x.dtype, _padded(x.shape, paddings, mode, -1))


@fold_mirror.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return pad(dy, y.op.inputs[1], y.op.attrs["mode"]), None
