"""Derivatives of every kind of loop, with and without its value, against finite differences.

Of the bodies some need none of the loop's values for their gradient, others some, and others all. What a gradient does
not need is not computed, so the same derivative comes from other plans where the value is fetched beside it.
"""

import numpy as np
import pytest

import paraflow as pf
from paraflow.compiler.pipeline import OPTIONAL

POINT = np.array([0.7, -1.3, 0.4])


@pytest.fixture(autouse=True)
def _graph():
    with pf.Graph().as_default():
        yield


def turns(body, start, count, row):
    return pf.while_loop(lambda i, _: i < count, lambda i, a: (i + 1, body(a, row(i))), (0, start))[1]


# A body is given what is carried on and a row.
BODIES = {
    "none": lambda a, r: a * 0.5 + r,
    "only-rows": lambda a, r: r * 3.0,
    "only-the-state": lambda a, r: a * a * 0.7,
    "all": lambda a, r: pf.tanh(a * r),
    "branch": lambda a, r: pf.cond(pf.reduce_sum(a) > 0.5, lambda: a + r, lambda: a * r - 1.0),
    "branch-without-values": lambda a, r: a + pf.cond(pf.reduce_sum(r) > 0, lambda: r * 2.0, lambda: r),
    "loop": lambda a, r: turns(lambda b, _: b * r, a, 2, lambda j: j),
    "loop-without-values": lambda a, r: turns(lambda b, _: b * 0.5 + r, a, 2, lambda j: j),
}


def until(x, body):
    def turn(a, total):
        return body(a, x[1]), total + 1.0

    return pf.while_loop(lambda _, total: total < 2.5, turn, (x[0], pf.constant(0.0, pf.float64)))[0]


def in_arrays(x, body):
    rows = pf.TensorArray(pf.float64, 3, element_shape=()).unstack(x)

    def turn(i, a, made):
        after = body(a, rows.read(i))
        return i + 1, after, made.write(i, after)

    start = (0, x[0], pf.TensorArray(pf.float64, 3, element_shape=()))
    return pf.while_loop(lambda i, *_: i < 3, turn, start)[2].stack()


def branch_in_loop(x, body):
    def turn(i, a):
        return i + 1, pf.cond(pf.equal(i, 1), lambda: body(a, x[i]), lambda: a)

    return pf.while_loop(lambda i, _: i < 3, turn, (0, x[0]))[1]


def recurrent(x, body):
    class Cell(pf.nn.rnn_cell.RNNCell):
        state_size = output_size = 1

        def __call__(self, inputs, state, scope=None):
            after = body(state, inputs)
            return after, after

    start = pf.reshape(x[0], [1, 1])
    outputs, last = pf.nn.dynamic_rnn(Cell(), pf.reshape(x, [1, 3, 1]), sequence_length=[2], initial_state=start)
    return pf.concat([outputs[0, :, 0], last[0]], 0)


FORMS = {
    "counted": lambda x, body: turns(body, x[0], 3, lambda i: x[i]),
    "no-turn": lambda x, body: turns(body, x[0], 0, lambda i: x[i]),
    "until": until,
    "map_fn": lambda x, body: pf.map_fn(lambda row: body(x[0], row), x),
    "scan": lambda x, body: pf.scan(body, x),
    "scan-last": lambda x, body: pf.scan(body, x, x[2], reverse=True)[0],
    "foldl": lambda x, body: pf.foldl(body, x),
    "foldr": lambda x, body: pf.foldr(body, x, x[0] * 0.7),
    "arrays": in_arrays,
    "nested": lambda x, body: turns(lambda a, r: turns(body, a, 2, lambda j: x[j] * r), x[0], 2, lambda i: x[i]),
    "map_fn-foldl": lambda x, body: pf.map_fn(lambda row: pf.foldl(lambda a, r: body(a, r * row), x), x),
    "branch-in-loop": branch_in_loop,
    "loop-in-branch": lambda x, body: pf.cond(x[0] < 9, lambda: FORMS["counted"](x, body), lambda: x[0]),
    "recurrent": recurrent,
}


