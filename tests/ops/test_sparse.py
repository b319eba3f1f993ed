"""Sparse tensors are fed and fetched in three parts; CTC trains; what does not fit is refused with its place."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paraflow as pf
from paraflow.errors import GraphError, InvalidArgumentError

VALUE = pf.SparseTensorValue(np.array([[0, 1], [1, 0], [1, 2]]), np.array([1, 2, 3], "f"), np.array([2, 3]))
DENSE = [[0, 1, 0], [2, 0, 3]]


def run(fetches, feeds=None):
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return session.run(fetches, feeds)


def test_a_sparse_tensor_is_fed_and_fetched_in_three_parts(graph):
    x = pf.sparse_placeholder(pf.float32, [None, 3])
    dense = pf.sparse_tensor_to_dense(x)
    for fed in (VALUE, tuple(VALUE), ([[0, 1], [1, 0], [1, 2]], [1.0, 2.0, 3.0], [2, 3])):
        found, whole = run([x, dense], {x: fed})
        assert isinstance(found, pf.SparseTensorValue)
        assert [part.tolist() for part in found] == [part.tolist() for part in VALUE]
        assert whole.tolist() == DENSE
    assert (x.shape.as_list(), x.dtype, x.graph) == ([None, None], pf.float32, graph)
    constant = pf.SparseTensor(*VALUE)
    assert constant.shape.as_list() == [2, 3]
    ints = run(pf.to_int32(constant))
    assert (ints.values.dtype, ints.indices.tolist()) == (np.int32, VALUE.indices.tolist())


def test_what_is_no_sparse_tensor_is_refused(graph):
    x = pf.sparse_placeholder(pf.float32)
    with pytest.raises(InvalidArgumentError, match=r"SparseTensorValue or a tuple \(indices, values, dense_shape\)"):
        run(x, {x: np.zeros((2, 3))})
    with pytest.raises(GraphError, match=r"indices \[n, rank\].*test_sparse\.py"):
        pf.SparseTensor([1, 2], [1.0, 2.0], [3])
    with pytest.raises(GraphError, match="dense_shape of a SparseTensor are int64, not float32"):
        pf.SparseTensor([[1]], [1.0], pf.constant([3.0]))
    with pytest.raises(TypeError, match=r"labels is a SparseTensor.*test_sparse\.py"):
        pf.nn.ctc_loss(pf.constant([[1]]), np.zeros((4, 1, 3), "f"), [4])
    ordered = pf.sparse_tensor_to_dense(x)
    with pytest.raises(InvalidArgumentError, match=r"index \[0, 1\] comes after \[1, 0\].*sparse_reorder"):
        run(ordered, {x: ([[1, 0], [0, 1]], [1.0, 2.0], [2, 3])})
    with pytest.raises(InvalidArgumentError, match=r"index \[1, 3\] is outside of the dense_shape \(2, 3\)"):
        run(ordered, {x: ([[1, 3]], [1.0], [2, 3])})


def test_parts_of_a_sparse_tensor_count_no_samples(graph):
    """A batch of 2 samples with 3 elements: a step that averages over ranks has 2."""
    x, y = pf.sparse_placeholder(pf.float32), pf.placeholder(pf.float32, (None, 1))
    w = pf.Variable(pf.zeros([3, 1]))
    loss = pf.reduce_mean(pf.square(pf.sparse_tensor_dense_matmul(x, w) - y))
    step = pf.train.GradientDescentOptimizer(0.1).minimize(loss)
    with pf.Session(strategy=pf.parallel.AllReduce()) as session:
        session.run(pf.global_variables_initializer())
        losses = [session.run([loss, step], {x: VALUE, y: [[1.0], [5.0]]})[0] for _ in range(60)]
    assert losses[-1] < 1e-3 < losses[0]


def test_ctc_learns_to_say_labels_and_the_decoders_read_them(graph):
    x = pf.Variable(pf.random_normal([7, 2, 4], seed=1))
    labels = pf.SparseTensor([[0, 0], [0, 1], [0, 2], [1, 0]], [2, 0, 0, 1], [2, 3])
    loss = pf.reduce_mean(pf.nn.ctc_loss(labels, x, [7, 5]))
    step = pf.train.AdamOptimizer(0.3).minimize(loss)
    (greedy,), _ = pf.nn.ctc_greedy_decoder(x, [7, 5])
    (beam,), log_p = pf.nn.ctc_beam_search_decoder(x, [7, 5], merge_repeated=False)
    errors = [pf.edit_distance(pf.cast(found, pf.int32), labels) for found in (greedy, beam)]
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for _ in range(80):
            session.run(step)
        assert [e.tolist() for e in session.run(errors)] == [[0, 0], [0, 0]]
        np.testing.assert_allclose(-session.run(log_p).mean(), session.run(loss), rtol=1e-4)


@pytest.mark.parametrize(
    ("labels", "lengths", "message"),
    [
        ([3, 1], [4], r"labels of sequence 0 are \[3, 1\]: they lie in \[0, 3\)"),
        ([1, 2], [1], "sequence 0 has 2 labels, but only 1 time steps; set ignore_longer_outputs"),
        ([1, 2], [5], r"sequence_length\[0\] is 5, but inputs have 4 time steps"),
    ],
)
def test_labels_that_do_not_fit_are_errors_of_the_run(graph, labels, lengths, message):
    sp = pf.SparseTensor([[0, 0], [0, 1]], labels, [1, 2])
    loss = pf.nn.ctc_loss(sp, np.zeros((4, 1, 4), "f"), lengths)
    with pytest.raises(InvalidArgumentError, match=message):
        run(loss)


def test_what_ctc_refuses_when_the_graph_is_built(graph):
    x = pf.placeholder(pf.float32, (4, 2, 3))
    sp = pf.SparseTensor([[0, 0], [1, 0]], [0, 1], [2, 1])
    with pytest.raises(GraphError, match=r"there are 2 sequences, and \(3,\) lengths"):
        pf.nn.ctc_loss(sp, x, [4, 4, 4])
    with pytest.raises(GraphError, match="5 paths of a beam of 4"):
        pf.nn.ctc_beam_search_decoder(x, [4, 4], 4, 5)
    with pytest.raises(GraphError, match="one of inputs and logits"):
        pf.nn.ctc_loss(sp, None, [4, 4])
    slope = pf.gradients(pf.nn.ctc_loss(sp, x, [4, 4]), x)[0]
    with pytest.raises(GraphError, match=r"ctc_loss has no second derivative.*test_sparse\.py"):
        pf.gradients(slope, x)
    with pytest.raises(GraphError, match="edit_distance of int32 and float32"):
        pf.edit_distance(sp, pf.cast(sp, pf.float32))


def test_a_beam_that_is_too_narrow_says_so(graph):
    decoded, _ = pf.nn.ctc_beam_search_decoder(np.zeros((1, 1, 2), "f"), [1], 5, 4)
    with pytest.raises(InvalidArgumentError, match="only 2 paths, not top_paths = 4"):
        run(decoded[0])


def test_bags_of_ids_train_the_rows_that_they_name(graph):
    table = pf.Variable(pf.zeros([5, 2]))
    ids = pf.SparseTensor([[0, 0], [0, 1], [1, 0]], np.array([1, 3, 3]), [2, 2])
    mean = pf.nn.embedding_lookup_sparse(table, ids, None)
    slope = pf.gradients(pf.reduce_sum(mean), table)[0]
    assert isinstance(slope, pf.IndexedSlices)
    found = run(pf.convert_to_tensor(slope))
    np.testing.assert_allclose(found, [[0, 0], [0.5, 0.5], [0, 0], [1.5, 1.5], [0, 0]])
    with pytest.raises(GraphError, match="combiner is one of mean, sqrtn, sum, not 'max'"):
        pf.nn.embedding_lookup_sparse(table, ids, None, combiner="max")


# -- what becomes of a sparse tensor becomes of the dense one ---------------------------------------------------------


SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=3)


@st.composite
def arrays(draw, shapes=SHAPES, like=None):
    """A tensor of which many elements are 0, and no two of the others are equal."""
    shape = like.shape if like is not None else tuple(draw(shapes))
    there = draw(st.lists(st.booleans(), min_size=math.prod(shape), max_size=math.prod(shape)))
    numbers = draw(st.permutations([*range(-math.prod(shape), 0), *range(1, 1 + math.prod(shape))]))[: math.prod(shape)]
    return (np.array(there) * np.array(numbers)).reshape(shape).astype("f")


def sparse(array):
    at = np.argwhere(array)
    return pf.SparseTensor(at, array[tuple(at.T)], array.shape)


def dense(sp):
    """The dense tensor of a sparse one, whose indices come in row-major order."""
    return pf.sparse_tensor_to_dense(sp)


def equal(graph, pairs):
    """Each of ``pairs`` is what is found, a sparse tensor or a dense one, and what is expected."""
    found = [dense(x) if isinstance(x, pf.SparseTensor) else x for x, _ in pairs]
    with pf.Session(graph=graph) as session:
        for actual, (_, expected) in zip(session.run(found), pairs, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-6)


@given(st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_sparse_tensor_is_moved_cut_and_joined_as_a_dense_one_is(data):
    a = data.draw(arrays())
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    b = data.draw(arrays(shapes=st.just([n + (i == axis % a.ndim) for i, n in enumerate(a.shape)])))
    start = [data.draw(st.integers(0, n)) for n in a.shape]
    size = [data.draw(st.integers(0, n + 1)) for n in a.shape]
    parts = data.draw(st.integers(1, a.shape[axis]))
    order = data.draw(st.permutations(range(a.ndim)))
    with pf.Graph().as_default() as graph:
        x = sparse(a)
        block = a[tuple(slice(i, i + n) for i, n in zip(start, size, strict=True))]
        cut = pf.sparse_split(sp_input=x, num_split=parts, axis=axis)
        equal(graph, [
            (pf.sparse_slice(x, start, size), block),
            (pf.sparse_concat(axis, [x, sparse(b), x]), np.concatenate([a, b, a], axis)),
            *zip(cut, np.array_split(a, parts, axis), strict=True),
            (pf.sparse_concat(axis, cut), a),
            (pf.sparse_transpose(x, order), a.transpose(order)),
            (pf.sparse_reshape(x, [-1, a.shape[-1], 1]), a.reshape(-1, a.shape[-1], 1)),
            (pf.sparse.expand_dims(x, axis), np.expand_dims(a, axis)),
            (pf.sparse_reset_shape(x, [n + 1 for n in a.shape]), np.pad(a, [(0, 1)] * a.ndim)),
            (pf.sparse.from_dense(a), a),
        ])  # fmt: skip


@given(st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_sparse_tensor_is_computed_with_as_a_dense_one_is(data):
    a = data.draw(arrays())
    b = data.draw(arrays(like=a))
    axis = data.draw(st.sampled_from([None, *range(a.ndim), *([i, j] for i in range(a.ndim) for j in range(i))]))
    keep = data.draw(st.booleans())
    axes = tuple(axis) if isinstance(axis, list) else axis
    there = np.where(a == 0, -np.inf, a)
    largest = there.max(axes, keepdims=keep)
    shares = np.where(a == 0, 0, np.exp(a - a.max(-1, keepdims=True)))
    with pf.Graph().as_default() as graph:
        x, y = sparse(a), sparse(b)
        equal(graph, [
            (pf.sparse_add(x, y), a + b),
            (pf.sparse_add(x, pf.constant(b)), a + b),
            (pf.sparse_maximum(x, y), np.maximum(a, b)),
            (pf.sparse_minimum(x, y), np.minimum(a, b)),
            (x * pf.constant(b[0]), a * b[0]),
            (pf.sparse_reduce_sum(x, axis, keep), a.sum(axes, keepdims=keep)),
            (pf.sparse_reduce_max(x, axis, keep), np.where(np.isinf(largest), 0, largest)),
            (pf.sparse_softmax(x), shares / np.where(shares.any(-1), shares.sum(-1), 1)[..., None]),
        ])  # fmt: skip
        if axis is not None and (keep or np.ndim(largest)):
            equal(graph, [(pf.sparse_reduce_sum_sparse(x, axis, keep), a.sum(axes, keepdims=keep)),
                          (pf.sparse_reduce_max_sparse(x, axis, keep), np.where(np.isinf(largest), 0, largest))])


def test_gradients_go_to_the_values_that_were_taken(graph):
    """Also where TensorFlow has none: of parts, joins and extremes."""
    values = pf.constant([1.0, 5.0, 3.0])
    x = pf.SparseTensor(VALUE.indices, values, [2, 3])
    loss = {
        "joined": pf.reduce_sum(pf.square(dense(pf.sparse_concat(1, [x, x])))),
        "a part": pf.reduce_sum(pf.square(dense(pf.sparse_split(sp_input=x, num_split=2, axis=0)[1]))),
        "the larger": pf.reduce_sum(dense(pf.sparse_maximum(x, pf.SparseTensor([[1, 0]], [7.0], [2, 3])))),
        "largest of rows": pf.reduce_sum(pf.sparse_reduce_max(x, 1)),
    }
    found = run({name: pf.gradients(y, values)[0] for name, y in loss.items()})
    assert {name: slope.tolist() for name, slope in found.items()} == {
        "joined": [4, 20, 12], "a part": [0, 10, 6], "the larger": [1, 0, 1], "largest of rows": [1, 1, 0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: pf.sparse_reshape(x, [4, -1]), r"6 elements cannot be reshaped to \[4, -1\]"),
        (lambda x: pf.sparse_slice(x, [0], [1]), "indices and shapes are of one rank, not of 1 and 2"),
        (lambda x: pf.sparse_slice(x, [0, -1], [1, 1]), r"the start \[0, -1\] has a negative number"),
        (lambda x: pf.sparse_split(sp_input=x, num_split=4, axis=1), "axis 1 of size 3 is not cut into 4 parts"),
        (lambda x: pf.sparse_concat(0, [x, pf.sparse_transpose(x)]), r"shapes \(2, 3\), \(3, 2\) differ in more"),
        (lambda x: pf.sparse_add(x, pf.sparse_transpose(x)), r"different shapes: \(2, 3\) and \(3, 2\)"),
        (lambda x: pf.sparse_add(x, np.zeros((2, 2), "f")), r"tensor \[2, 3\] that shape is needed, not \[2, 2\]"),
        (lambda x: pf.sparse_reset_shape(x, [2, 2]), r"nowhere smaller is needed, not \[2, 2\]"),
        (lambda x: pf.sparse_reduce_max(x, 2), "sparse_reduce_max: axis 2 is out of range"),
        (lambda x: pf.sparse_softmax(pf.sparse_reduce_sum_sparse(x, 0)), r"needs two axes or more, not \(3,\)"),
        (lambda x: pf.sparse_matmul(pf.zeros([2, 2], pf.float64), pf.zeros([2, 2])), "not float64 and float32"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(graph, function, message):
    with pytest.raises((GraphError, InvalidArgumentError), match=rf"{message}|test_sparse\.py.*{message}"):
        function(pf.SparseTensor(*VALUE))


def test_what_does_not_fit_what_is_fed_is_an_error_of_the_run(graph):
    x, size = pf.sparse_placeholder(pf.float32, [None, None]), pf.placeholder(pf.int64, [2])
    for y, message in (
        (pf.sparse_reshape(x, size), "6 elements cannot be reshaped"),
        (pf.sparse_reset_shape(x, size), "nowhere smaller is needed"),
        (pf.sparse_add(x, pf.SparseTensor([[0, 0]], [1.0], size)), "different shapes"),
        (pf.sparse_to_indicator(x, 3), r"index \[1, 3\] is outside"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            run(y, {x: VALUE, size: [1, 4]})
    with pytest.raises(TypeError, match="sp_input is a SparseTensor"):
        pf.sparse_softmax(pf.constant([[1.0]]))
    with pytest.raises(RuntimeError, match="the sparse tensor is float32, not int32"):
        pf.convert_to_tensor_or_sparse_tensor(x, pf.int32)


def test_an_empty_sparse_tensor_is_as_good_as_any(graph):
    x = pf.SparseTensor(np.zeros((0, 2), int), np.zeros(0, "f"), [2, 3])
    filled, empty = pf.sparse_fill_empty_rows(x, 9)
    sums = pf.sparse_reduce_max(x, 1), pf.sparse_reduce_max(x), dense(pf.sparse_reset_shape(x))
    whole, flags, rows, highest, box, softmax = run([dense(filled), empty, *sums, dense(pf.sparse_softmax(x))])
    assert (whole.tolist(), flags.tolist()) == ([[9, 0, 0], [9, 0, 0]], [True, True])
    assert (rows.tolist(), highest, box.shape, softmax.any()) == ([0, 0], 0, (0, 0), False)
