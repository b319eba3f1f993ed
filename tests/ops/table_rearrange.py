"""Rows of the operations that join, split, permute, repeat and pad tensors.

The oracles say for each element of the result where it comes from, one index at a time.
"""

import numpy as np

from paraflow.ops import joining, rearrange

from .oracles import NUMERIC, REAL, added, as_listed, elements
from .rows import Row, normal

JOINING = [
    Row(
        joining.pack,
        (normal(2, 3), normal(2, 3)),
        lambda x, y: elements((2, *x.shape), x.dtype, lambda i: (x, y)[i[0]][i[1:]]),
    ),
    Row(
        joining.pack,
        (normal(2, 3), normal(2, 3)),
        lambda x, y, axis: elements((*x.shape, 2), x.dtype, lambda i: (x, y)[i[2]][i[:2]]),
        {"axis": -1},
    ),
    Row(joining.pack, (normal(3),), lambda x: elements((1, *x.shape), x.dtype, lambda i: x[i[1]])),
    Row(
        as_listed(joining.stack),
        (normal(), normal(), normal()),
        lambda *v: elements((3,), v[0].dtype, lambda i: v[i[0]]),
        empty=None,
    ),
    Row(joining.unpack, (normal(2, 3),), lambda x, num: (x[0], x[1]), {"num": 2}, empty=(normal(2, 0),)),
    Row(joining.unpack, (normal(2, 3),), lambda x, num, axis: (x[:, 0], x[:, 1], x[:, 2]), {"num": 3, "axis": -1}),
    Row(joining.unpack, (normal(1, 3),), lambda x, num: x[0], {"num": 1}, empty=None),
    Row(joining.unstack, (normal(2, 3),), lambda x, num, axis: (x[:, 0], x[:, 1], x[:, 2]), {"num": 3, "axis": 1}),
    Row(
        joining.concatenate,
        (normal(2, 3), normal(1, 3)),
        lambda x, y: elements(
            (len(x) + len(y), 3), x.dtype, lambda i: x[i] if i[0] < len(x) else y[i[0] - len(x), i[1]]
        ),
    ),
    Row(
        joining.concatenate,
        (normal(2, 3), normal(2, 1)),
        lambda x, y, axis: elements((len(x), 4), x.dtype, lambda i: x[i] if i[1] < 3 else y[i[0], i[1] - 3]),
        {"axis": -1},
    ),
    Row(joining.concatenate, (normal(3),), lambda x: x),
    Row(
        as_listed(joining.concat),
        (normal(2), normal(0), normal(1)),
        lambda x, y, z, axis: np.array([*x, *y, *z], x.dtype),
        {"axis": 0},
    ),
    Row(
        joining.split_sizes,
        (normal(5, 2), np.array([2, 0, 3], np.int32)),
        lambda x, _: (x[:2], x[2:2], x[2:]),
        constant=(1,),
        empty=(normal(0, 2), np.array([0, 0, 0], np.int32)),
    ),
    Row(
        joining.split_sizes,
        (normal(2, 5), np.array([-1, 2], np.int64)),
        lambda x, _, axis: (x[:, :3], x[:, 3:]),
        {"axis": 1},
        constant=(1,),
    ),
    Row(
        joining.split,
        (normal(4, 3),),
        lambda x, **_: (x[:, :1], x[:, 1:2], x[:, 2:]),
        {"num_or_size_splits": 3, "axis": 1},
    ),
    Row(joining.split, (normal(3, 2),), lambda x, **_: x, {"num_or_size_splits": 1}),
    Row(joining.split, (normal(3, 2),), lambda x, **_: (x[:1], x[1:]), {"num_or_size_splits": [1, -1]}, empty=None),
]


def permuted(x, perm):
    return elements([x.shape[p] for p in perm], x.dtype, lambda i: x[tuple(i[perm.index(a)] for a in range(x.ndim))])


def tiled(x, times):
    dims = [n * m for n, m in zip(x.shape, times, strict=True)]
    return elements(dims, x.dtype, lambda i: x[tuple(j % n for j, n in zip(i, x.shape, strict=True))])


