"""Runs that cannot go on: each ends every rank, with an exit code and words that name what is wrong and where."""

import pytest
from mpirun import mpirun_command

from .runs import CONFIGS, PARAFLOW, command, launch

DIGITS_SYNC, DIGITS_ASYNC = str(CONFIGS / "digits_sync.toml"), str(CONFIGS / "digits_async.toml")


def verdict(run):
    """What the launcher says at the very end."""
    return run.err[run.err.index("paraflow: rank") :]


@pytest.mark.parametrize(
    ("theirs", "key", "value"),
    [
        (["optimizer.learning_rate=0.1"], "optimizer.learning_rate", "0.1"),
        (["parallel.mode=parameter_server"], "parallel.mode", '"parameter_server"'),
        (["parallel.mode=single", "data.batch_size=32"], "data.batch_size", "32"),
        (["model.layers=[63, 10]"], "model.layers", "[63, 10]"),
    ],
)
def test_another_configuration_on_one_rank_is_named(tmp_path, theirs, key, value):
    ours = [PARAFLOW, "run", DIGITS_SYNC]
    run = command(tmp_path, *mpirun_command(), "-n", "2", *ours, ":", "-n", "1", *ours, *theirs)
    assert run.code == 3, run.err
    assert "rank 2 differs from rank 0; the first difference:" in run.err
    assert f"  rank 2: {key} = {value}\n  rank 0: {key} = " in run.err
    assert not list(tmp_path.glob("runs/*"))


BUILDERS = '''
import os
import numpy as np
from paraflow.data import Dataset, load
from paraflow.errors import DataError

RANK = int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0")))


class Failing(Dataset):
    """Fails on one rank at its fortieth batch."""

    batches = 0

    def take(self, indices):
        self.batches += 1
        if RANK == 1 and self.batches == 40:
            raise OSError("the disk is gone")
        return super().take(indices)


def failing():
    train, test = load("digits")
    return Failing("digits", train.features, train.labels, 10), test


def differing():
    train, test = load("digits")
    features = np.array(train.features)
    features[7, 7] += RANK == 1
    return Dataset("digits", features, train.labels, 10), test


def missing():
    if RANK == 2:
        raise DataError("no samples here")
    return load("digits")


def few():
    dataset = Dataset("few", np.zeros((3, 64), np.float32), np.arange(3, dtype=np.int32), 10)
    return dataset, dataset
'''


@pytest.fixture
def with_data(tmp_path):
    """with_data(function): overrides that take the data from that function of BUILDERS."""
    path = tmp_path / "builders.py"
    path.write_text(BUILDERS)
    return lambda function: f"data={{builder='{path}:{function}', batch_size=64}}"


@pytest.mark.parametrize(("ranks", "config"), [(2, DIGITS_SYNC), (3, DIGITS_ASYNC)])
def test_an_exception_on_one_rank_in_the_middle_of_training_ends_all(tmp_path, with_data, ranks, config):
    run = launch(tmp_path, ranks, config, with_data("failing"))
    assert run.code == 1
    said = verdict(run)
    assert said.startswith(f"paraflow: rank 1 of {ranks} failed first")
    traceback, _, rest = said.partition("\nOSError: the disk is gone\n")
    assert "Traceback (most recent call last)" in traceback
    assert "builders.py" in traceback
    assert "Traceback" not in rest
    assert run.results.records("train")
    assert not (run.results.directory / "parameters.safetensors").exists()


def test_an_exception_under_a_users_own_mpirun_ends_all(tmp_path, with_data):
    run = command(tmp_path, *mpirun_command(), "-n", "3", PARAFLOW, "run", DIGITS_SYNC, with_data("failing"))
    assert run.code == 1
    assert "Traceback" in run.err
    assert "OSError: the disk is gone" in run.err


@pytest.mark.parametrize("config", [DIGITS_SYNC, DIGITS_ASYNC])
def test_other_data_on_one_rank_is_named(tmp_path, with_data, config):
    run = launch(tmp_path, 3, config, with_data("differing"))
    assert run.code == 3, run.err
    said = verdict(run)
    assert "rank 1 differs from rank 0" in said
    assert "rank 1: training samples = " in said
    assert "CRC-32" in said


