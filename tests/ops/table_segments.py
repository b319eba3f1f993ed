"""Rows for paraflow.ops.segments."""

import numpy as np

from paraflow.ops import segments

from .rows import Row, nonzero, normal

FLOATS = ("float32", "float64")
IDS = np.array([0, 0, 2, 2, 2], np.int32)
MIXED = np.array([[2, 0], [-1, 2], [0, 0]], np.int64)
TAKEN = np.array([1, 0, 3, 3], np.int32)


def by_id(fold, empty):
    """An oracle that folds the list of the elements of each id."""

    def apply(x, ids, num_segments=None, **_):
        count = int(ids.max(initial=-1)) + 1 if num_segments is None else int(num_segments)
        rows = x.reshape(ids.size, *x.shape[ids.ndim :])
        parts = [rows[ids.ravel() == i] for i in range(count)]
        folded = [fold(p) if len(p) else np.full(rows.shape[1:], empty) for p in parts]
        return np.array(folded, dtype=np.result_type(x)).reshape(count, *rows.shape[1:])

    return apply


def total(p):
    return p.sum(0)


def product(p):
    return p.prod(0)


def of_rows(fold):
    return lambda x, at, ids, **attrs: by_id(fold, 0)(x[at], ids, **attrs)


def mean(p):
    return p.sum(0) / len(p)


def by_root(p):
    return p.sum(0) / len(p) ** 0.5


ROWS = [
    *(
        Row(segments.segment_fold, (maker, MIXED, np.array(4)), by_id(fold, empty), {"kind": kind, "empty": empty},
            dtypes, tolerance=64, constant=(2,), empty=None)
        for kind, maker, fold, empty, dtypes in [
            ("sum", normal(3, 2, 2), total, 0, ("float16", "bfloat16", *FLOATS, "int32", "complex64")),
            ("prod", nonzero(3, 2, 2), product, 1, (*FLOATS, "int32")),
            ("max", normal(3, 2, 2), lambda p: p.max(0), 7, (*FLOATS, "int32")),
            ("min", normal(3, 2, 2), lambda p: p.min(0), 7, (*FLOATS, "int32")),
        ]
    ),
    Row(segments.segment_fold, (normal(0, 2), np.zeros(0, int), np.array(3)), by_id(total, 0), constant=(2,)),
    Row(segments.from_segments, (normal(3, 2), MIXED), lambda x, ids: np.where(ids[..., None] < 0, 0, x[ids]),
        empty=None),
    Row(segments.segment_count, (IDS,), lambda ids: np.array(ids[-1] + 1 if ids.size else 0)),
    *(
        Row(function, (maker, IDS), by_id(fold, empty), exact=False, dtypes=FLOATS, tolerance=64,
            empty=(normal(0, 2), IDS[:0]))
        for function, maker, fold, empty in [
            (segments.segment_sum, normal(5, 2), total, 0),
            (segments.segment_prod, nonzero(5, 2), product, 1),
            (segments.segment_max, normal(5, 2), lambda p: p.max(0), 0),
            (segments.segment_min, normal(5, 2), lambda p: p.min(0), 0),
            (segments.segment_mean, normal(5, 2), mean, 0),
        ]
    ),
    *(
        Row(function, (maker, MIXED), by_id(fold, empty), {"num_segments": 3}, ("float64",), tolerance=64, empty=None,
            differentiable=(0,) if isinstance(empty, int) else ())
        for function, maker, fold, empty in [
            (segments.unsorted_segment_sum, normal(3, 2, 2), total, 0),
            (segments.unsorted_segment_prod, nonzero(3, 2, 2), product, 1),
            (segments.unsorted_segment_max, normal(3, 2, 2), lambda p: p.max(0), np.finfo(np.float64).min),
            (segments.unsorted_segment_min, normal(3, 2, 2), lambda p: p.min(0), np.finfo(np.float64).max),
            (segments.unsorted_segment_mean, normal(3, 2, 2), mean, 0),
            (segments.unsorted_segment_sqrt_n, normal(3, 2, 2), by_root, 0),
        ]
    ),
    *(
        Row(function, (normal(4, 2), TAKEN, np.array([0, 0, 1, 3], np.int32)), of_rows(fold), attrs, FLOATS,
            exact=False, tolerance=64, empty=None)
        for function, fold, attrs in [
            (segments.sparse_segment_sum, total, {}),
            (segments.sparse_segment_mean, mean, {"num_segments": 5}),
            (segments.sparse_segment_sqrt_n, by_root, {}),
        ]
    ),
]
