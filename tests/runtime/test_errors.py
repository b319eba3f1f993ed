"""Errors have TensorFlow's names: what a program catches there it catches here."""

import pytest

import paraflow as pf

A, B = [1.0, 2.0, 3.0], [1.0, 2.0]


def misfits():
    """Operations that TensorFlow's run refuses with InvalidArgumentError, for shapes that only the feeds decide."""
    a, b = pf.placeholder(pf.float32, (None,)), pf.placeholder(pf.float32, (None,))
    sizes, any_shape = pf.placeholder(pf.int32, (None,)), pf.placeholder(pf.float32)
    yield "add", a + b, {a: A, b: B}
    yield "reshape", pf.reshape(a, (2, 2)), {a: A}
    yield "a reshape whose shape is fed", pf.reshape(a, sizes), {a: A, sizes: [2, 2]}
    yield "matmul", pf.matmul(any_shape, any_shape), {any_shape: [A]}
    yield "matmul of vectors", pf.matmul(any_shape, any_shape), {any_shape: A}
    yield "split", pf.split(a, 2), {a: A}
    yield "tile", pf.tile(a, sizes), {a: A, sizes: [1, 2]}
    yield "a loop's body", pf.while_loop(lambda v: pf.reduce_sum(v) < 10, lambda v: v + b, [a]), {a: A, b: B}
    yield "where", pf.where(a > 0, a, b), {a: A, b: B}
    yield "gather", pf.gather(a, sizes), {a: A, sizes: [5]}


def test_shapes_that_the_feeds_decide_are_invalid_arguments_of_the_run(graph):
    with pf.Session() as session:
        for what, fetch, feeds in misfits():
            with pytest.raises(pf.errors.InvalidArgumentError) as caught:
                session.run(fetch, feeds)
            assert isinstance(caught.value, pf.errors.OpError), what
            told = [caught.value.message, *getattr(caught.value, "__notes__", ())]
            assert "test_errors.py:" in " ".join(told), (what, told)


def test_a_session_goes_on_after_shapes_that_do_not_fit(graph):
    a, b = pf.placeholder(pf.float32, (None,)), pf.placeholder(pf.float32, (None,))
    total = a + b
    with pf.Session() as session:
        with pytest.raises(pf.errors.InvalidArgumentError, match=r"\(3,\) and \(2,\) cannot be broadcast"):
            session.run(total, {a: A, b: B})
        assert session.run(total, {a: A, b: A}).tolist() == [2.0, 4.0, 6.0]


def test_shapes_that_are_known_are_refused_at_building_and_by_no_run(graph):
    with pytest.raises(ValueError, match="cannot be broadcast") as caught:
        pf.zeros((3,)) + pf.zeros((2,))
    assert not isinstance(caught.value, pf.errors.OpError)


def test_errors_are_raised_as_tensorflow_raises_them():
    error = pf.errors.DeadlineExceededError(None, None, "too late")
    assert (str(error), error.message, error.op) == ("too late", "too late", None)
    assert pf.errors.OutOfRangeError("at its end").message == "at its end"
    kinds = (
        "Aborted AlreadyExists Cancelled DataLoss DeadlineExceeded FailedPrecondition Internal InvalidArgument "
        "NotFound OutOfRange PermissionDenied ResourceExhausted Unauthenticated Unavailable Unimplemented Unknown"
    )
    for kind in kinds.split():
        assert issubclass(getattr(pf.errors, f"{kind}Error"), pf.errors.OpError)
