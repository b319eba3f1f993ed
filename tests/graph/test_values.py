"""How values become tensors: lists that hold tensors and variables, and dtypes; ops/tf_arrays_cases.py has more."""

import numpy as np
import pytest

import paraflow as pf

pytestmark = pytest.mark.usefixtures("graph")


def run(tensor, feeds=None):
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return session.run(tensor, feeds)


def test_variables_in_lists_are_read_and_trained():
    angle, table = pf.Variable(0.5), pf.Variable([[1.0, 2.0], [3.0, 4.0]])
    rotation = pf.convert_to_tensor([[pf.cos(angle), -angle], [angle, 1]])
    product = pf.matmul(rotation, table)
    found, *back = run([product, *pf.gradients(product, [angle, table])])
    np.testing.assert_allclose(found, np.array([[np.cos(0.5), -0.5], [0.5, 1]]) @ [[1, 2], [3, 4]], rtol=1e-6)
    np.testing.assert_allclose(back[0], -3 * np.sin(0.5) - 7 + 3, rtol=1e-6)
    np.testing.assert_allclose(back[1], np.repeat([[np.cos(0.5) + 0.5], [-0.5 + 1]], 2, 1), rtol=1e-6)


def test_a_read_in_a_list_has_its_place_in_the_program():
    count = pf.Variable(1)
    before = pf.stack([count, 10])
    count.assign_add(1)
    assert run([before, pf.stack([[count], [20]])])[0].tolist() == [1, 10]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_lists_of_any_depth_are_packed_and_known_early(depth):
    def nested(item):
        return item if not item[1] else [nested((item[0], item[1] - 1)), nested((item[0], item[1] - 1))]

    def leaf(value):
        return [leaf(v) for v in value] if isinstance(value, list) else value[0]

    tensor = pf.convert_to_tensor(leaf(nested((pf.constant(3), depth))))
    assert tensor.shape == (2,) * depth
    assert (pf.get_static_value(tensor) == 3).all()
    assert tensor.op.name == "packed" if depth == 1 else tensor.op.name.startswith("packed_")


def test_gradients_flow_through_what_is_cast_in_a_list():
    x = pf.placeholder(pf.float32, (2,))
    wide = pf.convert_to_tensor([[x[0], 2], [x[1], x[0]]], pf.float64)
    assert wide.dtype == np.float64
    (gradient,) = pf.gradients(wide * wide, x)
    assert gradient.dtype == np.float32
    assert run(gradient, {x: [3.0, 5.0]}).tolist() == [12, 10]


@pytest.mark.parametrize("operation", [pf.maximum, pf.add])
def test_numbers_take_the_dtype_of_a_tensor_in_a_list_beside_them(operation):
    t = pf.constant(2.5)
    for found in (operation(1, [[t, 1]]), operation([[t, 1]], 1), operation([0, 1], [[1, t]])):
        assert found.dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [
        lambda i, f, b: pf.convert_to_tensor([[f], [i]]),
        lambda i, f, b: pf.convert_to_tensor([[f, 1]], pf.int32),
        lambda i, f, b: pf.convert_to_tensor([i, 1], pf.int8),
        lambda i, f, b: pf.convert_to_tensor([[b]], pf.int32),
        lambda i, f, b: pf.convert_to_tensor([[i]], pf.bool),
        lambda i, f, b: pf.convert_to_tensor([i, 1.5]),
        lambda i, f, b: pf.convert_to_tensor(f, pf.int32),
        lambda i, f, b: pf.convert_to_tensor(pf.Variable(1), pf.float32),
        lambda i, f, b: pf.convert_to_tensor_or_indexed_slices(f, pf.int32),
        lambda i, f, b: pf.convert_to_tensor_or_sparse_tensor(f, pf.int32),
        lambda i, f, b: i * [[f]],
        lambda i, f, b: pf.assign(pf.Variable([1]), [f]),
    ],
)
def test_what_would_change_a_number_is_refused(make):
    with pytest.raises(ValueError, match=r"(use cast|does not fit).*test_values\.py:\d+"):
        make(pf.constant(1), pf.constant(1.5), pf.constant(True))


@pytest.mark.parametrize(
    "value",
    [lambda t: [[t, t], [t]], lambda t: [[t, t], t], lambda t: [t, None], lambda t: ["a", t], lambda t: [t, []]],
)
def test_lists_of_no_one_shape_are_refused(value):
    with pytest.raises(ValueError, match=r"test_values\.py:\d+"):
        pf.convert_to_tensor(value(pf.constant(1.0)))


def test_constants_hold_no_tensors():
    for value in (pf.constant(1), [[pf.constant(1)]], [pf.Variable(1)]):
        with pytest.raises((TypeError, ValueError), match=r"has no value yet|cannot make a tensor"):
            pf.constant(value)
