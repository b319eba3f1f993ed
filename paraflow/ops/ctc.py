"""Connectionist temporal classification: labels of sequences that are not aligned with them.

Graves, Fernandez, Gomez & Schmidhuber, "Connectionist temporal classification" (ICML 2006). Inputs are [time, batch,
classes], unnormalised; the last class is the blank. The sums over all alignments go through logarithms, for the whole
batch at once, in double precision.
"""

from __future__ import annotations

from heapq import heapify, heappush, heapreplace
from typing import Any

import numpy as np

from paraflow.errors import GraphError, InvalidArgumentError
from paraflow.graph.dtypes import int32, int64
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, op
from paraflow.graph.shape import Spec, compatible, format_dims, need_integers
from paraflow.ops.array import Array
from paraflow.ops.math import multiply
from paraflow.ops.rearrange import expand_dims


def _log_softmax(inputs: Array) -> Array:
    """Logarithms of the probabilities of classes (the last axis), in float64."""
    shifted = inputs.astype(np.float64) - np.max(inputs, axis=-1, keepdims=True)
    normal: Array = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return normal


def _check_lengths(lengths: Array, time: int) -> None:
    """Raise InvalidArgumentError unless each sequence has at most ``time`` steps."""
    wrong = np.flatnonzero((lengths < 0) | (lengths > time))
    if wrong.size:
        b = int(wrong[0])
        raise InvalidArgumentError(f"sequence_length[{b}] is {lengths[b]}, but inputs have {time} time steps")


def _check_inputs(inputs: Spec, sequence_length: Spec) -> tuple[int | None, int | None, int | None]:
    """The shape [time, batch, classes], with what the lengths say of it; raises GraphError where they do not fit."""
    if inputs.rank not in (3, None):
        raise GraphError(f"inputs are [time, batch, classes], not {format_dims(inputs.shape)}")
    need_integers(sequence_length, "sequence lengths")
    if sequence_length.rank not in (1, None):
        raise GraphError(f"sequence lengths are a vector, not {format_dims(sequence_length.shape)}")
    time, batch, classes = inputs.shape or (None, None, None)
    if not compatible((batch,), sequence_length.shape):
        raise GraphError(f"there are {batch} sequences, and {format_dims(sequence_length.shape)} lengths")
    if batch is None and sequence_length.shape is not None:
        batch = sequence_length.shape[0]
    return time, batch, classes


# -- the loss ---------------------------------------------------------------------------------------------------------


def _rows_of_labels(indices: Array, labels: Array, batch: int) -> list[Array]:
    """The labels of each sequence."""
    rows = indices[:, 0]
    if len(rows) and not (rows.min() >= 0 and rows.max() < batch and (np.diff(rows) >= 0).all()):
        raise InvalidArgumentError(f"labels are of {batch} sequences, their indices in row-major order")
    return np.split(labels, np.searchsorted(rows, np.arange(1, batch)))


def _target(labels: Array, blank: int, collapse: bool, b: int) -> Array:
    """Labels without nulls at their end and, with ``collapse``, each run of one label as a single one."""
    kept = labels[np.append(True, labels[1:] != labels[:-1])] if collapse and len(labels) else labels
    real = kept < blank
    count = int(real.sum())
    if not real[:count].all() or (len(kept) and kept.min() < 0):
        raise InvalidArgumentError(f"labels of sequence {b} are {kept.tolist()}: they lie in [0, {blank})")
    return kept[:count]


class _Paths:
    """The targets with a blank before, between and after their labels, padded to one length, for sequences that count.

    ``symbols`` [n, states] are these; ``skips`` and ``stays`` say where a path may leave out a state, or stay.
    """

    def __init__(self, targets: list[Array], blank: int, merge: bool) -> None:
        self.last = np.array([2 * len(t) for t in targets])
        self.symbols = np.full((len(targets), int(self.last.max()) + 1), blank)
        for row, target in zip(self.symbols, targets, strict=True):
            row[1 : 2 * len(target) : 2] = target
        label = self.symbols != blank
        again = np.zeros(label.shape, bool)
        again[:, 2:] = self.symbols[:, 2:] == self.symbols[:, :-2]
        self.skips = np.where(label & ~(again & merge), 0, -np.inf)
        self.skips[:, :2] = -np.inf
        self.stays = np.where(label & (not merge), -np.inf, 0)
        beyond = np.arange(self.symbols.shape[1]) > self.last[:, None]
        self.inside = np.where(beyond, -np.inf, 0)

    def forward(self, before: Array) -> Array:
        """The sums over the states from which each state is reached."""
        total = before + self.stays
        total[:, 1:] = np.logaddexp(total[:, 1:], before[:, :-1])
        total[:, 2:] = np.logaddexp(total[:, 2:], before[:, :-2] + self.skips[:, 2:])
        return total + self.inside

    def backward(self, after: Array) -> Array:
        """The sums over the states that are reached from each state."""
        total = after + self.stays
        total[:, :-1] = np.logaddexp(total[:, :-1], after[:, 1:])
        total[:, :-2] = np.logaddexp(total[:, :-2], after[:, 2:] + self.skips[:, 2:])
        return total + self.inside


