"""Rows for paraflow.ops.ordering, batches and blocks, and what rearrange has of rolls and reversals."""

import numpy as np

from paraflow.ops import batches, blocks, ordering, rearrange

from .oracles import added, elements, ranked
from .rows import Row, given, normal

FLOATS = ("float32", "float64")
REPEATED = np.array([7, 2, 7, 4, 2, 7], np.int64)
LENGTHS = np.array([3, 0, 2], np.int32)


def rank_order(x, axis=-1, direction="ASCENDING", stable=False):
    sign = 1 if direction == "ASCENDING" else -1
    rows = np.moveaxis(x, axis, -1)
    places = [sorted(range(rows.shape[-1]), key=lambda j, row=row: (sign * row[j], j))
              for row in rows.reshape(-1, rows.shape[-1])]
    return np.moveaxis(np.array(places, int).reshape(rows.shape), -1, axis)


def in_order(x, axis=-1, direction="ASCENDING"):
    return np.take_along_axis(x, rank_order(x, axis, direction), axis)


def places(rows, values, side="left", out_type=None):
    def place(i):
        row = rows[i[:-1]]
        return sum(n < values[i] if side == "left" else n <= values[i] for n in row)

    return elements(values.shape, int, place)


def different(x, out_idx=None):
    y = list(dict.fromkeys(x.tolist()))
    return np.array(y), np.array([y.index(v) for v in x], int), np.array([x.tolist().count(v) for v in y], int)


def difference(x, y, index_dtype=None):
    kept = [i for i, v in enumerate(x) if v not in y]
    return x[kept], np.array(kept, int)


def reversed_lengths(x, lengths, seq_axis=1, batch_axis=0):
    result = np.moveaxis(x, (batch_axis, seq_axis), (0, 1)).copy()
    for row, n in zip(result, lengths, strict=True):
        row[:n] = row[:n][::-1].copy()
    return np.moveaxis(result, (0, 1), (batch_axis, seq_axis))


def batch_rows(x, at, batch_dims=1, axis=1):
    return np.stack([np.take(row, i, axis - 1) for row, i in zip(x, at, strict=True)])


def put(x, at, updates):
    result = x.copy()
    for i, update in zip(at, updates, strict=True):
        result[tuple(i)] = update
    return result


