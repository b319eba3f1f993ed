"""The networks of a configuration: how samples become images or sequences, and what does not fit."""

from types import SimpleNamespace

import numpy as np
import pytest

import paraflow as pf
from paraflow.data import Dataset
from paraflow.errors import ConfigError
from paraflow.experiment.model import build_model
from paraflow.experiment.model_tables import CNNModel, RNNModel


def build(shape, classes=3, **table):
    """The model for samples of this shape."""
    samples = np.ones((5, *shape), np.float32)
    labels = np.arange(5, dtype=np.int32) % 3 if classes else np.ones((5, 1), np.float32)
    model = RNNModel if table.get("name") == "rnn" else CNNModel
    filters = {"filters": (2, 4)} if model is CNNModel else {}
    config = SimpleNamespace(
        model=model(**{"name": "cnn", "units": (6,), **filters, **table}),
        experiment=SimpleNamespace(dtype="float32"),
    )
    return build_model(config, Dataset("some", samples, labels, classes))


@pytest.mark.parametrize(
    ("shape", "table", "channels", "flat"),
    [
        ((64,), {}, 1, 2 * 2 * 4),
        ((6, 5), {}, 1, 2 * 2 * 4),
        ((4, 7, 3), {}, 3, 1 * 2 * 4),
        ((24,), {"image": (2, 3, 4)}, 4, 1 * 1 * 4),
        ((8, 3), {"image": (4, 6)}, 1, 1 * 2 * 4),
    ],
)
def test_samples_are_images(graph, shape, table, channels, flat):
    model = build(shape, **table)
    assert [v.shape.as_list() for v in pf.trainable_variables()] == [
        [3, 3, channels, 2], [2], [3, 3, 2, 4], [4], [flat, 6], [6], [6, 3], [3]
    ]  # fmt: skip
    assert model.training is None
    assert model.features.shape.as_list() == [None, *shape]


@pytest.mark.parametrize(
    ("shape", "table", "width"),
    [((64,), {}, 8), ((6, 5), {}, 5), ((4, 7, 3), {}, 21), ((24,), {"steps": 2}, 12), ((8, 3), {"steps": 4}, 6)],
)
def test_samples_are_sequences(graph, shape, table, width):
    build(shape, name="rnn", units=(6, 4), **table)
    scope = "rnn/multi_rnn_cell/cell_"
    assert {v.name: v.shape.as_list() for v in pf.trainable_variables()} == {
        f"{scope}0/lstm_cell/kernel:0": [width + 6, 24], f"{scope}0/lstm_cell/bias:0": [24],
        f"{scope}1/lstm_cell/kernel:0": [6 + 4, 16], f"{scope}1/lstm_cell/bias:0": [16],
        "dense/kernel:0": [4, 3], "dense/bias:0": [3],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["cnn", "rnn"])
def test_dropout_is_for_training(graph, name):
    pf.set_random_seed(2)
    model = build((8, 8), name=name, dropout=0.5)
    features = np.random.default_rng(1).normal(size=(4, 8, 8)).astype(np.float32)
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())

        def losses(training):
            fed = zip(model.feeds, model.fed(features, np.array([0, 1, 2, 0]), training), strict=True)
            fed = dict(fed)
            return {float(session.run(model.loss, fed)) for _ in range(8)}

        assert len(losses(False)) == 1
        assert len(losses(True)) > 1


@pytest.mark.parametrize(
    ("shape", "classes", "table", "message"),
    [
        ((63,), 3, {}, r"model.image is not set, but the samples of data set 'some' have shape \[63\]: .* 63 numbers"),
        ((64,), 3, {"image": (8, 9)}, r"model.image = \[8, 9\], but"),
        ((63,), 3, {"name": "rnn"}, r"model.steps is not set, but .* \[63\]: set it to a number that divides 63"),
        ((64,), 3, {"name": "rnn", "steps": 7}, r"model.steps = 7, but the samples"),
        ((64,), 0, {}, "model.name = 'cnn' is for classes, but the labels of"),
    ],
)
def test_what_does_not_fit(graph, shape, classes, table, message):
    with pytest.raises(ConfigError, match=message):
        build(shape, classes, **table)
