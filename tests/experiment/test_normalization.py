"""Batch normalisation by configuration: what runs leave behind, and what they refuse."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import paraflow as pf
from paraflow.experiment.config import load_config
from paraflow.experiment.datasets import load_datasets
from paraflow.experiment.model import build_model

from .runs import CONFIGS, launch

CONFIG = CONFIGS / "digits_batch_norm.toml"


def finished(run):
    assert run.code == 0, run.err
    return run.results


def test_ranks_learn_what_one_process_does_and_keep_what_evaluations_need(tmp_path):
    """The batches have 64 samples, the last one of an epoch 30: not all of the ranks have as many."""
    one = finished(launch(tmp_path / "1", 1, CONFIG, "train.epochs=4", "experiment.dtype=float64"))
    three = finished(launch(tmp_path / "3", 3, CONFIG, "train.epochs=4", "experiment.dtype=float64"))
    np.testing.assert_allclose(three.losses(), one.losses(), rtol=1e-6)
    assert three.parameters.keys() == one.parameters.keys()
    for name, value in one.parameters.items():
        np.testing.assert_allclose(three.parameters[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    assert three.end["test_loss"] == pytest.approx(one.end["test_loss"], rel=1e-6)
    assert_evaluates_as_it_did(three)


def assert_evaluates_as_it_did(results):
    """The parameters that a run has kept give its test loss, in a program of their own."""
    config = load_config(results.directory / "config.toml")
    training, test = load_datasets(config)
    with pf.Graph().as_default():
        model = build_model(config, training)
        saved = load_file(results.directory / "parameters.safetensors")
        with pf.Session() as session:
            assert {v.spec.name for v in pf.global_variables()} == saved.keys()
            for variable in pf.global_variables():
                variable.load(saved[variable.spec.name], session)
            fed = model.fed(*test.take(np.arange(len(test))), training=False)
            loss = session.run(model.loss, dict(zip(model.feeds, fed, strict=True)))
    assert loss == pytest.approx(results.end["test_loss"], rel=1e-6)


@pytest.mark.parametrize("mode", ["allreduce", "parameter_server", "local_sgd"])
def test_own_statistics_are_learnt_in_every_mode(tmp_path, mode):
    slower = ["optimizer.learning_rate=0.01"] if mode == "parameter_server" else []
    results = finished(
        launch(tmp_path, 3, CONFIG, "model.normalization=batch", f"parallel.mode={mode}", "train.epochs=8", *slower)
    )
    assert results.end["test_accuracy"] >= 0.93
    assert_evaluates_as_it_did(results)


def test_convolutional_ranks_learn_what_one_process_does(tmp_path):
    """Over samples and pixels of the global batch; one layer of each kind is normalised."""
    keys = ["model.normalization=synchronized_batch", "model.dropout=0.0", "train.epochs=2", "experiment.dtype=float64"]
    one, three = (finished(launch(tmp_path / str(n), n, CONFIGS / "digits_cnn.toml", *keys)) for n in (1, 3))
    assert any("moving" in name for name in one.parameters)
    np.testing.assert_allclose(three.losses(), one.losses(), rtol=1e-6)
    assert three.parameters.keys() == one.parameters.keys()
    for name, value in one.parameters.items():
        np.testing.assert_allclose(three.parameters[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    assert_evaluates_as_it_did(three)


def test_statistics_of_the_global_batch_need_common_steps(tmp_path):
    run = launch(tmp_path, 3, CONFIG, "parallel.mode=gossip")
    assert run.code == 2
    assert 'digits_batch_norm.toml:19: model.normalization = "synchronized_batch": needs ranks that step' in run.err
    assert "set it to 'batch', or parallel.mode to 'allreduce'" in run.err
