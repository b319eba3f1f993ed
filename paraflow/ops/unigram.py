"""Candidate samplers by how often classes occur: in a given text, or among the true classes of earlier runs.

TensorFlow's numbers, seed for seed, but for the share n / 2^32 of random words, of n classes, that TensorFlow replaces
by the next one. Sources: TensorFlow core/kernels/range_sampler.cc; Walker, "An efficient method for generating discrete
random variables with general distributions" (1977); Mikolov et al. (NIPS 2013) for the distortion.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import float32
from paraflow.graph.graph import get_default_graph
from paraflow.graph.record import at_user_line, convert, op
from paraflow.graph.shape import Spec, format_dims
from paraflow.ops import philox
from paraflow.ops.candidates import (
    Array,
    Candidates,
    candidate_specs,
    check_range,
    checked,
    draw_classes,
    expected_counts,
)
from paraflow.ops.random import Seeds, operation_seeds, stream_of


def _words(stream: Any, first: int, count: int) -> Array:
    """``count`` random words after the first ones; both are multiples of 4."""
    return philox.words_of(stream.advance(first // 4), np.arange(count // 4, dtype=np.uint64)).reshape(-1)


@lru_cache(maxsize=8)
def _aliases(weights: bytes) -> tuple[Array, Array, Array]:
    """Walker's table, in which class k stands for itself with probability share[k], else for other[k]; and p[k]."""
    values = np.frombuffer(weights, np.float32)
    n = len(values)
    share = (values * np.float32(n)).astype(float) / float(np.sum(values, dtype=float))
    other = np.arange(n)
    low, high = np.flatnonzero(share < 1).tolist(), np.flatnonzero(share >= 1).tolist()
    while low and high:
        lower, upper = low.pop(), high.pop()
        other[lower] = upper
        share[upper] -= 1 - share[lower]
        (low if share[upper] < 1 else high).append(upper)
    share[[*low, *high]] = 1
    total = np.add.accumulate(values)[-1]  # one after the other, as TensorFlow adds them
    return share.astype(np.float32), other, values / total


@op(random=True, same=())
def sample_weighted(true_classes, weights, num_sampled=1, unique=True, seed=None, sharded=False, *, draw):
    """Classes drawn with probabilities as their ``weights``, and how often each true and each drawn one is expected."""
    stream = stream_of(draw, seed, "uniform", 2 * num_sampled)
    if unique and np.count_nonzero(weights) < num_sampled:
        raise InvalidArgumentError(f"there are no {num_sampled} different classes with a weight above 0")
    share, other, p = _aliases(np.ascontiguousarray(weights).tobytes())

    def more(first: int, count: int) -> Array:
        words = _words(stream, 2 * first, 2 * count)
        unit = (words[0::2] & np.uint32(0x7FFFFF)).astype(np.float32) * np.float32(2**-23)
        at = (words[1::2] % np.uint32(len(share))).astype(np.int64)
        return np.where(unit < share[at], at, other[at])

    drawn, tries = draw_classes(more, num_sampled, unique)
    return drawn, *(expected_counts(p[classes], num_sampled, tries) for classes in (true_classes, drawn))


@sample_weighted.shape
def _(
    true_classes: Spec, weights: Spec, num_sampled: int, unique: bool, seed: Seeds | None, sharded: bool
) -> tuple[Spec, Spec, Spec]:
    specs = candidate_specs(true_classes, num_sampled)
    if weights.dtype != float32:
        raise InvalidTypeError(f"weights are float32, not {weights.dtype.name}")
    if weights.rank != 1:
        raise GraphError(f"weights are a vector, not of shape {format_dims(weights.shape)}")
    return specs


def fixed_unigram_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: str = "",
    distortion: float = 1.0,
    num_reserved_ids: int = 0,
    num_shards: int = 1,
    shard: int = 0,
    unigrams: Sequence[float] = (),
    seed: int | None = None,
    name: str | None = None,
) -> Candidates:
    """Classes drawn with probabilities as the counts ``unigrams``, each raised to ``distortion``.

    Counts may stand in ``vocab_file`` instead, last in each line after a comma. ``num_reserved_ids`` classes before the
    first count are never drawn. Of ``num_shards`` only the classes of number ``shard``, modulo it, are taken. There are
    ``range_max`` in all. The rest is as for `log_uniform_candidate_sampler`. Raises GraphError for other numbers.
    """
    name = name or "FixedUnigramCandidateSampler"
    if bool(vocab_file) == bool(len(unigrams)):
        raise GraphError(f"{name}: give one of vocab_file and unigrams{at_user_line()}")
    counts = np.array(_read(vocab_file, name) if vocab_file else unigrams, np.float32)
    reserved = np.zeros(num_reserved_ids, np.float32)
    weights = np.concatenate([reserved, counts ** np.float32(distortion)])[shard::num_shards]
    if len(weights) != range_max:
        raise GraphError(f"{name}: range_max is {range_max}, but there are {len(weights)} weights{at_user_line()}")
    check_range(num_sampled, unique, range_max)
    seeds = operation_seeds(get_default_graph(), seed)
    drawn = sample_weighted(
        true_classes, convert(weights), num_sampled=num_sampled, unique=unique, seed=seeds, name=name
    )
    return checked(drawn, num_true, name)


def _read(vocab_file: str, name: str) -> list[float]:
    """The last number of each line."""
    lines = Path(vocab_file).read_text().splitlines()
    try:
        return [float(line.rpartition(",")[2]) for line in lines]
    except ValueError as error:
        raise GraphError(f"{name}: {vocab_file}: {error}{at_user_line()}") from None


@op(random=True, effect=True, same=())
def sample_learned(
    true_classes, num_sampled=1, unique=True, range_max=1, label="", seed=None, sharded=False, *, draw, counts
):
    """Classes drawn as often as they were true in earlier runs, and how often each true and drawn one is expected."""
    stream = stream_of(draw, seed, "uniform", 2 * num_sampled)
    seen = counts.setdefault(label, np.ones(range_max, np.int64))
    above = np.cumsum(seen)

    def more(first: int, count: int) -> Array:
        place = _words(stream, first, count) % np.uint32(above[-1])
        return np.searchsorted(above, place, side="right")

    drawn, tries = draw_classes(more, num_sampled, unique)
    p = seen.astype(np.float32) / np.float32(above[-1])
    result = drawn, *(expected_counts(p[classes], num_sampled, tries) for classes in (true_classes, drawn))
    np.add.at(seen, true_classes, 1)
    return result


@sample_learned.shape
def _(true_classes: Spec, num_sampled: int, unique: bool, range_max: int, **_: Any) -> tuple[Spec, Spec, Spec]:
    specs = candidate_specs(true_classes, num_sampled)
    check_range(num_sampled, unique, range_max)
    return specs


def learned_unigram_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> Candidates:
    """Classes drawn with probabilities as 1 + the number of times that they were true classes of earlier runs.

    The session counts them, each rank those that it has seen; no checkpoint keeps the counts, as in TensorFlow. The
    rest is as for `log_uniform_candidate_sampler`.
    """
    graph, name = get_default_graph(), name or "LearnedUnigramCandidateSampler"
    drawn = sample_learned(
        true_classes, num_sampled=num_sampled, unique=unique, range_max=range_max,
        label=graph.unique_name(name, mark_as_used=False), seed=operation_seeds(graph, seed), name=name,
    )  # fmt: skip
    return checked(drawn, num_true, name)
