"""Rows for paraflow.ops.fourier: the oracles are the sums, with one matrix for each axis."""

from functools import partial

import numpy as np

from paraflow.ops import fourier

from .rows import Row, normal


def by_matrices(x, rank, inverse=False):
    for axis in range(-rank, 0):
        n = x.shape[axis]
        matrix = np.exp((2j if inverse else -2j) * np.pi * np.outer(np.arange(n), np.arange(n)) / max(n, 1))
        x = np.moveaxis(np.tensordot(x, matrix / n if inverse and n else matrix, (axis, 0)), -1, axis)
    return x


def fitted(x, lengths):
    result = np.zeros((*x.shape[: x.ndim - len(lengths)], *lengths), x.dtype)
    places = tuple(slice(0, min(m, n)) for m, n in zip(x.shape[x.ndim - len(lengths) :], lengths, strict=True))
    result[(..., *places)] = x[(..., *places)]
    return result


def half(x, lengths, rank=1):
    whole = by_matrices(fitted(x, tuple(lengths)), rank)
    return whole[..., : lengths[-1] // 2 + 1]


def whole_of(x, lengths, rank=1):
    """The other half of the last axis is the mirror image; what is imaginary at its two ends does not count."""
    *rest, n = lengths
    x = fitted(x, (*rest, n // 2 + 1))
    if rank > 1:
        x = np.moveaxis(by_matrices(np.moveaxis(x, -1, 0), rank - 1, True), 0, -1)
    ends = [0] if n % 2 else [0, n // 2]
    x[..., ends] = x[..., ends].real
    mirrored = np.conj(x[..., 1 : (n + 1) // 2][..., ::-1])
    return by_matrices(np.concatenate([x, mirrored], -1), 1, True).real


def int32(*values):
    return np.array(values, np.int32)


Z = ("complex64", "complex128")
F = ("float32", "float64")
of_complex = partial(Row, tolerance=64, complex=True)
ROWS = [
    *(
        of_complex(fourier.transform, (normal(2, 3, 4, 5),), by_matrices, {"rank": rank, "inverse": inverse}, Z, (0,),
            tolerance=64, complex=True)
        for rank in (1, 2, 3)
        for inverse in (False, True)
    ),
    of_complex(fourier.real_transform, (normal(2, 5), int32(5)), half, dtypes=F, constant=(1,)),
    of_complex(fourier.real_transform, (normal(2, 6), int32(8)), half, dtypes=F, constant=(1,)),
    of_complex(fourier.real_transform, (normal(2, 4, 6), int32(3, 5)), half, {"rank": 2}, F, constant=(1,)),
    of_complex(fourier.real_transform, (normal(3, 2, 4), int32(3, 2, 4)), half, {"rank": 3}, F, constant=(1,),
        empty=None),
    of_complex(fourier.real_inverse, (normal(2, 5), int32(8)), whole_of, {}, Z, (0,), (1,)),
    of_complex(fourier.real_inverse, (normal(2, 3), int32(5)), whole_of, {}, Z, (0,), (1,)),
    of_complex(fourier.real_inverse, (normal(2, 3, 4), int32(4, 5)), whole_of, {"rank": 2}, Z, (0,), (1,)),
]