@pytest.mark.parametrize(("ranks", "config"), [(1, DIGITS_SYNC), (2, DIGITS_SYNC), (3, DIGITS_ASYNC)])
def test_a_loss_that_is_no_number_ends_all(tmp_path, ranks, config):
    run = launch(tmp_path, ranks, config, "optimizer.learning_rate=1e30")
    assert run.code == 1
    said = verdict(run)
    assert "\nthe loss is " in said
    assert "Traceback" not in run.err
    assert "at step 2 (epoch 1" in said or ranks == 3
    assert "try a lower optimizer.learning_rate than 1e+30" in said


@pytest.mark.parametrize(
    ("overrides", "code", "message"),
    [
        (["data.batch_size=2"], 2, "data.batch_size = 2, but 4 of 4 ranks share out each batch: set it to at least 4"),
        (
            ["data.batch_size=2", "parallel.mode=parameter_server"], 2,
            "data.batch_size = 2, but 3 of 4 ranks share out each batch: set it to at least 3, or start at most 3",
        ),
        (
            ["data.batch_size=1", "parallel.mode=backup_workers"], 2,
            "data.batch_size = 1, but 2 of 4 ranks share out each batch: set it to at least 2, or start at most 3",
        ),
        (
            ["model.layers=[64, 10]", "parallel.mode=parameter_server", "parallel.servers=3"], 2,
            "parallel.servers = 3, but the model trains 2 variables, which are not split: set it to at most 2",
        ),
        (["parallel.mode=single"], 2, "parallel.mode = 'single' is for one process, but 4 ranks were started"),
        (["parallel.mode=single"], 2, "parallel.mode to one of 'allreduce', 'parameter_server', 'backup_workers', "),
        (["model.layers=[63, 10]"], 2, "model.layers = [63, 10]: the first is 63, but data set 'digits' has 64"),
        (["model.layers=[64, 9]"], 2, "model.layers = [64, 9]: the last is 9, but data set 'digits' has 10"),
        (["data={name='npz', path='nothing.npz', batch_size=8}"], 2, "there is no file"),
        (["data.name=fashion_mnist", "data.path=."], 1, "no file train-images-idx3-ubyte or train-images"),
        (["train.epochs=0"], 2, "train.epochs"),
    ],
)
def test_what_cannot_be_run_is_refused_on_all_ranks(tmp_path, overrides, code, message):
    run = launch(tmp_path, 4, DIGITS_SYNC, *overrides)
    assert run.code == code
    assert_said_once(run, message)


def assert_said_once(run, message):
    """All ranks have the error: no rank is named, no directory is left."""
    assert run.err.startswith("paraflow: ")
    assert message in run.err.splitlines()[0]
    assert "first (host" not in run.err
    assert "run again" not in run.err
    assert not list(run.folder.glob("runs/*"))


def test_what_one_rank_alone_cannot_read_is_said_of_that_rank(tmp_path, with_data):
    run = launch(tmp_path, 3, DIGITS_SYNC, with_data("missing"))
    assert run.code == 1
    assert verdict(run).startswith("paraflow: rank 2 of 3 failed first (host ")
    assert "\nno samples here\nlogs: runs/launch-" in verdict(run)


def test_more_ranks_than_samples_are_refused(tmp_path, with_data):
    run = launch(tmp_path, 4, DIGITS_SYNC, with_data("few"))
    assert run.code == 1
    assert_said_once(run, "data set 'few' has 3 samples for 4 ranks that train: start at most 3 of them")


def test_a_single_process_says_the_same_without_a_launcher(tmp_path):
    run = command(tmp_path, PARAFLOW, "run", DIGITS_SYNC, "optimizer.learning_rate=1e30")
    assert run.code == 1
    assert run.err.startswith("paraflow: the loss is nan on rank 0 at step 2 (epoch 1, 64 samples)")
