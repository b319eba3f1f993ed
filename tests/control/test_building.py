"""What branches, loops and TensorArrays take and refuse while they are built, as TensorFlow 1 does."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError

ONE, TWO = (lambda: pf.constant(1.0)), (lambda: pf.constant(2.0))


@pytest.fixture(autouse=True)
def _graph():
    with pf.Graph().as_default():
        yield


def flag():
    return pf.placeholder_with_default(True, ())


def run(fetches, feeds=None):
    with pf.Session() as session:
        return session.run(fetches, feeds)


@pytest.mark.parametrize(
    ("error", "message", "build"),
    [
        (ValueError, "must have the same type", lambda: pf.cond(flag(), lambda: 1.0, lambda: 1)),
        (ValueError, "same structure", lambda: pf.cond(flag(), lambda: (1.0, 2.0), lambda: 1.0)),
        (TypeError, "same sequence type", lambda: pf.cond(flag(), lambda: [1.0, 2.0], lambda: (1.0, 2.0))),
        (ValueError, "must have a return value", lambda: pf.cond(flag(), lambda: None, lambda: None)),
        (TypeError, "must not be a Python bool", lambda: pf.cond(True, ONE, TWO)),
        (TypeError, "true_fn must be callable", lambda: pf.cond(flag(), 1.0, TWO)),
        (TypeError, "bool, not int32", lambda: pf.cond(pf.constant(1), ONE, TWO)),
        (ValueError, "a scalar, not of shape", lambda: pf.cond(pf.constant([True]), ONE, TWO)),
        (TypeError, "cond must be callable", lambda: pf.while_loop(1, lambda i: i, [0])),
        (TypeError, "body must be callable", lambda: pf.while_loop(lambda i: i < 1, 1, [0])),
        (ValueError, "no loop variables", lambda: pf.while_loop(lambda: True, list, [])),
        (TypeError, "parallel_iterations", lambda: pf.while_loop(lambda i: i < 1, lambda i: i, [0], None, 0)),
        (TypeError, "bool, not int32", lambda: pf.while_loop(lambda i: i, lambda i: i, [0])),
        (TypeError, "enters the loop as int32, but body returns float32",
         lambda: pf.while_loop(lambda i: i < 3, lambda i: pf.cast(i, pf.float32), [0])),
        (ValueError, "same structure", lambda: pf.while_loop(lambda i: i < 3, lambda i: (i, i), [0])),
        (ValueError, r"enters with shape \(1,\), but body returns \(2,\); give while_loop shape_invariants",
         lambda: pf.while_loop(lambda x: True, lambda x: pf.concat([x, x], 0), [pf.zeros([1])])),
        (ValueError, r"shape invariant \(2,\) does not allow",
         lambda: pf.while_loop(lambda x: True, lambda x: x, [pf.zeros([1])], [pf.TensorShape([2])])),
        (ValueError, "maximum_iterations must be a scalar",
         lambda: pf.while_loop(lambda i: i < 3, lambda i: i + 1, [0], maximum_iterations=[1, 2])),
        (TypeError, "pred must be a tensor", lambda: pf.case([(True, ONE)])),
        (TypeError, "must be a list, tuple, or dict", lambda: pf.case(1)),
        (TypeError, "2-tuple", lambda: pf.case([(flag(), ONE, 2)])),
        (ValueError, "at least one pair", lambda: pf.case([])),
        (TypeError, "must be an integer", lambda: pf.switch_case(pf.constant(1.0), [ONE])),
        (ValueError, "numbered 0 to n - 1", lambda: pf.switch_case(pf.constant(1), {0: ONE, 2: TWO})),
        (ValueError, "one axis at least", lambda: pf.map_fn(lambda x: x, 1.0)),
        (ValueError, "same structure", lambda: pf.map_fn(lambda x: (x, x), pf.constant([1.0, 2.0]))),
        (TypeError, "returns int32, but float32 is expected",
         lambda: pf.map_fn(lambda x: pf.cast(x, pf.int32), pf.constant([1.0]))),
        (ValueError, "same structure", lambda: pf.scan(lambda a, x: (a, x), pf.constant([1.0]), 1.0)),
        (TypeError, "fn must be callable", lambda: pf.foldl(1, pf.zeros([2]))),
        (ValueError, "made with a size", lambda: pf.TensorArray(pf.float32)),
        (ValueError, r"saw \(2,\) but expected \(1,\)",
         lambda: pf.TensorArray(pf.float32, 2).write(0, [1.0]).write(1, [1.0, 2.0])),
        (ValueError, "cannot hold", lambda: pf.TensorArray(pf.float32, 2).write(0, pf.constant(1))),
    ],
)  # fmt: skip
def test_refusals_are_those_of_tensorflow(error, message, build):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("already been written", lambda: pf.TensorArray(pf.float32, 2).write(0, 1.0).write(0, 2.0).read(0)),
        ("not resizeable and size is: 2", lambda: pf.TensorArray(pf.float32, 2).write(2, 1.0).read(0)),
        ("is negative", lambda: pf.TensorArray(pf.float32, 2).write(-1, 1.0).read(0)),
        ("has not been written to", lambda: pf.TensorArray(pf.float32, 2).read(0)),
        ("size is: 2", lambda: pf.TensorArray(pf.float32, 2).unstack([1.0, 2.0, 3.0]).read(0)),
        ("not fully defined", lambda: pf.TensorArray(pf.float32, 0).stack()),
        ("None of conditions", lambda: pf.case([(pf.constant(False), ONE), (pf.constant(False), TWO)])),
        ("more than 1 conditions", lambda: pf.case([(flag(), ONE), (flag(), TWO)], exclusive=True)),
    ],
)
def test_what_fails_when_it_runs(message, build):
    fetch = build()
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        run(fetch)
    assert "test_building.py" in caught.value.__notes__[0]


def test_structures_come_back_as_they_are():
    found = pf.cond(flag(), lambda: {"b": 1.0, "a": [2.0, (3.0,)]}, lambda: {"b": 0.0, "a": [0.0, (0.0,)]})
    assert run(found) == {"b": 1.0, "a": [2.0, (3.0,)]}
    assert isinstance(pf.cond(flag(), lambda: [1.0], lambda: [2.0]), pf.Tensor)
    assert isinstance(pf.cond(flag(), lambda: [1.0], lambda: [2.0], strict=True), list)
    loop = pf.while_loop(lambda i, d: i < 3, lambda i, d: (i + 1, {"x": d["x"] * 2}), (0, {"x": pf.constant(1.0)}))
    assert run(loop) == (3, {"x": 8.0})
    assert run(pf.while_loop(lambda i: i < 3, lambda i: i + 1, [0])) == 3
    assert run(pf.while_loop(lambda i: i < 3, lambda i: [i + 1], [0], return_same_structure=True)) == [3]


def test_static_shapes_are_what_holds_for_all_branches_and_turns():
    assert pf.cond(flag(), lambda: pf.zeros([2, 3]), lambda: pf.zeros([4, 3])).shape == (None, 3)
    assert pf.cond(flag(), lambda: pf.zeros([2]), lambda: pf.zeros([4, 3])).shape.ndims is None
    x = pf.placeholder(pf.float32, (None, 3))
    assert pf.while_loop(lambda y: True, lambda y: y * 2, [x]).shape == (None, 3)
    assert pf.map_fn(lambda row: pf.stack([row[0], row[1]]), x).shape == (None, 2)
    assert pf.scan(lambda a, row: a + row, pf.zeros([5, 3])).shape == (5, 3)
    array = pf.TensorArray(pf.float32, 3)
    written = pf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a.write(i, [1.0, 2.0])), (0, array))[1]
    assert written.stack().shape == (3, 2)
    assert written.element_shape == (2,)


def test_an_operation_runs_with_its_branch():
    p, v = pf.placeholder(pf.bool, ()), pf.Variable(0, trainable=False)
    done = pf.cond(p, lambda: v.assign_add(1).op, pf.no_op)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert [bool(session.run(done, {p: value})) for value in (True, False, True)] == [True, False, True]
        assert session.run(v) == 2


def test_a_list_that_has_been_read_can_be_written_to_again():
    """What comes of one list may go two ways: neither sees what is written the other way."""
    base = pf.TensorArray(pf.int32, 100, element_shape=()).write(0, 7)
    left, right = base, base
    for i in range(1, 60):
        left, right = left.write(i, i), right.write(i, -i)
    expected = np.arange(60)
    expected[0] = 7
    found = run([left.stack()[:60], right.stack()[:60], base.stack()[:3], left.read(40), right.read(40)])
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], [7, *(-i for i in range(1, 60))])
    np.testing.assert_array_equal(found[2], [7, 0, 0])
    assert found[3:] == [40, -40]


def test_nothing_passes_without_back_prop():
    x = pf.constant([1.0, 2.0])
    assert pf.gradients(pf.while_loop(lambda y: False, lambda y: y * x, [x], back_prop=False), x) == [None]
    for function in (pf.scan, pf.foldl, pf.foldr):
        assert pf.gradients(function(lambda a, r: a + r, x, back_prop=False), x) == [None]
    assert pf.gradients(pf.map_fn(lambda r: r * 2, x, back_prop=False), x) == [None]
