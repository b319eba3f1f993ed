"""Session.run: what can be fetched and fed, what comes back, and what is refused with a remedy."""

import threading
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import FailedPreconditionError, GraphError, InvalidArgumentError

Pair = namedtuple("Pair", "first second")


@pytest.fixture
def session(graph):
    with pf.Session() as session:
        yield session


@pytest.fixture
def x(graph):
    return pf.placeholder(pf.float32, (None, 2), name="x")


AT = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


# -- fetches ---------------------------------------------------------------------------------------------------------


def test_a_tensor_gives_an_array_and_a_scalar_a_number(session, x):
    y = x * 2.0
    found = session.run(y, {x: AT})
    assert type(found) is np.ndarray
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, AT * 2)
    total = session.run(pf.reduce_sum(y), {x: AT})
    assert type(total) is np.float32
    assert total == 20.0


def test_an_operation_gives_none_and_runs(session):
    w = pf.Variable([1.0, 2.0])
    assert session.run(w.initializer) is None
    assert session.run(w.assign_add([1.0, 1.0]).op) is None
    assert session.run(w).tolist() == [2.0, 3.0]


def test_names_stand_for_what_they_name(session, x):
    pf.multiply(x, 2.0, name="y")
    np.testing.assert_array_equal(session.run("y:0", {"x:0": AT}), AT * 2)
    assert session.run("y", {"x": AT}) is None
    with pytest.raises(GraphError, match="no operation 'z' in the graph"):
        session.run("z:0", {x: AT})


def test_structures_come_back_in_their_form(session, x):
    y, z = pf.reduce_sum(x), pf.reduce_max(x)
    found = session.run({"a": [y, (z, y)], "b": Pair(y, {"c": z.op}), "d": []}, {x: AT})
    assert found == {"a": [10.0, (4.0, 10.0)], "b": Pair(10.0, {"c": None}), "d": []}
    assert isinstance(found["b"], Pair)
    assert isinstance(found["a"], list)
    assert isinstance(found["a"][1], tuple)
    assert list(session.run(OrderedDict([("z", z), ("y", y)]), {x: AT})) == ["z", "y"]
    assert session.run([]) == []


def test_a_list_and_a_tuple_of_the_same_tensors_are_told_apart(session, x):
    y = pf.reduce_sum(x)
    assert session.run([y, y], {x: AT}) == [10.0, 10.0]
    assert session.run((y, y), {x: AT}) == (10.0, 10.0)


def test_fed_tensors_and_constants_can_be_fetched(session, x):
    c = pf.constant([1.0, 2.0])
    fed, constant = session.run([x, c], {x: AT})
    np.testing.assert_array_equal(fed, AT)
    assert constant.tolist() == [1.0, 2.0]


