"""Graph definitions: what is written is read as the same graph, in part or below other names, and nothing else is."""

import contextlib
import copy
import json
import re

import numpy as np
import pytest
from compiler.programs import RECIPES, build
from hypothesis import HealthCheck, given, settings

import paraflow as pf
from paraflow.errors import DataError, GraphError, InvalidArgumentError
from paraflow.graph.graph_def import decode, encode
from paraflow.graph.node import records
from paraflow.graph.text import text


def through_json(graph, **options):
    return json.loads(json.dumps(graph.as_graph_def(**options), allow_nan=False))


def read(graph_def, **options):
    with pf.Graph().as_default() as graph:
        pf.import_graph_def(graph_def, name="", **options)
    return graph


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(RECIPES)
def test_random_programs_come_back(recipe):
    program = build(recipe)
    graph = read(through_json(program.graph))
    # A read that is handed to a branch stands there as a placeholder once it was written.
    assert text(graph.operations) == text(read(through_json(graph)).operations)
    assert [str(x) for x in graph.operations] == [str(x) for x in program.graph.operations]
    assert graph.variables == program.graph.variables
    assert graph.as_graph_def() == program.graph.as_graph_def()
    found = []
    for g in (program.graph, graph):
        with pf.Session(graph=g) as session:
            session.run([v.initializer.name for v in program.variables])
            names = [x.name for x in program.tensors], [o.name for o in program.assignments]
            try:
                values = session.run(names, {t.name: a for t, a in program.feeds.items()})[0]
            except ValueError as error:  # sizes that depend on values
                values = [str(error)]
            found.append([*values, *session.run([f"{v.spec.name}:0" for v in program.variables])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b, strict=not isinstance(a, str))


@pytest.mark.parametrize("value", [
    None, True, False, 0, -5, 2**70, 0.1, -0.0, 1e-320, float("inf"), -float("inf"), "", "é/x", (), (1, (2.0, "a")),
    ..., 1 + 2j, complex(0, float("inf")), np.dtype("float16"), np.dtype("bool"), np.dtype("S12"),
    pf.bfloat16,
])  # fmt: skip
def test_attributes_come_back(value):
    found = decode(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert (found, type(found), repr(found)) == (value, type(value), repr(value))


@pytest.mark.parametrize("dtype", [
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
    "complex64", "complex128", ">f4", ">i8", "bfloat16",
])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3), (3, 2)])
@pytest.mark.parametrize("alike", [True, False])
def test_arrays_come_back_to_the_bit(dtype, shape, alike):
    array = np.array(np.zeros(shape) if alike else np.arange(np.prod(shape)).reshape(shape) * 1.5).astype(dtype)
    if array.size and array.dtype.kind == "f":
        array.flat[0] = np.nan if alike else -0.0
    found = decode(json.loads(json.dumps(encode(array.T))))
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array.T)
    assert not alike or array.dtype.kind == "f" or len(json.dumps(encode(np.zeros(10**6, dtype)))) < 200
    assert found.tobytes() == array.T.astype(found.dtype).tobytes()


def network():
    pf.set_random_seed(5)
    x = pf.placeholder(pf.float32, (None, 4), name="x")
    hidden = pf.layers.dropout(pf.layers.dense(x, 6, pf.tanh, name="hidden"), 0.5, training=True)
    return pf.identity(pf.layers.dense(hidden, 2, name="logits"), name="y")


def test_a_graph_that_was_read_is_trained_further_with_the_same_bytes():
    """Gradients, an optimizer and random numbers are added to both, and all comes out the same."""
    found = []
    with pf.Graph().as_default() as first:
        network()
    with pf.Graph().as_default() as second:
        pf.import_graph_def(through_json(first), name="")
        pf.set_random_seed(5)
        pf.Graph.get_collection_ref(second, "seeded_by_order").extend(first.get_collection("seeded_by_order"))
    for graph in (first, second):
        with graph.as_default():
            y = graph.get_tensor_by_name("y:0")
            loss = pf.reduce_mean(pf.square(y)) + pf.reduce_mean(pf.random_normal([3])) * 0
            weights = [graph.handles[name] for name in graph.variables]
            step = pf.train.AdamOptimizer(0.1).minimize(loss, var_list=weights)
            everything = [graph.handles[name] for name in graph.variables]
            with pf.Session() as session:
                session.run([v.initializer for v in everything])
                for n in (3, 5, 4):
                    session.run(step, {"x:0": np.linspace(-1, 1, n * 4).reshape(n, 4)})
                found.append(session.run({v.name: v for v in everything}))
    assert found[0].keys() == found[1].keys()
    assert all(found[0][name].tobytes() == found[1][name].tobytes() for name in found[0])


