"""Sparse tensors are fed and fetched in three parts; CTC trains; what does not fit is refused with its place."""

import numpy as np
import pytest

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
