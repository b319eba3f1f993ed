"""A budget for the memory of a training step: which results are computed again so that the plan's arena falls under it.

Candidates are cuts of the forward pass (`Cut`). From the liveness of results each has an estimate of its memory, and
from the operations that it repeats a cost. What the later passes make of a candidate (they fuse, work in place, and let
steps run at the same time) only the plan itself tells: the cheapest candidate that should do is planned, and the factor
by which its plan needs more than the estimate is held against all that are left, until one does.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from paraflow.compiler.lower import step_cost
from paraflow.compiler.rematerialise import Cut, Forward, elements, is_heavy, nbytes, takes_memory
from paraflow.errors import InvalidArgumentError
from paraflow.graph.node import Operation

TRIES = 12  # plans that are made for one training step
_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_PER_ELEMENT = 32  # elementary operations of a product in the time in which one element is read or written


def parse_bytes(size: int | str) -> int:
    """``"256 MiB"``, ``"1.5 GB"`` or a number of bytes; raises InvalidArgumentError for anything else."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", str(size).strip())
    unit = _UNITS.get(match[2]) if match else None
    number = int(float(match[1]) * unit) if match and unit else 0
    if isinstance(size, bool) or number < 1:
        raise InvalidArgumentError(
            f"memory_budget: must be a size such as '256 MiB' or '1.5 GB', or a number of bytes, not {size!r}"
        )
    return number


def bytes_text(size: int) -> str:
    """``256 MiB``, to four digits."""
    unit = next((u for u in ("GiB", "MiB", "KiB") if size >= _UNITS[u]), "B")
    return f"{size / _UNITS[unit]:.4g} {unit}"


@dataclass(frozen=True)
class _Candidate:
    """A cut, the memory that it should leave in use, and the cost and number of the operations that it repeats."""

    cut: Cut
    estimate: int
    cost: int
    operations: int


def fit(forward: Forward, budget: int, plain: int, planned: Callable[[Cut], int]) -> str:
    """Plan the cheapest cut that is within the budget, in bytes, and say which it is.

    ``planned`` makes the plan of a cut and returns the bytes of its arena; the one that it was last called with is
    chosen. ``plain`` are the bytes with none, which is chosen if it is not called. Raises InvalidArgumentError where
    none is within the budget.
    """
    within = f"within the budget of {bytes_text(budget)}"
    if plain <= budget:
        return f"nothing is computed again: {bytes_text(plain)} for results are {within}"
    candidates = sorted(_candidates(forward), key=lambda c: (c.cost, c.estimate))
    least, factor = plain, plain / max(forward.most, 1)
    for _ in range(TRIES):
        if not candidates:
            break
        good = (c for c in candidates if c.estimate * factor <= budget)
        chosen = next(good, None) or min(candidates, key=lambda c: c.estimate)
        candidates.remove(chosen)
        reached = planned(chosen.cut)
        if reached <= budget:
            return f"{_note(forward, chosen)}: {bytes_text(reached)} for results, not {bytes_text(plain)}, are {within}"
        least, factor = min(least, reached), max(factor, reached / max(chosen.estimate, 1))
    raise InvalidArgumentError(
        f"memory_budget: a training step cannot keep to {bytes_text(budget)}: its results take {bytes_text(plain)}, "
        f"and {bytes_text(least)} ({least} bytes) with as much of them computed again as helps; raise the budget, or "
        "make batches smaller (parallel.accumulate adds up the gradients of several)"
    )


def _note(forward: Forward, chosen: _Candidate) -> str:
    cut, every = chosen.cut, sum(map(_cost, forward.operations))
    light = ", and of the others what is cheap" if cut.light else ""
    return (
        f"computed again: {chosen.operations} of {len(forward.operations)} operations, {chosen.cost / every:.0%} of "
        f"the forward pass (of {cut.count} segments the first {cut.whole}{light})"
    )


def _candidates(forward: Forward) -> Iterator[_Candidate]:
    """Cuts of all sizes, with up to eight numbers of segments that are computed again of each."""
    for count in sorted({1, len(forward.living), *(n for n in _COUNTS if n < len(forward.living))} - {0}):
        for whole in range(0, count, -(-count // 8)):
            for light in (False, True):
                if whole or light:
                    yield _candidate(forward, Cut(count, whole, light))


def _candidate(forward: Forward, cut: Cut) -> _Candidate:
    """The estimate is of the fullest moment: the turn, or one at which a segment has just been computed again."""
    segments = forward.segments(cut)
    again = [o for s in segments for o in s.operations if not s.kept.issuperset(o.outputs)]
    made = {t for o in again for t in o.outputs}
    living = set(forward.living)
    stored = living - made | {t for o in again for t in o.inputs if t not in made and takes_memory(t)}
    places = sorted(stored, key=lambda t: t.op.index)
    indices, below = [t.op.index for t in places], [0, *accumulate(map(nbytes, places))]
    most, both = below[-1], living & made
    for segment in segments:
        before = below[bisect_left(indices, segment.operations[0].index)]
        most = max(most, before + sum(nbytes(t) for o in segment.operations for t in o.outputs if t in both))
    rest = forward.most - sum(map(nbytes, living))  # what backward itself has in use
    return _Candidate(cut, most + rest, sum(map(_cost, again)), len(again))


def _cost(op: Operation) -> int:
    """What it takes to compute an operation again, in elements read or written."""
    return elements(op) + (step_cost(op) // _PER_ELEMENT if is_heavy(op) else 0)
