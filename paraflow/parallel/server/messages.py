"""What workers and servers send each other: a header, and the bytes of some arrays behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from paraflow.compiler.memory import aligned
from paraflow.parallel.server.rows import Rows, flat

Array = np.ndarray[Any, Any]

# What a message is. A worker pushes and is answered, until it says that it is done.
PUSH, ANSWER, DONE = 1, 2, 3
# What became of a push: applied; nothing, as it came from no sample; applied late, with a smaller weight; not applied.
COUNTED, EMPTY, LATE, DROPPED = 1, 2, 3, 4

# ``cut`` says which exchanges the gradients belong to; ``version`` counts the server's updates; ``staleness``,
# ``outcome``, ``waited`` (seconds that the server withheld its answer) and ``waited_for`` (the worker that let it go)
# are about the push that is answered.
_NUMBERS = "kind", "cut", "version", "samples", "staleness", "outcome", "waited_for"
HEADER = np.dtype([*((name, np.int64) for name in _NUMBERS), ("waited", np.float64)])
HEADER_BYTES = aligned(HEADER.itemsize)
_WHOLE = -1  # in the place of a number of rows


class Form(NamedTuple):
    """What a message has in one place: an array, or with ``indices``, a dtype of integers, perhaps rows of it."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    indices: np.dtype[Any] | None = None

    @property
    def most(self) -> int:
        """The bytes of its place, at most."""
        indices = 0 if self.indices is None else self.indices.itemsize * self.shape[0]
        return aligned(_size(self.dtype, self.shape)) + aligned(indices)


class Message:
    """Arrays of the forms ``layout`` behind a header; ``arrays`` are views of them, or `Rows` of views.

    Behind the header are the numbers of rows of what may be rows, then what cannot, and last these. ``buffer`` has a
    place for everything, of which memory is taken as it is used; ``nbytes`` of it are sent. Of a message that has been
    received, `lay_out` makes ``arrays`` and ``nbytes``.
    """

    def __init__(self, layout: Sequence[Form]) -> None:
        self._varying = [(i, f, f.indices) for i, f in enumerate(layout) if f.indices is not None]
        start = HEADER_BYTES + aligned(len(self._varying) * 8)
        self.buffer = np.zeros(start + sum(form.most for form in layout), np.uint8)
        self.header: Any = self.buffer[: HEADER.itemsize].view(HEADER)[0]  # a view: assignments to its fields stay
        self._counts = self.buffer[HEADER_BYTES:][: len(self._varying) * 8].view(np.int64)
        self.nbytes = start
        self.arrays: list[Array | Rows] = [self._next(f.dtype, f.shape if f.indices is None else (0,)) for f in layout]
        self._constant = self.nbytes
        self.clear()

    def clear(self) -> None:
        """Take all rows out of the message."""
        self._counts[:] = 0
        self.lay_out()

    def lay_out(self) -> None:
        """Find the rows that are in the message, whose numbers it tells."""
        self.nbytes = self._constant
        for count, (i, form, indices) in zip(self._counts.tolist(), self._varying, strict=True):
            if count == _WHOLE:
                self.arrays[i] = self._next(form.dtype, form.shape)
            else:
                values = self._next(form.dtype, (count, *form.shape[1:]))
                self.arrays[i] = Rows(values, self._next(indices, (count,)))

    def write(self, arrays: Sequence[Array | Rows]) -> None:
        """Copy ``arrays`` into the message."""
        for number, (i, _, _) in enumerate(self._varying):
            rows = arrays[i]
            self._counts[number] = len(rows.at) if isinstance(rows, Rows) else _WHOLE
        self.lay_out()
        for place, array in zip(flat(self.arrays), flat(arrays), strict=True):
            np.copyto(place, array)

    @property
    def content(self) -> Array:
        """The part of the buffer that is sent."""
        return self.buffer[: self.nbytes]

    def _next(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """The next place in the buffer."""
        place = self.buffer[self.nbytes :][: _size(dtype, shape)].view(dtype).reshape(shape)
        self.nbytes += aligned(place.nbytes)
        return place


def _size(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


@dataclass
class PushCount:
    """What became of one worker's pushes.

    The staleness of a push is the number of updates that the server made since the worker's last pull. ``late`` ones
    came after their step was closed, ``dropped`` ones of these were not applied. ``waits`` are the seconds for which
    answers were withheld, by the worker that came last: then workers were near enough, or the step was closed. A
    worker's own count also has for how long it was done before the last one was.
    """

    pushes: int = 0
    staleness_sum: int = 0
    staleness_max: int = 0
    histogram: dict[int, int] = field(default_factory=dict)
    late: int = 0
    dropped: int = 0
    waits: dict[int, float] = field(default_factory=dict)

    @property
    def waited(self) -> float:
        """The seconds for which answers were withheld, whoever came last."""
        return sum(self.waits.values())

    def add(self, staleness: int, outcome: int = COUNTED, waited: float = 0.0, waited_for: int = 0) -> None:
        """Count one push by what the server answers to it; one without samples counts with its wait alone."""
        self.wait(waited, waited_for)
        if outcome == EMPTY:
            return
        self.pushes += 1
        self.staleness_sum += staleness
        self.staleness_max = max(self.staleness_max, staleness)
        self.histogram[staleness] = self.histogram.get(staleness, 0) + 1
        self.late += outcome in (LATE, DROPPED)
        self.dropped += outcome == DROPPED

    def wait(self, seconds: float, waited_for: int) -> None:
        """Count seconds of waiting for a worker."""
        if seconds:
            self.waits[waited_for] = self.waits.get(waited_for, 0.0) + seconds

    def account(self) -> dict[str, object]:
        """The count as a run's records have it."""
        return {
            "pushes": self.pushes,
            "staleness_mean": self.staleness_sum / self.pushes if self.pushes else 0.0,
            "staleness_max": self.staleness_max,
            "staleness_histogram": dict(sorted(self.histogram.items())),
            "late_gradients": self.late,
            "dropped_gradients": self.dropped,
        }


def summary(counts: Sequence[PushCount]) -> str:
    """The workers' counts in a line; it names the worker that was late most often, and the one that waited longest."""
    pushes = sum(count.pushes for count in counts)
    mean = sum(count.staleness_sum for count in counts) / max(pushes, 1)
    worst = max(count.staleness_max for count in counts)
    text = f"{pushes} pushes of {len(counts)} workers, staleness {mean:.2f} on average, {worst} at most"
    if late := sum(count.late for count in counts):
        latest = max(range(len(counts)), key=lambda i: counts[i].late)
        text += f"; {late} late, most by worker {latest}: {counts[latest].late} of its {counts[latest].pushes}"
        if dropped := sum(count.dropped for count in counts):
            text += f"; {dropped} dropped, {dropped / pushes:.0%} of all"
    if waited := sum(count.waited for count in counts):
        longest = max(range(len(counts)), key=lambda i: counts[i].waited)
        text += f"; waited {waited:.2f} s, longest worker {longest}: {counts[longest].waited:.2f} s"
    return text
