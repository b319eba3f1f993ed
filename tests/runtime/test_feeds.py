"""What can be fed: values that are the same in the dtype of a tensor, and variables.

Where TensorFlow has another value for what is refused here, numpy's conversion (``np.asarray(value, dtype)``) made it.
"""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError


@pytest.fixture
def session(graph):
    with pf.Session() as session:
        yield session


FIT = [
    (pf.int32, [1.0, -2.0]),
    (pf.int32, np.array([3.0, 2.0**31 - 1])),
    (pf.int32, np.array([-(2.0**31), 5.0])),
    (pf.int64, np.float32(7)),
    (pf.int64, np.array([2**63 - 1], np.uint64)),
    (pf.uint8, np.array([0, 255], np.int64)),
    (pf.uint8, np.array([1.0, 65.0], np.float16)),
    (pf.uint64, 2.0**63),
    (pf.int32, [True, False]),
    (pf.int32, np.array([2 + 0j])),
    (pf.int32, []),
    (pf.int32, np.array([1, 2], ">i8")),
    (pf.bool, 1),
    (pf.bool, [0, 1, 1]),
    (pf.bool, np.array([1.0, 0.0])),
    (pf.bool, []),
    (pf.float32, np.array([1.5 + 0j])),
    (pf.float32, np.array([1, 2.5, np.int8(3)], object)),
    (pf.int32, np.array([[1, 2.0], [True, 3]], object)),
    (pf.float64, np.float32(1.5)),
    (pf.complex64, [1, 2.5]),
    (pf.complex64, np.array([1 + 2j])),
    (pf.bfloat16, [1, 2]),
]


@pytest.mark.parametrize(("dtype", "value"), FIT)
def test_what_is_the_same_in_the_dtype_is_taken(session, dtype, value):
    p = pf.placeholder(dtype)
    wanted = np.real_if_close(np.array(value)).astype(dtype)
    for found in (session.run(pf.identity(p), {p: value}), session.make_callable(pf.identity(p), [p])(value)):
        assert (found.dtype, np.shape(found)) == (dtype, wanted.shape)
        assert np.array_equal(found, wanted)


ROUNDED = [
    (0.1, "float32"), (2**24 + 1, "float32"), ([0.1, 1e300], "float32"), (0.1, "float16"), ([1 / 3], "complex64"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "dtype"), ROUNDED)
def test_floating_point_numbers_are_rounded(session, value, dtype):
    p = pf.placeholder(dtype)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(session.run(p, {p: value}), np.asarray(value, dtype))


LOST = [
    (pf.int32, [1.0, 1.5], "1.5"),
    (pf.int32, 2.0**31, "2147483648.0"),
    (pf.int32, [0.0, np.nan], "nan"),
    (pf.int64, [np.inf], "inf"),
    (pf.int64, 2.0**63, "9.22"),
    (pf.uint64, 2.0**64, "1.84"),
    (pf.uint64, -1, "-1"),
    (pf.uint8, np.array([1, 300], np.int64), "300"),
    (pf.int64, np.array([2**63], np.uint64), "9223372036854775808"),
    (pf.bool, [0, 2], "2"),
    (pf.bool, -1, "-1"),
    (pf.bool, [1.0, 0.5], "0.5"),
    (pf.float32, [1 + 2j], r"\(1\+2j\)"),
    (pf.bool, [0.5j], "0.5j"),
    (pf.int32, np.array([1, 2.5], object), "2.5"),
]


@pytest.mark.parametrize(("dtype", "value", "shown"), LOST)
def test_what_would_become_another_number_is_named_and_refused(session, dtype, value, shown):
    p = pf.placeholder(dtype, name="p")
    message = rf"cannot feed {shown}.*operation 'p'.*test_feeds\.py:\d+\), which is {np.dtype(dtype).name}"
    for run in (lambda: session.run(p, {p: value}), lambda: session.make_callable(p, [p])(value)):
        with pytest.raises(TypeError, match=message) as caught:
            run()
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [None, [None, 1.0], "text", ["1"], object(), np.array([object()]), [1, 2**70], {}])
def test_what_is_no_number_is_refused(session, value):
    p = pf.placeholder(pf.float32, name="p")
    with pytest.raises(TypeError, match=r"cannot feed an array of dtype .*'p'"):
        session.run(p, {p: value})


