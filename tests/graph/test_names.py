"""Names, scopes, collections and default graphs."""

import threading

import pytest

import paraflow as pf
from paraflow.errors import GraphError


def test_a_taken_name_gets_a_number(graph):
    names = [pf.constant(1.0, name="c").op.name for _ in range(3)]
    assert names == ["c", "c_1", "c_2"]


def test_a_number_that_is_taken_is_passed_over(graph):
    names = [pf.constant(1.0, name=name).op.name for name in ("c", "c_1", "c", "c_1", "c")]
    assert len(set(names)) == 5
    assert names[:3] == ["c", "c_1", "c_2"]


def test_operations_are_named_after_their_kind(graph):
    x = pf.placeholder(pf.float32, (2,))
    assert [pf.tanh(x).op.name, pf.tanh(x).op.name] == ["tanh", "tanh_1"]
    assert pf.tanh(x).name == "tanh_2:0"


def test_scopes_nest_and_a_second_scope_of_one_name_is_numbered(graph):
    with pf.name_scope("outer") as outer:
        with pf.name_scope("inner"):
            first = pf.constant(1.0, name="c")
        with pf.name_scope("inner"):
            second = pf.constant(1.0, name="c")
    assert outer == "outer/"
    assert (first.op.name, second.op.name) == ("outer/inner/c", "outer/inner_1/c")


def test_a_scope_is_entered_again_by_its_own_name(graph):
    with pf.name_scope("a") as scope:
        pass
    with pf.name_scope("b"), pf.name_scope(scope):
        assert pf.constant(1.0, name="c").op.name == "a/c"


def test_an_empty_scope_leaves_all_scopes(graph):
    with pf.name_scope("a"), graph.name_scope(""):
        assert pf.constant(1.0, name="c").op.name == "c"


ILLEGAL = ["a b", "_a", "-a", "/a", "a:0", "a>b", "ä", "a\n"]


@pytest.mark.parametrize("name", ILLEGAL)
@pytest.mark.parametrize(
    "make",
    [
        lambda name: pf.constant(1, name=name),
        lambda name: pf.placeholder(pf.float32, name=name),
        lambda name: pf.add(1, 2, name=name),
        lambda name: pf.nn.l2_normalize([1.0], 0, name=name),
        lambda name: pf.Variable(1.0, name=name),
        lambda name: pf.get_variable(name, []),
        lambda name: pf.no_op(name=name),
        lambda name: pf.name_scope(name).__enter__(),
    ],
)
def test_a_name_that_tensorflow_has_none_of_is_refused(graph, make, name):
    with pytest.raises(ValueError, match=r"is not a valid (scope name|name of an operation).*letters, digits and"):
        make(name)


def test_the_error_of_a_name_has_its_line(graph):
    with pytest.raises(GraphError, match=r"'a b' is not a valid name.*test_names\.py:\d+"):
        pf.constant(1, name="a b")


def test_inside_a_scope_a_name_may_begin_with_anything_legal(graph):
    with pf.name_scope("a"), pf.name_scope("_b"):
        assert pf.constant(1, name="-c").op.name == "a/_b/-c"


