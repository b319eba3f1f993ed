"""Faults name the operation, the user's line and what to do."""

import inspect
import traceback

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError, InvalidArgumentError


def placed(call):
    """A function of one line and its place, ``file:line``."""
    return call, f"{__file__}:{call.__code__.co_firstlineno}"


def test_a_shape_error_names_the_operation_the_shapes_and_the_line(graph):
    a, b = pf.placeholder(pf.float32, (2, 3)), pf.placeholder(pf.float32, (4, 5))
    build, place = placed(lambda: pf.matmul(a, b))
    with pytest.raises(GraphError) as caught:
        build()
    message = str(caught.value)
    assert message.startswith("matmul((2, 3), (4, 5))")
    assert place in message
    assert "3 and 4" in message


def test_the_line_is_the_user_s_even_inside_composites(graph):
    build, place = placed(lambda: pf.losses.mean_squared_error(pf.ones([2, 3]), pf.ones([4, 3])))
    with pytest.raises(GraphError) as caught:
        build()
    assert place in str(caught.value)


def test_operations_know_the_line_that_made_them(graph):
    build, place = placed(lambda: pf.ones([2]) + 1.0)
    assert place in build().op.where()


def test_a_shape_that_only_the_feed_reveals_is_explained_with_the_line(graph):
    a, b = pf.placeholder(pf.float32, (None, None)), pf.placeholder(pf.float32, (None, None))
    build, place = placed(lambda: pf.matmul(a, b))
    c = build()
    with pf.Session() as session, pytest.raises(GraphError) as caught:
        session.run(c, {a: np.ones((2, 3)), b: np.ones((4, 5))})
    assert "matmul((2, 3), (4, 5))" in str(caught.value)
    assert place in str(caught.value)


def test_an_unknown_argument_is_answered_with_those_there_are(graph):
    with pytest.raises(TypeError, match=r"tanh\(\) has no argument 'axis'"):
        pf.tanh(pf.ones([2]), axis=1)
    with pytest.raises(TypeError, match=r"add\(\) needs the tensor 'y'"):
        pf.add(pf.ones([2, 2]))


def test_arguments_by_position_end_with_the_name(graph):
    assert pf.add(1.0, 2.0, "three").name == "three:0"
    assert pf.reduce_sum([[1.0]], 0, True, "total").name == "total:0"
    assert str(inspect.signature(pf.argmax)) == "(input, axis=None, name=None, output_type='int64')"
    with pytest.raises(TypeError, match=r"add\(\) takes 3 arguments at most: x, y, name"):
        pf.add(1.0, 2.0, "three", "four")
    with pytest.raises(TypeError, match=r"reduce_sum\(\) got the argument 'axis' twice"):
        pf.reduce_sum([1.0], 0, axis=0)
    with pytest.raises(TypeError, match=r"square\(\): the name is a string, not 2"):
        pf.square(1.0, 2)


def test_a_tensor_for_an_attribute_must_be_known(graph):
    assert pf.reduce_sum(pf.ones([2, 3]), axis=pf.constant(1)).shape == [2]
    with pytest.raises(InvalidArgumentError, match=r"reduce_sum: 'axis' must be known.*test_messages\.py"):
        pf.reduce_sum(pf.ones([2, 2]), axis=pf.placeholder(pf.int32, []))


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
    build, place = placed(lambda: pf.gather(x, index, name="picked"))
    picked = build()
    with pf.Session() as session:
        with pytest.raises(pf.errors.ParaflowError) as caught:
            session.run(picked, {x: [1, 2, 3], index: 7})
        shown = "".join(traceback.format_exception(caught.value))
        assert "'picked'" in shown
        assert place in shown
        assert session.run(picked, {x: [1, 2, 3], index: 1}) == 2


def test_an_error_in_a_constant_expression_names_the_operation_and_its_line(graph):
    build, place = placed(lambda: pf.floordiv(pf.constant(1), pf.constant(0), name="quotient"))
    quotient = build()
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
