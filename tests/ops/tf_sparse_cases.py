"""Sparse tensors, and what is computed of sequences without alignment. See tf_case.py."""

import numpy as np

from .tf_case import Case
from .tf_network_cases import numbers

LOGITS = (np.array(numbers(6, 4, 5)) * 2).tolist()
LENGTHS = np.array([6, 4, 6, 5], np.int32)
ROWS = np.array([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [2, 0], [3, 0], [3, 1], [3, 2]])
LABELS = [0, 2, 2, 1, 1, 3, 2, 0, 2]
PLACES = np.array([[0, 1], [0, 3], [1, 0], [2, 2]])
FOUND = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 3]])
TRUTH = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 1, 2], [1, 0, 0], [1, 1, 0], [1, 1, 1]])


def loss(**attrs):
    def build(tf, x):
        labels = tf.SparseTensor(ROWS, np.array(LABELS, np.int32), [4, 3])
        return tf.nn.ctc_loss(labels, x, LENGTHS, **attrs)

    # Also of float64 TensorFlow takes exponentials in single precision.
    return Case(build, (LOGITS,), ("float32",))


def beams(**attrs):
    def build(tf, x):
        decoded, scores = tf.nn.ctc_beam_search_decoder(x, LENGTHS, **attrs)
        return [part for d in decoded for part in (d.indices, d.values, d.dense_shape)] + [scores]

    # Where several prefixes are equally likely it is not said which of them is left out of a beam.
    return Case(build, (np.random.default_rng(3).normal(0, 2, (6, 4, 5)).tolist(),), gradients=False, tolerance=1e-6)


def greedy(**attrs):
    def build(tf, x):
        (decoded,), scores = tf.nn.ctc_greedy_decoder(x, LENGTHS, **attrs)
        return [decoded.indices, decoded.values, decoded.dense_shape, scores]

    return Case(build, (LOGITS,), gradients=False)


def distance(**attrs):
    def build(tf, found, truth):
        return tf.edit_distance(
            tf.SparseTensor(FOUND, found, [2, 2, 4]), tf.SparseTensor(TRUTH, truth, [2, 2, 3]), **attrs
        )

    return Case(build, (np.array([1, 2, 3, 1, 2, 4]), np.array([1, 3, 2, 3, 5, 2, 4])))


BAGS = np.array([[0, 0], [0, 1], [1, 0], [3, 0], [3, 2], [3, 3]])


def bags(combiner, weighted):
    def build(tf, table, weights):
        ids = tf.SparseTensor(BAGS, np.array([1, 3, 3, 0, 4, 4]), [4, 4])
        w = tf.SparseTensor(BAGS, weights, [4, 4]) if weighted else None
        return tf.nn.embedding_lookup_sparse(1 * table, ids, w, combiner=combiner)

    return Case(build, (numbers(5, 3), [1.0, 2.0, 0.5, -1.0, 0.25, 3.0]), ("float32",))


def safe_bags(**attrs):
    places = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 1, 0], [1, 1, 1], [1, 2, 0]])

    def build(tf, table, weights):
        ids, weights = np.array([1, 3, -1, 0, 4, 4]), 1 * weights
        flat, deep = tf.SparseTensor(BAGS, ids, [5, 4]), tf.SparseTensor(places, ids, [2, 3, 4])
        return [
            tf.nn.safe_embedding_lookup_sparse(1 * table, sp, tf.SparseTensor(sp.indices, w, sp.dense_shape), **attrs)
            for sp in (flat, deep) for w in (weights, weights + 2)
        ] + [tf.nn.safe_embedding_lookup_sparse(1 * table, flat, **attrs)]

    return Case(build, (numbers(5, 3), [1.0, 2.0, 0.5, -1.0, 0.25, 3.0]), ("float32",))


OTHERS = np.array([[0, 0], [0, 3], [2, 2]])
CUBE = np.array([[0, 0, 1], [0, 2, 0], [1, 0, 1], [1, 2, 3]])


def parts(*tensors):
    return [part for sp in tensors for part in (sp.indices, sp.values, sp.dense_shape)]


def matrix(tf, values, shape=(3, 4)):
    return tf.SparseTensor(PLACES, values, shape)


