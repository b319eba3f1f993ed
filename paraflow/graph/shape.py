"""Static shapes: what is known of a tensor before it is computed.

Inside paraflow a shape is a tuple of sizes with None for a size that is not known, or None when not even the
rank is known (`Dims`). Users see the same thing as a `TensorShape`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import numpy as np

from paraflow.errors import GraphError, InvalidTypeError, ShapeError
from paraflow.graph.dimension import Dimension, size_of
from paraflow.graph.dtypes import DType, is_integer

Dims = tuple[int | None, ...] | None


class Spec:
    """What is known of one output of an operation: its dtype, its shape and, for constants, its value.

    ``partial`` is what is known of a few integers of which some are not (`paraflow.graph.partial`). Of a list (dtype
    `items`) it is what is known of each ``element``. ``static`` says whether every size is known.
    """

    __slots__ = ("dtype", "element", "partial", "shape", "static", "value")

    def __init__(
        self,
        dtype: DType,
        shape: Dims,
        value: np.ndarray[Any, Any] | None = None,
        element: Spec | None = None,
        partial: np.ndarray[Any, Any] | None = None,
    ) -> None:
        self.dtype: Final = dtype
        self.shape: Final = shape
        self.value: Final = value
        self.element: Final = element
        self.partial: Final = partial
        self.static: Final = shape is not None and None not in shape

    @property
    def rank(self) -> int | None:
        """The number of dimensions, or None."""
        return None if self.shape is None else len(self.shape)

    def reshaped(self, shape: Dims) -> Spec:
        """The same, but for the shape."""
        return Spec(self.dtype, shape, self.value, self.element, self.partial)


def need_integers(spec: Spec, what: str) -> None:
    """Raise InvalidTypeError, naming ``what``, unless the elements are integers."""
    if not is_integer(spec.dtype):
        raise InvalidTypeError(f"{what} are integers, not {spec.dtype.name}")


class TensorShape:
    """The static shape of a tensor: a list of `Dimension`s, or nothing where not even the rank is known.

    ``dims`` is what a user writes for a shape: None, a size, a sequence of sizes with None for those that are not
    known, or a TensorShape. Errors are ValueErrors, as in TensorFlow.
    """

    __slots__ = ("_sizes",)

    def __init__(self, dims: Any) -> None:
        self._sizes: Dims = as_dims(dims)

    @property
    def dims(self) -> list[Dimension] | None:
        """The sizes; None where the rank is not known."""
        return None if self._sizes is None else [Dimension(size) for size in self._sizes]

    @property
    def ndims(self) -> int | None:
        """The rank, or None when it is unknown."""
        return None if self._sizes is None else len(self._sizes)

    rank = ndims

    def as_list(self) -> list[int | None]:
        """The sizes as numbers, None where unknown; raises ValueError when the rank is unknown."""
        if self._sizes is None:
            raise GraphError("as_list() is not defined on a shape of unknown rank")
        return list(self._sizes)

    def is_fully_defined(self) -> bool:
        """Whether every size is known."""
        return self._sizes is not None and None not in self._sizes

    def num_elements(self) -> int | None:
        """The number of elements, or None when some size is unknown."""
        return num_elements(self._sizes)

    def merge_with(self, other: Any) -> TensorShape:
        """The shape that satisfies both; raises ValueError when there is none."""
        return TensorShape(merge(self._sizes, as_dims(other)))

    def concatenate(self, other: Any) -> TensorShape:
        """The sizes of both, one after the other; unknown where one of the ranks is."""
        after = as_dims(other)
        return TensorShape(None if self._sizes is None or after is None else self._sizes + after)

    def is_compatible_with(self, other: Any) -> bool:
        """Whether some array could have both shapes."""
        return compatible(self._sizes, as_dims(other))

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """The shape that says what both say: unknown sizes where they differ, unknown rank where their ranks do."""
        theirs = as_dims(other)
        if self._sizes is None or theirs is None or len(self._sizes) != len(theirs):
            return TensorShape(None)
        return TensorShape([x if x == y else None for x, y in zip(self._sizes, theirs, strict=True)])

    def with_rank(self, rank: int) -> TensorShape:
        """The shape, known to have that rank; raises ValueError where it has another."""
        try:
            return self.merge_with([None] * rank)
        except GraphError:
            raise self._unfit(f"rank {rank}") from None

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """The shape; raises ValueError where its rank is known to be less."""
        if self.ndims is not None and self.ndims < rank:
            raise self._unfit(f"rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """The shape; raises ValueError where its rank is known to be more."""
        if self.ndims is not None and self.ndims > rank:
            raise self._unfit(f"rank at most {rank}")
        return self

    def _unfit(self, needed: str) -> GraphError:
        return GraphError(f"Shape {self} must have {needed}")

    def assert_has_rank(self, rank: int) -> None:
        """Raise ValueError where the rank is known to be another."""
        if self.ndims not in (None, rank):
            raise self._unfit(f"rank {rank}")

    def assert_same_rank(self, other: Any) -> None:
        """Raise ValueError where both ranks are known and differ."""
        theirs = TensorShape(other)
        if None not in (self.ndims, theirs.ndims) and self.ndims != theirs.ndims:
            raise GraphError(f"Shapes {self} and {theirs} must have the same rank")

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raise ValueError where no array could have both shapes."""
        if not self.is_compatible_with(other):
            raise GraphError(f"Shapes {self} and {TensorShape(other)} are incompatible")

    def assert_is_fully_defined(self) -> None:
        """Raise ValueError unless every size is known."""
        if not self.is_fully_defined():
            raise GraphError(f"Shape {self} is not fully defined")

    def __len__(self) -> int:
        if self._sizes is None:
            raise GraphError("a shape of unknown rank has no length")
        return len(self._sizes)

    def __bool__(self) -> bool:
        return self._sizes is not None

    def __iter__(self) -> Iterator[Dimension]:
        if self._sizes is None:
            raise GraphError("a shape of unknown rank has no sizes to go through")
        return (Dimension(size) for size in self._sizes)

    def __getitem__(self, key: Any) -> Any:
        if self._sizes is not None:
            return TensorShape(self._sizes[key]) if isinstance(key, slice) else Dimension(self._sizes[key])
        if not isinstance(key, slice):
            return Dimension(None)
        start, stop = key.start or 0, key.stop
        ends = stop is not None and start >= 0 and stop >= 0 and key.step is None
        return TensorShape([None] * max(stop - start, 0) if ends else None)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (tuple, list)):
            return self._sizes == tuple(map(dimension_value, other))
        if isinstance(other, TensorShape):
            return self._sizes == other._sizes
        return self._sizes is None if other is None else NotImplemented

    def __hash__(self) -> int:
        return hash(self._sizes)

    def __repr__(self) -> str:
        return f"TensorShape({self.dims})"

    def __str__(self) -> str:
        return format_dims(self._sizes)


