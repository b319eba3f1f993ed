"""Assertions: when they run, what they say, and where the error comes at once."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError

pytestmark = pytest.mark.usefixtures("graph")


def run(fetches, feeds=None, **options):
    with pf.Session(**options) as session:
        session.run(pf.global_variables_initializer())
        return session.run(fetches, feeds)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_assertion_runs_because_something_waits_for_it(threads):
    x = pf.placeholder(pf.float32, [None])
    with pf.control_dependencies([pf.assert_equal(x, [1.0, 2.0], message="hey", data=["d", x])]):
        y = x + 1.0
    z = y * 2.0
    assert run(z, {x: [1.0, 2.0]}, threads=threads).tolist() == [4.0, 6.0]
    with pytest.raises(InvalidArgumentError, match=r"assertion failed: \[hey\] \[d\] \[1 3\]") as caught:
        run(z, {x: [1.0, 3.0]}, threads=threads)
    (note,) = caught.value.__notes__
    assert "operation 'assert_equal'" in note
    assert "test_checks.py:" in note


def test_an_assertion_before_an_update_keeps_the_variable():
    x = pf.placeholder(pf.float32, [])
    w = pf.Variable(1.0)
    with pf.control_dependencies([pf.assert_positive(x)]):
        step = w.assign_add(x)
    with pf.Session() as session:
        session.run(w.initializer)
        with pytest.raises(InvalidArgumentError, match="Condition x > 0 did not hold"):
            session.run(step, {x: -1.0})
        assert session.run(w) == 1.0
        assert session.run(step, {x: 2.0}) == 3.0


def test_a_bare_assertion_and_what_it_shows():
    x = pf.placeholder(pf.float32, [None])
    check = pf.Assert(pf.reduce_all(x > 0.0), [x, "msg"])
    assert run(check, {x: [1.0]}) is None
    with pytest.raises(InvalidArgumentError, match=r"assertion failed: \[1 -3 4\.\.\.\] \[msg\]"):
        run(check, {x: [1.0, -3.0, 4.0, 5.0]})
    with pytest.raises(ValueError, match="bool"):
        pf.Assert(1.0, [x])


@pytest.mark.parametrize(
    ("name", "x", "y", "holds"),
    [
        ("assert_equal", [1, 2], [1, 2], True),
        ("assert_equal", [1, 2], [1, 3], False),
        ("assert_none_equal", [1, 2], [2, 1], True),
        ("assert_none_equal", [1, 2], [2, 2], False),
        ("assert_less", [1, 2], 3, True),
        ("assert_less", [1, 3], 3, False),
        ("assert_less_equal", [1, 3], 3, True),
        ("assert_less_equal", [1, 4], 3, False),
        ("assert_greater", 3, [1, 2], True),
        ("assert_greater", 3, [1, 3], False),
        ("assert_greater_equal", 3, [1, 3], True),
        ("assert_greater_equal", 3, [1, 4], False),
        ("assert_near", [1.0, 2.0], [1.0, 2.000001], True),
        ("assert_near", [1.0, 2.0], [1.0, 2.00001], False),
        ("assert_negative", [-1, -2], None, True),
        ("assert_negative", [-1, 0], None, False),
        ("assert_positive", [1, 2], None, True),
        ("assert_positive", [1, 0], None, False),
        ("assert_non_negative", [1, 0], None, True),
        ("assert_non_negative", [1, -1], None, False),
        ("assert_non_positive", [-1, 0], None, True),
        ("assert_non_positive", [-1, 1], None, False),
    ],
)
def test_comparisons_at_run_time_and_of_constants(name, x, y, holds):
    check = getattr(pf, name)
    operands = [np.asarray(v, np.float32) for v in (x, y) if v is not None]
    fed = [pf.placeholder(pf.float32, None) for _ in operands]
    feeds = dict(zip(fed, operands, strict=True))
    later = check(*fed)
    if holds:
        run([later, check(*operands)], feeds)
        return
    with pytest.raises(InvalidArgumentError, match="did not hold element-wise"):
        run(later, feeds)
    with pytest.raises(InvalidArgumentError, match=r"did not hold element-wise"):
        run(check(*operands))


def test_what_is_known_to_fail_fails_at_once():
    with pytest.raises(InvalidArgumentError, match=r"hey Condition x < y .* = \[1, 3\]; y .* = 2 at .*test_checks.py"):
        pf.assert_less([1, 3], 2, message="hey")


def test_ranks():
    known, unknown = pf.zeros([2]), pf.placeholder(pf.float32)
    run([pf.assert_rank(known, 1), pf.assert_rank_at_least(known, 0), pf.assert_rank_in(known, [1, 2])])
    for check, wanted in ((pf.assert_rank, 2), (pf.assert_rank_at_least, 2), (pf.assert_rank_in, [2, 3])):
        with pytest.raises(ValueError, match="must have rank"):
            check(known, wanted)
        later = check(unknown, wanted)
        run(later, {unknown: [[1.0]]})
        with pytest.raises(InvalidArgumentError, match="must have rank"):
            run(later, {unknown: [1.0]})
    assert pf.assert_scalar(pf.constant(1.0)).shape == []
    with pytest.raises(ValueError, match="scalar"):
        pf.assert_scalar(known)


def test_dtypes():
    run([pf.assert_integer(3), pf.assert_type(1.0, pf.float32)])
    with pytest.raises(TypeError, match="integers"):
        pf.assert_integer(1.0)
    with pytest.raises(TypeError, match="must be of type int32, not float32"):
        pf.assert_type(1.0, pf.int32)


# -- shapes -----------------------------------------------------------------------------------------------------------


def zeros(*shape):
    return pf.placeholder_with_default(np.zeros(shape, np.float32), shape)


def test_shapes_that_hold_pass(graph):
    pf.debugging.assert_shapes(
        [(zeros(2, 3), ("N", "D")), (zeros(3), ["D"]), (zeros(5, 2, 7), (..., "N", 7)), (zeros(2, 9), "N."),
         (zeros(4, 1), (None, 1)), (zeros(), ()), (zeros(), (1,)), (zeros(8, 2), ("*", "N")), (zeros(6), None)]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([((2, 3), ("N", "N"))], "m. Specified by tensor .* dimension 0. .* 1 must have size 2. Received size 3"),
        ([((2, 3), ("N", 4))], "m. Specified explicitly. Tensor .* dimension 1 must have size 4. Received size 3"),
        ([((2, 3), ("N", "D")), ((4, 2), (..., "D"))], "dimension -1 must have size 3. Received size 2"),
        ([((2, 3), ("N",))], r"must have rank in \(0, 1\)"),
        ([((2, 3), ("N", "D", "E"))], "must have rank 3"),
        ([((2,), ("*", "D", "E"))], "must have rank at least 2"),
        ([((2, 3), ("N", "*"))], "allowed as the first entry only"),
        ([((2, 3), 3)], "must be iterable"),
    ],
)
def test_shapes_that_are_known_not_to_hold_are_told_at_once(graph, pairs, message):
    with pytest.raises(ValueError, match=message):
        pf.debugging.assert_shapes([(zeros(*shape), wanted) for shape, wanted in pairs], message="m")


def test_shapes_of_the_run_are_checked_then(graph):
    x, y = pf.placeholder(pf.float32, (None, None)), pf.placeholder(pf.float32, (None,))
    check = pf.debugging.assert_shapes({x: ("N", 3), y: ("N",)}, name="fits")
    with pf.Session() as session:
        session.run(check, {x: np.zeros((2, 3)), y: [1, 2]})
        with pytest.raises(InvalidArgumentError, match=r"Specified by tensor .* must have size"):
            session.run(check, {x: np.zeros((2, 3)), y: [1]})
        with pytest.raises(InvalidArgumentError, match=r"Specified explicitly.* must have size"):
            session.run(check, {x: np.zeros((2, 4)), y: [1, 2]})


def test_a_scalar_of_unknown_rank_counts_as_one_axis(graph):
    x, y = pf.placeholder(pf.float32), pf.placeholder(pf.float32, (None,))
    check = pf.debugging.assert_shapes([(x, ("N",)), (y, ("N",))])
    with pf.Session() as session:
        session.run(check, {x: 5.0, y: [1.0]})
        session.run(check, {x: [5.0, 6.0], y: [1.0, 2.0]})
        with pytest.raises(InvalidArgumentError, match="must have size"):
            session.run(check, {x: 5.0, y: [1.0, 2.0]})