def test_what_comes_back_is_a_copy(session, x):
    w = pf.Variable([1.0, 2.0])
    session.run(w.initializer)
    start = pf.placeholder(pf.int32, (1,))  # what begins here is a view that only the run can make
    fetches = [
        w, pf.transpose(w), pf.slice(w, start, [1]), x, x * 2.0, pf.transpose(x * 2.0), pf.constant([5.0]),
        pf.gather(x, [0, 1]),
    ]  # fmt: skip
    feeds = {x: AT, start: [1]}
    first = session.run(fetches, feeds)
    kept = [array.copy() for array in first]
    for array in first:
        array[...] = -1.0
    second = session.run(fetches, feeds)
    for array, expected in zip(second, kept, strict=True):
        np.testing.assert_array_equal(array, expected)
    session.run(fetches, {**feeds, x: -AT})
    session.run(w.assign_add([1.0, 1.0]))
    for array, expected in zip(second, kept, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_each_operation_runs_once(session):
    w = pf.Variable(0.0)
    session.run(w.initializer)
    bump = w.assign_add(1.0)
    assert session.run([bump, bump * 10.0, bump.op]) == [1.0, 10.0, None]
    assert session.run(w) == 1.0


def test_eval_and_run_use_the_default_session(session, x):
    w = pf.Variable([1.0])
    w.initializer.run()
    assert w.eval().tolist() == [1.0]
    assert (w + 1.0).eval().tolist() == [2.0]
    assert pf.reduce_sum(x).eval({x: AT}) == 10.0
    assert pf.get_default_session() is session


def test_eval_without_a_session_is_refused(graph):
    with pytest.raises(ValueError, match="session"):
        pf.constant(1.0).eval()


def test_as_default_leaves_the_session_open(graph):
    w = pf.Variable([1.0])
    session = pf.Session()
    with session.as_default():
        w.initializer.run()
        assert pf.get_default_session() is session
    assert pf.get_default_session() is None
    assert session.run(w).tolist() == [1.0]
    session.close()


def test_sessions_keep_their_own_variables(graph):
    w = pf.Variable([1.0])
    bump = w.assign_add([1.0])
    with pf.Session() as one, pf.Session() as other:
        one.run(w.initializer)
        other.run(w.initializer)
        one.run(bump)
        assert one.run(w).tolist() == [2.0]
        assert other.run(w).tolist() == [1.0]


def test_a_session_says_what_it_is_made_of(graph):
    with pytest.raises(TypeError, match="graph must be a Graph, not 'local'"):
        pf.Session(graph="local")
    with pytest.raises(pf.errors.InvalidArgumentError, match="its target is '', not 'grpc://node1'"):
        pf.Session("grpc://node1")
    for wrong in ("allreduce", pf.parallel.AllReduce):
        with pytest.raises(TypeError, match=r"strategy must be an object such as paraflow.parallel.AllReduce\(\)"):
            pf.Session(strategy=wrong)


def test_a_session_serves_its_own_graph(x):
    other = pf.Graph()
    with other.as_default():
        y = pf.constant(2.0) * 3.0
    with pf.Session(graph=other) as session:
        assert session.run(y) == 6.0
        with pytest.raises(GraphError, match="another graph"):
            session.run(x, {y: 1.0})
        with pytest.raises(GraphError, match="another graph"):
            session.run(y, {x: AT})


def test_a_graph_may_grow_between_runs(session, x):
    y = x * 2.0
    session.run(y, {x: AT})
    w = pf.Variable([1.0, 1.0])
    session.run(w.initializer)
    np.testing.assert_array_equal(session.run(y + w, {x: AT}), AT * 2 + 1)


# -- feeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        AT,
        AT.astype(np.float64),
        AT.astype(np.int8),
        AT.astype(np.uint64),
        np.asfortranarray(AT),
        np.repeat(AT, 2, axis=1)[:, ::2],
        [AT[0], AT[1]],
        AT.astype(">f4"),
    ],
)
def test_whatever_is_an_array_of_numbers_can_be_fed(session, x, value):
    found = session.run(x * 1.5, {x: value})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, AT * 1.5)


def test_numbers_are_fed_for_scalars_and_flags_for_flags(session):
    s, n, b = (pf.placeholder(dtype, ()) for dtype in (pf.float32, pf.int32, pf.bool))
    found = session.run([s, n, b], {s: 3, n: np.int64(4), b: True})
    assert found == [3.0, 4, True]
    assert [v.dtype for v in found] == [np.float32, np.int32, np.bool_]


def test_a_variable_s_value_is_fed_like_any_array(session, x):
    w = pf.Variable([[5.0, 6.0]])
    session.run(w.initializer)
    assert session.run(x * 2.0, {x: session.run(w)}).tolist() == [[10.0, 12.0]]
    assert session.run(x * 2.0, {x: w.eval()}).tolist() == [[10.0, 12.0]]


def test_any_tensor_can_be_fed(session, x):
    middle = pf.exp(x, name="middle")
    last = middle + 1.0
    c = pf.constant([1.0, 2.0])
    np.testing.assert_array_equal(session.run(last, {middle: AT}), AT + 1)
    np.testing.assert_array_equal(session.run(last, {"middle:0": AT}), AT + 1)
    np.testing.assert_array_equal(session.run(last, {middle.op: AT}), AT + 1)
    assert session.run(c * 2.0, {c: [3.0, 4.0]}).tolist() == [6.0, 8.0]