def untiled(x, _, dims):
    return added(
        dims, x.dtype, ((tuple(j % n for j, n in zip(i, dims, strict=True)), x[i]) for i in np.ndindex(*x.shape))
    )


def mirrored(j, before, n, mode):
    """The place in an axis of size n that a padded place j shows."""
    j -= before
    edge = mode.upper() == "SYMMETRIC"
    if j < 0:
        return -j - edge
    return j if j < n else 2 * n - 2 - j + edge


def padded(x, widths, mode="CONSTANT", constant_values=0):
    dims = [n + b + a for n, (b, a) in zip(x.shape, widths, strict=True)]

    def value(i):
        if mode != "CONSTANT":
            return x[tuple(mirrored(j, b, n, mode) for j, (b, _), n in zip(i, widths, x.shape, strict=True))]
        source = tuple(j - b for j, (b, _) in zip(i, widths, strict=True))
        inside = all(0 <= j < n for j, n in zip(source, x.shape, strict=True))
        return x[source] if inside else constant_values

    return elements(dims, x.dtype, value)


def folded(x, widths, mode):
    dims = [n - b - a for n, (b, a) in zip(x.shape, widths, strict=True)]
    return added(
        dims,
        x.dtype,
        (
            (tuple(mirrored(j, b, n, mode) for j, (b, _), n in zip(i, widths, dims, strict=True)), x[i])
            for i in np.ndindex(*x.shape)
        ),
    )


WIDTHS = np.array([[1, 0], [2, 1]], np.int32)

MOVING = [
    Row(rearrange.transpose, (normal(2, 3, 4),), lambda x: permuted(x, (2, 1, 0))),
    Row(rearrange.transpose, (normal(2, 3, 4),), permuted, {"perm": (1, 2, 0)}),
    Row(
        rearrange.reverse,
        (normal(2, 3),),
        lambda x, axis: elements(x.shape, x.dtype, lambda i: x[len(x) - 1 - i[0], 2 - i[1]]),
        {"axis": [0, -1]},
    ),
    Row(rearrange.reverse, (normal(2, 3),), lambda x, axis: x, {"axis": []}),
    Row(rearrange.tile, (normal(2, 3), np.array([2, 3], np.int32)), tiled, constant=(1,)),
    Row(rearrange.tile, (normal(2, 3), np.array([2, 0], np.int64)), tiled, exact=False, differentiable=(), empty=None),
    Row(rearrange.tile, (normal(), np.array([], np.int32)), tiled, constant=(1,), dtypes=REAL, empty=None),
    Row(
        rearrange.sum_tiles,
        (normal(4, 3), np.array([2, 1], np.int32), np.array([2, 3], np.int32)),
        untiled,
        constant=(1, 2),
        dtypes=NUMERIC,
        empty=(normal(0, 3), np.array([0, 1], np.int32), np.array([2, 3], np.int32)),
    ),
    Row(rearrange.pad, (normal(2, 3), WIDTHS), padded, constant=(1,)),
    Row(
        rearrange.pad,
        (normal(2, 3), WIDTHS),
        padded,
        {"mode": "CONSTANT", "constant_values": 7},
        exact=False,
        differentiable=(),
        dtypes=NUMERIC,
    ),
    Row(rearrange.pad, (normal(2, 3), WIDTHS), padded, {"mode": "REFLECT"}, constant=(1,), empty=None),
    Row(
        rearrange.pad,
        (normal(2, 3), WIDTHS.astype(np.int64)),
        padded,
        {"mode": "SYMMETRIC"},
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(
        rearrange.fold_mirror,
        (normal(3, 6), WIDTHS),
        folded,
        {"mode": "REFLECT"},
        constant=(1,),
        dtypes=NUMERIC,
        empty=None,
    ),
    Row(
        rearrange.fold_mirror,
        (normal(3, 6), WIDTHS),
        folded,
        {"mode": "SYMMETRIC"},
        exact=False,
        differentiable=(),
        dtypes=NUMERIC,
        empty=None,
    ),
]

ROWS = [*JOINING, *MOVING]
