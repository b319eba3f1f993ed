"""The edit distance of sequences that come in sparse tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.errors import InvalidArgumentError, InvalidTypeError
from paraflow.graph.dtypes import float32
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, op
from paraflow.graph.shape import Spec
from paraflow.ops.array import Array, vector_value
from paraflow.ops.sparse import as_sparse, check_places


def _distance(a: Array, b: Array) -> int:
    """Levenshtein's distance of two vectors: insertions, deletions and substitutions that make ``a`` of ``b``."""
    places = np.arange(len(b) + 1)
    row = places.copy()
    for i, symbol in enumerate(a.tolist()):
        best = np.append(i + 1, np.minimum(row[1:] + 1, row[:-1] + (b != symbol)))
        row = np.minimum.accumulate(best - places) + places  # insertions follow each other
    return int(row[-1])


def _sequences(indices: Array, values: Array, sizes: tuple[int, ...]) -> dict[tuple[int, ...], Array]:
    """The values of each sequence, by the index of the sequence."""
    check_places(indices, sizes, True)
    if not len(indices):
        return {}
    first = np.flatnonzero(np.append(True, (indices[1:, :-1] != indices[:-1, :-1]).any(1)))
    return dict(zip(map(tuple, indices[first, :-1].tolist()), np.split(values, first[1:]), strict=True))


@op(same=(1, 4))
def distances(indices, values, shape, truth_indices, truth, truth_shape, normalize=True):
    """The edit distance of each sequence (the last axis) to the true one, with ``normalize`` by the latter's length."""
    mine, theirs = tuple(shape.tolist()), tuple(truth_shape.tolist())
    if len(mine) != len(theirs):
        raise InvalidArgumentError(f"edit_distance: shapes {mine} and {theirs} differ in their numbers of axes")
    found, wanted = _sequences(indices, values, mine), _sequences(truth_indices, truth, theirs)
    result = np.zeros(tuple(map(max, mine[:-1], theirs[:-1])), np.float32)
    none = values[:0]
    for at in {**found, **wanted}:
        goal = wanted.get(at, none)
        distance = _distance(goal, found.get(at, none))
        length = len(goal) if normalize else 1
        result[at] = distance / length if length else np.inf
    return result


@distances.shape
def _(
    indices: Spec, values: Spec, shape: Spec, truth_indices: Spec, truth: Spec, truth_shape: Spec, normalize: bool
) -> Spec:
    mine, theirs = vector_value(shape), vector_value(truth_shape)
    if mine is not None and theirs is not None and len(mine) == len(theirs):
        return Spec(float32, tuple(map(max, mine[:-1], theirs[:-1])))
    rank = next((s.shape[0] for s in (shape, truth_shape) if s.shape and s.shape[0]), None)
    return Spec(float32, None if rank is None else (None,) * (rank - 1))


def edit_distance(hypothesis: Any, truth: Any, normalize: bool = True, name: str = "edit_distance") -> Tensor:
    """Levenshtein's distance of the sequences of two sparse tensors [..., places]: float32 [...].

    With ``normalize`` it is divided by the number of elements of ``truth``, infinity where that is 0 and the other's
    not. Both have the same dtype and number of axes. There is no gradient.
    """
    mine, true = as_sparse(hypothesis, "hypothesis"), as_sparse(truth, "truth")
    if mine.dtype != true.dtype:
        raise InvalidTypeError(f"edit_distance of {mine.dtype.name} and {true.dtype.name}: use cast{at_user_line()}")
    distance: Tensor = distances(
        mine.indices, mine.values, mine.dense_shape, true.indices, true.values, true.dense_shape, normalize=normalize,
        name=name,
    )  # fmt: skip
    return distance
