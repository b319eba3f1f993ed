"""Ranks that read data of their own, of different numbers: what they train, evaluate, record and refuse."""

from pathlib import Path

import numpy as np
import pytest

from paraflow.comm import run_threads, solo
from paraflow.data import Batches, Dataset, OwnBatches, global_batches, shard
from paraflow.errors import ConfigError, DataError, RanksDisagree
from paraflow.experiment.config import load_config
from paraflow.experiment.loop import train

from .runs import CONFIGS, Results, launch

SIZES = [7, 2, 12, 5]
TESTS = [1, 4, 2, 3]
BUILDERS = '''
import numpy as np
import paraflow as pf
from paraflow.data import Dataset
from paraflow.experiment import Model


def samples(rank, n, start):
    x = (np.arange(start, start + n, dtype=np.float32).reshape(-1, 1) + 20 * rank) / 40
    return Dataset("line", x, 3 * x + 1 + rank)


def own(rank, ranks, wide=-1, empty=-1):
    if rank == empty:
        return samples(rank, 0, 0), samples(rank, 1, 50)
    training, test = samples(rank, [7, 2, 12, 5][rank], 0), samples(rank, [1, 4, 2, 3][rank], 50)
    if rank == wide:
        training, test = (Dataset("line", np.hstack([d.features] * 2), d.labels) for d in (training, test))
    return training, test


def linear(features_shape, classes, dtype):
    x = pf.placeholder(dtype, (None, *features_shape))
    y = pf.placeholder(dtype, (None, 1))
    w = pf.Variable(np.zeros((1, 1), dtype), name="w")
    b = pf.Variable(np.zeros(1, dtype), name="b")
    prediction = pf.matmul(x, w) + b
    error = pf.reduce_mean(pf.abs(prediction - y))
    return Model(x, y, pf.losses.mean_squared_error(y, prediction), {"absolute_error": error})
'''
TEXT = """
[experiment]
name = "line"
dtype = "float64"
[data]
builder = "builders.py:own"
per_rank = true
batch_size = 9
[model]
builder = "builders.py:linear"
[optimizer]
name = "gradient_descent"
learning_rate = 0.05
[train]
epochs = 3
log_every = 1
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(*overrides, ranks=3): carry out the experiment in threads; what it has left."""
    monkeypatch.chdir(tmp_path)
    Path("builders.py").write_text(BUILDERS)
    Path("line.toml").write_text(TEXT)

    def carry_out(*overrides, ranks=3):
        config = load_config("line.toml", overrides)
        if ranks == 1:
            train(config, solo())
        else:
            run_threads(ranks, lambda comm: train(config, comm))
        return Results(max(tmp_path.glob("runs/*"), key=lambda path: path.stat().st_ctime_ns))

    return carry_out


def line_of(rank, numbers):
    x = (np.float32(numbers) + np.float32(20 * rank)) / np.float32(40)
    return np.float64(x), np.float64(3 * x + np.float32(1 + rank))


def fitted(ranks, epochs=3, last="keep", batch_size=9):
    """The same in numpy: the line, and for each step its samples and its loss. Orders are drawn as documented."""
    w = b = 0.0
    steps = []
    shares = [len(shard(np.arange(batch_size), rank, ranks)) for rank in range(ranks)]
    for epoch in range(epochs):
        own = []
        for rank, share in enumerate(shares):
            seed = (1 + rank * 0x9E3779B97F4A7C15) % 2**64
            own.append(global_batches(SIZES[rank], share, seed, epoch, last=last))
        for step in range(max(map(len, own))):
            parts = [line_of(rank, batches[step]) for rank, batches in enumerate(own) if step < len(batches)]
            x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
            error = w * x + b - y
            steps.append((len(x), np.mean(error**2)))
            w, b = w - 0.05 * np.mean(2 * error * x), b - 0.05 * np.mean(2 * error)
    return w, b, steps


def errors_on_all_test_samples(ranks, w, b):
    parts = [line_of(rank, np.arange(50, 50 + TESTS[rank])) for rank in range(ranks)]
    x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    return np.mean((w * x + b - y) ** 2), np.mean(np.abs(w * x + b - y))


