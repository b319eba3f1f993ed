"""Arrays of which a message may have few rows: gradients of tables that are looked up, and the tables themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from paraflow.ops.slices import merge_rows

Array = np.ndarray[Any, Any]


class Rows(NamedTuple):
    """Rows of an array: ``values`` [n, ...] are those at ``at``, integers [n] of which none comes twice."""

    values: Array
    at: Array


class Target(NamedTuple):
    """What a gradient is for: the variable of that number.

    Where ``trained`` is not true, what comes is no gradient (statistics of a batch, which a moving average follows).
    ``by_rows`` says that an update changes nothing of the variable but the rows of its gradient.
    """

    variable: int
    trained: bool = True
    by_rows: bool = False


def flat(values: Sequence[Array | Rows]) -> list[Array]:
    """The arrays that ``values`` are made of."""
    return [array for value in values for array in (value if isinstance(value, Rows) else (value,))]


def put(place: Array, value: Array | Rows) -> None:
    """Make ``value``, or the rows that it has, what is in ``place``."""
    if isinstance(value, Rows):
        place[value.at] = value.values
    else:
        np.copyto(place, value)


def weighted_sum(weights: Sequence[float], gradients: Sequence[Array | Rows]) -> Array | Rows:
    """The sum of weight * gradient, in their order; of rows, the sums of those of one index. Changes ``gradients``."""
    for weight, gradient in zip(weights, gradients, strict=True):
        values = gradient.values if isinstance(gradient, Rows) else gradient
        values *= values.dtype.type(weight)
    rows = [g for g in gradients if isinstance(g, Rows)]
    if rows:
        return Rows(*merge_rows(*map(np.concatenate, zip(*rows, strict=True)))[:2])
    total, *others = [g for g in gradients if not isinstance(g, Rows)]
    for other in others:
        total += other
    return total


class Changes:
    """Which of a table's ``rows`` its latest updates have changed; as many updates as have changed no more than all."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._log: deque[tuple[int, Array]] = deque()
        self._logged = 0
        self._forgotten = 0  # the last update that is no more in the log

    def add(self, update: int, at: Array) -> None:
        """The update of that number, later than those before, has changed the rows ``at``."""
        self._log.append((update, at.copy()))
        self._logged += len(at)
        while self._logged > self._rows:
            self._forgotten, oldest = self._log.popleft()
            self._logged -= len(oldest)

    def since(self, update: int) -> Array | None:
        """The rows that later updates have changed, in rising order; None for more than half of all, or forgotten."""
        if update < self._forgotten:
            return None
        later = [at for _, at in takewhile(lambda entry: entry[0] > update, reversed(self._log))]
        at = np.unique(np.concatenate(later)) if later else np.zeros(0, np.int64)
        return None if 2 * len(at) > self._rows else at


class Served:
    """The ``variables`` that a server keeps: `apply` updates them by ``update(*gradients)``, with one for each target.

    ``updates`` counts them. Where ``in_parts``, what is given to a worker depends on what it had.
    """

    def __init__(self, variables: Sequence[Array], update: Callable[..., object], targets: Sequence[Target]) -> None:
        self.variables = variables
        self.updates = 0
        self.targets = targets
        self._update = update
        self._changes = {t.variable: Changes(len(variables[t.variable])) for t in targets if t.by_rows}
        self.in_parts = bool(self._changes)

    def changing(self, gradients: Sequence[Array | Rows]) -> dict[int, Any]:
        """What an update by ``gradients`` changes of each variable, as an index into it."""
        pairs = zip(self.targets, gradients, strict=True)
        return {t.variable: g.at if t.by_rows and isinstance(g, Rows) else ... for t, g in pairs}

    def apply(self, *gradients: Array | Rows) -> None:
        """Update the variables."""
        self._update(*gradients)
        self.updates += 1
        for number, at in self.changing(gradients).items():
            if at is not ...:
                self._changes[number].add(self.updates, at)

    def since(self, update: int) -> list[Array | Rows]:
        """What makes the variables after that update the present ones: all of a variable, or rows that have changed."""
        parts: list[Array | Rows] = list(self.variables)
        for number, changes in self._changes.items():
            at = changes.since(update)
            if at is not None:
                parts[number] = Rows(self.variables[number][at], at)
        return parts
