"""What finds errors: numbers that are not finite, what is no tensor, variables without value, values known early."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import FailedPreconditionError, InvalidArgumentError

pytestmark = pytest.mark.usefixtures("graph")


@pytest.mark.parametrize(
    ("value", "what"),
    [([1.0, np.nan], "NaN"), ([np.inf, 1.0], "Inf"), ([-np.inf, np.nan], "Inf and NaN")],
)
def test_numbers_that_are_not_finite_end_a_run(value, what):
    x = pf.placeholder(pf.float32, (2,), name="x")
    checked = pf.check_numerics(x, "the input")
    finite = pf.verify_tensor_all_finite(x, "all of x")
    with pf.Session() as session:
        assert session.run([checked, finite], {x: [1.0, -2.0]})[0].tolist() == [1.0, -2.0]
        for tensor, message in ((checked, "the input"), (finite, "all of x")):
            with pytest.raises(InvalidArgumentError, match=rf"{message} : Tensor had {what} values"):
                session.run(tensor, {x: value})
    with pytest.raises(TypeError, match="needs a tensor and a message"):
        pf.debugging.assert_all_finite(x)


def test_the_gradient_of_a_check_is_checked():
    x = pf.placeholder(pf.float64, (), name="x")
    (slope,) = pf.gradients(pf.sqrt(pf.check_numerics(pf.square(x), "the square")), x)
    with pf.Session() as session:
        assert session.run(slope, {x: 3.0}) == 1.0
        with pytest.raises(InvalidArgumentError, match=r"detected in gradient. the square : Tensor had Inf values"):
            session.run(slope, {x: 0.0})


def test_all_tensors_are_checked_in_order():
    x = pf.placeholder(pf.float32, (), name="x")
    y = pf.log(x, name="y")
    pf.multiply(y, 0.0, name="z")
    pf.add(pf.cast(x, pf.int32), 1)
    checks = pf.add_check_numerics_ops()
    with pf.Session() as session:
        assert session.run([checks, y], {x: 1.0}) == [None, 0.0]
        with pytest.raises(InvalidArgumentError, match="y:0 : Tensor had Inf values"):
            session.run(checks, {x: 0.0})


def test_what_is_a_tensor():
    x, v = pf.placeholder(pf.float32), pf.Variable(1)
    rows = pf.IndexedSlices([1.0], [0])
    assert [pf.is_tensor(t) for t in (x, v, rows, 1.0, np.zeros(2), [x])] == [True] * 3 + [False] * 3
    numeric = [x, pf.constant(1), pf.constant(1 + 2j), pf.constant(True), v, 1.0]
    assert [pf.is_numeric_tensor(t) for t in numeric] == [True, True, True, False, False, False]
    assert pf.convert_to_tensor_or_indexed_slices(rows) is rows
    assert pf.convert_to_tensor_or_indexed_slices([1], pf.float64, "c").dtype == pf.float64


def test_iterables_and_dtypes():
    for proper in ([1], (), {}, iter([])):
        pf.assert_proper_iterable(proper)
    for wrong in ("text", b"x", np.zeros(2), pf.constant([1]), pf.Variable([1])):
        with pytest.raises(TypeError, match="'proper' iterable"):
            pf.assert_proper_iterable(wrong)
    with pytest.raises(TypeError, match="to be iterable"):
        pf.assert_proper_iterable(3)
    x, y = pf.constant(1.0), pf.constant(1.0, pf.float64)
    assert pf.assert_same_float_dtype() == pf.float32
    assert pf.assert_same_float_dtype([None, y]) == pf.float64
    assert pf.assert_same_float_dtype([x], pf.float32) == pf.float32
    for tensors, dtype, message in (([x, y], None, "must be of type float32"), ([], pf.int32, "got int32")):
        with pytest.raises(ValueError, match=message):
            pf.assert_same_float_dtype(tensors, dtype)


def test_variables_without_value_are_found():
    v, w = pf.Variable(1.0, name="v"), pf.get_local_variable("w", [], initializer=pf.zeros_initializer())
    everything, one = pf.assert_variables_initialized(), pf.assert_variables_initialized([v])
    with pf.Session() as session:
        session.run(v.initializer)
        session.run(one)
        with pytest.raises(FailedPreconditionError, match="variable 'w' has no value yet"):
            session.run(everything)
        session.run(pf.initialize_local_variables())
        session.run([everything, w])
        session.run([pf.initializers.variables([v]), pf.initializers.global_variables()])


def test_values_that_are_known():
    x = pf.placeholder(pf.float32, (2, None))
    assert pf.get_static_value(pf.constant([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert pf.get_static_value(pf.shape(pf.zeros([2, 3])) * 2).tolist() == [4, 6]
    assert pf.get_static_value(x) is None
    assert pf.get_static_value(pf.Variable(1.0)) is None
    pf.get_static_value(pf.constant([1.0]))[0] = 5  # a copy


def test_seeds():
    """What TensorFlow's get_seed says; where only the graph has a seed, the operation's place stands for its own."""
    assert pf.get_seed(None) == (None, None)
    assert pf.get_seed(7) == (87654321, 7)
    pf.set_random_seed(3)
    assert pf.random.get_seed(7) == (3, 7)
    before = pf.get_seed(None)
    assert before == pf.get_seed(None)
    assert pf.random_normal([1]).op.inputs[0].op.inputs[0].op.attrs["seed"] == before
    assert pf.get_seed(None) != before


def test_a_finalized_graph_is_a_runtime_error(graph):
    graph.finalize()
    with pytest.raises(RuntimeError, match="the graph is finalized"):
        pf.constant(1.0)
    assert pf.AggregationMethod.DEFAULT == pf.AggregationMethod.ADD_N
