"""Rows of the operations that make, reshape, join, split, permute, index and pad tensors.

The oracles say for each element of the result where it comes from, one index at a time.
"""

import numpy as np

from paraflow.ops import array, gathering, indexing, joining, rearrange, sequences

from .rows import Row, given, normal


def elements(dims, dtype, value):
    """The array of shape ``dims`` with ``value(index)`` in each place."""
    result = np.zeros(dims, dtype)
    for i in np.ndindex(*result.shape):
        result[i] = value(i)
    return result


def added(dims, dtype, terms):
    """Zeros of ``dims`` with each (index, value) of ``terms`` added."""
    result = np.zeros(tuple(dims), dtype)
    for i, value in terms:
        result[i] += value
    return result


def ranked(function, *ranks, **fixed):
    """``function`` for tensors whose ranks are known, which is what some composites ask for."""

    def build(*tensors, **attrs):
        for tensor, rank in zip(tensors, ranks, strict=False):
            if rank is not None:
                tensor.set_shape([None] * rank)
        return function(*tensors, **fixed, **attrs)

    build.__name__ = function.__name__
    return build


def as_listed(function):
    """``function`` of a list of tensors as a function of several."""

    def build(*tensors, **attrs):
        return function(list(tensors), **attrs)

    build.__name__ = function.__name__
    return build


REAL = ("float32", "float64", "int32")
NUMERIC = ("float16", "float32", "float64", "int32", "complex64")

# -- making ------------------------------------------------------------------------------------------------------------

