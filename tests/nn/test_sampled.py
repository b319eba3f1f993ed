"""Candidate samplers draw TensorFlow's classes run after run; losses over sampled classes train embeddings by rows."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError

TRUE = np.array([[0, 3], [2, 1]])
# TensorFlow 2.21, tf.compat.v1: the classes of two runs.
DRAWN = [
    ("log_uniform", True, 20, 3, [0, 10, 6, 2, 9], [7, 0, 3, 1, 8]),
    ("log_uniform", False, 1000, 5, [1, 39, 129, 106, 0, 51], [108, 10, 38, 2, 533, 6]),
    ("uniform", False, 1000, 5, [135, 8, 416, 361, 200, 945], [961, 280, 327, 810, 791, 30]),
    ("uniform", True, 16, 9, [9, 11, 13, 6, 12, 15, 1], [8, 0, 5, 7, 6, 15, 12]),
]


def sampler(kind):
    return getattr(pf.nn, f"{kind}_candidate_sampler")


@pytest.mark.parametrize(("kind", "unique", "classes", "seed", "first", "second"), DRAWN)
def test_two_runs_draw_tensorflows_classes(graph, kind, unique, classes, seed, first, second):
    drawn = sampler(kind)(TRUE, 2, len(first), unique, classes, seed=seed)[0]
    with pf.Session() as session:
        assert [session.run(drawn).tolist() for _ in range(2)] == [first, second]


@pytest.mark.parametrize("kind", ["log_uniform", "uniform"])
def test_expected_counts_are_those_of_many_draws(graph, kind):
    drawn, true_count, drawn_count = sampler(kind)(TRUE, 2, 4, False, 10, seed=1)
    counts = np.zeros(10)
    with pf.Session() as session:
        for _ in range(2000):
            classes, expected, of_drawn = session.run([drawn, true_count, drawn_count])
            counts += np.bincount(classes, minlength=10)
            np.testing.assert_allclose(of_drawn[classes == 3], expected[0, 1])
    np.testing.assert_allclose(counts[TRUE] / 2000, expected, rtol=0.1)


def test_what_samplers_refuse(graph):
    with pytest.raises(GraphError, match=r"test_sampled\.py.*11 different classes cannot be drawn of 10"):
        sampler("uniform")(TRUE, 2, 11, True, 10)
    with pytest.raises(GraphError, match="num_true is 1, but there are 2"):
        sampler("uniform")(TRUE, 1, 5, True, 10)
    with pytest.raises(GraphError, match="integers, not float32"):
        sampler("uniform")(TRUE.astype(np.float32), 2, 5, True, 10)


@pytest.mark.parametrize("loss", [pf.nn.nce_loss, pf.nn.sampled_softmax_loss])
def test_a_loss_over_sampled_classes_trains_rows(graph, loss):
    pf.set_random_seed(4)
    words = pf.placeholder(pf.int64, (None,))
    table = pf.Variable(pf.random_normal([50, 8]))
    weights, biases = pf.Variable(pf.zeros([50, 8])), pf.Variable(pf.zeros([50]))
    each = loss(weights, biases, pf.reshape(words, [-1, 1]), pf.nn.embedding_lookup(table, words), 10, 50)
    assert each.shape.as_list() == [None]
    mean = pf.reduce_mean(each)
    found = pf.gradients(mean, [table, weights, biases])
    assert all(isinstance(g, pf.IndexedSlices) for g in found)
    step = pf.train.AdamOptimizer(0.05).minimize(mean)
    # Which class goes with which word is learnt: the full scores say so.
    best = pf.argmax(pf.matmul(table, weights, transpose_b=True) + biases, 1)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for _ in range(200):
            session.run(step, {words: np.arange(50)})
        assert np.mean(session.run(best) == np.arange(50)) > 0.95
