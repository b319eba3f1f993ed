"""Which reductions are done slice by slice, and which are left as they are."""

from collections import Counter

import numpy as np
import pytest

import paraflow as pf

pytestmark = pytest.mark.usefixtures("graph")


def steps(fetches, feeds=None):
    """How often each kind of step is in the plan of a session without ranks."""
    with pf.Session() as session:
        return Counter(step.record.name for step in session.plan(fetches, feeds).steps)


def variables(count=3):
    return [pf.Variable(np.ones((4, 5)) * (i + 1), name=f"v{i}") for i in range(count)]


def pairs_of(optimizer, several):
    return optimizer.compute_gradients(pf.add_n([pf.reduce_sum(pf.square(v)) for v in several]))


@pytest.mark.parametrize("optimizer", [pf.train.LARSOptimizer(0.1), pf.train.LAMBOptimizer(0.1)])
def test_all_norms_of_layers_are_reduced_in_one_step(optimizer):
    found = steps(optimizer.apply_gradients(pairs_of(optimizer, variables())))
    assert (found["reduce_slices"], found["combine_slices"], found["reduce_sum"]) == (1, 1, 0)
    assert found["update"] == 1


def test_clipping_comes_before_the_norms_of_what_it_clips():
    optimizer = pf.train.LAMBOptimizer(0.1)
    pairs = pairs_of(optimizer, variables())
    clipped, _ = pf.clip_by_global_norm([g for g, _ in pairs], 1.0)
    found = steps(optimizer.apply_gradients([(g, v) for g, (_, v) in zip(clipped, pairs, strict=True)]))
    assert (found["reduce_slices"], found["combine_slices"], found["reduce_sum"]) == (2, 2, 0)


def test_what_is_only_fetched_is_reduced_whole():
    optimizer = pf.train.AdamOptimizer(0.1)
    pairs = pairs_of(optimizer, variables())
    norm = pf.global_norm([g for g, _ in pairs])
    found = steps([optimizer.apply_gradients(pairs), norm])
    assert (found["reduce_slices"], found["reduce_sum"], found["update"]) == (0, 3, 1)


def test_a_norm_in_the_loss_is_no_part_of_the_update():
    (w,) = variables(1)
    loss = pf.sqrt(pf.reduce_sum(pf.square(w)))
    found = steps([pf.train.MomentumOptimizer(0.1, 0.9).minimize(loss), loss])
    assert (found["reduce_slices"], found["reduce_sum"]) == (0, 1)


def test_a_norm_of_two_variables_together_is_reduced_whole():
    w, v = variables(2)
    optimizer = pf.train.GradientDescentOptimizer(0.1)
    pairs = pairs_of(optimizer, [w, v])
    inner = pf.reduce_sum(pairs[0][0] * pairs[1][0])
    found = steps(optimizer.apply_gradients([(g / inner, v) for g, v in pairs]))
    assert (found["reduce_slices"], found["reduce_sum"]) == (0, 1)


def test_a_variable_that_changes_before_its_norm_is_taken():
    """What stands between falls back to whole norms, and gives the values of the program's order."""
    (w,) = variables(1)
    optimizer = pf.train.GradientDescentOptimizer(1.0)
    ((gradient, _),) = optimizer.compute_gradients(pf.reduce_sum(w))
    with pf.control_dependencies([gradient]):
        doubled = w.assign(w.value() * 2.0)
    with pf.control_dependencies([doubled]):
        length = pf.reduce_sum(pf.square(w.value()))
    step = optimizer.apply_gradients([(gradient * length, w)])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(step)
        np.testing.assert_array_equal(session.run(w), np.full((4, 5), 2.0 - 20 * 4.0))


def test_values_made_by_the_update_itself_are_measured():
    """A step divided by the length of the new momentum, which the same update assigns."""

    class Normed(pf.train.Optimizer):
        def _update(self, gradient, var):
            slot = self._slot(var, "momentum")
            momentum = slot.assign(slot * 0.5 + gradient)
            return [momentum.op, var.assign_sub(momentum / pf.sqrt(pf.reduce_sum(pf.square(momentum)))).op]

    (w,) = variables(1)
    optimizer = Normed(1.0, "Normed")
    step = optimizer.minimize(pf.reduce_sum(pf.square(w)) * 0.5)
    assert steps(step)["reduce_slices"] == 1
    value, momentum = np.ones((4, 5)), np.zeros((4, 5))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for _ in range(3):
            session.run(step)
            momentum = momentum * 0.5 + value
            value = value - momentum / np.linalg.norm(momentum)
            np.testing.assert_allclose(session.run(w), value, rtol=1e-14)
