"""Updates of variables: written by the kernel that computes them, except where somebody would see it."""

import numpy as np
import pytest

import paraflow as pf

from .plans import kinds, plan_of, written

pytestmark = pytest.mark.usefixtures("graph")

IN_PLACE, BY_COPY = "kernel", "write"


@pytest.fixture
def w():
    return pf.Variable(np.arange(9, dtype=np.float32).reshape(3, 3), name="w")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda w: w - 0.5 * pf.exp(w), "subtract"),
        (lambda w: w + w, "add"),
        (pf.tanh, "tanh"),
        (lambda w: pf.exp(pf.transpose(w)) * w, "multiply"),  # the view is read before the write
        (lambda w: pf.ones([3, 3]) * pf.constant(np.ones((3, 3), np.float32)) - w, "subtract"),
    ],
)
def test_an_elementwise_update_is_computed_into_the_variable(w, value, expected):
    plan = plan_of([w.assign(value(w))])
    assert written(plan, "w") == [(expected, IN_PLACE)]


@pytest.mark.parametrize(
    "value",
    [
        lambda w: pf.matmul(w, w),
        lambda w: w + pf.transpose(w),
        lambda w: w + w[::-1],
        lambda w: w[:1] + w,
        lambda w: pf.clip_by_value(pf.exp(w), w, 1.0),
        pf.transpose,
    ],
)
def test_what_reads_the_variable_out_of_step_is_copied_into_it(w, value):
    tensor = value(w)
    at = np.arange(9, dtype=np.float32).reshape(3, 3)
    with pf.Session() as session:
        session.run(w.initializer)
        expected = session.run(tensor)
    update = w.assign(tensor)
    plan = plan_of([update])
    assert ("assign_variable", BY_COPY) in written(plan, "w")
    for threads in (1, 2):
        with pf.Session(threads=threads) as session:
            session.run(w.initializer)
            np.testing.assert_array_equal(session.run(update), expected)
            np.testing.assert_array_equal(session.run(w), expected)
    assert not np.array_equal(expected, at)


def test_a_new_value_that_is_used_elsewhere_too_is_copied(w):
    new = w * 2.0
    update = w.assign(new)
    assert written(plan_of([update, new]), "w") == [("assign_variable", BY_COPY)]
    assert written(plan_of([update, new + 1.0]), "w") == [("assign_variable", BY_COPY)]
    assert written(plan_of([update, update + 1.0]), "w") == [("multiply", IN_PLACE)]


def test_a_fetched_old_value_is_a_snapshot(w):
    old = pf.identity(w)
    new = w.assign(w * 2.0)
    doubled = old * 2.0
    plan = plan_of([old, new, doubled])
    assert kinds(plan).count("copy") == 1
    assert kinds(plan_of([new])) == ["multiply"]


def test_a_view_of_the_old_value_is_one_too(w):
    flipped = pf.transpose(w)[::-1]
    new = w.assign(w * 2.0)
    late = flipped * 1.5
    for fetches in ([flipped, new], [late, new]):
        assert kinds(plan_of(fetches)).count("copy") == 1
    with pf.Session() as session:
        session.run(w.initializer)
        at = session.run(w)
        found = session.run([flipped, late, new])
        np.testing.assert_array_equal(found[0], at.T[::-1])
        np.testing.assert_array_equal(found[1], at.T[::-1] * 1.5)
        np.testing.assert_array_equal(found[2], at * 2)


def test_a_reader_between_the_value_and_the_assignment_sees_the_old_value(w):
    new = w * 2.0
    reader = pf.exp(w)
    update = w.assign(new)
    plan = plan_of([update, reader])
    assert written(plan, "w") == [("assign_variable", BY_COPY)]
    with pf.Session(threads=2) as session:
        session.run(w.initializer)
        at = session.run(w)
        np.testing.assert_allclose(session.run([update, reader])[1], np.exp(at), rtol=1e-6)


def test_the_write_waits_for_all_readers_of_the_old_value(w):
    reader = pf.exp(w)
    update = w.assign(w * 2.0)
    plan = plan_of([update, reader], parallel=True)
    steps = {step.record.name: i for i, step in enumerate(plan.steps)}
    assert steps["exp"] in plan.steps[steps["multiply"]].depends


def test_two_assignments_keep_the_value_between_them(w):
    first = w.assign(w + 1.0)
    second = w.assign(first * 2.0)
    plan = plan_of([second])
    assert written(plan, "w") == [("add", IN_PLACE), ("multiply", IN_PLACE)]
    plan = plan_of([first, second])
    assert kinds(plan).count("copy") == 1
    for threads in (1, 2):
        with pf.Session(threads=threads) as session:
            session.run(w.initializer)
            at = session.run(w)
            found = session.run([first, second, w])
            for value, expected in zip(found, [at + 1, (at + 1) * 2, (at + 1) * 2], strict=True):
                np.testing.assert_array_equal(value, expected)


def test_a_value_made_before_another_assignment_is_not_written_early(w):
    late = w * 3.0
    first = w.assign(w + 1.0)
    second = w.assign(late)
    with pf.Session() as session:
        session.run(w.initializer)
        at = session.run(w)
        found = session.run([first, second])
        np.testing.assert_array_equal(found[0], at + 1)
        np.testing.assert_array_equal(found[1], at * 3)


def test_an_optimizer_step_allocates_nothing_for_its_variables(w):
    x = pf.placeholder(pf.float32, (None, 3))
    train = pf.train.AdamOptimizer().minimize(pf.reduce_mean(pf.square(pf.matmul(x, w))))
    plan = plan_of([train], {x: (5, 3)})
    assert len(plan.writes) == 5
    assert {mode for name in plan.writes for _, mode in written(plan, name)} == {IN_PLACE}
