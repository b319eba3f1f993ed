"""Waiting for another process without taking its core.

A wait first gives up the core after each look, which answers within a microsecond where cores are free. A rank that
waits for long sleeps a sixteenth of the time it has waited, at most ``_LONGEST_SLEEP``: Linux's scheduler grants a
yielding process nearly its full share, so yielding alone would slow the very rank that is waited for. The more so
where ranks share a core under MPICH, whose mpirun gives each a session of its own: Linux groups processes by session
(sched_autogroup_enabled), and yields only within a group. Blocking at once, in a futex, was
tried: where two processes on one core meet every 20 µs, a meeting takes 0.06 ms of it instead of 0.5, but training
steps of 3 and 4 ranks on 2 cores took 1.4 times as long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOKS = 1024
_AWAKE = 500e-6  # seconds
_LONGEST_SLEEP = 250e-6


def yield_until(ready: Callable[[], T], meanwhile: Callable[[], object] | None = None) -> T:
    """Call ``ready`` until it returns something true, for short waits; and ``meanwhile`` after every 1024 times."""
    looks = 0
    while not (found := ready()):
        looks += 1
        if meanwhile is not None and looks % _LOOKS == 0:
            meanwhile()
        os.sched_yield()
    return found


def wait_until(ready: Callable[[], T], meanwhile: Callable[[], object] | None = None) -> T:
    """Call ``ready`` until it returns something true, for waits of any length; ``meanwhile`` between those that last.

    What ``meanwhile`` raises ends the wait.
    """
    if found := ready():
        return found
    start = time.perf_counter()
    while not (found := ready()):
        waited = time.perf_counter() - start
        if waited < _AWAKE:
            os.sched_yield()
        else:
            if meanwhile is not None:
                meanwhile()
            time.sleep(min(waited / 16, _LONGEST_SLEEP))
    return found
