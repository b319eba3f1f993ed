"""Making tensors, their dtypes and shapes: constants, placeholders, fills, casts, reshape and broadcasting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError, ShapeError
from paraflow.graph.dtypes import (
    DType,
    as_dtype,
    float32,
    int32,
    is_bool,
    is_complex,
    is_differentiable,
    is_floating,
    is_integer,
    is_real,
    is_signed,
)
from paraflow.graph.graph import get_default_graph
from paraflow.graph.node import Tensor
from paraflow.graph.partial import EARLY, entries, settled, sizes_spec
from paraflow.graph.record import at_user_line, convert, literal, op
from paraflow.graph.shape import Dims, Spec, TensorShape, as_dims, compatible, format_dims, known, num_elements

Array = np.ndarray[Any, Any]


@op
def constant(value=None):
    """The array it was made with."""
    return value


@constant.shape
def _(value: Array) -> Spec:
    return Spec(value.dtype, value.shape, value)


def make_constant(
    value: Any, dtype: Any = None, shape: Any = None, name: str = "Const", verify_shape: bool = False
) -> Tensor:
    """A tensor of fixed value.

    ``value`` is a number, a nested list or an array; without ``dtype`` Python floats become float32 and ints int32,
    arrays keep theirs. With ``shape`` a shorter value is repeated to fill it, the last element over and over; with
    ``verify_shape`` it must have that shape, or GraphError is raised.
    """
    array = literal(value, None if dtype is None else as_dtype(dtype))
    if shape is not None:
        sizes = tuple(-1 if n is None else n for n in as_dims(shape) or ())
        missing = int(np.prod(sizes)) - array.size
        if min(sizes, default=0) < 0 or missing < 0 or (missing and not array.size):
            raise GraphError(f"constant: {array.size} values do not fill shape {sizes}")
        if verify_shape and array.shape != sizes:
            raise GraphError(f"constant: the value has shape {array.shape}, not {sizes}{at_user_line()}")
        array = np.concatenate([array.ravel(), np.repeat(array.ravel()[-1:], missing)]).reshape(sizes)
        array.flags.writeable = False
    tensor: Tensor = constant(value=array, name=name)
    return tensor


def convert_to_tensor(
    value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None, dtype_hint: Any = None
) -> Tensor:
    """A tensor for ``value``: itself, a variable's value, nested lists of tensors and numbers packed, or a constant.

    Python floats become float32 and ints int32, or what tensors beside them in a list are; arrays keep their dtype.
    ``preferred_dtype``, or ``dtype_hint``, is taken where the value fits it. Raises InvalidTypeError, a ValueError, for
    what does not fit ``dtype``, a tensor of another dtype among them.
    """
    hint = preferred_dtype if dtype_hint is None else dtype_hint
    wanted = None if dtype is None else as_dtype(dtype)
    if wanted is None and hint is not None and not hasattr(value, "dtype"):
        with suppress(InvalidArgumentError):
            return convert(value, as_dtype(hint), name)
    tensor = convert(value, wanted, name)
    if wanted is not None and tensor.dtype != wanted:
        raise InvalidTypeError(f"{tensor!r} is not {wanted.name}, as was asked for; use cast{at_user_line()}")
    return tensor


@op(effect=True)  # two of one shape are two, so they never merge
def placeholder(dtype=None, shape=None):
    """A tensor whose value is handed in at each run."""
    raise AssertionError("a placeholder is fed, never computed")


@placeholder.shape
def _(dtype: DType, shape: Dims) -> Spec:
    return Spec(dtype, shape)


def make_placeholder(dtype: Any, shape: Any = None, name: str = "Placeholder") -> Tensor:
    """A tensor that every run must feed; sizes of None in ``shape`` may differ from run to run."""
    tensor: Tensor = placeholder(dtype=as_dtype(dtype), shape=as_dims(shape), name=name)
    return tensor


@op(view=True)
def identity(input):
    """The tensor itself, as a new node."""
    return input


@identity.shape
def _(input: Spec) -> Spec:
    return input


@identity.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy


@op(view=True)
def stop_gradient(input):
    """The tensor itself, taken as constant by `gradients`."""
    return input


@stop_gradient.shape
def _(input: Spec) -> Spec:
    return input


def make_placeholder_with_default(input: Any, shape: Any, name: str = "PlaceholderWithDefault") -> Tensor:
    """The tensor ``input``, in whose place a run may feed another of the given shape, sizes of None left open."""
    tensor: Tensor = default_value(input, dims=as_dims(shape), name=name)
    return tensor


@op(effect=True)  # what is fed in its place may be anything, so its value is never known early
def default_value(input, dims=None):
    """The tensor itself; other values may be fed in its place, of the shape ``dims``."""
    return np.array(input)


@default_value.shape
def _(input: Spec, dims: Dims) -> Spec:
    if not compatible(input.shape, dims):
        raise GraphError(f"the default has shape {format_dims(input.shape)}, not {format_dims(dims)}")
    return Spec(input.dtype, dims)


@default_value.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy


@op(effect=True)  # two copies are two, so they never merge
def copy(x):
    """A copy in memory of its own; the compiler puts it in where a value must outlive a write."""
    return np.array(x)


@copy.shape
def _(x: Spec) -> Spec:
    return Spec(x.dtype, x.shape)


@op
def cast(x, dtype=float32):
    """Elements converted to ``dtype``; a float becomes an integer by truncation, a complex number its real part."""
    return (np.real(x) if drops_imaginary(x.dtype, dtype) else np.asarray(x)).astype(dtype)


def drops_imaginary(source: DType, dtype: DType) -> bool:
    """Whether a cast keeps real parts only; a complex number is True unless it is 0."""
    return is_complex(source) and is_real(dtype) and not is_bool(dtype)


@cast.shape
def _(x: Spec, dtype: DType) -> Spec:
    if x.partial is not None:
        return settled(Spec(dtype, x.shape), x.partial)
    if x.value is None or x.value.size > EARLY:
        return Spec(dtype, x.shape)
    # What lies outside the integers of a dtype, and NaN, is left to the run.
    fits = is_floating(x.dtype) and is_signed(dtype) and bool(np.all(np.abs(x.value) < float(np.iinfo(dtype).max)))
    known_now = fits or is_integer(x.dtype) or is_bool(x.dtype)
    return Spec(dtype, x.shape, cast.body(x.value, dtype) if known_now else None)


@cast.gradient
def _(y: Tensor, dy: Tensor) -> Tensor | None:
    source = y.op.inputs[0].dtype
    return cast(dy, dtype=source) if is_differentiable(source) else None


@op(shape_only=True, same=())
def shape(input, name=None, out_type=int32):
    """The sizes of ``input`` as a vector of ``out_type``."""
    return np.array(np.shape(input), out_type)


@shape.shape
def _(input: Spec, out_type: Any) -> Spec:
    return sizes_spec(as_dtype(out_type), input.shape)


@op(shape_only=True, same=())
def size(input, name=None, out_type=int32):
    """The number of elements of ``input``, a scalar of ``out_type``."""
    return np.array(np.size(input), out_type)


@size.shape
def _(input: Spec, out_type: Any) -> Spec:
    count = num_elements(input.shape)
    return Spec(as_dtype(out_type), (), None if count is None else np.array(count, out_type))


@op(shape_only=True, same=())
def rank(input):
    """The number of dimensions of ``input``, an int32 scalar."""
    return np.array(np.ndim(input), np.int32)


@rank.shape
def _(input: Spec) -> Spec:
    return Spec(int32, (), None if input.rank is None else np.array(input.rank, np.int32))


@contextmanager
def known_early() -> Iterator[None]:
    """Let a shape rule use a check of the op's body: what the body would refuse is an error of the graph here."""
    try:
        yield
    except InvalidArgumentError as error:
        raise ShapeError(str(error)) from None


