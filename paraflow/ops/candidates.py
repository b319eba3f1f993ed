"""Candidate samplers: classes drawn to stand for all others in a loss, with TensorFlow's numbers, seed for seed.

Classes are drawn one by one, with ``unique`` until there are enough different ones. A loss has to know how often
a class is expected in such a sample. Jean et al., "On using very large target vocabulary" (ACL 2015).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.dtypes import is_integer
from paraflow.graph.graph import get_default_graph
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, op
from paraflow.graph.shape import Spec, format_dims
from paraflow.ops import philox
from paraflow.ops.random import Seeds, operation_seeds, stream_of

Array = np.ndarray[Any, Any]

# A run reserves the random words of so many values for each class, as in TensorFlow: repeats are drawn again.
_VALUES = 2

Candidates = tuple[Tensor, Tensor, Tensor]


@op(random=True, same=())
def sample_candidates(
    true_classes, sampler="log_uniform", num_sampled=1, unique=True, range_max=1, seed=None, sharded=False, *, draw
):
    """Drawn classes [num_sampled], and how often each true class, and each drawn one, is expected among them."""
    stream = stream_of(draw, seed, "uniform", _VALUES * num_sampled)
    drawn, tries = _draw(stream, sampler, num_sampled, unique, range_max)

    def expected(classes: Array) -> Array:
        p = _probability(classes, sampler, range_max)
        if tries == num_sampled:
            return (p * num_sampled).astype(np.float32)
        return -np.expm1(tries * np.log1p(-p)).astype(np.float32)

    return drawn, expected(true_classes), expected(drawn)


def _draw(stream: Any, sampler: str, count: int, unique: bool, range_max: int) -> tuple[Array, int]:
    """``count`` classes, and after how many draws there were so many."""
    values = np.zeros(0, np.int64)
    while True:
        blocks = len(values) // 2
        values = np.concatenate([values, _some(stream.advance(blocks), sampler, 2 * count, range_max)])
        if not unique:
            return values[:count], count
        first = np.sort(np.unique(values, return_index=True)[1])
        if len(first) >= count:
            return values[first[:count]], int(first[count - 1]) + 1 if count else 0


def _some(stream: Any, sampler: str, count: int, range_max: int) -> Array:
    if sampler == "uniform":
        return philox.uniform_int(stream, (count,), 0, range_max, np.int64)
    unit = philox.uniform(stream, (count,), dtype="float64")
    return (np.exp(unit * math.log1p(range_max)).astype(np.int64) - 1) % range_max


def _probability(classes: Array, sampler: str, range_max: int) -> Array:
    """Of each class in one draw; in float32, as TensorFlow has it."""
    if sampler == "uniform":
        return np.full(np.shape(classes), 1 / range_max, np.float32)
    p = np.log((classes + 2.0) / (classes + 1.0)) / math.log1p(range_max)
    return p.astype(np.float32)


@sample_candidates.shape
def _(
    true_classes: Spec, sampler: str, num_sampled: int, unique: bool, range_max: int, seed: Seeds | None, sharded: bool
) -> tuple[Spec, Spec, Spec]:
    if not is_integer(true_classes.dtype):
        raise GraphError(f"true classes are integers, not {true_classes.dtype.name}")
    if true_classes.rank not in (2, None):
        raise GraphError(f"true classes are [n, num_true], not {format_dims(true_classes.shape)}")
    if range_max < 1 or (unique and num_sampled > range_max):
        raise GraphError(f"{num_sampled} different classes cannot be drawn of {range_max}")
    float32 = np.dtype("float32")
    return (
        Spec(np.dtype("int64"), (num_sampled,)),
        Spec(float32, true_classes.shape),
        Spec(float32, (num_sampled,)),
    )


def _sampler(
    sampler: str, name: str, true_classes: Any, num_true: int, attrs: dict[str, Any], seed: int | None
) -> Candidates:
    classes: Candidates = sample_candidates(
        true_classes, sampler=sampler, seed=operation_seeds(get_default_graph(), seed), **attrs, name=name
    )
    dims = classes[1].spec.shape
    if dims is not None and dims[1] not in (num_true, None):
        raise GraphError(f"{name}: num_true is {num_true}, but there are {dims[1]} classes a row{at_user_line()}")
    return classes


def log_uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> Candidates:
    """Classes drawn with the probability log((k + 2) / (k + 1)) / log(range_max + 1) of class k, as by Zipf's law.

    ``true_classes`` [n, num_true] are integers. Returns classes [num_sampled], int64, all different with ``unique``;
    how often each true class is expected among them, float32 [n, num_true]; the same for those drawn [num_sampled].
    """
    attrs = {"num_sampled": num_sampled, "unique": unique, "range_max": range_max}
    return _sampler("log_uniform", name or "LogUniformCandidateSampler", true_classes, num_true, attrs, seed)


def uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> Candidates:
    """Classes drawn with equal probabilities; the rest as for `log_uniform_candidate_sampler`."""
    attrs = {"num_sampled": num_sampled, "unique": unique, "range_max": range_max}
    return _sampler("uniform", name or "UniformCandidateSampler", true_classes, num_true, attrs, seed)
