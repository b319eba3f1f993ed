"""Branches and loops that were written and read again: they give the bytes that the original gives."""

import copy
import json
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from ops.tf_case import cases_of

import paraflow as pf
from paraflow.errors import DataError, GraphError

CASES = cases_of("control")


@pytest.fixture(autouse=True)
def _graph():
    with pf.Graph().as_default():
        yield


def written(outputs=None):
    graph_def = pf.get_default_graph().as_graph_def(outputs=outputs)
    return json.loads(json.dumps(graph_def, allow_nan=False))


def read(graph_def, name="", **options):
    with pf.Graph().as_default() as graph:
        pf.import_graph_def(graph_def, name=name, **options)
    return graph


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def known_of(operations):
    """What is known of each tensor, those inside as well."""
    for operation in operations:
        for t in operation.outputs:
            value, element = t.spec.value, t.spec.element
            yield repr(t), value if value is None else (value.dtype, value.tolist())
            yield repr(t), element and (element.dtype, element.shape)
        for attribute in operation.attrs.values():
            for program in attribute if isinstance(attribute, tuple) else [attribute]:
                if hasattr(program, "fetches"):
                    yield from known_of(program.operations())


def first_and_second(outputs, inputs):
    """The first derivatives of a scalar of ``outputs``, and those of a scalar of these."""
    floating = [y for y in outputs if y.dtype == pf.float64]
    scalar = pf.add_n([pf.reduce_sum(pf.sin(y * 0.1)) for y in floating])
    first = [g for g in pf.gradients(scalar, inputs) if g is not None]
    if not first:
        return []
    mixed = pf.add_n([pf.reduce_sum(pf.cos(g) * (i + 1)) for i, g in enumerate(first)])
    return [*first, *(g for g in pf.gradients(mixed, inputs) if g is not None)]


@pytest.mark.parametrize("known", [True, False], ids=["sizes", "no-sizes"])
@pytest.mark.parametrize("name", CASES)
def test_cases_and_their_gradients_made_before_and_after(name, known):
    case = CASES[name]
    arrays = case.arrays("float64")
    inputs = [
        pf.placeholder(a.dtype, a.shape if known else (None,) * a.ndim, name=f"x{i}") for i, a in enumerate(arrays)
    ]
    result = case.build(pf, *inputs)
    outputs = list(result) if isinstance(result, (list, tuple)) else [result]
    outputs = [pf.identity(y, name=f"y{i}") for i, y in enumerate(outputs)]
    forward = written()
    floating = [x for x in inputs if x.dtype == pf.float64]
    gradients = first_and_second(outputs, floating) if case.gradients else []
    names = [t.name for t in (*outputs, *gradients)]
    feeds = {x.name: a for x, a in zip(inputs, arrays, strict=True)}
    with pf.Session() as session:
        expected = [np.asarray(a) for a in session.run(names, feeds)]

    whole = read(written())
    assert whole.as_graph_def() == pf.get_default_graph().as_graph_def()
    assert list(known_of(whole.operations)) == list(known_of(pf.get_default_graph().operations))
    with pf.Session(graph=whole) as session:
        same([np.asarray(a) for a in session.run(names, feeds)], expected)

    with read(forward, name="there").as_default() as graph, pf.Session() as session:
        ys = [graph.get_tensor_by_name(f"there/{y.name}") for y in outputs]
        xs = [graph.get_tensor_by_name(f"there/{x.name}") for x in floating]
        made = [*ys, *(first_and_second(ys, xs) if case.gradients else [])]
        same([np.asarray(a) for a in session.run(made, {f"there/{k}": a for k, a in feeds.items()})], expected)


def layered(x):
    """A map over rows, in which a branch is chosen, in which a loop turns, which fills a TensorArray."""

    def row(r):
        def loop():
            kept = pf.TensorArray(pf.float32, 3)
            _, _, kept = pf.while_loop(
                lambda i, *_: i < 3, lambda i, s, k: (i + 1, pf.tanh(s * r), k.write(i, s + r)), (0, r, kept)
            )
            return pf.reduce_sum(kept.stack(), 0)

        return pf.cond(pf.reduce_sum(r) > 0, loop, lambda: -r)

    return pf.map_fn(row, x)


