"""The side of a benchmark that measures: a process that waits for orders and answers with times.

Standard library only, so that it runs in the interpreter of any peer. A side imports nothing heavy before `settle`,
which pins the process and must precede numpy.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any

Handler = Callable[..., dict[str, Any]]


def arguments() -> Any:
    """What the parent told this process; every side takes the same."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--settings", type=json.loads, default={})
    return parser.parse_args()


def pin(rank: int, ranks: int) -> None:
    """Bind this process to one core of its own, where every rank can have one."""
    cores = sorted(os.sched_getaffinity(0))
    if ranks <= len(cores):
        os.sched_setaffinity(0, {cores[rank]})


def serve(address: str, rank: int, about: dict[str, Any], handlers: dict[str, Handler]) -> None:
    """Report for duty with ``about`` and obey orders until the parent hangs up.

    Waiting is a blocking read: a side that is not being measured takes no time from the one that is.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        lines = connection.makefile("rw", encoding="utf-8")
        _write(lines, {"rank": rank, "about": about})
        for line in lines:
            order = json.loads(line)
            name = order.pop("order")
            _write(lines, handlers[name](**order))


def _write(lines: Any, message: dict[str, Any]) -> None:
    lines.write(json.dumps(message) + "\n")
    lines.flush()


def timed(step: Callable[[int], object], steps: int, first: int = 0) -> list[float]:
    """Call ``step(first)``, ``step(first + 1)``, ...; the seconds that each call took."""
    clock = time.perf_counter
    times = []
    before = clock()
    for i in range(first, first + steps):
        step(i)
        after = clock()
        times.append(after - before)
        before = after
    return times


def serve_steps(
    address: str,
    version: str,
    step: Callable[[int], object],
    loss: Callable[[], float],
    finish: Callable[[], object] = lambda: None,
) -> None:
    """Obey the orders of a one-process comparison: ``steps`` (of a program that counts its steps) and ``loss``.

    ``finish`` waits for what ``step`` has only begun.
    """
    done = 0

    def steps(steps: int) -> dict[str, Any]:
        nonlocal done
        before = time.perf_counter()
        for i in range(done, done + steps):
            step(i)
        finish()
        done += steps
        return {"seconds": (time.perf_counter() - before) / steps}

    serve(address, 0, {"version": version}, {"steps": steps, "loss": lambda: {"loss": loss()}})
