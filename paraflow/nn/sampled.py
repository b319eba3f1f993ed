"""Losses over very many classes, of which a few are drawn to stand for all that are wrong."""

from __future__ import annotations

from typing import Any

from paraflow.graph.dtypes import int64, limits
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.ops.array import cast, ones_like, reshape, size_along, stop_gradient, zeros_like
from paraflow.ops.candidates import Candidates, log_uniform_candidate_sampler
from paraflow.ops.joining import concat
from paraflow.ops.linalg import matmul
from paraflow.ops.logic import equal
from paraflow.ops.math import log
from paraflow.ops.nn import sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits
from paraflow.ops.rearrange import expand_dims
from paraflow.ops.reduce import reduce_any, reduce_sum
from paraflow.ops.rows import embedding_lookup


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Candidates | None = None,
    remove_accidental_hits: bool = False,
    partition_strategy: str = "mod",
    name: str = "nce_loss",
    seed: int | None = None,
) -> Tensor:
    """The noise-contrastive loss [n] of ``inputs`` [n, d] for ``labels`` [n, num_true] among ``num_classes``.

    Logistic regression tells the labels from ``num_sampled`` classes drawn by `log_uniform_candidate_sampler` (or given
    as ``sampled_values``, what a sampler returns). ``weights`` are [num_classes, d], ``biases`` [num_classes]: the
    gradients to them, if they are variables, are `IndexedSlices`. With ``remove_accidental_hits`` a drawn class that is
    a label of a row does not count there. ``partition_strategy`` has no meaning here.
    Gutmann & Hyvarinen, "Noise-contrastive estimation" (AISTATS 2010).
    """
    with name_scope(name):
        logits, expected = _sampled_logits(
            weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
            remove_accidental_hits, seed,
        )  # fmt: skip
        losses: Tensor = reduce_sum(sigmoid_cross_entropy_with_logits(labels=expected, logits=logits), 1)
        return losses


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Candidates | None = None,
    remove_accidental_hits: bool = True,
    partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss",
    seed: int | None = None,
) -> Tensor:
    """The cross entropy [n] of a softmax over the labels and ``num_sampled`` drawn classes; for training only.

    Arguments as for `nce_loss`; drawn classes that are labels of a row do not count there. Jean et al., "On using very
    large target vocabulary" (ACL 2015).
    """
    with name_scope(name):
        logits, expected = _sampled_logits(
            weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
            remove_accidental_hits, seed,
        )  # fmt: skip
        return softmax_cross_entropy_with_logits(labels=expected, logits=logits)


def _sampled_logits(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int,
    sampled_values: Candidates | None,
    remove_accidental_hits: bool,
    seed: int | None,
) -> tuple[Tensor, Tensor]:
    """Logits [n, num_true + num_sampled] less the logarithms of expected counts, and what they should be."""
    x, true = convert(inputs), cast(convert(labels), int64)
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(true, num_true, num_sampled, True, num_classes, seed)
    drawn, true_count, drawn_count = (stop_gradient(convert(t)) for t in sampled_values)
    drawn = cast(drawn, int64)
    flat = reshape(true, [-1])
    ids = concat([flat, drawn], 0)
    count = size_along(flat, 0)
    rows, offsets = embedding_lookup(weights, ids), embedding_lookup(biases, ids)
    true_rows = reshape(rows[:count], [-1, num_true, size_along(rows, 1)])
    true_logits = reduce_sum(expand_dims(x, 1) * true_rows, 2) + reshape(offsets[:count], [-1, num_true])
    drawn_logits = matmul(x, rows[count:], transpose_b=True) + offsets[count:]
    if remove_accidental_hits:
        hits = reduce_any(equal(expand_dims(true, 2), reshape(drawn, [1, 1, -1])), 1)
        drawn_logits += cast(hits, x.dtype) * float(limits(x.dtype).min)
    true_logits -= log(cast(true_count, x.dtype))
    drawn_logits -= log(cast(drawn_count, x.dtype))
    expected = concat([ones_like(true_logits) / num_true, zeros_like(drawn_logits)], 1)
    logits: Tensor = concat([true_logits, drawn_logits], 1)
    return logits, stop_gradient(expected)
