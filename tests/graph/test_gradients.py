"""gradients(): what flows, what does not, and what is refused. Rules of single ops are tested with the ops."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError


def run(fetches, feeds=None):
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        return session.run(fetches, feeds)


def test_unconnected_is_none(graph):
    x, y = pf.constant(2.0), pf.constant(3.0)
    first, second = pf.gradients(x * x, [x, y])
    assert second is None
    assert run(first) == 4.0


def test_several_uses_add_up(graph):
    x = pf.constant(3.0)
    y = x * x + pf.square(x) * x - x
    assert run(pf.gradients(y, x)[0]) == 2 * 3 + 3 * 9 - 1


def test_several_ys_are_summed(graph):
    x = pf.constant([1.0, 2.0])
    assert run(pf.gradients([x * 2, pf.reduce_sum(x * x)], [x])[0]).tolist() == [4.0, 6.0]


def test_y_itself_has_the_gradient_one(graph):
    x = pf.constant([1.0, 2.0])
    y = x * 3
    assert [g.tolist() for g in run(pf.gradients(y, [y, x]))] == [[1.0, 1.0], [3.0, 3.0]]


def test_an_x_above_another_x_gets_all_of_it(graph):
    x = pf.constant(2.0)
    middle = x * x
    y = middle * 3
    assert run(pf.gradients(y, [middle, x])) == [3.0, 12.0]


def test_the_result_has_the_shape_and_dtype_of_x(graph):
    x = pf.placeholder(pf.float64, (None, 3))
    b = pf.Variable(np.ones(3))
    by_x, by_b = pf.gradients(pf.tanh(x + b), [x, b])
    assert by_x.dtype == by_b.dtype == np.float64
    assert by_b.shape.as_list() == [3]
    at = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    found_x, found_b = run([by_x, by_b], {x: at})
    expected = 1 - np.tanh(at + 1) ** 2
    np.testing.assert_allclose(found_x, expected)
    np.testing.assert_allclose(found_b, expected.sum(0))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_gradients_of_gradients(graph, order):
    x = pf.constant(0.5, dtype=pf.float64)
    y = pf.exp(x * x)
    for _ in range(order):
        (y,) = pf.gradients(y, x)
    e = np.exp(0.25)
    expected = [0, 1.0, 2 + 4 * 0.25, 12 * 0.5 + 8 * 0.125, 12 + 48 * 0.25 + 16 * 0.0625]
    expected[1] = 2 * 0.5
    np.testing.assert_allclose(run(y), expected[order] * e, rtol=1e-13)


def test_the_gradient_of_a_gradient_s_norm(graph):
    """A gradient penalty: d/dw of |d loss/dx|^2, in closed form for a linear map."""
    w = pf.Variable(np.array([1.0, -2.0, 3.0]))
    x = pf.constant(np.ones(3))
    (by_x,) = pf.gradients(pf.reduce_sum(w * x * x), x)
    (by_w,) = pf.gradients(pf.reduce_sum(by_x * by_x), w)
    np.testing.assert_allclose(run(by_w), 8 * np.array([1.0, -2.0, 3.0]))


def test_cotangents_are_given_by_grad_ys(graph):
    x = pf.constant([1.0, 2.0, 3.0])
    y = x * x
    assert run(pf.gradients(y, x, grad_ys=pf.constant([1.0, 0.0, -1.0]))[0]).tolist() == [2.0, 0.0, -6.0]
    assert run(pf.gradients([y, x], x, grad_ys=[[1.0, 0.0, -1.0], None])[0]).tolist() == [3.0, 1.0, -5.0]


def test_cotangents_that_do_not_fit_are_refused(graph):
    x = pf.constant([1.0, 2.0, 3.0], name="x")
    with pytest.raises(GraphError, match=r"'x:0'.*\(3,\).*\(2,\)"):
        pf.gradients(x, x, grad_ys=[[1.0, 2.0]])
    with pytest.raises(GraphError, match=r"'x:0'.*\(3,\).*\(\)"):
        pf.gradients(x, x, grad_ys=1.0)
    with pytest.raises(GraphError, match="float64"):
        pf.gradients(x, x, grad_ys=pf.constant(np.ones(3)))
    with pytest.raises(GraphError, match="2 ys but 1 grad_ys"):
        pf.gradients([x, x], x, grad_ys=[[1.0, 2.0, 3.0]])


def test_stop_gradients_make_partial_derivatives(graph):
    """The example of TensorFlow's documentation."""
    a = pf.constant(0.0)
    b = 2 * a
    assert run(pf.gradients(a + b, [a, b], stop_gradients=[a, b])) == [1.0, 1.0]
    assert run(pf.gradients(a + b, [a, b])) == [3.0, 1.0]


