"""Kernels that write their result into a given buffer, made of numpy's ufuncs.

`KERNELS` maps the name of an op record to a `Kernel`. An op without a row here runs its numpy body, which allocates its
result; every kernel is tested against that body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from paraflow.graph.dtypes import is_bfloat16, is_floating, is_integer, is_short, widened
from paraflow.graph.node import records
from paraflow.graph.record import OpRecord
from paraflow.kernels import normalization, softmax, windows
from paraflow.ops.array import drops_imaginary
from paraflow.ops.convolution import convolve, filter_gradient, input_gradient
from paraflow.ops.linalg import swapped
from paraflow.ops.reduce import highest, lowest, mean_of

Array = np.ndarray[Any, Any]
Call = Callable[..., Any]

ANY_INPUT = tuple(range(64))


@dataclass(frozen=True)
class Kernel:
    """``bind(attributes)`` returns ``f(*inputs, *outputs)``.

    ``inplace`` lists the inputs whose memory a single output may share, given equal shape and dtype (of a fused
    operation any of the outputs). One that ``settles`` is much cheaper where arrays stay in their places, so that small
    ones are copied there.
    """

    bind: Callable[[Mapping[str, Any]], Call]
    inplace: tuple[int, ...] = ()
    settles: bool = False

    def steady(self, attrs: Mapping[str, Any], arrays: Sequence[Array]) -> Call:
        """The call, without arguments, for inputs and outputs that stay where they are."""
        return partial(self.bind(attrs), *arrays)

    def body(self, record: OpRecord) -> Call | None:
        """What returns the result where its shape is not known before, so that it has no place; None: numpy's body."""
        return None


def _ufunc(function: Call) -> Kernel:
    return Kernel(lambda attrs: function, ANY_INPUT)


def _plain(function: Call, inplace: tuple[int, ...] = ()) -> Kernel:
    return Kernel(lambda attrs: function, inplace)


def _pairwise(ufunc: Call) -> Kernel:
    # maximum and minimum take no positional out.
    return Kernel(lambda attrs: lambda x, y, out: ufunc(x, y, out=out), ANY_INPUT)


# Elements side by side that make the inner loop of a sum over rows long enough.
_LONG_ROW = 1024


def _short_sum(x: Array, axis: Any, dtype: None = None, out: Array | None = None, keepdims: bool = False) -> Array:
    """`numpy.add.reduce`, which sums floats of 16 bits in float32."""
    reduce: Call = np.add.reduce
    if out is None or not is_short(x.dtype):
        total: Array = reduce(x, axis, dtype, out, keepdims)
        return total
    np.copyto(out, reduce(x, axis, np.float32, None, keepdims), casting="same_kind")
    return out


def _sum(attrs: Mapping[str, Any]) -> Call:
    axis, keepdims = attrs["axis"], attrs["keepdims"]
    total: Call = _short_sum
    axes = (axis,) if isinstance(axis, int) else axis
    if not axes or axes != tuple(range(len(axes))):
        return lambda x, out: total(x, axis, None, out, keepdims)

    def sum_rows(x: Array, out: Array) -> None:
        few = 1 < out.size <= _LONG_ROW // 16 and x.size >= 8 * _LONG_ROW
        if not few or not x.flags.c_contiguous or not is_floating(x.dtype) or is_short(x.dtype):
            total(x, axis, None, out, keepdims)
            return
        # The gradient of a bias: many short rows, of which some are taken as one, up to twenty times as fast.
        side_by_side = _LONG_ROW // out.size
        flat = x.reshape(-1)
        whole = x.size // (side_by_side * out.size) * side_by_side * out.size
        sums = total(flat[:whole].reshape(-1, side_by_side * out.size), 0)
        total(sums.reshape(side_by_side, *out.shape), 0, None, out)
        np.add(out, total(flat[whole:].reshape(-1, *out.shape), 0), out)

    return sum_rows


def _extreme(ufunc: np.ufunc, identity: Call) -> Kernel:
    reduce: Call = ufunc.reduce

    def bind(attrs: Mapping[str, Any]) -> Call:
        axis, keepdims = attrs["axis"], attrs["keepdims"]
        return lambda x, out: reduce(x, axis, None, out, keepdims, identity(x.dtype))

    return Kernel(bind)


def _mean(attrs: Mapping[str, Any]) -> Call:
    axis, keepdims = attrs["axis"], attrs["keepdims"]
    total: Call = np.add.reduce

    def mean(x: Array, out: Array) -> None:
        if is_short(x.dtype) or is_integer(x.dtype):
            np.copyto(out, mean_of(x, axis, keepdims))
            return
        total(x, axis, None, out, keepdims)
        np.divide(out, x.size / out.size if out.size else 1.0, out)

    return mean


def _matmul(attrs: Mapping[str, Any]) -> Call:
    swap_a, swap_b = attrs["transpose_a"], attrs["transpose_b"]
    if not (swap_a or swap_b):
        return np.matmul
    return lambda a, b, out: np.matmul(swapped(a, swap_a), swapped(b, swap_b), out)


_LAYER = ("axes", "epsilon")
_CONVOLUTION, _POOL = ("strides", "padding", "dilations"), ("window", "strides", "padding")


