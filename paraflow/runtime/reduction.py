"""Sums over the ranks of a node, straight from the ranks' planes, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from paraflow.graph.dtypes import sum_dtype
from paraflow.runtime.buckets import Bucket
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.store import Stretch, VariableStore

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]

BLOCK = 1 << 14  # elements: what a block's arrays take stays in the core's own cache


Row = tuple[Stretch, ...]
"""Stretches of equal size in several arrays, one element of each belonging together."""


def merged(rows: Iterable[Row]) -> list[Row]:
    """The rows, those in one where each column goes on where the last row's ended, but for the plane's padding.

    Arrays come in the order of the rows, the same on all ranks, which send segments to each other.
    """
    segments: list[Row] = []
    rows = list(rows)
    order = {number: i for i, number in enumerate(dict.fromkeys(id(row[0].base) for row in rows))}
    for row in sorted(rows, key=lambda row: (order[id(row[0].base)], row[0].start)):
        if not row[0].size:
            continue
        if segments and (joined := _joined(segments[-1], row)) is not None:
            segments[-1] = joined
        else:
            segments.append(row)
    return segments


def _joined(before: Row, row: Row) -> Row | None:
    distance = row[0].start - before[0].start
    gap = distance - before[0].size
    if not 0 <= gap * row[0].base.itemsize < 64:
        return None
    if any(a.base is not b.base or b.start - a.start != distance for a, b in zip(before, row, strict=True)):
        return None
    return tuple(Stretch(a.base, a.start, distance + b.size) for a, b in zip(before, row, strict=True))


def cut(stretch: Stretch, part: tuple[int, int]) -> Stretch:
    """The part of a variable's stretch."""
    return Stretch(stretch.base, stretch.start + part[0], part[1] - part[0])


class NodeSum:
    """Sums gradients over the ranks of a node, each weighted by its samples; ranks without samples are left out.

    With ``divide`` the result is the share of the samples of all ranks, else the plain weighted sum. Sums of float16
    are made in float32, each gradient weighted before it is added.
    """

    def __init__(self, ranks: int, dtype: np.dtype[Any], divide: bool) -> None:
        self.dtype = sum_dtype(dtype)
        self.factors = [np.ones((), self.dtype) for _ in range(ranks)]
        self._divide = divide
        self._wide = self.dtype != dtype
        self._total, self._term = np.empty(BLOCK, self.dtype), np.empty(BLOCK, self.dtype)

    def weigh(self, exchange: Exchange) -> Weights:
        """Take the weights of this run; what is returned tells which calls serve them."""
        total = exchange.total or 1.0 if self._divide else 1.0  # without any sample the sum is 0
        for factor, weight in zip(self.factors, exchange.weights, strict=True):
            factor[...] = weight / total
        active = tuple(r for r, weight in enumerate(exchange.weights) if weight)
        return Weights(active, not self._wide and len({exchange.weights[r] for r in active}) <= 1)

    def calls(self, sources: Sequence[Array], out: Array, weights: Weights) -> Iterable[Call]:
        """The steps that put the sum of ``sources``, blocks, into ``out``, in the order of ranks."""
        if out.dtype != self.dtype:
            yield from self._calls(sources, self._total[: out.size], weights)
            yield partial(_narrow, self._total[: out.size], out)
        else:
            yield from self._calls(sources, out, weights)

    def _calls(self, sources: Sequence[Array], out: Array, weights: Weights) -> Iterable[Call]:
        active, scratch = weights.active, self._term[: out.size]
        if not active:
            yield partial(out.fill, 0)
        elif weights.equal:
            first, *rest = active
            if not rest:
                yield partial(np.multiply, sources[first], self.factors[first], out)
                return
            yield partial(np.add, sources[first], sources[rest[0]], out)
            for r in rest[1:]:
                yield partial(np.add, out, sources[r], out)
            yield partial(np.multiply, out, self.factors[first], out)
        else:
            yield partial(np.multiply, sources[active[0]], self.factors[active[0]], out)
            for r in active[1:]:
                yield partial(np.multiply, sources[r], self.factors[r], scratch)
                yield partial(np.add, out, scratch, out)