def test_arrays_of_lists_are_refused_like_lists(session):
    p = pf.placeholder(pf.float32, name="p")
    with pytest.raises(InvalidArgumentError, match="'p:0' is no array"):
        session.run(p, {p: np.array([[1.0], [1.0, 2.0]], object)})


@pytest.mark.parametrize("training", [1, 1.0, np.int64(1), True])
def test_a_number_fed_for_a_flag_chooses_before_the_run(session, training):
    flag, x = pf.placeholder(pf.bool, ()), pf.placeholder(pf.float32, (None,))
    chosen = pf.cond(flag, lambda: pf.reduce_sum(x), lambda: pf.reduce_max(x))
    assert session.run(chosen, {flag: training, x: [1, 2]}) == 3
    assert session.run(chosen, {flag: 0, x: [1, 2]}) == 2
    assert "cond" not in {step.record.name for step in session.plan(chosen, {flag: training, x: [1, 2]}).steps}


# -- variables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["w:0", None])
def test_what_is_fed_for_a_variable_is_what_all_reads_see(session, key):
    w = pf.Variable([1.0, 2.0], name="w")
    key = key or w
    double, again = w * 2.0, w.read_value() + 1.0
    looped = pf.while_loop(lambda i: i < 5.0, lambda i: i + pf.reduce_sum(w), [0.0])
    fetches = [double, again, w, looped, pf.gradients(pf.reduce_sum(w * w), w)[0]]
    values = session.run(fetches, {key: [3, 4]})  # it needs no value
    for value, wanted in zip(values, ([6, 8], [4, 5], [3, 4], 7, [6, 8]), strict=True):
        np.testing.assert_array_equal(value, wanted)
    session.run(w.initializer)
    assert session.run(double).tolist() == [2, 4]


def test_a_callable_may_feed_variables_beside_others(session):
    w, x = pf.Variable([1.0, 2.0]), pf.placeholder(pf.float32, (2,))
    step = session.make_callable(w * x, [w, x])
    assert step([3, 4], [10, 20]).tolist() == [30, 80]
    again = w.read_value()
    assert session.make_callable([again, w * x], [x, w])([1, 2], [5, 6])[0].tolist() == [5, 6]
    assert step([5, 6], [1, 1]).tolist() == [5, 6]
    with pytest.raises(TypeError, match="takes 2 values, not 1"):
        step([3, 4])


def test_one_read_of_a_variable_is_fed_alone(session):
    w = pf.Variable([1.0])
    session.run(w.initializer)
    read, other = w.value(), w.read_value()
    assert session.run([read + 1.0, other + 1.0], {read: [5.0]}) == [[6.0], [2.0]]


def test_a_variable_is_not_fed_where_the_run_assigns_it(session):
    w = pf.Variable([1.0], name="w")
    session.run(w.initializer)
    loss = pf.reduce_sum(w * w)
    train = pf.train.GradientDescentOptimizer(0.5).minimize(loss)
    counted = pf.while_loop(lambda i: i < 9.0, lambda i: i + w.assign_add([1.0])[0], [0.0])
    for fetch in (train, w.assign_add([1.0]), counted):
        with pytest.raises(InvalidArgumentError, match=r"variable 'w' is fed.*assigns it.*load"):
            session.run(fetch, {w: [2.0]})
    assert session.run(loss, {w: [2.0]}) == 4
    assert session.run(w) == 1


def test_a_variable_has_the_shape_and_the_dtype_that_it_has(session):
    w = pf.Variable([1, 2], name="w")
    with pytest.raises(InvalidArgumentError, match=r"shape \(3,\).*'w'.*\(2,\)"):
        session.run(w * 2, {w: [1, 2, 3]})
    with pytest.raises(TypeError, match=r"cannot feed 1\.5"):
        session.run(w * 2, {w: [1.5, 2]})
