"""What prints, functions of the user's inside a graph, and gradients of the user's own."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import GraphError, InvalidArgumentError

pytestmark = pytest.mark.usefixtures("graph")

MATRIX = np.arange(6).reshape(2, 3)


@pytest.fixture
def session(graph):
    with pf.Session() as session:
        yield session


def test_print_writes_as_tensorflow_does(session, capsys):
    x = pf.placeholder(pf.float32, [None, None])
    data = [x, pf.constant([1, 2, 3, 4]), "text", pf.constant(True), pf.constant(1.5e-8, pf.float64), pf.zeros([0])]
    printed = pf.Print(x, data, message="m: ", summarize=5, first_n=2)
    for _ in range(3):
        np.testing.assert_array_equal(session.run(printed, {x: MATRIX / 3}), (MATRIX / 3).astype(np.float32))
    session.run(pf.Print(x, [x]), {x: MATRIX * 1e6})
    line = "m: [[0 0.333333343 0.666666687][1 1.33333337...]...][1 2 3 4][text][1][1.5e-08][]\n"
    assert capsys.readouterr().err == 2 * line + "[[0 1e+06 2e+06]...]\n"  # TensorFlow 2.21's


def test_print_only_prints_what_is_needed_and_lets_gradients_pass(session, capsys):
    x = pf.placeholder(pf.float32, [])
    y = pf.square(pf.Print(x, [x], "x = "))
    (slope,) = pf.gradients(y, [x])
    assert session.run(x + 1.0, {x: 3.0}) == 4.0
    assert capsys.readouterr().err == ""
    assert session.run(slope, {x: 3.0}) == 6.0
    assert capsys.readouterr().err == "x = [3]\n"


def test_python_functions(session):
    x = pf.placeholder(pf.float32, [2])
    both = pf.py_func(lambda a: (a * 2, np.int64(a.size)), [x], [pf.float32, pf.int64])
    assert [t.shape.ndims for t in both] == [None, None]
    doubled, size = session.run(both, {x: [1.0, 2.0]})
    assert (doubled.tolist(), size) == ([2.0, 4.0], 2)
    one = pf.py_func(np.sort, [x], pf.float32)
    one.set_shape([2])
    assert session.run(one + 1.0, {x: [3.0, 1.0]}).tolist() == [2.0, 4.0]
    assert pf.gradients(pf.reduce_sum(one), [x]) == [None]
    assert isinstance(pf.py_func(np.sort, [x], [pf.float32]), list)


def test_a_function_without_results_is_an_operation(session):
    seen = []
    record = pf.py_func(seen.append, [pf.constant(1.5)], [])
    with pf.control_dependencies([record]):
        y = pf.identity(2.0)
    assert (session.run(y), seen) == (2.0, [1.5])


@pytest.mark.parametrize(
    ("function", "dtypes", "message"),
    [
        (lambda a: a.astype(np.float64), pf.float32, "is float64, but expects float32"),
        (lambda a: 3.0, pf.int64, "is float64, but expects int64"),
        (lambda a: (a, a), [pf.float32], "returns 2 values, but expects to see 1"),
        (lambda a: float("boom"), pf.float32, r"lambda>> has raised ValueError: .*'boom'"),
    ],
)
def test_functions_that_fail(session, function, dtypes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        session.run(pf.py_func(function, [pf.constant([1.0])], dtypes))


def test_a_reader_s_end_is_out_of_range_and_names_its_line(session):
    rows = iter([1.0, 2.0])
    row = pf.py_func(lambda: np.float32(next(rows)), [], pf.float32)
    assert [session.run(row), session.run(row)] == [1.0, 2.0]
    with pytest.raises(pf.errors.OutOfRangeError, match="has raised StopIteration") as caught:
        session.run(row)
    assert "test_python.py" in "".join(caught.value.__notes__)
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_gradient_of_one_s_own(session):
    @pf.custom_gradient
    def log1pexp(x):
        """log(1 + exp(x))."""
        e = pf.exp(x)
        return pf.log(1.0 + e), lambda dy: dy * (1.0 - 1.0 / (1.0 + e))

    x = pf.placeholder(pf.float32, [])
    y = log1pexp(x)
    (slope,) = pf.gradients(y, [x])
    (curve,) = pf.gradients(slope, [x])
    assert session.run([y, slope], {x: 100.0}) == [np.inf, 1.0]  # TensorFlow's own example: the slope is no NaN
    found = session.run([y, slope, curve], {x: 0.5})
    s = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(found, [np.log1p(np.exp(0.5)), s, s * (1 - s)], rtol=1e-6)


def test_the_argument_s_other_uses_keep_their_gradient(session):
    @pf.custom_gradient
    def odd(x, y):
        return [x * y, x + y], lambda da, db: (da * 10.0 + db * 100.0, da * 1000.0)

    x, y = pf.constant(2.0), pf.constant(3.0)
    a, b = odd(x, y)
    slopes = pf.gradients([a, pf.square(x)], [x, y])
    assert session.run([a, b, slopes]) == [6.0, 5.0, [10.0 + 4.0, 1000.0]]
    assert session.run(pf.gradients(b, [x])) == [100.0]


def test_variables_inside_need_gradients_too(session):
    w = pf.Variable(3.0, name="w")

    @pf.custom_gradient
    def careless(x):
        return x * w, lambda dy: dy

    with pytest.raises(TypeError, match=r"reads variables \(w\).*test_python.py"):
        careless(pf.constant(1.0))

    @pf.custom_gradient
    def careful(x):
        def gradient(dy, variables=None):
            assert variables == [w]
            return dy * 7.0, [dy * 5.0]

        return x * w, gradient

    x = pf.constant(2.0)
    session.run(w.initializer)
    y = careful(x)
    assert session.run([y, *pf.gradients(y, [x, w])]) == [6.0, 7.0, 5.0]


def test_another_number_of_cotangents_is_refused():
    @pf.custom_gradient
    def wrong(x, y):
        return x + y, lambda dy: dy

    x = pf.constant(1.0)
    with pytest.raises(GraphError, match="1 cotangents for 2 arguments"):
        pf.gradients(wrong(x, 2.0), [x])


def test_a_tuple_waits_for_all_of_its_members(session):
    w = pf.Variable(1.0)
    session.run(w.initializer)
    bump = w.assign_add(1.0)
    a, none, b = pf.tuple([pf.constant(5.0), None, pf.constant(6.0)], control_inputs=[bump])
    assert none is None
    assert session.run(a) == 5.0
    assert session.run(b) == 6.0
    assert session.run(w) == 3.0


# -- gradients by name ------------------------------------------------------------------------------------------------


def test_operations_get_the_gradients_that_are_registered(session, graph):
    @pf.RegisterGradient("TestThreeTimes")
    def _(op, grad):
        assert (op.type, len(op.inputs), len(op.outputs)) == ("sign", 1, 1)
        return 3 * grad * op.inputs[0]

    @pf.RegisterGradient("TestOfSquare")
    def _(op, grad):
        return 2 * op.inputs[0] * grad, None

    x = pf.placeholder(pf.float32, (3,))
    with graph.gradient_override_map({"Sign": "TestThreeTimes", "PyFunc": "TestOfSquare"}):
        sign = pf.sign(x)
        square = pf.py_func(lambda a, n: (a**n).astype(a.dtype), [x, pf.constant(2)], pf.float32)
    with graph.gradient_override_map({"sign": "Identity"}):
        straight_through = pf.sign(x)
    plain = pf.sign(x)
    values = {x: [-1.0, 2.0, 0.5]}
    found = session.run([sign, square, straight_through, plain], values)
    assert [f.tolist() for f in found] == [[-1, 1, 1], [1, 4, 0.25], [-1, 1, 1], [-1, 1, 1]]
    slopes = [pf.gradients(y, x)[0] for y in (sign, square, straight_through, plain)]
    assert [s.tolist() for s in session.run(slopes, values)] == [[-3, 6, 1.5], [-2, 4, 1], [1, 1, 1], [0, 0, 0]]


def test_gradients_by_name_are_checked(graph):
    @pf.RegisterGradient("TestTaken")
    def _(op, grad):
        return grad, grad

    with pytest.raises(KeyError, match="TestTaken"):
        pf.RegisterGradient("TestTaken")(lambda op, grad: grad)
    with pytest.raises(TypeError, match="op_type must be a string"):
        pf.RegisterGradient(3)
    with pytest.raises(GraphError, match="'Cubes'"), graph.gradient_override_map({"Cubes": "x"}):
        pass
    x = pf.placeholder(pf.float32, (3,))
    with graph.gradient_override_map({"Tanh": "TestTaken"}):
        y = pf.tanh(x)
    with pytest.raises(GraphError, match=r"'TestTaken' returns 2 cotangents for operation 'tanh'.*has 1 inputs"):
        pf.gradients(y, x)
    with pytest.raises(GraphError, match=r"with_gradient .*cannot be written"):
        graph.as_graph_def()


def test_gradients_of_other_types_are_those_of_complex_numbers_too(session, graph):
    z = pf.constant([1 + 2j, 3 - 1j], pf.complex64)
    with graph.gradient_override_map({"Square": "Exp"}):
        y = pf.square(z)
    (slope,) = pf.gradients(pf.reduce_sum(pf.real(y)), [z])
    assert session.run(slope).tolist() == [-3 - 4j, 8 + 6j]  # TensorFlow's: the conjugates of y


def test_a_gradient_passes_through(session):
    x = pf.placeholder(pf.float32, (2,))
    v = pf.get_variable("v", initializer=pf.constant(2.0))
    y = pf.grad_pass_through(lambda a: pf.round(a) * v)(x)
    slopes = pf.gradients(pf.reduce_sum(y * y), [x, v])
    session.run(v.initializer)
    value, slope = session.run([y, slopes[0]], {x: [1.4, 2.6]})
    assert (value.tolist(), slope.tolist(), slopes[1]) == ([2, 6], [4, 12], None)


def test_numpy_function_is_py_func(session):
    x = pf.placeholder(pf.float32, (2,))
    assert session.run(pf.numpy_function(np.sort, [x], pf.float32), {x: [3.0, 1.0]}).tolist() == [1, 3]
