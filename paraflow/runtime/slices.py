"""Reductions over whole variables of which every rank does its slice: norms for LARS, LAMB and clipping.

Each rank sums up in float64 and block by block, and what the ranks have is added in the order of ranks. So all ranks
come to the same bits, also between nodes, which cut the variables into the same slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from paraflow.compiler.plan import Slot, Step
from paraflow.runtime.buckets import Bucket
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.reduction import Row
from paraflow.runtime.store import VariableStore
from paraflow.runtime.update import Call, Sliced

Array = np.ndarray[Any, Any]

# By reduction: how two parts come together, and what no element comes to.
COMBINE: dict[str, tuple[np.ufunc, float]] = {
    "reduce_sum": (np.add, 0.0),
    "reduce_mean": (np.add, 0.0),
    "reduce_max": (np.maximum, -np.inf),
    "reduce_min": (np.minimum, np.inf),
}


class SliceReduction(Sliced):
    """A bound `reduce_slices` step: what its body reduces to on this rank's slices, in ``out``."""

    def __init__(
        self, step: Step, slots: Sequence[Slot], values: list[Any], store: VariableStore,
        exchange: Exchange | None = None, bucket: Bucket | None = None,
    ) -> None:  # fmt: skip
        super().__init__(step, slots, values, store, exchange, bucket)
        self._kinds = [COMBINE[kind] for kind in self._body.reduces]
        self._out = values[step.outputs[0]].reshape(-1, len(self._kinds))

    def __call__(self) -> None:
        """Reduce this rank's slice of every group."""
        self._out[...] = [nothing for _, nothing in self._kinds]
        self.run()

    def _segments(self) -> list[tuple[int, Row]]:
        return [(number, row) for number, row in enumerate(self._rows()) if row[0].size]

    def _finished(self, number: int, values: list[Array]) -> Iterable[Call]:
        for k, (function, _) in enumerate(self._kinds):
            yield partial(_fold, function, values[k], self._out[number, k : k + 1])


def _fold(function: np.ufunc, values: Array, total: Array) -> None:
    function(total, function.reduce(values, dtype=np.float64), out=total)


def combine_slices(step: Step, values: list[Any], exchange: Exchange | None) -> Call:
    """A bound `combine_slices` step: the ranks' parts come together, and become the scalars of the step's outputs."""
    parts = [values[s] for s in step.inputs]
    outputs = [values[s] for s in step.outputs]
    kinds, counts = step.attrs["reduces"], step.attrs["counts"]

    def call() -> None:
        own = np.concatenate(parts)
        # Ranks beyond the lanes have no slice. With their rows a node would add in another order than one without such
        # ranks: numpy sums up to 7 numbers one by one, and more of them in 8 partial sums.
        ranks = own[None] if exchange is None else exchange.gather(own)[: exchange.lanes]
        for i, (kind, count, out) in enumerate(zip(kinds, counts, outputs, strict=True)):
            total = COMBINE[kind][0].reduce(ranks[:, i])
            out[...] = total / count if kind == "reduce_mean" else total

    return call
