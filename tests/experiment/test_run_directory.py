"""Run directories, made by worlds of several ranks, and parameter files, read back by hand."""

import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import paraflow as pf
from paraflow.comm import run_threads, solo
from paraflow.errors import ConfigError
from paraflow.experiment.config import load_config
from paraflow.experiment.loop import train
from paraflow.experiment.metrics import MetricsWriter, read_metrics
from paraflow.experiment.run_directory import create_run_directory
from paraflow.train.checkpoint_files import save_arrays

TEXT = """
[experiment]
name = "some-run"
[data]
name = "digits"
batch_size = 64
[model]
name = "mlp"
layers = [64, 10]
[optimizer]
name = "adam"
learning_rate = 0.001
[train]
epochs = 2
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.toml").write_text(TEXT)
    return load_config("x.toml", ["experiment.directory=deep/runs"])


def test_every_rank_learns_of_one_directory(config, tmp_path):
    paths = run_threads(3, lambda communicator: create_run_directory(config, communicator))
    assert len(set(paths)) == 1
    assert paths[0].parent == tmp_path / "deep/runs"
    assert list(paths[0].parent.iterdir()) == [paths[0]]
    assert re.fullmatch(r"some-run-\d{8}-\d{6}", paths[0].name)


def test_the_configuration_and_the_environment_are_kept(config):
    path = run_threads(3, lambda communicator: create_run_directory(config, communicator))[0]
    assert load_config(path / "config.toml") == config
    environment = json.loads((path / "environment.json").read_text())
    assert environment["numpy"] == np.__version__
    assert environment["world"] == "threads"
    assert len(environment["ranks"]) == 3
    assert all(rank["host"] and rank["cores"] >= 1 for rank in environment["ranks"])


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_graph_and_parameters_are_all_that_is_needed_to_ask_the_model(config, normalization):
    model = [f"model.normalization={normalization}", "model.layers=[64,16,10]"]
    config = load_config("x.toml", [*model, "experiment.directory=deep/runs"])
    results = run_threads(2, lambda communicator: train(config, communicator))
    assert results == [None, None]
    (path,) = Path("deep/runs").iterdir()
    (record,) = [r for r in read_metrics(path / "metrics.jsonl") if r["event"] == "evaluate"][-1:]
    features, labels = pf.data.load("digits")[1].take(range(359))
    with pf.Graph().as_default(), pf.Session() as session:
        saver = pf.train.import_meta_graph(path / "graph.json")
        saver.restore(session, path / "parameters")
        feeds = {pf.get_collection("features")[0]: features}
        feeds.update(dict.fromkeys(pf.get_collection("training"), False))
        answers = session.run(pf.get_collection("logits")[0], feeds).argmax(1)
        assert (answers == labels).mean() == pytest.approx(record["accuracy"], abs=1e-6)
        loss = session.run(pf.get_collection("loss")[0], {**feeds, pf.get_collection("labels")[0]: labels})
        assert loss == pytest.approx(record["loss"], rel=1e-5)


def test_the_graph_of_a_recurrent_network_is_left_too(config):
    model = ["model={name='rnn', cell='gru', units=[6]}", "train.epochs=1", "experiment.directory=deep/runs"]
    config = load_config("x.toml", model)
    run_threads(2, lambda communicator: train(config, communicator))
    (path,) = Path("deep/runs").iterdir()
    (record,) = [r for r in read_metrics(path / "metrics.jsonl") if r["event"] == "evaluate"][-1:]
    features, labels = pf.data.load("digits")[1].take(range(359))
    with pf.Graph().as_default(), pf.Session() as session:
        pf.train.import_meta_graph(path / "graph.json").restore(session, path / "parameters")
        feeds = {pf.get_collection("features")[0]: features, pf.get_collection("labels")[0]: labels}
        assert session.run(pf.get_collection("loss")[0], feeds) == pytest.approx(record["loss"], rel=1e-5)


def test_metrics_and_graph_for_tensorboard(config):
    keys = ["experiment.directory=deep/runs", "experiment.tensorboard=true", "train.log_every=5"]
    config = load_config("x.toml", keys)
    run_threads(2, lambda communicator: train(config, communicator))
    (path,) = Path("deep/runs").iterdir()
    found = EventAccumulator(str(path))
    found.Reload()
    records = read_metrics(path / "metrics.jsonl")
    for event, name in (("train", "loss"), ("train", "accuracy"), ("evaluate", "loss"), ("evaluate", "accuracy")):
        shown = [(e.step, e.value) for e in found.Scalars(f"{event}/{name}")]
        assert shown == [(r["step"], np.float32(r[name])) for r in records if r["event"] == event]
        assert len(shown) > 1
    rates = [[e.value for e in found.Scalars(f"train/samples_per_second/{rank}")] for rank in (0, 1)]
    expected = [r["samples_per_second"] for r in records if r["event"] == "train"]
    np.testing.assert_allclose(np.transpose(rates), expected, rtol=1e-6)
    assert {"features", "labels"} <= {node.name for node in found.Graph().node}


BUILDER = """
import paraflow as pf
from paraflow.experiment import Model