def squares(x, block_size):
    n, h, w, c = x.shape
    b = block_size
    return elements((n, h // b, w // b, b * b * c), x.dtype,
                    lambda i: x[i[0], i[1] * b + i[3] // (b * c), i[2] * b + i[3] // c % b, i[3] % c])


def unsquared(x, block_size):
    (n, h, w), b = x.shape[:3], block_size
    depth = x.shape[3] // b**2
    return elements((n, h * b, w * b, depth), x.dtype,
                    lambda i: x[i[0], i[1] // b, i[2] // b, (i[1] % b * b + i[2] % b) * depth + i[3]])


def to_batch(x, block_shape, paddings):
    x = np.pad(x, [(0, 0), *paddings])
    n, (p, q) = len(x), block_shape
    return elements((n * p * q, x.shape[1] // p, x.shape[2] // q), x.dtype,
                    lambda i: x[i[0] % n, i[1] * p + i[0] // n // q, i[2] * q + i[0] // n % q])


def to_space(x, block_shape, crops):
    (p, q), (top, left) = block_shape, (crops[0][0], crops[1][0])
    n = len(x) // (p * q)
    dims = (n, x.shape[1] * p - sum(crops[0]), x.shape[2] * q - sum(crops[1]))
    return elements(dims, x.dtype, lambda i: x[((i[1] + top) % p * q + (i[2] + left) % q) * n + i[0],
                                               (i[1] + top) // p, (i[2] + left) // q])


def stitched_from(a, b, x, y):
    return batches.dynamic_stitch([a, b], [x, y])


def stitched(a, b, x, y):
    result = np.zeros((1 + max(a.max(), b.max()), *x.shape[1:]), x.dtype)
    result[a] = x
    return put(result, b[:, None], y)


def partition(x, numbers, **attrs):
    return batches.dynamic_partition(x, numbers, **attrs)


AT = np.array([[1, 0], [2, 1]], np.int32)

ORDERING = [
    Row(ordering.argsort, (normal(3, 4),), rank_order, differentiable=()),
    Row(ordering.argsort, (given([[3, 1, 3], [2, 2, 0]]),), rank_order, {"direction": "DESCENDING"}, FLOATS,
        differentiable=()),
    Row(ordering.argsort, (given([[3, 1, 3], [2, 2, 0]]),), rank_order, {"axis": 0}, ("float64", "int32"),
        differentiable=(), empty=None),
    Row(ordering.sort, (normal(3, 4),), in_order, {"direction": "DESCENDING"}, FLOATS),
    Row(ranked(ordering.sort, 3), (normal(3, 4, 2),), in_order, {"axis": -2}, FLOATS),
    Row(ordering.searchsorted, (given([[-1, 0, 0, 2], [1, 1, 2, 3]]), normal(2, 3)), places, differentiable=()),
    Row(ordering.searchsorted, (given([0, 1, 1, 2]), given([[1, 2], [0, 5]][1])), places,
        {"side": "right", "out_type": "int64"}, empty=None,
        differentiable=()),
    Row(ordering.unique_elements, (REPEATED,), different, {"out_idx": "int64"}, exact=False),
    Row(ordering.unique_elements, (normal(5),), different, exact=False, dtypes=FLOATS, differentiable=()),
    Row(ordering.list_difference, (REPEATED, np.array([2, 9])), difference, exact=False),
    Row(ordering.setdiff1d, (normal(4), normal(2)), difference, exact=False, differentiable=()),
    Row(ordering.counted, (np.array([[1, 4], [1, 0]]), np.array([2, 3, 5, 7.0]), np.array(1), np.array(4)),
        lambda *_: np.array([7.0, 7, 0, 0]), exact=False),
    Row(ordering.bincount, (np.array([1, 3, 1], np.int32),), lambda x, **_: np.array([0, 2, 0, 1, 0]), {"minlength": 5},
        exact=False),
    Row(ordering.histogram_fixed_width_bins, (given([-1, 0, 1.2, 2, 4.9, 5, 9]), given([0, 5])),
        lambda *_, nbins: np.array([0, 0, 1, 2, 4, 4, 4]), {"nbins": 5}, FLOATS, differentiable=(), empty=None),
    Row(ordering.histogram_fixed_width, (given([-1, 0, 1.2, 2, 4.9, 5, 9]), given([0, 5])),
        lambda *_, nbins: np.array([2, 1, 1, 0, 3]), {"nbins": 5}, FLOATS, differentiable=(), exact=False, empty=None),
    Row(ordering.confusion_matrix, (np.array([0, 2, 2], np.int32), np.array([0, 2, 1], np.int32)),
        lambda a, b: added((3, 3), int, [((i, j), 1) for i, j in zip(a, b, strict=True)]), exact=False, empty=None),
    Row(ordering.unravel_index, (np.array([7, 2, 11]), np.array([3, 4])), lambda i, dims: np.stack([i // 4, i % 4])),
]

BATCHES = [
    Row(ranked(batches.gather, 3, 2), (normal(2, 4, 3), AT), batch_rows, {"batch_dims": 1}, FLOATS, empty=None),
    Row(ranked(batches.gather, 3, 2), (normal(2, 3, 4), AT), batch_rows, {"batch_dims": 1, "axis": 2}, FLOATS,
        empty=None),
    Row(ranked(batches.batch_gather, 2, 2), (normal(2, 4), AT), batch_rows, dtypes=FLOATS, empty=None),
    Row(ranked(batches.gather_nd, 3, 2), (normal(2, 4, 3), AT), lambda x, at, batch_dims: np.array(
        [row[tuple(i)] for row, i in zip(x, at, strict=True)]), {"batch_dims": 1}, FLOATS, empty=None),
    Row(ranked(batches.repeat, 2), (normal(2, 3),), lambda x, **_: np.repeat(x, [2, 0, 3], 1),
        {"repeats": [2, 0, 3], "axis": 1}, FLOATS, exact=False, empty=None),
    Row(ranked(batches.repeat, 2), (normal(2, 3),), lambda x, repeats: np.repeat(x, 2), {"repeats": 2}, FLOATS,
        exact=False, empty=None),
    Row(ranked(partition, 2, 1), (normal(4, 2), np.array([2, 0, 2, 0], np.int32)),
        lambda x, n, num_partitions: (x[[1, 3]], x[:0], x[[0, 2]]), {"num_partitions": 3}, FLOATS, exact=False,
        empty=None),
    Row(stitched_from, (np.array([2, 0]), np.array([2, 4]), normal(2, 3), normal(2, 3)), stitched, dtypes=FLOATS,
        exact=False, empty=None, differentiable=()),
    Row(batches.below, (np.array([1, 0, 2]),), lambda x, limit: x, {"limit": 3}, empty=(np.zeros(0, np.int32),)),
    Row(batches.stitch, (np.array([2, 0]), normal(2, 3)), lambda at, x: np.stack([x[1], 0 * x[0], x[0]]),
        exact=False, dtypes=FLOATS, empty=None),
    Row(batches.tensor_scatter_nd_update, (normal(4, 2, 3), AT, normal(2, 3)), put,
        empty=(normal(0, 2, 3), AT[:0], normal(0, 3))),
    Row(batches.tensor_scatter_nd_add, (normal(4, 2), AT, normal(2)), lambda x, at, u: x + put(0 * x, at, u),
        dtypes=FLOATS, empty=None),
    Row(batches.tensor_scatter_nd_sub, (normal(4, 2), AT, normal(2)), lambda x, at, u: x - put(0 * x, at, u),
        dtypes=FLOATS, empty=None),
]

MOVES = [
    Row(rearrange.roll, (normal(3, 4), np.array(-1, np.int32)), lambda x, n, axis: x[:, [1, 2, 3, 0]], {"axis": -1}),
    Row(rearrange.roll, (normal(3, 4), np.array([1, 6])), lambda x, n, axis: x[[2, 0, 1]][:, [2, 3, 0, 1]],
        {"axis": (0, 1)}, empty=None),
    Row(rearrange.reverse_sequence, (normal(3, 4, 2), LENGTHS), reversed_lengths, {"seq_axis": 1}, empty=None),
    Row(rearrange.reverse_sequence, (normal(4, 2, 3), LENGTHS), reversed_lengths, {"seq_axis": 0, "batch_axis": 2},
        empty=None, dtypes=FLOATS),
    Row(ranked(blocks.space_to_depth, 4), (normal(2, 4, 6, 2),), squares, {"block_size": 2}, FLOATS),
    Row(ranked(blocks.depth_to_space, 4), (normal(2, 2, 3, 8),), unsquared, {"block_size": 2}, FLOATS),
    Row(ranked(blocks.space_to_batch_nd, 3), (normal(2, 3, 5),), to_batch,
        {"block_shape": [2, 3], "paddings": [[1, 0], [0, 1]]}, FLOATS),
    Row(ranked(blocks.batch_to_space_nd, 3), (normal(12, 2, 2),), to_space,
        {"block_shape": [2, 3], "crops": [[1, 0], [0, 1]]}, FLOATS),
]

ROWS = [*ORDERING, *BATCHES, *MOVES]
