"""Assertions: operations that end a run, with the values that were seen, where something does not hold.

They run where they are fetched, and where anything that is fetched waits for them (`control_dependencies`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import as_dtype, is_bool, is_integer, limits
from paraflow.graph.graph import control_dependencies, name_scope
from paraflow.graph.node import Operation, Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, compatible, format_dims
from paraflow.ops.array import fill, group, no_op, reshape
from paraflow.ops.array import rank as rank_of
from paraflow.ops.array import shape as shape_of
from paraflow.ops.joining import concat
from paraflow.ops.logic import equal, greater, greater_equal, less, less_equal, not_equal
from paraflow.ops.math import abs as absolute
from paraflow.ops.math import maximum
from paraflow.ops.reduce import reduce_any
from paraflow.ops.summarize import summarize as shown


@op(effect=True, same=())
def assert_that(condition, *data, parts=(), summarize=3):
    """Nothing; raises InvalidArgumentError with ``parts``, of which None stands for the next of ``data``."""
    if not np.all(condition):
        values = iter(data)
        said = [f"[{shown(next(values), summarize) if part is None else part}]" for part in parts]
        raise InvalidArgumentError(f"assertion failed: {' '.join(said)}")
    return ()


@assert_that.shape
def _(condition: Spec, *data: Spec, **attrs: Any) -> tuple[Spec, ...]:
    if not is_bool(condition.dtype):
        raise InvalidTypeError(f"a condition is bool, not {condition.dtype.name}")
    return ()


def assert_(condition: Any, data: Sequence[Any], summarize: int | None = None, name: str | None = None) -> Operation:
    """An operation that raises InvalidArgumentError with ``data`` (strings and tensors) unless ``condition`` holds.

    A condition of several elements has to hold for all. ``summarize`` values of each tensor are shown, by default 3.
    """
    parts = tuple(item if isinstance(item, str) else None for item in data)
    tensors = [convert(item) for item in data if not isinstance(item, str)]
    operation: Operation = assert_that(
        convert(condition), *tensors, parts=parts, summarize=summarize or 3, name=name or "Assert"
    )
    return operation


def _compare(
    symbol: str, condition: Tensor, operands: Sequence[tuple[str, Tensor]], data: Sequence[Any] | None,
    summarize: int | None, message: str | None, scope: str,
) -> Operation:  # fmt: skip
    """Assert ``condition``, at once where the operands are known already."""
    said: list[Any] = [message] if message else []
    rule = f"Condition {operands[0][0]} {symbol} did not hold element-wise:"
    if all(t.op.type == "constant" for t in condition.op.inputs):
        if not np.all(condition.op.record.body(*(t.op.attrs["value"] for t in condition.op.inputs))):
            values = "; ".join(f"{x} ({t.name}) = {t.op.attrs['value'].tolist()}" for x, t in operands)
            raise InvalidArgumentError(" ".join([*said, rule, values]) + at_user_line())
        operation: Operation = no_op(name=scope)
        return operation
    if data is None:
        data = [rule, *(part for x, t in operands for part in (f"{x} ({t.name}) = ", t))]
    return assert_(condition, [*said, *data], summarize, scope)


def _binary(name: str, symbol: str, record: Any) -> Any:
    def check(
        x: Any, y: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
        name: str | None = None,
    ) -> Operation:  # fmt: skip
        with name_scope(name or check.__name__) as scope:
            left = convert(x, name="x")
            right = convert(y, left.dtype, name="y")
            holds = record(left, right)
            return _compare(f"{symbol} y", holds, [("x", left), ("y", right)], data, summarize, message, scope)

    check.__name__ = check.__qualname__ = name
    check.__doc__ = (
        f"An operation that raises InvalidArgumentError unless x {symbol} y for all elements, by broadcasting.\n\n    "
        "It says ``message`` and ``data`` (strings and tensors; by default x and y), ``summarize`` values of each.\n"
        "    Where x and y are constants, the error comes at once."
    )
    return check


def _sign(name: str, symbol: str, record: Any) -> Any:
    def check(
        x: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
        name: str | None = None,
    ) -> Operation:  # fmt: skip
        with name_scope(name or check.__name__) as scope:
            value = convert(x, name="x")
            holds = record(value, convert(np.zeros((), value.dtype)))
            return _compare(f"{symbol} 0", holds, [("x", value)], data, summarize, message, scope)

    check.__name__ = check.__qualname__ = name
    check.__doc__ = (
        f"An operation that raises InvalidArgumentError unless all elements of x are {symbol} 0; see `assert_equal`."
    )
    return check


assert_equal = _binary("assert_equal", "==", equal)
assert_none_equal = _binary("assert_none_equal", "!=", not_equal)
assert_less = _binary("assert_less", "<", less)
assert_less_equal = _binary("assert_less_equal", "<=", less_equal)
assert_greater = _binary("assert_greater", ">", greater)
assert_greater_equal = _binary("assert_greater_equal", ">=", greater_equal)
assert_negative = _sign("assert_negative", "<", less)
assert_positive = _sign("assert_positive", ">", greater)
assert_non_negative = _sign("assert_non_negative", ">=", greater_equal)
assert_non_positive = _sign("assert_non_positive", "<=", less_equal)


def assert_near(
    x: Any, y: Any, rtol: Any = None, atol: Any = None, data: Sequence[Any] | None = None,
    summarize: int | None = None, message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """An operation that raises InvalidArgumentError unless |x - y| < atol + rtol * |y| for all elements.

    Both tolerances default to ten times the difference of 1 and the next number of x's dtype.
    """
    with name_scope(name or "assert_near") as scope:
        left = convert(x, name="x")
        right = convert(y, left.dtype, name="y")
        default = 10 * limits(left.dtype).eps
        relative, absolute_ = (convert(default if t is None else t, left.dtype) for t in (rtol, atol))
        holds = less(absolute(left - right), absolute_ + relative * absolute(right))
        return _compare("and y are near, which", holds, [("x", left), ("y", right)], data, summarize, message, scope)


def _check_rank(
    x: Any, wanted: str, fits: Callable[[int], bool], condition: Callable[[Tensor], Tensor],
    data: Sequence[Any] | None, summarize: int | None, message: str | None, scope: str,
) -> Operation:  # fmt: skip
    """``fits`` judges a rank that is known, at once, and ``condition`` one that is not."""
    value = convert(x, name="x")
    told = f"{message + '. ' if message else ''}Tensor {value.name} must have rank {wanted}."
    if value.spec.rank is None:
        found = rank_of(value)
        return assert_(condition(found), data or [told, "Received rank: ", found], summarize, scope)
    if not fits(value.spec.rank):
        received = f"Received rank {value.spec.rank}, shape {format_dims(value.spec.shape)}"
        raise InvalidArgumentError(f"{told} {received}{at_user_line()}")
    operation: Operation = no_op(name=scope)
    return operation


def assert_rank(
    x: Any, rank: int, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """An operation that raises InvalidArgumentError unless ``x`` has this rank; where that is known, at once."""
    with name_scope(name or "assert_rank") as scope:
        return _check_rank(
            x, str(rank), lambda r: r == rank, lambda r: equal(r, rank), data, summarize, message, scope
        )


def assert_rank_at_least(
    x: Any, rank: int, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """An operation that raises InvalidArgumentError unless ``x`` has this rank or a higher one; see `assert_rank`."""
    with name_scope(name or "assert_rank_at_least") as scope:
        return _check_rank(
            x, f"at least {rank}", lambda r: r >= rank, lambda r: greater_equal(r, rank), data, summarize, message,
            scope,
        )  # fmt: skip


def assert_rank_in(
    x: Any, ranks: Sequence[int], data: Sequence[Any] | None = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """An operation that raises InvalidArgumentError unless ``x`` has one of these ranks; see `assert_rank`."""
    with name_scope(name or "assert_rank_in") as scope:
        return _check_rank(
            x, f"in {tuple(ranks)}", lambda r: r in ranks, lambda r: reduce_any(equal(r, list(ranks))), data, summarize,
            message, scope,
        )  # fmt: skip


def assert_shapes(
    shapes: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """An operation that raises InvalidArgumentError unless tensors have the shapes given, and ValueError where known.

    ``shapes`` is a list of (tensor, shape), or a dictionary. A shape has a number for each axis, None or ``'.'`` for
    any size, or something else, such as ``'N'``, that stands for one size wherever it comes. ``...`` or ``'*'`` as its
    first entry stands for any number of axes. A scalar counts as one axis of size 1. A shape of None says nothing.
    """
    pairs = shapes.items() if isinstance(shapes, Mapping) else shapes
    with name_scope(name or "assert_shapes"):
        wanted = [(convert(x), *_entries(x, shape)) for x, shape in pairs if shape is not None]
        ranks = [
            _check_entries(x, entries, inner, data, summarize, message)
            for x, entries, inner in wanted
            if len(entries) > 1 or not inner
        ]
        known: dict[Any, tuple[Any, str]] = {}
        checks: list[Any] = []
        for x, entries, inner in wanted:
            for i, entry in enumerate(entries):
                axis = i - len(entries) if inner else i
                if entry is None or entry == ".":
                    continue
                with control_dependencies(ranks):
                    size = _size_of(x, axis)
                if not _is_size(entry) and entry not in known:
                    known[entry] = size, f"Specified by tensor {x.name} dimension {axis}"
                    continue
                expected, why = (int(entry), "Specified explicitly") if _is_size(entry) else known[entry]
                told = f"{message + '. ' if message else ''}{why}. Tensor {x.name} dimension {axis} must have size"
                if isinstance(size, int) and isinstance(expected, int):
                    if size != expected:
                        received = f"{told} {expected}. Received size {size}, shape {format_dims(x.spec.shape)}"
                        raise InvalidArgumentError(received + at_user_line())
                    continue
                with control_dependencies(ranks):
                    said = data or [told, convert(expected), "Received shape: ", shape_of(x)]
                    checks.append(assert_(equal(size, expected), said, summarize))
        with control_dependencies(ranks):
            operation = group(*checks)
        assert isinstance(operation, Operation)
        return operation


def _entries(x: Any, shape: Any) -> tuple[tuple[Any, ...], bool]:
    """The entries of a shape of `assert_shapes`, and whether they are the innermost axes alone."""
    if not hasattr(shape, "__iter__"):
        raise InvalidArgumentError(f"{x!r}: specified shape must be iterable, not {shape!r}{at_user_line()}")
    entries = tuple(shape)
    inner = bool(entries) and (entries[0] is Ellipsis or entries[0] == "*")
    entries = entries[1:] if inner else entries
    if any(entry is Ellipsis or entry == "*" for entry in entries):
        raise InvalidArgumentError(f"{x!r}: '...' or '*' is allowed as the first entry only{at_user_line()}")
    return entries, inner


def _check_entries(
    x: Tensor, entries: Sequence[Any], inner: bool, data: Sequence[Any] | None, summarize: int | None,
    message: str | None,
) -> Operation:  # fmt: skip
    if inner:
        return assert_rank_at_least(x, len(entries), data, summarize, message)
    if len(entries) < 2:
        return assert_rank_in(x, (0, 1), data, summarize, message)
    return assert_rank(x, len(entries), data, summarize, message)


def _is_size(entry: Any) -> bool:
    return isinstance(entry, (int, np.integer)) or (isinstance(entry, str) and entry.lstrip("-").isdecimal())


def _size_of(x: Tensor, axis: int) -> Any:
    """The size of an axis, a number where it is known."""
    dims = x.spec.shape
    if dims is None:
        missing = fill(reshape(maximum(1 - rank_of(x), 0), [1]), 1)  # a scalar counts as one axis of size 1
        return concat([shape_of(x), missing], 0)[axis]
    size = (dims or (1,))[axis]
    return shape_of(x)[axis] if size is None else size


def assert_scalar(tensor: Any, name: str | None = None, message: str | None = None) -> Tensor:
    """``tensor``; raises ValueError unless it is known to be a scalar."""
    value = convert(tensor)
    if not compatible(value.spec.shape, ()):
        raise InvalidArgumentError(f"{message or ''}Expected scalar shape for {value.name}, not {value.shape}")
    return value


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Operation:
    """An operation that does nothing; raises TypeError unless ``x`` is a tensor of integers."""
    value = convert(x)
    if not is_integer(value.dtype):
        said = f"{message}  " if message else ""
        raise TypeError(f"{said}Expected integers, not {value.name} of dtype {value.dtype.name}{at_user_line()}")
    operation: Operation = no_op(name=name or "assert_integer")
    return operation


def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> Operation:
    """An operation that does nothing; raises TypeError unless ``tensor`` is of the dtype ``tf_type``."""
    value, wanted = convert(tensor), as_dtype(tf_type)
    if value.dtype != wanted:
        said = f"{message}  " if message else ""
        raise TypeError(f"{said}{value.name} must be of type {wanted.name}, not {value.dtype.name}{at_user_line()}")
    operation: Operation = no_op(name=name or "assert_type")
    return operation