MAKING = [
    Row(array.constant, (), lambda value: value, {"value": np.array([[1.5, 2.0]], np.float32)}),
    Row(array.identity, (normal(2, 3),), lambda x: x),
    Row(array.identity, (normal(),), lambda x: x, dtypes=REAL, empty=None),
    Row(array.stop_gradient, (normal(2, 3),), lambda x: x),
    Row(array.copy, (normal(2, 3),), lambda x: x),
    Row(array.cast, (normal(2, 3),), lambda x, dtype: x, {"dtype": "float64"}, ("float16", "float32", "float64")),
    Row(array.cast, (np.array([2, -3], np.int8),), lambda x, dtype: x, {"dtype": "float64"}),
    Row(array.cast, (np.array([True, False]),), lambda x, dtype: np.array([1, 0]), {"dtype": "int32"}),
    Row(
        array.cast,
        (given([-2.7, -0.5, 0.5, 2.7]),),
        lambda x, dtype: np.vectorize(int, otypes=[dtype])(x),
        {"dtype": "int32"},
        ("float16", "float32", "float64"),
        differentiable=(),
    ),
    Row(array.to_float, (np.array([2, -3], np.int64),), lambda x: x),
    Row(array.to_int64, (given([1.9, -1.9]),), lambda x: np.vectorize(int, otypes=[int])(x), dtypes=("float32",)),
    Row(array.to_int32, (normal(3),), lambda x: x, dtypes=("int64",)),
    Row(array.to_double, (normal(3),), lambda x: x),
    Row(array.fill, (np.array([2, 3], np.int32), normal()), lambda dims, x: elements(dims, x.dtype, lambda i: x),
        constant=(0,), empty=(np.array([2, 0], np.int32), normal())),
    Row(array.fill, (np.array([2, 3], np.int64), normal()), lambda dims, x: elements(dims, x.dtype, lambda i: x),
        exact=False, differentiable=(), empty=None),
    Row(array.zeros, (np.array([2, 3], np.int32),), lambda dims, dtype: elements(dims, dtype, lambda i: 0),
        {"dtype": "int64"}, constant=(0,)),
    Row(array.ones, (np.array([], np.int32),), lambda dims: np.ones(()), constant=(0,)),
    Row(array.zeros_like, (normal(2, 3),), lambda x: elements(x.shape, x.dtype, lambda i: 0), differentiable=(),
        dtypes=("float32", "int64", "bool", "complex64")),
    Row(array.ones_like, (normal(2, 3),), lambda x, dtype: elements(x.shape, dtype, lambda i: 1),
        {"dtype": "int32"}, differentiable=()),
    Row(sequences.arange, tuple(np.array(n, np.float32) for n in (1, 2.5, 0.5)), lambda *ends: np.array([1, 1.5, 2]),
        constant=(0, 1, 2)),
    Row(sequences.arange, tuple(np.array(n, np.int64) for n in (5, -4, -3)), lambda *ends: np.array([5, 2, -1]),
        exact=False),
    Row(sequences.range, (np.array(4, np.int32),), lambda n: np.array([0, 1, 2, 3]), exact=False),
    Row(sequences.range, tuple(np.array(n, np.int32) for n in (3, 0, 1)), lambda *ends: np.array([], int),
        constant=(0, 1, 2)),
    Row(sequences.range, (np.array(1, np.int32), np.array(3, np.int64)), lambda *ends, dtype: np.array([1.0, 2.0]),
        {"dtype": "float64"}, constant=(0, 1)),
    Row(sequences.linspace, (normal(), normal(), np.array(4, np.int32)),
        lambda a, b, n: np.array([a, a + (b - a) / 3, a + 2 * (b - a) / 3, b]), constant=(2,), empty=None,
        dtypes=("float16", "float32", "float64")),
    Row(sequences.linspace, (normal(), normal(), np.array(1, np.int32)), lambda a, b, n: np.array([a]), exact=False, differentiable=(),
        empty=None, dtypes=("float32",)),
    Row(sequences.one_hot, (np.array([[2, 0], [-1, 7]], np.int32), np.array(3, np.int32)),
        lambda i, n: elements((2, 2, 3), float, lambda at: i[at[:2]] == at[2]), constant=(1,)),
    Row(sequences.one_hot, (np.array([2, 0], np.int64), np.array(3, np.int32)),
        lambda i, n, **_: elements((3, 2), int, lambda at: 5 if i[at[1]] == at[0] else -1),
        {"on_value": 5, "off_value": -1, "axis": 0}, exact=False),
    Row(sequences.one_hot_code, (np.array([2, 0], np.int32), np.array(3, np.int32)),
        lambda i, n, dtype, **_: elements((2, 3), dtype, lambda at: i[at[0]] == at[1]),
        {"dtype": "bool", "on_value": True, "off_value": False}, constant=(1,)),
    Row(sequences.sequence_mask, (np.array([[1, 0], [4, 2]], np.int32),),
        lambda n, maxlen: elements((2, 2, 3), bool, lambda i: i[2] < n[i[:2]]), {"maxlen": 3}),
    Row(sequences.sequence_mask, (np.array([1, 3], np.int64),),
        lambda n, dtype: elements((2, 3), dtype, lambda i: i[1] < n[i[0]]), {"dtype": "float32"}, exact=False),
    Row(ranked(sequences.meshgrid, 1, 1, 1), (normal(2), normal(3), normal(4)),
        lambda x, y, z: tuple(elements((len(y), len(x), len(z)), x.dtype, lambda i, v=v, a=a: v[i[a]])
                              for v, a in ((x, 1), (y, 0), (z, 2)))),
    Row(ranked(sequences.meshgrid, 1, 1), (normal(2), normal(3)),
        lambda x, y, indexing: tuple(elements((2, 3), x.dtype, lambda i, v=v, a=a: v[i[a]])
                                     for v, a in ((x, 0), (y, 1))), {"indexing": "ij"}, empty=None),
]

# -- shapes ------------------------------------------------------------------------------------------------------------


def merged(x, axis_sizes):
    """The elements of ``x`` in row-major order under another shape."""
    order = [x[i] for i in np.ndindex(*x.shape)]
    count = iter(order)
    return elements(axis_sizes, x.dtype, lambda i: next(count))


def unrolled(x, shape):
    """The sum over all elements that broadcasting had made of one."""
    lead = x.ndim - len(shape)
    return added(shape, x.dtype, (
        (tuple(0 if n == 1 else j for n, j in zip(shape, i[lead:], strict=True)), x[i]) for i in np.ndindex(*x.shape)
    ))


