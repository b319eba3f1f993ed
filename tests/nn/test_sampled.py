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


def runs(candidates, times=2):
    """What a session draws: (classes, expected counts of true classes, of drawn ones)."""
    with pf.Session() as session:
        return [session.run(candidates) for _ in range(times)]


def test_classes_are_drawn_by_their_counts_as_tensorflow_draws_them(graph, tmp_path):
    """Values of TensorFlow 2.21, tf.compat.v1."""
    counts, more = [5.0, 1.0, 3.0, 2.0, 10.0, 4.0], {"distortion": 0.75, "num_reserved_ids": 1, "seed": 3}
    fixed = pf.nn.fixed_unigram_candidate_sampler
    (first, true_count, drawn_count), (second, _, _) = runs(fixed(TRUE, 2, 5, True, 7, unigrams=counts, **more))
    assert (first.tolist(), second.tolist()) == ([3, 1, 5, 4, 2], [1, 4, 3, 6, 5])
    np.testing.assert_allclose(true_count, [[0, 0.58410978], [0.30870721, 0.73695517]], rtol=1e-6)
    np.testing.assert_allclose(drawn_count[:3], [0.58410978, 0.73695517, 0.91397583], rtol=1e-6)
    file = tmp_path / "words.csv"
    file.write_text("".join(f"word,{n}\n" for n in counts))
    assert runs(fixed(TRUE, 2, 5, True, 7, str(file), **more))[1][0].tolist() == second.tolist()
    shard = fixed(TRUE % 3, 2, 3, False, 3, unigrams=[5.0, 1.0, 3.0, 2.0, 8.0], seed=5, num_shards=2)
    assert [classes.tolist() for classes, _, _ in runs(shard)] == [[2, 2, 2], [1, 1, 0]]


def test_classes_are_drawn_by_what_was_true_before_as_tensorflow_draws_them(graph):
    learned = pf.nn.learned_unigram_candidate_sampler
    again = runs(learned(TRUE, 2, 5, False, 7, seed=3), 3)
    assert [drawn.tolist() for drawn, _, _ in again] == [[1, 3, 5, 5, 6], [0, 3, 1, 0, 5], [6, 2, 3, 3, 0]]
    np.testing.assert_allclose([true[0, 0] for _, true, _ in again], [5 / 7, 10 / 11, 1.0], rtol=1e-6)
    other = runs(learned(TRUE, 2, 5, True, 8, seed=3), 3)
    assert [drawn.tolist() for drawn, _, _ in other] == [[7, 4, 0, 1, 5], [3, 0, 2, 4, 1], [2, 3, 4, 5, 0]]
    np.testing.assert_allclose(other[0][1], np.full((2, 2), 0.73692441), rtol=1e-6)
    np.testing.assert_allclose(other[1][2], [0.83333337, 0.83333337, 0.83333337, 0.41666669, 0.83333337], rtol=1e-6)


@pytest.mark.parametrize("unique", [True, False])
def test_shares_of_weighted_classes_are_their_weights(graph, unique):
    weights = np.array([5.0, 1.0, 0.0, 2.0, 8.0])
    draws = runs(pf.nn.fixed_unigram_candidate_sampler(TRUE, 2, 1, unique, 5, unigrams=weights.tolist(), seed=2), 4000)
    shares = np.bincount(np.concatenate([drawn for drawn, _, _ in draws]), minlength=5) / 4000
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.03)


def test_all_candidates_are_expected_once(graph):
    ((drawn, true_count, drawn_count),) = runs(pf.nn.all_candidate_sampler(TRUE, 2, 5, True), 1)
    assert (drawn.tolist(), drawn.dtype) == ([0, 1, 2, 3, 4], np.int64)
    assert (true_count.tolist(), drawn_count.tolist()) == ([[1, 1], [1, 1]], [1] * 5)


def test_accidental_hits_are_tensorflows(graph):
    rows, places, weights = runs(pf.nn.compute_accidental_hits([[1, 4], [0, 0], [7, 2]], [2, 0, 4, 2, 9], 2), 1)[0]
    assert (rows.tolist(), places.tolist(), rows.dtype, places.dtype) == (
        [0, 1, 1, 2], [2, 1, 1, 3], np.int32, np.int64)  # fmt: skip
    assert (weights == np.finfo(np.float32).min).all()


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
    with pytest.raises(GraphError, match="range_max is 3, but there are 2 weights"):
        pf.nn.fixed_unigram_candidate_sampler(TRUE, 2, 1, True, 3, unigrams=[1.0, 2.0])
    with pytest.raises(GraphError, match="one of vocab_file and unigrams"):
        pf.nn.fixed_unigram_candidate_sampler(TRUE, 2, 1, True, 3)
    with pytest.raises(GraphError, match="num_true is 1"):
        pf.nn.compute_accidental_hits(TRUE, [1, 2], 1)
    few = pf.nn.fixed_unigram_candidate_sampler(TRUE, 2, 2, True, 3, unigrams=[1.0, 0.0, 0.0])
    with pytest.raises(pf.errors.InvalidArgumentError, match="no 2 different classes with a weight above 0"):
        runs(few)
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
