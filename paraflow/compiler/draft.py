"""Plans in the making: the slots and steps of a lowering before their memory is placed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paraflow.graph.node import Operation, Tensor
from paraflow.graph.shape import num_elements

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class SlotDraft:
    """A slot being made. ``base`` is the slot whose memory a view shares; ``ready`` the steps that fill it."""

    kind: str
    tensor: Tensor
    where: Any = None
    base: int | None = None
    ready: tuple[int, ...] = ()
    users: list[int] = field(default_factory=list)
    dummy: Array | None = None

    @property
    def nbytes(self) -> int:
        """The size of its array; 0 where only the run knows it."""
        return (num_elements(self.tensor.spec.shape) or 0) * self.tensor.dtype.itemsize


@dataclass(slots=True)
class StepDraft:
    """A step being made."""

    operation: Operation
    mode: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    depends: tuple[int, ...]
    record_name: str
    lane: int | None = None


@dataclass
class Draft:
    """All slots and steps, in a valid serial order."""

    slots: list[SlotDraft] = field(default_factory=list)
    steps: list[StepDraft] = field(default_factory=list)

    def root(self, slot: int) -> int:
        """The slot whose memory it is, for a view."""
        while (base := self.slots[slot].base) is not None:
            slot = base
        return slot
