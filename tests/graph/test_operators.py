"""Python's operators on tensors and variables, with numbers, lists and numpy arrays on either side."""

import operator

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import InvalidArgumentError

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip
A = np.array([[1.0, -2.5, 3.0], [4.0, 0.5, 2.0]], np.float32)
B = np.array([[2.0, 2.0, 0.5], [1.0, 2.0, 3.0]], np.float32)
FLAGS = np.array([True, True, False, False])


def value(tensor):
    with pf.Session(graph=tensor.graph) as session:
        session.run(pf.global_variables_initializer())
        return session.run(tensor)


def as_tensor(array):
    return pf.constant(array)


def as_variable(array):
    return pf.Variable(array)


@pytest.mark.parametrize("make", [as_tensor, as_variable])
@pytest.mark.parametrize("function", BINARY)
def test_operators_mean_what_they_mean_to_numpy(graph, function, make):
    with np.errstate(all="ignore"):
        expected = function(A, B)
    for a, b in ((make(A), make(B)), (make(A), B), (A, make(B)), (make(A), as_tensor(B))):
        found = function(a, b)
        assert isinstance(found, pf.Tensor)
        np.testing.assert_allclose(value(found), expected, rtol=1e-6, equal_nan=True)
        assert value(found).dtype == expected.dtype


@pytest.mark.parametrize("number", [2, 2.0, np.float32(2), np.float64(2), [[2.0, 2.0, 2.0]]])
@pytest.mark.parametrize("function", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_numbers_take_the_tensor_s_dtype(graph, function, number):
    x = pf.constant(B)
    if isinstance(number, np.float64):
        with pytest.raises(InvalidArgumentError, match="float64"):
            function(x, pf.constant(number))
    for found, expected in ((function(x, number), function(B, np.float32(2))), (function(number, x), function(2, B))):
        assert found.dtype == np.float32
        np.testing.assert_allclose(value(found), expected, rtol=1e-6)


@pytest.mark.parametrize("make", [as_tensor, as_variable])
def test_numpy_on_the_left_gives_one_tensor_and_not_an_array_of_them(graph, make):
    x = make(A)
    before = len(graph.operations)
    found = np.ones((2, 3), np.float32) * x
    assert isinstance(found, pf.Tensor)
    assert len(graph.operations) - before <= 3
    assert isinstance(np.ones((3, 2), np.float32) @ x, pf.Tensor)
    np.testing.assert_array_equal(value(np.ones((3, 2), np.float32) @ x), np.ones((3, 2)) @ A)


def test_matrix_products(graph):
    np.testing.assert_allclose(value(pf.constant(A) @ pf.constant(B.T)), A @ B.T, rtol=1e-6)
    np.testing.assert_allclose(value(A @ pf.constant(B.T)), A @ B.T, rtol=1e-6)


def test_signs_and_powers(graph):
    np.testing.assert_array_equal(value(-pf.constant(A)), -A)
    np.testing.assert_array_equal(value(abs(pf.constant(A))), abs(A))
    np.testing.assert_allclose(value(2.0 ** pf.constant(A)), 2**A, rtol=1e-6)


def test_boolean_operators(graph):
    p, q = FLAGS, FLAGS[::-1].copy()
    for found, expected in (
        (pf.constant(p) & pf.constant(q), p & q),
        (pf.constant(p) | q, p | q),
        (p ^ pf.constant(q), p ^ q),
        (~pf.constant(p), ~p),
    ):
        np.testing.assert_array_equal(value(found), expected)


def test_integers_keep_their_dtype_but_not_in_quotients(graph):
    x = pf.constant([7, -7])
    assert x.dtype == np.int32
    assert value(x + 1).tolist() == [8, -6]
    assert value(x // 2).tolist() == [3, -4]
    assert value(x % 4).tolist() == [3, 1]
    assert value(x / 2).tolist() == [3.5, -3.5]
    assert (x / 2).dtype == np.float64
    assert value(x / 1).dtype == np.float64


def test_a_fraction_does_not_become_an_integer(graph):
    with pytest.raises(InvalidArgumentError, match=r"0\.5.*int32.*test_operators\.py"):
        pf.constant([1, 2]) * 0.5
    with pytest.raises(InvalidArgumentError, match="int32"):
        pf.constant([1, 2]) + 2**40


def test_dtypes_do_not_mix_by_themselves(graph):
    with pytest.raises(InvalidArgumentError, match=r"add.*float32.*int32.*cast.*test_operators\.py"):
        pf.constant(1.0) + pf.constant(1)


def test_equality_is_identity_so_tensors_can_be_keys(graph):
    x, y = pf.constant(1.0), pf.constant(1.0)
    assert x == x
    assert x != y
    assert {x: 1, y: 2}[y] == 2
    w = pf.Variable(1.0)
    assert {w: 3}[w] == 3
    assert (np.float32(1) == x) is False


def test_indexing(graph):
    x = pf.constant(A)
    for found, expected in (
        (x[0], A[0]), (x[-1, 1], A[-1, 1]), (x[:, 1:], A[:, 1:]), (x[::-1], A[::-1]), (x[..., 0], A[..., 0]),
        (x[:, None], A[:, None]),
    ):  # fmt: skip
        np.testing.assert_array_equal(value(found), expected)
        assert found.shape.as_list() == list(np.shape(expected))


def test_a_tensor_is_iterated_over_where_its_length_is_known(graph):
    rows = list(pf.constant(A))
    assert len(rows) == 2
    np.testing.assert_array_equal(value(rows[1]), A[1])
    with pytest.raises(TypeError, match="unstack"):
        iter(pf.placeholder(pf.float32, (None, 2)))
    with pytest.raises(TypeError, match="unstack"):
        iter(pf.constant(1.0))


@pytest.mark.parametrize("make", [as_tensor, as_variable])
def test_a_tensor_has_no_truth_value(graph, make):
    with pytest.raises(TypeError, match="no truth value"):
        bool(make(A))
    with pytest.raises(TypeError, match="no truth value"):
        bool(make(A) > 0)


def test_a_tensor_is_not_an_array(graph):
    x = pf.constant(A, name="x")
    with pytest.raises(TypeError, match=r"'x:0'.*session"):
        np.asarray(x)
    with pytest.raises(TypeError):
        np.sum(x)


def test_lists_of_tensors_become_one_tensor(graph):
    x = pf.placeholder(pf.float32, (), name="x")
    packed = pf.convert_to_tensor([x, 2.0, pf.Variable(3.0)])
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert session.run(packed, {x: 1.0}).tolist() == [1.0, 2.0, 3.0]
