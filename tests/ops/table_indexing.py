"""Rows of the operations that take elements by position and of those that put them back.

The oracles say for each element of the result where it comes from, one index at a time.
"""

import numpy as np

from paraflow.ops import collective, gathering, indexing, sequences, slices

from .oracles import added, elements, ranked
from .rows import Row, given, normal


def numpy_key(key, *bounds):
    """A key of slices as the record has it, with its question marks filled in."""
    given_bounds = iter(bounds)

    def fill(item):
        return next(given_bounds) if item == "?" else item

    return tuple(slice(*map(fill, k)) if isinstance(k, tuple) else fill(k) for k in key)


def scattered(values, dims, *bounds, key):
    result = np.zeros(dims, values.dtype)
    places = np.arange(result.size).reshape(dims)[numpy_key(key, *bounds)]
    for place, value in zip(places.ravel(), values.ravel(), strict=True):
        result.reshape(-1)[place] = value
    return result


def summed_by_index(values, indices):
    found = sorted(set(indices.tolist()))
    sums = np.array([sum(v for v, i in zip(values, indices, strict=True) if i == at) for at in found], values.dtype)
    return (
        sums.reshape(len(found), *values.shape[1:]),
        np.array(found, indices.dtype),
        np.array([found.index(i) for i in indices], np.int32),
    )


def gathered(x, index, axis=0):
    rank = index.ndim
    dims = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return elements(dims, x.dtype, lambda i: x[(*i[:axis], index[i[axis : axis + rank]], *i[axis + rank :])])


def scatter_added(updates, index, dims, axis=0):
    rank = index.ndim
    return added(
        dims,
        updates.dtype,
        (
            ((*i[:axis], index[i[axis : axis + rank]], *i[axis + rank :]), updates[i])
            for i in np.ndindex(*updates.shape)
        ),
    )


def gathered_nd(x, index):
    dims = index.shape[:-1] + x.shape[index.shape[-1] :]
    lead = index.ndim - 1
    return elements(dims, x.dtype, lambda i: x[(*index[i[:lead]], *i[lead:])])


def scatter_added_nd(index, updates, dims):
    lead = index.ndim - 1
    return added(dims, updates.dtype, (((*index[i[:lead]], *i[lead:]), updates[i]) for i in np.ndindex(*updates.shape)))


def largest(x, k):
    rows = x.reshape(-1, x.shape[-1])
    places = [sorted(range(len(row)), key=lambda j, row=row: (-row[j], j))[:k] for row in rows]
    values = [[row[j] for j in chosen] for row, chosen in zip(rows, places, strict=True)]
    return tuple(np.array(v).reshape(*x.shape[:-1], k) for v in (values, places))


BLOCK = np.array([1, 0], np.int32)
ROWS_OF_4 = np.array([[3, 0], [0, 1], [2, 3]], np.int32)
EMPTY_INDEX = np.zeros(0, np.int64)