def value_dims(sizes: Spec) -> Dims:
    """The shape that an integer vector spells out, as far as it is known while the graph is built.

    Raises GraphError for what is no vector of integers and for a negative size.
    """
    dims = vector_entries(sizes)
    if any(n is not None and n < 0 for n in dims or ()):
        raise GraphError(f"a shape has a negative size: {format_dims(dims)}")
    return dims


def vector_entries(sizes: Spec) -> tuple[int | None, ...] | None:
    """The elements of an integer vector, None for those that are not known; None where their number is not known.

    Raises GraphError when it is something else.
    """
    if sizes.rank not in (1, None):
        raise GraphError(f"a vector of integers is needed, not one of shape {format_dims(sizes.shape)}")
    if not is_integer(sizes.dtype) and sizes.shape != (0,):
        raise InvalidTypeError(f"a vector of integers is needed, not of {sizes.dtype.name}")
    found = entries(sizes)
    return None if found is None else tuple(found)


def vector_value(sizes: Spec) -> tuple[int, ...] | None:
    """The elements of an integer vector, where all are known; raises GraphError when it is something else."""
    found = vector_entries(sizes)
    return None if found is None or None in found else known(found)


def shape_tensor(sizes: Any) -> Tensor:
    """What a user writes for a shape (a size, a list, a TensorShape, a tensor) as an integer vector.

    Raises GraphError where a TensorShape or list does not say every size.
    """
    if isinstance(sizes, (TensorShape, int, np.integer)):
        sizes = as_dims(sizes)
    if sizes is None or (isinstance(sizes, (list, tuple)) and None in sizes):
        raise GraphError(f"a shape needs every size, not {sizes}; shape(x) is the shape at run time{at_user_line()}")
    return convert(np.empty(0, np.int32) if isinstance(sizes, (list, tuple)) and not sizes else sizes, name="shape")


def size_along(x: Tensor, axis: int) -> Any:
    """The size of one axis: a number where it is known, else an int32 scalar tensor."""
    known = None if x.spec.shape is None else x.spec.shape[axis]
    return shape(x)[axis] if known is None else known


def known_shape(x: Tensor) -> Tensor:
    """The shape of ``x`` as a tensor: a constant when it is fully known."""
    if x.spec.static:
        return make_constant(np.array(x.spec.shape, np.int32), name="shape")
    tensor: Tensor = shape(x)
    return tensor