def test_a_fed_shape_replaces_the_known_one(session):
    sizes = pf.constant([2, 3])
    flat = pf.placeholder(pf.float32, (6,))
    shaped = pf.reshape(flat, sizes)
    assert session.run(shaped, {flat: range(6)}).shape == (2, 3)
    assert session.run(shaped, {flat: range(6), sizes: [3, 2]}).shape == (3, 2)


def test_two_feeds_of_one_shape_are_not_mixed_up(session):
    a, b = pf.placeholder(pf.float32, (2,)), pf.placeholder(pf.float32, (2,))
    assert session.run(a - b, {a: [5.0, 6.0], b: [1.0, 1.0]}).tolist() == [4.0, 5.0]
    assert session.run(a - b, {b: [1.0, 1.0], a: [5.0, 6.0]}).tolist() == [4.0, 5.0]


def test_the_fed_array_may_be_changed_afterwards(session, x):
    at = AT.copy()
    w = pf.Variable(np.zeros((2, 2), np.float32))
    session.run(w.assign(x), {x: at})
    at[...] = 7.0
    np.testing.assert_array_equal(session.run(w), AT)


def test_batches_of_every_size_fit_even_none(session, x):
    mean = pf.reduce_mean(pf.square(x), axis=0)
    for n in (8, 8, 3, 1):
        at = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)
        np.testing.assert_allclose(session.run(mean, {x: at}), (at**2).mean(0), rtol=1e-6)
    assert np.isnan(session.run(mean, {x: np.zeros((0, 2))})).all()
    assert session.run(pf.reduce_sum(x), {x: np.zeros((0, 2))}) == 0.0


def test_a_feed_that_nothing_needs_does_no_harm(session, x):
    other = pf.placeholder(pf.float32, (2,))
    assert session.run(pf.reduce_sum(other), {x: AT, other: [1.0, 2.0]}) == 3.0


# -- callables -------------------------------------------------------------------------------------------------------


def test_a_callable_does_what_run_does(session, x):
    w = pf.Variable([1.0, 1.0])
    session.run(w.initializer)
    step = session.make_callable({"y": x * w, "bump": w.assign_add([1.0, 0.0])}, [x])
    np.testing.assert_array_equal(step(AT)["y"], AT)
    np.testing.assert_array_equal(step(AT[:1])["y"], [[2.0, 2.0]])
    np.testing.assert_array_equal(step(AT.tolist())["y"], AT * [3, 1])
    assert session.make_callable(w)().tolist() == [4.0, 1.0]
    with pytest.raises(TypeError, match="takes 1 values, not 2"):
        step(AT, AT)
    with pytest.raises(InvalidArgumentError, match=r"\(2, 3\)"):
        step(np.ones((2, 3)))


# -- the plan cache --------------------------------------------------------------------------------------------------


SHAPES_ASKED = []


@pf.op
def shaped(x):
    """A copy; its shape rule notes when it is asked, which the compiler does once for a plan."""
    return x.copy()


@shaped.shape
def _(x):
    SHAPES_ASKED.append(x.shape)
    return pf.Spec(x.dtype, x.shape)


def test_a_plan_is_made_once_for_each_fetch_and_shape(session, x):
    y = shaped(x)
    del SHAPES_ASKED[:]
    for at in (AT, AT * 2, AT.astype(np.float64), AT.tolist()):
        session.run(y, {x: at})
    assert set(SHAPES_ASKED) == {(2, 2)}
    once = len(SHAPES_ASKED)
    session.run(y, {x: AT[:1]})
    assert set(SHAPES_ASKED[once:]) == {(1, 2)}
    session.run([y], {x: AT})
    asked = len(SHAPES_ASKED)
    assert asked == 3 * once
    for _ in range(2):
        session.run(y, {x: AT})
        session.run(y, {x: AT[:1]})
        session.run([y], {x: AT})
    assert len(SHAPES_ASKED) == asked


