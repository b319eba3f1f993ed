"""What runs a loaded plan: one executor that is the meaning, one that is the speed."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

import numpy as np

from paraflow.runtime.executable import Executable

# Steps below this many elementary operations are not worth handing to another thread (about 10 microseconds).
INLINE_COST = 1 << 14


class Executor(Protocol):
    """Runs every step of a loaded plan once."""

    def execute(self, loaded: Executable) -> None:
        """Run the steps; raises the first error, explained."""


class SerialExecutor:
    """The steps one after the other, in program order: the meaning of a plan."""

    def execute(self, loaded: Executable) -> None:
        """Run the steps in order."""
        call = None
        try:
            for call in loaded.calls:
                call()
            return
        except Exception as error:
            failure = error
        number = next(i for i, c in enumerate(loaded.calls) if c is call)
        raise loaded.explain(number, failure)


class ReadyQueueExecutor:
    """Each step as soon as its dependencies are over, on several threads (numpy releases the interpreter lock).

    As in TensorFlow's executor, a step counts its pending dependencies; the thread that brings the count to zero runs
    a cheap step itself and leaves a dear one to whoever is free. The plan must be compiled with ``parallel``.
    """

    def __init__(self, threads: int) -> None:
        self._run: _Run | None = None
        self._condition = threading.Condition()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"paraflow-{i}", daemon=True) for i in range(1, threads)
        ]
        for worker in self._workers:
            worker.start()

    def execute(self, loaded: Executable) -> None:
        """Run the steps, this thread taking part."""
        run = _Run(loaded, self._condition)
        with self._condition:
            self._run = run
            self._condition.notify_all()
        try:
            run.help()
        finally:
            # Also when this thread is interrupted: nobody may go on writing into the plan's buffers.
            with self._condition:
                run.over = True
                self._condition.wait_for(lambda: not run.active)
                self._run = None
        if run.failure is not None:
            number, error = run.failure
            raise loaded.explain(number, error) if isinstance(error, Exception) else error

    def close(self) -> None:
        """End the threads."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closed or (self._run is not None and self._run.has_work()))
                if self._closed:
                    return
                run = self._run
                assert run is not None
                run.active += 1
            with np.errstate(all="ignore"):
                run.help()
            with self._condition:
                run.active -= 1
                self._condition.notify_all()


class _Run:
    """One run of one plan: pending counts and the queue of ready steps, both under the executor's lock.

    ``over``: every step has run, or one has failed, so nothing more is started.
    """

    def __init__(self, loaded: Executable, condition: threading.Condition) -> None:
        self.loaded = loaded
        self.condition = condition
        self.active = 0
        self.failure: tuple[int, BaseException] | None = None
        self.users, pending = loaded.dependents
        self.pending = list(pending)
        self.left = len(loaded.steps)
        self.over = not self.left
        self.ready = deque(i for i, n in enumerate(self.pending) if n == 0)

    def has_work(self) -> bool:
        """Whether a step waits for somebody to run it."""
        return bool(self.ready) and not self.over

    def help(self) -> None:
        """Run ready steps until none is left to start; wait while others may still make some ready."""
        while True:
            with self.condition:
                self.condition.wait_for(lambda: self.ready or self.over)
                if self.over:
                    return
                number = self.ready.popleft()
            self._run_from(number)

    def _run_from(self, number: int) -> None:
        todo = [number]
        while todo:
            number = todo.pop()
            try:
                self.loaded.calls[number]()
            except BaseException as error:
                with self.condition:
                    self.failure = self.failure or (number, error)
                    self.over = True
                    self.condition.notify_all()
                return
            with self.condition:
                if self.over:
                    return
                self.left -= 1
                dear: list[int] = []
                for user in self.users[number]:
                    self.pending[user] -= 1
                    if not self.pending[user]:
                        cheap = self.loaded.steps[user].cost < INLINE_COST
                        (todo if cheap else dear).append(user)
                if dear and not todo:
                    todo.append(dear.pop())
                self.over = not self.left
                if dear or self.over:
                    self.ready.extend(dear)
                    self.condition.notify_all()
