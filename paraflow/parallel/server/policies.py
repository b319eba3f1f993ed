"""When a server applies a gradient, and when it answers: at once, within a bound, or when a step is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from paraflow.parallel.server.messages import COUNTED, DROPPED, EMPTY, LATE

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

    def push(self, worker: int, version: int, samples: int, gradients: Sequence[Array]) -> list[Answer]:
        """A push has come: means over ``samples`` samples, of the variables of ``version``.

        The arrays belong to the caller, and change after the call.
        """

    def leave(self, worker: int) -> list[Answer]:
        """``worker`` pushes nothing more: nobody waits for it from now on."""

    def give(self, worker: int) -> None:
        """``worker`` gets the variables as they are now: its answer begins to leave."""


class Immediate:
    """Every push is applied as it comes (Dean et al., NIPS 2012), on the part of the server that it is for.

    ``bound`` is that of stale synchronous parallel (Ho et al., NIPS 2013): a worker that has pushed c times is answered
    as soon as no other has pushed fewer than c - bound times; with None at once.

    Where a push is tau updates stale, ``scale`` applies 1 / (1 + tau) of the change that the update makes to the
    variables (Zhang et al., "Staleness-aware async-SGD", IJCAI 2016, whose rate is divided by tau >= 1), and
    ``compensation`` = c adds c * g * g * (w - w_pulled) to each gradient g, w_pulled being what its worker was last
    given (DC-ASGD, Zheng et al., ICML 2017).

    ``apply(*gradients)`` updates the arrays ``variables``, one for each gradient; where ``trained`` is not true, what
    comes is no gradient (statistics of a batch, which a moving average follows), and is not compensated.
    """

    def __init__(
        self,
        workers: int,
        apply: Apply,
        variables: Sequence[Array],
        bound: int | None = None,
        scale: bool = False,
        compensation: float = 0.0,
        trained: Sequence[bool] | None = None,
    ) -> None:
        self.version = 0
        self._apply = apply
        self._variables = variables
        self._bound = bound
        self._clocks = dict.fromkeys(range(workers), 0)
        self._held: dict[int, Answer] = {}
        # Several gradients may be of one variable, which changes once.
        self._changing = list({id(v): v for v in variables}.values())
        self._before = [np.empty_like(v) for v in self._changing] if scale else []
        self._compensation = [compensation * t for t in trained or [True] * len(variables)]
        # What each worker was last given; before its first pull, the variables that all began with.
        self._pulled = [[v.copy() for v in variables] if compensation else [] for _ in range(workers)]

    def push(self, worker: int, version: int, samples: int, gradients: Sequence[Array]) -> list[Answer]:
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

    def give(self, worker: int) -> None:
        """Keep what it is given, for compensation."""
        _copy(self._pulled[worker], self._variables)

    def _released(self) -> list[Answer]:
        slowest = min(self._clocks.values(), default=0)
        within = [w for w in self._held if self._bound is None or self._clocks[w] - slowest <= self._bound]
        return [self._held.pop(worker) for worker in within]

    def _update(self, worker: int, staleness: int, gradients: Sequence[Array]) -> None:
        pulled = self._pulled[worker]
        if pulled and staleness:
            gradients = [
                g + g.dtype.type(c) * g * g * (now - then) if c else g
                for c, g, now, then in zip(self._compensation, gradients, self._variables, pulled, strict=True)
            ]
        if not (self._before and staleness):
            self._apply(*gradients)
            return
        _copy(self._before, self._changing)
        self._apply(*gradients)
        for now, before in zip(self._changing, self._before, strict=True):
            now[...] = before + (now - before) / now.dtype.type(1 + staleness)


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
        self._pool: list[tuple[int, float, list[Array]]] = []
        self._spare: list[list[Array]] = []

    def push(self, worker: int, version: int, samples: int, gradients: Sequence[Array]) -> list[Answer]:
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

    def give(self, worker: int) -> None:
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

    def _keep(self, worker: int, weight: float, gradients: Sequence[Array]) -> None:
        kept = self._spare.pop() if self._spare else [np.empty_like(g) for g in gradients]
        _copy(kept, gradients)
        self._pool.append((worker, weight, kept))

    def _apply_mean(self) -> None:
        self._pool.sort(key=lambda entry: entry[0])
        total = sum(weight for _, weight, _ in self._pool)
        for _, weight, gradients in self._pool:
            for gradient in gradients:
                gradient *= gradient.dtype.type(weight / total)
        (_, _, mean), *others = self._pool
        for _, _, gradients in others:
            for into, gradient in zip(mean, gradients, strict=True):
                into += gradient
        self._apply(*mean)
        self._spare += [gradients for _, _, gradients in self._pool]
        self._pool.clear()


def _copy(to: Sequence[Array], arrays: Sequence[Array]) -> None:
    """Copy ``arrays`` into ``to``, where there is a place for them."""
    if to:
        for place, array in zip(to, arrays, strict=True):
            np.copyto(place, array)