def test_the_plan_can_be_looked_at(session, x):
    plan = session.plan(x * 2.0, {x: AT})
    assert [step.record.name for step in plan.steps] == ["multiply"]
    assert "multiply" in plan.text()
    with pytest.raises(InvalidArgumentError):
        session.plan(x * 2.0, {x: np.ones((2, 3))})


# -- what is refused -------------------------------------------------------------------------------------------------


def test_a_wrong_shape_names_the_placeholder_and_both_shapes(session, x):
    with pytest.raises(InvalidArgumentError, match=r"\(2, 3\).*'x'.*test_session\.py.*\(\?, 2\)"):
        session.run(x, {x: np.ones((2, 3))})
    with pytest.raises(InvalidArgumentError, match=r"\(2,\).*\(\?, 2\)"):
        session.run(x, {x: [1.0, 2.0]})


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (pf.int32, 1.5),
        (pf.int32, 2**31),
        (pf.uint8, -1),
        (pf.uint8, 256),
        (pf.int8, np.array(200, np.uint8)),
        (pf.bool, 2),
        (pf.float32, 1j),
        (pf.float32, "text"),
        (pf.float32, None),
        (pf.float32, object()),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(session, dtype, value):
    p = pf.placeholder(dtype, (), name="p")
    with pytest.raises(InvalidArgumentError, match=r"'p"):
        session.run(p, {p: value})


def test_ragged_lists_and_tensors_are_no_arrays(session, x):
    with pytest.raises(InvalidArgumentError, match="'x:0'"):
        session.run(x, {x: [[1.0, 2.0], [3.0]]})
    for tensor in (pf.constant(AT), pf.Variable(AT)):
        with pytest.raises(TypeError, match=r"'x:0' is a tensor.*run it first"):
            session.run(x, {x: tensor})


def test_a_placeholder_that_is_not_fed_is_named_with_the_remedy(session, x):
    with pytest.raises(InvalidArgumentError, match=r"'x'.*must be fed.*feed_dict.*float32.*\(\?, 2\)"):
        session.run(x * 2.0)


def test_one_tensor_is_not_fed_twice(session, x):
    with pytest.raises(InvalidArgumentError, match="'x:0' is fed twice"):
        session.run(x, {x: AT, "x:0": AT})
    with pytest.raises(InvalidArgumentError, match="'x:0' is fed twice"):
        session.make_callable(x, [x, x])


def test_a_variable_without_a_value_is_named_with_the_remedy(session, x):
    w, v = pf.Variable([1.0], name="w"), pf.Variable([1.0], name="v")
    with pytest.raises(FailedPreconditionError, match=r"'w'.*no value.*global_variables_initializer"):
        session.run(w * 2.0)
    with pytest.raises(FailedPreconditionError, match=r"'v', 'w'|'w', 'v'"):
        session.run(w * v)
    with pytest.raises(FailedPreconditionError, match="'w'"):
        session.run(w.assign_add([1.0]))
    session.run(w.initializer)
    assert session.run(w * 2.0).tolist() == [2.0]


def test_an_assignment_gives_a_variable_its_value(session):
    w = pf.Variable([1.0])
    session.run(w.assign([3.0]))
    assert session.run(w).tolist() == [3.0]