def test_any_depth_below_a_name():
    x = pf.placeholder(pf.float32, (None, 2), name="x")
    y = layered(x)
    (slope,) = pf.gradients(y, x)
    (second,) = pf.gradients(pf.reduce_sum(slope * slope), x)
    names = [y.name, slope.name, second.name]
    rows = np.array([[1.0, 2.0], [-3.0, 1.0], [0.5, 0.25]], np.float32)
    with pf.Session() as session:
        expected = session.run(names, {x: rows})
    definition = written()
    with pf.Graph().as_default(), pf.Session() as session:
        pf.import_graph_def(definition)
        (again,) = pf.import_graph_def(definition, return_elements=[names[0]])
        same(session.run([f"import/{n}" for n in names], {"import/x:0": rows}), expected)
        anew = pf.gradients(again, again.graph.get_tensor_by_name("import_1/x:0"))
        same(session.run([again, *anew], {"import_1/x:0": rows}), expected[:2])
    longest = pf.case([(x[0, 0] < float(k), lambda k=k: pf.constant(float(k))) for k in range(40)], lambda: x[0, 0])
    with pf.Session(graph=read(written([longest]))) as session:
        assert [session.run(longest.name, {"x:0": [[v, 0.0]]}) for v in (-1.0, 7.5, 50.0)] == [0.0, 8.0, 50.0]


# -- training ----------------------------------------------------------------------------------------------------------


def network():
    pf.set_random_seed(3)
    x = pf.placeholder(pf.float32, (None, 5, 4), name="x")
    lengths = pf.placeholder(pf.int32, (None,), name="lengths")
    cell = pf.nn.rnn_cell.DropoutWrapper(pf.nn.rnn_cell.LSTMCell(6, use_peepholes=True), output_keep_prob=0.8)
    outputs, state = pf.nn.dynamic_rnn(cell, x, sequence_length=lengths, dtype=pf.float32)
    weight = pf.get_variable("weight", (6, 2))
    return pf.identity(pf.matmul(outputs[:, -1] + state.h, weight), name="y")


def minimize(y, names):
    variables = [y.graph.handles[name] for name in names]
    pf.train.AdamOptimizer(0.05).minimize(pf.reduce_mean(pf.square(y - 0.5)), var_list=variables, name="step")


def feeds(n, rank=0):
    rng = np.random.default_rng([n, rank])
    size = 3 + rank
    return {"x:0": rng.normal(size=(size, 5, 4)), "lengths:0": rng.integers(1, 6, size=size)}


def train(session, first=0, steps=4):
    for n in range(first, first + steps):
        session.run("step", feeds(n))
    return values(session)


def values(session):
    return [session.run(f"{name}:0") for name in session.graph.variables]


def test_an_lstm_is_trained_with_the_same_bytes():
    """The step is made before it is written, or after it is read."""
    graph = pf.get_default_graph()
    y = network()
    forward, names = written(), list(graph.variables)
    minimize(y, names)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        start = values(session)
        expected = train(session)
    assert not any(np.array_equal(a, b) for a, b in zip(start, expected, strict=True))
    after = read(forward)
    with after.as_default():
        minimize(after.get_tensor_by_name("y:0"), names)
    for other in (read(written()), after):
        assert list(other.variables) == list(graph.variables)
        with pf.Session(graph=other) as session:
            session.run([v.initializer for v in other.handles.values()])
            same(train(session), expected)


def test_ranks_train_what_was_read_as_they_train_the_original():
    minimize(network(), pf.get_default_graph().variables.copy())
    graphs = [pf.get_default_graph(), read(written())]

    def rank(comm):
        found = []
        for graph in graphs:
            with pf.Session(graph=graph, strategy=pf.parallel.AllReduce(comm)) as session:
                session.run([v.initializer.name for v in graphs[0].handles.values()])
                for n in range(3):
                    session.run("step", feeds(n, comm.rank))
                found.append(values(session))
        return found

    results = pf.comm.run_threads(3, rank)
    for first, second in results:
        same(first, second)
        same(first, results[0][0])


