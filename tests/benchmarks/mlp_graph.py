"""The model of the training benchmark as a paraflow graph."""

from __future__ import annotations

from typing import Any

import mlp_data

import paraflow as pf


def build(layers: list[int]) -> tuple[pf.Tensor, pf.Tensor, pf.Tensor, pf.Operation]:
    """(features, labels, mean cross entropy, training step) of a perceptron with ReLU between its layers."""
    features = pf.placeholder(pf.float32, (None, layers[0]), name="features")
    labels = pf.placeholder(pf.int32, (None,), name="labels")
    hidden: Any = features
    for number, (weights, bias) in enumerate(mlp_data.initial_weights(layers)):
        hidden = pf.nn.relu(hidden) if number else hidden
        hidden = pf.matmul(hidden, pf.Variable(weights)) + pf.Variable(bias)
    cost = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=hidden))
    return features, labels, cost, pf.train.AdamOptimizer(mlp_data.LEARNING_RATE).minimize(cost)
