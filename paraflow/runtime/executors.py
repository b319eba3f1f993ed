"""What runs a loaded plan: one executor that is the meaning, one that is the speed."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

import numpy as np

from paraflow.runtime.executable import INLINE_COST, Executable


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
            for call in loaded.in_turn:
                call()
            return
        except Exception as error:
            failure = error
        number = next(i for i, c in enumerate(loaded.in_turn) if c is call)
        raise loaded.explain(number, failure)


class ReadyQueueExecutor:
    """Each step as soon as its dependencies are over, on several threads (numpy releases the interpreter lock).

    As in TensorFlow's executor, a step counts its pending dependencies, and the thread that brings counts to zero goes
    on with these steps: with all of them where they are cheap, else with the dear one that heads the longest chain,
    while the others are left to whoever is free. Steps that have a lane are left to its thread; lane 0 is the thread
    that calls. The plan must be compiled for as many ``threads``.
    """

    def __init__(self, threads: int) -> None:
        self._run: _Run | None = None
        self._changed = threading.Condition(threading.Lock())
        self._closed = False
        self._threads = threads
        self._workers = [
            threading.Thread(target=self._work, args=(lane,), name=f"paraflow-{lane}", daemon=True)
            for lane in range(1, threads)
        ]
        for worker in self._workers:
            worker.start()

    def execute(self, loaded: Executable) -> None:
        """Run the steps, this thread taking part."""
        run = _Run(loaded, self._threads, self._changed)
        todo: list[int] = []
        with self._changed:
            self._run = run
            run.hand_out([i for i, n in enumerate(run.pending) if not n], todo, 0)
        try:
            run.help(todo, 0)
        finally:
            with self._changed:
                self._run = None
                if run.left:
                    # A step failed or this thread was interrupted: nobody may go on writing into the buffers.
                    run.over = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: not run.helpers)
        if run.failure is not None:
            number, error = run.failure
            raise loaded.explain(number, error) if isinstance(error, Exception) else error

    def close(self) -> None:
        """End the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _work(self, lane: int) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._run is not None and self._run.has_for(lane)))
                if self._closed:
                    return
                run = self._run
                assert run is not None
                run.helpers += 1
            with np.errstate(all="ignore"):
                run.help([], lane)
            with self._changed:
                run.helpers -= 1
                if run.left:
                    self._changed.notify_all()  # the run broke off, and whoever started it waits for us


class _Run:
    """One run of one plan; what changes is under the lock of ``changed``.

    ``pending`` counts the dependencies that each step still waits for, ``left`` the steps that have not run. ``ready``
    are the steps that anybody may take, ``reserved`` those of each lane. When ``over``, every step has run or one has
    failed, and nobody starts another.
    """

    def __init__(self, loaded: Executable, threads: int, changed: threading.Condition) -> None:
        self.loaded = loaded
        self.changed = changed
        self.users, self.waits = loaded.dependents
        self.pending = list(self.waits)
        self.left = len(loaded.calls)
        self.over = not self.left
        self.ready: deque[int] = deque()
        self.reserved: list[deque[int]] = [deque() for _ in range(threads)]
        self.helpers = 0
        self.failure: tuple[int, BaseException] | None = None

    def has_for(self, lane: int) -> bool:
        """Whether there is a step to start for the thread of ``lane``."""
        return bool(self.ready or self.reserved[lane])

    def help(self, todo: list[int], lane: int) -> None:
        """Run the steps ``todo`` and then whatever is ready, until there is nothing left to start."""
        while True:
            self._run_all(todo, lane)
            with self.changed:
                self.changed.wait_for(lambda: self.over or self.has_for(lane))
                if self.over:
                    return
                own = self.reserved[lane]
                todo = [own.popleft() if own else self.ready.popleft()]
                if own and self.ready:
                    self.changed.notify()  # this thread may have been woken for what it leaves

    def hand_out(self, numbers: list[int], todo: list[int], lane: int) -> None:
        """Take on one dear step of ``todo`` and ``numbers``, and leave all others; where none is dear, take on all.

        While a thread is in a dear step it does not hold the interpreter lock, so cheap ones get done beside it.
        """
        steps = self.loaded.steps
        for number in numbers:
            other = steps[number].lane
            if other is None or other == lane:
                todo.append(number)
            else:
                self.reserved[other].append(number)
                self.changed.notify_all()
        dear = [number for number in todo if steps[number].cost >= INLINE_COST]
        if dear:
            own = max(dear, key=self.loaded.ranks.__getitem__)
            todo.remove(own)
            for number in todo:
                (self.ready if steps[number].lane is None else self.reserved[lane]).append(number)
            self.changed.notify(len(todo))
            todo[:] = [own]

    def _run_all(self, todo: list[int], lane: int) -> None:
        calls, users, waits, steps = self.loaded.calls, self.users, self.waits, self.loaded.steps
        while todo:
            number, done = todo.pop(), 1
            try:
                calls[number]()
                while len(users[number]) == 1 and waits[users[number][0]] == 1:
                    # Nobody else waits for this step, and that one waits for nobody else: no need to look up.
                    if steps[users[number][0]].lane not in (None, lane):
                        break
                    number, done = users[number][0], done + 1
                    calls[number]()
            except BaseException as error:
                with self.changed:
                    self.failure = self.failure or (number, error)
                    self.over = True
                    self.changed.notify_all()
                return
            with self.changed:
                if self.over:
                    return
                self.left -= done
                if not self.left:
                    self.over = True
                    if self.helpers:  # else this thread is alone in the run, and the others may sleep on
                        self.changed.notify_all()
                    return
                free = []
                for user in users[number]:
                    self.pending[user] -= 1
                    if not self.pending[user]:
                        free.append(user)
                self.hand_out(free, todo, lane)
