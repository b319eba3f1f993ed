"""What the ranks of a node tell each other in the first bytes of their shared memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from paraflow.comm import SharedMemory
from paraflow.runtime.ending import END, STEP_BYTES

Array = np.ndarray[Any, Any]

NUMBERS = 240  # that are gathered at a time

# What a rank tells its node before its first flag of a run, and before its last one.
# A rank may be one settlement ahead of another, so there are two places for what is compared there.
HEADER = np.dtype(
    [
        ("program", np.int64), ("samples", np.float64), ("total", np.float64), ("scalars", np.int64, (2,)),
        ("busy", np.float64, (2,)), ("late", np.float64, (2,)), ("rows", np.int64, (2,)),
        ("numbers", np.float64, (2, NUMBERS)), ("step", f"S{STEP_BYTES}"), ("end", END),
    ]
)  # fmt: skip
HEADER_BYTES = -(-HEADER.itemsize // 4096) * 4096  # of each rank's shared memory, in whole pages


def headers_of(memory: SharedMemory) -> list[Array]:
    """The header of each rank, HEADER [1]."""
    return [part[: HEADER.itemsize].view(HEADER) for part in memory.parts]
