"""Discrete Fourier transforms over the last one, two or three axes, by numpy's pocketfft."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidTypeError
from paraflow.graph.dtypes import DType, real_dtype
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert, op
from paraflow.graph.shape import Dims, Spec, format_dims
from paraflow.ops.array import cast, shape, shape_tensor, vector_entries
from paraflow.ops.complexes import complex, real
from paraflow.ops.indexing import slice
from paraflow.ops.joining import concat, stack
from paraflow.ops.logic import equal, logical_or
from paraflow.ops.math import maximum
from paraflow.ops.rearrange import pad
from paraflow.ops.sequences import arange


def _axes(rank: int) -> tuple[int, ...]:
    return tuple(range(-rank, 0))


def _need(x: Spec, rank: int) -> None:
    if x.rank is not None and x.rank < rank:
        raise GraphError(f"a transform over {rank} axes needs as many, not {format_dims(x.shape)}")


@op(dtypes="complex")
def transform(input, rank=1, inverse=False):
    """The transform over the last ``rank`` axes of complex numbers, or its inverse."""
    function = np.fft.ifftn if inverse else np.fft.fftn
    if not input.size:
        return np.array(input)
    return function(input, axes=_axes(rank)).astype(input.dtype, copy=False)


@transform.shape
def _(input: Spec, rank: int, inverse: bool) -> Spec:
    _need(input, rank)
    return Spec(input.dtype, input.shape)


@transform.gradient
def _(y: Tensor, dy: Tensor) -> Tensor:
    # The matrix of the transform is symmetric, so that of the derivative is the same.
    dx: Tensor = transform(dy, **y.op.attrs)
    return dx


def _whole_dtype(dtype: DType) -> DType:
    return np.dtype(f"complex{dtype.itemsize * 16}")


@op(dtypes="float", same=(0,), holomorphic=False)
def real_transform(input, fft_length, rank=1):
    """The transform of real numbers: the half of it, along the last axis, of which the other is the mirror image."""
    lengths = tuple(int(n) for n in fft_length)
    if not input.size:
        sizes = *input.shape[: input.ndim - rank], *lengths[:-1], lengths[-1] // 2 + 1
        return np.zeros(sizes, _whole_dtype(input.dtype))
    return np.fft.rfftn(input, lengths, _axes(rank)).astype(_whole_dtype(input.dtype), copy=False)


def _transformed(x: Spec, lengths: Spec, rank: int, dtype: DType, half: bool) -> Spec:
    _need(x, rank)
    known = vector_entries(lengths)
    if known is not None and len(known) != rank:
        raise GraphError(f"fft_length has {rank} numbers, not {list(known)}")
    sizes = [None] * rank if known is None else list(known)
    if half and sizes[-1] is not None:
        sizes[-1] = sizes[-1] // 2 + 1
    dims: Dims = None if x.shape is None else (*x.shape[: len(x.shape) - rank], *sizes)
    return Spec(dtype, dims)


@real_transform.shape
def _(input: Spec, fft_length: Spec, rank: int) -> Spec:
    if input.dtype.itemsize < 4:
        raise InvalidTypeError(f"float32 or float64 is transformed, not {input.dtype.name}")
    return _transformed(input, fft_length, rank, _whole_dtype(input.dtype), True)


@op(dtypes="complex", same=(0,), holomorphic=False)
def real_inverse(input, fft_length, rank=1):
    """The real numbers whose `real_transform` this is."""
    lengths = tuple(int(n) for n in fft_length)
    dtype = real_dtype(input.dtype)
    if not input.size or not all(lengths):
        return np.zeros((*input.shape[: input.ndim - rank], *lengths), dtype)
    return np.fft.irfftn(input, lengths, _axes(rank)).astype(dtype, copy=False)


@real_inverse.shape
def _(input: Spec, fft_length: Spec, rank: int) -> Spec:
    return _transformed(input, fft_length, rank, real_dtype(input.dtype), False)


def _fitted(x: Tensor, target: Tensor) -> Tensor:
    """``x`` cut, or filled with zeros at the ends of its axes, to the shape ``target``."""
    more = maximum(target - shape(x), 0)
    grown = pad(x, stack([more * 0, more], 1))
    cut: Tensor = slice(grown, more * 0, target)
    return cut


@real_transform.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    # What half of a transform tells of real numbers: the rest of the whole transform's cotangent is 0.
    x, lengths = y.op.inputs
    rank = y.op.attrs["rank"]
    whole = _fitted(dy, concat([shape(dy)[:-1], lengths[-1:]], 0))
    count = cast(_product(lengths, rank), dy.dtype)
    inner = transform(whole, rank, True) * count  # the sum with exp(+...), without the division
    return _fitted(real(inner), shape(x)), None


def _product(lengths: Tensor, rank: int) -> Tensor:
    total = lengths[0]
    for i in range(1, rank):
        total = total * lengths[i]
    return total


@real_inverse.gradient
def _(y: Tensor, dy: Tensor) -> tuple[Tensor, None]:
    # Each number inside the half stands for itself and for its mirror image; those at its ends for themselves.
    x, lengths = y.op.inputs
    rank = y.op.attrs["rank"]
    half = real_transform(dy, lengths, rank)
    last = lengths[-1]
    places = arange(0, last // 2 + 1, 1)
    alone = logical_or(equal(places, 0), equal(places * 2, last))
    weights = 2 - cast(alone, dy.dtype)
    count = cast(_product(lengths, rank), dy.dtype)
    scaled = half * complex(weights / count, weights * 0)
    return _fitted(scaled, shape(x)), None


def _complex(rank: int, inverse: bool, name: str) -> Any:
    def function(input: Any, name: str | None = None) -> Tensor:
        tensor: Tensor = transform(input, rank, inverse, name=name or label)
        return tensor

    label = name
    kind = "inverse transform" if inverse else "discrete Fourier transform"
    function.__doc__ = f"The {kind} of complex numbers over {_over(rank)}."
    function.__name__ = function.__qualname__ = name
    return function


def _over(rank: int) -> str:
    return "the last axis" if rank == 1 else f"the last {rank} axes"


def _of_real(rank: int, inverse: bool, name: str) -> Any:
    def function(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
        x = convert(input_tensor)
        if fft_length is None:
            lengths = shape(x)[-rank:]
            if inverse:
                last = (lengths[-1:] - 1) * 2
                lengths = last if rank == 1 else concat([lengths[:-1], last], 0)
        else:
            lengths = shape_tensor(fft_length)
        tensor: Tensor = (real_inverse if inverse else real_transform)(x, lengths, rank, name=name or label)
        return tensor

    label = name
    what = "real numbers whose transform's half is given" if inverse else "half of the transform of real numbers"
    function.__doc__ = (
        f"The {what}, over {_over(rank)}.\n\n    Axes are cut, or filled with zeros, to ``fft_length`` before. "
        "The last axis of a half has n // 2 + 1 numbers of n."
    )
    function.__name__ = function.__qualname__ = name
    return function


fft, fft2d, fft3d = (_complex(rank, False, name) for rank, name in ((1, "fft"), (2, "fft2d"), (3, "fft3d")))
ifft, ifft2d, ifft3d = (_complex(rank, True, name) for rank, name in ((1, "ifft"), (2, "ifft2d"), (3, "ifft3d")))
rfft, rfft2d, rfft3d = (_of_real(rank, False, name) for rank, name in ((1, "rfft"), (2, "rfft2d"), (3, "rfft3d")))
irfft, irfft2d, irfft3d = (_of_real(rank, True, name) for rank, name in ((1, "irfft"), (2, "irfft2d"), (3, "irfft3d")))