def test_a_failed_initialization_leaves_no_value(session):
    p = pf.placeholder(pf.int32, ())
    w = pf.Variable(pf.constant(7) // pf.maximum(p, 0))
    with pytest.raises(InvalidArgumentError):
        session.run(w.initializer, {p: 0})
    with pytest.raises(FailedPreconditionError):
        session.run(w)
    session.run(w.initializer, {p: 2})
    assert session.run(w) == 3


@pytest.mark.parametrize("fetch", [None, [None], 3.0, object(), np.ones(2), {1, 2}, [[np.ones(2)]]])
def test_what_cannot_be_fetched_is_refused(session, fetch):
    with pytest.raises(TypeError, match=r"None cannot be fetched|neither a tensor"):
        session.run(fetch)


def test_a_closed_session_runs_nothing(graph, x):
    session = pf.Session()
    step = session.make_callable(x, [x])
    session.close()
    session.close()
    for attempt in (lambda: session.run(x, {x: AT}), lambda: step(AT)):
        with pytest.raises(FailedPreconditionError, match="closed"):
            attempt()


@pytest.mark.parametrize("threads", [0, -1])
def test_a_session_needs_a_thread(graph, threads):
    with pytest.raises(InvalidArgumentError, match="threads"):
        pf.Session(threads=threads)


def test_runs_of_several_threads_follow_one_another(session):
    w = pf.Variable(0)
    session.run(w.initializer)
    bump = w.assign_add(1)
    failures = []

    def work():
        try:
            for _ in range(100):
                session.run(bump)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert session.run(w) == 400


# -- choices that feeds decide ---------------------------------------------------------------------------------------


def test_what_a_fed_scalar_does_not_choose_is_not_computed(session):
    training = pf.placeholder(pf.bool, ())
    x = pf.placeholder(pf.float32, (None,))
    slow = pf.reduce_sum(x * 3.0)
    chosen = pf.where(training, slow, 7.0)
    other = pf.where(pf.logical_not(training), slow, 8.0)
    feeds = {x: [1.0, 2.0]}
    assert session.run([chosen, other], {training: True, **feeds}) == [9.0, 8.0]
    assert session.run([chosen, other], {training: False, **feeds}) == [7.0, 9.0]
    assert session.run([chosen, training], {training: np.True_, **feeds}) == [9.0, True]
    names = [step.record.name for step in session.plan(chosen, {training: False, **feeds}).steps]
    assert "reduce_sum" not in names
    assert "reduce_sum" in [step.record.name for step in session.plan(chosen, {training: True, **feeds}).steps]


def test_what_a_choice_leaves_open_is_chosen_when_it_runs(session):
    """Of a vector each element chooses, and a scalar branch has not the shape of the result."""
    each, scalar = pf.placeholder(pf.bool, (None,)), pf.placeholder(pf.bool, ())
    x = pf.constant([1.0, 2.0])
    assert session.run(pf.where(each, x, -x), {each: [True, False]}).tolist() == [1.0, -2.0]
    assert session.run(pf.where(scalar, 5.0, x), {scalar: True}).tolist() == [5.0, 5.0]
    assert session.run(pf.where(scalar, 5.0, x), {scalar: False}).tolist() == [1.0, 2.0]


def test_a_scalar_bool_fed_for_a_number_is_a_number(session):
    x = pf.placeholder(pf.float32, ())
    assert session.run(x + 1.0, {x: True}) == 2.0


def test_sessions_are_made_as_tensorflow_makes_them(graph):
    config = pf.ConfigProto(allow_soft_placement=True, gpu_options=pf.GPUOptions(allow_growth=True))
    config.gpu_options.allow_growth = True
    with pf.Session("", graph, config) as session:
        assert session.run(pf.constant(2.0), None, pf.RunOptions(), pf.RunMetadata()) == 2.0
    config.gpu_options.allow_growth = False
    config.graph_options.optimizer_options.global_jit_level = pf.OptimizerOptions.ON_1
    with pytest.raises(AttributeError):
        config.gpu_options.allow_groth = True
    with pytest.raises(TypeError, match="inter_op_threads"):
        pf.ConfigProto(inter_op_threads=2)
    with pf.Session(config=pf.ConfigProto(inter_op_parallelism_threads=2)) as session:
        assert session._planner.options.threads == 2
    with pytest.raises(InvalidArgumentError, match="strategy="):
        pf.Session("grpc://localhost:2222")


def test_a_callable_may_take_options(session, x):
    double = session.make_callable(x * 2.0, [x], accept_options=True)
    assert double(AT, options=pf.RunOptions(), run_metadata=pf.RunMetadata()).tolist() == (2 * AT).tolist()
    with pytest.raises(TypeError, match="options"):
        session.make_callable(x * 2.0, [x])(AT, options=None)
    assert session.make_callable(pf.constant(3.0), None)() == 3.0


def test_a_session_shows_its_graph(session, x):
    assert session.graph_def == session.graph.as_graph_def()
    assert session.sess_str == ""