@op(view=True, same=(0,), early=True)
def reshape(tensor, shape):
    """The same elements in row-major order under another shape; one size may be -1 and is then worked out."""
    return np.reshape(tensor, tuple(shape))


@reshape.shape
def _(tensor: Spec, shape: Spec) -> Spec:
    sizes = vector_entries(shape)
    if sizes is None:
        return Spec(tensor.dtype, None)
    given = [n for n in sizes if n is not None and n != -1]
    if sizes.count(-1) > 1 or min(given, default=0) < 0:
        raise ShapeError(f"{format_dims(sizes)} is no shape: one size may be -1, the others are 0 or more")
    total, placed = num_elements(tensor.shape), math.prod(given)
    free = len(sizes) - len(given)
    if total is not None and (total != placed if not free else total % placed if placed else total):
        raise GraphError(f"{total} elements cannot be reshaped to {format_dims(sizes)}")
    rest = total // placed if total is not None and placed and free == 1 else None
    return Spec(tensor.dtype, tuple(rest if n in (-1, None) else n for n in sizes))


@reshape.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return reshape(dy, known_shape(y.op.inputs[0])), None


@op(view=True, same=(0,), early=True)
def broadcast_to(input, shape):
    """``input`` repeated along axes of size 1, by numpy's broadcasting rule, until it has ``shape``."""
    return np.broadcast_to(input, tuple(shape))


@broadcast_to.shape
def _(input: Spec, shape: Spec) -> Spec:
    dims = value_dims(shape)
    if dims is not None and input.shape is not None:
        tail = dims[len(dims) - len(input.shape) :]
        fits = len(input.shape) <= len(dims) and all(
            n in (1, None) or m in (n, None) for n, m in zip(input.shape, tail, strict=True)
        )
        if not fits:
            raise GraphError(f"cannot be broadcast to {format_dims(dims)}")
    return Spec(input.dtype, dims)


@broadcast_to.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return unbroadcast(dy, y.op.inputs[0]), None


@op(same=(0,))
def sum_to(x, shape):
    """The sum of ``x`` over the axes along which an array of ``shape`` was broadcast to it."""
    target = tuple(shape)
    lead = np.ndim(x) - len(target)
    axes = tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(target) if n == 1 and np.shape(x)[lead + i] != 1
    )
    return np.sum(x, axis=axes, dtype=x.dtype, keepdims=True).reshape(target)


@sum_to.shape
def _(x: Spec, shape: Spec) -> Spec:
    return Spec(x.dtype, value_dims(shape))


@sum_to.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    return broadcast_to(dy, known_shape(y.op.inputs[0])), None


def unbroadcast(dy: Tensor, x: Tensor) -> Tensor:
    """The cotangent ``dy`` summed over the axes along which ``x`` was broadcast."""
    if dy.spec.static and x.spec.static and dy.spec.shape == x.spec.shape:
        return dy
    tensor: Tensor = sum_to(dy, known_shape(x))
    return tensor


def zeros_like(tensor: Any, dtype: Any = None, name: str = "zeros_like", optimize: bool = True) -> Tensor:
    """Zeros of the shape and, unless ``dtype`` is given, the dtype of ``tensor``; ``optimize`` is always so."""
    return _filled_like(tensor, 0, dtype, name)


def ones_like(tensor: Any, dtype: Any = None, name: str = "ones_like", optimize: bool = True) -> Tensor:
    """Ones of the shape and, unless ``dtype`` is given, the dtype of ``tensor``; ``optimize`` is always so."""
    return _filled_like(tensor, 1, dtype, name)


def _filled_like(tensor: Any, value: int, dtype: Any, name: str) -> Tensor:
    x = convert(tensor)
    scalar = make_constant(np.array(value, as_dtype(dtype) if dtype is not None else x.dtype))
    filled: Tensor = broadcast_to(scalar, known_shape(x), name=name)
    return filled


def fill(dims: Any, value: Any, name: str = "Fill") -> Tensor:
    """A tensor of shape ``dims`` with the scalar ``value`` in every place."""
    scalar = convert(value)
    if scalar.spec.rank not in (0, None):
        raise GraphError(f"fill: the value must be a scalar, not {scalar.shape}{at_user_line()}")
    filled: Tensor = broadcast_to(scalar, shape_tensor(dims), name=name)
    return filled


def zeros(shape: Any, dtype: Any = float32, name: str = "zeros") -> Tensor:
    """Zeros."""
    return fill(shape, np.zeros((), as_dtype(dtype)), name)


def ones(shape: Any, dtype: Any = float32, name: str = "ones") -> Tensor:
    """Ones."""
    return fill(shape, np.ones((), as_dtype(dtype)), name)


def group(*inputs: Any, name: str = "group_deps") -> Any:
    """An operation that runs when all ``inputs`` have run."""
    with get_default_graph().control_dependencies(inputs):
        return no_op(name=name)


@op(effect=True)
def no_op():
    """Nothing; a place to hang control dependencies on."""
    return ()


@no_op.shape
def _() -> tuple[Spec, ...]:
    return ()
