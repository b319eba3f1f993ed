"""What ran where and when, as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing show.

The file has the JSON object form of Google's "Trace Event Format": a process for each rank, a thread for each lane of
it, a complete event ("X") for each step, and for each bucket of gradients an asynchronous one ("b", "e") from its start
to the moment at which all ranks have it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from paraflow.comm import Communicator
from paraflow.compiler.plan import PLANES, Step
from paraflow.graph.shape import format_dims, num_elements
from paraflow.runtime.context import RunContext
from paraflow.runtime.executable import Call, Executable
from paraflow.runtime.step_times import StepTimes

_TRIPS = 20  # of a message, to compare two clocks
_WAITED = 1e-6  # seconds below which a wait is not worth an event

Event = dict[str, Any]


class Trace:
    """The events of one rank; `save` puts those of all ranks into one file."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._events: list[Event] = []
        self._lanes: set[int] = {0}
        self._calls: dict[int, tuple[Executable, list[Call], StepTimes]] = {}
        self._in_flight: dict[int, float] = {}  # bucket -> when it was started
        self._flights = 0

    @contextmanager
    def span(self, name: str, **args: object) -> Iterator[None]:
        """An event for what this thread does inside."""
        begin = perf_counter()
        try:
            yield
        finally:
            self._add(name, "run", begin, perf_counter(), args)

    def run(self, executable: Executable, execute: Callable[[Executable], None]) -> None:
        """Run an executable, with an event for each of its steps."""
        if id(executable) not in self._calls:
            times = StepTimes(executable.plan, executable.plan.text())
            calls = [
                self._recorded(executable, executable.steps[i], executable.calls[i], number, times)
                for number, i in executable.numbers.items()
            ]
            self._calls[id(executable)] = executable, calls, times
        _, calls, times = self._calls[id(executable)]
        times.runs += 1
        with executable.replaced(calls):
            execute(executable)

    @property
    def times(self) -> list[StepTimes]:
        """What the steps took that ran on this rank, by plan."""
        return [times for _, _, times in self._calls.values()]

    def _recorded(self, executable: Executable, step: Step, call: Call, number: int, times: StepTimes) -> Call:
        args = _described(executable, step)
        context = self._context
        together = context.comm.size > 1 and (step.mode == PLANES or step.record.collective)
        category = "exchange" if together else "step"
        meets = together or not {"comm", "strategy"}.isdisjoint(step.record.runtime)
        bucket = step.attrs.get("bucket", -1)

        def recorded() -> None:
            waited = context.communication_seconds if meets else 0.0
            begin = perf_counter()
            call()
            end = perf_counter()
            times.seconds[number] = times.seconds.get(number, 0.0) + end - begin
            if meets:
                # A step of this kind waits before it does anything else.
                waited = min(context.communication_seconds - waited, end - begin)
                if waited > _WAITED:
                    self._add("wait" if together else "communication", "wait", begin, begin + waited, {})
                if bucket >= 0:
                    self._fly(step, bucket, end, begin + waited)
            self._add(step.name, category, begin, end, args)

        return recorded

    def _fly(self, step: Step, bucket: int, now: float, arrived: float) -> None:
        """Follow a bucket from ``start_exchange`` to the first step that has waited for it."""
        if step.record.name == "start_exchange":
            self._in_flight[bucket] = now
        elif bucket in self._in_flight:
            self._flights += 1
            begin = self._in_flight.pop(bucket)
            common = {"name": f"bucket {bucket}", "cat": "bucket", "id": self._flights, "tid": 0}
            self._events.append({**common, "ph": "b", "ts": begin})
            self._events.append({**common, "ph": "e", "ts": max(arrived, begin)})

    def _add(self, name: str, category: str, begin: float, end: float, args: dict[str, object]) -> None:
        lane = _lane()
        self._lanes.add(lane)
        self._events.append(
            {"name": name, "cat": category, "ph": "X", "ts": begin, "dur": end - begin, "tid": lane, "args": args}
        )

    def save(self, path: str | os.PathLike[str], comm: Communicator) -> None:
        """Write the events of all ranks to ``path``, by rank 0; collective.

        Times are those of rank 0's clock, in microseconds from the first event of all.
        """
        comm = comm.split(0)  # nobody else's messages are here
        ahead = float(comm.broadcast_object(_clock_differences(comm).tolist())[comm.rank])
        first = min((event["ts"] for event in self._events), default=np.inf)
        events = self._finished(comm.rank, min(comm.allgather(first - ahead)) + ahead)
        if comm.rank:
            text = np.frombuffer(json.dumps(events).encode(), np.uint8)
            comm.send(np.array([text.size]), 0)
            comm.send(text, 0)
            comm.leave(b"")
            return
        for other in range(1, comm.size):
            size = np.empty(1, np.int64)
            comm.recv(size, other)
            text = np.empty(int(size[0]), np.uint8)
            comm.recv(text, other)
            events += json.loads(text.tobytes())
        comm.leave(b"")
        target = Path(path)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        unfinished.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n", encoding="utf-8")
        unfinished.replace(target)

    def _finished(self, rank: int, origin: float) -> list[Event]:
        """The events with times in microseconds since ``origin``, after the names of process and threads."""
        common = {"ph": "M", "pid": rank, "ts": 0}
        process = f"rank {rank} on {os.uname().nodename}"
        found: list[Event] = [{**common, "name": "process_name", "tid": 0, "args": {"name": process}}]
        found += [
            {**common, "name": "thread_name", "tid": lane, "args": {"name": f"lane {lane}"}}
            for lane in sorted(self._lanes)
        ]
        for event in sorted(self._events, key=lambda e: e["ts"]):
            changed = {"pid": rank, "ts": round((event["ts"] - origin) * 1e6, 3)}
            if "dur" in event:
                changed["dur"] = round(event["dur"] * 1e6, 3)
            if "id" in event:
                changed["id"] = f"{rank}.{event['id']}"  # they are the same for all processes
            found.append({**event, **changed})
        return found


