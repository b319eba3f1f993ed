"""Digits whose batches take their time, and on one rank more of it: what a slow node looks like to the others."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from paraflow.comm import world
from paraflow.data import Dataset, load


class SlowDigits(Dataset):
    """Every batch takes ``seconds``; on rank ``slow``, batches ``first`` to ``last`` take ``factor`` times as long.

    The time is slept, so that more workers than cores do not slow each other down.
    """

    def pace(self, seconds: float, slow: int, factor: float, first: int, last: int) -> None:
        self._batches = 0
        self._seconds = seconds
        self._slow_batches = range(first, last) if world().rank == slow else range(0)
        self._slow_seconds = factor * seconds

    def take(self, indices: np.ndarray[Any, Any]) -> Any:
        time.sleep(self._slow_seconds if self._batches in self._slow_batches else self._seconds)
        self._batches += 1
        return super().take(indices)


def digits(seconds: float, slow: int, factor: float, first: int, last: int) -> tuple[Dataset, Dataset]:
    training, test = load("digits")
    slowed = SlowDigits("digits", training.features, training.labels, training.classes)
    slowed.pace(seconds, slow, factor, first, last)
    return slowed, test