def slope(session, x, y):
    """The gradient of the scalar ``y`` by the vector ``x``, of finite differences."""
    ends = [[session.run(y, {x: POINT + h * unit}) for h in (1e-6, -1e-6)] for unit in np.eye(3)]
    return np.array([(after - before) / 2e-6 for after, before in ends])


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("form", FORMS)
def test_derivatives_are_those_of_finite_differences_whatever_is_fetched_beside_them(form, body):
    x = pf.placeholder(pf.float64, (3,))
    y = pf.reduce_sum(FORMS[form](x, BODIES[body]))
    # A part that is there in any case, so that no derivative is None.
    square = pf.reduce_sum(x * x * x)
    (first,) = pf.gradients(y + square, x)
    mixed = pf.reduce_sum(pf.sin(first) * np.array([1.0, 2.0, 3.0]))
    (second,) = pf.gradients(mixed, x)
    with pf.Session() as session:
        expected = session.run([y, first, second], {x: POINT})
        np.testing.assert_allclose(expected[1], slope(session, x, y + square), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(expected[2], slope(session, x, mixed), rtol=1e-5, atol=1e-6)
    for threads, disable in ((1, OPTIONAL), (2, ())):
        with pf.Session(threads=threads, compiler=pf.CompilerOptions(disable=disable)) as session:
            for chosen in ([1], [2], [0, 1], [1, 2]):
                found = session.run([(y, first, second)[i] for i in chosen], {x: POINT})
                for i, value in zip(chosen, found, strict=True):
                    np.testing.assert_array_equal(value, expected[i])


def test_a_loop_of_which_only_the_number_of_turns_is_wanted_makes_none():
    n, x = pf.placeholder(pf.int32, ()), pf.placeholder(pf.float64, ())
    y = pf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a * 0.5), (0, x))[1]
    (slope,) = pf.gradients(y, x)
    with pf.Session() as session:
        (backward,) = [s for s in session.plan(slope, {n: 3, x: 1.0}).steps if s.record.name == "stateless_while"]
        assert backward.attrs["reverse"]
        assert [session.run(slope, {n: count, x: 1.0}) for count in (-2, 0, 3)] == [1.0, 1.0, 0.125]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_optimizer_s_step_needs_no_loss_beside_it(threads):
    v = pf.Variable(1.0)
    loss = pf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 0.5), (0, v))[1]
    step = pf.train.GradientDescentOptimizer(0.5).minimize(loss)
    with pf.Session(threads=threads) as session:
        session.run(pf.global_variables_initializer())
        session.run(step)
        assert session.run(v) == 1 - 0.5 * 0.125


# -- what branches and loops do besides making values ------------------------------------------------------------------


def test_a_branch_that_only_has_to_be_waited_for_does_what_it_does():
    p, v = pf.placeholder(pf.bool, ()), pf.Variable(1.0, trainable=False)
    chosen = pf.cond(p, lambda: v.assign(3.0), lambda: v.assign_add(10.0))
    with pf.control_dependencies([chosen]):
        waits = pf.no_op()
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        session.run(waits, {p: True})
        assert session.run(v) == 3.0
        session.run(chosen.op, {p: False})
        assert session.run(v) == 13.0


def test_a_loop_whose_values_nobody_needs_does_what_it_does(capsys):
    x, v = pf.constant([1.0, 2.0]), pf.Variable(0.0, trainable=False)
    mapped = pf.map_fn(lambda row: pf.Print(row, [row], "row ") * 2.0, x)
    turns = pf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, v.assign_add(1.0)), (0, 0.0))
    with pf.control_dependencies(turns[1:]):
        waits = pf.no_op()
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(pf.gradients(mapped, x)[0]), [2.0, 2.0])
        assert capsys.readouterr().err == "row [1]\nrow [2]\n"
        session.run(waits)
        assert session.run(v) == 3.0


def test_a_condition_that_checks_is_asked_in_each_turn():
    def goes_on(i):
        with pf.control_dependencies([pf.assert_less(i, 2)]):
            return i < 3

    loop = pf.while_loop(goes_on, lambda i: i + 1, [0])
    with pf.Session() as session, pytest.raises(pf.errors.InvalidArgumentError, match="assertion failed"):
        session.run(loop)