def test_nothing_passes_beyond_a_stop(graph):
    x = pf.constant(3.0)
    y = x * x
    assert pf.gradients(y * 2, x, stop_gradients=y) == [None]
    assert run(pf.gradients(y * x, x, stop_gradients=[y])[0]) == 9.0


def test_a_variable_can_be_a_stop_wherever_it_is_read(graph):
    w = pf.Variable(2.0)
    y = w * 3.0
    w.assign_add(1.0)
    z = w * 5.0  # another read
    assert pf.gradients(y + z, w, stop_gradients=[w])[0] is not None
    x = pf.constant(1.0)
    inner = w * x
    by_x = pf.gradients(inner * y, x, stop_gradients=[w])[0]
    assert run(by_x) == 2.0 * 3.0 * 2.0


def test_stop_gradient_is_a_constant(graph):
    x = pf.constant(3.0)
    assert run(pf.gradients(x * pf.stop_gradient(x * x), x)[0]) == 9.0
    assert pf.gradients(pf.stop_gradient(x), x) == [None]


def test_a_variable_read_in_several_places_counts_each_time(graph):
    w = pf.Variable([2.0, 3.0])
    y = w * w + w.value() * 3.0 + w.read_value()
    with pf.control_dependencies([y]):
        y += w * 5.0  # a read of its own
    assert run(pf.gradients(y, w)[0]).tolist() == [2 * 2 + 9.0, 2 * 3 + 9.0]


def test_gradients_reach_through_assignments_to_what_was_assigned(graph):
    x = pf.constant(2.0)
    w = pf.Variable(1.0)
    assert pf.gradients(w * 1.0, x) == [None]


def test_integers_have_no_gradient_and_stop_none(graph):
    table = pf.Variable(np.arange(6.0).reshape(3, 2))
    rows = pf.placeholder(pf.int32, (None,))
    picked = pf.gather(table, rows)
    by_table, by_rows = pf.gradients(pf.reduce_sum(picked * picked), [table, rows])
    assert by_rows is None
    found = run(pf.convert_to_tensor(by_table), {rows: [2, 0, 2]})
    np.testing.assert_allclose(found, [[0.0, 2.0], [0.0, 0.0], [16.0, 20.0]])


def test_casts_to_integers_cut_the_flow(graph):
    x = pf.constant(2.5)
    assert pf.gradients(pf.cast(pf.cast(x, pf.int32), pf.float32), x) == [None]
    through = pf.cast(pf.cast(x, pf.float64) * 2, pf.float32)
    (found,) = pf.gradients(through, x)
    assert found.dtype == np.float32
    assert run(found) == 2.0


def test_the_gradient_of_an_integer_is_refused(graph):
    x = pf.constant(2)
    with pytest.raises(GraphError, match=r"'product'.*test_gradients\.py.*int32"):
        pf.gradients(pf.multiply(x, x, name="product"), x)


def test_outputs_that_nobody_uses_count_as_zero(graph):
    x = pf.constant([[1.0, 2.0], [3.0, 4.0]])
    first, _ = pf.unstack(x)
    assert run(pf.gradients(first * first, x)[0]).tolist() == [[2.0, 4.0], [0.0, 0.0]]


def test_variables_that_are_not_used_are_none(graph):
    w, unused = pf.Variable(1.0), pf.Variable(1.0)
    assert pf.gradients(w * 2.0, [unused]) == [None]


