"""Elementwise arithmetic: sums, products, powers, rounding, extremes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import DType, as_dtype, is_complex, is_floating, is_integer, is_signed, real_dtype
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Dims, Spec, broadcast, merge
from paraflow.ops.array import identity, unbroadcast, zeros_like
from paraflow.ops.complexes import complex, conj, imag
from paraflow.ops.logic import greater, greater_equal, less, less_equal, not_equal, select

Pair = tuple[Tensor | None, Tensor | None]


@op(elementwise=True, dtypes="numeric", early=True)
def add(x, y):
    """x + y."""
    return np.add(x, y)


@add.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(dz, x), unbroadcast(dz, y)


@op(elementwise=True, dtypes="numeric", early=True)
def subtract(x, y):
    """x - y."""
    return np.subtract(x, y)


@subtract.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(dz, x), unbroadcast(-dz, y)


@op(elementwise=True, dtypes="numeric", early=True)
def multiply(x, y):
    """x * y."""
    return np.multiply(x, y)


@multiply.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(dz * y, x), unbroadcast(dz * x, y)


def quotient_dtype(dtype: DType) -> DType:
    """What x / y of integers is: float32 for up to 16 bits, else float64, as in TensorFlow; floats keep theirs."""
    if is_integer(dtype):
        return np.dtype("float32" if dtype.itemsize <= 2 else "float64")
    return dtype


@op(elementwise=True, dtypes="numeric", early=True)
def divide(x, y):
    """x / y in floating point; integers become float64 (those of up to 16 bits float32)."""
    return np.divide(x, y, dtype=quotient_dtype(x.dtype))


@divide.shape
def _(x: Spec, y: Spec) -> Spec:
    return Spec(quotient_dtype(x.dtype), broadcast(x.shape, y.shape))


@divide.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    dx = dz / y
    return unbroadcast(dx, x), unbroadcast(-dx * z, y)


@op(elementwise=True, dtypes="float or complex")
def div_no_nan(x, y):
    """x / y, and 0 where y is 0."""
    return np.where(np.equal(y, 0), np.zeros((), x.dtype), np.divide(x, y))


@div_no_nan.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    dx = div_no_nan(dz, y)
    return unbroadcast(dx, x), unbroadcast(-dx * z, y)


@op(elementwise=True, dtypes="float or complex")
def multiply_no_nan(x, y):
    """x * y, and 0 where y is 0 even if x is infinite or NaN."""
    return np.where(np.equal(y, 0), np.zeros((), x.dtype), np.multiply(x, y))


@multiply_no_nan.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(multiply_no_nan(dz, y), x), unbroadcast(multiply_no_nan(x, dz), y)


def refuse_zero(divisor: Any) -> None:
    """Raise InvalidArgumentError for an integer zero among the divisors, where numpy would return 0."""
    if is_integer(divisor.dtype) and not np.all(divisor):
        raise InvalidArgumentError("integer division by zero")


@op(elementwise=True, dtypes="real", early=True)
def floordiv(x, y):
    """The largest integer not above x / y, as Python's //; raises InvalidArgumentError for an integer zero in y."""
    refuse_zero(y)
    # numpy's floor_divide of floats is exact where x / y rounds up to an integer; TensorFlow's is floor(x / y).
    return np.floor_divide(x, y) if is_integer(x.dtype) else np.floor(np.divide(x, y))


@floordiv.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    return None, None


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 2 has it: `floordiv` for integers, `divide` for floats."""
    typed = next((v for v in (x, y) if hasattr(v, "dtype")), None)
    x = convert(x, None if typed is None else typed.dtype)
    quotient: Tensor = (floordiv if is_integer(x.dtype) else divide)(x, y, name=name)
    return quotient


@op(elementwise=True, dtypes="real", early=True)
def floormod(x, y):
    """x - floor(x / y) * y, with the sign of y as Python's %; raises InvalidArgumentError for an integer zero in y."""
    refuse_zero(y)
    return np.mod(x, y)


@floormod.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(dz, x), unbroadcast(-dz * floordiv(x, y), y)


@op(elementwise=True, dtypes="real")
def truncatediv(x, y):
    """x / y rounded towards 0; raises InvalidArgumentError for an integer zero in y."""
    refuse_zero(y)
    if not is_signed(x.dtype):
        return np.trunc(np.divide(x, y)).astype(x.dtype, copy=False) if is_floating(x.dtype) else np.floor_divide(x, y)
    # numpy rounds down; what is left over says where that is one too low.
    quotient, rest = np.divmod(x, y)
    return quotient + ((rest != 0) & ((x < 0) != (y < 0))).astype(x.dtype)


@truncatediv.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    return None, None