@op(dtypes="float", same=(0,))
def ctc(inputs, sequence_length, indices, labels, collapse=False, merge=True, ignore_longer=False):
    """Minus the logarithm of the probability of each sequence's labels [batch], and its derivative to ``inputs``.

    ``labels`` [n] are at ``indices`` [n, 2], (sequence, place). With ``collapse`` repeated labels are one; without
    ``merge`` repeated classes in the input are several labels. Of sequences shorter than their labels, an error unless
    ``ignore_longer``, and of those without steps, loss and derivative are 0.
    """
    time, batch, classes = inputs.shape
    _check_lengths(sequence_length, time)
    rows = _rows_of_labels(indices, labels, batch)
    targets = [_target(row, classes - 1, collapse, b) for b, row in enumerate(rows)]
    short = np.array([len(row) for row in rows], int) > sequence_length
    if short.any() and not ignore_longer:
        b = int(np.flatnonzero(short)[0])
        raise InvalidArgumentError(
            f"sequence {b} has {len(rows[b])} labels, but only {sequence_length[b]} time steps; set "
            "ignore_longer_outputs_than_inputs to leave out such sequences"
        )
    loss, slope = np.zeros(batch, inputs.dtype), np.zeros(inputs.shape, inputs.dtype)
    counted = np.flatnonzero(~short & (sequence_length > 0))
    if counted.size:
        log_p, lengths = _log_softmax(inputs[:, counted]), sequence_length[counted]
        loss[counted], slope[:, counted] = _likelihood(log_p, lengths, [targets[b] for b in counted], merge)
    return loss, slope


def _likelihood(log_p: Array, lengths: Array, targets: list[Array], merge: bool) -> tuple[Array, Array]:
    """Losses and their derivatives, of sequences of at least one step."""
    time, batch, classes = log_p.shape
    paths = _Paths(targets, classes - 1, merge)
    rows = np.arange(batch)[:, None]
    emitted = log_p[:, rows, paths.symbols]
    ends = np.full(paths.symbols.shape, -np.inf)
    ends[rows, np.stack([paths.last, np.maximum(paths.last - 1, 0)], 1)] = 0
    start = np.full(paths.symbols.shape, -np.inf)
    start[:, :2] = 0
    alpha = np.full((time, *paths.symbols.shape), -np.inf)
    beta = np.full_like(alpha, -np.inf)
    alpha[0] = start + paths.inside + emitted[0]
    for t in range(1, time):
        alpha[t] = paths.forward(alpha[t - 1]) + emitted[t]
    for t in reversed(range(time)):
        last = np.equal(lengths, t + 1)[:, None]
        beta[t] = np.where(last, ends, paths.backward(beta[t + 1] + emitted[t + 1]) if t + 1 < time else -np.inf)
    total = np.logaddexp.reduce(alpha[0] + beta[0], axis=-1)
    inside = np.less(np.arange(time)[:, None], lengths)
    possible = np.logical_and(np.isfinite(total), inside)
    share = np.where(possible[:, :, None], np.exp(alpha + beta - total[:, None]), 0)
    at = np.arange(time * batch).reshape(time, batch, 1) * classes + paths.symbols
    said = np.bincount(at.ravel(), share.ravel(), log_p.size).reshape(log_p.shape)
    slope = np.exp(log_p) - said
    return -total, np.where(inside[:, :, None], slope, 0)


@ctc.shape
def _(inputs: Spec, sequence_length: Spec, indices: Spec, labels: Spec, **attrs: Any) -> tuple[Spec, Spec]:
    time, batch, classes = _check_inputs(inputs, sequence_length)
    need_integers(labels, "labels")
    need_integers(indices, "indices of labels")
    return Spec(inputs.dtype, (batch,)), Spec(inputs.dtype, (time, batch, classes))