def _given(function: Call, attributes: Sequence[str], outputs: int = 1) -> Kernel:
    """Kernel of ``function(*inputs, *attributes, *outputs)``."""

    def bind(attrs: Mapping[str, Any]) -> Call:
        given = [attrs[name] for name in attributes]
        return lambda *operands: function(*operands[:-outputs], *given, *operands[-outputs:])

    return Kernel(bind)


def _clip(x: Array, low: Array, high: Array, out: Array) -> None:
    np.minimum(x, high, out=out)
    np.maximum(out, low, out=out)


def _relu(x: Array, out: Array) -> None:
    np.maximum(x, 0, out=out)


def _relu_gradient(dy: Array, y: Array, out: Array) -> None:
    np.multiply(dy, np.greater(y, 0), out)


# Integers of the size of an element, whose bits a choice can mask.
_BITS = {2: np.int16, 4: np.int32, 8: np.int64}


def _select(condition: Array, x: Array, y: Array, out: Array) -> None:
    """x or y by bit masks where that pays: an unpredictable branch for each element costs ten times as much."""
    bits = _BITS.get(out.itemsize)
    if bits is None or out.size < 1024:
        out[...] = y
        np.copyto(out, x, where=condition)
        return
    chosen, y_bits = out.view(bits), y.view(bits)
    difference = np.bitwise_xor(x.view(bits), y_bits)
    np.negative(condition.view(np.int8), chosen, dtype=bits)  # all ones or all zeros
    np.bitwise_and(chosen, difference, chosen)
    np.bitwise_xor(chosen, y_bits, chosen)


def _sigmoid(x: Array, out: Array) -> None:
    if is_bfloat16(x.dtype):
        np.copyto(out, 1 / (1 + np.exp(-widened(x))), casting="same_kind")
        return
    np.negative(x, out)
    np.exp(out, out)
    np.add(out, 1, out)
    np.reciprocal(out, out)


def _items_read(attrs: Mapping[str, Any]) -> Call:
    dims = attrs["dims"]
    body = records["items_read"].body

    def read(items: Array, index: Array, out: Array) -> None:
        of = items.item()
        element = of.get(int(index))
        if element is None or element.shape != out.shape:
            element = body(items, index, out.dtype, dims)  # zeros, or an error
        out[...] = element

    return read


def _concatenate(attrs: Mapping[str, Any]) -> Call:
    axis = attrs["axis"]

    def concatenate(*operands: Array) -> None:
        np.concatenate(operands[:-1], axis, operands[-1])

    return concatenate


def _copy(x: Array, out: Array) -> None:
    out[...] = x


def _cast(x: Array, out: Array) -> None:
    np.copyto(out, x.real if drops_imaginary(x.dtype, out.dtype) else x, casting="unsafe")


_UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negative": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "reciprocal": np.reciprocal,
    "floor": np.floor,
    "ceil": np.ceil,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "rint": np.rint,
    "nextafter": np.nextafter,
    "conj": np.conjugate,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "invert": np.invert,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
    "is_nan": np.isnan,
    "is_inf": np.isinf,
    "is_finite": np.isfinite,
}

KERNELS: dict[str, Kernel] = {
    **{name: _ufunc(ufunc) for name, ufunc in _UFUNCS.items()},
    "maximum": _pairwise(np.maximum),
    "minimum": _pairwise(np.minimum),
    "matmul": Kernel(_matmul),
    "reduce_sum": Kernel(_sum),
    "reduce_max": _extreme(np.maximum, lowest),
    "reduce_min": _extreme(np.minimum, highest),
    "reduce_mean": Kernel(_mean),
    "convolution": _given(convolve, _CONVOLUTION),
    "convolution_input_gradient": _given(input_gradient, _CONVOLUTION),
    "convolution_filter_gradient": _given(filter_gradient, _CONVOLUTION),
    "depthwise": _given(windows.depthwise, _CONVOLUTION),
    "depthwise_input_gradient": _given(windows.depthwise_input_gradient, _CONVOLUTION),
    "depthwise_filter_gradient": _given(windows.depthwise_filter_gradient, _CONVOLUTION),
    "window_max": _given(windows.largest, _POOL),
    "to_largest": _given(windows.to_largest, _POOL),
    "window_mean": _given(windows.mean, _POOL),
    "window_mean_gradient": _given(windows.mean_gradient, _POOL),
    "moments_of": _given(normalization.moments, ("axes", "keepdims"), outputs=2),
    "layer_normalization": _given(normalization.normalize, _LAYER),
    "layer_normalization_gradient": _given(normalization.gradients, _LAYER, outputs=3),
    "softmax": _given(softmax.softmax, ("axis",)),
    "log_softmax": _given(softmax.log_softmax, ("axis",)),
    "softmax_cross_entropy": _given(softmax.softmax_cross_entropy, ("axis",), outputs=2),
    "sparse_softmax_cross_entropy": _given(softmax.sparse_softmax_cross_entropy, (), outputs=2),
    "subtract_one_hot": _plain(softmax.subtract_one_hot, (0,)),
    "clip_by_value": _plain(_clip, (0,)),
    "relu": _plain(_relu, (0,)),
    "relu_gradient": _plain(_relu_gradient, (0, 1)),
    "concatenate": Kernel(_concatenate),
    "items_read": Kernel(_items_read),
    "select": _plain(_select),
    "sigmoid": _plain(_sigmoid, (0,)),
    "copy": _plain(_copy),
    "cast": _plain(_cast),
}