SHAPES = [
    Row(array.shape, (normal(2, 0, 3),), lambda x: np.array([2, 0, 3]), empty=None),
    Row(array.shape, (normal(),), lambda x, out_type: np.array([], int), {"out_type": np.int64}, REAL, empty=None),
    Row(array.size, (normal(2, 3),), lambda x: np.array(x.shape[0] * 3)),
    Row(array.rank, (normal(2, 3, 1),), lambda x: np.array(3)),
    Row(array.reshape, (normal(2, 6), np.array([4, -1], np.int32)), lambda x, s: merged(x, np.where(s == -1, 3, s)), constant=(1,),
        empty=(normal(0, 6), np.array([2, 0], np.int32))),
    Row(array.reshape, (normal(2, 3), np.array([3, 1, 2], np.int64)), lambda x, _: merged(x, (3, 1, 2)), exact=False, differentiable=(),
        empty=None),
    Row(array.reshape, (normal(1, 1), np.array([], np.int32)), lambda x, _: merged(x, ()), constant=(1,), empty=None),
    Row(rearrange.flatten, (normal(2, 3, 2),), lambda x: merged(x, (x.shape[0], 6))),
    Row(array.broadcast_to, (normal(3, 1), np.array([2, 3, 4], np.int32)),
        lambda x, s: elements(s, x.dtype, lambda i: x[i[1], 0]), constant=(1,),
        empty=(normal(3, 1), np.array([0, 3, 4], np.int32))),
    Row(array.broadcast_to, (normal(2), np.array([2, 2], np.int64)),
        lambda x, _: elements((2, 2), x.dtype, lambda i: x[i[1]]), exact=False, differentiable=(), empty=None),
    Row(array.sum_to, (normal(2, 3, 4), np.array([3, 1], np.int32)), unrolled, constant=(1,),
        dtypes=("float16", "float32", "float64", "int32", "complex64"),
        empty=(normal(0, 3, 4), np.array([3, 1], np.int32))),
    Row(array.sum_to, (normal(2, 3), np.array([2, 3], np.int32)), unrolled, exact=False, differentiable=(), empty=None,
        dtypes=("float32", "float64")),
    Row(rearrange.expand_dims, (normal(2, 3),), lambda x, axis: merged(x, (x.shape[0], 1, 3)), {"axis": 1}),
    Row(rearrange.expand_dims, (normal(2, 3),), lambda x, axis: merged(x, (x.shape[0], 3, 1)), {"axis": -1}),
    Row(rearrange.squeeze, (normal(1, 2, 1),), lambda x: merged(x, x.shape[1:2]), empty=(normal(1, 0, 1),)),
    Row(rearrange.squeeze, (normal(1, 2, 1),), lambda x, axis: merged(x, (1, 2)), {"axis": -1}, empty=None),
    Row(rearrange.squeeze, (normal(1, 2, 1),), lambda x, axis: merged(x, (2,)), {"axis": [2, 0]}, empty=None),
]

# -- joining and splitting ---------------------------------------------------------------------------------------------

JOINING = [
    Row(joining.pack, (normal(2, 3), normal(2, 3)), lambda x, y: elements((2, *x.shape), x.dtype, lambda i: (x, y)[i[0]][i[1:]])),
    Row(joining.pack, (normal(2, 3), normal(2, 3)),
        lambda x, y, axis: elements((*x.shape, 2), x.dtype, lambda i: (x, y)[i[2]][i[:2]]), {"axis": -1}),
    Row(joining.pack, (normal(3),), lambda x: elements((1, *x.shape), x.dtype, lambda i: x[i[1]])),
    Row(as_listed(joining.stack), (normal(), normal(), normal()), lambda *v: elements((3,), v[0].dtype, lambda i: v[i[0]]),
        empty=None),
    Row(joining.unpack, (normal(2, 3),), lambda x, num: (x[0], x[1]), {"num": 2}, empty=(normal(2, 0),)),
    Row(joining.unpack, (normal(2, 3),), lambda x, num, axis: (x[:, 0], x[:, 1], x[:, 2]), {"num": 3, "axis": -1}),
    Row(joining.unpack, (normal(1, 3),), lambda x, num: x[0], {"num": 1}, empty=None),
    Row(joining.unstack, (normal(2, 3),), lambda x, num, axis: (x[:, 0], x[:, 1], x[:, 2]), {"num": 3, "axis": 1}),
    Row(joining.concatenate, (normal(2, 3), normal(1, 3)),
        lambda x, y: elements((len(x) + len(y), 3), x.dtype, lambda i: x[i] if i[0] < len(x) else y[i[0] - len(x), i[1]])),
    Row(joining.concatenate, (normal(2, 3), normal(2, 1)),
        lambda x, y, axis: elements((len(x), 4), x.dtype, lambda i: x[i] if i[1] < 3 else y[i[0], i[1] - 3]), {"axis": -1}),
    Row(joining.concatenate, (normal(3),), lambda x: x),
    Row(as_listed(joining.concat), (normal(2), normal(0), normal(1)), lambda x, y, z, axis: np.array([*x, *y, *z], x.dtype),
        {"axis": 0}),
    Row(joining.split_sizes, (normal(5, 2), np.array([2, 0, 3], np.int32)), lambda x, _: (x[:2], x[2:2], x[2:]),
        constant=(1,), empty=(normal(0, 2), np.array([0, 0, 0], np.int32))),
    Row(joining.split_sizes, (normal(2, 5), np.array([-1, 2], np.int64)), lambda x, _, axis: (x[:, :3], x[:, 3:]),
        {"axis": 1}, constant=(1,)),
    Row(joining.split, (normal(4, 3),), lambda x, **_: (x[:, :1], x[:, 1:2], x[:, 2:]),
        {"num_or_size_splits": 3, "axis": 1}),
    Row(joining.split, (normal(3, 2),), lambda x, **_: x, {"num_or_size_splits": 1}),
    Row(joining.split, (normal(3, 2),), lambda x, **_: (x[:1], x[1:]), {"num_or_size_splits": [1, -1]}, empty=None),
]

