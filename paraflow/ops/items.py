"""Lists of arrays as values: what a TensorArray holds, and what a loop keeps of each of its turns.

A list is one tensor, of dtype `items` and rank 0, whatever the number and the shapes of its elements. A list as the
cotangent of a list has no element where nothing depends on it: missing elements are zeros.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import DType, int32, is_floating, items
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Dims, Spec, compatible, format_dims, known, merge
from paraflow.ops.array import size_along
from paraflow.ops.sequences import range as numbers

Array = np.ndarray[Any, Any]

LIST = Spec(items, ())

_lock = threading.Lock()
_FAR = 32  # changes


class Items:
    """A list of arrays that never changes: what changes it returns another one.

    All that come of one another share the elements, which the last of them owns, so to change that one costs the same
    whatever its length; an older one keeps what it differs by from the next (Baker, "Shallow binding makes functional
    arrays fast", 1991), and one that differs by much gets elements of its own. What nobody has written is missing.
    ``rows`` is the array of which the elements are the rows, where they are.
    """

    __slots__ = ("_elements", "_next", "rows", "size")

    def __init__(self, elements: dict[int, Any], size: int, rows: Array | None = None) -> None:
        self.size, self.rows = size, rows
        self._elements: dict[int, Any] | None = elements
        self._next: tuple[int, Any, Items] | None = None

    def __repr__(self) -> str:
        """The same in every process: it is a part of the texts of plans."""
        return f"Items({self.size}, {self.elements()})"

    def get(self, index: int) -> Any:
        """The element, or None where it is missing."""
        with _lock:
            return (self._elements or self._own()).get(index)

    def elements(self) -> list[tuple[int, Any]]:
        """The elements that are there, with their places."""
        with _lock:
            return sorted(self._own().items())

    def set(self, index: int, element: Any, fresh: bool = False) -> Items:
        """The list with this element; where it has to be ``fresh``, raises InvalidArgumentError if there is one."""
        with _lock:
            elements = self._elements or self._own() or {}
            before = elements.get(index)
            if fresh and before is not None:
                raise InvalidArgumentError(
                    f"could not write to index {index} of a TensorArray, because it has already been written to"
                )
            changed = Items(elements, self.size if index < self.size else index + 1)
            if elements:
                self._elements, self._next = None, (index, before, changed)
            elements[index] = element
            return changed

    def update(self, elements: dict[int, Any]) -> Items:
        """The list with all these elements."""
        size = max(self.size, *(index + 1 for index in elements), 0) if elements else self.size
        with _lock:
            if not self._own():
                return Items(elements, size)
        changed = self
        for index, element in elements.items():
            changed = changed.set(index, element)
        return changed

    def _own(self) -> dict[int, Any]:
        """The elements, made those of this list."""
        if self._elements is None:
            chain: list[Items] = []
            at = self
            while at._next is not None:
                chain.append(at)
                at = at._next[2]
            if len(chain) > _FAR:
                self._part(chain)
                chain = []
            for older in reversed(chain):
                assert older._next is not None
                index, before, newer = older._next
                elements = newer._elements
                assert elements is not None
                newer._elements, newer._next = None, (index, elements.get(index), older)
                if before is None:
                    del elements[index]
                else:
                    elements[index] = before
                older._elements, older._next = elements, None
        assert self._elements is not None
        return self._elements

    def _part(self, chain: list[Items]) -> None:
        """Take elements of its own, given the way to those that it shares."""
        last = chain[-1]._next
        assert last is not None
        elements = dict(last[2]._elements or {})
        for older in reversed(chain):
            assert older._next is not None
            index, before, _ = older._next
            if before is None:
                del elements[index]
            else:
                elements[index] = before
        self._elements, self._next = elements, None

    def count(self) -> int:
        """How many elements are there."""
        with _lock:
            return len(self._own())

    def values(self) -> list[Any]:
        """All elements, None where one is missing."""
        with _lock:
            elements = self._own()
            return [elements.get(i) for i in range(self.size)]


def boxed(value: Any) -> Array:
    """``value`` as an array of rank 0 and of dtype `items`."""
    box = np.empty((), items)
    box[()] = value
    return box


def listed(elements: Sequence[Any], rows: Array | None = None) -> Array:
    """The list of ``elements``, perhaps the ``rows`` of an array, as the value of a tensor."""
    return boxed(Items(dict(enumerate(elements)), len(elements), rows))


def _place(index: Any, of: Items, what: str, resizeable: bool = False) -> int:
    place = int(index)
    if place < 0 or (place >= of.size and not resizeable):
        hint = "is negative" if place < 0 else f"array is not resizeable and size is: {of.size}"
        raise InvalidArgumentError(f"tried to {what} index {place} of a TensorArray, but {hint}")
    return place


def _found(of: Items, place: int, dtype: DType, dims: Dims) -> Any:
    element = of.get(place)
    if element is not None:
        if not compatible(element.shape, dims):
            raise InvalidArgumentError(
                f"element {place} of a TensorArray has shape {element.shape}, not {format_dims(dims)}"
            )
        return element
    if dims is None or None in dims:
        raise InvalidArgumentError(
            f"could not read index {place} of a TensorArray: it has not been written to, and its shape is not known"
        )
    return np.zeros(known(dims), dtype)


# -- making and asking ------------------------------------------------------------------------------------------------


@op(same=())
def items_empty(size):
    """A list of ``size`` missing elements."""
    if size < 0:
        raise InvalidArgumentError(f"the size of a TensorArray cannot be {int(size)}")
    return boxed(Items({}, int(size)))


@items_empty.shape
def _(size: Spec) -> Spec:
    return LIST


@op(same=())
def items_size(items):
    """The number of elements, missing ones among them."""
    return np.array(items.item().size, int32)


@items_size.shape
def _(items: Spec) -> Spec:
    return Spec(int32, ())


@op(same=())
def items_rows(value):
    """The list of the rows of ``value``."""
    return listed(list(np.array(value)))


@items_rows.shape
def _(value: Spec) -> Spec:
    if value.shape == ():
        raise GraphError("a scalar has no rows")
    return Spec(items, (), element=Spec(value.dtype, None if value.shape is None else value.shape[1:]))


@items_rows.gradient
def _(y: Tensor, dy: Tensor) -> Tensor | None:
    (value,) = y.op.inputs
    return items_gather_like(dy, numbers(size_along(value, 0)), value) if is_floating(value.dtype) else None


def empty() -> Tensor:
    """A list of nothing: the zero of lists."""
    tensor: Tensor = items_empty(convert(0))
    return tensor


# -- single elements --------------------------------------------------------------------------------------------------


@op(same=())
def items_write(items, index, value, resizeable=False):
    """The list with the element ``value`` at ``index``, where none may be; it grows if it is ``resizeable``."""
    return written(items.item(), int(index), np.array(value), resizeable)


def written(of: Items, place: int, element: Array, resizeable: bool) -> Array:
    """The list with an ``element`` that is nobody else's at ``place``, where none may be, as the value of a tensor."""
    if not 0 <= place < of.size:
        _place(place, of, "write to", resizeable)
    return boxed(of.set(place, element, fresh=True))


@items_write.shape
def _(items: Spec, index: Spec, value: Spec, resizeable: bool) -> Spec:
    return LIST


@items_write.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    _, index, value = y.op.inputs
    return dy, None, items_read_like(dy, index, value) if is_floating(value.dtype) else None


@op(same=())
def items_read(items, index, dtype=None, dims=None):
    """The element at ``index``; zeros where it is missing and its shape ``dims`` is known."""
    of = items.item()
    return _found(of, _place(index, of, "read from"), dtype, dims)


@items_read.shape
def _(items: Spec, index: Spec, dtype: DType, dims: Dims) -> Spec:
    return Spec(dtype, dims)


@items_read.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return items_write(empty(), y.op.inputs[1], dy, resizeable=True), None


@op(same=())
def items_read_like(items, index, like):
    """The element at ``index``; zeros of the shape of ``like`` where it is missing."""
    element = items.item().get(int(index))
    return np.zeros_like(like) if element is None else element


@items_read_like.shape
def _(items: Spec, index: Spec, like: Spec) -> Spec:
    return Spec(like.dtype, like.shape)


@items_read_like.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return items_write(empty(), y.op.inputs[1], dy, resizeable=True), None, None


# -- several elements of one shape ------------------------------------------------------------------------------------


@op(same=())
def items_scatter(items, indices, value, resizeable=False, add=False):
    """The list with row i of ``value`` at ``indices[i]``; with ``add`` rows of one place are added up."""
    of, rows = items.item(), np.array(value)
    if len(indices) != len(rows):
        raise InvalidArgumentError(f"{len(indices)} indices of a TensorArray, but values of shape {rows.shape}")
    new: dict[int, Any] = {}
    for index, row in zip(indices.tolist(), rows, strict=True):
        place = _place(index, of, "write to", resizeable)
        there = new[place] if place in new else of.get(place)
        if there is not None and not add:
            raise InvalidArgumentError(
                f"could not write to index {place} of a TensorArray, because it has already been written to"
            )
        new[place] = row if there is None else there + row
    return boxed(of.update(new))


@items_scatter.shape
def _(items: Spec, indices: Spec, value: Spec, resizeable: bool, add: bool) -> Spec:
    return LIST


@items_scatter.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    _, indices, value = y.op.inputs
    return dy, None, items_gather_like(dy, indices, value) if is_floating(value.dtype) else None


def _stacked(rows: list[Any], dtype: DType, dims: Dims) -> Array:
    if not rows:
        if dims is None or None in dims:
            raise InvalidArgumentError(
                f"a TensorArray has size zero, but its element shape {format_dims(dims)} is not fully defined; only "
                "arrays of known shape can be stacked when they are empty"
            )
        return np.zeros((0, *known(dims)), dtype)
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        raise InvalidArgumentError(
            f"elements of a TensorArray of shapes {' and '.join(map(str, sorted(shapes)))} cannot be stacked"
        )
    if not rows[0].ndim:
        return np.array(rows, dtype)
    result = np.empty((len(rows), *rows[0].shape), dtype)
    side_by_side = result.reshape(len(rows) * rows[0].shape[0], *rows[0].shape[1:])
    np.concatenate(rows, out=side_by_side)  # of many rows ten times as fast as np.stack
    return result


@op(same=())
def items_gather(items, indices, dtype=None, dims=None):
    """The elements at ``indices``, stacked."""
    of = items.item()
    places = [_place(i, of, "read from") for i in indices.tolist()]
    values = of.values()
    rows = [_found(of, i, dtype, dims) if values[i] is None else values[i] for i in places]
    return _stacked(rows, dtype, dims)


@items_gather.shape
def _(items: Spec, indices: Spec, dtype: DType, dims: Dims) -> Spec:
    count = None if indices.shape is None else indices.shape[0]
    rows = dims if items.element is None else merge(dims, items.element.shape)
    return Spec(dtype, None if rows is None else (count, *rows))


@items_gather.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return items_scatter(empty(), y.op.inputs[1], dy, resizeable=True, add=True), None


@op(same=())
def items_gather_like(items, indices, like):
    """The elements at ``indices``, stacked; zeros of the shape of the rows of ``like`` where they are missing."""
    result = np.zeros(like.shape, like.dtype)
    values = items.item().values()
    for place, index in enumerate(indices.tolist()):
        if index < len(values) and values[index] is not None:
            result[place] = values[index]
    return result


@items_gather_like.shape
def _(items: Spec, indices: Spec, like: Spec) -> Spec:
    return Spec(like.dtype, like.shape)


@items_gather_like.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return items_scatter(empty(), y.op.inputs[1], dy, resizeable=True, add=True), None, None


# -- elements of several lengths --------------------------------------------------------------------------------------


@op(same=())
def items_lengths(items, dtype=None, dims=None):
    """The first size of every element, int32."""
    of = items.item()
    return np.array([len(_found(of, i, dtype, dims)) for i in range(of.size)], int32)


@items_lengths.shape
def _(items: Spec, dtype: DType, dims: Dims) -> Spec:
    return Spec(int32, (None,))


@op(same=())
def items_concat(items, dtype=None, dims=None):
    """The elements, one after the other along their first axis."""
    of = items.item()
    if of.rows is not None and of.rows.ndim > 1 and of.rows.dtype == dtype and compatible(of.rows.shape[1:], dims):
        return of.rows.reshape(-1, *of.rows.shape[2:])  # a list never changes, and neither does what shows it
    parts = [_found(of, i, dtype, dims) for i in range(of.size)]
    if any(part.ndim == 0 for part in parts):
        raise InvalidArgumentError("scalars of a TensorArray cannot be concatenated; stack them")
    if not parts:
        return _stacked([], dtype, None if dims is None else dims[1:])
    return np.concatenate(parts)


@items_concat.shape
def _(items: Spec, dtype: DType, dims: Dims) -> Spec:
    return Spec(dtype, None if dims is None else (None, *dims[1:]))


@items_concat.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return items_split(empty(), dy, items_lengths(y.op.inputs[0], **y.op.attrs), resizeable=True)


@op(same=())
def items_split(items, value, lengths, resizeable=False):
    """The list whose elements are stretches of these ``lengths`` of ``value``."""
    of, rows = items.item(), np.array(value)
    if sum(lengths) != len(rows):
        raise InvalidArgumentError(f"lengths {lengths.tolist()} of a TensorArray do not add up to {len(rows)} rows")
    if of.size != len(lengths) and not resizeable:
        raise InvalidArgumentError(f"a TensorArray of size {of.size}, not resizeable, cannot take {len(lengths)} parts")
    start = 0
    for place, length in enumerate(lengths):
        if of.get(place) is not None:
            raise InvalidArgumentError(
                f"could not write to index {place} of a TensorArray, because it has already been written to"
            )
        of = of.set(place, rows[start : start + length])
        start += length
    return boxed(of)


@items_split.shape
def _(items: Spec, value: Spec, lengths: Spec, resizeable: bool) -> Spec:
    return LIST


@items_split.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor | None, ...]:
    _, value, lengths = y.op.inputs
    return dy, items_concat_like(dy, value, lengths) if is_floating(value.dtype) else None, None


