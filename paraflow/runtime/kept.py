"""What a loop keeps of its turns: of each value a list, whose elements lie below one another where that can be."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

from paraflow.graph.dtypes import items
from paraflow.ops.items import listed

Array = np.ndarray[Any, Any]


class Kept:
    """The values of one tensor in the turns of a loop, from the last to the first where it is ``reverse``.

    Where the number of turns is known they are rows of one array, which serves the next run again once nobody has any
    of it: new memory for each turn would cost more than what is written there.
    """

    def __init__(self, reverse: bool) -> None:
        self._reverse = reverse
        self._memory = bytearray()
        self._lent: weakref.ref[Array] | None = None  # the array over the memory, which every row keeps alive
        self._turns: int | None = None
        self._rows: Array | None = None
        self._values: list[Any] = []

    def start(self, turns: int | None) -> None:
        """Begin a run of so many turns (None: that is not known)."""
        self._turns, self._rows, self._values = turns, None, []

    def add(self, values: list[Any], slot: int) -> None:
        """Keep what is in ``slot`` now."""
        array = values[slot]
        number = len(self._values)
        if not number and self._turns and array.dtype != items:
            self._rows = self._take((self._turns, *array.shape), array.dtype)
        if self._rows is None or array.shape != self._rows.shape[1:]:
            self._rows = None  # they have several shapes
            self._values.append(np.array(array))
            return
        assert self._turns is not None
        row = self._rows[self._turns - 1 - number if self._reverse else number, ...]
        row[...] = array
        self._values.append(row)

    def list(self) -> Array:
        """The list of what has been kept in this run."""
        found = listed(self._values[::-1] if self._reverse else self._values, self._rows)
        self.start(None)
        return found

    def _take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        size = math.prod(shape)
        if size == 0:
            return np.empty(shape, dtype)
        if len(self._memory) != size * dtype.itemsize or (self._lent is not None and self._lent() is not None):
            self._memory = bytearray(size * dtype.itemsize)
        # The base of all views of an array whose memory is no array's is that array.
        array = np.frombuffer(self._memory, dtype)
        self._lent = weakref.ref(array)
        return array.reshape(shape)