def test_gradients_of_unknown_batch_sizes_fit_every_batch(graph):
    x = pf.placeholder(pf.float64, (None, 2))
    w = pf.Variable(np.array([[1.0], [2.0]]))
    (by_w,) = pf.gradients(pf.reduce_mean(pf.square(pf.matmul(x, w))), w)
    rng = np.random.default_rng(0)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        for n in (1, 3, 8):
            at = rng.normal(size=(n, 2))
            expected = 2 / n * at.T @ (at @ [[1.0], [2.0]])
            np.testing.assert_allclose(session.run(by_w, {x: at}), expected, rtol=1e-12)


def test_a_long_chain_needs_no_deep_stack(graph):
    x = pf.constant(1.0)
    y = x
    for _ in range(3000):
        y = y + x
    assert run(pf.gradients(y, x)[0]) == 3001.0


def test_hessians_are_second_derivatives():
    with pf.Graph().as_default(), pf.Session() as session:
        x, y = pf.constant([[1.0, 2.0], [0.5, -1.0]]), pf.constant([3.0, 4.0])
        value = pf.reduce_sum(x * x * x) + pf.reduce_prod(y)
        of_x, of_y = session.run(pf.hessians(value, [x, y]))
        expected = np.zeros((2, 2, 2, 2), np.float32)
        for i, j in np.ndindex(2, 2):
            expected[i, j, i, j] = 6 * [[1.0, 2.0], [0.5, -1.0]][i][j]
        np.testing.assert_array_equal(of_x, expected)
        np.testing.assert_array_equal(of_y, [[0.0, 1.0], [1.0, 0.0]])
        with pytest.raises(pf.errors.GraphError, match="ys do not depend on"):
            pf.hessians(value, pf.constant([1.0]))


def test_gradients_that_there_are_none_of_may_be_zeros():
    with pf.Graph().as_default(), pf.Session() as session:
        x, y = pf.constant([1.0, 2.0]), pf.constant([[3.0]])
        assert pf.gradients(x * x, y) == [None]
        slopes = pf.gradients(x * x, [x, y], unconnected_gradients=pf.UnconnectedGradients.ZERO)
        np.testing.assert_array_equal(session.run(slopes[0]), [2.0, 4.0])
        np.testing.assert_array_equal(session.run(slopes[1]), [[0.0]])


@pytest.mark.parametrize(
    "function",
    [
        pf.nn.relu, pf.nn.relu6, pf.nn.leaky_relu, pf.nn.crelu,
        lambda x: pf.losses.hinge_loss(pf.ones_like(x), x),
        lambda x: pf.nn.max_pool(pf.reshape(x, [1, 2, 2, 1]), [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
    ],
)  # fmt: skip
def test_the_second_derivative_of_what_is_linear_in_pieces_is_zero(function):
    """It is connected, so it is zeros, as in TensorFlow; None is for what is not."""
    x = pf.constant([[0.7, -1.3], [7.1, -0.4]])
    (first,) = pf.gradients(function(x), x)
    (second,) = pf.gradients(first, x)
    (third,) = pf.gradients(pf.gradients(pf.reduce_sum(first * x * x), x)[0], x)
    with pf.Session() as session:
        found = session.run([first, second, third])
    assert found[0].any()
    np.testing.assert_array_equal(found[1], np.zeros((2, 2)))
    np.testing.assert_array_equal(found[2], 2 * found[0])


def test_derivatives_at_and_near_infinity_are_numbers():
    """TensorFlow's values; 1 / (1 + |x|)^2 without a difference of what is almost equal."""
    x = pf.constant([-np.inf, np.inf, 1e30, 1e10], pf.float64)
    soft, digamma = (pf.gradients(function(x), x)[0] for function in (pf.nn.softsign, pf.digamma))
    with pf.Session() as session:
        np.testing.assert_allclose(session.run(soft), [0, 0, 1e-60, 1e-20], rtol=1e-9)
        np.testing.assert_allclose(session.run(digamma), [np.inf, 0, 1e-30, 1e-10], rtol=1e-9)