def summarised(shape, classes, dtype):
    x, y = pf.placeholder(dtype, (None, *shape)), pf.placeholder("int32", (None,))
    w = pf.Variable(pf.ones([shape[0], classes], dtype=dtype), name="w")
    pf.summary.scalar("weight", pf.reduce_mean(pf.abs(w)))
    pf.summary.histogram("weights", w)
    loss = pf.losses.sparse_softmax_cross_entropy(y, pf.matmul(x, w))
    pf.summary.scalar("own_loss", loss)
    return Model(x, y, loss)
"""


@pytest.mark.parametrize("ranks", [1, 3])
def test_summaries_of_a_builder_reach_tensorboard(config, ranks):
    Path("builder.py").write_text(BUILDER)
    keys = ["experiment.tensorboard=true", "train.log_every=1", "model={builder='builder.py:summarised'}"]
    config = load_config("x.toml", keys)
    run_threads(ranks, lambda communicator: train(config, communicator))
    (path,) = Path("runs").iterdir()
    found = EventAccumulator(str(path), {"histograms": 0})  # all
    found.Reload()
    steps = [record["step"] for record in read_metrics(path / "metrics.jsonl") if record["event"] == "train"]
    assert len(steps) > 2
    for event in (found.Scalars("weight"), found.Scalars("own_loss"), found.Histograms("weights")):
        assert [e.step for e in event] == steps
    if ranks == 1:  # rank 0's own samples are then all samples
        assert [e.value for e in found.Scalars("own_loss")] == [e.value for e in found.Scalars("train/loss")]


def test_tensorboard_without_its_package_is_said_before_the_run(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    config = load_config("x.toml", ["experiment.tensorboard=true"])
    with pytest.raises(ConfigError, match=r"experiment.tensorboard = true: .*pip install 'paraflow\[tensorboard\]'"):
        train(config, solo())


def test_no_directory_is_used_twice(config):
    paths = [create_run_directory(config, solo()) for _ in range(5)]
    assert len(set(paths)) == 5
    for number, path in enumerate(paths):
        with MetricsWriter(path / "metrics.jsonl") as metrics:
            metrics.write({"run": number})
    assert [read_metrics(path / "metrics.jsonl") for path in paths] == [[{"run": number}] for number in range(5)]


def test_every_rank_fails_where_rank_0_cannot_write(config, tmp_path):
    (tmp_path / "deep").write_text("a file")

    def attempt(communicator):
        with pytest.raises(ConfigError, match=r"experiment.directory = 'deep/runs': cannot write there: .*deep/runs"):
            create_run_directory(config, communicator)
        return communicator.rank

    assert run_threads(3, attempt) == [0, 1, 2]


def read_safetensors(path):
    """The arrays of a file by name, read as the format's description says."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    dtypes = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "BOOL": "?"}
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = content[8 + length + begin : 8 + length + end]
        arrays[name] = np.frombuffer(raw, dtypes[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def test_parameters_are_saved_whatever_their_layout(tmp_path):
    values = np.arange(12.0).reshape(3, 4)
    parameters = {
        "layer/weights:0": values.astype(np.float32),
        "fortran": np.asfortranarray(values),
        "strided": values[::2, ::-1],
        "broadcast": np.broadcast_to(np.arange(3.0), (2, 3)),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3), np.float32),
        "big endian": values.astype(">f8"),
        "steps": np.array([1, 2**40]),
        "flags": np.array([True, False]),
    }
    save_arrays(tmp_path / "p.safetensors", parameters)
    read = read_safetensors(tmp_path / "p.safetensors")
    assert read.keys() == parameters.keys()
    for name, array in parameters.items():
        np.testing.assert_array_equal(read[name], array, strict=not name.startswith("big"), err_msg=name)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "p.safetensors"
    save_arrays(path, {"w": np.zeros(3)})
    before = path.read_bytes()
    with pytest.raises(Exception, match="complex128"):
        save_arrays(path, {"w": np.zeros(3, complex)})
    assert path.read_bytes() == before
    save_arrays(path, {"w": np.ones(3)})
    np.testing.assert_array_equal(read_safetensors(path)["w"], np.ones(3))
    assert list(tmp_path.iterdir()) == [path], "nothing unfinished is left"
