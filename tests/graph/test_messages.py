"""Faults name the operation, the user's line and what to do."""

import inspect
import traceback

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError, InvalidArgumentError


def this_line():
    """``file:line`` of the caller."""
    frame = inspect.currentframe().f_back
    return f"{__file__}:{frame.f_lineno}"


def test_a_shape_error_names_the_operation_the_shapes_and_the_line(graph):
    a, b = pf.placeholder(pf.float32, (2, 3)), pf.placeholder(pf.float32, (4, 5))
    with pytest.raises(GraphError) as caught:
        place = this_line(); pf.matmul(a, b)  # noqa: E702  (one line, so that it is the line)
    message = str(caught.value)
    assert message.startswith("matmul((2, 3), (4, 5))")
    assert place in message
    assert "3 and 4" in message


def test_the_line_is_the_user_s_even_inside_composites(graph):
    with pytest.raises(GraphError) as caught:
        place = this_line(); pf.losses.mean_squared_error(pf.ones([2, 3]), pf.ones([4, 3]))  # noqa: E702
    assert place in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))


def test_operations_know_the_line_that_made_them(graph):
    place = this_line(); x = pf.ones([2]) + 1.0  # noqa: E702
    assert place in x.op.where()


def test_a_shape_that_only_the_feed_reveals_is_explained_with_the_line(graph):
    a, b = pf.placeholder(pf.float32, (None, None)), pf.placeholder(pf.float32, (None, None))
    place = this_line(); c = pf.matmul(a, b)  # noqa: E702
    with pf.Session() as session, pytest.raises(GraphError) as caught:
        session.run(c, {a: np.ones((2, 3)), b: np.ones((4, 5))})
    assert "matmul((2, 3), (4, 5))" in str(caught.value)
    assert place in str(caught.value)


def test_an_unknown_argument_is_answered_with_those_there_are(graph):
    with pytest.raises(TypeError, match=r"tanh\(\) has no argument 'axis'"):
        pf.tanh(pf.ones([2]), axis=1)
    with pytest.raises(TypeError, match=r"matmul\(\) needs the tensor 'b'"):
        pf.matmul(pf.ones([2, 2]))


def test_a_tensor_for_an_attribute_is_refused(graph):
    with pytest.raises(InvalidArgumentError, match=r"reduce_sum: 'axis' must be known.*test_messages\.py"):
        pf.reduce_sum(pf.ones([2, 2]), axis=pf.constant(1))


@pytest.mark.parametrize("value", ["text", [[1.0], [1.0, 2.0]], object(), None])
def test_what_is_no_array_is_refused_with_the_line(graph, value):
    with pytest.raises(InvalidArgumentError, match=r"test_messages\.py:\d+"):
        pf.constant(value)


def test_a_wrong_dtype_names_the_operand(graph):
    flags = pf.constant([True, False], name="flags")
    with pytest.raises(InvalidArgumentError, match=r"sqrt.*float.*flags.*bool"):
        pf.sqrt(flags)


def test_an_error_in_a_kernel_names_the_operation_and_its_line(graph):
    x = pf.placeholder(pf.float32, (3,))
    index = pf.placeholder(pf.int32, (), name="index")
    place = this_line(); picked = pf.gather(x, index, name="picked")  # noqa: E702
    with pf.Session() as session:
        with pytest.raises(pf.errors.ParaflowError) as caught:
            session.run(picked, {x: [1, 2, 3], index: 7})
        shown = "".join(traceback.format_exception(caught.value))
        assert "'picked'" in shown
        assert place in shown
        assert session.run(picked, {x: [1, 2, 3], index: 1}) == 2


def test_an_error_in_a_constant_expression_names_the_operation_and_its_line(graph):
    place = this_line(); quotient = pf.floordiv(pf.constant(1), pf.constant(0), name="quotient")  # noqa: E702
    with pf.Session() as session, pytest.raises(InvalidArgumentError) as caught:
        session.run(quotient)
    shown = "".join(traceback.format_exception(caught.value))
    assert "'quotient'" in shown
    assert place in shown


def test_a_missing_gradient_names_the_operation_and_the_way_out(graph):
    x = pf.placeholder(pf.float64, (3, 3))
    with pytest.raises(GraphError, match=r"no gradient.*'top'.*test_messages\.py:\d+.*stop_gradient"):
        pf.gradients(without_gradient(x, name="top"), [x])


@pf.op(elementwise=True)
def without_gradient(x):
    """An operation that nobody has derived."""
    return np.round(x)
