"""The form of the cases that TensorFlow 1's interface and ours both run, and inputs where the two might part.

Each case is one function of the namespace (``tensorflow.compat.v1`` or ``paraflow``) and of tensors; the modules
tf_*_cases.py hold them by family, make_tf_reference.py keeps what TensorFlow makes of them, and
test_tensorflow.py compares.
"""

import importlib
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

INF, NAN = np.inf, np.nan
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e-8, -1e-8, 3.0, 17.0, -17.0, 1e2, -1e2]
FINITE = [x for x in SPECIAL if np.isfinite(x)]
BOTH = ("float32", "float64")


def named(dtype):
    """The dtype of that name, which numpy knows of bfloat16 when ml_dtypes is there."""
    return ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype


@dataclass(frozen=True)
class Case:
    """``build(tf, *tensors)`` returns tensors; ``inputs`` of numbers take each of ``dtypes``, arrays keep theirs.

    Without ``gradients`` values alone are compared; ``tolerance`` is for float64 and bfloat16
    (float32 has 3e-6 or more).
    """

    build: Any
    inputs: tuple[Any, ...]
    dtypes: tuple[str, ...] = BOTH
    gradients: bool = True
    tolerance: float = 1e-12

    def arrays(self, dtype):
        return [x if isinstance(x, np.ndarray) else np.array(x, float).astype(named(dtype)) for x in self.inputs]


def weight(shape, dtype):
    """The cotangent given to an output: different for every element, exact in float32 (or of its parts)."""
    numbers = (np.arange(1, 1 + int(np.prod(shape))) / 4).reshape(shape)
    return (numbers - 0.5j * numbers if np.dtype(dtype).kind == "c" else numbers).astype(dtype)


def pairs(values):
    """All ordered pairs of the values, as two vectors."""
    x, y = np.meshgrid(np.array(values), np.array(values), indexing="ij")
    return x.ravel().tolist(), y.ravel().tolist()


def unary(name, values=None, dtypes=BOTH):
    return Case(lambda tf, x: find(tf, name)(x), (SPECIAL if values is None else values,), dtypes)


def binary(name, values, dtypes=BOTH):
    return Case(lambda tf, x, y: find(tf, name)(x, y), pairs(values), dtypes)


def find(tf, name):
    for part in name.split("."):
        tf = getattr(tf, part)
    return tf


REAL = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 2.0, -2.5, 0.5]
SMALL = [0.0, 1.0, -1.0, 2.0, -2.5, 0.5, 3.0]
WHOLE = [-7, -3, -2, -1, 1, 2, 3, 7]
TIES = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [-1.0, 0.0, -1.0]]
ZEROS = [[0.0, 2.0, 3.0], [4.0, 0.0, 0.0], [5.0, 6.0, -1.0]]
LARGE = [[1000.0, 0.0, -1000.0], [1.0, 1.0, 1.0], [-INF, 0.0, 1.0]]
LOGITS = [[1.0, -2.0, 0.5], [100.0, 0.0, -100.0], [3.0, 3.0, 3.0], [0.0, 1.0, 2.0]]
ONE_HOT = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5], [0.0, 1.0, 0.0]]
CUBE = (np.arange(24.0) * 1.25 % 7 - 3).reshape(2, 3, 4).tolist()
CONDITION = np.array([True, False, True])

FAMILIES = ("ops", "arrays", "math", "linalg", "network", "windows", "sparse", "control", "bfloat16", "complex")


def cases_of(family):
    """The cases of a family by name."""
    return importlib.import_module(f".tf_{family}_cases", __package__).CASES
