"""The variables' memory.

All trainable variables of one dtype lie in one contiguous, 64-byte aligned array, the plane; each variable is a view of
its stretch. Arrays never move once made, so plans may hold on to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from paraflow.compiler.memory import ALIGNMENT, aligned
from paraflow.graph.dtypes import DType
from paraflow.graph.graph import VariableSpec

Array = np.ndarray[Any, Any]


def aligned_empty(nbytes: int) -> Array:
    """An uninitialised byte array that starts on a cache line."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


class VariableStore(Mapping[str, Array]):
    """name -> array of every variable of a session."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self.specs: dict[str, VariableSpec] = {}
        self.initialized: set[str] = set()
        self.planes: list[Array] = []

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def allocate(self, variables: Mapping[str, VariableSpec]) -> None:
        """Give memory to the variables that have none yet: one plane for each dtype of the trainable ones."""
        new = [v for name, v in variables.items() if name not in self._arrays]
        for dtype in dict.fromkeys(v.dtype for v in new if v.trainable):
            self._add_plane(dtype, [v for v in new if v.trainable and v.dtype == dtype])
        for v in new:
            if not v.trainable:
                self._add_plane(v.dtype, [v])

    def _add_plane(self, dtype: DType, variables: list[VariableSpec]) -> None:
        sizes = [aligned(int(np.prod(v.shape, dtype=np.int64)) * dtype.itemsize) for v in variables]
        plane = aligned_empty(sum(sizes))
        plane.fill(0)
        if variables[0].trainable:
            self.planes.append(plane.view(dtype))
        offset = 0
        for v, size in zip(variables, sizes, strict=True):
            count = int(np.prod(v.shape, dtype=np.int64))
            self._arrays[v.name] = plane[offset : offset + count * dtype.itemsize].view(dtype).reshape(v.shape)
            self.specs[v.name] = v
            offset += size