def test_ranks_train_a_graph_that_was_read_as_they_train_the_original():
    with pf.Graph().as_default() as original:
        loss = pf.reduce_mean(pf.square(network()))
        pf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, name="step")
    graphs = [original, read(through_json(original))]

    def rank(comm):
        found = []
        for graph in graphs:
            with pf.Session(graph=graph, strategy=pf.parallel.AllReduce(comm)) as session:
                session.run([graph.handles[v].initializer.name for v in graph.variables])
                for n in range(3):
                    x = np.random.default_rng([comm.rank, n]).normal(size=(2 + comm.rank, 4))
                    session.run("step", {"x:0": x})
                found.append(session.run([f"{v}:0" for v in graph.variables]))
        return found

    for first, second in pf.comm.run_threads(3, rank):
        for a, b in zip(first, second, strict=True):
            assert a.tobytes() == b.tobytes()


def test_a_part_has_what_outputs_need_and_initializers():
    with pf.Graph().as_default() as graph:
        y = network()
        pf.py_func(lambda v: v, [y], pf.float32, name="called")
        pf.train.AdamOptimizer().minimize(pf.reduce_sum(y))
    part = read(through_json(graph, outputs=[y]))
    assert set(part.variables) == {"hidden/kernel", "hidden/bias", "logits/kernel", "logits/bias"}
    assert len(part.operations) < len(graph.operations) / 3
    with pf.Session(graph=part) as session:
        session.run([v.initializer for v in part.handles.values()])
        assert session.run("y:0", {"x:0": np.ones((3, 4))}).shape == (3, 2)
    slots = through_json(graph, outputs=["logits/bias/Adam"])
    owners = {v["name"]: v["slot_of"] for v in slots["variable"]}
    assert owners == {"logits/bias": "", "logits/bias/Adam": "logits/bias"}
    smaller = pf.graph_util.extract_sub_graph(part.as_graph_def(), ["hidden/bias/read"])
    assert smaller["node"] == through_json(graph, outputs=["hidden/bias/read"])["node"]
    with pytest.raises(TypeError, match="must be a list"):
        pf.graph_util.extract_sub_graph(slots, "y")
    with pytest.raises(GraphError, match="no operation 'z'"):
        pf.graph_util.extract_sub_graph(slots, ["z"])


def test_names_below_a_scope():
    with pf.Graph().as_default() as graph:
        network()
        pf.report_uninitialized_variables([graph.handles["hidden/bias"]], name="report")
    definition = through_json(graph)
    with pf.Graph().as_default() as target:
        assert pf.import_graph_def(definition) is None
        pf.import_graph_def(definition)
        y, op = pf.import_graph_def(definition, name="third", return_elements=["y:0", "x"])
        assert (y.name, op.name) == ("third/y:0", "third/x")
        with pf.Session() as session:
            assert session.run("import_1/report:0").tolist() == [b"import_1/hidden/bias"]
            session.run("import_1/hidden/bias/Assign")
            assert session.run("import_1/report:0").tolist() == []
            assert session.run("import/report:0").tolist() == [b"import/hidden/bias"]
            assert session.run("import_1/hidden/bias:0").tolist() == [0.0] * 6
        assert {name.partition("/")[0] for name in target.variables} == {"import", "import_1", "third"}
        with pytest.raises(GraphError, match="return_elements: there is no 'nothing:0'"):
            pf.import_graph_def(definition, return_elements=["nothing:0"])
        with pf.name_scope("third") as scope:
            assert scope == "third_1/"
    with graph.as_default(), pytest.raises(GraphError, match="'hidden/kernel' in the graph already: give import_graph"):
        pf.import_graph_def(definition, name="")


