"""Rows for paraflow.ops.sparse, paraflow.ops.ctc and paraflow.ops.edit_distance."""

from functools import cache
from itertools import groupby, product

import numpy as np

from paraflow.ops import ctc, edit_distance, sparse

from .rows import Row, normal

PLACES = np.array([[0, 1], [0, 3], [1, 0], [2, 2]])


def placed(values, default, indices, shape, ordered=True):
    result = np.full(shape, default, values.dtype)
    for value, at in zip(values, indices, strict=True):
        result[tuple(at)] = value
    return result


def row_major(indices):
    return np.array(sorted(range(len(indices)), key=lambda i: tuple(indices[i])), int)


# -- alignments, one by one -------------------------------------------------------------------------------------------


def labels_of(path, blank, merge=True):
    """The labels that a path of classes says."""
    return tuple(k for k in ([k for k, _ in groupby(path)] if merge else path) if k != blank)


def probabilities(logits):
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def of_labels(p, merge=True):
    """Labels -> their probability and its derivative to the logits, over all paths through ``p`` [time, classes]."""
    found = {}
    for path in product(range(p.shape[1]), repeat=len(p)):
        steps = np.arange(len(p)), np.array(path, int)
        chance = np.prod(p[steps])
        slope = -p * chance
        slope[steps] += chance
        total, slopes = found.get(labels_of(path, p.shape[1] - 1, merge), (0, 0))
        found[labels_of(path, p.shape[1] - 1, merge)] = total + chance, slopes + slope
    return found


def ctc_by_paths(x, lengths, indices, labels, collapse=False, merge=True, ignore_longer=False):
    loss, slope = np.zeros(x.shape[1]), np.zeros(x.shape)
    for b, length in enumerate(lengths):
        target = [int(k) for k in labels[indices[:, 0] == b]]
        if len(target) > length or not length:
            continue
        target = [k for k, _ in groupby(target)] if collapse else target
        chance, slopes = of_labels(probabilities(x[:length, b]), merge)[tuple(target)]
        loss[b], slope[:length, b] = -np.log(chance), -slopes / chance
    return loss, slope


def parts(sequences):
    places = [(b, i) for b, s in enumerate(sequences) for i in range(len(s))]
    shape = np.array([len(sequences), max(map(len, sequences), default=0)])
    return np.array(places, int).reshape(-1, 2), np.array([k for s in sequences for k in s], int), shape


def greedy(x, lengths, merge_repeated=True, blank=-1):
    blank %= x.shape[-1]
    said = [labels_of(x[:n, b].argmax(-1).tolist(), blank, merge_repeated) for b, n in enumerate(lengths)]
    scores = [[-x[:n, b].max(-1).sum()] for b, n in enumerate(lengths)]
    return *parts(said), np.array(scores)


def all_paths(x, lengths, beam_width=100, top_paths=1, merge_repeated=True):
    """What a beam that holds all prefixes finds."""
    found = [of_labels(probabilities(x[:n, b])) for b, n in enumerate(lengths)]
    best = [sorted(f.items(), key=lambda item: -item[1][0])[:top_paths] for f in found]
    said = [parts([[k for k, _ in groupby(b[i][0])] if merge_repeated else b[i][0] for b in best])
            for i in range(top_paths)]  # fmt: skip
    return *(part for three in said for part in three), np.log([[chance for _, (chance, _) in b] for b in best])


def distances(indices, values, shape, truth_indices, truth, truth_shape, normalize=True):
    def sequence(at, places, symbols):
        return [s for s, place in zip(symbols, places, strict=True) if tuple(place[:-1]) == at]

    def distance(a, b):
        @cache
        def of(i, j):
            if not i or not j:
                return i + j
            return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

        return of(len(a), len(b))

    result = np.zeros(np.maximum(shape, truth_shape)[:-1])
    for at in np.ndindex(*result.shape):
        a, b = sequence(at, indices, values), sequence(at, truth_indices, truth)
        result[at] = distance(a, b) / ((len(b) if normalize else 1) or np.nan)
        if np.isnan(result[at]):
            result[at] = np.inf if a else 0
    return result


LENGTHS = np.array([4, 3, 4, 2])
ROWS_OF = np.array([[0, 0], [0, 1], [1, 0], [2, 0], [2, 1], [2, 2], [3, 0]])
LABELS = np.array([0, 1, 1, 0, 0, 1, 0])
FOUND = np.array([[0, 0], [0, 1], [0, 2], [2, 0], [3, 0]]), np.array([1, 2, 3, 4, 1]), np.array([4, 3])
TRUTH = np.array([[0, 0], [0, 1], [1, 0], [3, 0], [3, 1]]), np.array([2, 3, 1, 1, 1]), np.array([4, 2])

ROWS = [
    Row(sparse.placed, (normal(4), normal(), PLACES, np.array([3, 4])), placed, constant=(3,),
        dtypes=("float32", "float64"), differentiable=(0, 1),
        empty=(normal(0), normal(), np.zeros((0, 2), int), np.array([3, 4]))),
    Row(sparse.placed, (normal(2), normal(), np.array([[2], [0]]), np.array([3])), placed, {"ordered": False},
        constant=(3,), dtypes=("int32", "float64"), differentiable=(0, 1), empty=None),
    Row(sparse.row_major_order, (PLACES[[2, 0, 3, 1]],), row_major, empty=(np.zeros((0, 2), int),)),
    *(Row(ctc.ctc, (normal(4, 4, 3), LENGTHS, ROWS_OF, LABELS), ctc_by_paths, attrs, differentiable=(), empty=None,
          tolerance=32)
      for attrs in ({"ignore_longer": True}, {"collapse": True, "ignore_longer": True},
                    {"merge": False, "ignore_longer": True})),
    Row(ctc.ctc, (normal(5, 2, 4), np.array([5, 0]), np.array([[0, 1], [0, 2]]), np.array([2, 2])), ctc_by_paths,
        differentiable=(), empty=None, tolerance=32),
    *(Row(ctc.ctc_greedy, (normal(6, 4, 3), LENGTHS + 1), greedy, attrs, exact=False, empty=None)
      for attrs in ({}, {"merge_repeated": False}, {"blank": 1})),
    *(Row(ctc.ctc_beam_search, (normal(4, 4, 3), LENGTHS), all_paths, attrs, exact=False, empty=None,
          dtypes=("float32", "float64"), tolerance=32)
      for attrs in ({"top_paths": 4, "merge_repeated": False}, {"top_paths": 2})),
    *(Row(edit_distance.distances, (*FOUND, *TRUTH), distances, attrs, empty=None, constant=(2, 5))
      for attrs in ({}, {"normalize": False})),
]  # fmt: skip
