"""Branches and loops as a session runs them: against the bodies' own meaning, finite differences and closed forms."""

import sys

import numpy as np
import pytest
from ops.tf_case import cases_of

import paraflow as pf
from paraflow.errors import FailedPreconditionError, GraphError, InvalidArgumentError
from paraflow.graph.text import text
from paraflow.runtime.kept import Kept
from paraflow.testing import interpret

CASES = {name: case for name, case in cases_of("control").items() if case.gradients}


@pytest.fixture(autouse=True)
def _graph():
    with pf.Graph().as_default():
        yield


def built(case, declared=lambda shape: shape):
    arrays = case.arrays("float64")
    inputs = [pf.placeholder(a.dtype, declared(a.shape)) for a in arrays]
    result = case.build(pf, *inputs)
    outputs = list(result) if isinstance(result, (list, tuple)) else [result]
    return inputs, arrays, outputs


def scalar(outputs):
    floating = [y for y in outputs if y.dtype == pf.float64]
    return pf.add_n([pf.reduce_sum(pf.sin(y * 0.1)) for y in floating])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_plans_give_what_the_bodies_mean(name, threads):
    inputs, arrays, outputs = built(CASES[name])
    feeds = dict(zip(inputs, arrays, strict=True))
    floating = [x for x in inputs if x.dtype == pf.float64]
    outputs += [g for g in pf.gradients(scalar(outputs), floating) if g is not None]
    expected = interpret(outputs, feeds)
    with pf.Session(threads=threads) as session:
        for _ in range(2):  # what a run leaves behind must not show
            for a, e in zip(session.run(outputs, feeds), expected, strict=True):
                assert (a.dtype, a.shape) == (e.dtype, e.shape)
                np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("name", CASES)
def test_unknown_shapes_give_the_same(name):
    values = []
    for declared in (lambda shape: shape, lambda shape: (None,) * len(shape)):
        inputs, arrays, outputs = built(CASES[name], declared)
        feeds = dict(zip(inputs, arrays, strict=True))
        floating = [x for x in inputs if x.dtype == pf.float64]
        outputs += [g for g in pf.gradients(scalar(outputs), floating) if g is not None]
        with pf.Session() as session:
            values.append(session.run(outputs, feeds))
    for a, b in zip(*values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("name", [name for name in CASES if "back_prop" not in name])
def test_first_and_second_derivatives_are_those_of_finite_differences(name):
    inputs, arrays, outputs = built(CASES[name])
    floating = [i for i, x in enumerate(inputs) if x.dtype == pf.float64]
    y = scalar(outputs)
    first = pf.gradients(y, [inputs[i] for i in floating])
    # A scalar of all first derivatives, whose gradient has all second ones in it.
    mixed = pf.add_n([pf.reduce_sum(pf.cos(g) * (i + 1)) for i, g in enumerate(first) if g is not None])
    second = pf.gradients(mixed, [inputs[i] for i in floating])
    with pf.Session() as session:

        def run(fetch, values):
            return session.run(fetch, dict(zip(inputs, values, strict=True)))

        for of, gradients in ((y, first), (mixed, second)):
            for i, gradient in zip(floating, gradients, strict=True):
                slope = np.zeros_like(arrays[i])
                for at in np.ndindex(slope.shape):
                    ends = []
                    for h in (1e-6, -1e-6):
                        moved = [a.copy() for a in arrays]
                        moved[i][at] += h
                        ends.append(run(of, moved))
                    slope[at] = (ends[0] - ends[1]) / 2e-6
                if gradient is None:
                    np.testing.assert_allclose(slope, 0, atol=1e-6)
                else:
                    found = run(gradient, arrays)
                    np.testing.assert_allclose(found, slope, rtol=2e-5, atol=2e-6 * max(1, np.abs(slope).max()))


def test_only_the_branch_that_is_chosen_runs():
    calls = []
    p, x = pf.placeholder(pf.bool, ()), pf.constant([1.0, 2.0])

    def branch(name):
        def called(value):
            calls.append(name)
            return value

        return lambda: pf.py_func(called, [x], pf.float32)

    y = pf.cond(p, branch("yes"), branch("no"))
    with pf.Session() as session:
        for value in (True, False, False):
            session.run(y, {p: value})
    assert calls == ["yes", "no", "no"]


def test_what_is_captured_can_be_fed():
    x = pf.placeholder(pf.float32, ())
    half, limit = pf.constant(0.5), pf.constant(3)
    twice = x * 2
    _, y = pf.while_loop(lambda i, y: i < limit, lambda i, y: (i + 1, y * half + twice), (0, x))
    (slope,) = pf.gradients(y, half)
    with pf.Session() as session:
        assert session.run(y, {x: 1.0}) == 3.625
        assert session.run([y, slope], {x: 1.0, half: 1.0, limit: 2, twice: 5.0}) == [11.0, 7.0]


# -- variables ---------------------------------------------------------------------------------------------------------


def test_reads_and_assignments_in_a_body_are_in_program_order():
    v = pf.Variable([0.0, 0.0], trainable=False)

    def body(i, y):
        before = v * 1.0
        after = v.assign_add([1.0, 2.0])
        return i + 1, y + pf.reduce_sum(before) + 10 * pf.reduce_sum(after)

    before = v + 0.0
    i, y = pf.while_loop(lambda i, y: i < 3, body, (0, 0.0))
    after = v + 0.0
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for start in (0, 3):
            total = sum(3 * k + 30 * (k + 1) for k in range(start, start + 3))
            found = session.run([before, i, y, after])
            np.testing.assert_array_equal(found[0], [start, 2 * start])
            assert found[1:3] == [3, total]
            np.testing.assert_array_equal(found[3], [start + 3, 2 * start + 6])


def test_a_condition_sees_what_the_body_assigns():
    v = pf.Variable(1.0, trainable=False)

    def body(i):
        with pf.control_dependencies([v.assign(v * 2)]):
            return i + 1

    turns = pf.while_loop(lambda i: v < 100, body, [0])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert session.run([turns, v.read_value()]) == [7, 128.0]
        assert session.run(turns) == 0


def test_the_value_before_outlives_an_assignment_inside():
    v = pf.Variable([1.0, 2.0], trainable=False)
    old = v.value()
    y = pf.cond(pf.reduce_sum(old) > 0, lambda: v.assign(old * 10) + old, lambda: old)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(y), [11.0, 22.0])