@op(same=())
def items_concat_like(items, like, lengths):
    """The elements, of these ``lengths``, one after the other; zeros where they are missing."""
    result = np.zeros(like.shape, like.dtype)
    start = 0
    for place, length in enumerate(lengths):
        element = items.item().get(place)
        if element is not None:
            result[start : start + length] = element
        start += length
    return result


@items_concat_like.shape
def _(items: Spec, like: Spec, lengths: Spec) -> Spec:
    return Spec(like.dtype, like.shape)


@items_concat_like.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None, None]:
    return items_split(empty(), dy, y.op.inputs[2], resizeable=True), None, None


# -- whole lists ------------------------------------------------------------------------------------------------------


@op(same=())
def items_sum(a, b):
    """Both lists added up, element by element; missing elements are zeros, and elements may be lists themselves."""
    return boxed(_sum(a.item(), b.item()))


def _sum(a: Items, b: Items) -> Items:
    total, other = (a, b) if a.count() >= b.count() else (b, a)
    for place, element in other.elements():
        there = total.get(place)
        if there is None:
            both = element
        elif element.dtype == items:
            both = boxed(_sum(there.item(), element.item()))
        else:
            both = there + element
        total = total.set(place, both)
    return total if total.size >= other.size else Items(dict(total.elements()), other.size)


@items_sum.shape
def _(a: Spec, b: Spec) -> Spec:
    return LIST


@items_sum.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    return dy, dy
