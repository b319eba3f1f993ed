"""Calls that TensorFlow 1 refuses, of all families of operations: the same functions of its module and of ours.

A fault returns what is to be run where building it raises nothing: a fetch, or a `Fed` one.
"""

from typing import Any, NamedTuple

import numpy as np


class Fed(NamedTuple):
    """What is run, and what it is fed."""

    fetches: Any
    feeds: Any


def outcome(tf, fault):
    """(building or running, the exception) of ``fault`` with the module ``tf``; ("nothing", None) where it has none."""
    stage = "building"
    try:
        with tf.Graph().as_default():
            made = fault(tf)
            stage = "running"
            made = made if isinstance(made, Fed) else Fed(made, {})
            with tf.Session() as session:
                session.run(made.fetches, made.feeds)
    except Exception as error:
        return stage, error
    return "nothing", None


def unfed(tf, dtype="float32", shape=None):
    return tf.placeholder(dtype, shape)


def in_session(use, build=lambda tf: tf.constant(1.0)):
    """A fault of ``use(tf, session, tensor)``."""

    def fault(tf):
        tensor = build(tf)
        with tf.Session() as session:
            use(tf, session, tensor)

    return fault


def closed(use):
    """A fault of a session that is closed."""

    def fault(tf):
        tensor = tf.constant(1.0)
        session = tf.Session()
        session.close()
        use(session, tensor)

    return fault


def of_other_graph(use):
    """A fault of a tensor that belongs to another graph than the default one."""

    def fault(tf):
        with tf.Graph().as_default():
            stranger = tf.constant([1.0, 2.0], name="stranger")
        tf.constant(1.0)  # TensorFlow says that a graph is empty before all else
        return use(tf, stranger)

    return fault


def raiser(kind):
    """A function that raises ``kind``."""

    def function():
        raise kind("no")

    return function


def after(tf, tensor):
    with tf.control_dependencies([tensor]):
        return tf.constant(1.0)


def scoped(*names_and_reuse, shape=(2,), again=(2,), dtype="float32"):
    """Variables 'v' in scopes ``(name, reuse)``, one after the other, the last of shape ``again`` and ``dtype``."""

    def fault(tf):
        for i, (name, reuse) in enumerate(names_and_reuse):
            last = i == len(names_and_reuse) - 1
            with tf.variable_scope(name, reuse=reuse):
                tf.get_variable("v", again if last else shape, dtype if last else "float32")

    return fault


def finalized(tf):
    tf.get_default_graph().finalize()
    return tf.constant(1.0) + 1.0


def uninitialised(use):
    def fault(tf):
        return use(tf, tf.get_variable("v", [2]))

    return fault


def fed(build, *values, dtypes=("float32", "float32"), shapes=(None, None)):
    """A fault of values that only the run is given."""

    def fault(tf):
        holders = [tf.placeholder(d, s) for d, s, _ in zip(dtypes, shapes, values, strict=False)]
        return Fed(build(tf, *holders), dict(zip(holders, values, strict=True)))

    return fault


def f(tf, *shape):
    return tf.zeros(shape)


def i(tf, *shape):
    return tf.zeros(shape, "int32")


def b(tf, *shape):
    return tf.zeros(shape, "bool")


