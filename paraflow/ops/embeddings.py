"""Embeddings of bags of ids: the rows that a sparse tensor names, added up or averaged row by row."""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.dtypes import int32
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line
from paraflow.ops.array import cast, known_shape, ones_like, reshape
from paraflow.ops.gathering import boolean_mask
from paraflow.ops.joining import concat
from paraflow.ops.logic import equal, greater, greater_equal, logical_and, where_v2
from paraflow.ops.math import div_no_nan, multiply, sqrt, square
from paraflow.ops.reduce import reduce_prod, reduce_sum
from paraflow.ops.rows import embedding_lookup
from paraflow.ops.scan import cumprod
from paraflow.ops.segments import segment_sum, unsorted_segment_sum
from paraflow.ops.sparse import as_sparse

COMBINERS = ("mean", "sqrtn", "sum")


def _combined(rows: Tensor, weights: Tensor | None, combiner: str, total: Any) -> Tensor:
    """Weighted rows added up by ``total`` and divided as the combiner says."""
    if combiner not in COMBINERS:
        raise GraphError(f"combiner is one of {', '.join(COMBINERS)}, not {combiner!r}{at_user_line()}")
    if rows.spec.rank is None:
        raise GraphError(f"embeddings of ids need params of known rank{at_user_line()}")
    shape = [-1, *[1] * (rows.spec.rank - 1)]
    each = ones_like(rows[(slice(None), *[0] * (rows.spec.rank - 1))]) if weights is None else cast(weights, rows.dtype)
    sums: Tensor = total(rows if weights is None else multiply(rows, reshape(each, shape)))
    if combiner == "sum":
        return sums
    norm = total(each) if combiner == "mean" else sqrt(total(square(each)))
    divided: Tensor = div_no_nan(sums, reshape(norm, shape))
    return divided


def embedding_lookup_sparse(
    params: Any,
    sp_ids: Any,
    sp_weights: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    combiner: str | None = None,
    max_norm: float | None = None,
) -> Tensor:
    """For each row of ``sp_ids`` [n, any] the rows of ``params`` that it names, weighted and combined: [n, ...].

    ``sp_weights`` has a weight for each id, at the same places, or is None. ``combiner`` "mean" (the default) divides
    the sum by that of the weights, "sqrtn" by the root of that of their squares, "sum" by nothing. Rows after the last
    one with an id are missing in the result, as in TensorFlow. The gradient to a variable is `IndexedSlices`;
    ``partition_strategy`` and ``max_norm`` are as for `embedding_lookup`.
    """
    with name_scope(name or "embedding_lookup_sparse"):
        ids = as_sparse(sp_ids, "sp_ids")
        weights = None if sp_weights is None else as_sparse(sp_weights, "sp_weights").values
        rows = embedding_lookup(params, ids.values, partition_strategy, max_norm=max_norm)
        at = ids.indices[:, 0]
        return _combined(rows, weights, combiner or "mean", lambda data: segment_sum(data, at))


def safe_embedding_lookup_sparse(
    embedding_weights: Any,
    sparse_ids: Any,
    sparse_weights: Any = None,
    combiner: str = "mean",
    default_id: int | None = None,
    name: str | None = None,
    partition_strategy: str = "div",
    max_norm: float | None = None,
) -> Tensor:
    """`embedding_lookup_sparse` of ids [..., any] of which some may be negative, and rows without any: [..., dim].

    Negative ids, and but for "sum" ids with a weight that is not above 0, count for nothing. A row without an id gives
    the embedding of ``default_id``, or zeros.
    """
    with name_scope(name or "safe_embedding_lookup_sparse"):
        ids = as_sparse(sparse_ids, "sparse_ids")
        weights = None if sparse_weights is None else as_sparse(sparse_weights, "sparse_weights").values
        kept = greater_equal(ids.values, 0)
        if weights is not None and combiner != "sum":
            kept = logical_and(kept, greater(weights, 0))
        outer = ids.dense_shape[:-1]
        strides = cumprod(outer, exclusive=True, reverse=True)
        at = boolean_mask(reduce_sum(ids.indices[:, :-1] * strides, 1), kept)
        count = cast(reduce_prod(outer), int32)
        rows = embedding_lookup(embedding_weights, boolean_mask(ids.values, kept), max_norm=max_norm)
        weights = None if weights is None else boolean_mask(weights, kept)
        combined = _combined(rows, weights, combiner, lambda data: unsorted_segment_sum(data, at, count))
        if default_id is not None:
            ids_of_row = unsorted_segment_sum(ones_like(at), at, count)
            empty = reshape(equal(ids_of_row, 0), [-1, *[1] * ((rows.spec.rank or 2) - 1)])
            combined = where_v2(empty, embedding_lookup(embedding_weights, [default_id], max_norm=max_norm), combined)
        if ids.shape.rank == 2:
            return combined
        whole: Tensor = reshape(combined, concat([cast(outer, int32), known_shape(combined)[1:]], 0))
        return whole
