"""Variables: their names, lists, initialisation, assignments and counters; values and names are TensorFlow's."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import FailedPreconditionError, GraphError, InvalidArgumentError, OutOfRangeError

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def session(graph):
    with pf.Session() as session:
        yield session


def test_a_variable_s_operation_bears_its_name(graph, session):
    w = pf.Variable([1.0, 2.0], name="w")
    assert (w.op.name, w.initializer.name, w.value().name, w.read_value().name) == (
        "w", "w/Assign", "w/read:0", "identity:0",
    )  # fmt: skip
    session.run(w.initializer)
    assert graph.get_operation_by_name("w") is w.op
    bumped = w.assign_add([1.0, 1.0])
    session.run(bumped)
    assert session.run("w:0").tolist() == [2.0, 3.0]
    assert session.run(w.op) is None


def test_names_that_differ_in_case_alone_are_numbered(graph):
    assert [pf.Variable(1.0, name=name).name for name in ("W", "w", "W")] == ["W:0", "w_1:0", "W_2:0"]
    assert graph.unique_name("W", mark_as_used=False) == graph.unique_name("W") == "W_3"


def test_arguments_stand_in_tensorflow_s_order():
    w = pf.Variable(1, False, ["mine"], True, None, "w", None, pf.float64)
    assert (w.name, w.dtype, w.trainable) == ("w:0", pf.float64, False)
    assert (pf.get_collection("mine"), pf.global_variables()) == ([w], [])
    with pytest.raises(ValueError, match="initial_value"):
        pf.Variable()
    with pytest.raises(TypeError, match="list of names"):
        pf.Variable(1.0, collections="mine")


def test_collections_say_which_variables_are_initialised(session):
    everywhere = pf.Variable(1.0)
    local = pf.Variable(2.0, trainable=False, collections=[pf.GraphKeys.LOCAL_VARIABLES])
    pf.add_to_collection(pf.GraphKeys.MODEL_VARIABLES, everywhere)
    assert (pf.global_variables(), pf.local_variables()) == ([everywhere], [local])
    assert (pf.model_variables(), pf.moving_average_variables()) == ([everywhere], [])
    session.run(pf.local_variables_initializer())
    assert session.run(local) == 2.0
    with pytest.raises(FailedPreconditionError, match="Variable"):
        session.run(everywhere)
    assert session.graph.get_tensor_by_name("Variable_1:0") is local.value()


def test_what_has_no_value_is_reported(session):
    a, b = pf.Variable(0, name="a"), pf.Variable(1.0, name="scope/b")
    session.run(a.initializer)
    known, unknown, names = session.run(
        [pf.is_variable_initialized(a), pf.is_variable_initialized(b), pf.report_uninitialized_variables()]
    )
    assert (known, unknown, names.tolist()) == (True, False, [b"scope/b"])
    assert session.run(pf.report_uninitialized_variables([a])).tolist() == []


def test_an_initialized_value_initialises_nothing(session):
    a = pf.Variable(pf.random_normal([3]), name="a")
    b = pf.Variable(a.initialized_value() * 2.0)
    session.run(pf.global_variables_initializer())
    first, double = session.run([a, b])
    np.testing.assert_array_equal(double, first * 2)
    session.run(a.assign([1.0, 2.0, 3.0]))
    session.run(b.initializer)  # a has a value now, and keeps it
    assert [v.tolist() for v in session.run([a, b])] == [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]


def test_an_initialized_value_sees_the_writes_before_it_in_the_program(session):
    a = pf.Variable(1.0)
    session.run(a.initializer)
    before, bumped = a.initialized_value(), a.assign_add(1.0)
    after = a.initialized_value()
    assert session.run([before, bumped, after]) == [1.0, 2.0, 2.0]


def test_load_and_eval_act_outside_of_the_graph(session):
    w = pf.Variable([1.0, 2.0])
    w.load([3.0, 4.0], session)
    assert w.eval(session).tolist() == [3.0, 4.0]
    with pytest.raises(InvalidArgumentError, match="shape"):
        w.load([1.0], session)


def test_assignments_may_return_their_operation(session):
    w = pf.Variable(1.0)
    session.run(w.initializer)
    step = w.assign_sub(0.25, False, "down", False)
    assert isinstance(step, pf.Operation)
    assert session.run(step) is None
    assert pf.assign_add(w, 1.0, None, "up").name == "up:0"
    assert session.run(w) == 0.75


def test_count_up_to_returns_the_value_before_and_ends(session):
    v = pf.Variable(0)
    session.run(v.initializer)
    counted = pf.count_up_to(v, 2)
    assert [session.run(counted), session.run(counted), session.run(v)] == [0, 1, 2]
    with pytest.raises(OutOfRangeError, match="reached limit of 2"):
        session.run(counted)
    assert session.run(v) == 2
    with pytest.raises(GraphError, match="counts in integers"):
        pf.count_up_to(pf.Variable(0.0), 2)


START = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@pytest.mark.parametrize(
    ("name", "indices", "updates", "expected"),  # what TensorFlow 2.21 returns
    [
        ("scatter_mul", [0, 2, 0], [[2, 3], [4, 5], [6, 7]], [[12, 42], [3, 4], [20, 30]]),
        ("scatter_div", [0, 2, 0], [[2, 4], [4, 5], [8, 2]], [[0.0625, 0.25], [3, 4], [1.25, 1.2]]),
        ("scatter_min", [0, 2, 0], [[0, 9], [4, 5], [-1, 2]], [[-1, 2], [3, 4], [4, 5]]),
        ("scatter_max", [0, 2, 0], [[0, 9], [4, 5], [-1, 2]], [[1, 9], [3, 4], [5, 6]]),
        ("scatter_nd_update", [[0, 1], [2, 0]], [10, 20], [[1, 10], [3, 4], [20, 6]]),
        ("scatter_nd_add", [[0, 1], [2, 0]], [10, 20], [[1, 12], [3, 4], [25, 6]]),
        ("scatter_nd_sub", [[0, 1], [2, 0]], [10, 20], [[1, -8], [3, 4], [-15, 6]]),
    ],
)
def test_scattered_updates(session, name, indices, updates, expected):
    v = pf.Variable(START)
    session.run(v.initializer)
    result = session.run(getattr(pf, name)(v, indices, np.array(updates, np.float32)))
    np.testing.assert_allclose(result, expected, rtol=1e-7)
    np.testing.assert_array_equal(session.run(v), result)


def test_scattered_updates_that_do_not_fit_are_refused(session):
    v = pf.Variable(START)
    with pytest.raises(GraphError, match="updates"):
        pf.scatter_mul(v, [0, 1], np.ones((3, 2), np.float32))
    with pytest.raises(GraphError, match="3 axes"):
        pf.scatter_nd_add(v, [[0, 0, 0]], [1.0])
    session.run(v.initializer)
    with pytest.raises(InvalidArgumentError, match=r"index 3 is not in \[0, 3\)"):
        session.run(pf.scatter_max(v, [3], [[0.0, 0.0]]))
    assert session.run(v).tolist() == START


def test_devices_are_recorded_and_inner_ones_decide():
    found = []
    with pf.device("/cpu:0"):
        w = pf.Variable(1.0)
        found.append(pf.constant(1.0).device)
        for inner in ("/job:ps/task:1", None, "/gpu:1", lambda op: "/device:GPU:2"):
            with pf.device(inner):
                found.append(pf.constant(1.0).device)
    found.append(pf.constant(1.0).device)
    assert found == [
        "/device:CPU:0", "/job:ps/task:1/device:CPU:0", "", "/device:GPU:1", "/device:GPU:2", "",
    ]  # fmt: skip
    assert w.device == "/device:CPU:0"
    with pytest.raises(ValueError, match="unknown attribute 'foo'"), pf.device("/foo:0"):
        pass


def test_names_that_are_not_there_are_key_errors(graph):
    pf.constant(1.0, name="c")
    for missing in (lambda: graph.get_operation_by_name("d"), lambda: graph.get_tensor_by_name("c:1")):
        with pytest.raises(KeyError) as caught:
            missing()
        assert not str(caught.value).startswith("'")
        assert isinstance(caught.value, GraphError)
    with pytest.raises(ValueError, match="not the name of a tensor"):
        graph.get_tensor_by_name("c")
    with pytest.raises(TypeError, match="neither a tensor, a variable"):
        graph.as_graph_element(graph.get_operation_by_name("c"), allow_operation=False)
    with pytest.raises(ValueError, match="valid scope name"), pf.name_scope("a b"):
        pass


def test_consumers_of_a_tensor():
    c = pf.constant(1.0)
    assert c.consumers() == []
    used = [pf.exp(c).op, (c * 2.0).op]
    assert c.consumers() == used


def test_an_interactive_session_is_the_default_one_until_it_is_closed():
    graph = pf.Graph()
    session = pf.InteractiveSession(graph=graph)
    try:
        assert pf.get_default_session() is session
        assert pf.get_default_graph() is graph
        w = pf.Variable(2.0)
        w.initializer.run()
        assert (w * 3.0).eval() == 6.0
    finally:
        session.close()
    assert pf.get_default_session() is not session
    assert pf.get_default_graph() is not graph


ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
DELTA = np.float32([[10, 20], [30, 40], [2, 4]]), np.array([0, 2, 0])


@pytest.mark.parametrize(
    ("method", "expected"),  # what TensorFlow 2.21 returns
    [
        ("scatter_add", [[13.0, 26.0], [3.0, 4.0], [35.0, 46.0]]),
        ("scatter_sub", [[-11.0, -22.0], [3.0, 4.0], [-25.0, -34.0]]),
        ("scatter_update", [[2.0, 4.0], [3.0, 4.0], [30.0, 40.0]]),
        ("scatter_mul", [[20.0, 160.0], [3.0, 4.0], [150.0, 240.0]]),
        ("scatter_div", [[0.05, 0.025], [3.0, 4.0], [0.16666667, 0.15]]),
        ("scatter_min", [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        ("scatter_max", [[10.0, 20.0], [3.0, 4.0], [30.0, 40.0]]),
    ],
)
def test_methods_scatter_slices(session, method, expected):
    v = pf.Variable(ROWS)
    session.run(v.initializer)
    result = session.run(getattr(v, method)(pf.IndexedSlices(*DELTA)))
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    np.testing.assert_array_equal(session.run(v), result)
    with pytest.raises(TypeError, match="sparse_delta is not IndexedSlices"):
        getattr(v, method)([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("method", "expected"),  # what TensorFlow 2.21 returns
    [
        ("scatter_nd_add", [[1.0, 12.0], [3.0, 4.0], [25.0, 6.0]]),
        ("scatter_nd_sub", [[1.0, -8.0], [3.0, 4.0], [-15.0, 6.0]]),
        ("scatter_nd_update", [[1.0, 10.0], [3.0, 4.0], [20.0, 6.0]]),
    ],
)
def test_methods_scatter_elements(session, method, expected):
    v = pf.Variable(ROWS)
    session.run(v.initializer)
    changed = getattr(v, method)([[0, 1], [2, 0]], [10.0, 20.0], name="changed")
    assert session.run(changed).tolist() == expected
    assert session.run(v).tolist() == expected


def test_slices_are_scattered_within_each_part_of_a_batch(session):
    v = pf.Variable(np.zeros((2, 3, 2), np.float32))
    session.run(v.initializer)
    delta = pf.IndexedSlices(np.float32([[[1, 2]], [[3, 4]]]), np.array([[2], [0]]))
    expected = [[[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]], [[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]]]
    assert session.run(v.batch_scatter_update(delta)).tolist() == expected
    negative = pf.batch_scatter_update(v, delta.indices, -delta.values)
    np.testing.assert_array_equal(session.run(negative), -np.array(expected))
    updates = np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2)
    written = session.run(pf.batch_scatter_update(v, [[0, 2], [1, 0]], updates))  # TensorFlow's, by its rule
    assert written[:, :2].tolist() == [[[1, 2], [0, 0]], [[7, 8], [5, 6]]]
    assert written[:, 2].tolist() == [[3, 4], [0, 0]]
    with pytest.raises(ValueError, match=r"indices \(3, 1\) need the first axes of the variable .* \(2, 3, 2\)"):
        pf.batch_scatter_update(v, [[2], [0], [1]], np.zeros((3, 1, 2), np.float32))


def test_methods_gather_count_and_check_the_shape(session):
    v, n = pf.Variable(ROWS), pf.Variable(0)
    session.run([v.initializer, n.initializer])
    assert session.run(v.sparse_read([2, 0])).tolist() == [ROWS[2], ROWS[0]]
    assert session.run(v.gather_nd([[2, 0], [0, 1]])).tolist() == [5.0, 2.0]
    counted = n.count_up_to(2)
    assert [session.run(counted), session.run(counted)] == [0, 1]
    with pytest.raises(OutOfRangeError, match="reached limit of 2"):
        session.run(counted)
    v.set_shape([None, 2])
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(\?, 3\)"):
        v.set_shape([None, 3])
