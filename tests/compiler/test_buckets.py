"""Buckets: which gradients are reduced together, in what order, and where they lie."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.compiler.plan import GRADIENT
from paraflow.parallel import AllReduce

from .checker import check_plan
from .plans import all_reduce_each_exchange, kinds, plan_of

pytestmark = pytest.mark.usefixtures("graph")

KIB = 1024


def chain(*sizes, dtype=pf.float32):
    """A loss whose backward pass makes the gradient of the last variable first; sizes in KiB."""
    variables = [pf.Variable(np.ones(size * KIB // dtype.itemsize, dtype)) for size in sizes]
    total = None
    for variable in variables:
        here = pf.reduce_sum(pf.square(variable))
        total = here if total is None else pf.tanh(total * here)
    return variables, total


def train_plan(loss, bucket_bytes, feeds=None, fetches=()):
    train = pf.train.GradientDescentOptimizer(1.0).minimize(loss, name="train")
    options = {"rewrite": all_reduce_each_exchange, "bucket_bytes": bucket_bytes}
    check_plan(plan_of([*fetches, train], feeds, parallel=True, **options), parallel=True)
    plan = plan_of([*fetches, train], feeds, **options)
    check_plan(plan, parallel=False)
    return plan


def starts(plan):
    return [step for step in plan.steps if step.record.name == "start_exchange"]


def nbytes(plan, slot):
    return plan.slots[slot].dtype.itemsize * int(np.prod(plan.slots[slot].shape))


def sizes(plan):
    return [sum(nbytes(plan, slot) for slot in step.inputs) // KIB for step in starts(plan)]


def test_small_gradients_share_one_bucket():
    _, loss = chain(4, 8, 16)
    assert sizes(train_plan(loss, 4 << 20)) == [28]


def test_the_first_bucket_is_small_and_the_others_have_the_given_size():
    _, loss = chain(*[512] * 8)
    assert sizes(train_plan(loss, 1536 * KIB)) == [1024, 1536, 1536]


def test_the_first_of_large_buckets_is_a_quarter_as_large():
    _, loss = chain(*[1024] * 12)
    assert sizes(train_plan(loss, 8 << 20)) == [2048, 8192, 2048]
    assert sizes(train_plan(loss, 48 << 20)) == [12288]


def test_buckets_smaller_than_the_first_limit_are_all_of_the_given_size():
    _, loss = chain(*[4] * 6)
    assert sizes(train_plan(loss, 8 * KIB)) == [8, 8, 8]


def test_a_gradient_above_the_limit_has_a_bucket_of_its_own():
    _, loss = chain(4, 64, 4)
    assert sizes(train_plan(loss, 8 * KIB)) == [4, 64, 4]


def test_gradients_are_reduced_in_the_order_of_backward():
    _, loss = chain(4, 8, 16)
    assert sizes(train_plan(loss, 1)) == [16, 8, 4]


def test_dtypes_do_not_mix_in_a_bucket():
    _, single = chain(4, 4)
    _, double = chain(8, dtype=pf.float64)
    loss = pf.cast(double, pf.float32) + single
    assert sorted(sizes(train_plan(loss, 4 << 20))) == [8, 8]


def test_backward_kernels_write_into_the_gradient_plane():
    _, loss = chain(4, 8)
    plan = train_plan(loss, 4 << 20)
    assert "copy" not in kinds(plan)
    (step,) = starts(plan)
    assert step.attrs["placed"] == (True, True)
    assert [plan.slots[slot].kind for slot in step.inputs] == [GRADIENT, GRADIENT]
    assert [plan.slots[slot].where for slot in step.inputs] == list(step.attrs["exchanged"])
    makers = {slot: s for s in plan.steps for slot in s.outputs}
    assert [makers[slot].mode for slot in step.inputs] == ["kernel", "kernel"]


def placed(plan):
    return [flag for step in starts(plan) for flag in step.attrs["placed"]]


def test_a_gradient_that_is_wanted_itself_is_copied():
    (w,), loss = chain(4)
    (own,) = pf.gradients(loss, [w])
    assert placed(train_plan(loss, 4 << 20)) == [True]
    assert placed(train_plan(loss, 4 << 20, fetches=[own])) == [False]
    assert placed(train_plan(loss, 4 << 20, fetches=[pf.reduce_sum(own)])) == [False]


def test_a_gradient_that_no_kernel_makes_is_copied():
    table = pf.Variable(np.ones((8, 2)))
    rows = pf.placeholder(pf.int32, (None,))
    plan = train_plan(pf.reduce_sum(pf.square(pf.gather(table, rows, axis=1))), 4 << 20, {rows: (2,)})
    assert placed(plan) == [False]


@pytest.mark.parametrize("bucket_bytes", [1, 4 << 20])
def test_one_tensor_may_be_the_gradient_of_two_variables(bucket_bytes):
    a, b = pf.Variable(np.ones(100), name="a"), pf.Variable(np.ones(100), name="b")
    loss = pf.reduce_sum(pf.square(a + b))
    plan = train_plan(loss, bucket_bytes)
    assert placed(plan) == [False, False]


def test_communication_starts_as_soon_as_a_bucket_is_complete():
    """The first bucket is posted before the gradient of the second is made, the updates stand at the end."""
    _, loss = chain(4, 4, 4)
    plan = train_plan(loss, 1)
    order = [s.record.name for s in plan.steps if s.mode == "planes"]
    assert order == ["start_exchange"] * 3 + ["update"] * 3 + ["settle"]
    first, second, _ = (i for i, s in enumerate(plan.steps) if s.record.name == "start_exchange")
    makers = {slot: i for i, s in enumerate(plan.steps) for slot in s.outputs}
    assert first < makers[plan.steps[second].inputs[0]] < second


def test_updates_of_equal_form_are_one_step():
    variables, loss = chain(4, 8, 16)
    step = pf.train.AdamOptimizer(0.1).minimize(loss)
    for rewrite in (None, all_reduce_each_exchange):
        plan = plan_of([step], rewrite=rewrite)
        (update,) = (s for s in plan.steps if s.record.name == "update")
        assert sorted(update.attrs["states"][0]) == sorted(v.spec.name for v in variables)
        assert len(update.attrs["states"]) == 3


def test_an_average_that_is_wanted_whole_does_not_change_what_is_synchronised():
    _, loss = chain(4)
    optimizer = pf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(loss)
    step = optimizer.apply_gradients(pairs)
    plans = [plan_of([step, *more], rewrite=all_reduce_each_exchange) for more in ([], [pairs[0][0]])]
    for plan in plans:
        check_plan(plan, parallel=False)
    without, with_it = ([s for s in plan.steps if s.mode == "planes"] for plan in plans)
    assert [s.record.name for s in with_it] == ["start_exchange", "average_gradient", "update", "settle"]
    assert [s.attrs for s in without] == [s.attrs for s in with_it if s.record.name != "average_gradient"]


@pytest.mark.parametrize("bucket_bytes", [1, 100, 4 << 20])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("ranks", [2, 3])
def test_bucketed_training_is_training_on_the_whole_batch(ranks, threads, bucket_bytes):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(7, 4)), rng.normal(size=(7, 3))

    def build():
        x, y = pf.placeholder(pf.float64, (None, 4)), pf.placeholder(pf.float64, (None, 3))
        start = np.random.default_rng(1)
        a, b = pf.Variable(start.normal(size=(4, 5))), pf.Variable(np.zeros(5))
        c = pf.Variable(start.normal(size=(5, 3)))
        hidden = pf.tanh(x @ a + b)
        loss = pf.reduce_mean(pf.square(hidden @ c - y)) + 0.0
        return x, y, [a, b, c], pf.train.GradientDescentOptimizer(0.1).minimize(loss)

    def train(session, program, rows):
        x, y, variables, step = program
        session.run(pf.global_variables_initializer())
        for _ in range(5):
            session.run(step, {x: features[rows], y: labels[rows]})
        return session.run(variables)

    def rank(comm):
        with pf.Graph().as_default():
            program = build()
            with pf.Session(strategy=AllReduce(comm), threads=threads, bucket_bytes=bucket_bytes) as session:
                return train(session, program, np.array_split(np.arange(7), ranks)[comm.rank])

    program = build()
    with pf.Session() as session:
        expected = train(session, program, slice(None))
    results = run_threads(ranks, rank, timeout=60)
    for found in results:
        for value, other, reference in zip(found, results[0], expected, strict=True):
            np.testing.assert_array_equal(value, other)
            np.testing.assert_allclose(value, reference, rtol=1e-9)


def test_a_gradient_of_unknown_size_is_reduced_too():
    """A gradient of the user's own, whose size only the run decides."""

    def rank(comm):
        with pf.Graph().as_default():
            w = pf.Variable(np.zeros(2))
            values = pf.placeholder(pf.float64, (None,))
            gradient = pf.boolean_mask(values, pf.greater(values, 0.0))
            step = pf.train.GradientDescentOptimizer(1.0).apply_gradients([(gradient, w)])
            with pf.Session(strategy=AllReduce(comm)) as session:
                session.run(pf.global_variables_initializer())
                session.run(step, {values: [1.0, -1.0, 3.0] if comm.rank else [-1.0, 3.0, 5.0]})
                return session.run(w)

    for found in run_threads(2, rank, timeout=60):
        assert found.tolist() == [-2.0, -4.0]