def test_inputs_are_replaced():
    with pf.Graph().as_default() as graph:
        a = pf.placeholder(pf.float32, (2,), name="a")
        b = pf.placeholder(pf.float32, (2,), name="b")
        with pf.control_dependencies([b]):
            pf.multiply(a, a + b, name="c")
    definition = through_json(graph)
    with pf.Graph().as_default() as target, pf.Session():
        three, waited = pf.constant([[3.0, 3.0]]), pf.no_op()
        (c,) = pf.import_graph_def(definition, {"a": three, "b:0": pf.Variable([1.0, 2.0]), "^b": waited}, ["c:0"])
        assert c.shape == (1, 2)
        assert c.op.control_inputs == (waited,)
        pf.get_default_session().run(next(iter(target.handles.values())).initializer)
        assert c.eval().tolist() == [[12.0, 15.0]]
        with pytest.raises(GraphError, match=r"input_map: there is no 'z:0' in"):
            pf.import_graph_def(definition, {"z": three})
        with pytest.raises(GraphError, match="input_map: 'a:0' is float32, not int32"):
            pf.import_graph_def(definition, {"a": pf.constant(1)})
        with pytest.raises(GraphError, match=r"input_map has does not fit: operation 'add' .*cannot be broadcast"):
            pf.import_graph_def(definition, {"a": pf.constant([1.0, 2.0, 3.0])})


def test_devices_sources_and_constraints():
    with pf.Graph().as_default() as graph, pf.device("/job:ps"):
        v = pf.Variable(1.0, name="v", constraint=pf.abs)
    other = read(through_json(graph))
    assert other.get_operation_by_name("v").device == "/job:ps"
    assert other.get_operation_by_name("v").source == v.op.source
    with other.as_default():
        v = other.handles["v"]
        with pytest.raises(GraphError, match=r"variable 'v' was made with a constraint, .*variable.constraint anew"):
            pf.train.GradientDescentOptimizer(1.0).minimize(pf.square(v), var_list=[v])
        v.constraint = None
        pf.train.GradientDescentOptimizer(1.0).minimize(pf.square(v), var_list=[v])


@pf.custom_gradient
def _own_gradient(x):
    return x * 2, lambda dy: dy


@pytest.mark.parametrize("make", [lambda x: pf.py_func(np.sin, [x], pf.float32), _own_gradient], ids=["py_func", "own"])
def test_python_functions_are_refused_with_their_line(make):
    with pf.Graph().as_default() as graph:
        made = make(pf.constant(1.0, name="one"))
        line = re.escape("{}:{}".format(*made.op.source))
        with pytest.raises(GraphError, match=rf"'{made.op.name}' of type \w+ \(made at {line}\) cannot be written"):
            graph.as_graph_def()
        graph.as_graph_def(outputs=["one"])
        with pytest.raises(GraphError, match="from_version has to be None"):
            graph.as_graph_def(3)


DAMAGES = {
    "of another form": (lambda d: d.update(versions={"producer": 99}), "of form 99, and this version.*forms 1 to 2"),
    "no definition": (lambda d: d.pop("node"), "not a graph definition"),
    "nodes that are none": (lambda d: d.update(node=[3]), "its 'node' is no list of objects"),
    "a node without name": (lambda d: d["node"][0].pop("name"), "the 'name' of a node is None"),
    "an unknown operation": (lambda d: d["node"][0].update(op="conv9"), "of the type conv9, which is not known here"),
    "a function": (lambda d: d["node"][0].update(op="call_python"), "no graph definition can have"),
    "an input that comes later": (lambda d: d["node"].reverse(), "which is not before it"),
    "too many inputs": (lambda d: d["node"][-1]["input"].append("x:0"), "it has 3 inputs, not 2"),
    "no attributes": (lambda d: d["node"][0].update(attr={}), r"it has the attributes \[\], not"),
    "another attribute": (lambda d: d["node"][0]["attr"].update(more=1), "not .'dtype', 'shape'"),
    "a kind of value": (lambda d: d["node"][0]["attr"].update(dtype={"exec": "1"}), "no value of an attribute"),
    "no dtype": (lambda d: d["node"][0]["attr"].update(dtype={"dtype": "object"}), "'object' is no dtype"),
    "a wrong attribute": (lambda d: d["node"][-1]["attr"].update(transpose_a="no"), "its 'transpose_a' is 'no'"),
    "another dtype": (lambda d: d["node"][-1]["output"][0].__setitem__(0, "int32"), "its output is float32.*not int32"),
    "another shape": (lambda d: d["node"][-1].update(output=[["float32", [7, 7]]]), r"is float32\(\?, 2\), not"),
    "a short array": (lambda d: _initial(d)["array"].__setitem__(2, "AAAA"), "no value of an attribute"),
    "an undeclared variable": (lambda d: d["variable"].clear(), r"touches the variables \['w'\]"),
    "a variable's shape": (lambda d: d["variable"][0].update(shape=[-1]), "variable 'w': .*no size"),
    "a variable's initializer": (lambda d: d["variable"][0].update(initializer="i"), "damaged: variable 'w': KeyError"),
    "a wrong digest": (lambda d: d.update(digest="0"), "is damaged: its digest"),
}  # fmt: skip