DTYPES = {
    "add int and float": lambda tf: tf.constant(1) + tf.constant(1.0),
    "add float32 and float64": lambda tf: tf.add(tf.constant(1.0), tf.constant(1.0, "float64")),
    "multiply int by a fraction": lambda tf: tf.constant(1) * 0.5,
    "add bool": lambda tf: tf.add(b(tf, 2), b(tf, 2)),
    "constant fraction as int": lambda tf: tf.constant([1.5, 2], "int32"),
    "constant whole float as int": lambda tf: tf.constant([1.0, 2], "int32"),
    "constant object": lambda tf: tf.constant(object()),
    "constant ragged": lambda tf: tf.constant([[1.0], [1.0, 2.0]]),
    "constant None": lambda tf: tf.constant(None),
    "constant complex as float": lambda tf: tf.constant(1j, "float32"),
    "no such dtype": lambda tf: tf.constant(1.0, "float31"),
    "placeholder of no dtype": lambda tf: tf.placeholder("nonsense"),
    "convert float tensor to int": lambda tf: tf.convert_to_tensor(tf.constant(1.0), "int32"),
    "sqrt of int": lambda tf: tf.sqrt(tf.constant(4)),
    "exp of int": lambda tf: tf.exp(tf.constant(4)),
    "sigmoid of int": lambda tf: tf.sigmoid(tf.constant(4)),
    "lgamma of int": lambda tf: tf.lgamma(tf.constant(4)),
    "erf of bool": lambda tf: tf.erf(b(tf, 2)),
    "negative of bool": lambda tf: tf.negative(b(tf, 2)),
    "abs of bool": lambda tf: tf.abs(b(tf, 2)),
    "sign of bool": lambda tf: tf.sign(b(tf, 2)),
    "complex of ints": lambda tf: tf.complex(i(tf, 2), i(tf, 2)),
    "complex of two floats": lambda tf: tf.complex(f(tf, 2), tf.zeros([2], "float64")),
    "equal int and float": lambda tf: tf.equal(i(tf, 2), f(tf, 2)),
    "less of bool": lambda tf: tf.less(b(tf, 2), b(tf, 2)),
    "less of complex": lambda tf: tf.less(tf.constant(1j), tf.constant(2j)),
    "logical and of int": lambda tf: tf.logical_and(i(tf, 2), i(tf, 2)),
    "logical not of float": lambda tf: tf.logical_not(f(tf, 2)),
    "where of a float condition": lambda tf: tf.where(f(tf, 2), f(tf, 2), f(tf, 2)),
    "where of two dtypes": lambda tf: tf.where(b(tf, 2), f(tf, 2), i(tf, 2)),
    "reduce_sum of bool": lambda tf: tf.reduce_sum(b(tf, 2)),
    "reduce_mean of bool": lambda tf: tf.reduce_mean(b(tf, 2)),
    "reduce_any of int": lambda tf: tf.reduce_any(i(tf, 2)),
    "reduce_max of complex": lambda tf: tf.reduce_max(tf.constant([1j])),
    "reduce over a float axis": lambda tf: tf.reduce_sum(f(tf, 2), axis=1.5),
    "argmax of bool axis": lambda tf: tf.argmax(f(tf, 2), axis=0.5),
    "cumsum of bool": lambda tf: tf.cumsum(b(tf, 2)),
    "softmax of int": lambda tf: tf.nn.softmax(i(tf, 2)),
    "log_softmax of int": lambda tf: tf.nn.log_softmax(i(tf, 2)),
    "relu of bool": lambda tf: tf.nn.relu(b(tf, 2)),
    "elu of int": lambda tf: tf.nn.elu(i(tf, 2)),
    "matmul int and float": lambda tf: tf.matmul(i(tf, 2, 2), f(tf, 2, 2)),
    "matmul of bool": lambda tf: tf.matmul(b(tf, 2, 2), b(tf, 2, 2)),
    "cholesky of int": lambda tf: tf.cholesky(i(tf, 2, 2)),
    "inverse of int": lambda tf: tf.matrix_inverse(i(tf, 2, 2)),
    "concat of two dtypes": lambda tf: tf.concat([f(tf, 2), i(tf, 2)], 0),
    "stack of two dtypes": lambda tf: tf.stack([f(tf, 2), i(tf, 2)]),
    "gather by floats": lambda tf: tf.gather(f(tf, 2), [0.0]),
    "gather_nd by floats": lambda tf: tf.gather_nd(f(tf, 2), [[0.0]]),
    "scatter_nd by floats": lambda tf: tf.scatter_nd([[0.0]], [1.0], [3]),
    "one_hot of floats": lambda tf: tf.one_hot([0.0], 3),
    "reshape to floats": lambda tf: tf.reshape(f(tf, 2), [1.5, 2.0]),
    "tile by floats": lambda tf: tf.tile(f(tf, 2), [1.5]),
    "fill floats": lambda tf: tf.fill([1.5], 0.0),
    "slice by floats": lambda tf: tf.slice(f(tf, 2), [0.5], [1.5]),
    "index by a float": lambda tf: f(tf, 2)[0.5],
    "index by a string": lambda tf: f(tf, 2)["a"],
    "pad by floats": lambda tf: tf.pad(f(tf, 2), [[0.5, 1.5]]),
    "transpose by floats": lambda tf: tf.transpose(f(tf, 2, 2), [0.5, 1.5]),
    "segment_sum by floats": lambda tf: tf.segment_sum(f(tf, 2), [0.0, 1.0]),
    "unsorted_segment_sum by floats": lambda tf: tf.unsorted_segment_sum(f(tf, 2), [0.0, 1.0], 2),
    "in_top_k of float targets": lambda tf: tf.nn.in_top_k(f(tf, 2, 3), [0.0, 1.0], 1),
    "sparse cross entropy of float labels": lambda tf: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=[0.0], logits=f(tf, 1, 3)
    ),
    "embedding_lookup by floats": lambda tf: tf.nn.embedding_lookup(f(tf, 3, 2), [0.0]),
    "conv2d of two dtypes": lambda tf: tf.nn.conv2d(
        f(tf, 1, 3, 3, 1), tf.zeros([1, 1, 1, 1], "float64"), [1, 1, 1, 1], "SAME"
    ),
    "conv2d of bool": lambda tf: tf.nn.conv2d(b(tf, 1, 3, 3, 1), b(tf, 1, 1, 1, 1), [1, 1, 1, 1], "SAME"),
    "avg_pool of int": lambda tf: tf.nn.avg_pool(i(tf, 1, 3, 3, 1), [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
    "bias_add of two dtypes": lambda tf: tf.nn.bias_add(f(tf, 1, 3), i(tf, 3)),
    "cond of an int": lambda tf: tf.cond(tf.constant(1), lambda: 1.0, lambda: 2.0),
    "cond of two dtypes": lambda tf: tf.cond(
        tf.placeholder_with_default(True, []), lambda: tf.constant(1), lambda: tf.constant(1.0)
    ),
    "while_loop that changes the dtype": lambda tf: tf.while_loop(
        lambda x: x < 9, lambda x: tf.cast(x, "float32") * 2, [tf.constant(1)]
    ),
    "map_fn of another dtype": lambda tf: tf.map_fn(lambda x: tf.cast(x, "int32"), tf.constant([1.0])),
    "assign of another dtype": lambda tf: tf.get_variable("v", [2]).assign(tf.zeros([2], "int32")),
    "assign of a fraction to an int": lambda tf: tf.get_variable("v", [2], "int32").assign([1.5, 2.0]),
    "variable of another dtype": lambda tf: tf.Variable(tf.constant(1.0), dtype="int32"),
    "scatter_add of another dtype": lambda tf: tf.scatter_add(tf.get_variable("v", [2]), [0], i(tf, 1)),
    "gradients of ints": lambda tf: tf.gradients(tf.constant(1) * 2, [tf.constant(1)])[0],
    "random_normal of ints": lambda tf: tf.random_normal([2], dtype="int32"),
    "random_uniform of ints without maxval": lambda tf: tf.random_uniform([2], dtype="int32"),
    "random_uniform of bool": lambda tf: tf.random_uniform([2], 0, 1, dtype="bool"),
    "range of bool": lambda tf: tf.range(tf.constant(True)),
    "fft of floats": lambda tf: tf.fft(f(tf, 4)),
    "bitwise and of floats": lambda tf: tf.bitwise.bitwise_and(f(tf, 2), f(tf, 2)),
    "clip of int by a fraction": lambda tf: tf.clip_by_value(i(tf, 2), 0.5, 1.5),
    "add_n of two dtypes": lambda tf: tf.add_n([f(tf, 2), i(tf, 2)]),
    "tensordot of two dtypes": lambda tf: tf.tensordot(f(tf, 2), i(tf, 2), 1),
    "dense layer of ints": lambda tf: tf.layers.dense(i(tf, 2, 3), 4),
    "py_func of no dtype": lambda tf: tf.py_func(lambda: 1.0, [], "nonsense"),
    "sparse indices of int32": lambda tf: tf.SparseTensor(tf.zeros([1, 1], "int32"), [1.0], [3]).indices,
    "mod of bool": lambda tf: tf.mod(b(tf, 2), b(tf, 2)),
    "pow of two dtypes": lambda tf: tf.pow(f(tf, 2), i(tf, 2)),
    "truth of a tensor": lambda tf: bool(tf.constant(True)),
    "iteration over an unknown shape": lambda tf: list(unfed(tf)),
    "length of a tensor": lambda tf: len(tf.constant([1.0])),
    "float of a tensor": lambda tf: float(tf.constant(1.0)),
    "a string plus a tensor": lambda tf: tf.constant(1.0) + "a",
    "None plus a tensor": lambda tf: tf.constant(1.0) + None,
}

SHAPES = {
    "add of shapes that differ": lambda tf: f(tf, 2) + f(tf, 3),
    "matmul of shapes that differ": lambda tf: tf.matmul(f(tf, 2, 3), f(tf, 4, 5)),
    "matmul of vectors": lambda tf: tf.matmul(f(tf, 2), f(tf, 2)),
    "reduce over an axis that is not there": lambda tf: tf.reduce_sum(f(tf, 2), axis=1),
    "reduce over one axis twice": lambda tf: tf.reduce_sum(f(tf, 2, 2), axis=[0, 0]),
    "argmax over an axis that is not there": lambda tf: tf.argmax(f(tf, 2), 3),
    "softmax over an axis that is not there": lambda tf: tf.nn.softmax(f(tf, 2), 3),
    "cumsum over an axis that is not there": lambda tf: tf.cumsum(f(tf, 2), axis=1),
    "expand_dims where there is none": lambda tf: tf.expand_dims(f(tf, 2), 5),
    "squeeze of size 2": lambda tf: tf.squeeze(f(tf, 2), [0]),
    "squeeze of an axis that is not there": lambda tf: tf.squeeze(f(tf, 1), [3]),
    "transpose with an axis twice": lambda tf: tf.transpose(f(tf, 1, 2, 3, 4), [0, 0, 1, 2]),
    "transpose with too few axes": lambda tf: tf.transpose(f(tf, 1, 2), [0]),
    "transpose with an axis that is not there": lambda tf: tf.transpose(f(tf, 1, 2), [0, 2]),
    "reshape to two unknown sizes": lambda tf: tf.reshape(f(tf, 4), [-1, -1]),
    "reshape to another number": lambda tf: tf.reshape(f(tf, 4), [3]),
    "reshape to a negative size": lambda tf: tf.reshape(f(tf, 4), [-2, 2]),
    "reshape to a size that does not divide": lambda tf: tf.reshape(f(tf, 4), [-1, 3]),
    "concat over an axis that is not there": lambda tf: tf.concat([f(tf, 2), f(tf, 2)], 1),
    "concat of shapes that differ": lambda tf: tf.concat([f(tf, 2, 2), f(tf, 2, 3)], 0),
    "concat of scalars": lambda tf: tf.concat([tf.constant(1.0), tf.constant(2.0)], 0),
    "concat of nothing": lambda tf: tf.concat([], 0),
    "stack of shapes that differ": lambda tf: tf.stack([f(tf, 2), f(tf, 3)]),
    "stack over an axis that is not there": lambda tf: tf.stack([f(tf, 2), f(tf, 2)], axis=3),
    "unstack of an unknown size": lambda tf: tf.unstack(unfed(tf)),
    "unstack of another number": lambda tf: tf.unstack(f(tf, 2), 3),
    "split into parts that do not fit": lambda tf: tf.split(f(tf, 5), 2),
    "split into sizes that do not add up": lambda tf: tf.split(f(tf, 5), [2, 2]),
    "split over an axis that is not there": lambda tf: tf.split(f(tf, 4), 2, axis=1),
    "slice that is too long": lambda tf: tf.slice(f(tf, 4), [2], [3]),
    "slice that begins outside": lambda tf: tf.slice(f(tf, 4), [5], [-1]),
    "slice of another rank": lambda tf: tf.slice(f(tf, 4), [0, 0], [1, 1]),
    "index out of range": lambda tf: f(tf, 2)[2],
    "index with too many axes": lambda tf: f(tf, 2)[0, 0],
    "index with two ellipses": lambda tf: f(tf, 2, 2)[..., ...],
    "slice with a step of 0": lambda tf: f(tf, 4)[::0],
    "gather out of range": lambda tf: tf.gather(f(tf, 2), [2]),
    "gather over an axis that is not there": lambda tf: tf.gather(f(tf, 2), [0], axis=2),
    "gather_nd of too many axes": lambda tf: tf.gather_nd(f(tf, 2), [[0, 0]]),
    "gather_nd out of range": lambda tf: tf.gather_nd(f(tf, 2), [[2]]),
    "scatter_nd out of range": lambda tf: tf.scatter_nd([[5]], [1.0], [3]),
    "scatter_nd of shapes that differ": lambda tf: tf.scatter_nd([[0]], [1.0, 2.0], [3]),
    "tile with too few numbers": lambda tf: tf.tile(f(tf, 2, 2), [2]),
    "tile a negative number of times": lambda tf: tf.tile(f(tf, 2), [-1]),
    "pad with a negative number": lambda tf: tf.pad(f(tf, 2), [[-1, 0]]),
    "pad of another rank": lambda tf: tf.pad(f(tf, 2), [[1, 1], [1, 1]]),
    "pad by reflection beyond the size": lambda tf: tf.pad(f(tf, 3), [[3, 0]], "REFLECT"),
    "pad by symmetry beyond the size": lambda tf: tf.pad(f(tf, 3), [[4, 0]], "SYMMETRIC"),
    "pad in no such mode": lambda tf: tf.pad(f(tf, 3), [[1, 1]], "NONSENSE"),
    "reverse over one axis twice": lambda tf: tf.reverse(f(tf, 2, 2), [0, 0]),
    "reverse over an axis that is not there": lambda tf: tf.reverse(f(tf, 2), [1]),
    "fill of a negative size": lambda tf: tf.fill([-1], 0.0),
    "zeros of a negative size": lambda tf: tf.zeros([-2]),
    "broadcast_to a shape that does not fit": lambda tf: tf.broadcast_to(f(tf, 2), [3]),
    "one_hot over an axis that is not there": lambda tf: tf.one_hot([0], 3, axis=3),
    "top_k of more than there are": lambda tf: tf.nn.top_k(f(tf, 2), 3)[0],
    "top_k of a scalar": lambda tf: tf.nn.top_k(tf.constant(1.0), 1)[0],
    "range with a step of 0": lambda tf: tf.range(0, 5, 0),
    "range in the wrong direction": lambda tf: tf.range(5, 0, 1),
    "eye of a negative size": lambda tf: tf.eye(-1),
    "set_shape that does not fit": lambda tf: f(tf, 2).set_shape([3]),
    "placeholder of a negative size": lambda tf: tf.placeholder("float32", [-2]),
    "constant of another shape": lambda tf: tf.constant([1.0, 2.0, 3.0], shape=[2]),
    "constant verified to have another shape": lambda tf: tf.constant([1.0, 2.0], shape=[3], verify_shape=True),
    "cholesky of no square": lambda tf: tf.cholesky(f(tf, 2, 3)),
    "inverse of a vector": lambda tf: tf.matrix_inverse(f(tf, 2)),
    "inverse of a singular matrix": lambda tf: tf.matrix_inverse(f(tf, 2, 2)),
    "solve of sizes that differ": lambda tf: tf.matrix_solve(tf.eye(2), f(tf, 3, 1)),
    "einsum with too few inputs": lambda tf: tf.einsum("ij,jk->ik", f(tf, 2, 2)),
    "einsum of sizes that differ": lambda tf: tf.einsum("ij,jk->ik", f(tf, 2, 3), f(tf, 2, 2)),
    "einsum of another rank": lambda tf: tf.einsum("ij,jk->ik", f(tf, 2), f(tf, 2, 2)),
    "einsum with a new letter in the output": lambda tf: tf.einsum("ij->ik", f(tf, 2, 2)),
    "tensordot of axes that differ": lambda tf: tf.tensordot(f(tf, 2, 3), f(tf, 2, 3), 1),
    "cross of pairs": lambda tf: tf.cross(f(tf, 2), f(tf, 2)),
    "band of a vector": lambda tf: tf.matrix_band_part(f(tf, 2), 0, 0),
    "add_n of nothing": lambda tf: tf.add_n([]),
    "add_n of shapes that differ": lambda tf: tf.add_n([f(tf, 2), f(tf, 3)]),
    "clip by a shape that does not fit": lambda tf: tf.clip_by_value(f(tf, 2), f(tf, 3), f(tf, 3)),
    "where of shapes that differ": lambda tf: tf.where(b(tf, 2), f(tf, 2), f(tf, 3)),
    "boolean_mask of a shape that does not fit": lambda tf: tf.boolean_mask(f(tf, 2), tf.zeros([3], "bool")),
    "segment_sum of another number of ids": lambda tf: tf.segment_sum(f(tf, 3), [0, 1]),
    "segment_sum of ids that are not sorted": lambda tf: tf.segment_sum(f(tf, 2), [1, 0]),
    "unsorted_segment_sum out of range": lambda tf: tf.unsorted_segment_sum(f(tf, 2), [0, 5], 2),
    "space_to_depth that does not divide": lambda tf: tf.space_to_depth(f(tf, 1, 3, 3, 1), 2),
    "batch_to_space of a batch that does not divide": lambda tf: tf.batch_to_space_nd(
        f(tf, 3, 1, 1), [2], [[0, 0]]
    ),
    "reverse_sequence of a length beyond": lambda tf: tf.reverse_sequence(f(tf, 1, 2), [3], 1),
    "invert_permutation of none": lambda tf: tf.invert_permutation([0, 0]),
    "confusion_matrix out of range": lambda tf: tf.confusion_matrix([3], [0], 2),
    "unravel_index out of range": lambda tf: tf.unravel_index([9], [2, 2]),
    "dynamic_partition out of range": lambda tf: tf.dynamic_partition(f(tf, 2), [0, 3], 2)[0],
    "integer division by zero": lambda tf: tf.constant(1) // tf.constant(0),
    "negative power of an int": lambda tf: tf.constant(2) ** tf.constant(-1),
    "ensure_shape of another": lambda tf: tf.ensure_shape(f(tf, 2), [3]),
    "assert_equal of what differs": lambda tf: tf.assert_equal(1, 2),
    "assert_rank of another": lambda tf: tf.assert_rank(f(tf, 2), 2),
    "assert_type of another": lambda tf: tf.assert_type(f(tf, 2), "int32"),
    "check_numerics of a NaN": lambda tf: tf.check_numerics(f(tf, 2) / 0.0, "bad"),
    "bitcast to a size that does not fit": lambda tf: tf.bitcast(f(tf, 3), "float64"),
}

NETWORKS = {
    "conv2d of another number of channels": lambda tf: tf.nn.conv2d(
        f(tf, 1, 3, 3, 2), f(tf, 1, 1, 3, 1), [1, 1, 1, 1], "SAME"
    ),
    "conv2d of another rank": lambda tf: tf.nn.conv2d(f(tf, 3, 3, 2), f(tf, 1, 1, 2, 1), [1, 1, 1, 1], "SAME"),
    "conv2d with no such padding": lambda tf: tf.nn.conv2d(f(tf, 1, 3, 3, 1), f(tf, 1, 1, 1, 1), [1, 1, 1, 1], "MAYBE"),
    "conv2d with strides of 0": lambda tf: tf.nn.conv2d(f(tf, 1, 3, 3, 1), f(tf, 1, 1, 1, 1), [1, 0, 0, 1], "SAME"),
    "conv2d with strides over the batch": lambda tf: tf.nn.conv2d(
        f(tf, 1, 3, 3, 1), f(tf, 1, 1, 1, 1), [2, 1, 1, 1], "SAME"
    ),
    "conv2d with no such format": lambda tf: tf.nn.conv2d(
        f(tf, 1, 3, 3, 1), f(tf, 1, 1, 1, 1), [1, 1, 1, 1], "SAME", data_format="NWHC"
    ),
    "conv2d of a window beyond the image": lambda tf: tf.nn.conv2d(
        f(tf, 1, 3, 3, 1), f(tf, 4, 4, 1, 1), [1, 1, 1, 1], "VALID"
    ),
    "conv2d of a dilated window beyond the image": lambda tf: tf.nn.conv2d(
        f(tf, 1, 4, 4, 1), f(tf, 3, 3, 1, 1), [1, 1, 1, 1], "VALID", dilations=[1, 2, 2, 1]
    ),
    "conv1d of a window beyond the sequence": lambda tf: tf.nn.conv1d(f(tf, 1, 3, 1), f(tf, 4, 1, 1), 1, "VALID"),
    "conv3d of a window beyond the volume": lambda tf: tf.nn.conv3d(
        f(tf, 1, 3, 3, 3, 1), f(tf, 4, 1, 1, 1, 1), [1, 1, 1, 1, 1], "VALID"
    ),
    "depthwise_conv2d of a window beyond the image": lambda tf: tf.nn.depthwise_conv2d(
        f(tf, 1, 3, 3, 1), f(tf, 4, 4, 1, 1), [1, 1, 1, 1], "VALID"
    ),
    "separable_conv2d of a window beyond the image": lambda tf: tf.nn.separable_conv2d(
        f(tf, 1, 3, 3, 1), f(tf, 4, 4, 1, 1), f(tf, 1, 1, 1, 1), [1, 1, 1, 1], "VALID"
    ),
    "max_pool of a window beyond the image": lambda tf: tf.nn.max_pool(
        unfed(tf, shape=[None, 3, 3, 1]), [1, 4, 4, 1], [1, 2, 2, 1], "VALID"
    ),
    "avg_pool of a window beyond the image": lambda tf: tf.nn.avg_pool(
        f(tf, 1, 3, 3, 1), [1, 4, 4, 1], [1, 2, 2, 1], "VALID"
    ),
    "pool of a window beyond the image": lambda tf: tf.nn.pool(f(tf, 1, 3, 3, 1), [4, 4], "MAX", "VALID"),
    "layer of a window beyond the image": lambda tf: tf.layers.max_pooling2d(f(tf, 1, 3, 3, 1), 4, 4),
    "max_pool of a window beyond a fed image": fed(
        lambda tf, x: tf.nn.max_pool(x, [1, 4, 4, 1], [1, 2, 2, 1], "VALID"),
        np.zeros((1, 3, 3, 1)), shapes=[(None, None, None, 1)],
    ),
    "max_pool of another rank": lambda tf: tf.nn.max_pool(f(tf, 3, 3, 1), [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
    "bias_add of another size": lambda tf: tf.nn.bias_add(f(tf, 1, 3), f(tf, 2)),
    "bias_add of no vector": lambda tf: tf.nn.bias_add(f(tf, 1, 3), f(tf, 1, 3)),
    "softmax cross entropy of other shapes": lambda tf: tf.nn.softmax_cross_entropy_with_logits_v2(
        labels=f(tf, 2, 3), logits=f(tf, 2, 4)
    ),
    "sparse cross entropy of another number": lambda tf: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=[0, 1], logits=f(tf, 1, 3)
    ),
    "sigmoid cross entropy of other shapes": lambda tf: tf.nn.sigmoid_cross_entropy_with_logits(
        labels=f(tf, 2), logits=f(tf, 3)
    ),
    "loss of other shapes": lambda tf: tf.losses.mean_squared_error(f(tf, 2), f(tf, 3)),
    "loss with weights that do not fit": lambda tf: tf.losses.mean_squared_error(f(tf, 2), f(tf, 2), f(tf, 3)),
    "dropout of everything": lambda tf: tf.nn.dropout(f(tf, 2), keep_prob=0.0),
    "dropout rate above 1": lambda tf: tf.nn.dropout(f(tf, 2), rate=1.5),
    "dropout of an unsaid rate": lambda tf: tf.nn.dropout(f(tf, 2)),
    "dense layer of an unknown size": lambda tf: tf.layers.dense(unfed(tf, shape=[2, None]), 3),
    "conv2d layer of another rank": lambda tf: tf.layers.conv2d(f(tf, 2, 3), 3, 2),
    "conv2d layer with no such padding": lambda tf: tf.layers.conv2d(f(tf, 1, 3, 3, 1), 3, 2, padding="maybe"),
    "dense layer with no such activation": lambda tf: tf.layers.dense(f(tf, 2, 3), 3, activation="nonsense"),
    "dense layer with no such initializer": lambda tf: tf.layers.dense(f(tf, 2, 3), 3, kernel_initializer="nonsense"),
    "batch_normalization over an axis that is not there": lambda tf: tf.layers.batch_normalization(
        f(tf, 2, 3), axis=4
    ),
    "lstm of a state that is no pair": lambda tf: tf.nn.rnn_cell.LSTMCell(3)(f(tf, 2, 3), f(tf, 2, 3)),
    "dynamic_rnn without state and dtype": lambda tf: tf.nn.dynamic_rnn(tf.nn.rnn_cell.LSTMCell(3), f(tf, 2, 4, 3)),
    "static_rnn of a tensor": lambda tf: tf.nn.static_rnn(
        tf.nn.rnn_cell.BasicRNNCell(3), f(tf, 2, 4, 3), dtype="float32"
    ),
    "rnn with what is no cell": lambda tf: tf.nn.dynamic_rnn(object(), f(tf, 2, 4, 3), dtype="float32"),
    "moments over an axis that is not there": lambda tf: tf.nn.moments(f(tf, 2), [1]),
    "embedding_lookup out of range": lambda tf: tf.nn.embedding_lookup(f(tf, 3, 2), [3]),
    "in_top_k of another number": lambda tf: tf.nn.in_top_k(f(tf, 2, 3), [0], 1),
    "minimize without variables": lambda tf: tf.train.GradientDescentOptimizer(0.1).minimize(tf.constant(1.0)),
    "minimize of what depends on no variable": lambda tf: tf.train.GradientDescentOptimizer(0.1).minimize(
        tf.constant(1.0), var_list=[tf.get_variable("v", [2])]
    ),
    "apply of no gradients": lambda tf: tf.train.GradientDescentOptimizer(0.1).apply_gradients([]),
    "gradients of a string": lambda tf: tf.gradients("loss", [tf.constant(1.0)]),
    "grad_ys of another number": lambda tf: tf.gradients([f(tf, 2)], [f(tf, 2)], grad_ys=[None, None]),
    "saver without variables": lambda tf: tf.train.Saver(),
}

VARIABLES = {
    "variable made twice": scoped(("s", None), ("s", None)),
    "variable reused that is not there": scoped(("s", True)),
    "variable reused with another shape": scoped(("s", None), ("s", True), again=(3,)),
    "variable reused with another dtype": scoped(("s", None), ("s", True), dtype="int32"),
    "variable of no shape": lambda tf: tf.get_variable("v"),
    "variable of an unknown size": lambda tf: tf.get_variable("v", [None, 2]),
    "variable of a value and a shape": lambda tf: tf.get_variable("v", [2], initializer=tf.constant([1.0, 2.0])),
    "variable without a value": lambda tf: tf.Variable(),
    "variable_scope without a name": lambda tf: tf.variable_scope(None).__enter__(),
    "variable_scope of a number": lambda tf: tf.variable_scope(3).__enter__(),
    "name_scope of what is no name": lambda tf: tf.name_scope("a b").__enter__(),
    "operation of what is no name": lambda tf: tf.constant(1.0, name="a b"),
    "assign of another shape": lambda tf: tf.get_variable("v", [2]).assign([1.0, 2.0, 3.0]),
    "assign to a tensor": lambda tf: tf.assign(f(tf, 2), [1.0, 2.0]),
    "read of an uninitialised variable": uninitialised(lambda tf, v: v + 1.0),
    "assign_add to an uninitialised variable": uninitialised(lambda tf, v: v.assign_add([1.0, 1.0])),
    "scatter_add to an uninitialised variable": uninitialised(lambda tf, v: tf.scatter_add(v, [0], [1.0])),
    "count beyond the limit": lambda tf: tf.count_up_to(
        tf.get_variable("v", initializer=3, use_resource=False), 3
    ),
    "use of a finalized graph": finalized,
    "no such operation": lambda tf: tf.get_default_graph().get_operation_by_name("nothing"),
    "no such tensor": lambda tf: tf.get_default_graph().get_tensor_by_name("nothing:0"),
    "no such output": lambda tf: (f(tf, 2), tf.get_default_graph().get_tensor_by_name("zeros:5")),
    "a tensor's name without a number": lambda tf: tf.get_default_graph().get_tensor_by_name("nothing"),
    "a name that is a number": lambda tf: tf.get_default_graph().get_tensor_by_name(3),
}

SESSIONS = {
    "placeholder that is not fed": lambda tf: unfed(tf, shape=[2]) + 1.0,
    "fed another shape": fed(lambda tf, x: x, np.zeros(3), shapes=[(2,)]),
    "fed another rank": fed(lambda tf, x: x, np.zeros((2, 1)), shapes=[(2,)]),
    "fed a word": fed(lambda tf, x: x, "word", shapes=[()]),
    "fed ragged rows": fed(lambda tf, x: x, [[1.0], [1.0, 2.0]]),
    "fed a tensor": in_session(lambda tf, s, t: s.run(t, {t: tf.constant(1.0)})),
    "fed by a key that is none": in_session(lambda tf, s, t: s.run(t, {3: 1.0})),
    "fed by a name that is not there": in_session(lambda tf, s, t: s.run(t, {"nothing:0": 1.0})),
    "fed by an operation's name": in_session(lambda tf, s, t: s.run(t, {"nothing": 1.0})),
    "feeds that are no dictionary": in_session(lambda tf, s, t: s.run(t, [1.0])),
    "fetch of None": in_session(lambda tf, s, t: s.run(None)),
    "fetch of a number": in_session(lambda tf, s, t: s.run(3)),
    "fetch of a name that is not there": in_session(lambda tf, s, t: s.run("nothing:0")),
    "fetch of a missing gradient": in_session(lambda tf, s, t: s.run(tf.gradients(t, [tf.constant(1.0)]))),
    "fetch from another graph": of_other_graph(lambda tf, t: t),
    "feed of another graph": of_other_graph(lambda tf, t: Fed(tf.constant(1.0), {t: [1.0, 2.0]})),
    "operand of another graph": of_other_graph(lambda tf, t: f(tf, 2) + t),
    "control dependency of another graph": of_other_graph(after),
    "control dependency that is none": lambda tf: tf.control_dependencies([3.5j]).__enter__(),
    "run of a closed session": closed(lambda s, t: s.run(t)),
    "run of a closed session by name": closed(lambda s, t: s.run("Const:0")),
    "eval without a session": lambda tf: tf.constant(1.0).eval(),
    "run without a session": lambda tf: tf.no_op().run(),
    "feed that may not be fed": in_session(
        lambda tf, s, t: (tf.get_default_graph().prevent_feeding(t), s.run(t, {t: 1.0}))
    ),
    "fetch that may not be fetched": in_session(
        lambda tf, s, t: (tf.get_default_graph().prevent_fetching(t.op), s.run(t))
    ),
    "fed shapes that do not add": fed(lambda tf, x, y: x + y, np.zeros(2), np.zeros(3)),
    "fed shapes that do not multiply": fed(lambda tf, x, y: tf.matmul(x, y), np.zeros((2, 3)), np.zeros((2, 3))),
    "fed index out of range": fed(lambda tf, n: f(tf, 2)[n], 5, dtypes=["int32"], shapes=[()]),
    "fed sizes that do not reshape": fed(lambda tf, n: tf.reshape(f(tf, 4), n), [3], dtypes=["int32"], shapes=[(1,)]),
    "fed slice outside": fed(lambda tf, n: tf.slice(f(tf, 4), n, [3]), [2], dtypes=["int32"], shapes=[(1,)]),
    "fed permutation of none": fed(
        lambda tf, n: tf.transpose(f(tf, 2, 2), n), [0, 0], dtypes=["int32"], shapes=[(2,)]
    ),
    "fed a negative size": fed(lambda tf, n: tf.fill(n, 0.0), [-1], dtypes=["int32"], shapes=[(1,)]),
    "assertion that fails": lambda tf: tf.Assert(tf.constant(1) > 2, ["no"]),
    "loop that never was": lambda tf: tf.while_loop(lambda x: x < 3, lambda x: (x, x), [tf.constant(1)]),
    "loop whose shape changes": lambda tf: tf.while_loop(
        lambda x: tf.size(x) < 9, lambda x: tf.concat([x, x], 0), [f(tf, 1)]
    ),
    "cond of what cannot be called": lambda tf: tf.cond(tf.constant(True), 1, 2),
    "cond of structures that differ": lambda tf: tf.cond(
        tf.placeholder_with_default(True, []), lambda: [f(tf, 1)], lambda: [f(tf, 1), f(tf, 1)]
    ),
    "case of no pairs": lambda tf: tf.case([f(tf, 1)]),
    "py_func that raises KeyError": lambda tf: tf.py_func(raiser(KeyError), [], "float32"),
    "py_func that raises ValueError": lambda tf: tf.py_func(raiser(ValueError), [], "float32"),
    "py_func that raises TypeError": lambda tf: tf.py_func(raiser(TypeError), [], "float32"),
    "py_func at the end of an iterator": lambda tf: tf.py_func(raiser(StopIteration), [], "float32"),
    "py_func without memory": lambda tf: tf.py_func(raiser(MemoryError), [], "float32"),
    "py_func that is to come": lambda tf: tf.py_func(raiser(NotImplementedError), [], "float32"),
    "py_func of another number": lambda tf: tf.py_func(lambda: (1.0, 2.0), [], ["float32"]),
    "TensorArray read outside": lambda tf: tf.TensorArray("float32", 2).read(5),
    "TensorArray written twice": lambda tf: tf.TensorArray("float32", 2).write(0, 1.0).write(0, 1.0).stack(),
    "TensorArray of another dtype": lambda tf: tf.TensorArray("float32", 2).write(0, tf.constant(1)),
    "no such gradient": lambda tf: tf.gradients(
        with_gradient(tf, lambda: tf.sign(tf.constant(1.0)), "Nothing"), [tf.constant(1.0)]
    ),
    "argument that is not there": lambda tf: tf.tanh(f(tf, 2), axis=1),
    "argument that is missing": lambda tf: tf.add(f(tf, 2)),
    "too many arguments": lambda tf: tf.add(f(tf, 2), f(tf, 2), "sum", 3),
    "checkpoint that is not there": in_session(
        lambda tf, s, v: tf.train.Saver().restore(s, "/nowhere/at/all"), lambda tf: tf.get_variable("v", [2])
    ),
    "restore of None": in_session(
        lambda tf, s, v: tf.train.Saver().restore(s, None), lambda tf: tf.get_variable("v", [2])
    ),
    "file that is not there": lambda tf: tf.gfile.GFile("/nowhere/at/all").read(),
    "sparse placeholder fed an array": lambda tf: (
        lambda sp: Fed(sp, {sp: np.zeros(3)})
    )(tf.sparse_placeholder("float32")),
    "sparse indices out of range": lambda tf: tf.sparse_tensor_to_dense(tf.SparseTensor([[5]], [1.0], [3])),
    "sparse values of another number": lambda tf: tf.sparse_tensor_to_dense(tf.SparseTensor([[0]], [1.0, 2.0], [3])),
    "dense for a sparse tensor": lambda tf: tf.sparse_tensor_to_dense(f(tf, 2)),
}


def with_gradient(tf, build, name):
    """What ``build`` makes, with the registered gradient ``name``."""
    with tf.get_default_graph().gradient_override_map({"Sign": name}):
        return build()


FAMILIES = {"dtypes": DTYPES, "shapes": SHAPES, "networks": NETWORKS, "variables": VARIABLES, "sessions": SESSIONS}
FAULTS = {f"{family}: {name}": fault for family, faults in FAMILIES.items() for name, fault in faults.items()}