# -- moving ------------------------------------------------------------------------------------------------------------


def permuted(x, perm):
    return elements([x.shape[p] for p in perm], x.dtype, lambda i: x[tuple(i[perm.index(a)] for a in range(x.ndim))])


def tiled(x, times):
    dims = [n * m for n, m in zip(x.shape, times, strict=True)]
    return elements(dims, x.dtype, lambda i: x[tuple(j % n for j, n in zip(i, x.shape, strict=True))])


def untiled(x, _, dims):
    return added(dims, x.dtype, ((tuple(j % n for j, n in zip(i, dims, strict=True)), x[i]) for i in np.ndindex(*x.shape)))


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
    return added(dims, x.dtype, (
        (tuple(mirrored(j, b, n, mode) for j, (b, _), n in zip(i, widths, dims, strict=True)), x[i])
        for i in np.ndindex(*x.shape)
    ))


WIDTHS = np.array([[1, 0], [2, 1]], np.int32)

MOVING = [
    Row(rearrange.transpose, (normal(2, 3, 4),), lambda x: permuted(x, (2, 1, 0))),
    Row(rearrange.transpose, (normal(2, 3, 4),), lambda x, perm: permuted(x, perm), {"perm": (1, 2, 0)}),
    Row(rearrange.reverse, (normal(2, 3),), lambda x, axis: elements(x.shape, x.dtype, lambda i: x[len(x) - 1 - i[0], 2 - i[1]]),
        {"axis": [0, -1]}),
    Row(rearrange.reverse, (normal(2, 3),), lambda x, axis: x, {"axis": []}),
    Row(rearrange.tile, (normal(2, 3), np.array([2, 3], np.int32)), tiled, constant=(1,)),
    Row(rearrange.tile, (normal(2, 3), np.array([2, 0], np.int64)), tiled, exact=False, differentiable=(), empty=None),
    Row(rearrange.tile, (normal(), np.array([], np.int32)), tiled, constant=(1,), dtypes=REAL, empty=None),
    Row(rearrange.sum_tiles, (normal(4, 3), np.array([2, 1], np.int32), np.array([2, 3], np.int32)), untiled, constant=(1, 2),
        dtypes=NUMERIC, empty=(normal(0, 3), np.array([0, 1], np.int32), np.array([2, 3], np.int32))),
    Row(rearrange.pad, (normal(2, 3), WIDTHS), padded, constant=(1,)),
    Row(rearrange.pad, (normal(2, 3), WIDTHS), padded, {"mode": "CONSTANT", "constant_values": 7}, exact=False, differentiable=(),
        dtypes=NUMERIC),
    Row(rearrange.pad, (normal(2, 3), WIDTHS), padded, {"mode": "REFLECT"}, constant=(1,), empty=None),
    Row(rearrange.pad, (normal(2, 3), WIDTHS.astype(np.int64)), padded, {"mode": "SYMMETRIC"}, exact=False, differentiable=(), empty=None),
    Row(rearrange.fold_mirror, (normal(3, 6), WIDTHS), folded, {"mode": "REFLECT"}, constant=(1,), dtypes=NUMERIC,
        empty=None),
    Row(rearrange.fold_mirror, (normal(3, 6), WIDTHS), folded, {"mode": "SYMMETRIC"}, exact=False, differentiable=(), dtypes=NUMERIC,
        empty=None),
]

