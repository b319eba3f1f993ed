"""Candidate samplers: classes drawn to stand for all others in a loss, with TensorFlow's numbers, seed for seed.

Classes are drawn one by one, with ``unique`` until there are enough different ones. A loss has to know how often
a class is expected in such a sample. Jean et al., "On using very large target vocabulary" (ACL 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from paraflow.errors import GraphError
from paraflow.graph.graph import get_default_graph, name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, format_dims, need_integers
from paraflow.ops import philox
from paraflow.ops.array import fill, known_shape, ones
from paraflow.ops.random import Seeds, operation_seeds, stream_of
from paraflow.ops.sequences import range as range_

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

    def more(first: int, count: int) -> Array:
        return _some(stream.advance(first // 2), sampler, count, range_max)

    drawn, tries = draw_classes(more, num_sampled, unique)
    expected = [
        expected_counts(_probability(classes, sampler, range_max), num_sampled, tries)
        for classes in (true_classes, drawn)
    ]
    return drawn, *expected


def draw_classes(more: Callable[[int, int], Array], count: int, unique: bool) -> tuple[Array, int]:
    """``count`` classes, all different with ``unique``, and after how many draws there were so many.

    ``more(n, m)`` gives the m draws after the first n; both are multiples of 4.
    """
    values = np.zeros(0, np.int64)
    while True:
        values = np.concatenate([values, more(len(values), 4 * count)])
        if not unique:
            return values[:count], count
        first = np.sort(np.unique(values, return_index=True)[1])
        if len(first) >= count:
            return values[first[:count]], int(first[count - 1]) + 1 if count else 0


def expected_counts(p: Array, count: int, tries: int) -> Array:
    """How often a class of probability ``p`` in one draw is expected among ``count`` classes that took ``tries``."""
    if tries == count:
        return (p * count).astype(np.float32)
    return -np.expm1(tries * np.log1p(-p)).astype(np.float32)


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


def candidate_specs(true_classes: Spec, num_sampled: int) -> tuple[Spec, Spec, Spec]:
    """What samplers return; raises GraphError unless true classes are integers [n, num_true]."""
    need_integers(true_classes, "true classes")
    if true_classes.rank not in (2, None):
        raise GraphError(f"true classes are [n, num_true], not {format_dims(true_classes.shape)}")
    float32 = np.dtype("float32")
    return (
        Spec(np.dtype("int64"), (num_sampled,)),
        Spec(float32, true_classes.shape),
        Spec(float32, (num_sampled,)),
    )


def check_range(num_sampled: int, unique: bool, range_max: int) -> None:
    """Raise GraphError unless so many classes can be drawn."""
    if range_max < 1 or (unique and num_sampled > range_max):
        raise GraphError(f"{num_sampled} different classes cannot be drawn of {range_max}")


@sample_candidates.shape
def _(
    true_classes: Spec, sampler: str, num_sampled: int, unique: bool, range_max: int, seed: Seeds | None, sharded: bool
) -> tuple[Spec, Spec, Spec]:
    specs = candidate_specs(true_classes, num_sampled)
    check_range(num_sampled, unique, range_max)
    return specs


def checked(classes: Candidates, num_true: int, name: str) -> Candidates:
    """``classes``; raises GraphError unless there are ``num_true`` true ones a row."""
    dims = classes[1].spec.shape
    if dims is not None and dims[1] not in (num_true, None):
        raise GraphError(f"{name}: num_true is {num_true}, but there are {dims[1]} classes a row{at_user_line()}")
    return classes


def _sampler(
    sampler: str, name: str, true_classes: Any, num_true: int, attrs: dict[str, Any], seed: int | None
) -> Candidates:
    seeds = operation_seeds(get_default_graph(), seed)
    return checked(sample_candidates(true_classes, sampler=sampler, seed=seeds, **attrs, name=name), num_true, name)


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


def all_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, seed: int | None = None, name: str | None = None
) -> Candidates:
    """All classes 0 .. num_sampled - 1, each expected once, for a loss over sampled classes without sampling."""
    with name_scope(name or "AllCandidateSampler") as scope:
        true = convert(true_classes)
        candidate_specs(true.spec, num_sampled)
        once = ones(known_shape(true)), ones([num_sampled])
        return checked((range_(0, num_sampled, dtype="int64"), *once), num_true, scope)


@op(same=())
def accidental_hits(true_classes, sampled_candidates):
    """Where drawn classes are true ones: the rows, and the places among the drawn ones, row by row."""
    order = np.argsort(sampled_candidates, kind="stable")
    last = np.searchsorted(sampled_candidates, true_classes, side="right", sorter=order) - 1
    rows, columns = np.nonzero(last >= 0)
    place = order[last[rows, columns]]
    hit = sampled_candidates[place] == true_classes[rows, columns]
    return rows[hit].astype(np.int32), place[hit].astype(np.int64)


@accidental_hits.shape
def _(true_classes: Spec, sampled_candidates: Spec) -> tuple[Spec, Spec]:
    candidate_specs(true_classes, 0)
    need_integers(sampled_candidates, "drawn classes")
    if sampled_candidates.rank not in (1, None):
        raise GraphError(f"drawn classes are a vector, not {format_dims(sampled_candidates.shape)}")
    return Spec(np.dtype("int32"), (None,)), Spec(np.dtype("int64"), (None,))


def compute_accidental_hits(
    true_classes: Any, sampled_candidates: Any, num_true: int, seed: int | None = None, name: str | None = None
) -> Candidates:
    """Drawn classes that are true classes of a row: rows (int32), places among the drawn (int64), and weights.

    ``true_classes`` are [n, num_true], ``sampled_candidates`` a vector. A weight, -FLT_MAX, added to the logit of that
    place and row takes it out of a softmax. Of a class that was drawn several times the last place counts.
    ``seed`` has no meaning.
    """
    with name_scope(name or "ComputeAccidentalHits"):
        true = convert(true_classes)
        dims = true.spec.shape
        if dims is not None and len(dims) == 2 and dims[1] not in (num_true, None):
            raise GraphError(f"num_true is {num_true}, not {dims[1]} as in the classes{at_user_line()}")
        rows, places = accidental_hits(true, sampled_candidates)
        return rows, places, fill(known_shape(rows), -float(np.finfo(np.float32).max))
