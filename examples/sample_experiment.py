"""A small network on points of the unit square, as an experiment: configs/sample_program.toml names both functions.

A builder of data returns what to train on and what to test with; a builder of a model adds it to the default graph.

    paraflow run configs/sample_program.toml
    paraflow launch -n 2 configs/sample_program.toml
"""

import numpy as np

import paraflow as pf
from paraflow.data import Dataset
from paraflow.experiment import Model


def points(samples: int) -> tuple[Dataset, Dataset]:
    """Points of the unit square, labelled 1 below its diagonal and 0 above; the same to train on and to test with."""
    x = np.random.RandomState(1).rand(samples, 2)
    labels = (x.sum(axis=1, keepdims=True) < 1).astype(np.float32)
    dataset = Dataset("points", x.astype(np.float32), labels)
    return dataset, dataset


def network(features_shape: tuple[int, ...], classes: int, dtype: str, hidden: int) -> Model:
    """Two matrix products, with the mean of -label * log(output) as the loss."""
    x = pf.placeholder(dtype, (None, *features_shape), name="x-input")
    y_ = pf.placeholder(dtype, (None, 1), name="y-input")
    w1 = pf.Variable(pf.random_normal([2, hidden], stddev=1, seed=1, dtype=dtype), name="w1")
    w2 = pf.Variable(pf.random_normal([hidden, 1], stddev=1, seed=1, dtype=dtype), name="w2")
    y = pf.matmul(pf.matmul(x, w1), w2)
    cross_entropy = -pf.reduce_mean(y_ * pf.log(pf.clip_by_value(y, 1e-10, 1.0)))
    return Model(features=x, labels=y_, loss=cross_entropy)