@ctc.gradient
def _(outputs: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor | None, None, None, None]:
    if cotangents[1] is not None:
        raise GraphError(f"ctc_loss has no second derivative, as in TensorFlow{at_user_line()}")
    if cotangents[0] is None:
        return None, None, None, None
    return multiply(expand_dims(expand_dims(cotangents[0], 0), 2), outputs[1]), None, None, None


# -- decoding ---------------------------------------------------------------------------------------------------------


def _sparse_parts(sequences: list[Any]) -> tuple[Array, Array, Array]:
    """Indices, values and shape of sequences of classes."""
    lengths = np.array([len(s) for s in sequences], int)
    rows = np.repeat(np.arange(len(sequences)), lengths)
    places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    values = np.concatenate([np.zeros(0, np.int64), *sequences]).astype(np.int64)
    shape = np.array([len(sequences), lengths.max(initial=0)], np.int64)
    return np.stack([rows, places], 1).astype(np.int64), values, shape


_SPARSE = Spec(int64, (None, 2)), Spec(int64, (None,)), Spec(int64, (2,))


@op(dtypes="float", same=(0,))
def ctc_greedy(inputs, sequence_length, merge_repeated=True, blank=-1):
    """The likeliest class of each step without blanks, as the parts of a sparse tensor, and minus the sum of inputs.

    With ``merge_repeated`` a class that comes several times without a blank between is one.
    """
    time, batch, classes = inputs.shape
    _check_lengths(sequence_length, time)
    best = inputs.argmax(-1)
    inside = np.arange(time)[:, None] < sequence_length
    kept = (best != blank % classes) & inside
    if merge_repeated:
        kept[1:] &= best[1:] != best[:-1]
    score = -np.sum(np.where(inside, inputs.max(-1), 0), axis=0, dtype=inputs.dtype)
    return *_sparse_parts([best[kept[:, b], b] for b in range(batch)]), score[:, None]


@ctc_greedy.shape
def _(inputs: Spec, sequence_length: Spec, **attrs: Any) -> tuple[Spec, ...]:
    _, batch, _ = _check_inputs(inputs, sequence_length)
    return *_SPARSE, Spec(inputs.dtype, (batch, 1))


# A prefix in the beam: its logarithm of probability, the place of the one that it is or grows out of, by which class.
_Leaf = tuple[float, int, int | None]


