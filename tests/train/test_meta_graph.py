"""Meta graphs: a graph with its collections and its saver, in a file, read by a program that has none of the code."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import paraflow as pf
from paraflow.errors import DataError, GraphError, InvalidArgumentError
from paraflow.graph.text import text

pytestmark = pytest.mark.usefixtures("graph")


def model():
    pf.set_random_seed(2)
    x = pf.placeholder(pf.float32, (None, 4), name="x")
    y = pf.placeholder(pf.int32, (None,), name="y")
    hidden = pf.layers.dense(x, 5, pf.nn.relu, kernel_regularizer=lambda w: pf.reduce_sum(w * w))
    hidden = pf.layers.batch_normalization(hidden, training=True)
    logits = pf.identity(pf.layers.dense(hidden, 3, name="last"), name="logits")
    loss = pf.losses.sparse_softmax_cross_entropy(y, logits) + pf.add_n(pf.get_collection("regularization_losses"))
    step = pf.train.AdamOptimizer(0.1).minimize(loss, pf.train.get_or_create_global_step(), name="step")
    pf.add_to_collection("train_op", pf.group(step, *pf.get_collection(pf.GraphKeys.UPDATE_OPS), name="train"))
    pf.add_to_collection("about", "digits")
    pf.add_to_collection("about", 0.5)


def feeds(n):
    rng = np.random.default_rng(n)
    return {"x:0": rng.normal(size=(8, 4)), "y:0": rng.integers(3, size=8)}


def train(session, steps, first=0):
    for n in range(first, first + steps):
        session.run("train", feeds(n))


def values(session):
    return {v.name: session.run(v).tobytes() for v in pf.global_variables()}


def test_another_program_trains_on_with_the_same_bytes(tmp_path, graph):
    model()
    saver = pf.train.Saver(max_to_keep=3)
    initialize = pf.global_variables_initializer()
    written = text(graph.operations)
    with pf.Session() as session:
        session.run(initialize)
        train(session, 3)
        path = saver.save(session, tmp_path / "model", global_step=3)
        train(session, 3, first=3)
        expected = values(session)
    with pf.Graph().as_default() as other, pf.Session() as session:
        restored = pf.train.import_meta_graph(path + ".meta")
        assert text(other.operations) == written
        assert other.variables == graph.variables
        assert {k: [getattr(x, "name", x) for x in other.get_collection(k)] for k in other.collections} == {
            k: [getattr(x, "name", x) for x in graph.get_collection(k)] for k in graph.collections
        }
        assert (other.seed, pf.get_collection("about")) == (2, ["digits", 0.5])
        restored.restore(session, path)
        assert len(other.operations) == len(written.splitlines())  # to restore takes no new operation
        train(session, 3, first=3)
        assert values(session) == expected
        assert restored.save(session, tmp_path / "model", global_step=6) == str(tmp_path / "model-6")


def test_a_fresh_process_needs_nothing_but_the_files(tmp_path):
    model()
    saver = pf.train.Saver()
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        train(session, 2)
        saver.save(session, tmp_path / "model")
        expected = session.run(LOGITS, feeds(9))
    program = f"""
        import numpy as np
        import paraflow as pf
        saver = pf.train.import_meta_graph({str(tmp_path / "model.meta")!r})
        with pf.Session() as session:
            saver.restore(session, {str(tmp_path / "model")!r})
            rng = np.random.default_rng(9)
            print(session.run({LOGITS!r}, {{"x:0": rng.normal(size=(8, 4))}}).tobytes().hex())
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected.tobytes().hex()


LOGITS = "logits:0"


def test_below_a_scope_and_without_a_saver(tmp_path, graph):
    with pf.device("/cpu:0"):
        model()
    pf.train.export_meta_graph(tmp_path / "m", collection_list=["variables", "train_op"])
    with pf.Graph().as_default() as other:
        saver = pf.train.import_meta_graph(tmp_path / "m", clear_devices=True, import_scope="copy")
        assert set(other.collections) == {"variables", "train_op"}
        assert [o.name for o in pf.get_collection("train_op")] == ["copy/train"]
        assert {o.device for o in other.operations} == {""}
        with pf.Session() as session:
            session.run(pf.global_variables_initializer())
            saver.save(session, tmp_path / "copy")
        saved = [name for name, _ in pf.train.list_variables(str(tmp_path / "copy"))]
        assert saved == sorted(f"copy/{name}" for name in graph.variables)
    with pf.Graph().as_default():
        assert pf.train.import_meta_graph(pf.train.export_meta_graph(graph=pf.Graph())) is None