def of(function, places=PLACES, shape=(3, 4), dtypes=("float32", "float64"), gradients=True):
    """What ``function(tf, sp)`` gives of a sparse tensor: the parts of sparse ones."""

    def build(tf, values):
        result = function(tf, tf.SparseTensor(places, values, shape))
        several = result if isinstance(result, (list, tuple)) else [result]
        return [t for r in several for t in (parts(r) if hasattr(r, "dense_shape") else [r])]

    return Case(build, ([1.0, -2.0, 0.5, 4.0],), dtypes, gradients)


def of_two(function, **attrs):
    def build(tf, values, others):
        result = function(tf, matrix(tf, values), tf.SparseTensor(OTHERS, others, (3, 4)))
        return parts(result) if hasattr(result, "dense_shape") else result

    return Case(build, ([1.0, -2.0, 0.5, 4.0], [3.0, 2.5, -4.0]), **attrs)


def product(**attrs):
    def build(tf, values, b):
        return tf.sparse_tensor_dense_matmul(tf.SparseTensor(PLACES, values, [3, 4]), b, **attrs)

    inner, outer = (3, 2) if attrs.get("adjoint_a") else (4, 2)
    shape = (outer, inner) if attrs.get("adjoint_b") else (inner, outer)
    return Case(build, (numbers(4), numbers(*shape)))