def test_a_fresh_process_trains_on_from_a_checkpoint(tmp_path):
    minimize(network(), pf.get_default_graph().variables.copy())
    saver = pf.train.Saver()
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        train(session)
        path = saver.save(session, tmp_path / "m")
    with pf.Session() as session:
        saver.restore(session, path)
        expected = train(session, first=4)
    program = f"""
        import numpy as np
        import paraflow as pf
        saver = pf.train.import_meta_graph({path + ".meta"!r})
        with pf.Session() as session:
            saver.restore(session, {path!r})
            for n in range(4, 8):
                rng = np.random.default_rng([n, 0])
                session.run("step", {{"x:0": rng.normal(size=(3, 5, 4)), "lengths:0": rng.integers(1, 6, size=3)}})
            for v in pf.global_variables():
                print(session.run(v).tobytes().hex())
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [array.tobytes().hex() for array in expected]


@pytest.mark.parametrize("cleared", ["written", "read", None])
def test_devices_inside(tmp_path, cleared):
    with pf.device("/cpu:1"):
        pf.map_fn(lambda row: row * 2, pf.ones([3, 2]))
    pf.train.export_meta_graph(tmp_path / "m", clear_devices=cleared == "written")
    with pf.Graph().as_default() as graph:
        pf.train.import_meta_graph(tmp_path / "m", clear_devices=cleared == "read")
    (loop,) = (o for o in graph.operations if o.type == "stateless_while")
    devices = {o.device for o in (loop, *loop.attrs["body"].operations())}
    assert devices == ({""} if cleared else {"/device:CPU:1"})


def test_what_a_body_does_besides_making_values(capsys):
    v = pf.Variable([1.0, 2.0], trainable=False, name="v")

    def body(i):
        drawn = pf.random_normal([2], seed=3)
        added = pf.cond(i < 2, lambda: v.assign_add(drawn), lambda: v.assign(v * 2))
        with pf.control_dependencies([pf.Print(i, [added], "turn ")]):
            return i + 1

    loop = pf.while_loop(lambda i: i < 4, body, [0], name="loop")
    graphs, found, printed = [pf.get_default_graph(), read(written())], [], []
    for graph in graphs:
        with pf.Session(graph=graph) as session:
            session.run("v/Assign")
            found.append([session.run([loop.name, "v:0"]) for _ in range(2)])
            printed.append(capsys.readouterr().err)
    for ours, theirs in zip(*found, strict=True):
        same([np.asarray(a) for a in ours], [np.asarray(a) for a in theirs])
    assert printed[0] == printed[1]
    assert printed[0].count("turn ") == 8


# -- other inputs, and constants for variables -------------------------------------------------------------------------


def fitted(x, start, scale, count):
    """A loop whose start, captured tensor and limit are given, its result and a gradient."""
    _, y = pf.while_loop(
        lambda i, _: i < count, lambda i, y: (i + 1, pf.tanh(pf.reshape(y * scale, pf.shape(x)) + x)), (0, start)
    )
    return pf.identity(y, name="y"), pf.identity(pf.gradients(y, x)[0], name="slope")


@pytest.mark.parametrize(("declared", "rows"), [(2, 2), (None, 5)])
def test_other_inputs(declared, rows):
    """What constants are is known inside too; nothing of it may be left where another tensor takes their place."""
    given = {
        "x": np.linspace(-1, 1, rows * 3).reshape(rows, 3), "start": np.ones((rows, 3)), "scale": np.float64(0.7),
        "count": np.int32(4),
    }  # fmt: skip
    x, start = (pf.placeholder(pf.float64, (declared, 3), name=name) for name in ("x", "start"))
    fitted(x, start, pf.constant(2.0, pf.float64, name="scale"), pf.constant(1, name="count"))
    definition = written()
    with pf.Graph().as_default(), pf.Session() as session:
        expected = session.run(fitted(*map(pf.constant, given.values())))
    for make in (pf.constant, lambda a: pf.placeholder(a.dtype, (None,) * a.ndim)):
        with pf.Graph().as_default(), pf.Session() as session:
            taken = {name: make(a) for name, a in given.items()}
            found = pf.import_graph_def(definition, taken, ["y:0", "slope:0"])
            fed = {t: given[name] for name, t in taken.items() if t.op.type == "placeholder"}
            same(session.run(found, fed), expected)
            scaled = pf.gradients(found[0], taken["scale"])[0]
            assert np.isfinite(session.run(scaled, fed))
    with pf.Graph().as_default():
        with pytest.raises(GraphError, match=r"what input_map has does not fit: operation 'while/mul"):
            pf.import_graph_def(definition, {"scale": pf.constant(np.ones((7, 7)))})
        with pytest.raises(GraphError, match=r"input_map: there is no 'while/Tanh:0' in"):
            pf.import_graph_def(definition, {"while/Tanh": pf.constant(1.0)})


def test_other_shapes_where_all_were_known():
    def build(x):
        _, y = pf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, pf.tanh(y * x)), (0, x))
        z = pf.cond(pf.reduce_sum(y) > 0, lambda: pf.exp(y * y), lambda: -y)
        return pf.identity(z, name="z"), pf.identity(pf.gradients(z, y, grad_ys=x)[0], name="slope")

    build(pf.placeholder(pf.float64, (2, 3), name="x"))
    definition = written()
    values = np.linspace(-1, 2, 15).reshape(5, 3)
    with pf.Graph().as_default(), pf.Session() as session:
        expected = session.run(build(pf.constant(values)))
    for make in (pf.constant, lambda a: pf.placeholder(a.dtype, (None, 3))):
        with pf.Graph().as_default(), pf.Session() as session:
            x = make(values)
            same(session.run(pf.import_graph_def(definition, {"x": x}, ["z:0", "slope:0"]), {x: values}), expected)


def test_variables_become_constants(tmp_path):
    network()
    session = pf.Session()
    with session:
        session.run(pf.global_variables_initializer())
        expected = session.run("y:0", feeds(1))
        frozen = pf.graph_util.convert_variables_to_constants(session, pf.get_default_graph().as_graph_def(), ["y"])
    assert not frozen["variable"]
    pf.train.write_graph(frozen, tmp_path, "frozen.json")
    with pf.Session(graph=read(json.loads((tmp_path / "frozen.json").read_text()))) as fresh:
        same([fresh.run("y:0", feeds(1))], [expected])
    counter = pf.Variable(0, trainable=False, name="counter")
    turns = pf.while_loop(lambda i: i < 3, lambda i: i + counter.assign_add(1), [0])
    with pf.Session() as session:
        session.run(counter.initializer)
        part = written([turns])
        assert [v["name"] for v in part["variable"]] == ["counter"]
        with pytest.raises(GraphError, match="'while' of type while_loop changes 'counter' or asks"):
            pf.graph_util.convert_variables_to_constants(session, part, [turns.op.name])
    with pf.Session(graph=read(part)) as session:
        session.run("counter/Assign")
        assert [session.run(turns.name), session.run("counter:0")] == [3, 2]


# -- files that say something else -------------------------------------------------------------------------------------


def test_a_python_function_inside_is_refused_with_its_line(tmp_path):
    v = pf.Variable(1.0)
    with pf.Session() as session:
        session.run(v.initializer)
        pf.while_loop(lambda y: y < 9.0, lambda y: pf.py_func(lambda a: a + 1, [y], pf.float32, name="called"), [v],
                      shape_invariants=[pf.TensorShape(None)], name="loop")  # fmt: skip
        line = rf"'loop/called' of type call_python \(made at {re.escape(__file__)}:{sys._getframe().f_lineno - 2}\)"
        with pytest.raises(GraphError, match=line + " cannot be written"):
            written()
        with pytest.warns(RuntimeWarning, match=r"^no \.meta beside the checkpoint: operation " + line) as caught:
            pf.train.Saver().save(session, tmp_path / "m")
        assert caught[0].filename == __file__
        assert "\n" not in str(caught[0].message)


def test_a_definition_of_the_first_form_is_read():
    x = pf.placeholder(pf.float32, (2,), name="x")
    pf.multiply(x, 3.0, name="y")
    definition = written()
    assert definition["versions"] == {"producer": 2}
    definition["versions"] = {"producer": 1}
    with pf.Session(graph=read(definition)) as session:
        assert session.run("y:0", {"x:0": [1.0, 2.0]}).tolist() == [3.0, 6.0]


def sample():
    x = pf.placeholder(pf.float32, (2,), name="x")
    v = pf.Variable([1.0, 2.0], name="v", trainable=False)
    _, y = pf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y + v.assign_add(x)), (0, x), name="loop")
    z = pf.cond(y[0] > 0, lambda: x * 2, lambda: -x, name="branch")
    pf.gradients(z, x)
    return written()


def node(definition, name):
    return next(n for n in definition["node"] if n["name"] == name)


def body(definition):
    return node(definition, "loop")["attr"]["body"]["graph"]


def branch(definition):
    return node(definition, "branch")["attr"]


def inner(definition, op):
    return next(n for n in body(definition)["node"] if n["op"] == op)


def fed(definition):
    return branch(definition)["branches"][0]["graph"]["node"][0]


DAMAGES = {
    "no graph": (lambda d: node(d, "loop")["attr"].update(body=3), "operation 'loop'"),
    "no condition": (lambda d: node(d, "loop")["attr"].update(cond=None), "operation 'loop'"),
    "an unknown operation inside": (lambda d: inner(d, "add").update(op="conv9"), "of the type conv9, which is not"),
    "a function inside": (lambda d: inner(d, "add").update(op="call_python"), "no graph definition can have"),
    "nodes that come later": (lambda d: body(d)["node"].reverse(), "which is not before it"),
    "a feed less": (lambda d: body(d)["feed"].pop(), "operation 'loop'"),
    "a feed twice": (lambda d: body(d)["feed"].__setitem__(0, body(d)["feed"][1]), "operation 'loop'.*twice"),
    "another dtype of a feed": (lambda d: inner(d, "placeholder")["output"][0].__setitem__(0, "bool"), "dtype bool"),
    "another shape of a feed": (lambda d: fed(d)["output"][0].__setitem__(1, [7]), r"a feed of shape \(7,\) gets \(2"),
    "a fetch that is not there": (lambda d: body(d)["fetch"].__setitem__(0, "nothing:0"), "nothing:0"),
    "fetches of other dtypes": (lambda d: body(d)["fetch"].reverse(), "operation 'loop'"),
    "a wrong number": (lambda d: node(d, "loop")["attr"].update(carried=-1), "-1 is no number from 0"),
    "an input that there is not": (lambda d: branch(d).update(takes=[[5], [0]]), "5 is no number from 0 to"),
    "more outputs": (lambda d: branch(d).update(outputs=9), "9 is no number from 0 to"),
    "no variables": (lambda d: node(d, "loop")["attr"].update(variables=[]), r"it says that \[\] are the variables"),
    "no effects": (lambda d: node(d, "loop").update(op="stateless_while"), "does more than make values"),
    "a variable that is not there": (lambda d: inner(d, "assign_variable")["attr"].update(variable="u"), "not all"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_definitions_are_refused(damage):
    definition = sample()
    change, message = DAMAGES[damage]
    read(copy.deepcopy(definition))
    change(definition)
    with pytest.raises(DataError, match=message):
        read(definition)


def test_whatever_is_missing_or_of_another_kind_inside_is_an_error_of_ours():
    """Every value inside in turn is taken out or replaced: it is read, or refused in our own words."""
    definition = sample()

    def places(value, path=()):
        yield from [path] if path else []
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            yield from places(value[key], (*path, key))

    numbers = {n["name"]: i for i, n in enumerate(definition["node"])}
    refused = 0
    for name in ("loop", "branch"):
        for path in places(definition["node"][numbers[name]]["attr"]):
            for other in (None, -1, "odd", [], {}):
                changed = copy.deepcopy(definition)
                at = changed["node"][numbers[name]]["attr"]
                for key in path[:-1]:
                    at = at[key]
                at[path[-1]] = other
                try:
                    read(changed)
                except (DataError, GraphError):
                    refused += 1
    assert refused > 500