def _lane() -> int:
    """The lane of the running thread; that of the one that calls the session is 0."""
    name, _, number = threading.current_thread().name.partition("-")
    return int(number) if name == "paraflow" and number.isdigit() else 0


def _described(executable: Executable, step: Step) -> dict[str, object]:
    """What is known of a step before it runs."""
    slots = executable.plan.slots
    touched = [slots[i] for i in (*step.inputs, *step.outputs)]
    counts = [num_elements(slot.shape) for slot in touched]
    args: dict[str, object] = {"op": step.record.name}
    if step.outputs:
        args["shape"] = ", ".join(f"{slots[i].dtype.name}{format_dims(slots[i].shape)}" for i in step.outputs)
    if None not in counts:
        args["bytes"] = sum((n or 0) * slot.dtype.itemsize for n, slot in zip(counts, touched, strict=True))
    if step.source is not None:
        args["source"] = f"{step.source[0]}:{step.source[1]}"
    return args


def _clock_differences(comm: Communicator) -> np.ndarray[Any, Any]:
    """By how many seconds the clock of each rank is ahead of that of rank 0, float64 [ranks], on rank 0; collective.

    From the fastest of some round trips, whose answer is taken to be given half-way (Cristian, "Probabilistic clock
    synchronization", 1989).
    """
    ahead = np.zeros(comm.size)
    clock = np.zeros(1)
    for other in range(1, comm.size):
        best = np.inf
        for _ in range(_TRIPS if comm.rank in (0, other) else 0):
            if comm.rank:
                comm.recv(clock, 0)
                clock[0] = perf_counter()
                comm.send(clock, 0)
                continue
            sent = perf_counter()
            comm.send(clock, other)
            comm.recv(clock, other)
            back = perf_counter()
            if back - sent < best:
                best, ahead[other] = back - sent, clock[0] - (sent + back) / 2
    return ahead