def test_a_variable_has_a_value_only_once_the_branch_that_assigns_it_has_run():
    p, v = pf.placeholder(pf.bool, ()), pf.Variable(1.0)
    assigned = pf.cond(p, lambda: v.assign(3.0), lambda: pf.constant(0.0))
    uses = pf.cond(p, lambda: v.assign_add(3.0), lambda: pf.constant(0.0))
    with pf.Session() as session:
        assert session.run([assigned, uses], {p: False}) == [0.0, 0.0]
        with pytest.raises(FailedPreconditionError, match="'Variable' has no value yet"):
            session.run(v)
        with pytest.raises(FailedPreconditionError, match="'Variable' has no value yet"):
            session.run(uses, {p: True})
        assert session.run(assigned, {p: True}) == 3.0
        assert session.run(v) == 3.0


def test_variables_made_in_a_body_are_the_graphs():
    def body(i, h):
        with pf.variable_scope("cell"):
            w = pf.get_variable("w", (3, 3))
        return i + 1, pf.tanh(pf.matmul(h, w))

    x = pf.placeholder(pf.float32, (None, 3))
    _, h = pf.while_loop(lambda i, h: i < 4, body, (0, x))
    assert h.shape == (None, 3)
    loss = pf.reduce_mean(pf.square(h - 0.3))
    step = pf.train.AdamOptimizer(0.05).minimize(loss)
    assert [v.name for v in pf.trainable_variables()] == ["cell/w:0"]
    data = np.random.default_rng(1).normal(size=(5, 3))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        losses = [session.run([loss, step], {x: data})[0] for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("optimizer", [pf.train.GradientDescentOptimizer, pf.train.AdamOptimizer])
def test_training_inside_a_loop_is_training_outside(optimizer):
    data = np.random.default_rng(2).normal(size=(6, 4))

    def model():
        w = pf.Variable(np.ones((4, 2)))
        return w, pf.reduce_sum(pf.square(pf.matmul(pf.constant(data), w) - 1)), optimizer(0.01)

    w, loss, trained = model()
    step = trained.minimize(loss)
    inside, _, trained_inside = model()

    def body(i):
        loss = pf.reduce_sum(pf.square(pf.matmul(pf.constant(data), inside) - 1))
        with pf.control_dependencies([trained_inside.minimize(loss, var_list=[inside])]):
            return i + 1

    loop = pf.while_loop(lambda i: i < 7, body, [0])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for _ in range(7):
            session.run(step)
        session.run(loop)
        np.testing.assert_array_equal(session.run(inside), session.run(w))


def test_gradients_are_made_inside_of_a_body_too():
    """Newton's method for sqrt(x): the derivative is taken in each turn, by the turn's value and by what is outside."""
    x = pf.constant(3.0, pf.float64)

    def body(i, y):
        error = y * y - x
        by_y, by_x = pf.gradients(error, [y, x])
        return i + 1, y + error / by_y * by_x

    _, root = pf.while_loop(lambda i, y: i < 6, body, (0, x))
    (slope,) = pf.gradients(root, x)
    with pf.Session() as session:
        np.testing.assert_allclose(session.run([root, slope]), [3**0.5, 0.5 / 3**0.5], rtol=1e-12)


def test_the_gradient_by_a_variable_that_is_assigned_inside_is_refused():
    v = pf.Variable(2.0)
    y = pf.cond(v > 0, lambda: v * v.assign_add(1.0), lambda: v)
    with pytest.raises(GraphError, match=r"variable 'Variable' .* 'cond' .*test_running.py:.* assigned inside"):
        pf.gradients(y, v)


# -- random numbers, effects and errors -------------------------------------------------------------------------------


def test_each_turn_draws_what_another_run_would():
    plain = pf.random_normal([2], seed=3)
    _, drawn = pf.while_loop(
        lambda i, a: i < 4,
        lambda i, a: (i + 1, pf.concat([a, pf.random_normal([2], seed=3)], 0)),
        (0, pf.zeros([0])),
        (pf.TensorShape([]), pf.TensorShape([None])),
    )
    with pf.Session() as session:
        expected = np.concatenate([session.run(plain) for _ in range(8)])
        np.testing.assert_array_equal(np.concatenate([session.run(drawn), session.run(drawn)]), expected)


def test_the_backward_pass_sees_what_was_drawn():
    x = pf.constant([1.0, 2.0])
    noise = pf.TensorArray(pf.float32, 3)

    def body(i, y, kept):
        drawn = pf.random_uniform([2])
        return i + 1, y + drawn * x, kept.write(i, drawn)

    _, y, kept = pf.while_loop(lambda i, *_: i < 3, body, (0, x, noise))
    (slope,) = pf.gradients(y, x)
    with pf.Session() as session:
        found, drawn = session.run([slope, kept.stack()])
    np.testing.assert_allclose(found, 1 + drawn.sum(axis=0), rtol=1e-6)


def test_prints_and_assertions_run_in_each_turn(capsys):
    def body(i):
        i = pf.Print(i, [i], "turn ")
        with pf.control_dependencies([pf.assert_less(i, 3)]):
            return i + 1

    loop = pf.while_loop(lambda i: i < 5, body, [0], name="turns")
    line = sys._getframe().f_lineno - 4
    with pf.Session() as session, pytest.raises(InvalidArgumentError, match="assertion failed") as caught:
        session.run(loop)
    assert capsys.readouterr().err == "turn [0]\nturn [1]\nturn [2]\nturn [3]\n"
    assert f"test_running.py:{line}" in caught.value.__notes__[0]
    assert "'turns'" in caught.value.__notes__[1]


def test_a_shape_that_does_not_fit_names_the_line_in_the_body():
    x, y = pf.placeholder(pf.float32, (None,)), pf.placeholder(pf.float32, (None,))
    sums = pf.while_loop(lambda i, s: i < 2, lambda i, s: (i + 1, s + y), (0, x), (pf.TensorShape([]), None))[1]
    with pf.Session() as session, pytest.raises(ValueError, match=r"add\(\(2,\), \(3,\)\) at .*test_running.py:\d+"):
        session.run(sums, {x: [1.0, 2.0], y: [1.0, 2.0, 3.0]})


def test_outside_is_not_inside():
    leaked = []

    def body(i):
        leaked.append(i + 1)
        return leaked[-1]

    pf.while_loop(lambda i: i < 3, body, [0])
    with pytest.raises(GraphError, match="another graph"):
        leaked[0] + 1
    with pytest.raises(GraphError, match="made inside another branch or loop"):
        pf.while_loop(lambda i: i < 3, lambda i: leaked[0], [0])


def test_control_inputs_from_outside_are_waited_for():
    v = pf.Variable(0.0, trainable=False)
    with pf.control_dependencies(None):
        add = v.assign_add(1.0)

    def body(i):
        with pf.control_dependencies([add]):
            return i + 1

    loop = pf.while_loop(lambda i: i < 3, body, [0])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert session.run(loop) == 3
        assert session.run(v) == 1.0  # it is outside, so it runs once


# -- what a loop costs -------------------------------------------------------------------------------------------------


def steps_named(plan, name):
    return [step for step in plan.steps if step.record.name == name]


def test_a_loop_keeps_only_what_the_backward_pass_needs():
    x = pf.constant([1.0, 2.0])
    _, y = pf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, pf.tanh(y * x + pf.exp(x))), (0, x))
    (slope,) = pf.gradients(y, x)
    with pf.Session() as session:
        (alone,) = steps_named(session.plan(y), "stateless_while")
        both = steps_named(session.plan([y, slope]), "stateless_while")
    assert len(alone.outputs) == 2  # the result and the number of turns
    assert "cond=None" in alone.text()  # it counts, so it has no condition, and carries no counter on
    assert alone.attrs["carried"] == 1
    assert len(both[0].outputs) == 2 + 3  # y before, tanh, exp(x)
    assert both[1].attrs["reverse"]