def _narrow(values: Array, out: Array) -> None:
    np.copyto(out, values, casting="same_kind")


class Weights(NamedTuple):
    """The ranks of the node that have samples, and whether these are weighted alike, after they are added."""

    active: tuple[int, ...]
    equal: bool


class Reduction:
    """Sums this rank's slice of a bucket over the ranks of the node, for a further sum over nodes.

    ``runs`` are the sums: contiguous stretches in the place of this rank's own gradients, which no other rank reads
    there. Sums of float16 lie elsewhere, in float32, and become the average in that place.
    """

    def __init__(self, bucket: Bucket, store: VariableStore, exchange: Exchange) -> None:
        rows = (
            tuple(cut(s, bucket.parts[name]) for s in exchange.gradients(name)) for name in bucket.exchanged
        )
        self._segments = merged(rows)
        self._exchange = exchange
        dtype = store.flat(bucket.exchanged[0]).base.dtype
        self._sum = NodeSum(exchange.node_size, dtype, divide=False)
        self._places = [s[store.own].flat for s in self._segments]
        wide = self._sum.dtype != dtype
        self.runs = [np.empty(p.size, self._sum.dtype) for p in self._places] if wide else self._places
        self._programs: dict[Weights, list[Call]] = {}

    def __call__(self) -> None:
        """Sum, with the weights of this run."""
        weights = self._sum.weigh(self._exchange)
        if weights not in self._programs:
            self._programs[weights] = list(self._unroll(weights))
        for call in self._programs[weights]:
            call()

    def _unroll(self, weights: Weights) -> Iterable[Call]:
        total = np.empty(BLOCK, self._sum.dtype)
        for segment, run in zip(self._segments, self.runs, strict=True):
            for start in range(0, segment[0].size, BLOCK):
                n = min(BLOCK, segment[0].size - start)
                columns = [c.base[c.start + start : c.start + start + n] for c in segment]
                yield from self._sum.calls(columns, total[:n], weights)
                yield partial(np.copyto, run[start : start + n], total[:n])

    def finish(self) -> None:
        """The sums over nodes are there."""
        for run, place in zip(self.runs, self._places, strict=True):
            if run is not place:
                np.divide(run, self._exchange.total or 1.0, run)
                _narrow(run, place)


def factor_after_nodes(dtype: np.dtype[Any], total: float) -> float:
    """What makes the average of what lies in the plane when the sums over nodes are there."""
    return 1.0 / (total or 1.0) if sum_dtype(dtype) == dtype else 1.0


class Average:
    """Puts the average of one gradient into memory of this rank's own, without the other ranks' doing."""

    def __init__(self, name: str, out: Array, bucket: Bucket, store: VariableStore, exchange: Exchange) -> None:
        self._exchange, self._bucket = exchange, bucket
        self._out = out.reshape(-1)
        self._sources = [s.flat for s in exchange.gradients(name)]
        lanes = range(exchange.lanes if exchange.several_nodes else 0)
        self._slices = [(lane, slice(*exchange.cut(bucket.names, lane)[name])) for lane in lanes]
        self._sum = NodeSum(exchange.node_size, out.dtype, divide=True)

    def __call__(self) -> None:
        """Wait for the bucket, then sum, or copy what the ranks of the node have summed over nodes."""
        exchange, out = self._exchange, self._out
        exchange.wait(self._bucket)
        if exchange.several_nodes:
            exchange.wait_for_slices(self._bucket)
            for lane, part in self._slices:
                factor = out.dtype.type(factor_after_nodes(out.dtype, exchange.total))
                np.multiply(self._sources[lane][part], factor, out[part])
            return
        weights = self._sum.weigh(exchange)
        for start in range(0, out.size, BLOCK):
            blocks = [source[start : start + BLOCK] for source in self._sources]
            for call in self._sum.calls(blocks, out[start : start + BLOCK], weights):
                call()