# -- indexing ----------------------------------------------------------------------------------------------------------


def numpy_key(key, *bounds):
    """A key of slices as the record has it, with its question marks filled in."""
    given_bounds = iter(bounds)
    fill = lambda n: next(given_bounds) if n == "?" else n  # noqa: E731
    return tuple(slice(*map(fill, k)) if isinstance(k, tuple) else fill(k) for k in key)


def scattered(values, dims, *bounds, key):
    result = np.zeros(dims, values.dtype)
    places = np.arange(result.size).reshape(dims)[numpy_key(key, *bounds)]
    for place, value in zip(places.ravel(), values.ravel(), strict=True):
        result.reshape(-1)[place] = value
    return result


def gathered(x, index, axis=0):
    rank = index.ndim
    dims = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return elements(dims, x.dtype, lambda i: x[(*i[:axis], index[i[axis : axis + rank]], *i[axis + rank :])])


def scatter_added(updates, index, dims, axis=0):
    rank = index.ndim
    return added(dims, updates.dtype, (
        ((*i[:axis], index[i[axis : axis + rank]], *i[axis + rank :]), updates[i]) for i in np.ndindex(*updates.shape)
    ))


def gathered_nd(x, index):
    dims = index.shape[:-1] + x.shape[index.shape[-1] :]
    lead = index.ndim - 1
    return elements(dims, x.dtype, lambda i: x[(*index[i[:lead]], *i[lead:])])


def scatter_added_nd(index, updates, dims):
    lead = index.ndim - 1
    return added(dims, updates.dtype, (
        ((*index[i[:lead]], *i[lead:]), updates[i]) for i in np.ndindex(*updates.shape)
    ))


def largest(x, k):
    rows = x.reshape(-1, x.shape[-1])
    places = [sorted(range(len(row)), key=lambda j, row=row: (-row[j], j))[:k] for row in rows]
    values = [[row[j] for j in chosen] for row, chosen in zip(rows, places, strict=True)]
    return tuple(np.array(v).reshape(*x.shape[:-1], k) for v in (values, places))


BLOCK = np.array([1, 0], np.int32)
ROWS_OF_4 = np.array([[3, 0], [0, 1], [2, 3]], np.int32)
EMPTY_INDEX = np.zeros(0, np.int64)

