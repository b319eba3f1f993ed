"""Sizes in static shapes: ``shape[0].value`` is a number, or None where the size is not known before a run."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from paraflow.errors import GraphError


class Dimension:
    """A size of a `TensorShape`; ``Dimension(None)`` is one that only a run knows.

    A known size is an int too, and can be used wherever a number can. As in TensorFlow, arithmetic with a size that is
    not known gives one that is not known, comparison with it gives None, which is not true, and a size is not negative.
    Raises TypeError for what is no integer, and ValueError for a negative one.
    """

    __slots__ = ()

    def __new__(cls, value: Any) -> Dimension:
        """A known size, or where ``value`` is None or unknown itself, an unknown one."""
        if value is None or isinstance(value, _Unknown):
            return object.__new__(_Unknown)
        size = size_of(value)
        assert size is not None
        return int.__new__(_Known, size)

    @property
    def value(self) -> int | None:
        """The size as an int; None where it is not known."""
        return size_of(self)

    def is_compatible_with(self, other: Any) -> bool:
        """Whether both may be the same size: they are equal, or one of them is not known."""
        mine, theirs = self.value, size_of(other)
        return mine is None or theirs is None or mine == theirs

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raise ValueError unless both may be the same size."""
        if not self.is_compatible_with(other):
            raise GraphError(f"Dimensions {self} and {other} are not compatible")

    def merge_with(self, other: Any) -> Dimension:
        """The size that both are, known where one of them is; raises ValueError where they differ."""
        self.assert_is_compatible_with(other)
        return Dimension(other if self.value is None else self)


def size_of(size: Any) -> int | None:
    """A size that a user wrote (a number, a `Dimension`, None) as an int, None where it is not known."""
    if size is None or isinstance(size, _Unknown):
        return None
    try:
        number = operator.index(size)
    except TypeError:
        raise TypeError(f"a size is an integer, or None where it is not known, not {size!r}") from None
    if number < 0:
        raise GraphError(f"negative size {number} in a shape; write None for a size that is not known")
    return number


class _Unknown(Dimension):
    """A size that is not known."""

    __slots__ = ()

    def __index__(self) -> int:
        raise TypeError("this size is not known before a run, so it is no number: use paraflow.shape(x), or its value")

    __int__ = __index__

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> tuple[type[Dimension], tuple[None]]:
        return Dimension, (None,)

    def __repr__(self) -> str:
        return "Dimension(None)"

    def __str__(self) -> str:
        return "?"


class _Known(int, Dimension):
    """A size that is known."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Dimension({int(self)})"

    def __str__(self) -> str:
        return str(int(self))


def _arithmetic(name: str) -> Callable[[Any, Any], Any]:
    operation = getattr(int, name)

    def apply(self: int, other: Any) -> Any:
        if other is None or isinstance(other, _Unknown):
            return Dimension(None)
        result = operation(self, other)
        return result if result is NotImplemented else Dimension(result)

    return apply


def _unknown(_: Any, other: Any) -> Any:
    """Arithmetic with a size that is not known: TypeError for what is no size."""
    size_of(other)
    return Dimension(None)


def _undecided(_: Any, other: Any) -> None:
    """Comparison with a size that is not known."""


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    for _full in (f"__{_name}__", f"__r{_name}__"):
        setattr(_Known, _full, _arithmetic(_full))
        setattr(_Unknown, _full, _unknown)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(_Unknown, f"__{_name}__", _undecided)