@op(elementwise=True, dtypes="real")
def truncatemod(x, y):
    """x - truncatediv(x, y) * y, with the sign of x as C's %; raises InvalidArgumentError for an integer zero in y."""
    refuse_zero(y)
    return np.fmod(x, y)


@truncatemod.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return unbroadcast(dz, x), unbroadcast(-dz * truncatediv(x, y), y)


@op(elementwise=True, dtypes="numeric", early=True)
def negative(x):
    """-x."""
    return np.negative(x)


@negative.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return -dy


@op(elementwise=True, dtypes="numeric", holomorphic=False, early=True)
def abs(x):
    """The absolute value, of complex numbers too; its derivative at 0 is 0."""
    return np.abs(x)


@abs.shape
def _(x: Spec) -> Spec:
    return Spec(real_dtype(x.dtype), x.shape)


@abs.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    x = y.op.inputs[0]
    if not is_complex(x.dtype):
        return dy * sign(x)
    return complex(div_no_nan(dy, y), zeros_like(y)) * x


@op(elementwise=True, dtypes="numeric", holomorphic=False)
def sign(x):
    """-1, 0 or 1; of complex numbers x / |x|, and 0 of 0. NaN stays NaN."""
    return np.sign(x)


@sign.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    if not is_complex(y.dtype):
        return zeros_like(y)
    turn = div_no_nan(imag(conj(y) * dy), abs(y.op.inputs[0]))  # a sign can only turn
    return y * complex(zeros_like(turn), turn)


@op(elementwise=True, dtypes="numeric", early=True)
def square(x):
    """x * x."""
    return np.square(x)


@square.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy * (2 * y.op.inputs[0])


@op(elementwise=True, dtypes="numeric", holomorphic=False, early=True)
def squared_difference(x, y):
    """(x - y) squared; of complex numbers the square of its absolute value."""
    difference = np.subtract(x, y)
    difference *= np.conjugate(difference) if is_complex(difference.dtype) else difference
    return difference


@squared_difference.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    dx = 2 * dz * (x - y)
    return unbroadcast(dx, x), unbroadcast(-dx, y)


@op(elementwise=True, dtypes="float or complex")
def reciprocal(x):
    """1 / x. No gradient comes of a zero cotangent, here and in `sqrt` and `rsqrt`, even where x is 0."""
    return np.reciprocal(x)


@reciprocal.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    cotangent: Tensor = multiply_no_nan(-(y * y), dy)
    return cotangent


@op(elementwise=True, dtypes="float or complex")
def sqrt(x):
    """Square root; NaN below 0. Its derivative at 0 is infinite."""
    return np.sqrt(x)


@sqrt.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    cotangent: Tensor = multiply_no_nan(0.5 / y, dy)
    return cotangent


@op(elementwise=True, dtypes="float or complex")
def rsqrt(x):
    """1 / sqrt(x)."""
    return np.reciprocal(np.sqrt(x))


@rsqrt.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    cotangent: Tensor = multiply_no_nan(-0.5 * (y * y * y), dy)
    return cotangent


@op(elementwise=True, dtypes="numeric")
def pow(x, y):
    """x to the power y; integers must have exponents of at least 0, or the run fails with InvalidArgumentError."""
    if is_floating(x.dtype) and np.ndim(y) == 0 and y in (2, 3, 4):
        # numpy takes up to a hundred times as long for these; the compiler knows them as products (simplify.py).
        squared = np.square(x)
        return squared if y == 2 else squared * (x if y == 3 else squared)
    return np.power(x, y)


@pow.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    # For real x <= 0 the power is no differentiable function of y; TensorFlow takes 0.
    defined = not_equal(x, 0) if is_complex(x.dtype) else greater(x, 0)
    log_x = select(defined, log(select(defined, x, 1)), 0)
    return unbroadcast(dz * y * pow(x, y - 1), x), unbroadcast(dz * z * log_x, y)


@op(elementwise=True, dtypes="float or complex")
def log(x):
    """Natural logarithm; -inf at 0, NaN below."""
    return np.log(x)


@log.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    return dy / y.op.inputs[0]


@op(elementwise=True, dtypes="float", early=True)
def floor(x):
    """The largest integer not above x; no gradient."""
    return np.floor(x)


@floor.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


@op(elementwise=True, dtypes="float", early=True)
def ceil(x):
    """The smallest integer not below x; no gradient."""
    return np.ceil(x)


@ceil.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


@op(elementwise=True, dtypes="real", early=True)
def round(x):
    """The nearest integer, the even one of two equally near; no gradient."""
    return np.array(x) if is_integer(x.dtype) else np.rint(x)


@round.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


