"""Buckets: gradients that are exchanged together, and the slices in which the ranks of a node share their work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from paraflow.runtime.store import VariableStore
from paraflow.runtime.wire import Sum

Array = np.ndarray[Any, Any]

_GRAIN = 64  # elements: slices begin on a cache line, whatever the dtype


class Reduction(Protocol):
    """Sums a slice over the node, when it is called, into ``runs``, which are to be summed over nodes."""

    runs: list[Array]

    def __call__(self) -> None:
        """Sum, with the weights of this run."""

    def finish(self) -> None:
        """The sums over nodes are there."""


@dataclass(eq=False)
class Bucket:
    """Gradients, or variables only, that are synchronised together.

    ``parts`` are this rank's slice: variable -> (first, past the last) of its elements. ``sums`` are those over nodes
    that are under way for it.
    """

    names: tuple[str, ...]
    exchanged: tuple[str, ...]
    parts: dict[str, tuple[int, int]]
    reduction: Reduction | None = None
    ticket: int = 0
    sums: list[Sum] = field(default_factory=list)
    reduced: bool = False
    complete: bool = False


def cut_slice(store: VariableStore, names: Sequence[str], lane: int, lanes: int) -> dict[str, tuple[int, int]]:
    """The slice of a lane among ``lanes``: (first, past the last) element of each of the variables.

    A variable and its slots are cut alike, since one update changes them together: they are divided once.
    """
    places = {n: (store.specs[n].owner or n, store.flat(n).size) for n in names if store.in_common(n)}
    starts, end = {}, 0
    for place in dict.fromkeys(places.values()):
        starts[place] = end
        end += -(-place[1] // _GRAIN) * _GRAIN
    chunk = -(-end // lanes // _GRAIN) * _GRAIN
    low, high = lane * chunk, (lane + 1) * chunk
    parts = {}
    for name in names:
        count = store.flat(name).size
        if name not in places:  # what is a rank's own is its own to update
            parts[name] = 0, count
            continue
        start = starts[places[name]]
        parts[name] = min(max(low - start, 0), count), min(max(high - start, 0), count)
    return parts