class _Beams:
    """The likeliest prefixes of one sequence, the likeliest first: nodes of a tree of classes, and their probabilities.

    ``blank`` and ``label`` are logarithms: of the alignments so far that end in a blank, or in the prefix's last class.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.parents, self.labels = [-1], [-1]
        self.children: dict[tuple[int, int], int] = {}
        self.nodes = np.zeros(1, int)
        self.blank, self.label = np.zeros(1), np.full(1, -np.inf)

    def step(self, log_p: Array) -> None:
        """Go on by one time step of probabilities [classes]."""
        total = np.logaddexp(self.blank, self.label)
        place = {int(node): i for i, node in enumerate(self.nodes)}
        grown = total[:, None] + log_p[:-1]
        ends = np.array([self.labels[node] for node in self.nodes])
        repeats = np.flatnonzero(ends >= 0)
        grown[repeats, ends[repeats]] = self.blank[repeats] + log_p[ends[repeats]]
        label = np.full(len(total), -np.inf)
        label[repeats] = self.label[repeats] + log_p[ends[repeats]]
        there: dict[int, dict[int, int]] = {}  # parent -> class -> child, of prefixes that are both there
        for i in repeats.tolist():  # such a child also grows out of the one before it
            parent = place.get(self.parents[self.nodes[i]])
            if parent is not None:
                label[i] = np.logaddexp(label[i], grown[parent, ends[i]])
                there.setdefault(parent, {})[int(ends[i])] = i
        blank = total + log_p[-1]
        chosen = self._grow(total, np.logaddexp(blank, label), grown, there)
        old = np.array([child is None for _, _, child in chosen])
        at = np.array([i for _, i, _ in chosen])
        nodes = self.nodes.tolist()
        self.nodes = np.array([nodes[i] if c is None else self._child(nodes[i], c) for _, i, c in chosen], int)
        self.blank = np.where(old, blank[at], -np.inf)
        self.label = np.where(old, label[at], [score for score, _, _ in chosen])

    def _grow(self, total: Array, kept: Array, grown: Array, there: dict[int, dict[int, int]]) -> list[_Leaf]:
        """The ``width`` likeliest prefixes, falling: those of probability ``kept``, and those that grow out of them.

        One grows after the other, the likeliest first, as in TensorFlow's decoder, and like there a prefix that has
        been left out meanwhile does not grow once the one before it has.
        """
        leaves: list[_Leaf] = [(score, i, None) for i, score in enumerate(kept.tolist()) if score > -np.inf]
        heap = [(score, n) for n, (score, _, _) in enumerate(leaves)]
        heapify(heap)
        present = {i for _, i, _ in leaves}
        dead: set[int] = set()
        for i, score in enumerate(total.tolist()):
            bottom = heap[0][0] if len(heap) == self.width else -np.inf
            if score <= bottom or i in dead:
                continue
            children = there.get(i, {})
            for c in sorted({*np.flatnonzero(grown[i] > bottom).tolist(), *children}):
                child = children.get(c)
                if child is not None:
                    if child not in present:
                        dead.add(child)
                    continue
                bottom = heap[0][0] if len(heap) == self.width else -np.inf
                if grown[i, c] <= bottom:
                    continue
                leaves.append((float(grown[i, c]), i, c))
                entry = leaves[-1][0], len(leaves) - 1
                if len(heap) < self.width:
                    heappush(heap, entry)
                else:
                    _, gone, kind = leaves[heapreplace(heap, entry)[1]]
                    if kind is None:
                        present.discard(gone)
        return [leaves[n] for _, n in sorted(heap, key=lambda entry: (-entry[0], entry[1]))]

    def _child(self, node: int, label: int) -> int:
        key = node, label
        if key not in self.children:
            self.children[key] = len(self.parents)
            self.parents.append(node)
            self.labels.append(label)
        return self.children[key]

    def top(self, count: int, merge_repeated: bool) -> tuple[list[list[int]], Array]:
        """The ``count`` likeliest sequences of classes and their logarithms, the likeliest first."""
        if len(self.nodes) < count:
            raise InvalidArgumentError(f"there are only {len(self.nodes)} paths, not top_paths = {count}")
        total = np.logaddexp(self.blank, self.label)
        order = np.argsort(-total, kind="stable")[:count]
        return [self._classes(int(self.nodes[i]), merge_repeated) for i in order], total[order]

    def _classes(self, node: int, merge_repeated: bool) -> list[int]:
        classes: list[int] = []
        while node:
            if not (merge_repeated and classes and classes[-1] == self.labels[node]):
                classes.append(self.labels[node])
            node = self.parents[node]
        return classes[::-1]


@op(dtypes="float", same=(0,))
def ctc_beam_search(inputs, sequence_length, beam_width=100, top_paths=1, merge_repeated=True):
    """The ``top_paths`` likeliest sequences of classes by beam search: parts of as many sparse tensors, and logarithms.

    The logarithms of their probabilities are [batch, top_paths].
    """
    time, batch, _ = inputs.shape
    _check_lengths(sequence_length, time)
    log_p = _log_softmax(inputs)
    found, scores = [], np.zeros((batch, top_paths), inputs.dtype)
    for b in range(batch):
        beams = _Beams(beam_width)
        for t in range(int(sequence_length[b])):
            beams.step(log_p[t, b])
        paths, scores[b] = beams.top(top_paths, merge_repeated)
        found.append(paths)
    parts = (_sparse_parts([paths[i] for paths in found]) for i in range(top_paths))
    return *(part for three in parts for part in three), scores


@ctc_beam_search.shape
def _(inputs: Spec, sequence_length: Spec, beam_width: int, top_paths: int, merge_repeated: bool) -> tuple[Spec, ...]:
    _, batch, _ = _check_inputs(inputs, sequence_length)
    if not 1 <= top_paths <= beam_width:
        raise GraphError(f"{top_paths} paths of a beam of {beam_width}")
    return *(_SPARSE * top_paths), Spec(inputs.dtype, (batch, top_paths))


@op(same=(), dtypes="int")
def unique_labels(labels):
    """The different labels of each row, in the order of their coming, then zeros; and which of them each label is.

    ``labels`` are [batch, places]; both results are too, int64 and int32.
    """
    found, which = np.zeros(labels.shape, np.int64), np.zeros(labels.shape, np.int32)
    for row, (values, places) in enumerate(zip(found, which, strict=True)):
        known: dict[Any, int] = {}
        places[:] = [known.setdefault(label, len(known)) for label in labels[row].tolist()]
        values[: len(known)] = list(known)
    return found, which


@unique_labels.shape
def _(labels: Spec) -> tuple[Spec, Spec]:
    if labels.shape is not None and len(labels.shape) != 2:
        raise GraphError(f"labels are [batch, places], not {format_dims(labels.shape)}")
    return Spec(int64, labels.shape), Spec(int32, labels.shape)