def test_a_value_of_unknown_size_may_be_assigned_where_ranks_share_the_variable():
    def rank(comm):
        with pf.Graph().as_default():
            w = pf.Variable(np.zeros(2))
            values = pf.placeholder(pf.float64, (None,))
            step = w.assign(pf.boolean_mask(values, pf.greater(values, 0.0)))
            train = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_sum(w))
            with pf.Session(strategy=AllReduce(comm)) as session:
                session.run(pf.global_variables_initializer())
                session.run([step, train], {values: [1.0, -1.0, 3.0]})
                return session.run(w)

    for found in run_threads(2, rank, timeout=60):
        assert found.tolist() == [0.0, 2.0]


def test_rows_of_all_tables_are_written_where_the_ranks_meet_once():
    """The plan of a rank that shares variables: two tables, their slots, and a read in between that splits nothing."""

    def plan_on(comm):
        with pf.Graph().as_default():
            ids = pf.placeholder(pf.int32, (None,))
            tables = [pf.Variable(np.ones((5, 2)), name=name) for name in "ab"]
            loss = pf.reduce_sum(pf.gather(tables[0], ids) * pf.gather(tables[1], ids))
            step = pf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
            with pf.Session(strategy=AllReduce(comm)) as session:
                return session.plan(step, {ids: [1, 2]})

    for plan in run_threads(2, plan_on):
        (write,) = [s for s in plan.steps if s.record.name == "write_rows"]
        assert write.attrs["variables"] == ("a/Momentum", "a", "b/Momentum", "b")
        assert "scatter_variable" not in {s.record.name for s in plan.steps}
        check_plan(plan, parallel=False)
