"""Connectionist temporal classification under TensorFlow's names and arguments (see `paraflow.ops.ctc`)."""

from __future__ import annotations

from typing import Any

from paraflow.graph.dtypes import bool_, int32
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import convert
from paraflow.nn.convolution import one_of
from paraflow.ops.array import cast, ones_like, shape
from paraflow.ops.ctc import ctc, ctc_beam_search, ctc_greedy, unique_labels
from paraflow.ops.gathering import boolean_mask, scatter_nd
from paraflow.ops.joining import concat, stack
from paraflow.ops.logic import logical_and, not_equal, where
from paraflow.ops.rearrange import transpose
from paraflow.ops.reduce import reduce_max, reduce_sum
from paraflow.ops.sequences import sequence_mask
from paraflow.ops.sparse import SparseTensor, as_sparse


def ctc_loss(
    labels: Any,
    inputs: Any = None,
    sequence_length: Any = None,
    preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True,
    ignore_longer_outputs_than_inputs: bool = False,
    time_major: bool = True,
    logits: Any = None,
) -> Tensor:
    """Minus the logarithm of the probability that ``inputs`` say the ``labels``, summed over all alignments: [batch].

    ``inputs`` (or ``logits``) are [time, batch, classes], or [batch, time, classes] without ``time_major``, and are
    normalised here; the last class is the blank. ``labels`` is a `SparseTensor` of integers [batch, places],
    ``sequence_length`` [batch] says how many time steps count. With ``preprocess_collapse_repeated`` repeated labels
    are one; without ``ctc_merge_repeated`` repeated classes of the input are several labels. Sequences with more labels
    than steps are an error of the run, or with ``ignore_longer_outputs_than_inputs`` have a loss of 0.
    Graves et al., "Connectionist temporal classification" (ICML 2006).
    """
    x = convert(one_of(inputs=inputs, logits=logits))
    lengths = one_of(sequence_length=sequence_length)
    sparse = as_sparse(labels, "labels")
    with name_scope("CTCLoss"):
        steps = x if time_major else transpose(x, (1, 0, 2))
        loss: Tensor = ctc(
            steps, lengths, sparse.indices, sparse.values, collapse=preprocess_collapse_repeated,
            merge=ctc_merge_repeated, ignore_longer=ignore_longer_outputs_than_inputs,
        )[0]  # fmt: skip
        return loss


def ctc_greedy_decoder(
    inputs: Any, sequence_length: Any, merge_repeated: bool = True, blank_index: int | None = None
) -> tuple[list[SparseTensor], Tensor]:
    """A list of one sparse tensor [batch, places], the likeliest class of each step, and scores [batch, 1].

    Blanks are left out, and with ``merge_repeated`` a class that comes several times without a blank between is one. A
    score is minus the sum of the largest ``inputs`` [time, batch, classes]. The blank is the last class, or
    ``blank_index``.
    """
    with name_scope("CTCGreedyDecoder"):
        blank = -1 if blank_index is None else blank_index
        *parts, scores = ctc_greedy(inputs, sequence_length, merge_repeated=merge_repeated, blank=blank)
        return [SparseTensor(*parts)], scores


def ctc_beam_search_decoder(
    inputs: Any, sequence_length: Any, beam_width: int = 100, top_paths: int = 1, merge_repeated: bool = True
) -> tuple[list[SparseTensor], Tensor]:
    """The ``top_paths`` likeliest sequences of classes, as sparse tensors [batch, places], by beam search.

    Their logarithms of probability, [batch, top_paths], are beside them, the likeliest first. ``inputs`` are [time,
    batch, classes]; the last class is the blank. With ``merge_repeated`` equal neighbours in a *result* are one, also
    those between which a blank stood: an oddity of TensorFlow's default; False is what is mostly wanted.
    """
    with name_scope("CTCBeamSearchDecoder"):
        *parts, log_probability = ctc_beam_search(
            inputs, sequence_length, beam_width=beam_width, top_paths=top_paths, merge_repeated=merge_repeated
        )
        return [SparseTensor(*parts[i : i + 3]) for i in range(0, len(parts), 3)], log_probability


def ctc_unique_labels(labels: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The different labels of each row of ``labels`` [batch, places], and which of them each label is.

    The first result, int64, has them in the order of their coming, then zeros; the second is int32. Both are [batch,
    places].
    """
    unique, places = unique_labels(labels, name=name or "ctc_unique_labels")
    return unique, places


def collapse_repeated(labels: Any, seq_length: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """``labels`` [batch, places] without those that repeat their neighbour, then zeros; and the new lengths [batch].

    The first ``seq_length`` labels of each row count.
    """
    with name_scope(name or "collapse_repeated_labels"):
        x, lengths = convert(labels), convert(seq_length)
        size = shape(x)
        new = concat([ones_like(x[:, :1], dtype=bool_), not_equal(x[:, 1:], x[:, :-1])], 1)
        kept = logical_and(new, sequence_mask(lengths, maxlen=size[1]))
        counts = reduce_sum(cast(kept, dtype=int32), axis=1)
        width = reduce_max(counts)
        places = where(sequence_mask(counts, maxlen=width))
        collapsed: Tensor = scatter_nd(places, boolean_mask(x, kept), stack([size[0], width]))
        return collapsed, cast(counts, dtype=lengths.dtype)