CASES = {
    **{f"ctc_loss {i}": loss(**attrs) for i, attrs in enumerate([
        {}, {"ctc_merge_repeated": False}, {"preprocess_collapse_repeated": True},
        {"preprocess_collapse_repeated": True, "ctc_merge_repeated": False},
    ])},
    "ctc_loss, batch first": Case(lambda tf, x: tf.nn.ctc_loss(
        tf.SparseTensor(ROWS, np.array(LABELS, np.int32), [4, 3]), tf.transpose(x, (1, 0, 2)), LENGTHS,
        time_major=False), (LOGITS,), ("float32",)),
    "ctc_loss of short and impossible sequences": Case(lambda tf, x: tf.nn.ctc_loss(
        tf.SparseTensor(ROWS, np.array(LABELS, np.int32), [4, 3]), x, np.array([3, 1, 0, 6], np.int32),
        ignore_longer_outputs_than_inputs=True), (LOGITS,), ("float32",)),
    **{f"ctc_beam_search_decoder {i}": beams(**attrs) for i, attrs in enumerate([
        {}, {"beam_width": 4, "top_paths": 3, "merge_repeated": False}, {"beam_width": 2, "top_paths": 2},
        {"beam_width": 30, "top_paths": 9, "merge_repeated": False},
    ])},
    **{f"ctc_greedy_decoder {i}": greedy(**attrs) for i, attrs in enumerate([
        {}, {"merge_repeated": False}, {"blank_index": 2},
    ])},
    "edit_distance": distance(),
    "edit_distance, not normalised": distance(normalize=False),
    "sparse_to_dense": Case(lambda tf, v: [
        tf.sparse_to_dense(PLACES, [3, 4], v),
        tf.sparse_to_dense(PLACES[::-1].copy(), [3, 4], v, -1.0, validate_indices=False),
        tf.sparse_tensor_to_dense(tf.SparseTensor(PLACES, v, [4, 5])),
        tf.sparse_tensor_to_dense(tf.SparseTensor(PLACES, tf.sqrt(v), [3, 4]), 1.5),
    ], ([1.0, 2.0, 0.5, 4.0],)),
    # TensorFlow has no gradient where indices are a vector.
    "sparse_to_dense of vectors and of one value": Case(lambda tf, v, w: [
        tf.sparse_to_dense([1, 3, 4, 6], [7], v, 2, name="x"), tf.sparse_to_dense([0, 2], [4], w),
        tf.sparse_to_dense(1, [4], w),
    ], (np.array([4, 3, 2, 1]), np.array(3))),
    **{f"sparse_tensor_dense_matmul {i}": product(**attrs) for i, attrs in enumerate([
        {}, {"adjoint_a": True}, {"adjoint_b": True}, {"adjoint_a": True, "adjoint_b": True},
    ])},
    "sparse_reduce_sum": Case(lambda tf, v: [
        f(tf.SparseTensor(np.array([[0, 0, 1], [0, 2, 0], [1, 0, 1], [1, 2, 3]]), v, [2, 3, 4]), *args)
        for args in ((), ([0, 2],), (1, True), (-1,), (None, True))
        for f in (tf.sparse_reduce_sum, tf.sparse.reduce_sum)
    ], ([1.0, -2.0, 0.5, 4.0],)),
    "sparse_transpose": Case(lambda tf, v: [
        part for perm in (None, [1, 0]) for sp in [tf.sparse_transpose(tf.SparseTensor(PLACES, v, [3, 4]), perm)]
        for part in (sp.indices, sp.values, sp.dense_shape)
    ], ([1.0, -2.0, 0.5, 4.0],)),
    "sparse.from_dense": Case(lambda tf, x: [
        part for sp in [tf.sparse.from_dense(x)] for part in (sp.indices, sp.values, sp.dense_shape)
    ] + [tf.sparse.to_dense(tf.sparse.from_dense(x))], ([[0.0, 2.0, 0.0], [-1.0, 0.0, 3.0]],)),
    **{f"embedding_lookup_sparse, {combiner}, {weighted}": bags(combiner, weighted)
       for combiner in ("mean", "sqrtn", "sum") for weighted in (False, True)},
    **{f"safe_embedding_lookup_sparse {i}": safe_bags(**attrs) for i, attrs in enumerate([
        {}, {"combiner": "sum"}, {"combiner": "sqrtn", "default_id": 2},
    ])},
    "sparse_add": of_two(lambda tf, a, b: tf.sparse_add(a, b)),
    "sparse_add, small sums left out": of_two(lambda tf, a, b: tf.sparse_add(a, b, 0.6)),
    "sparse_add of a dense tensor": Case(lambda tf, v, x: [
        tf.sparse_add(matrix(tf, v), x), tf.sparse.add(x, matrix(tf, v)),
    ], ([1.0, -2.0, 0.5, 4.0], numbers(3, 4))),
    "sparse_add of integers": Case(lambda tf, v: parts(tf.sparse_add(matrix(tf, v), matrix(tf, v), threshold=3)),
                                   (np.array([1, -2, 5, 4]),)),
    # TensorFlow has no gradient of these four.
    "sparse_maximum": of_two(lambda tf, a, b: tf.sparse_maximum(a, b), gradients=False),
    "sparse_minimum": of_two(lambda tf, a, b: tf.sparse_minimum(a, b), gradients=False),
    "sparse_split": of(lambda tf, sp: [part for n, axis in ((3, 1), (2, -2), (4, 1), (1, 0))
                                       for part in tf.sparse_split(sp_input=sp, num_split=n, axis=axis)],
                       gradients=False),
    **{f"sparse_reduce_max {i}": of(lambda tf, sp, args=args: [
        f(sp, *args) for f in (tf.sparse_reduce_max, tf.sparse.reduce_max, tf.sparse_reduce_max_sparse)
    ], CUBE, (2, 3, 4), gradients=False) for i, args in enumerate(((), ([0, 2],), (1, True), (-1,), (None, True)))},
    **{f"sparse_reduce_sum_sparse {i}": of(lambda tf, sp, args=args: tf.sparse_reduce_sum_sparse(sp, *args),
                                           CUBE, (2, 3, 4), gradients=False)
       for i, args in enumerate(((), ([0, 2],), (1, True), (-1,), (None, True)))},
    "sparse_concat": Case(lambda tf, v, w: [part for args in ((0, False), (-1, False), (1, True)) for part in parts(
        tf.sparse_concat(args[0], [matrix(tf, v), matrix(tf, w, (5, 4) if args[1] else (3, 4)), matrix(tf, 2 * v)],
                         expand_nonconcat_dim=args[1]))
    ], ([1.0, -2.0, 0.5, 4.0], [5.0, 6.0, 7.0, 8.0]), gradients=False),
    "sparse_slice": of(lambda tf, sp: [tf.sparse_slice(sp, *block) for block in (
        ([0, 1], [2, 9]), ([1, 0], [1, 2]), ([0, 7], [2, 2]), ([0, 0], [3, 4]))]),
    "sparse_reshape": of(lambda tf, sp: [tf.sparse_reshape(sp, shape) for shape in ([2, -1], [12], [2, 3, 1, 2])]),
    "sparse.expand_dims": of(lambda tf, sp: [tf.sparse.expand_dims(sp, axis) for axis in (None, 0, 1, -2)]),
    "sparse_reset_shape": of(lambda tf, sp: [
        tf.sparse_reset_shape(sp), tf.sparse_reset_shape(sp, [4, 4]), tf.sparse_reset_shape(tf.sparse_slice(
            sp, [1, 1], [1, 3]))]),
    "sparse_fill_empty_rows": Case(lambda tf, v, default: [
        *parts(tf.sparse_fill_empty_rows(tf.SparseTensor([[1, 1], [3, 1], [3, 3], [4, 0]], v, (6, 4)), default)[0]),
        tf.sparse_fill_empty_rows(tf.SparseTensor([[1, 1], [3, 1], [3, 3], [4, 0]], v, (6, 4)), default)[1],
    ], ([1.0, -2.0, 0.5, 4.0], 9.0)),
    "sparse_softmax": of(lambda tf, sp: tf.sparse_softmax(sp)),
    "sparse_softmax of three axes": of(lambda tf, sp: tf.sparse_softmax(sp),
                                       [[0, 0, 1], [0, 0, 3], [1, 0, 1], [1, 0, 3]], (2, 3, 4)),
    "sparse_mask": Case(lambda tf, v: [part for masked in [tf.sparse_mask(
        tf.IndexedSlices(1 * v, [3, 5, 7], tf.constant([10, 2])), [5, 8])] for part in (masked.values, masked.indices)
    ], (numbers(3, 2),)),
    "sparse_to_indicator": Case(lambda tf, ids: tf.sparse_to_indicator(matrix(tf, ids), 5), (np.array([2, 0, 1, 3]),)),
    "sparse_merge": Case(lambda tf, v: parts(*(
        tf.sparse_merge(ids if several else ids[0], matrix(tf, v), [5, 6] if several else 5, already_sorted=ready)
        for ids in [[matrix(tf, [2, 0, 1, 3]), matrix(tf, np.array([1, 5, 0, 0]))]]
        for several, ready in ((False, False), (True, False), (False, True)))), ([1.0, -2.0, 0.5, 4.0],)),
    "sparse_matmul": Case(lambda tf, a, b: [
        tf.sparse_matmul(a, b), tf.sparse_matmul(a, a, transpose_a=True, a_is_sparse=True),
        tf.sparse_matmul(b, a, True, True, b_is_sparse=True), tf.sparse_matmul(a, a, transpose_b=True),
    ], (numbers(2, 3), numbers(3, 2)), ("float32", "bfloat16"), tolerance=0.02),
    "sparse.eye": Case(lambda tf, n: parts(tf.sparse.eye(3), tf.sparse.eye(2, 4, tf.int32), tf.sparse.eye(n, 2)),
                       (np.array(3),)),
    "convert_to_tensor_or_sparse_tensor": of(lambda tf, sp: [
        tf.convert_to_tensor_or_sparse_tensor(x) for x in (sp, tf.SparseTensorValue(PLACES, np.ones(4), [3, 4]), [1, 2])
    ]),
    "sparse and dense, multiplied": Case(lambda tf, v, row, x: parts(
        matrix(tf, v) * x, matrix(tf, v) * row, matrix(tf, v) / x,
    ), ([1.0, -2.0, 0.5, 4.0], [1.0, 2.0, -3.0, 0.25], (np.array(numbers(3, 4)) + 3).tolist())),
    "sparse_reorder, sparse_retain and cast": Case(lambda tf, v: [
        part for sp in (
            tf.sparse_reorder(tf.SparseTensor(PLACES[[2, 0, 3, 1]], v, [3, 4])),
            tf.sparse_retain(tf.SparseTensor(PLACES, v, [3, 4]), v > 0),
            tf.cast(tf.SparseTensor(PLACES, v, [3, 4]), tf.int32),
        ) for part in (sp.indices, sp.values, sp.dense_shape)
    ], ([1.0, -2.0, 0.5, 4.0],)),
}  # fmt: skip
