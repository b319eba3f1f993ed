"""Where boxes lie: in layers from top to bottom, as edges point, with few crossings (Sugiyama, Tagawa & Toda, 1981)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

Edge = tuple[int, int]

_SWEEPS = 8
_GAP = 22.0  # between neighbours in a layer
_LAYER_GAP = 46.0
_BEND_WIDTH = 10.0  # what an edge takes where it passes through a layer
_STRAIGHT = 8.0  # how much more a bend's wish counts than a box's: long edges should be straight


@dataclass
class Layout:
    """The centre of each box, the points each edge runs through from box to box, and the size of it all."""

    centres: list[tuple[float, float]]
    routes: dict[Edge, list[tuple[float, float]]]
    width: float
    height: float


def lay_out(widths: Sequence[float], heights: Sequence[float], edges: Sequence[Edge]) -> Layout:
    """Lay out boxes of these sizes, in an order in which most edges point forward; the others are drawn upward."""
    layers = _layers(len(widths), edges)
    chains, sizes, layers = _with_bends(list(widths), edges, layers)
    rows: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for node, layer in enumerate(layers):
        rows[layer].append(node)
    above: dict[int, list[int]] = defaultdict(list)
    below: dict[int, list[int]] = defaultdict(list)
    for chain in chains.values():
        for a, b in pairwise(chain):
            upper, lower = (a, b) if layers[a] <= layers[b] else (b, a)
            below[upper].append(lower)
            above[lower].append(upper)
    _order(rows, above, below)
    x = _positions(rows, above, below, sizes, len(widths))
    tops, y = [], 0.0
    row_heights = [max((heights[n] for n in row if n < len(heights)), default=0.0) for row in rows]
    for height in row_heights:
        tops.append(y + height / 2)
        y += height + _LAYER_GAP
    left = min((x[n] - sizes[n] / 2 for n in range(len(x))), default=0.0)
    points = [(x[n] - left, tops[layers[n]]) for n in range(len(x))]
    width = max((points[n][0] + sizes[n] / 2 for n in range(len(x))), default=0.0)
    return Layout(
        points[: len(widths)],
        {edge: [points[n] for n in chain] for edge, chain in chains.items()},
        width,
        max(y - _LAYER_GAP, 0.0),
    )


def _layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """The longest way to each box; then sources move down to right above who uses them first."""
    before: dict[int, list[int]] = defaultdict(list)
    after: dict[int, list[int]] = defaultdict(list)
    for a, b in edges:
        if a < b:
            before[b].append(a)
            after[a].append(b)
    layers = [0] * count
    for node in range(count):
        layers[node] = max((layers[a] + 1 for a in before[node]), default=0)
    for node in reversed(range(count)):
        if not before[node] and after[node]:
            layers[node] = min(layers[b] for b in after[node]) - 1
    return layers


def _with_bends(
    sizes: list[float], edges: Sequence[Edge], layers: list[int]
) -> tuple[dict[Edge, list[int]], list[float], list[int]]:
    """Each edge as a chain with a bend in every layer that it passes."""
    chains: dict[Edge, list[int]] = {}
    layers = list(layers)
    for a, b in edges:
        step = 1 if layers[a] <= layers[b] else -1
        chain = [a]
        for layer in range(layers[a] + step, layers[b], step):
            chain.append(len(layers))
            layers.append(layer)
            sizes.append(_BEND_WIDTH)
        chains[a, b] = [*chain, b]
    return chains, sizes, layers


def _order(rows: list[list[int]], above: dict[int, list[int]], below: dict[int, list[int]]) -> None:
    """Sort each layer by the mean place of the neighbours in the layer before, downward and upward in turn."""
    place = {node: i for row in rows for i, node in enumerate(row)}
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for row in rows if down else reversed(rows):
            row.sort(key=lambda n: (mean(place[m] for m in neighbours[n]) if neighbours[n] else place[n]))
            place.update((node, i) for i, node in enumerate(row))


def _positions(
    rows: list[list[int]], above: dict[int, list[int]], below: dict[int, list[int]], sizes: Sequence[float], boxes: int
) -> list[float]:
    """The centre of each node: as near to its neighbours' mean as the order of its layer allows.

    The first nodes are so many boxes, all others bends.
    """
    x = [0.0] * len(sizes)
    for row in rows:
        at = 0.0
        for node in row:
            x[node] = at + sizes[node] / 2
            at += sizes[node] + _GAP
    for sweep in range(8 * _SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wished = []
            for node in row:
                near = above[node] + below[node]
                if node < boxes and sweep < 4 * _SWEEPS:
                    near = above[node] if sweep % 2 == 0 else below[node]
                wished.append(mean(x[m] for m in near) if near else x[node])
            weights = [1.0 if node < boxes else _STRAIGHT for node in row]
            for node, centre in zip(row, _spread(wished, [sizes[n] for n in row], weights), strict=True):
                x[node] = centre
    return x


def _spread(wished: Sequence[float], sizes: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Centres in the given order, without overlap, with the least weighted squared distance from what is wished.

    Isotonic regression by pooling adjacent violators, on the centres less the room that those before take.
    """
    offsets = [0.0]
    for a, b in pairwise(sizes):
        offsets.append(offsets[-1] + (a + b) / 2 + _GAP)
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, members
    for value, offset, weight in zip(wished, offsets, weights, strict=True):
        total, mass, count = weight * (value - offset), weight, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / mass:
            before = pools.pop()
            total, mass, count = total + before[0], mass + before[1], count + before[2]
        pools.append((total, mass, count))
    level = [total / mass for total, mass, count in pools for _ in range(count)]
    return [a + b for a, b in zip(level, offsets, strict=True)]
