"""Taking elements by position: Python indexing, slices, gathers, masks, one-hot codes, and their inverses."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import DType, as_dtype, float32, int64
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, literal, op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, normal_axis, num_elements
from paraflow.ops.array import Array, known_shape, reshape, size_along, vector_value

# A key is what stands between the brackets in a form that can be hashed: a tuple of ints, None, Ellipsis and
# (start, stop, step). BOUND stands in the place of a number that an operand, the next of `bounds`, has at run time.
Key = tuple[Any, ...]
BOUND = "?"


def index(tensor: Any, key: Any) -> Tensor:
    """``tensor[key]`` with Python's meaning of ints, slices, Ellipsis and None; the output shares memory.

    Numbers may be integer scalar tensors. An integer vector (array or tensor) instead of all this takes rows, as
    `gather` does. Raises GraphError for an index out of range where that is known, and what `gather` raises.
    """
    x = convert(tensor)
    if isinstance(key, list) or (np.ndim(key) if isinstance(key, np.ndarray) else _rank(key)):
        rows: Tensor = gather(x, key)
        return rows
    bounds: list[Tensor] = []
    frozen = tuple(_freeze(item, bounds) for item in (key if isinstance(key, tuple) else (key,)))
    picked: Tensor = getitem(x, *bounds, key=frozen)
    return picked


def _rank(item: Any) -> int | None:
    return convert(item).spec.rank if isinstance(item, Tensor) or hasattr(item, "__tensor__") else None


def _freeze(item: Any, bounds: list[Tensor]) -> Any:
    """One item of a key; what is known only at run time is added to ``bounds``."""
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, builtins.slice):
        return tuple(None if n is None else _number(n, bounds) for n in (item.start, item.stop, item.step))
    return _number(item, bounds)


def _number(item: Any, bounds: list[Tensor]) -> Any:
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    if isinstance(item, np.ndarray) or _rank(item) is not None:
        tensor = convert(item)
        if tensor.spec.rank in (0, None) and tensor.dtype.kind in "iu":
            if tensor.spec.value is not None:
                return int(tensor.spec.value)
            bounds.append(tensor)
            return BOUND
    raise InvalidArgumentError(
        f"cannot index a tensor with {item!r}: ints, slices, ..., None and integer scalars can stand in a key, or an "
        f"integer vector alone; see also gather and boolean_mask{at_user_line()}"
    )


def numpy_key(key: Key, bounds: Sequence[Any] = ()) -> tuple[Any, ...]:
    """The key as numpy takes it. It always holds an Ellipsis, so that a single element comes as an array."""
    numbers = iter(bounds)

    def thaw(item: Any) -> Any:
        if isinstance(item, tuple):
            return builtins.slice(*(thaw(n) for n in item))
        return int(next(numbers)) if item == BOUND else item

    thawed = tuple(thaw(item) for item in key)
    return thawed if Ellipsis in key else (*thawed, Ellipsis)


@op(view=True, same=(0,))
def getitem(tensor, *bounds, key=()):
    """``tensor[key]``; ``bounds`` are the numbers of the key that come as operands, in order."""
    return tensor[numpy_key(key, bounds)]


@getitem.shape
def _(tensor: Spec, *bounds: Spec, key: Key) -> Spec:
    if not bounds and tensor.value is not None:
        return Spec(tensor.dtype, *_of_value(tensor.value, key))
    return Spec(tensor.dtype, indexed_dims(tensor.shape, key))


def _of_value(value: Array, key: Key) -> tuple[Dims, Array]:
    dims = indexed_dims(value.shape, key)
    return dims, value[numpy_key(key)]


def indexed_dims(dims: Dims, key: Key) -> Dims:
    """The shape of ``x[key]`` for an x of shape ``dims``; raises GraphError for an index out of range."""
    if key.count(Ellipsis) > 1:
        raise GraphError("a key can have one ... only")
    if dims is None:
        return None
    used = sum(item is not None and item is not Ellipsis for item in key)
    if used > len(dims):
        raise GraphError(f"{used} indices for {len(dims)} axes")
    result: list[int | None] = []
    sizes = iter(dims)
    for item in key if Ellipsis in key else (*key, Ellipsis):
        if item is None:
            result.append(1)
        elif item is Ellipsis:
            result += [next(sizes) for _ in range(len(dims) - used)]
        elif isinstance(item, tuple):
            result.append(_slice_size(next(sizes), item))
        else:
            n = next(sizes)
            if item != BOUND and n is not None and not -n <= item < n:
                raise GraphError(f"index {item} is out of range for an axis of size {n}")
    return tuple(result)


def _slice_size(n: int | None, item: Key) -> int | None:
    if item[2] == 0:
        raise GraphError("the step of a slice is 0")
    if item[:2] == (None, None) and item[2] in (None, 1, -1):
        return n
    return None if n is None or BOUND in item else len(range(*builtins.slice(*item).indices(n)))


@getitem.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    tensor, *bounds = y.op.inputs
    dx = setitem(dy, known_shape(tensor), *bounds, key=y.op.attrs["key"])
    return dx, *(None for _ in bounds)


@op(same=(0,))
def setitem(values, shape, *bounds, key=()):
    """Zeros of ``shape``, but ``values`` at ``key``."""
    result = np.zeros(tuple(shape), values.dtype)
    result[numpy_key(key, bounds)] = values
    return result


@setitem.shape
def _(values: Spec, shape: Spec, *bounds: Spec, key: Key) -> Spec:
    return Spec(values.dtype, vector_value(shape))


@setitem.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    _, shape, *bounds = y.op.inputs
    return getitem(dy, *bounds, key=y.op.attrs["key"]), None, *(None for _ in bounds)


@op(view=True, same=(0,))
def slice(input_, begin, size):
    """The block of ``size`` elements that starts at ``begin``, two vectors; a size of -1 is all that is left."""
    return input_[_block(input_.shape, begin.tolist(), size.tolist())]


def _block(dims: Sequence[int], begin: Sequence[int], size: Sequence[int]) -> tuple[builtins.slice, ...]:
    """The slices of a block; raises InvalidArgumentError unless it lies inside ``dims``."""
    ends = [n if s == -1 else b + s for n, b, s in zip(dims, begin, size, strict=True)]
    if not all(0 <= b <= e <= n for n, b, e in zip(dims, begin, ends, strict=True)):
        raise InvalidArgumentError(
            f"slice: begin {list(begin)} and size {list(size)} do not lie inside a tensor of shape {list(dims)}"
        )
    return tuple(builtins.slice(b, e) for b, e in zip(begin, ends, strict=True))


@slice.shape
def _(input_: Spec, begin: Spec, size: Spec) -> Spec:
    starts, sizes = vector_value(begin), vector_value(size)
    count = None if size.shape is None else size.shape[0]
    dims = input_.shape if input_.shape is not None or count is None else (None,) * count
    if dims is None:
        return Spec(input_.dtype, None)
    if len(starts or dims) != len(dims) or count not in (len(dims), None):
        raise GraphError(f"begin and size need {len(dims)} elements each")
    if starts is not None and sizes is not None and None not in dims:
        block = _block([n for n in dims if n is not None], starts, sizes)
        return Spec(input_.dtype, tuple(s.stop - s.start for s in block))
    sizes = sizes or (-1,) * len(dims)
    return Spec(input_.dtype, tuple(None if s == -1 else s for s in sizes))


@slice.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    x, begin, _ = y.op.inputs
    return place(dy, begin, known_shape(x)), None, None


@op(same=(0,))
def place(block, begin, shape):
    """Zeros of ``shape``, but ``block`` where it starts at ``begin``."""
    result = np.zeros(tuple(shape), block.dtype)
    result[_block(result.shape, begin.tolist(), block.shape)] = block
    return result


@place.shape
def _(block: Spec, begin: Spec, shape: Spec) -> Spec:
    return Spec(block.dtype, vector_value(shape))


@place.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    block, begin, _ = y.op.inputs
    return slice(dy, begin, known_shape(block)), None, None


def _check_indices(indices: Array, size: int, what: str) -> None:
    """Every index must lie in [0, size): what counts from the end elsewhere is more often a mistake here."""
    if indices.size and not (0 <= indices.min() and indices.max() < size):
        worst = indices.min() if indices.min() < 0 else indices.max()
        raise InvalidArgumentError(f"{what}: index {worst} is not in [0, {size})")


@op(same=(0,))
def gather(params, indices, axis=0):
    """The slices of ``params`` at ``indices`` along ``axis``; the axes of ``indices`` take that axis's place.

    Raises InvalidArgumentError for an index outside [0, size).
    """
    _check_indices(indices, params.shape[axis], "gather")
    return np.take(params, indices, axis)


def _integers(indices: Spec) -> None:
    if indices.dtype.kind not in "iu":
        raise GraphError(f"indices are integers, not {indices.dtype.name}")


@gather.shape
def _(params: Spec, indices: Spec, axis: int) -> Spec:
    _integers(indices)
    if params.shape is None or indices.shape is None:
        return Spec(params.dtype, None)
    at = normal_axis(axis, len(params.shape))
    return Spec(params.dtype, (*params.shape[:at], *indices.shape, *params.shape[at + 1 :]))


@gather.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    params, indices = y.op.inputs
    return scatter_add(dy, indices, known_shape(params), y.op.attrs["axis"]), None


@op(same=(0,))
def scatter_add(updates, indices, shape, axis=0):
    """Zeros of ``shape``, with the slices ``updates`` added at ``indices`` along ``axis``, the transpose of `gather`.

    Slices are sorted by index and runs of one index are summed, which is faster than adding them one by one.
    """
    result = np.zeros(tuple(shape), updates.dtype)
    at = axis % result.ndim
    _check_indices(indices, result.shape[at], "scatter_add")
    if not updates.size:
        return result
    rest = result.shape[:at] + result.shape[at + 1 :]
    rows = np.moveaxis(updates, range(at, at + indices.ndim), range(indices.ndim)).reshape(indices.size, *rest)
    order = np.argsort(indices, axis=None, kind="stable")
    ordered = indices.reshape(-1)[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    np.moveaxis(result, at, 0)[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0, dtype=updates.dtype)
    return result


@scatter_add.shape
def _(updates: Spec, indices: Spec, shape: Spec, axis: int) -> Spec:
    _integers(indices)
    return Spec(updates.dtype, vector_value(shape))


@scatter_add.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return gather(dy, y.op.inputs[1], y.op.attrs["axis"]), None, None


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str = "UnsortedSegmentSum") -> Tensor:
    """The sums of the elements of ``data`` that have one id: row i is the sum over segment_ids == i.

    ``segment_ids`` gives an id in [0, num_segments) to each of the leading indices of ``data``.
    """
    x, ids = convert(data), convert(segment_ids)
    if ids.spec.rank is None or x.spec.rank is None:
        raise GraphError(f"unsorted_segment_sum needs tensors of known rank{at_user_line()}")
    sizes = convert([num_segments, *(size_along(x, i) for i in range(ids.spec.rank, x.spec.rank))])
    sums: Tensor = scatter_add(x, ids, sizes, name=name)
    return sums


@op(same=())
def true_indices(mask):
    """The positions of the True elements in row-major order, an int64 vector."""
    return np.flatnonzero(mask).astype(np.int64)


@true_indices.shape
def _(mask: Spec) -> Spec:
    if mask.dtype.kind != "b":
        raise GraphError(f"a mask is bool, not {mask.dtype.name}")
    return Spec(int64, (None,))


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: int = 0) -> Tensor:
    """The slices of ``tensor`` where ``mask`` is True; the axes of the mask, from ``axis`` on, become one.

    Raises GraphError when the mask's rank is not known or 0 or its shape is not that of the tensor's axes.
    """
    x, m = convert(tensor), convert(mask)
    if not m.spec.rank or x.spec.shape is None:
        raise GraphError(f"boolean_mask needs a tensor and a mask of known rank, 1 or more for the mask{at_user_line()}")
    at = normal_axis(axis, len(x.spec.shape))
    masked = x.spec.shape[at : at + m.spec.rank]
    if not compatible(masked, m.spec.shape):
        raise GraphError(
            f"boolean_mask: the mask {format_dims(m.spec.shape)} does not fit axes {format_dims(masked)}{at_user_line()}"
        )
    if m.spec.rank > 1:
        merged = num_elements(masked)
        outer = [size_along(x, i) for i in range(at)]
        inner = [size_along(x, i) for i in range(at + m.spec.rank, len(x.spec.shape))]
        x = reshape(x, convert([*outer, -1 if merged is None else merged, *inner]))
    picked: Tensor = gather(x, true_indices(m), at, name=name)
    return picked


@op(same=())
def one_hot_code(indices, depth, on_value=1, off_value=0, axis=-1, dtype=float32):
    """A new axis of size ``depth`` with ``on_value`` at the place of each index, ``off_value`` elsewhere."""
    hit = np.expand_dims(indices, axis) == np.arange(depth).reshape(_along(axis, indices.ndim + 1))
    return np.where(hit, dtype.type(on_value), dtype.type(off_value))


def _along(axis: int, rank: int) -> list[int]:
    """A shape of all ones but -1 at ``axis``."""
    return [-1 if i == axis % rank else 1 for i in range(rank)]


@one_hot_code.shape
def _(indices: Spec, depth: Spec, on_value: Any, off_value: Any, axis: int, dtype: DType) -> Spec:
    _integers(indices)
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
    axis: int = -1,
    dtype: Any = None,
    name: str = "one_hot",
) -> Tensor:
    """A vector of ``depth`` elements for each index: ``on_value`` (1) at its place, ``off_value`` (0) elsewhere.

    The new axis is ``axis``. An index outside [0, depth) gives a vector without ``on_value``. The dtype is that of the
    given values, else float32.
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
    if x.rank not in (1, None) or x.dtype.kind not in "iu":
        raise GraphError("a permutation is a vector of integers")
    return Spec(x.dtype, x.shape)
