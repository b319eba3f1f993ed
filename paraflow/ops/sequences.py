"""Regular tensors: ranges, grids, one-hot codes, masks of given lengths."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import DType, as_dtype, bool_, float32, float64, int32, int64, is_integer
from paraflow.graph.node import Tensor
from paraflow.graph.partial import EARLY
from paraflow.graph.record import at_user_line, convert, literal, op
from paraflow.graph.shape import Spec, format_dims, need_integers, normal_axis, num_elements
from paraflow.ops.array import Array, broadcast_to, cast, known_early, reshape, size
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.reduce import reduce_max


@op(dtypes="real")
def arange(start, limit, delta):
    """start, start + delta, start + 2 delta, ... up to and without limit."""
    count = _range_size(start, limit, delta)
    return (start + delta * np.arange(count)).astype(start.dtype)


@arange.shape
def _(start: Spec, limit: Spec, delta: Spec) -> Spec:
    ends = [x.value for x in (start, limit, delta) if x.value is not None]
    if len(ends) < 3:
        return Spec(start.dtype, (None,))
    with known_early():
        count = _range_size(*ends)
    return Spec(start.dtype, (count,), arange.body(*ends) if count <= EARLY else None)


def _range_size(start: Array, limit: Array, delta: Array) -> int:
    if delta == 0:
        raise InvalidArgumentError("range: delta is 0")
    if limit < start if delta > 0 else limit > start:
        raise InvalidArgumentError(f"range: steps of {delta} do not lead from {start} to {limit}")
    if is_integer(start.dtype):
        return len(builtins.range(int(start), int(limit), int(delta)))
    return max(0, int(np.ceil((float(limit) - float(start)) / float(delta))))


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """The numbers from ``start`` up to and without ``limit`` in steps of ``delta``; range(n) starts at 0.

    The dtype is the widest of the arguments' in the order int32, int64, float32, float64.
    """
    ends = [convert(x) for x in ((0, start, delta) if limit is None else (start, limit, delta))]
    order = [int32, int64, float32, float64]
    for end in ends:
        if end.dtype not in order:
            raise InvalidTypeError(f"range takes int32, int64, float32 or float64, not {end.dtype}{at_user_line()}")
    wide = order[max(order.index(x.dtype) for x in ends)] if dtype is None else as_dtype(dtype)
    numbers: Tensor = arange(*(x if x.dtype == wide else cast(x, wide) for x in ends), name=name)
    return numbers


@op(dtypes="float", same=(0, 1))
def linspace(start, stop, num):
    """``num`` numbers at equal distances from ``start`` to ``stop``, both included."""
    if num < 1:
        raise InvalidArgumentError(f"linspace: num is {num}, needs to be 1 or more")
    return np.linspace(start, stop, int(num), dtype=start.dtype)


@linspace.shape
def _(start: Spec, stop: Spec, num: Spec) -> Spec:
    return Spec(start.dtype, (None if num.value is None else int(num.value),))


@op(same=())
def one_hot_code(indices, depth, on_value=1, off_value=0, axis=-1, dtype=float32):
    """A new axis of size ``depth`` with ``on_value`` at the place of each index, ``off_value`` elsewhere."""
    hit = np.equal(np.expand_dims(indices, axis), np.arange(depth).reshape(_along(axis, indices.ndim + 1)))
    return np.where(hit, dtype.type(on_value), dtype.type(off_value))


def _along(axis: int, rank: int) -> list[int]:
    """A shape of all ones but -1 at ``axis``."""
    return [-1 if i == axis % rank else 1 for i in builtins.range(rank)]


@one_hot_code.shape
def _(indices: Spec, depth: Spec, on_value: Any, off_value: Any, axis: int, dtype: DType) -> Spec:
    need_integers(indices, "indices")
    if indices.shape is None:
        return Spec(dtype, None)
    at = normal_axis(axis, len(indices.shape) + 1)
    return Spec(
        dtype, (*indices.shape[:at], None if depth.value is None else int(depth.value), *indices.shape[at:])
    )


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str = "one_hot",
) -> Tensor:
    """A vector of ``depth`` elements for each index: ``on_value`` (1) at its place, ``off_value`` (0) elsewhere.

    The new axis is ``axis`` (None: the last). An index outside [0, depth) gives a vector without ``on_value``. The
    dtype is that of the given values, else float32.
    """
    given = [literal(v) for v in (on_value, off_value) if v is not None]
    chosen = as_dtype(dtype) if dtype is not None else given[0].dtype if given else float32
    on = literal(np.ones((), chosen) if on_value is None else on_value, chosen).item()
    off = literal(np.zeros((), chosen) if off_value is None else off_value, chosen).item()
    code: Tensor = one_hot_code(indices, depth, on, off, -1 if axis is None else axis, chosen, name=name)
    return code


@op(same=(), dtypes="int")
def invert_permutation(x):
    """The vector y with y[x[i]] = i; raises InvalidArgumentError when ``x`` is no order of 0 .. n - 1."""
    inverse = np.argsort(x).astype(x.dtype)
    if not np.array_equal(x[inverse], np.arange(x.size)):
        raise InvalidArgumentError(f"invert_permutation: {x.tolist()} is no permutation")
    return inverse


@invert_permutation.shape
def _(x: Spec) -> Spec:
    need_integers(x, "the elements of a permutation")
    if x.rank not in (1, None):
        raise GraphError(f"a permutation is a vector, not of shape {format_dims(x.shape)}")
    return Spec(x.dtype, x.shape)


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = bool_, name: str = "SequenceMask") -> Tensor:
    """For each length n a row [maxlen] whose first n elements are True (1), the others False (0).

    ``maxlen`` is the largest of the lengths when it is left out.
    """
    counts = convert(lengths)
    columns = convert(reduce_max(counts) if maxlen is None else maxlen, counts.dtype)
    mask: Tensor = cast(range(columns, dtype=counts.dtype) < expand_dims(counts, -1), as_dtype(dtype), name=name)
    return mask


def meshgrid(*args: Any, indexing: str = "xy") -> list[Tensor]:
    """For vectors x_1 .. x_n the tensors of rank n that hold each coordinate at every point of their grid.

    ``indexing`` is "xy" (the first two axes exchanged, as for plots) or "ij".
    """
    if indexing not in ("xy", "ij"):
        raise GraphError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}{at_user_line()}")
    vectors = [convert(x) for x in args]
    order = list(builtins.range(len(vectors)))
    if indexing == "xy":
        order[:2] = order[1::-1]
    sizes = convert([num_elements(vectors[i].spec.shape) or size(vectors[i]) for i in order])
    return [
        broadcast_to(reshape(x, [-1 if i == axis else 1 for i in order]), sizes) for axis, x in enumerate(vectors)
    ]
