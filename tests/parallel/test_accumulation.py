"""Accumulation of gradients over several runs, on one rank."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import solo
from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.parallel import AllReduce

pytestmark = pytest.mark.usefixtures("graph")


def accumulating(count, **options):
    return pf.Session(strategy=AllReduce(solo(), accumulate=count), **options)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_last_run_applies_the_mean_over_all_samples(threads):
    x = pf.placeholder(pf.float64, (None,))
    w = pf.Variable(np.float64(0))
    step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(x) * w)
    with accumulating(3, threads=threads) as session:
        session.run(pf.global_variables_initializer())
        seen = []
        for values in ([1.0, 2.0, 6.0], [], [11.0], [4.0], [4.0], [7.0]):
            session.run(step, {x: values})
            seen.append(float(session.run(w)))
    assert seen == [0, 0, -5.0, -5.0, -5.0, -10.0]


def test_each_training_step_has_sums_of_its_own():
    x = pf.placeholder(pf.float64, (None,))
    w, v = pf.Variable(np.float64(0)), pf.Variable(np.float64(0))
    first = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(x) * w, var_list=[w])
    second = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(x) * (v - w), var_list=[v])
    with accumulating(2) as session:
        session.run(pf.global_variables_initializer())
        for step, value in ((first, 1.0), (second, 10.0), (first, 2.0), (second, 30.0)):
            session.run(step, {x: [value]})
        assert session.run([w, v]) == [-1.5, -20.0]


def test_the_norm_is_clipped_after_all_are_added_up():
    x = pf.placeholder(pf.float64, (None, 2))
    w = pf.Variable(np.zeros(2))
    optimizer = pf.train.GradientDescentOptimizer(1.0)
    ((gradient, _),) = optimizer.compute_gradients(pf.reduce_mean(pf.reduce_sum(x * w, axis=1)))
    (clipped,), _ = pf.clip_by_global_norm([gradient], 1.0)
    step = optimizer.apply_gradients([(clipped, w)])
    with accumulating(2) as session:
        session.run(pf.global_variables_initializer())
        session.run(step, {x: [[30.0, 0.0]]})
        session.run(step, {x: [[-24.0, 8.0]]})
        np.testing.assert_allclose(session.run(w), [-0.6, -0.8], rtol=1e-14)


def test_dropout_is_drawn_anew_in_each_micro_batch():
    x = pf.placeholder(pf.float64, (None, 50))
    w = pf.Variable(np.zeros(50))
    kept = pf.nn.dropout(x, rate=0.5)
    step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(pf.reduce_sum(kept * w, axis=1)))
    with accumulating(2) as session:
        session.run(pf.global_variables_initializer())
        first, _ = session.run([kept, step], {x: np.ones((1, 50))})
        second, _ = session.run([kept, step], {x: np.ones((1, 50))})
        assert (first != second).any()
        np.testing.assert_allclose(session.run(w), -(first[0] + second[0]) / 2)


def test_what_depends_on_exchanged_gradients_cannot_be_fetched():
    x = pf.placeholder(pf.float64, (None,))
    w = pf.Variable(np.float64(0))
    optimizer = pf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(pf.reduce_mean(x) * w)
    step = optimizer.apply_gradients(pairs)
    doubled = pf.multiply(pairs[0][0], 2.0, name="doubled")
    with accumulating(2) as session:
        session.run(pf.global_variables_initializer())
        with pytest.raises(GraphError, match=r"'doubled.*only the last micro-batch"):
            session.run([step, doubled], {x: [1.0]})


def after(runs, count=3):
    """A session in which a training step has run so often, ``count`` for an update."""
    x = pf.placeholder(pf.float64, (None,))
    w = pf.Variable(np.float64(0))
    step = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_mean(x) * w)
    session = accumulating(count)
    session.run(pf.global_variables_initializer())
    for _ in range(runs):
        session.run(step, {x: [1.0]})
    return session


def end(session, error=None):
    with session:
        if error is not None:
            raise error


@pytest.mark.parametrize(("runs", "lost"), [(4, "1 batch"), (5, "2 batches")])
@pytest.mark.parametrize("way", [pf.Session.close, end])
def test_a_session_warns_of_gradients_that_its_end_loses(runs, lost, way):
    session = after(runs)
    with pytest.warns(RuntimeWarning, match=f"the gradients of {lost} added up and not applied, as accumulate = 3"):
        way(session)
    session.close()  # it has been told: a second warning would be an error


def test_a_session_warns_of_nothing_after_whole_updates_or_an_error():  # warnings are errors
    end(after(6))
    with pytest.raises(KeyError, match="of the program"):
        end(after(1), KeyError("of the program"))


def test_accumulate_has_to_be_positive():
    with pytest.raises(InvalidArgumentError, match="accumulate must be at least 1, not 0"):
        AllReduce(solo(), accumulate=0)
