"""Gradients of several micro-batches, added up before they are exchanged once."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.graph.dtypes import sum_dtype
from paraflow.ops.slices import merge_rows

Array = np.ndarray[Any, Any]


class Accumulation:
    """One training step's sums of gradients, each weighted by the samples of its micro-batch; float16 sums in float32.

    ``count`` micro-batches make one step. A micro-batch without samples counts for nothing, whatever its gradients.
    ``samples`` are those of the micro-batches up to the current one.
    """

    def __init__(self, count: int) -> None:
        self.samples = 0
        self._count = count
        self._taken = 0
        self._own = 0
        self._before = 0
        self._sums: dict[str, Array] = {}
        self._rows: dict[str, list[tuple[Array, Array]]] = {}

    def begin(self, samples: int) -> bool:
        """A micro-batch of ``samples`` is about to run; returns whether it is the last of its step."""
        self._own = samples
        self.samples = self._before + samples
        return self._taken == self._count - 1

    def end(self) -> None:
        """The micro-batch has run; after the last one of a step the next step begins."""
        self._taken = (self._taken + 1) % self._count
        self._before = self.samples if self._taken else 0

    @property
    def waiting(self) -> int:
        """How many micro-batches wait for the rest of their step."""
        return self._taken

    def add(self, variable: str, gradient: Array) -> None:
        """Add the gradient of the current micro-batch, a mean over its samples, to the sum."""
        total = self._sums.get(variable)
        if total is None:
            total = self._sums[variable] = np.empty(gradient.shape, sum_dtype(gradient.dtype))
        if not self._taken:
            total.fill(0)
        if self._own:
            total += gradient * total.dtype.type(self._own)

    def mean(self, variable: str, gradient: Array) -> Array:
        """The mean over all samples of the step, ``gradient`` being that of its last micro-batch."""
        self.add(variable, gradient)
        total = self._sums[variable]
        if self.samples:
            total /= total.dtype.type(self.samples)
        return total.astype(gradient.dtype, copy=False)

    def add_rows(self, variable: str, values: Array, indices: Array) -> None:
        """Keep the rows that the current micro-batch's gradient has."""
        if not self._taken:
            self._rows[variable] = []
        if self._own:
            self._rows[variable].append((values * sum_dtype(values.dtype).type(self._own), indices.copy()))

    def mean_rows(self, variable: str, values: Array, indices: Array) -> tuple[Array, Array]:
        """The mean over all samples of the step: its rows and their indices, each once."""
        self.add_rows(variable, values, indices)
        parts = self._rows[variable] or [(values[:0], indices[:0])]
        sums, at, _ = merge_rows(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        mean = sums / sums.dtype.type(self.samples) if self.samples else sums
        return mean.astype(values.dtype, copy=False), at
