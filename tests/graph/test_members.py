"""Members of Graph, Operation, Tensor, IndexedSlices and name_scope, as TensorFlow 1 programs use them."""

import traceback

import numpy as np
import pytest

import paraflow as pf


def test_an_operation_tells_its_attributes_values_and_place(graph):
    x = pf.placeholder(pf.float32, [None, 4], name="x")
    y = pf.argmax(x, 1)
    assert x.op.get_attr("dtype") == pf.float32
    assert y.op.get_attr("axis") == 1
    with pytest.raises(ValueError, match=r"'x'.*has no attr named 'nope'; it has dtype, shape"):
        x.op.get_attr("nope")
    assert y.op.values() == (y,)
    assert (x.value_index, pf.split(x, 2, 1)[1].value_index) == (0, 1)
    (place,) = traceback.format_list(y.op.traceback)
    assert f'"{__file__}"' in place
    assert "y = pf.argmax(x, 1)" in place


def test_a_graph_refuses_feeds_and_fetches_that_the_program_forbids(graph):
    x = pf.placeholder(pf.float32, [2], name="x")
    y = x * 2.0
    z = y + 1.0
    with pf.Session() as session:
        graph.prevent_feeding(x)
        graph.prevent_fetching(y.op)
        known = graph.is_feedable(x), graph.is_feedable(y), graph.is_fetchable(x), graph.is_fetchable(y)
        assert (*known, graph.is_fetchable(y.op)) == (False, True, True, False, False)
        with pytest.raises(ValueError, match="x:0 may not be fed"):
            session.run(z, {x: [1.0, 2.0]})
        with pytest.raises(ValueError, match="x:0 may not be fed"):
            session.make_callable(z, [x])
        for fetch in (y, y.op, [y], y.name):
            with pytest.raises(ValueError, match="may not be fetched"):
                session.run(fetch, {z: [0.0, 0.0]})
        assert session.run(z, {y: [1.0, 2.0]}).tolist() == [2.0, 3.0]


def test_the_version_of_a_graph_grows_and_a_body_knows_that_it_is_one(graph):
    before = graph.version
    pf.constant(1.0)
    assert graph.version == before + 1
    seen = []
    pf.while_loop(lambda i: i < 2, lambda i: seen.append(pf.get_default_graph().building_function) or i + 1, [0])
    assert (set(seen), graph.building_function) == ({True}, False)


def test_what_is_colocated_has_the_device_of_the_other_and_no_other(graph):
    with pf.device("/cpu:1"):
        there = pf.constant(1.0)
    plain = pf.constant(1.0)
    with pf.device("/job:ps/gpu:0"), pf.colocate_with(plain, ignore_existing=True):
        like_plain = pf.constant(2.0)
    with pf.device("/gpu:0"):
        with pf.colocate_with(there):
            beside = pf.constant(2.0)
        with graph.colocate_with(None, ignore_existing=True):
            nowhere = pf.constant(3.0)
        after = pf.constant(4.0)
    assert [t.device for t in (like_plain, beside, nowhere, after)] == ["", "/device:CPU:1", "", "/device:GPU:0"]
    with pytest.raises(ValueError, match="ignore_existing"), graph.colocate_with(None):
        pass


def test_a_name_scope_has_a_name_and_the_graph_of_its_values(graph):
    scope = pf.name_scope(None, "default")
    assert (scope.name, pf.name_scope("given", "default").name, pf.name_scope(None).name) == ("default", "given", None)
    with scope as outer, pf.name_scope("") as none:
        assert (outer, none, pf.constant(1.0).name) == ("default/", "", "Const:0")
    other = pf.Graph()
    with other.as_default():
        x = pf.constant(1.0)
    with pf.name_scope("there", values=[1.0, x]) as there:
        assert pf.get_default_graph() is other
        assert pf.constant(2.0).name == f"{there}Const:0"
    assert pf.get_default_graph() is graph
    with pytest.raises(ValueError, match="name and default_name"), pf.name_scope(None, values=[x]):
        pass
    with pf.name_scope("after"):  # the failure has left no scope behind
        assert pf.constant(1.0).name == "after/Const:0"


def test_slices_and_sparse_tensors_know_who_uses_them(graph):
    with pf.device("/cpu:1"):
        slices = pf.IndexedSlices(pf.constant([[1.0]]), pf.constant([0]))
        sparse = pf.SparseTensor([[0, 1]], [2.0], [2, 2])
    assert (slices.device, slices.consumers(), sparse.consumers()) == ("/device:CPU:1", [], [])
    used = [pf.exp(slices.values).op, pf.identity(slices.indices).op]
    assert slices.consumers() == used
    assert sparse.with_values(pf.exp(sparse.values)).values.op in sparse.consumers()
    with pf.Session():
        np.testing.assert_array_equal(sparse.eval().values, [2.0])


def test_the_keys_of_collections_are_tensorflows():
    keys = pf.GraphKeys
    assert (keys.VARIABLES, keys.RESOURCES, keys.LOCAL_RESOURCES) == ("variables", "resources", "local_resources")
    assert keys.TRAINABLE_RESOURCE_VARIABLES == "trainable_resource_variables"
    assert keys.CONCATENATED_VARIABLES == "concatenated_variables"


def test_errors_have_tensorflows_numbers():
    numbers = {name: getattr(pf.errors, name).error_code for name in ("InvalidArgumentError", "OutOfRangeError")}
    assert numbers == {"InvalidArgumentError": 3, "OutOfRangeError": 11}
    assert pf.errors.ShapeError("").error_code == 3
    assert pf.errors.OpError(None, None, "what").error_code is None