@pytest.mark.parametrize("last", ["keep", "drop"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_it_does_what_a_numpy_loop_on_all_ranks_samples_does(run, ranks, last):
    size = 9 if last == "keep" else 2 * ranks
    results = run(f"data.last={last}", f"data.batch_size={size}" if ranks > 1 else "data.batch_size=3", ranks=ranks)
    w, b, steps = fitted(ranks, last=last, batch_size=size if ranks > 1 else 3)
    np.testing.assert_allclose(results.parameters["w"], [[w]], rtol=1e-12)
    np.testing.assert_allclose(results.parameters["b"], [b], rtol=1e-12)
    np.testing.assert_allclose(results.losses(), [loss for _, loss in steps], rtol=1e-12)
    squared, absolute = errors_on_all_test_samples(ranks, w, b)
    np.testing.assert_allclose(results.end["test_loss"], squared, rtol=1e-12)
    np.testing.assert_allclose(results.end["test_absolute_error"], absolute, rtol=1e-12)
    assert sum(account["samples"] for account in results.end["ranks"]) == sum(n for n, _ in steps)
    assert [r["step"] for r in results.records("evaluate")] == [len(steps) * n // 3 for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "mode",
    [
        ["parallel.mode=local_sgd", "parallel.period=1"],
        ["parallel.compress=topk", "parallel.compress_ratio=1.0"],
        ["parallel.shared_memory=false"],
        ["data.prefetch=2"],
    ],
)
def test_modes_that_are_synchronous_training_do_the_same(run, mode):
    results = run(*mode)
    w, b, _ = fitted(3)
    np.testing.assert_allclose(results.parameters["w"], [[w]], rtol=1e-12)
    np.testing.assert_allclose(results.parameters["b"], [b], rtol=1e-12)


@pytest.mark.parametrize("mode", [["parallel.mode=parameter_server", "parallel.staleness=0"],
                                  ["parallel.mode=backup_workers", "parallel.backup=0"]])  # fmt: skip
def test_servers_have_no_samples_of_their_own(run, mode):
    results = run(*mode, ranks=4)
    w, b, steps = fitted(3)
    np.testing.assert_allclose(results.parameters["w"], [[w]], rtol=1e-12)
    np.testing.assert_allclose(results.end["test_loss"], errors_on_all_test_samples(3, w, b)[0], rtol=1e-12)
    workers = [account for account in results.end["ranks"] if account["role"] == "worker"]
    assert sum(account["samples"] for account in workers) == sum(n for n, _ in steps)


@pytest.mark.parametrize("mode", ["parameter_server", "easgd", "gossip"])
def test_other_modes_train_on_all_samples(run, mode):
    results = run(f"parallel.mode={mode}", ranks=4)
    trained = [account["samples"] for account in results.end["ranks"] if account["role"] == "worker"]
    assert trained == [3 * n for n in SIZES[: len(trained)]]
    assert np.isfinite(results.end["loss"])
    assert results.end["test_loss"] < errors_on_all_test_samples(len(trained), 0, 0)[0]


def test_ranks_with_samples_of_other_shapes_are_named(run):
    with pytest.raises(RanksDisagree, match=r"the samples of rank 2 are not like those of rank 0: .*\(2,\).*\(1,\)"):
        run("data.options={wide=2}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.options={empty=1}"], r"'line': there are no samples \(data.per_rank = true: .* at least one"),
        (["data.last=drop"], "rank 1 has 2 samples of its own, which do not fill its share of a batch of 9"),
    ],
)
def test_batches_that_ranks_cannot_share_are_refused(run, overrides, message):
    with pytest.raises(DataError, match=message):
        run(*overrides)