@pytest.mark.parametrize(
    ("start", "limit"), [(0, 3), (5, 3), (3, 3), (-2, 1), (2**31 - 4, 2**31 - 1), (-(2**31), 2 - 2**31)]
)
def test_a_loop_that_counts_makes_the_turns_that_its_condition_says(start, limit):
    a, n, x = pf.placeholder(pf.int32, ()), pf.placeholder(pf.int32, ()), pf.constant(2.0)
    i, y = pf.while_loop(lambda i, y: n > i, lambda i, y: (1 + i, y * x), (a, 1.0))
    turns = max(limit - start, 0)
    with pf.Session() as session:
        assert "cond=None" in session.plan([i, y], {a: start, n: limit}).text()
        found = session.run([i, y, pf.gradients(y, x)[0]], {a: start, n: limit})
    assert found == [start + turns, 2.0**turns, turns * 2.0 ** (turns - 1)]


def test_the_digest_and_the_text_of_a_plan_have_what_is_inside():
    digests = set()
    for factor in (2.0, 3.0):
        with pf.Graph().as_default() as graph, pf.Session() as session:
            y = pf.while_loop(lambda y: y < 10, lambda y, factor=factor: y * factor, [pf.constant(1.0)])
            digests.add(session.plan(y).digest())
            assert f"\n    while/const_1 = constant(value=float32 {factor})" in text(graph.operations)
    assert len(digests) == 2


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_gradients_by_weights_are_one_product_after_the_loop(turns):
    """Of rows whose number changes from turn to turn; each is what as many copies of the body give."""
    rng = np.random.default_rng(2)
    x, w, b = (pf.constant(rng.normal(size=shape)) for shape in ((2, 3), (3, 3), (3,)))
    n = pf.placeholder(pf.int32, ())

    def body(i, h):
        return i + 1, pf.concat([pf.tanh(pf.matmul(h, w) + b), x], 0)

    shapes = (pf.TensorShape([]), pf.TensorShape([None, 3]))
    _, h = pf.while_loop(lambda i, h: i < n, body, (0, x), shapes)
    unrolled = x
    for i in range(turns):
        _, unrolled = body(i, unrolled)
    found, expected = (pf.gradients(pf.reduce_sum(pf.sin(y)), [w, b]) for y in (h, unrolled))
    again = pf.gradients(pf.reduce_sum(found[0] * found[0]), [w])[0]
    with pf.Session() as session:
        kinds = [step.record.name for step in session.plan(found, {n: turns}).steps]
        assert kinds.count("matmul") == 1
        backward = steps_named(session.plan(found, {n: turns}), "stateless_while")[1]
        inside = [o.type for o in backward.attrs["body"].operations()]
        assert inside.count("matmul") == 1
        for a, c in zip(found, expected, strict=True):
            wanted = np.zeros(a.shape.as_list()) if c is None else session.run(c)
            np.testing.assert_allclose(session.run(a, {n: turns}), wanted, rtol=1e-12, atol=1e-14)
        if turns:
            second = pf.gradients(pf.reduce_sum(expected[0] * expected[0]), [w])[0]
            np.testing.assert_allclose(session.run(again, {n: turns}), session.run(second), rtol=1e-10)


def test_memory_of_a_run_serves_the_next_once_nobody_has_any_of_it():
    kept = Kept(reverse=True)

    def run(*values):
        kept.start(len(values))
        for value in values:
            kept.add([np.array(value)], 0)
        return kept.list().item()

    first = run([1.0, 2.0], [3.0, 4.0])
    row = first.get(1)
    second = run([5.0, 6.0], [7.0, 8.0])
    np.testing.assert_array_equal(first.rows, [[3, 4], [1, 2]])
    np.testing.assert_array_equal(second.rows, [[7, 8], [5, 6]])
    place = second.rows.ctypes.data
    del first, second
    assert run([9.0, 9.0], [9.0, 9.0]).rows.ctypes.data == place
    np.testing.assert_array_equal(row, [1, 2])
    assert run([1.0], [2.0, 3.0]).rows is None
