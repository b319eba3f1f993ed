"""Rows of the random operations; the oracle is what TensorFlow returned for the same seeds (see test_random.py)."""

from pathlib import Path

import numpy as np

from paraflow.ops import random

from .rows import Row

REFERENCE = np.load(Path(__file__).with_name("tf_random_reference.npz"))
SEEDED = 87654321  # TensorFlow's graph seed where the program gives none


class FirstRun:
    """Every operation draws from its beginning."""

    entropy = (SEEDED, 7)

    def __call__(self, blocks):
        assert blocks >= 0
        return 0, 0


RUNTIME = {"draw": lambda operation: FirstRun()}


def row(op, shape, name, seed, *more, **rest):
    sizes = np.array(shape, np.int32)
    attrs = {"seed": None if seed is None else (SEEDED, seed), **rest.pop("attrs", {})}
    return Row(
        op, (sizes, *more), lambda *_, **__: REFERENCE[f"{name}/run0/out0"], attrs, runtime=RUNTIME, empty=None, **rest
    )


ROWS = [
    row(random.random_standard_uniform, (5,), "uniform_5_seed7", 7, constant=(0,)),
    row(random.random_standard_uniform, (9,), "uniform_f64_seed7", None, attrs={"dtype": "float64"}, exact=False),
    row(random.random_standard_normal, (2, 3), "normal_2x3_seed1", 1, constant=(0,)),
    row(random.random_standard_normal, (5, 3), "normal_f64_seed1", 1, attrs={"dtype": "float64"}, exact=False),
    row(random.random_standard_truncated_normal, (999,), "truncated_999_seed3", 3, constant=(0,)),
    row(
        random.random_uniform_int,
        (50,),
        "uniform_int_seed7",
        7,
        np.array(0, np.int32),
        np.array(10, np.int32),
        constant=(0, 1, 2),
    ),
    Row(
        random.random_permutation,
        (np.array(10, np.int32),),
        lambda *_, **__: REFERENCE["shuffle_10_seed2/run0/out0"],
        {"seed": (SEEDED, 2)},
        runtime=RUNTIME,
        constant=(0,),
        empty=None,
    ),
]