def test_private_functions_and_classes_give_legal_names(graph):
    @pf.custom_gradient
    def _own(x):
        return pf.exp(x), lambda dy: dy

    class _Twice(pf.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    x = pf.constant([1.0])
    assert _own(x).op.name.startswith("own/")
    assert pf.recompute_grad(_own)(x).op.name.startswith("own_1/")
    assert _Twice()(x).op.name.startswith("private__twice/")


def test_the_default_name_of_a_scope_is_used_where_no_name_is_given(graph):
    with pf.name_scope(None, "fallback") as scope:
        assert scope == "fallback/"
    with pf.name_scope("given", "fallback") as scope:
        assert scope == "given/"


def test_a_scope_ends_with_its_block_even_on_an_error(graph):
    with pytest.raises(KeyError), pf.name_scope("a"):
        raise KeyError
    assert pf.constant(1.0, name="c").op.name == "c"


def test_a_variable_s_operations_stand_under_its_name(graph):
    with pf.name_scope("layer"):
        w = pf.Variable([1.0], name="w")
    assert w.name == "layer/w:0"
    assert w.initializer.name.startswith("layer/w/")
    assert w.value().op.name.startswith("layer/w/")
    assert pf.Variable([1.0], name="w").name == "w:0"
    assert pf.Variable([1.0], name="w").name == "w_1:0"


@pytest.mark.parametrize(
    "make",
    [
        lambda name: pf.nn.bias_add([[1.0, 2.0]], [1.0, 2.0], name=name),
        lambda name: pf.nn.xw_plus_b([[1.0, 2.0]], [[1.0], [2.0]], [1.0], name=name),
        lambda name: pf.nn.l2_loss([1.0, 2.0], name=name),
        lambda name: pf.nn.l2_normalize([1.0, 2.0], 0, name=name),
        lambda name: pf.nn.log_sigmoid([1.0, 2.0], name=name),
        lambda name: pf.clip_by_norm([1.0, 2.0], 1.0, name=name),
        lambda name: pf.random_normal([2], name=name),
        lambda name: pf.truncated_normal([2], name=name),
        lambda name: pf.assign(pf.Variable(1.0), 2.0, name=name),
        lambda name: pf.assign_add(pf.Variable(1.0), 2.0, name=name),
        lambda name: pf.Variable(1.0).assign_sub(2.0, name=name),
        lambda name: pf.train.GradientDescentOptimizer(0.1).minimize(pf.square(pf.Variable(1.0)), name=name),
    ],
)
def test_the_result_of_a_composite_is_found_by_the_name_it_was_given(graph, make):
    with pf.name_scope("scope"):
        result = make("mine")
    assert graph.get_operation_by_name("scope/mine") is getattr(result, "op", result)


def test_assignments_without_a_name_stand_under_the_variable_s(graph):
    w = pf.Variable(1.0, name="w")
    names = [t.op.name for t in (w.assign(1.0), w.assign_add(1.0), w.assign_sub(1.0))]
    assert names == ["w/Assign_1", "w/AssignAdd", "w/AssignSub"]


def test_a_scope_takes_the_values_that_tensorflow_wants(graph):
    with pf.name_scope(None, "layer", [pf.constant(1.0)]) as scope:
        assert scope == "layer/"


def test_operations_are_listed_in_the_order_of_their_making(graph):
    x = pf.constant(1.0)
    y = pf.exp(x)
    assert graph.get_operations() == [x.op, y.op]


def test_things_are_found_by_name(graph):
    c = pf.constant(1.0, name="c")
    assert graph.get_operation_by_name("c") is c.op
    assert graph.get_tensor_by_name("c:0") is c
    assert graph.as_graph_element("c:0") is c


@pytest.mark.parametrize("name", ["c:1", "c", "d:0", "c:x", "scope"])
def test_a_name_that_is_not_there_is_named_with_near_misses(graph, name):
    with pf.name_scope("scope"):
        pf.constant(1.0, name="c")
    pf.constant(1.0, name="c")
    with pytest.raises(GraphError, match=name.partition(":")[0]) as caught:
        graph.get_tensor_by_name(name)
    if name == "d:0":
        assert "there is no operation 'd'" in str(caught.value)


def test_a_misspelt_operation_is_answered_with_those_that_are_like_it(graph):
    with pf.name_scope("scope"):
        pf.constant(1.0, name="weights")
    with pytest.raises(GraphError, match="did you mean 'scope/weights'"):
        graph.get_operation_by_name("weights")


def test_the_name_of_a_variable_stands_for_its_value(graph):
    w = pf.Variable([3.0, 4.0], name="w")
    with pf.Session() as session:
        session.run(w.initializer)
        assert session.run("w:0").tolist() == [3.0, 4.0]


def test_collections_are_handed_out_as_copies(graph):
    w = pf.Variable(1.0)
    frozen = pf.Variable(1.0, trainable=False)
    assert pf.global_variables() == [w, frozen]
    assert pf.trainable_variables() == [w]
    pf.global_variables().clear()
    assert pf.global_variables() == [w, frozen]
    assert graph.get_collection("nothing") == []


def test_a_finalized_graph_takes_no_operation_but_lets_variables_be_fetched(graph):
    w = pf.Variable([1.0, 2.0])
    initialize = pf.global_variables_initializer()
    graph.finalize()
    with pytest.raises(GraphError, match="finalized"):
        pf.constant(1.0)
    with pf.Session() as session:
        session.run(initialize)
        assert session.run(w).tolist() == [1.0, 2.0]


def test_graphs_nest_as_defaults():
    outer, inner = pf.Graph(), pf.Graph()
    with outer.as_default():
        assert pf.get_default_graph() is outer
        with inner.as_default():
            assert pf.constant(1.0).graph is inner
        assert pf.constant(1.0).graph is outer


def test_the_global_graph_is_replaced_by_an_empty_one():
    pf.reset_default_graph()
    old = pf.constant(1.0).graph
    pf.reset_default_graph()
    assert pf.get_default_graph() is not old
    assert not pf.get_default_graph().operations


def test_the_global_graph_is_not_replaced_inside_another_default(graph):
    with pytest.raises(GraphError, match="as_default"):
        pf.reset_default_graph()


def test_the_default_graph_is_a_thread_s_own(graph):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(pf.get_default_graph()))
    thread.start()
    thread.join(10)
    assert seen[0] is not graph


def test_graphs_do_not_mix(graph):
    x = pf.constant(1.0, name="x")
    with pf.Graph().as_default():
        y = pf.constant(2.0)
        with pytest.raises(GraphError, match=r"another graph.*'x'"):
            pf.add(y, x)
        with pytest.raises(GraphError, match=r"another graph.*'x'"), pf.control_dependencies([x]):
            pf.constant(3.0)


def test_operations_print_what_they_are(graph):
    x = pf.placeholder(pf.float32, (None, 2), name="x")
    assert repr(x) == "<paraflow.Tensor 'x:0' shape=(?, 2) dtype=float32>"
    assert repr(x.op) == "<paraflow.Operation 'x' type=placeholder>"
    assert repr(pf.Variable([1.0], name="w")) == "<paraflow.Variable 'w:0' shape=(1,) dtype=float32>"
