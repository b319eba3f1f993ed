"""Arrays: casts, slices, gathers and scatters, sorting and counting, moves of blocks."""

import numpy as np

from .tf_case import CUBE, INF, TIES, ZEROS, Case

FIVE = [3.0, -1.0, 3.0, 0.5, 2.0]
NUMBERS = np.array([7, 2, 7, 4, 2, 7], np.int32)
AT = np.array([[1, 0], [2, 1]], np.int32)
IMAGES = (np.arange(96.0) % 11 - 3).reshape(2, 4, 6, 2).tolist()
SINGLE = ("float32",)

CASES = {
    "saturate_cast": Case(lambda tf, x: [
        tf.saturate_cast(x, t) for t in (tf.int8, tf.uint8, tf.int32, tf.float16, tf.float64)
    ], ([-1e30, -300.0, -1.5, 0.0, 200.7, 1e6],), gradients=False),
    "saturate_cast of integers": Case(lambda tf, x: [
        tf.saturate_cast(x, t) for t in (tf.int8, tf.uint8, tf.int64, tf.float32)
    ], (np.array([-300, -1, 0, 200, 2**31 - 1], np.int32),)),
    "casts": Case(lambda tf, x: [
        tf.to_int32(x), tf.to_int64(x), tf.to_double(x), tf.to_float(x), tf.cast(x, tf.bool), tf.cast(x, tf.uint8),
        tf.to_complex64(x), tf.to_complex128(x),
    ], ([0.0, 1.9, 2.5, 200.0],), gradients=False),
    "bitcast": Case(lambda tf, x: [
        tf.bitcast(x, tf.int32), tf.bitcast(x, tf.uint8), tf.bitcast(x, tf.uint16), tf.bitcast(x, tf.float64),
    ], (np.array([[1.0, -2.5], [0.0, 3e7]], np.float32),), SINGLE, gradients=False),
    "strided_slice": Case(lambda tf, x: [
        tf.strided_slice(x, [0, 1, -1], [2, -1, -4], [1, 1, -1]),
        tf.strided_slice(x, [1, 0], [2, 9], begin_mask=2, end_mask=2),
        tf.strided_slice(x, [0, 5, 1], [0, 5, 3], [1, 1, 1], ellipsis_mask=1, new_axis_mask=2),
        tf.strided_slice(x, [1, -1, 0], [2, 0, 4], [1, 1, 2], shrink_axis_mask=3),
        x[1, ..., ::-2], x[:, tf.newaxis, 1:, -1], x[-1:, 0], x[..., 2],
    ], (CUBE,)),
    "masks and lists as indices": Case(lambda tf, x: [
        x[x > 1], x[np.array([True, False])], x[np.array([[True, False, True], [False, True, False]])], x[[1, 2]],
        x[[1, ..., 0]], x[:, 0][x[:, 0] > -1],
    ], (CUBE,)),
    "lists of tensors": Case(lambda tf, x, i: [
        tf.convert_to_tensor([[tf.cos(x[0]), -tf.sin(x[0])], [tf.sin(x[0]), 1]]), [[x[0], 2, x[1]]] - x,
        [[1, x[2]], [x[0], 3]] * x[0], tf.pad(x, [[0, i[0]]]), tf.pad([[x[0], 1]], [(1, 0), (i[1], i[1])]),
        tf.gather_nd(x, [[i[1]], [1]]), tf.nn.embedding_lookup(x, [[0, 1], [2, i[0]]]), tf.reshape(x, [i[0], 1, -1]),
        tf.stack([x[0], 2, x[1]]), tf.stack([[x[0], 1], x[1:]], 1), tf.concat([x, [1, 2], [x[0]]], 0),
        tf.convert_to_tensor([x[0], np.float64(2), np.int64(3)]), tf.tile([[x[0]]], [i[0], 2]),
    ], ([0.5, -1.0, 2.0], np.array([1, 0], np.int32))),
    "lists take the dtype that is asked for": Case(lambda tf, x, i: [
        tf.convert_to_tensor([[i[0], 2]], tf.float32), tf.convert_to_tensor([[i[0], 2]], tf.int64),
        tf.convert_to_tensor([x[0], 2], preferred_dtype=tf.float64), x * [i[0], 2],
        tf.convert_to_tensor(i, dtype_hint=tf.int64), tf.convert_to_tensor([1.5, 2], preferred_dtype=tf.int32),
        tf.convert_to_tensor([1, 2], preferred_dtype=tf.int64),
    ], (np.array([0.5, -1.0], np.float32), np.array([1, 0], np.int32)), SINGLE),
    "dtypes of lists": Case(lambda tf: [
        tf.stack([1, 2.0, 3]), tf.stack([np.ones(2), np.ones(2)]), tf.stack([np.int64(1), np.int64(2)]),
        tf.convert_to_tensor([np.float64(1), 2]), tf.convert_to_tensor([np.int8(1), np.int8(2)]),
        tf.constant([], dtype=tf.int32), tf.constant([]), tf.constant([[]], tf.bool), tf.convert_to_tensor([], tf.bool),
        tf.constant([[], []], tf.int64), tf.constant(np.zeros((0, 2)), tf.int32),
        tf.concat([tf.constant([1, 2]), []], 0), tf.concat([[], tf.constant([True])], 0),
    ], (), SINGLE),
    "joins of one": Case(lambda tf, x: [
        tf.concat(x, 0), tf.concat([x], 3), tf.concat(np.eye(2), 1), tf.stack(x), tf.stack([x]), tf.stack([x], 2),
        tf.expand_dims(x, [1]), tf.expand_dims(x, axis=[-1]),
    ], (ZEROS,)),
    "gather_nd of whole tensors": Case(lambda tf, x: [
        tf.gather_nd(x, np.zeros((2, 0), np.int32)), tf.gather_nd(x, np.zeros((0, 0), np.int32)),
        tf.gather_nd(x, np.zeros(0, np.int32)),
    ], (ZEROS,), gradients=False),
    "gather": Case(lambda tf, x, i: [
        tf.gather(x, i), tf.gather(x, i, axis=1), tf.gather(x, [1, 0, 1], axis=-1), tf.gather(x, 1, axis=1),
        tf.gather(x, i, axis=2, batch_dims=1), tf.gather(x, i[:, 0], batch_dims=1), tf.gather_nd(x, i, batch_dims=1),
        tf.batch_gather(x, i), tf.gather_nd(x, [[1, 0], [0, 2]]),
    ], (CUBE, np.array([[1, 0], [0, 1]], np.int32))),
    "scatter_nd": Case(lambda tf, u, x: [
        tf.scatter_nd(AT, u, [3, 2]), tf.scatter_nd([[1], [1]], u, [4]), tf.tensor_scatter_nd_add(x, AT, u),
        tf.tensor_scatter_nd_sub(x, AT, u), tf.tensor_scatter_nd_update(x, AT, u), tf.tensor_scatter_update(x, AT, u),
    ], ([2.0, 3.0], ZEROS)),
    "boolean_mask": Case(lambda tf, x: [
        tf.boolean_mask(x, x > 1), tf.boolean_mask(x, [True, False, True]),
        tf.boolean_mask(x, [False, True, True], axis=1),
    ], (ZEROS,)),
    "pad": Case(lambda tf, x: [
        tf.pad(x, [[1, 0], [2, 1]]), tf.pad(x, [[1, 2], [0, 2]], "REFLECT"), tf.pad(x, [[1, 2], [3, 2]], "symmetric"),
        tf.pad(x, [[1, 0], [0, 1]], constant_values=7),
    ], (ZEROS,)),
    "reverse_sequence, roll, reverse": Case(lambda tf, x: [
        tf.reverse_sequence(x, [2, 0, 3], seq_axis=1), tf.reverse_sequence(x, [2, 0, 3], seq_dim=0, batch_dim=1),
        tf.roll(x, 1, 0), tf.roll(x, [1, -5], [0, 1]), tf.manip.roll(x, shift=-1, axis=-1), tf.reverse(x, [-1]),
        tf.repeat(x, [1, 0, 2], axis=0), tf.repeat(x, 2),
    ], (ZEROS,)),
    "blocks": Case(lambda tf, x: [
        tf.space_to_depth(x, 2), tf.depth_to_space(tf.space_to_depth(x, 2), 2), tf.nn.space_to_depth(x, 2),
        tf.space_to_batch_nd(x, [2, 3], [[1, 1], [0, 0]]), tf.space_to_batch(x, [[0, 0], [1, 1]], 2),
        tf.batch_to_space_nd(x, [2, 1], [[1, 2], [0, 0]]), tf.batch_to_space(tf.tile(x, [2, 1, 1, 1]),
                                                                             [[1, 0], [0, 3]], 2),
    ], (IMAGES,)),
    "sort": Case(lambda tf, x: [
        tf.sort(x), tf.sort(x, direction="DESCENDING"), tf.sort(x, axis=0), *tf.nn.top_k(x, 2),
        tf.nn.top_k(x, k=1).values,
    ], ([[1.0, 3.0, 3.5], [2.0, 2.0, 2.5], [-1.0, 0.0, -1.5]],)),
    "argsort": Case(lambda tf, x: [
        tf.argsort(x), tf.argsort(x, 0), tf.argsort(x, direction="DESCENDING", stable=True),
    ], (TIES,), ("float32", "int32"), gradients=False),
    "searchsorted": Case(lambda tf, x: [
        tf.searchsorted([1.0, 2.0, 2.0, 5.0], x), tf.searchsorted([1.0, 2.0, 2.0, 5.0], x, side="right"),
    ], (np.array([0.0, 1, 2, 3, 9], np.float32),), SINGLE, gradients=False),
    "unique": Case(lambda tf, x: [
        *tf.unique(x), *tf.unique_with_counts(x, tf.int64), tf.unique(x).idx, *tf.setdiff1d(x, [2, 9]),
        tf.setdiff1d(x, [7], index_dtype=tf.int64)[1],
    ], (NUMBERS,), SINGLE),
    "histogram": Case(lambda tf, x: [
        tf.histogram_fixed_width(x, [0.0, 5.0], nbins=5), tf.histogram_fixed_width_bins(x, [0.0, 5.0], nbins=5),
        tf.histogram_fixed_width(x, [0.0, 0.7], 7, tf.int64),
    ], (np.array([-1.0, 0, 1.5, 2, 4.9, 5, 15, INF, -INF, 0.1, 0.2, 0.3], np.float32),), SINGLE, gradients=False),
    "bincount": Case(lambda tf, x: [
        tf.bincount(x), tf.bincount(x, minlength=10), tf.bincount(x, maxlength=5), tf.bincount(x, dtype=tf.float64),
        tf.bincount(x, weights=tf.cast(x, tf.float32) / 2), tf.bincount(x, minlength=3, maxlength=3),
    ], (NUMBERS,), SINGLE),
    "confusion_matrix": Case(lambda tf, x: [
        tf.confusion_matrix(x, x[::-1]), tf.confusion_matrix(x, x, num_classes=9, dtype=tf.int64),
        tf.math.confusion_matrix(x, x[::-1], weights=[1, 2, 3, 4, 5, 6]),
    ], (NUMBERS,), SINGLE),
    "partition and stitch": Case(lambda tf, x, y: [
        *tf.dynamic_partition(x, [1, 0, 1], 3), tf.dynamic_stitch([[2, 0, 1], [3, 5]], [x, y]),
        tf.dynamic_stitch([[0, 2, 1], [2, 0]], [x, y]),
    ], (ZEROS, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])),
    "unravel_index": Case(lambda tf, x: [tf.unravel_index(x, [3, 4])], (np.array([7, 2, 11], np.int32),), SINGLE),
    "shapes": Case(lambda tf, x: [
        tf.shape(x), tf.shape(x, out_type=tf.int64), tf.size(x), tf.rank(x), tf.broadcast_to(x, [2, 3, 3]),
        *tf.shape_n([x, x]), tf.broadcast_dynamic_shape(tf.shape(x), [2, 1, 1]), *tf.identity_n([x]),
        tf.ensure_shape(x, [None, 3]), tf.fill([2, 1], 1.5), tf.expand_dims(x, -1), tf.tile(x, [1, 2]),
        *tf.split(x, [1, 2], 1), *tf.unstack(x, axis=1), tf.stack([x, x], -1), tf.concat([x, x], -1),
        tf.one_hot([0, 2], 3), tf.sequence_mask([1, 3], 4), tf.linspace(0.0, 1.0, 3), *tf.meshgrid([1, 2], [3, 4, 5]),
    ], (ZEROS,), SINGLE),
}
