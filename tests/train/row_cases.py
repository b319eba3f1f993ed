"""Optimizers and the rows of gradients that they are given, for the tests and for the reference's generator."""

import numpy as np

STEPS = 6
OPTIMIZERS = (
    "gradient_descent", "momentum", "nesterov", "adagrad", "adagrad_start", "rmsprop", "rmsprop_momentum",
    "rmsprop_centered", "adam", "adam_arguments", "adadelta_arguments", "ftrl_arguments", "proximal_arguments",
    "proximal_adagrad_arguments",
)  # fmt: skip

_rng = np.random.default_rng(21)
START = {
    "table": _rng.normal(size=(7, 3)).astype(np.float32),
    "bias": _rng.normal(size=9).astype(np.float32),
}
# Some rows come in many steps, some twice or more in one, some never, and one step has none at all.
INDICES = [np.array(i, np.int32) for i in ([4, 1], [1, 1, 5, 1], [0, 4, 4], [], [6, 5, 4, 1, 0, 1], [1])]
VALUES = {
    name: [(_rng.normal(size=(len(i), *start.shape[1:])) * 10.0 ** _rng.integers(-2, 2)).astype(np.float32)
           for i in INDICES]
    for name, start in START.items()
}  # fmt: skip

IDS = np.array([[3, 1], [1, 6]], np.int32)
WEIGHTS = _rng.normal(size=(2, 2, 3)).astype(np.float32)
