"""When a server applies a gradient, and when it answers: at once, within a bound, or when a step is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from paraflow.parallel.server.messages import COUNTED, DROPPED, EMPTY, LATE
from paraflow.parallel.server.rows import Rows, Served, put, weighted_sum

Array = np.ndarray[Any, Any]
Apply = Callable[..., object]
Late = Literal["drop", "add"]


class Answer(NamedTuple):
    """A worker that is answered now, and what became of its push."""

    worker: int
    staleness: int
    outcome: int


class Policy(Protocol):
    """What a server does with pushes: ``push`` and ``leave`` return who is answered now."""

    version: int
    """The number of updates so far."""

    def push(self, worker: int, version: int, samples: int, gradients: Sequence[Array | Rows]) -> list[Answer]:
        """A push has come: means over ``samples`` samples, of the variables of ``version``.

        The arrays belong to the caller, and change after the call.
        """

    def leave(self, worker: int) -> list[Answer]:
        """``worker`` pushes nothing more: nobody waits for it from now on."""

    def give(self, worker: int, variables: Sequence[Array | Rows]) -> None:
        """``worker`` gets the variables as they are now, or of some the rows that it lacks: its answer begins to leave.

        The arrays belong to the caller, and change after the call.
        """


class Immediate:
    """Every push is applied as it comes (Dean et al., NIPS 2012), on the part of the server that it is for.

    ``bound`` is that of stale synchronous parallel (Ho et al., NIPS 2013): a worker that has pushed c times is answered
    as soon as no other has pushed fewer than c - bound times; with None at once.

    Where a push is tau updates stale, ``scale`` applies 1 / (1 + tau) of the change that the update makes to the
    variables (Zhang et al., "Staleness-aware async-SGD", IJCAI 2016, whose rate is divided by tau >= 1), and
    ``compensation`` = c adds c * g * g * (w - w_pulled) to each gradient g, w_pulled being what its worker was last
    given (DC-ASGD, Zheng et al., ICML 2017).

    What comes and is no gradient is not compensated.
    """

    def __init__(
        self,
        workers: int,
        served: Served,
        bound: int | None = None,
        scale: bool = False,
        compensation: float = 0.0,
    ) -> None:
        self.version = 0
        self._served = served
        self._bound = bound
        self._clocks = dict.fromkeys(range(workers), 0)
        self._held: dict[int, Answer] = {}
        variables = served.variables
        self._before = [np.empty_like(v) for v in variables] if scale else []
        self._compensation = compensation
        # What each worker was last given; before its first pull, the variables that all began with.
        self._pulled = [[v.copy() for v in variables] if compensation else [] for _ in range(workers)]

    def push(self, worker: int, version: int, samples: int, gradients: Sequence[Array | Rows]) -> list[Answer]:
        """Apply the gradients, and answer those who are within the bound."""
        staleness = self.version - version if samples else 0
        if samples:
            self._update(worker, staleness, gradients)
            self.version += 1
        self._clocks[worker] += 1
        self._held[worker] = Answer(worker, staleness, COUNTED if samples else EMPTY)
        return self._released()

    def leave(self, worker: int) -> list[Answer]:
        """Answer those who waited for this worker alone."""
        del self._clocks[worker]
        return self._released()

    def give(self, worker: int, variables: Sequence[Array | Rows]) -> None:
        """Keep what it is given, for compensation."""
        if self._compensation:
            for place, value in zip(self._pulled[worker], variables, strict=True):
                put(place, value)

    def _released(self) -> list[Answer]:
        slowest = min(self._clocks.values(), default=0)
        within = [w for w in self._held if self._bound is None or self._clocks[w] - slowest <= self._bound]
        return [self._held.pop(worker) for worker in within]

    def _update(self, worker: int, staleness: int, gradients: Sequence[Array | Rows]) -> None:
        if self._compensation and staleness:
            pairs = zip(self._served.targets, gradients, strict=True)
            gradients = [self._compensated(g, t.variable, worker) if t.trained else g for t, g in pairs]
        if not (self._before and staleness):
            self._served.apply(*gradients)
            return
        changing = self._served.changing(gradients)
        before = [self._kept(number, at) for number, at in changing.items()]
        self._served.apply(*gradients)
        for (number, at), then in zip(changing.items(), before, strict=True):
            now = self._served.variables[number]
            now[at] = then + (now[at] - then) / now.dtype.type(1 + staleness)

    def _compensated(self, gradient: Array | Rows, variable: int, worker: int) -> Array | Rows:
        at: Any
        g, at = gradient if isinstance(gradient, Rows) else (gradient, ...)
        now, then = self._served.variables[variable], self._pulled[worker][variable]
        corrected: Array = g + g.dtype.type(self._compensation) * g * g * (now[at] - then[at])
        return Rows(corrected, at) if isinstance(gradient, Rows) else corrected

    def _kept(self, variable: int, at: Any) -> Array:
        """A copy of that part of a variable; of the whole in a place that need not be made anew."""
        value, place = self._served.variables[variable], self._before[variable]
        if at is not ...:
            place = place[: len(at)]
        np.copyto(place, value[at])
        return place


class Closing:
    """Steps that close: the gradients of one step are averaged, by samples, and applied as one.

    A step closes when it has a gradient from all but ``backup`` of the workers that have samples in it (Chen et al.,
    "Revisiting distributed synchronous SGD", 2016), and at least from one. With ``backup`` = 0 it is that of
    synchronous training, whose gradients are summed in the order of the workers: the same bits in every run.

    A gradient whose step is closed is late by the number of steps closed since; its worker is answered at once, and
    goes on with the step that is open. With ``late`` = "add" the gradient counts in that step, with 1 / (1 + lateness)
    of its samples, but not as one of those it waits for; with "drop" it is lost, as is what comes after the last step.
    """

    def __init__(self, workers: int, apply: Apply, backup: int = 0, late: Late = "drop") -> None:
        self.version = 0
        self._apply = apply
        self._backup = backup
        self._late = late
        self._active = set(range(workers))
        self._came: dict[int, Answer] = {}
        self._pool: list[tuple[int, float, list[Array | Rows]]] = []
        self._spare: list[list[Array | Rows]] = []

    def push(self, worker: int, version: int, samples: int, gradients: Sequence[Array | Rows]) -> list[Answer]:
        """Keep the gradients until the step closes; all who wait for that are then answered."""
        lateness = self.version - version
        if lateness:
            added = self._late == "add"
            if samples and added:
                self._keep(worker, samples / (1 + lateness), gradients)
            return [Answer(worker, lateness, EMPTY if not samples else LATE if added else DROPPED)]
        if samples:
            self._keep(worker, samples, gradients)
        self._came[worker] = Answer(worker, 0, COUNTED if samples else EMPTY)
        return self._closed()

    def leave(self, worker: int) -> list[Answer]:
        """Close the step where it waited for this worker alone."""
        self._active.discard(worker)
        return self._closed()

    def give(self, worker: int, variables: Sequence[Array | Rows]) -> None:
        """Nothing is kept of it."""

    def _closed(self) -> list[Answer]:
        with_samples = sum(a.outcome == COUNTED for a in self._came.values())
        able = len(self._active) - (len(self._came) - with_samples)
        if not self._came or with_samples < min(able, max(1, able - self._backup)):
            return []
        if self._pool:
            self._apply_mean()
        self.version += 1
        answers = list(self._came.values())
        self._came.clear()
        return answers

    def _keep(self, worker: int, weight: float, gradients: Sequence[Array | Rows]) -> None:
        spare = self._spare.pop() if self._spare else [None] * len(gradients)
        kept = [_copied(g, place) for g, place in zip(gradients, spare, strict=True)]
        self._pool.append((worker, weight, kept))

    def _apply_mean(self) -> None:
        self._pool.sort(key=lambda entry: entry[0])
        _, weights, gradients = zip(*self._pool, strict=True)
        shares = [weight / sum(weights) for weight in weights]
        self._apply(*(weighted_sum(shares, of_variable) for of_variable in zip(*gradients, strict=True)))
        self._spare += gradients
        self._pool.clear()


def _copied(gradient: Array | Rows, place: Array | Rows | None) -> Array | Rows:
    """A copy of ``gradient``; in ``place``, if that is an array."""
    if isinstance(gradient, Rows):
        return Rows(gradient.values.copy(), gradient.at.copy())
    if place is None or isinstance(place, Rows):
        return gradient.copy()
    np.copyto(place, gradient)
    return place
