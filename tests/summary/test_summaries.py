"""Summaries: TensorFlow's values in the graph, and in files that TensorBoard's own reader reads back."""

import io
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.summary_pb2 import Summary as TensorboardSummary

import paraflow as pf
from paraflow.errors import FailedPreconditionError, GraphError, InvalidArgumentError, MissingPackageError

pytestmark = pytest.mark.usefixtures("graph")

LARGEST = np.finfo(np.float64).max


def read(directory):
    accumulator = EventAccumulator(str(directory), size_guidance={"images": 0, "histograms": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def value(summary, **feeds):
    with pf.Session() as session:
        return session.run(summary, feeds).value


def test_scalars_are_read_back(tmp_path):
    x = pf.placeholder(pf.float64, (), name="x")
    with pf.name_scope("model"):
        pf.summary.scalar("the loss", x * 2)
        pf.summary.scalar("steps", pf.cast(x, pf.int32), family="counts")
    merged = pf.summary.merge_all()
    with pf.Session() as session, pf.summary.FileWriter(tmp_path, session.graph) as writer:
        for step in range(3):
            writer.add_summary(session.run(merged, {x: step + 0.25}), step * 10)
        writer.add_summary(pf.Summary(value=[pf.Summary.Value(tag="by_hand", simple_value=7)]), np.int64(5))
        made = pf.summary.Summary()
        made.value.add(tag="added", simple_value=0.5)
        writer.add_summary(made)
        assert writer.get_logdir() == str(tmp_path)
    found = read(tmp_path)
    assert set(found.Tags()["scalars"]) == {"model/the_loss", "counts/model/counts/steps", "by_hand", "added"}
    events = found.Scalars("model/the_loss")
    assert [(e.step, e.value) for e in events] == [(0, 0.5), (10, 2.5), (20, 4.5)]
    assert [e.value for e in found.Scalars("counts/model/counts/steps")] == [0.0, 1.0, 2.0]
    assert [(e.step, e.value) for e in found.Scalars("by_hand")] == [(5, 7.0)]
    assert [(e.step, e.value) for e in found.Scalars("added")] == [(0, 0.5)]


def test_names_and_collections(graph):
    with pf.name_scope("a"):
        first = pf.summary.scalar("x y", 1.0)
        second = pf.summary.scalar("/x y", 1.0, collections=["mine"])
    assert [first.name, second.name, first.shape] == ["a/x_y:0", "a/x_y_1:0", ()]
    assert [v.tag for v in value(second)] == ["a/x_y_1"]
    merged = pf.summary.merge([first, second], collections=["all"])
    assert (merged.name, pf.get_collection("all")) == ("Merge/MergeSummary:0", [merged])
    assert pf.get_collection(pf.GraphKeys.SUMMARIES) == [first]
    assert pf.summary.merge_all("nothing") is None
    assert pf.summary.merge_all("mine", scope="b") is None
    assert pf.summary.merge_all("mine", name="Mine").name == "Mine/MergeSummary:0"


def test_histograms_have_tensorflows_buckets(tmp_path):
    # tf.summary.histogram of TensorFlow 2.21, tf.compat.v1.
    limits = [-1.0089710279437536, -0.917246389039776, 0, 1e-12, 2.3791009056258718, 2.6170109961884593,
              9.9207756218597835e19, LARGEST]  # fmt: skip
    summary = pf.summary.histogram("h", [[-1.0, 0.0, 0.0], [2.5, 1e30, 2.5]])
    with pf.Session() as session, pf.summary.FileWriter(tmp_path) as writer:
        writer.add_summary(session.run(summary), 3)
    (event,) = read(tmp_path).Histograms("h")
    assert event.step == 3
    found = event.histogram_value
    np.testing.assert_allclose(found.bucket_limit, limits, rtol=1e-14)
    assert list(found.bucket) == [0, 1, 0, 2, 0, 2, 0, 1]
    assert (found.min, found.max, found.num) == (-1.0, float(np.float32(1e30)), 6.0)
    assert found.sum_squares == pytest.approx(float(np.float32(1e30)) ** 2)
    (empty,) = value(pf.summary.histogram("e", pf.zeros([0])))
    assert (empty.histo.bucket_limit, empty.histo.bucket, empty.histo.min) == ((LARGEST,), (0.0,), LARGEST)
    (whole,) = value(pf.summary.histogram("i", np.array([1, 1, 7])))
    limits = [0.917246389039776, 1.0089710279437536, 6.7878525393626115, 7.4666377932988732, LARGEST]
    np.testing.assert_allclose(whole.histo.bucket_limit, limits, rtol=1e-14)
    assert (whole.histo.bucket, whole.histo.sum, whole.histo.sum_squares) == ((0, 2, 0, 1, 0), 9, 51)
    with pytest.raises(InvalidArgumentError, match="Nan in summary histogram for: n"):
        value(pf.summary.histogram("n", [1.0, np.nan, np.inf]))
    with pytest.raises(InvalidArgumentError, match="Infinity in summary histogram for: inf"):
        value(pf.summary.histogram("inf", [1.0, np.inf]))


IMAGES = {  # tf.summary.image of TensorFlow 2.21, tf.compat.v1
    "positive": (
        np.float32(np.arange(12) * 10).reshape(1, 3, 4, 1), [0, 23, 46, 69, 92, 115, 139, 162, 185, 208, 231, 255]
    ),
    "negative": (np.float32([-4, 3, 2, -1]).reshape(1, 2, 2, 1), [1, 223, 191, 96]),
    "small": (np.float32([0.1, 0.2, 0.5, 0.25]).reshape(1, 2, 2, 1), [51, 102, 255, 127]),
    "zero": (np.zeros((1, 2, 2, 1), np.float32), [0, 0, 0, 0]),
    "not a number": (np.float32([np.nan, 1, 2, 3]).reshape(1, 2, 2, 1), [255, 85, 170, 255]),
    "bytes in colour": (np.uint8([[[[1, 2, 3], [4, 5, 6]]]]), [1, 2, 3, 4, 5, 6]),
    "half": (np.float16([1, 2]).reshape(1, 1, 2, 1), [127, 255]),
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
def test_images_have_tensorflows_pixels(kind, tmp_path):
    images, pixels = IMAGES[kind]
    summary = pf.summary.image("im", images, max_outputs=1)
    with pf.Session() as session, pf.summary.FileWriter(tmp_path) as writer:
        writer.add_summary(session.run(summary), 1)
    (event,) = read(tmp_path).Images("im/image")
    assert (event.height, event.width) == images.shape[1:3]
    decoded = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
    assert decoded.ravel().tolist() == pixels
    assert decoded.dtype == np.uint8


def test_images_of_a_batch():
    x = pf.placeholder(pf.float32, (None, 2, 2, 4), name="x")
    with pf.Session() as session:
        summary = pf.summary.image("im", x)
        for n, tags in ((5, [0, 1, 2]), (2, [0, 1]), (0, [])):
            found = session.run(summary, {x: np.ones((n, 2, 2, 4))}).value
            assert [v.tag for v in found] == [f"im/image/{i}" for i in tags]
            assert all(v.image.shape == (2, 2, 4) for v in found)


def test_what_cannot_be_summarised():
    x = pf.placeholder(pf.float32, None, name="x")
    for make, message in (
        (lambda: pf.summary.scalar("s", [1.0, 2.0]), "a scalar summary is of a scalar; reduce_mean"),
        (lambda: pf.summary.scalar("", 1.0), "a summary needs a name"),
        (lambda: pf.summary.scalar("s", True), "takes real tensors"),
        (lambda: pf.summary.image("i", np.zeros((1, 2, 2, 2), np.float32)), "of 1, 3 or 4 channels"),
        (lambda: pf.summary.image("i", np.zeros((1, 2, 2, 1), np.int32)), "uint8 or floating point, not int32"),
        (lambda: pf.summary.image("i", np.zeros((1, 2, 2, 1), np.uint8), 0), "max_outputs must be at least 1"),
        (lambda: pf.summary.merge([x]), "only summaries can be merged"),
    ):
        with pytest.raises((GraphError, InvalidArgumentError), match=message):
            make()
    late = pf.py_func(lambda: np.float32([1.0, 2.0]), [], pf.float32)
    scalar, image = pf.summary.scalar("late", late), pf.summary.image("picture", late)
    dup = pf.summary.scalar("dup", x)
    twice = pf.summary.merge([dup, pf.summary.merge([dup])])
    with pf.Session() as session:
        with pytest.raises(InvalidArgumentError, match="summary 'late' is of a scalar, not of shape"):
            session.run(scalar)
        with pytest.raises(InvalidArgumentError, match="summary 'picture': images are"):
            session.run(image)
        with pytest.raises(InvalidArgumentError, match="duplicate tag dup found"):
            session.run(twice, {x: 1.0})


def test_the_graph_is_read_back(tmp_path, graph):
    x = pf.placeholder(pf.float32, (None, 3), name="x")
    with pf.control_dependencies([pf.no_op(name="first")]):
        top = pf.nn.top_k(x, 2)
        pf.add(top[1], 1, name="y")
    writer = pf.summary.FileWriter(tmp_path)
    writer.add_graph(graph)
    writer.close()
    found = GraphDef.FromString(read(tmp_path).Graph().SerializeToString())
    nodes = {node.name: node for node in found.node}
    assert set(nodes) == {o.name for o in graph.operations}
    assert [d.size for d in nodes["x"].attr["_output_shapes"].list.shape[0].dim] == [-1, 3]
    assert nodes["x"].attr["dtype"].type == 1
    assert "^first" in nodes["y"].input
    assert nodes["y"].input[0] == graph.get_operation_by_name("y").inputs[0].name.removesuffix(":0")


def test_a_writer_is_closed_and_opened_again(tmp_path):
    writer = pf.summary.FileWriter(tmp_path, filename_suffix=".mine")
    one = pf.Summary([pf.Summary.Value("v", 1.0)])
    writer.add_summary(one, 1)
    writer.flush()
    assert [e.value for e in read(tmp_path).Scalars("v")] == [1.0]
    writer.close()
    writer.close()
    with pytest.raises(FailedPreconditionError, match="is closed; reopen"):
        writer.add_summary(one, 2)
    writer.reopen()
    writer.add_summary(one, 3)
    writer.close()
    assert all(p.name.endswith(".mine") for p in tmp_path.iterdir())
    for wrong, message in ((b"x", "takes a Summary, not b'x'"), (pf.summary.scalar("s", 1.0), "run it in a session")):
        with pytest.raises(TypeError, match=message):
            pf.summary.FileWriter(tmp_path / "other").add_summary(wrong)
    cached = pf.summary.FileWriterCache.get(str(tmp_path / "cache"))
    assert pf.summary.FileWriterCache.get(str(tmp_path / "cache")) is cached
    pf.summary.FileWriterCache.clear()
    with pytest.raises(FailedPreconditionError):
        cached.add_summary(one)


def test_rank_0_writes_unless_all_are_to(tmp_path):
    def rank(comm):
        with pf.Graph().as_default(), pf.Session(strategy=pf.parallel.AllReduce(comm)) as session:
            summary = pf.summary.scalar("v", float(comm.rank))
            for every_rank in (False, True):
                at = tmp_path / str(every_rank)
                with pf.summary.FileWriter(at, session=session, every_rank=every_rank) as writer:
                    writer.add_summary(session.run(summary), 1)

    pf.comm.run_threads(3, rank)
    assert [e.value for e in read(tmp_path / "False").Scalars("v")] == [0.0]
    assert len(list((tmp_path / "False").iterdir())) == 1
    for n in range(3):
        assert [e.value for e in read(tmp_path / "True" / f"rank-{n}").Scalars("v")] == [float(n)]


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'paraflow\[tensorboard\]'"):
        pf.summary.FileWriter(tmp_path)
    assert issubclass(MissingPackageError, ImportError)


def test_nothing_of_it_is_imported_before_a_writer_is_made():
    program = """
        import sys
        import paraflow as pf
        with pf.Session() as session:
            session.run(pf.summary.scalar("loss", 1.0))
        assert not {"tensorboard", "PIL", "google.protobuf"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(program)], check=True)


def test_summaries_are_written_with_a_graph_and_read(graph):
    x = pf.placeholder(pf.float32, (), name="x")
    pf.summary.scalar("loss", x)
    pf.summary.merge_all()
    definition = graph.as_graph_def()
    with pf.Graph().as_default(), pf.Session() as session:
        (merged,) = pf.import_graph_def(definition, name="", return_elements=["Merge/MergeSummary:0"])
        assert [(v.tag, v.simple_value) for v in session.run(merged, {"x:0": 2.0}).value] == [("loss", 2.0)]


def test_events_are_written_as_they_are(tmp_path):
    event = Event(wall_time=5.0, step=3, summary=TensorboardSummary(value=[{"tag": "made", "simple_value": 0.5}]))
    with pf.summary.FileWriter(tmp_path) as writer:
        writer.add_event(event)
    (scalar,) = read(tmp_path).Scalars("made")
    assert (scalar.wall_time, scalar.step, scalar.value) == (5.0, 3, 0.5)
    with pytest.raises(FailedPreconditionError, match="closed"):
        writer.add_event(event)