def test_a_part_of_the_graph_for_those_who_only_ask_it(graph, tmp_path):
    model()
    saver = pf.train.Saver(pf.trainable_variables())
    part = graph.as_graph_def(outputs=[LOGITS])
    pf.train.export_meta_graph(tmp_path / "m", graph_def=part, saver_def=saver.to_proto(), clear_devices=True)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        path = saver.save(session, tmp_path / "model", write_meta_graph=False)
        expected = session.run(LOGITS, feeds(1))
    assert not (tmp_path / "model.meta").exists()
    with pf.Graph().as_default() as other, pf.Session() as session:
        restored = pf.train.import_meta_graph(tmp_path / "m")
        assert len(other.operations) < len(graph.operations) / 3
        assert not pf.get_collection("train_op")
        restored.restore(session, path)
        assert session.run(LOGITS, {"x:0": feeds(1)["x:0"]}).tobytes() == expected.tobytes()


def test_what_no_file_can_hold(tmp_path):
    v = pf.Variable(1.0)
    saver = pf.train.Saver()
    with pf.Session() as session:
        session.run(v.initializer)
        saver.save(session, tmp_path / "m")
        assert (tmp_path / "m.meta").exists()
        pf.add_to_collection("tools", object())
        with pytest.raises(GraphError, match=r"'tools' has <object .*name the collections to write in collection_list"):
            saver.export_meta_graph(tmp_path / "x")
        with pytest.warns(RuntimeWarning, match=r"no \.meta beside the checkpoint: the collection 'tools' has <object"):
            saver.save(session, tmp_path / "m")  # a checkpoint is one without the graph too
        assert not (tmp_path / "m.meta").exists()
        saver.export_meta_graph(tmp_path / "x", collection_list=["variables"])
        pf.py_func(len, [v], pf.int64, name="length")
        with pytest.raises(GraphError, match=r"'length' of type call_python \(made at .*test_meta_graph.py:\d+\)"):
            saver.export_meta_graph(tmp_path / "y", collection_list=[])
    assert not (tmp_path / "y").exists()


def test_damaged_files_are_refused(tmp_path):
    model()
    whole = json.dumps(pf.train.Saver().export_meta_graph(tmp_path / "m"))
    written = (tmp_path / "m").read_text()
    assert len(written) > len(whole) / 2
    place = written.index('"array"') + 40
    damages = {
        "cut": (written[:-100], "is no graph, or not all of one"),
        "changed": (written[:place] + ("A" if written[place] != "A" else "B") + written[place + 1 :], "digest"),
        "empty": ("", "is no graph"),
        "a list": ("[]", "holds no JSON object"),
        "another object": ("{}", "not a meta graph"),
    }
    for content, message in damages.values():
        (tmp_path / "m").write_text(content)
        with pf.Graph().as_default(), pytest.raises(DataError, match=message):
            pf.train.import_meta_graph(tmp_path / "m")
    (tmp_path / "m").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no graph"):
        pf.train.import_meta_graph(tmp_path / "m")
    with pytest.raises(InvalidArgumentError, match="there is no file"):
        pf.train.import_meta_graph(tmp_path / "none.meta")
    document = json.loads(whole)
    for broken in ({"variables": {"w": {}}}, {"variables": {}}, [], {"variables": 3, "options": {}}):
        with pf.Graph().as_default(), pytest.raises(DataError, match="saver is damaged"):
            pf.train.import_meta_graph({**document, "saver_def": broken})
    with pf.Graph().as_default(), pytest.raises(DataError, match="its collections"):
        pf.train.import_meta_graph({**document, "collection_def": {"a": [{"variable": "nothing"}]}})