def test_files_of_ranks(tmp_path, monkeypatch):
    """Only the last rank's file has the last class. Rank 1's is not there, then it is."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    Path("npz.toml").write_text(
        TEXT.replace('builder = "builders.py:own"', 'name = "npz"\npath = "part-{rank}.npz"').replace(
            'builder = "builders.py:linear"', 'name = "mlp"\nlayers = [3, 4]'
        )
    )
    with pytest.raises(ConfigError, match=r"npz.toml:7: data.path = .*: there is no file '.*part-0.npz'"):
        load_config("npz.toml")
    parts = []
    for rank, n in enumerate([8, 5, 3]):
        parts.append((rng.normal(size=(n, 3)), np.arange(n) % (4 if rank == 2 else 2) + (1 if rank == 2 else 0)))
        arrays = {"features": parts[-1][0], "labels": parts[-1][1]}
        np.savez(f"part-{rank}.npz", **arrays, test_features=arrays["features"], test_labels=arrays["labels"])
    config = load_config("npz.toml")
    Path("part-1.npz").rename("away.npz")
    with pytest.raises(DataError, match=r"part-1.npz: there is no such file"):
        run_threads(3, lambda comm: train(config, comm))
    Path("away.npz").rename("part-1.npz")
    run_threads(3, lambda comm: train(config, comm))
    results = Results(max(tmp_path.glob("runs/*"), key=lambda path: path.stat().st_ctime_ns))
    x, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    logits = np.float32(x) @ results.parameters["mlp/dense/kernel"] + results.parameters["mlp/dense/bias"]
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(results.end["test_loss"], -np.mean(logits[np.arange(16), labels]), rtol=1e-6)
    np.testing.assert_allclose(results.end["test_accuracy"], np.mean(logits.argmax(axis=1) == labels), rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("name='npz', path='a.npz', per_rank=true", "per_rank = true needs {rank} in path, as in 'shard-{rank}.npz'"),
        ("name='npz', path='a-{rank}.npz'", "path has {rank} in it, which is for per_rank = true"),
        ("builder='builders.py:own', per_rank=true, options={rank=1}", "options cannot have 'rank' with per_rank"),
        ("name='digits', per_rank=true", 'no key of [data] with name = "digits", only with name = "npz" or'),
    ],
)
def test_faults_of_the_keys(tmp_path, monkeypatch, data, fault):
    monkeypatch.chdir(tmp_path)
    for name in ("a.npz", "a-0.npz", "builders.py"):
        Path(name).write_text("")
    Path("line.toml").write_text(TEXT.replace('builder = "builders.py:linear"', 'name = "mlp"\nlayers = [1, 2]'))
    with pytest.raises(ConfigError) as caught:
        load_config("line.toml", [f"data={{{data}, batch_size=8}}"])
    assert fault in str(caught.value)


def test_batches_of_ranks_cover_what_each_has_once_an_epoch():
    """Whatever the sizes; with one rank they are those of a data set in common."""
    rng = np.random.default_rng(4)
    for _ in range(30):
        ranks = int(rng.integers(1, 5))
        sizes, size = tuple(rng.integers(1, 30, ranks).tolist()), int(rng.integers(ranks, 20))
        features = [np.arange(n, dtype=np.float32).reshape(-1, 1) for n in sizes]
        data = [Dataset("numbers", part, part) for part in features]
        all_batches = [OwnBatches(data[rank], size, sizes, rank, seed=5) for rank in range(ranks)]
        (steps,) = {batches.steps_per_epoch for batches in all_batches}
        epochs = [[list(batches.epoch(e)) for e in range(2)] for batches in all_batches]
        for rank, own in enumerate(epochs):
            assert [len(epoch) for epoch in own] == [steps, steps]
            for epoch in own:
                assert sorted(np.concatenate([b["features"] for b in epoch]).ravel()) == list(range(sizes[rank]))
                assert {b["features"].dtype for b in epoch} == {np.dtype("float32")}
            rest = list(all_batches[rank].epoch(1, steps // 2))
            assert [b["features"].tolist() for b in rest] == [b["features"].tolist() for b in own[1][steps // 2 :]]
        counts = np.cumsum([sum(len(own[s // steps][s % steps]["labels"]) for own in epochs) for s in range(2 * steps)])
        assert [all_batches[0].seen(s + 1) for s in range(2 * steps)] == counts.tolist()
        if ranks == 1:
            common = list(Batches(data[0], size, seed=5).epoch(1))
            assert [b["features"].tolist() for b in common] == [b["features"].tolist() for b in epochs[0][1]]


def test_under_mpirun(tmp_path):
    """The example configuration: nothing but its data depends on the rank."""
    results = launch(tmp_path, 3, CONFIGS / "digits_uneven.toml", "train.epochs=12").results
    assert results.end["test_accuracy"] > 0.9
    samples = [account["samples"] for account in results.end["ranks"]]
    assert samples == [12 * n for n in (240, 479, 719)]
    assert results.end["step"] == 12 * 23
