"""Rows for paraflow.ops.draws: the oracle is what TensorFlow draws with the same seeds (see draw_cases.py)."""

from pathlib import Path

import numpy as np

from paraflow.ops import draws

from .draw_cases import LOGITS
from .rows import Row
from .table_random import RUNTIME, SEEDED

REFERENCE = np.load(Path(__file__).with_name("tf_draws_reference.npz"))
SEED = np.array([1, 2], np.int32)


def row(op, inputs, name, attrs=(), runtime=(), select=lambda x: x):
    return Row(op, inputs, lambda *_, **__: select(REFERENCE[name]), dict(attrs), runtime=dict(runtime), empty=None,
               differentiable=(), exact=False)


def int32(*values):
    return np.array(values, np.int32)


LOGIT_ARRAY = np.array(LOGITS, np.float32)
ROWS = [
    row(draws.standard_gamma, (int32(20), np.array([0.3, 1, 2.5, 40], np.float32)), "gamma",
        {"seed": (SEEDED, 5)}, RUNTIME),
    row(draws.poisson, (int32(30), np.array([0.5, 3, 9.9, 10, 200], np.float32)), "poisson", {"seed": (SEEDED, 4)},
        RUNTIME),
    row(draws.draw_categories, (LOGIT_ARRAY, np.array(50, np.int32)), "categorical", {"seed": (SEEDED, 3)}, RUNTIME),
    row(draws.stateless_numbers, (int32(200), SEED), "stateless_truncated_normal", {"kind": "truncated_normal"}),
    row(draws.stateless_integers, (int32(7), SEED, np.array(-5, np.int32), np.array(20, np.int32)),
        "stateless_uniform int32"),
    row(draws.stateless_categories, (LOGIT_ARRAY, np.array(50, np.int32), SEED), "stateless_categorical"),
]
