"""Static shapes: what is known of a tensor before it is computed.

Inside paraflow a shape is a tuple of sizes with None for a size that is not known, or None when not even the
rank is known (`Dims`). Users see the same thing as a `TensorShape`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import DType

Dims = tuple[int | None, ...] | None


class Spec:
    """What is known of one output of an operation: its dtype, its shape and, for constants, its value.

    Of a list (dtype `items`) it is what is known of each ``element``. ``static`` says whether every size is known.
    """

    __slots__ = ("dtype", "element", "shape", "static", "value")

    def __init__(
        self, dtype: DType, shape: Dims, value: np.ndarray[Any, Any] | None = None, element: Spec | None = None
    ) -> None:
        self.dtype: Final = dtype
        self.shape: Final = shape
        self.value: Final = value
        self.element: Final = element
        self.static: Final = shape is not None and None not in shape

    @property
    def rank(self) -> int | None:
        """The number of dimensions, or None."""
        return None if self.shape is None else len(self.shape)


class Dimension(int):
    """A known size, as an item of a `TensorShape`: an int with TensorFlow's ``value``."""

    __slots__ = ()

    @property
    def value(self) -> int:
        """The size."""
        return int(self)


class TensorShape:
    """The static shape of a tensor, with TensorFlow's vocabulary; iterates over sizes, None where unknown."""

    __slots__ = ("dims",)

    def __init__(self, dims: Any) -> None:
        self.dims: Dims = as_dims(dims)

    def as_list(self) -> list[int | None]:
        """The sizes as a list; raises ValueError when the rank is unknown."""
        if self.dims is None:
            raise ValueError("as_list() is not defined on a shape of unknown rank")
        return list(self.dims)

    @property
    def ndims(self) -> int | None:
        """The rank, or None when it is unknown."""
        return None if self.dims is None else len(self.dims)

    rank = ndims

    def is_fully_defined(self) -> bool:
        """Whether every size is known."""
        return self.dims is not None and None not in self.dims

    def num_elements(self) -> int | None:
        """The number of elements, or None when some size is unknown."""
        return num_elements(self.dims)

    def merge_with(self, other: Any) -> TensorShape:
        """The shape that satisfies both; raises GraphError when there is none."""
        return TensorShape(merge(self.dims, as_dims(other)))

    def is_compatible_with(self, other: Any) -> bool:
        """Whether some array could have both shapes."""
        return compatible(self.dims, as_dims(other))

    def __len__(self) -> int:
        return len(self.as_list())

    def __iter__(self) -> Iterator[Dimension | None]:
        return (_dimension(size) for size in self.as_list())

    def __getitem__(self, key: Any) -> Any:
        if self.dims is None:
            return TensorShape(None) if isinstance(key, slice) else None
        return TensorShape(self.dims[key]) if isinstance(key, slice) else _dimension(self.dims[key])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TensorShape):
            return self.dims == other.dims
        if isinstance(other, (tuple, list)):
            return self.dims == tuple(other)
        return self.dims is None if other is None else NotImplemented

    def __hash__(self) -> int:
        return hash(self.dims)

    def __repr__(self) -> str:
        return f"TensorShape({format_dims(self.dims)})"

    __str__ = __repr__


def _dimension(size: int | None) -> Dimension | None:
    return None if size is None else Dimension(size)


def dimension_value(dimension: Any) -> Any:
    """A size of a shape as a plain int, None where it is not known; anything else as it is."""
    return dimension.value if isinstance(dimension, Dimension) else dimension


def dimension_at_index(shape: Any, index: int) -> Dimension | None:
    """The size of one axis of a shape, None where it is not known."""
    size: Dimension | None = TensorShape(shape)[index]
    return size


def as_dims(value: Any) -> Dims:
    """Turn what a user writes for a shape (None, a size, a sequence of sizes, a TensorShape) into `Dims`."""
    if value is None:
        return None
    if isinstance(value, TensorShape):
        return value.dims
    if isinstance(value, (int, np.integer)):
        return (int(value),)
    sizes = tuple(None if size is None else int(size) for size in value)
    if any(size is not None and size < 0 for size in sizes):
        raise GraphError(f"a shape has a negative size: {list(sizes)}; write None for a size that is not known")
    return sizes


def format_dims(dims: Dims) -> str:
    """The shape as shown in messages: ``(?, 2)``, or ``<unknown>``."""
    if dims is None:
        return "<unknown>"
    inner = ", ".join("?" if size is None else str(size) for size in dims)
    return f"({inner},)" if len(dims) == 1 else f"({inner})"


def num_elements(dims: Dims) -> int | None:
    """The product of the sizes, or None when one of them is unknown."""
    return None if dims is None or None in dims else math.prod(known(dims))


def known(dims: Dims) -> tuple[int, ...]:
    """``dims``, which must be fully known."""
    assert dims is not None
    assert None not in dims
    return cast("tuple[int, ...]", dims)


def compatible(a: Dims, b: Dims) -> bool:
    """Whether some array could have both shapes."""
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def merge(a: Dims, b: Dims) -> Dims:
    """The most precise shape that satisfies both; raises GraphError when there is none."""
    if not compatible(a, b):
        raise GraphError(f"shapes {format_dims(a)} and {format_dims(b)} do not fit together")
    if a is None or b is None:
        return b if a is None else a
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))


def broadcast(*shapes: Dims) -> Dims:
    """The shape of an elementwise result, by numpy's broadcasting rule; raises GraphError when none exists."""
    distinct = {shape for shape in shapes if shape != ()}
    if len(distinct) < 2:
        return distinct.pop() if distinct else ()
    if None in shapes:
        return None
    known = [shape for shape in shapes if shape is not None]
    rank = max(len(shape) for shape in known)
    result: list[int | None] = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in known if len(shape) >= -axis}
        wide = sizes - {1, None}
        if len(wide) > 1:
            listed = " and ".join(format_dims(shape) for shape in known)
            raise GraphError(f"shapes {listed} cannot be broadcast together")
        # An unknown size beside a known one above 1 can only be 1 or that size.
        result.append(wide.pop() if wide else (None if None in sizes else 1))
    return tuple(result)


def normal_axis(axis: int, rank: int, what: str = "axis") -> int:
    """``axis`` counted from the front; raises GraphError when it is out of range."""
    if not -rank <= axis < rank:
        raise GraphError(f"{what} {axis} is out of range for a tensor of rank {rank}")
    return axis % rank


def normal_axes(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """The axes of a reduction, counted from the front, in rising order; None stands for all of them."""
    if axis is None:
        return tuple(range(rank))
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(sorted(normal_axis(a, rank) for a in given))
    if len(set(axes)) != len(axes):
        raise GraphError(f"axes {list(given)} name one axis twice")
    return axes