def _initial(definition):
    return next(n for n in definition["node"] if n["op"] == "constant")["attr"]["value"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_definitions_are_refused(damage):
    with pf.Graph().as_default() as graph:
        x = pf.placeholder(pf.float32, (None, 3), name="x")
        pf.matmul(x, pf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2), name="w"))
    definition = through_json(graph)
    change, message = DAMAGES[damage]
    read(copy.deepcopy(definition))
    change(definition)
    with pytest.raises(DataError, match=message):
        read(definition)


def test_whatever_is_missing_or_of_another_kind_is_an_error_of_ours():
    """Every value of a definition in turn is taken out or replaced: it is read, or refused in our own words."""
    with pf.Graph().as_default() as graph:
        x = pf.placeholder(pf.float32, (None, 3), name="x")
        pf.reduce_sum(pf.nn.softmax(x[1:]) * pf.Variable([1.0, 2.0, 3.0], name="w"), axis=0)
    definition = through_json(graph)

    def places(value, path=()):
        yield from [path] if path else []
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            yield from places(value[key], (*path, key))

    for path in places(definition):
        for other in (None, 7, "odd", [], {}):
            changed = copy.deepcopy(definition)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = other
            with contextlib.suppress(DataError, GraphError):
                read(changed)


def test_variables_become_constants():
    with pf.Graph().as_default() as graph, pf.Session() as session:
        y = network()
        step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_sum(y))
        session.run(pf.global_variables_initializer())
        session.run(step, {"x:0": np.ones((2, 4))})
        definition = graph.as_graph_def()
        frozen = json.loads(json.dumps(pf.graph_util.convert_variables_to_constants(session, definition, ["y"])))
        values = session.run(graph.handles["logits/kernel"])
        half = pf.graph_util.convert_variables_to_constants(
            session, definition, ["y"], variable_names_whitelist=["logits/kernel", "logits/bias"],
            variable_names_blacklist=["logits/bias"],
        )  # fmt: skip
        with pytest.raises(GraphError, match="changes 'hidden/kernel' or asks for its state"):
            pf.graph_util.convert_variables_to_constants(session, definition, [step.name])
    assert not frozen["variable"]
    assert {v["name"] for v in half["variable"]} == {"hidden/kernel", "hidden/bias", "logits/bias"}
    with pf.Session(graph=read(frozen)) as fresh:
        np.testing.assert_array_equal(fresh.run("logits/kernel/read:0"), values)
        assert np.isfinite(fresh.run("y:0", {"x:0": np.ones((1, 4))})).all()


def test_every_operation_can_be_written_but_those_of_python_functions():
    assert [name for name, record in records.items() if record.python] == ["call_python", "with_gradient"]


def test_writing_a_graph(tmp_path):
    with pf.Graph().as_default() as graph:
        network()
    path = pf.train.write_graph(graph, tmp_path / "new", "graph.json")
    assert path == str(tmp_path / "new" / "graph.json")
    definition = json.loads((tmp_path / "new" / "graph.json").read_text())
    assert text(read(definition).operations) == text(graph.operations)
    pf.train.write_graph(definition, tmp_path, "short.json", as_text=False)
    assert len((tmp_path / "short.json").read_text().splitlines()) == 1
    with pytest.raises(InvalidArgumentError, match="there is no file"):
        pf.train.import_meta_graph(tmp_path / "none.meta")
