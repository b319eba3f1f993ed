"""Python indexing and slices, and the operations that put elements back where these took them."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError, ShapeError
from paraflow.graph.dtypes import is_bool, is_integer
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec
from paraflow.ops.array import known_shape, value_dims, vector_entries
from paraflow.ops.gathering import boolean_mask, gather

# A key is what stands between the brackets in a form that can be hashed: a tuple of ints, None, Ellipsis and
# (start, stop, step). BOUND stands in the place of a number that an operand, the next of `bounds`, has at run time.
Key = tuple[Any, ...]
BOUND = "?"


def getitem(tensor: Any, key: Any) -> Tensor:
    """``tensor[key]`` with Python's meaning of ints, slices, Ellipsis and None; the output shares memory.

    Numbers may be integer scalar tensors, and a list means a tuple, as in TensorFlow: ``x[[0, 1]]`` is ``x[0, 1]``.
    A bool array or tensor instead of all this chooses as `boolean_mask` does. An integer vector (array or tensor, but
    no list) takes rows as `gather` does, for which TensorFlow has no meaning. Raises GraphError for an index out of
    range where that is known, what `gather` and `boolean_mask` raise, and InvalidTypeError for other keys.
    """
    x = convert(tensor)
    if not isinstance(key, (list, tuple)):
        if isinstance(key, bool) or _is_mask(key):
            return boolean_mask(x, key)
        if isinstance(key, np.ndarray) or _rank(key):
            rows = convert(key)
            if rows.spec.rank and is_integer(rows.dtype):
                gathered: Tensor = gather(x, rows)
                return gathered
        key = (key,)
    bounds: list[Tensor] = []
    frozen = tuple(_freeze(item, bounds) for item in key)
    picked: Tensor = basic_index(x, *bounds, key=frozen)
    return picked


def _is_mask(key: Any) -> bool:
    return (isinstance(key, (Tensor, np.ndarray)) or hasattr(key, "__tensor__")) and is_bool(key.dtype)


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """``input_[begin[0]:end[0]:strides[0], begin[1]:end[1]:strides[1], ...]``, for vectors of one known length.

    A bit i set in a mask changes item i: no begin, no end, an ``...``, a new axis of size 1, or the one element
    ``begin[i]``, whose axis goes. Negative numbers count from the end, as in Python. ``var`` is a variable of which
    this is a part to be assigned to, which is refused.
    """
    if var is not None:
        raise InvalidArgumentError(f"strided_slice: a part of a variable cannot be assigned{at_user_line()}")
    starts, stops = convert(begin), convert(end)
    count = next((v.spec.shape[0] for v in (starts, stops) if v.spec.rank == 1 and v.spec.shape), None)
    if count is None:
        raise GraphError(f"strided_slice: begin and end are vectors of known length{at_user_line()}")
    steps = [1] * count if strides is None else convert(strides)
    key: list[Any] = []
    for i in range(count):
        if ellipsis_mask >> i & 1:
            key.append(Ellipsis)
        elif new_axis_mask >> i & 1:
            key.append(None)
        elif shrink_axis_mask >> i & 1:
            key.append(starts[i])
        else:
            first, last = (None if m >> i & 1 else v[i] for v, m in ((starts, begin_mask), (stops, end_mask)))
            key.append(builtins.slice(first, last, steps[i]))
    x = convert(input_)
    bounds: list[Tensor] = []
    frozen = tuple(_freeze(item, bounds) for item in key)
    picked: Tensor = basic_index(x, *bounds, key=frozen, name=name or "StridedSlice")
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
        if tensor.spec.rank in (0, None) and is_integer(tensor.dtype):
            if tensor.spec.value is not None:
                return int(tensor.spec.value)
            bounds.append(tensor)
            return BOUND
    raise InvalidTypeError(
        f"cannot index a tensor with {item!r}: ints, slices, ..., None and integer scalars can stand in a key, or a "
        f"bool mask or an integer vector alone; see also gather and boolean_mask{at_user_line()}"
    )


def filled(key: Key, numbers: Iterable[Any]) -> Key:
    """The key with the numbers in the places of its bounds, in order."""
    given = iter(numbers)

    def fill(item: Any) -> Any:
        if isinstance(item, tuple):
            return tuple(fill(n) for n in item)
        return next(given) if item == BOUND else item

    return tuple(fill(item) for item in key)


def numpy_key(key: Key, bounds: Iterable[Any]) -> tuple[Any, ...]:
    """The key as numpy takes it. It always holds an Ellipsis, so that a single element comes as an array."""
    whole = filled(key, (int(n) for n in bounds))
    items = tuple(builtins.slice(*item) if isinstance(item, tuple) else item for item in whole)
    return items if Ellipsis in key else (*items, Ellipsis)


@op(view=True, same=(0,), early=True)
def basic_index(tensor, *bounds, key=()):
    """``tensor[key]``; ``bounds`` are the numbers of the key that come as operands, in order."""
    return tensor[numpy_key(key, bounds)]


@basic_index.shape
def _(tensor: Spec, *bounds: Spec, key: Key) -> Spec:
    known = filled(key, (BOUND if n.value is None else int(n.value) for n in bounds))
    return Spec(tensor.dtype, indexed_dims(tensor.shape, known))


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


@basic_index.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    tensor, *bounds = y.op.inputs
    dx = basic_scatter(dy, known_shape(tensor), *bounds, key=y.op.attrs["key"])
    return dx, *(None for _ in bounds)


@op(same=(0,))
def basic_scatter(values, shape, *bounds, key=()):
    """Zeros of ``shape``, but ``values`` at ``key``."""
    result = np.zeros(tuple(shape), values.dtype)
    result[numpy_key(key, bounds)] = values
    return result


@basic_scatter.shape
def _(values: Spec, shape: Spec, *bounds: Spec, key: Key) -> Spec:
    return Spec(values.dtype, value_dims(shape))


@basic_scatter.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    bounds = y.op.inputs[2:]
    return basic_index(dy, *bounds, key=y.op.attrs["key"]), None, *(None for _ in bounds)


@op(view=True, same=(0,), early=True)
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
    starts, sizes = vector_entries(begin), vector_entries(size)
    rank = next((len(given) for given in (input_.shape, starts, sizes) if given is not None), None)
    if rank is None:
        return Spec(input_.dtype, None)
    dims, starts, sizes = ((None,) * rank if given is None else given for given in (input_.shape, starts, sizes))
    if not len(starts) == len(sizes) == rank:
        raise GraphError(f"begin and size need {rank} elements each")
    return Spec(input_.dtype, tuple(map(_block_size, dims, starts, sizes)))


def _block_size(n: int | None, start: int | None, size: int | None) -> int | None:
    """The size of a block along an axis of ``n`` elements; raises ShapeError where it cannot lie in it."""
    first, count = start or 0, size or 0
    if first < 0 or count < -1 or (n is not None and first + max(count, 0) > n):
        begin, extent, whole = ("?" if known is None else known for known in (start, size, n))
        raise ShapeError(f"begin {begin} and size {extent} do not lie inside an axis of size {whole}")
    if size != -1:
        return size
    return None if n is None or start is None else n - start


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
    return Spec(block.dtype, value_dims(shape))


@place.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    block, begin, _ = y.op.inputs
    return slice(dy, begin, known_shape(block)), None, None
