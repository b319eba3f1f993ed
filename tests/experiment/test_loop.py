"""The training loop in this process, alone or as a world of threads: models of the user's own, ends, errors."""

import re
import sys
import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import run_threads, solo
from paraflow.data import global_batches
from paraflow.errors import ConfigError, DataError, GraphError, NumericError, RanksDisagree
from paraflow.experiment import Model
from paraflow.experiment.config import load_config
from paraflow.experiment.loop import train
from paraflow.experiment.schema import _MODES_OF, Parallel

from .runs import Results

# Twelve samples to train on, five to test with: rank-one features, of which the label is the sum.
BUILDERS = '''
import sys
import threading
import numpy as np
import paraflow as pf
from paraflow.data import Dataset
from paraflow.experiment import Model


def line(n=12, classes=0):
    x = np.arange(n + 5, dtype=np.float32).reshape(-1, 1) / 4
    labels = 3 * x + 1 if not classes else np.arange(n + 5, dtype=np.int32) % classes
    return Dataset("line", x[:n], labels[:n], classes), Dataset("line", x[n:], labels[n:], classes)


def linear(features_shape, classes, dtype, start=0.0):
    x = pf.placeholder(dtype, (None, *features_shape))
    y = pf.placeholder(dtype, (None, 1))
    w = pf.Variable(np.full((1, 1), start, dtype), name="w")
    b = pf.Variable(np.zeros(1, dtype), name="b")
    prediction = pf.matmul(x, w) + b
    error = pf.reduce_mean(pf.abs(prediction - y))
    return Model(x, y, pf.losses.mean_squared_error(y, prediction), {"absolute_error": error})


def with_dropout(features_shape, classes, dtype):
    x = pf.placeholder(dtype, (None, *features_shape))
    y = pf.placeholder(dtype, (None, 1))
    training = pf.placeholder(pf.bool, ())
    w = pf.Variable(np.ones((1, 1), dtype), name="w")
    rate = pf.where(training, pf.constant(0.9, dtype), pf.constant(0.0, dtype))
    kept = pf.nn.dropout(pf.matmul(x, w), rate=rate)
    return Model(x, y, pf.reduce_mean(pf.square(kept)), {"output": pf.reduce_mean(kept)}, training)


@pf.custom_gradient
def clipped(y):
    return pf.identity(y), lambda dy: pf.clip_by_value(dy, -1.0, 1.0)


def with_own_gradient(features_shape, classes, dtype):
    x, y = (pf.placeholder(dtype, (None, 1)) for _ in range(2))
    w = pf.Variable(np.ones((1, 1), dtype), name="w")
    return Model(x, y, pf.losses.mean_squared_error(y, clipped(pf.matmul(x, w))))


def no_model(features_shape, classes, dtype):
    return pf.constant(1.0)


def of_other_shape(features_shape, classes, dtype):
    x = pf.placeholder(dtype, (None, 7))
    w = pf.Variable(np.ones(7, dtype))
    return Model(x, pf.placeholder(dtype, (None, 1)), pf.reduce_mean(x * w))


def no_data():
    return 5, np.zeros(100)


class Away(Dataset):
    """The third rank goes on with its second batch when the first has come to its eighth."""

    def take(self, indices):
        rank = threading.current_thread().name
        self.taken = getattr(self, "taken", 0) + 1
        if rank == "rank 0" and self.taken == 8:
            sys.modules["returns"].event.set()
        if rank == "rank 2" and self.taken == 2:
            assert sys.modules["returns"].event.wait(30)
        return super().take(indices)


def away():
    training, test = line()
    return Away("line", training.features, training.labels), test


def not_alike():
    return line(classes=2)[0], line(classes=3)[1]
'''
MODES = get_args(Parallel.model_fields["mode"].annotation)
TEXT = """
[experiment]
name = "line"
[data]
builder = "builders.py:line"
batch_size = 5
[model]
builder = "builders.py:linear"
[optimizer]
name = "gradient_descent"
learning_rate = 0.05
[train]
epochs = 4
log_every = 1
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """config(*overrides): an experiment that fits a line to twelve points."""
    monkeypatch.chdir(tmp_path)
    Path("builders.py").write_text(BUILDERS)
    Path("line.toml").write_text(TEXT)
    return lambda *overrides: load_config("line.toml", overrides)


@pytest.fixture
def run(config, tmp_path):
    """run(*overrides, ranks=1): carry it out; what it has left."""

    def carry_out(*overrides, ranks=1):
        if ranks == 1:
            train(config(*overrides), solo())
        else:
            run_threads(ranks, lambda comm: train(config(*overrides), comm))
        return Results(max(tmp_path.glob("runs/*"), key=lambda path: path.stat().st_ctime_ns))

    return carry_out


def fitted(epochs, last="keep", seed=1, rate=0.05, batch_size=5):
    """The same experiment in numpy: the line, and for each step its samples and its loss."""
    x = np.arange(12) / 4
    w = b = 0.0
    steps = []
    for epoch in range(epochs):
        for batch in global_batches(12, batch_size, seed, epoch, last=last):
            error = w * x[batch] + b - (3 * x[batch] + 1)
            steps.append((len(batch), np.mean(error**2)))
            w, b = w - rate * np.mean(2 * error * x[batch]), b - rate * np.mean(2 * error)
    return w, b, steps


def errors_on_test_samples(w, b):
    """Mean squared and mean absolute error over the test samples."""
    x = np.arange(12, 17) / 4
    error = w * x + b - (3 * x + 1)
    return np.mean(error**2), np.mean(np.abs(error))


@pytest.mark.parametrize("last", ["keep", "drop"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_it_does_what_a_numpy_loop_does(run, ranks, last):
    results = run("experiment.dtype=float64", f"data.last={last}", ranks=ranks)
    w, b, steps = fitted(4, last)
    np.testing.assert_allclose(results.parameters["w"], [[w]], rtol=1e-12)
    np.testing.assert_allclose(results.parameters["b"], [b], rtol=1e-12)
    np.testing.assert_allclose(results.losses(), [loss for _, loss in steps], rtol=1e-12)
    squared, absolute = errors_on_test_samples(w, b)
    np.testing.assert_allclose(results.end["test_loss"], squared, rtol=1e-12)
    np.testing.assert_allclose(results.end["test_absolute_error"], absolute, rtol=1e-12)
    assert sum(account["samples"] for account in results.end["ranks"]) == sum(n for n, _ in steps)


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_record_has_the_mean_over_the_samples_since_the_last(run, ranks):
    results = run("experiment.dtype=float64", "train.log_every=5", ranks=ranks)
    _, _, steps = fitted(4)
    parts = [steps[0:5], steps[5:10], steps[10:12]]
    means = [sum(n * loss for n, loss in part) / sum(n for n, _ in part) for part in parts]
    assert [record["step"] for record in results.records("train")] == [5, 10, 12]
    np.testing.assert_allclose(results.losses(), means, rtol=1e-12)


@pytest.mark.parametrize(
    ("overrides", "steps", "evaluated_at"),
    [
        (["train.epochs=3"], 9, [3, 6, 9]),
        (["train.epochs=3", "train.steps=100"], 9, [3, 6, 9]),
        (["train.steps=7"], 7, [3, 6, 7]),
        (["train.epochs=5", "train.evaluate_every=2"], 15, [6, 12, 15]),
        (["train.epochs=3", "train.evaluate_every=0"], 9, [9]),
    ],
)
def test_when_it_ends_and_evaluates(run, overrides, steps, evaluated_at):
    results = run(*overrides)
    assert [record["step"] for record in results.records("train")] == list(range(1, steps + 1))
    assert [record["step"] for record in results.records("evaluate")] == evaluated_at
    assert results.end["step"] == steps


def test_evaluations_between_are_of_the_parameters_of_that_moment(run):
    results = run("experiment.dtype=float64", ranks=2)
    for epoch, record in enumerate(results.records("evaluate"), start=1):
        w, b, _ = fitted(epoch)
        np.testing.assert_allclose([record["loss"], record["absolute_error"]], errors_on_test_samples(w, b), rtol=1e-12)


def test_one_rank_gives_the_same_bytes_in_every_mode(run):
    results = [run(f"parallel.mode={mode}") for mode in MODES]
    results += [run("data.prefetch=3"), run("experiment.threads=3")]
    assert len({r.parameter_bytes for r in results}) == 1
    assert len({tuple(r.losses()) for r in results}) == 1


def test_one_worker_and_a_server_give_the_bytes_of_one_process(run):
    assert run("parallel.mode=parameter_server", ranks=2).parameter_bytes == run("parallel.mode=single").parameter_bytes


@pytest.mark.parametrize(
    "mode",
    [
        ["parallel.mode=parameter_server", "parallel.staleness=0"],
        ["parallel.mode=parameter_server", "parallel.staleness=0", "parallel.servers=2"],
        ["parallel.mode=backup_workers", "parallel.backup=0"],
    ],
)
@pytest.mark.parametrize("ranks", [3, 4])
def test_workers_that_step_together_through_servers_do_what_a_numpy_loop_does(run, mode, ranks):
    results = run("experiment.dtype=float64", *mode, ranks=ranks)
    w, b, steps = fitted(4)
    np.testing.assert_allclose(results.parameters["w"], [[w]], rtol=1e-12)
    np.testing.assert_allclose(results.parameters["b"], [b], rtol=1e-12)
    workers = [account for account in results.end["ranks"] if account["role"] == "worker"]
    assert sum(account["samples"] for account in workers) == sum(n for n, _ in steps)
    assert all(account["late_gradients"] == account["staleness_max"] == 0 for account in workers)


@pytest.mark.parametrize("late", ["drop", "add"])
def test_a_worker_that_is_away_skips_the_steps_closed_meanwhile(run, monkeypatch, late):
    """The others need no more than each other, so seven steps at least close before its second gradient comes."""
    monkeypatch.setitem(sys.modules, "returns", SimpleNamespace(event=threading.Event()))
    mode = ["parallel.mode=backup_workers", f"parallel.late={late}", "data.builder=builders.py:away"]
    results = run(*mode, "data.batch_size=6", "train.epochs=6", ranks=4)
    *workers, server = results.end["ranks"]
    assert server["role"] == "server"
    assert server["pushes"] == sum(worker["pushes"] for worker in workers)
    assert results.end["step"] == 12
    for worker in workers:
        assert worker["pushes"] == sum(worker["staleness_histogram"].values()) <= 12
        counted = worker["pushes"] - worker["dropped_gradients"]
        assert worker["samples"] == 3 * counted, "two of three have a batch of six; what is dropped trains nothing"
        assert worker["dropped_gradients"] == (worker["late_gradients"] if late == "drop" else 0)
    third = workers[2]
    assert third["pushes"] <= 2 + 12 - 7
    assert sum(int(lateness) * n for lateness, n in third["staleness_histogram"].items()) >= 6
    assert np.isfinite(results.parameters["w"]).all()


@pytest.mark.parametrize(
    ("overrides", "ranks", "message"),
    [
        (["parallel.mode=parameter_server", "parallel.servers=3"], 3, "parallel.servers = 3 leaves no worker among 3"),
        (["parallel.mode=backup_workers", "parallel.backup=2"], 3, "parallel.backup = 2, but one of 3 ranks collects"),
        (["parallel.mode=backup_workers"], 2, "parallel.backup = 1, but one of 2 ranks collects and 1 train"),
        (["parallel.mode=single"], 2, "parallel.mode = 'single' is for one process, but 2 ranks were started"),
    ],
)
def test_a_number_of_ranks_that_does_not_fit_the_mode_is_named(run, overrides, ranks, message):
    with pytest.raises(ConfigError, match=message):
        run(*overrides, ranks=ranks)


def test_threads_of_a_rank_change_no_byte(run):
    assert run("experiment.threads=2", ranks=3).parameter_bytes == run(ranks=3).parameter_bytes


def test_a_worker_without_samples_pushes_nothing(run):
    """The last batch of an epoch has 2 samples for 3 workers."""
    results = run("parallel.mode=parameter_server", ranks=4)
    *workers, _ = results.end["ranks"]
    assert [worker["pushes"] for worker in workers] == [12, 12, 8]
    assert [worker["samples"] for worker in workers] == [4 * 5, 4 * 5, 4 * 2]
    assert np.isfinite(results.parameters["w"]).all()
    assert results.end["test_loss"] < errors_on_test_samples(0, 0)[0]


def test_evaluation_is_not_training(run):
    """Dropout of 90 % in training; without it the mean output is the mean feature."""
    results = run("model.builder=builders.py:with_dropout", "optimizer.learning_rate=1e-30", ranks=2)
    outputs = [record["output"] for record in results.records("train")]
    assert len(set(outputs)) > 1
    assert {record["output"] for record in results.records("evaluate")} == {float(np.arange(12, 17).mean() / 4)}


def test_a_run_says_why_it_leaves_no_graph(run, capsys):
    results = run("model.builder=builders.py:with_own_gradient", "train.epochs=1", ranks=2)
    line = r"^no graph\.json: operation '.*' of type with_gradient \(made at .*builders\.py:\d+\) cannot be written.*$"
    assert len(re.findall(line, capsys.readouterr().out, re.MULTILINE)) == 1
    assert not (results.directory / "graph.json").exists()
    run("train.epochs=1")
    assert "graph.json" not in capsys.readouterr().out


def test_the_seed_decides_order_and_initial_values(run):
    mlp = ["data.options={classes=2}", "model={name='mlp', layers=[1, 4, 2]}", "train.steps=1"]
    one, again, other = (run(*mlp, f"experiment.seed={seed}") for seed in (1, 1, 2**40 + 1))
    assert one.parameter_bytes == again.parameter_bytes
    for name in ("mlp/dense/kernel", "mlp/dense_1/kernel"):
        assert (one.parameters[name] != other.parameters[name]).all()
    assert not np.array_equal(one.parameters["mlp/dense/kernel"][0], one.parameters["mlp/dense_1/kernel"][:, 0])


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["model={name='mlp', layers=[1, 2]}"], ConfigError, "model.name = 'mlp' is for classes, but the labels of"),
        (["model.builder=builders.py:no_model"], ConfigError, r"returned Tensor, not a paraflow.experiment.Model"),
        (["model.builder=builders.py:of_other_shape"], ConfigError, r"features are \(\?, 7\), but those of Dataset"),
        (["model.options={begin=1.0}"], ConfigError, r"the options \['begin'\] of model.options: .*'begin'"),
        (["data.options={m=1}"], ConfigError, r"the options \['m'\] of data.options"),
        (["data.builder=builders.py:no_data"], ConfigError, r"returned tuple \(int, ndarray\), not two paraflow.data"),
        (["data.builder=builders.py:not_alike"], ConfigError, "training and test samples differ"),
        (["optimizer.learning_rate=1e30", "train.epochs=9"], NumericError, r"the loss is (inf|nan) on rank 0 at step"),
        (["data.batch_size=13", "data.last=drop"], DataError, "12 samples do not fill a batch of 13"),
    ],
)
def test_what_is_wrong_is_named(run, overrides, error, message):
    with pytest.raises(error, match=message):
        run(*overrides)


def test_a_server_checks_the_samples_too(run):
    with pytest.raises(DataError, match=r"12 samples do not fill a batch of 13"):
        run("parallel.mode=parameter_server", "data.batch_size=13", "data.last=drop", ranks=4)


def test_ranks_with_different_configurations_stop(config):
    def part(comm):
        train(config(*(["train.epochs=5"] if comm.rank == 1 else [])), comm)

    with pytest.raises(RanksDisagree, match=r"rank 1: train.epochs = 5\n  rank 0: train.epochs = 4"):
        run_threads(3, part)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, y, m: Model(x[0], y, m), r"Model.features has to be a placeholder \[None, ...\], not <para"),
        (lambda x, y, m: Model(x, pf.placeholder(pf.int32, (3,)), m), r"Model.labels has to be a placeholder \[None"),
        (lambda x, y, m: Model(x, y, x), "the loss of a Model has to be a floating point scalar"),
        (lambda x, y, m: Model(x, y, m, {"hits": y}), "the hits of a Model has to be a floating point scalar"),
        (lambda x, y, m: Model(x, y, m, {"step": m}), "a metric of a Model cannot be called 'step'"),
        (lambda x, y, m: Model(x, y, m, {"loss": m}), "a metric of a Model cannot be called 'loss'"),
    ],
)
def test_a_model_is_checked(make, message):
    with pf.Graph().as_default():
        x, y = pf.placeholder(pf.float32, (None, 2)), pf.placeholder(pf.int32, (None,))
        with pytest.raises(GraphError, match=message):
            make(x, y, pf.reduce_mean(x))


def test_keys_of_other_modes_are_told(run, capsys):
    run("parallel.mode=gossip", "parallel.backup=2", 'parallel.late="drop"', "parallel.period=2", ranks=3)
    told = [line for line in capsys.readouterr().out.splitlines() if "means nothing" in line]
    assert told == ["parallel.backup = 2 means nothing with mode = 'gossip' (with 'backup_workers')"]


@pytest.mark.parametrize(
    ("value", "others", "instead"),
    [
        ("compress_ratio = 0.1", "compress = 'none'", "'topk', 'randomk'"),
        ("compress_rank = 2", "compress = 'none'", "'powersgd'"),
        ("compress_warmup = 5", "compress = 'none'", "any other"),
        ("error_feedback = false", "compress = 'none'", "any other"),
        ("bucket_bytes = 1000", "compress = 'topk'", "'none'"),
        ('algorithm = "ring"', "compress = 'fp16'", "'none'"),
        ("shared_memory = false", "compress = 'onebit'", "'none'"),
        ("outer_learning_rate = 0.5", "mode = 'local_sgd', outer = 'average'", "'nesterov'"),
        ("outer_momentum = 0.5", "mode = 'local_sgd', outer = 'average'", "'nesterov'"),
        ("scale_by_staleness = true", "mode = 'parameter_server', staleness = 0", "1 or more, or not set"),
        ("delay_compensation = 0.5", "mode = 'parameter_server', staleness = 0", "1 or more, or not set"),
    ],
)
def test_keys_that_another_key_makes_idle_are_told(value, others, instead):
    set_to = ", ".join((value, others)).split(", ")
    parallel = Parallel(**tomllib.loads("\n".join(set_to)))
    assert parallel.unused() == [f"parallel.{value} means nothing with {set_to[-1]} (with {instead})"]


@pytest.mark.parametrize(
    "text",
    [
        "compress = 'topk', compress_ratio = 0.1, compress_warmup = 5, error_feedback = false",
        "compress = 'powersgd', compress_rank = 2",
        "bucket_bytes = 1000, algorithm = 'ring', shared_memory = false",
        "mode = 'local_sgd', outer = 'nesterov', outer_learning_rate = 0.5, outer_momentum = 0.5",
        "mode = 'parameter_server', staleness = 1, scale_by_staleness = true, delay_compensation = 0.5",
        "mode = 'parameter_server', scale_by_staleness = true, delay_compensation = 0.5",
        "compress = 'none', compress_ratio = 0.01, compress_rank = 4, compress_warmup = 0, error_feedback = true",
    ],
)
def test_keys_that_count_or_have_their_defaults_are_not_told(text):
    assert Parallel(**tomllib.loads(text.replace(", ", "\n"))).unused() == []


def test_a_key_of_another_mode_is_told_once():
    parallel = Parallel(mode="gossip", bucket_bytes=1000, compress="topk", outer_momentum=0.5)
    assert parallel.unused() == [
        "parallel.bucket_bytes = 1000 means nothing with mode = 'gossip' (with 'allreduce')",
        "parallel.outer_momentum = 0.5 means nothing with mode = 'gossip' (with 'local_sgd')",
    ]


@pytest.mark.parametrize("key", sorted(_MODES_OF))
def test_descriptions_name_the_modes_of_a_key(key):
    if key == "compress":
        assert set(_MODES_OF[key]) == set(MODES) - {"single"}
    else:
        description = Parallel.model_fields[key].description
        assert re.match(rf"{', '.join(_MODES_OF[key])}(: |, outer = nesterov: )", str(description))