@op(elementwise=True, dtypes="float", early=True)
def rint(x):
    """The nearest integer, the even one of two equally near; no gradient."""
    return np.rint(x)


@rint.gradient
def _(y: Tensor, dy: Tensor) -> None:
    return None


@op(elementwise=True, dtypes="float", itself=True)
def nextafter(x1, x2):
    """The next number of the dtype after ``x1`` in the direction of ``x2``."""
    return np.nextafter(x1, x2)


@nextafter.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x1, x2 = z.op.inputs
    return unbroadcast(dz, x1), zeros_like(x2)


@op(elementwise=True, dtypes="real", early=True)
def maximum(x, y):
    """The larger of x and y; NaN if one is. Where they are equal the gradient goes to x."""
    return np.maximum(x, y)


@maximum.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return _chosen(greater_equal(x, y), dz, x, y)


@op(elementwise=True, dtypes="real", early=True)
def minimum(x, y):
    """The smaller of x and y; NaN if one is. Where they are equal the gradient goes to x."""
    return np.minimum(x, y)


@minimum.gradient
def _(z: Tensor, dz: Tensor) -> Pair:
    x, y = z.op.inputs
    return _chosen(less_equal(x, y), dz, x, y)


def _chosen(first: Tensor, dz: Tensor, x: Tensor, y: Tensor) -> Pair:
    """The cotangent given to x where ``first`` holds, and to y elsewhere."""
    return unbroadcast(select(first, dz, 0), x), unbroadcast(select(first, 0, dz), y)


@op(dtypes="numeric")
def sum_of(*values):
    """The sum of tensors of one shape, added from left to right."""
    total = np.array(values[0])
    for value in values[1:]:
        if value.shape != total.shape:
            raise InvalidArgumentError(f"add_n does not broadcast: shapes {total.shape} and {value.shape} differ")
        np.add(total, value, out=total)
    return total


@sum_of.shape
def _(*values: Spec) -> Spec:
    shape: Dims = None
    for value in values:
        shape = merge(shape, value.shape)
    return Spec(values[0].dtype, shape)


@sum_of.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, ...]:
    return (dy,) * len(y.op.inputs)


def add_n(inputs: Sequence[Any], name: str | None = None) -> Tensor:
    """The sum of a list of tensors of one shape and dtype, added from left to right.

    Raises InvalidArgumentError for an empty list, GraphError for shapes that differ.
    """
    if isinstance(inputs, Tensor) or not inputs:
        raise InvalidArgumentError(f"add_n needs a list of at least one tensor, not {inputs!r}")
    total: Tensor = sum_of(*inputs, name=name or "add_n")
    return total


def accumulate_n(
    inputs: Sequence[Any], shape: Any = None, tensor_dtype: Any = None, name: str | None = None
) -> Tensor:
    """`add_n`, of tensors whose common shape and dtype may be given; raises GraphError where they differ."""
    total = add_n(inputs, name=name or "AccumulateN")
    if tensor_dtype is not None and total.dtype != as_dtype(tensor_dtype):
        raise InvalidTypeError(f"accumulate_n: the tensors are {total.dtype.name}, not {tensor_dtype}{at_user_line()}")
    if shape is not None:
        total.set_shape(shape)
    return total


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor:
    """``x`` times a number; raises GraphError for a tensor that is no scalar."""
    tensor = convert(x)
    factor = convert(scalar, tensor.dtype)
    if factor.spec.rank not in (0, None):
        raise GraphError(f"scalar_mul: {factor.shape} is no scalar{at_user_line()}")
    product: Tensor = multiply(factor, tensor, name=name)
    return product


def reciprocal_no_nan(x: Any, name: str | None = None) -> Tensor:
    """1 / x, and 0 where x is 0."""
    inverse: Tensor = div_no_nan(1, convert(x), name=name or "reciprocal_no_nan")
    return inverse


def approximate_equal(x: Any, y: Any, tolerance: float = 1e-5, name: str | None = None) -> Tensor:
    """Whether |x - y| < ``tolerance``."""
    near: Tensor = less(abs(subtract(x, y)), tolerance, name=name or "ApproximateEqual")
    return near


def polyval(coeffs: Sequence[Any], x: Any, name: str | None = None) -> Tensor:
    """The polynomial of ``x`` with these coefficients, that of the highest power first, by Horner's rule."""
    point = convert(x)
    if not isinstance(coeffs, (list, tuple)):
        raise InvalidArgumentError(f"polyval needs a list of coefficients, not {coeffs!r}{at_user_line()}")
    if not coeffs:
        return zeros_like(point)
    total = convert(coeffs[0], point.dtype)
    for c in coeffs[1:]:
        total = convert(c, point.dtype) + total * point
    return identity(total, name=name or "polyval")