INDEXING = [
    Row(indexing.basic_index, (normal(2, 3, 4),), lambda x, key: x[:, 2, ::-2], {"key": (..., 2, (None, None, -2))}),
    Row(indexing.basic_index, (normal(3, 4),), lambda x, key: x[None, -3, None, 1:3], {"key": (None, -3, None, (1, 3, None))},
        empty=None),
    Row(indexing.basic_index, (normal(2, 3),), lambda x, key: x[1, 2], {"key": (1, 2)}, empty=None),
    Row(indexing.basic_index, (normal(4, 3), np.array(1, np.int32), np.array(-1, np.int64)), lambda x, i, j, key: x[i:j, 1:],
        {"key": (("?", "?", None), (1, None, None))}, exact=False, differentiable=()),
    Row(indexing.basic_index, (normal(4, 3), np.array(-1, np.int32)), lambda x, i, key: x[:, i], {"key": (..., "?")}),
    Row(indexing.basic_scatter, (normal(3, 2), np.array([3, 5], np.int32)), scattered, {"key": ((None, None, -1), (1, None, 2))},
        constant=(1,), empty=(normal(0, 2), np.array([0, 5], np.int32))),
    Row(indexing.basic_scatter, (normal(3), np.array([3, 5], np.int32), np.array(2, np.int32)), scattered,
        {"key": ((None, None, None), "?")}, exact=False, differentiable=(), empty=None),
    Row(indexing.slice, (normal(3, 4), BLOCK, np.array([2, 3], np.int32)), lambda x, b, s: x[b[0] : b[0] + s[0], b[1] : b[1] + s[1]], constant=(1, 2),
        empty=(normal(0, 4), np.array([0, 1], np.int32), np.array([0, 2], np.int32))),
    Row(indexing.slice, (normal(3, 4), BLOCK.astype(np.int64), np.array([-1, 3])), lambda x, b, s: x[1:, :3], exact=False, differentiable=(),
        empty=None),
    Row(indexing.slice, (normal(3, 4), BLOCK, np.array([2, -1])), lambda x, b, s: x[1:, :], constant=(2,), exact=False, differentiable=(),
        empty=None),
    Row(indexing.place, (normal(2, 3), BLOCK, np.array([4, 3], np.int32)),
        lambda x, b, s: elements(s, x.dtype, lambda i: x[i[0] - 1, i[1]] if 0 < i[0] < 1 + len(x) else 0), constant=(1, 2)),
    Row(indexing.place, (normal(2), np.array([1], np.int32), np.array([3], np.int32)),
        lambda x, b, s: np.array([0, *x], x.dtype), exact=False, differentiable=(), empty=None),
    Row(gathering.gather, (normal(4, 2), np.array([2, 0, 2], np.int32)), gathered,
        empty=(normal(0, 2), EMPTY_INDEX)),
    Row(gathering.gather, (normal(2, 4, 3), ROWS_OF_4), gathered, {"axis": 1}),
    Row(gathering.gather, (normal(3), np.array(1, np.int64)), gathered, empty=None),
    Row(gathering.scatter_add, (normal(3, 2), np.array([2, 0, 2], np.int32), np.array([4, 2], np.int32)), scatter_added,
        constant=(2,), empty=(normal(0, 2), EMPTY_INDEX, np.array([4, 2], np.int32))),
    Row(gathering.scatter_add, (normal(2, 3, 2, 3), ROWS_OF_4, np.array([2, 4, 3], np.int32)), scatter_added, {"axis": 1},
        exact=False, differentiable=(), empty=None),
    Row(gathering.gather_nd, (normal(4, 4, 2), ROWS_OF_4), gathered_nd, empty=(normal(4, 0), ROWS_OF_4[:, :1])),
    Row(gathering.gather_nd, (normal(4, 4), ROWS_OF_4.astype(np.int64)), gathered_nd, exact=False, differentiable=(), empty=None),
    Row(gathering.scatter_nd, (ROWS_OF_4[[0, 1, 0]], normal(3, 2), np.array([4, 2, 2], np.int32)), scatter_added_nd,
        constant=(2,), empty=(ROWS_OF_4[:0], normal(0, 2), np.array([4, 2, 2], np.int32))),
    Row(gathering.take_along, (normal(2, 4), np.array([[3, 0, 3], [1, 1, 0]], np.int32)),
        lambda x, at: elements(at.shape, x.dtype, lambda i: x[i[0], at[i]]), empty=None),
    Row(gathering.add_along, (normal(2, 2), np.array([[3, 0], [2, 2]], np.int32), np.array([2, 4], np.int32)),
        lambda v, at, dims: added(dims, v.dtype, (((i[0], at[i]), v[i]) for i in np.ndindex(*v.shape))), constant=(2,),
        empty=None),
    Row(gathering.top_indices, (given([[3, 1, 3, 2], [0, 0, -1, 5]]),), lambda x, k: largest(x, k)[1], {"k": 3},
        differentiable=(), empty=None),
    Row(gathering.top_k, (normal(3, 5),), largest, {"k": 2}, dtypes=("float32", "float64"), empty=None),
    Row(ranked(gathering.boolean_mask, 2, 1), (normal(3, 2), np.array([True, False, True])), lambda x, m: x[m],
        exact=False, differentiable=(), empty=(normal(0, 2), np.zeros(0, bool)), dtypes=("float32", "float64", "int32")),
    Row(ranked(gathering.boolean_mask, 3, 2, axis=1), (normal(2, 2, 2), np.array([[True, False], [True, True]])),
        lambda x, m: np.stack([x[:, 0, 0], x[:, 1, 0], x[:, 1, 1]], 1), exact=False, differentiable=(), empty=None),
    Row(ranked(gathering.unsorted_segment_sum, 3, 2), (normal(3, 2, 2), np.array([[0, 1], [1, 3], [0, 0]], np.int32)),
        lambda x, ids, num_segments: added((4, 2), x.dtype, (((ids[i[:2]], i[2]), x[i]) for i in np.ndindex(*x.shape))),
        {"num_segments": 4}, empty=None),
]

ROWS = [*MAKING, *SHAPES, *JOINING, *MOVING, *INDEXING]