def dimension_value(dimension: Any) -> Any:
    """The value of a `Dimension`, None where it is not known; whatever else it is given is returned as it is."""
    return dimension.value if isinstance(dimension, Dimension) else dimension


def dimension_at_index(shape: Any, index: int) -> Dimension:
    """The size of one axis of a shape."""
    size: Dimension = TensorShape(shape)[index]
    return size


def as_dims(value: Any) -> Dims:
    """Turn what a user writes for a shape (None, a size, a sequence of sizes, a TensorShape) into `Dims`."""
    if value is None:
        return None
    if isinstance(value, TensorShape):
        return value._sizes
    if isinstance(value, (int, np.integer, Dimension)):
        return (size_of(value),)
    if isinstance(value, str):
        raise TypeError(f"a shape is a size or a sequence of sizes, not {value!r}")
    return tuple(map(size_of, value))


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
    """``axis`` counted from the front; raises ShapeError, which is a ValueError, when it is out of range."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{what} {axis} is out of range for a tensor of rank {rank}")
    return axis % rank


def normal_axes(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """The axes of a reduction, counted from the front, in rising order; None stands for all of them."""
    if axis is None:
        return tuple(range(rank))
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(sorted(normal_axis(a, rank) for a in given))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axes {list(given)} name one axis twice")
    return axes
