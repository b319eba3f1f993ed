"""Rows for paraflow.ops.sparse_arrays and paraflow.ops.sparse_math: the oracles go through elements one by one."""

import math

import numpy as np

from paraflow.ops import sparse_arrays, sparse_math

from .rows import Row, normal

PLACES = np.array([[0, 1], [0, 3], [1, 0], [2, 2]])
OTHERS = np.array([[0, 0], [0, 3], [2, 2]])
SHAPE = np.array([3, 4])
NONE = np.zeros((0, 2), int)
CUBE = np.array([[0, 0, 1], [0, 2, 0], [1, 0, 1], [1, 2, 3], [1, 2, 3]])
CUBE_SHAPE = np.array([2, 3, 4])
FEW = np.array([[1, 1, 2], [3, 0, 0], [1, 0, 1]])
FEW_SHAPE = np.array([5, 2, 3])


def number(place, shape):
    return sum(int(i) * math.prod(map(int, shape[axis + 1 :])) for axis, i in enumerate(place))


def matrix(places, rank):
    places = list(places)
    return np.array(places, int).reshape(len(places), rank)


def reshaped(indices, shape, sizes):
    filled = [int(np.prod(shape)) // -int(np.prod(sizes)) if n == -1 else n for n in sizes]
    places = {number(place, filled): place for place in np.ndindex(*filled)}
    return matrix((places[number(place, shape)] for place in indices), len(filled)), np.array(filled)


def tight(indices):
    return np.array([max((i + 1 for i in column), default=0) for column in indices.T])


def within(indices, start, size):
    moved = indices - start
    kept = [k for k, place in enumerate(moved) if all(0 <= i < n for i, n in zip(place, size, strict=True))]
    return np.array(kept, int), matrix((moved[k] for k in kept), len(start))


def split(indices, shape, num_split, axis):
    whole = np.zeros(shape, int)
    parts, begin = [], 0
    for block in np.array_split(whole, num_split, axis):
        ends = begin, begin + block.shape[axis]
        kept = [k for k, place in enumerate(indices) if ends[0] <= place[axis] < ends[1]]
        moved = [[i - begin * (a == axis % len(shape)) for a, i in enumerate(indices[k])] for k in kept]
        parts += [np.array(kept, int), matrix(moved, len(shape)), np.array(block.shape)]
        begin = ends[1]
    return tuple(parts)


def joined(*parts, axis=0, expand=False):
    places, shapes = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    found, begin = [], 0
    for indices, shape in zip(places, shapes, strict=True):
        found += [tuple(i + begin * (a == axis % len(shape)) for a, i in enumerate(place)) for place in indices]
        begin += shape[axis]
    order = sorted(range(len(found)), key=lambda k: found[k])
    whole = [begin if a == axis % len(shape) else max(s[a] for s in shapes) for a in range(len(shape))]
    return matrix((found[k] for k in order), len(shape)), np.array(order, int), np.array(whole)


def filled(indices, shape):
    places, source, empty = [], [], []
    for row in range(shape[0]):
        mine = [k for k, place in enumerate(indices) if place[0] == row]
        empty.append(not mine)
        places += [indices[k] for k in mine] or [[row] + [0] * (len(shape) - 1)]
        source += mine or [len(indices)]
    return matrix(places, len(shape)), np.array(source, int), np.array(empty, bool)


def union(a, b, a_shape, b_shape):
    ours, theirs = ([tuple(place) for place in x.tolist()] for x in (a, b))
    places = sorted({*ours, *theirs})
    at = [np.array([places.index(place) for place in x], int) for x in (ours, theirs)]
    return matrix(places, len(a_shape)), *at, np.array([p in ours and p in theirs for p in places], bool)


def grouped(indices):
    places = sorted({tuple(place) for place in indices.tolist()})
    return matrix(places, indices.shape[1]), np.array([places.index(tuple(p)) for p in indices.tolist()], int)


def softmax(values, ids):
    return np.array([math.exp(v) / sum(math.exp(w) for w, j in zip(values, ids, strict=True) if i == j)
                     for v, i in zip(values, ids, strict=True)])  # fmt: skip


ROWS = [
    *(Row(sparse_arrays.reshaped_places, (places, shape, np.array(sizes)), reshaped, constant=(1, 2),
          empty=(NONE, SHAPE, np.array(sizes)) if len(shape) == 2 else None)
      for places, shape, sizes in ((PLACES, SHAPE, [2, -1]), (PLACES, SHAPE, [12]), (PLACES[::-1], SHAPE, [2, 3, 2]),
                                   (CUBE, CUBE_SHAPE, [4, 6]), (CUBE, CUBE_SHAPE, [-1, 8, 1]), (PLACES, SHAPE, [-1]),
                                   (CUBE, CUBE_SHAPE, [-1]))),
    *(Row(sparse_arrays.tight_sizes, (places,), tight, empty=(NONE,)) for places in (PLACES, CUBE)),
    Row(sparse_arrays.covering_sizes, (SHAPE, np.array([3, 9])), lambda shape, new: new, empty=None),
    Row(sparse_arrays.covering_sizes, (SHAPE, SHAPE), lambda shape, new, exact: new, {"exact": True}, empty=None),
    *(Row(sparse_arrays.places_within, (PLACES, np.array(start), np.array(size)), within, exact=False,
          empty=(NONE, np.array(start), np.array(size)))
      for start, size in (([0, 1], [2, 9]), ([1, 0], [2, 3]), ([3, 0], [1, 1]), ([0, 0], [0, 4]))),
    *(Row(sparse_arrays.split_places, (places, shape), split, {"num_split": parts, "axis": axis}, exact=False,
          constant=(1,), empty=(places[:0], shape))
      for places, shape, parts, axis in ((PLACES, SHAPE, 3, 1), (PLACES, SHAPE, 3, -2), (PLACES, SHAPE, 1, 0),
                                         (CUBE, CUBE_SHAPE, 3, 2))),
    *(Row(sparse_arrays.joined_places, (PLACES, OTHERS[::-1], SHAPE, np.array(other)), joined, attrs, constant=(2, 3),
          empty=(NONE, NONE, SHAPE, np.array(other)))
      for other, attrs in (([3, 4], {}), ([3, 5], {"axis": 1}), ([3, 5], {"axis": -2, "expand": True}),
                           ([4, 4], {"axis": 1, "expand": True}))),
    Row(sparse_arrays.joined_places, (CUBE, CUBE_SHAPE), joined, {"axis": 2}, constant=(1,), empty=None),
    Row(sparse_arrays.filled_rows, (FEW, FEW_SHAPE), filled, exact=False, constant=(1,), empty=(FEW[:0], FEW_SHAPE)),
    Row(sparse_arrays.filled_rows, (PLACES, SHAPE), filled, exact=False, constant=(1,), empty=(NONE, np.array([0, 4]))),
    Row(sparse_math.union_places, (PLACES, OTHERS, SHAPE, SHAPE), union, exact=False, empty=(NONE, NONE, SHAPE, SHAPE)),
    Row(sparse_math.union_places, (CUBE, CUBE[::-2], CUBE_SHAPE, CUBE_SHAPE), union, exact=False, empty=None),
    *(Row(sparse_math.grouped_places, (places,), grouped, exact=False, empty=(NONE,))
      for places in (PLACES[:, :1], CUBE[::-1], CUBE[:, :0])),
    Row(sparse_math.segment_softmax, (normal(5), np.array([0, 2, 0, 1, 2])), softmax,
        empty=(normal(0), np.zeros(0, int))),
]  # fmt: skip