ROWS = [
    Row(indexing.basic_index, (normal(2, 3, 4),), lambda x, key: x[:, 2, ::-2], {"key": (..., 2, (None, None, -2))}),
    Row(
        indexing.basic_index,
        (normal(3, 4),),
        lambda x, key: x[None, -3, None, 1:3],
        {"key": (None, -3, None, (1, 3, None))},
        empty=None,
    ),
    Row(indexing.basic_index, (normal(2, 3),), lambda x, key: x[1, 2], {"key": (1, 2)}, empty=None),
    Row(
        indexing.basic_index,
        (normal(4, 3), np.array(1, np.int32), np.array(-1, np.int64)),
        lambda x, i, j, key: x[i:j, 1:],
        {"key": (("?", "?", None), (1, None, None))},
        exact=False,
        differentiable=(),
    ),
    Row(indexing.basic_index, (normal(4, 3), np.array(-1, np.int32)), lambda x, i, key: x[:, i], {"key": (..., "?")}),
    Row(
        indexing.basic_scatter,
        (normal(3, 2), np.array([3, 5], np.int32)),
        scattered,
        {"key": ((None, None, -1), (1, None, 2))},
        constant=(1,),
        empty=(normal(0, 2), np.array([0, 5], np.int32)),
    ),
    Row(
        indexing.basic_scatter,
        (normal(3), np.array([3, 5], np.int32), np.array(2, np.int32)),
        scattered,
        {"key": ((None, None, None), "?")},
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(
        indexing.slice,
        (normal(3, 4), BLOCK, np.array([2, 3], np.int32)),
        lambda x, b, s: x[b[0] : b[0] + s[0], b[1] : b[1] + s[1]],
        constant=(1, 2),
        empty=(normal(0, 4), np.array([0, 1], np.int32), np.array([0, 2], np.int32)),
    ),
    Row(
        indexing.slice,
        (normal(3, 4), BLOCK.astype(np.int64), np.array([-1, 3])),
        lambda x, b, s: x[1:, :3],
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(
        indexing.slice,
        (normal(3, 4), BLOCK, np.array([2, -1])),
        lambda x, b, s: x[1:, :],
        constant=(2,),
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(
        indexing.place,
        (normal(2, 3), BLOCK, np.array([4, 3], np.int32)),
        lambda x, b, s: elements(s, x.dtype, lambda i: x[i[0] - 1, i[1]] if 0 < i[0] < 1 + len(x) else 0),
        constant=(1, 2),
    ),
    Row(
        indexing.place,
        (normal(2), np.array([1], np.int32), np.array([3], np.int32)),
        lambda x, b, s: np.array([0, *x], x.dtype),
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(gathering.gather, (normal(4, 2), np.array([2, 0, 2], np.int32)), gathered, empty=(normal(0, 2), EMPTY_INDEX)),
    Row(gathering.gather, (normal(2, 4, 3), ROWS_OF_4), gathered, {"axis": 1}),
    Row(gathering.gather, (normal(3), np.array(1, np.int64)), gathered, empty=None),
    Row(
        gathering.scatter_add,
        (normal(3, 2), np.array([2, 0, 2], np.int32), np.array([4, 2], np.int32)),
        scatter_added,
        constant=(2,),
        empty=(normal(0, 2), EMPTY_INDEX, np.array([4, 2], np.int32)),
    ),
    Row(
        gathering.scatter_add,
        (normal(2, 3, 2, 3), ROWS_OF_4, np.array([2, 4, 3], np.int32)),
        scatter_added,
        {"axis": 1},
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(gathering.gather_nd, (normal(4, 4, 2), ROWS_OF_4), gathered_nd, empty=(normal(4, 0), ROWS_OF_4[:, :1])),
    Row(gathering.gather_nd, (normal(2, 3), np.zeros((2, 0), np.int32)), gathered_nd, empty=None),
    Row(
        gathering.scatter_nd,
        (np.zeros((3, 0), np.int32), normal(3, 2), np.array([2], np.int32)),
        scatter_added_nd,
        constant=(2,),
        empty=None,
    ),
    Row(
        gathering.gather_nd,
        (normal(4, 4), ROWS_OF_4.astype(np.int64)),
        gathered_nd,
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(
        slices.unique_rows,
        (normal(5, 2), np.array([7, 2, 7, 4, 2], np.int32)),
        summed_by_index,
        differentiable=(),  # the number of sums is not known: see tests/train/test_rows.py
        exact=False,
        empty=(normal(0, 2), np.zeros(0, np.int32)),
    ),
    Row(
        collective.exchange_rows,
        (normal(3, 2), np.array([1, 4, 5], np.int32)),
        lambda values, indices, variable, shape: (values, indices),
        {"variable": "table", "shape": (6, 2)},
        empty=(normal(0, 2), np.zeros(0, np.int32)),
    ),
    Row(
        gathering.scatter_nd,
        (ROWS_OF_4[[0, 1, 0]], normal(3, 2), np.array([4, 2, 2], np.int32)),
        scatter_added_nd,
        constant=(2,),
        empty=(ROWS_OF_4[:0], normal(0, 2), np.array([4, 2, 2], np.int32)),
    ),
    Row(
        gathering.take_along,
        (normal(2, 4), np.array([[3, 0, 3], [1, 1, 0]], np.int32)),
        lambda x, at: elements(at.shape, x.dtype, lambda i: x[i[0], at[i]]),
        empty=None,
    ),
    Row(
        gathering.add_along,
        (normal(2, 2), np.array([[3, 0], [2, 2]], np.int32), np.array([2, 4], np.int32)),
        lambda v, at, dims: added(dims, v.dtype, (((i[0], at[i]), v[i]) for i in np.ndindex(*v.shape))),
        constant=(2,),
        empty=None,
    ),
    Row(
        gathering.top_indices,
        (given([[3, 1, 3, 2], [0, 0, -1, 5]]),),
        lambda x, k: largest(x, k)[1],
        {"k": 3},
        differentiable=(),
        empty=None,
    ),
    Row(gathering.top_k, (normal(3, 5),), largest, {"k": 2}, dtypes=("float32", "float64"), empty=None),
    Row(
        ranked(gathering.boolean_mask, 2, 1),
        (normal(3, 2), np.array([True, False, True])),
        lambda x, m: x[m],
        exact=False,
        differentiable=(),
        empty=(normal(0, 2), np.zeros(0, bool)),
        dtypes=("float32", "float64", "int32"),
    ),
    Row(
        ranked(gathering.boolean_mask, 3, 2, axis=1),
        (normal(2, 2, 2), np.array([[True, False], [True, True]])),
        lambda x, m: np.stack([x[:, 0, 0], x[:, 1, 0], x[:, 1, 1]], 1),
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(sequences.invert_permutation, (np.array([2, 0, 3, 1], np.int64),), lambda x: np.array([1, 3, 0, 2])),
]
