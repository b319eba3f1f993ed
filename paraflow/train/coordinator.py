"""Coordinator: threads of one program that end together, and whose errors are not lost, as TensorFlow 1 has it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from paraflow.errors import OutOfRangeError

_LOOK_SECONDS = 0.05  # how long a thread may have ended before `join` sees another's request to stop

ExceptionInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Coordinator:
    """Lets threads ask each other to stop, and hands the first error of one of them to whoever waits for all::

        coordinator = pf.train.Coordinator()

        def work():
            with coordinator.stop_on_exception():
                while not coordinator.should_stop():
                    ...

        threads = [threading.Thread(target=work) for _ in range(4)]
        ...
        coordinator.join(threads)

    Exceptions of ``clean_stop_exception_types``, by default OutOfRangeError, stop all without being errors.
    """

    def __init__(self, clean_stop_exception_types: Iterable[type[BaseException]] | None = None) -> None:
        self._clean = (OutOfRangeError,) if clean_stop_exception_types is None else tuple(clean_stop_exception_types)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._joined = False
        self._threads: set[threading.Thread] = set()

    def request_stop(self, ex: BaseException | ExceptionInfo | None = None) -> None:
        """Ask all threads to stop; `join` raises ``ex``, an exception or what ``sys.exc_info`` gives, if any.

        Of several the first counts. After `join` it is raised here.
        """
        error = ex[1] if isinstance(ex, tuple) else ex
        with self._lock:
            if isinstance(error, self._clean):
                error = None
            if self._joined and error is not None:
                raise error
            if not self._stop.is_set():
                self._error = error
                self._stop.set()

    def clear_stop(self) -> None:
        """Take the request to stop back, and forget its error."""
        with self._lock:
            self._joined, self._error = False, None
            self._stop.clear()

    def should_stop(self) -> bool:
        """Whether somebody has asked to stop."""
        return self._stop.is_set()

    @contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """Context manager: an exception inside asks all threads to stop, and goes to `join` instead of outside."""
        try:
            yield
        except BaseException:
            self.request_stop(ex=sys.exc_info())

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Wait until somebody asks to stop, or for ``timeout`` seconds; whether somebody did."""
        return self._stop.wait(timeout)

    def register_thread(self, thread: threading.Thread) -> None:
        """Have `join` wait for this thread too."""
        with self._lock:
            self._threads.add(thread)

    def join(
        self,
        threads: Sequence[threading.Thread] | None = None,
        stop_grace_period_secs: float = 120,
        ignore_live_threads: bool = False,
    ) -> None:
        """Wait for the threads, those registered too, to end.

        Once somebody has asked to stop they have ``stop_grace_period_secs`` seconds. Raises the error that a request to
        stop came with, and RuntimeError where threads are still running then, unless ``ignore_live_threads``.
        """
        with self._lock:
            waited = list(self._threads | set(threads or ()))
        for thread in waited:
            while thread.is_alive() and not self._stop.is_set():
                thread.join(_LOOK_SECONDS)
        end = time.monotonic() + stop_grace_period_secs
        for thread in waited:
            thread.join(max(end - time.monotonic(), 0))
        alive = [thread.name for thread in waited if thread.is_alive()]
        with self._lock:
            self._joined = True
            self._threads = set()
        self.raise_requested_exception()
        if alive and not ignore_live_threads:
            raise RuntimeError(f"coordinator stopped with threads still running: {' '.join(alive)}")

    @property
    def joined(self) -> bool:
        """Whether `join` has ended."""
        return self._joined

    def raise_requested_exception(self) -> None:
        """Raise the error that a request to stop came with, if any."""
        if self._error is not None:
            raise self._error


class LooperThread(threading.Thread):
    """A daemon that calls ``target(*args, **kwargs)`` until ``coord`` is to stop.

    It does so every ``timer_interval_secs`` seconds, or without pause where that is None. An exception stops all. A
    subclass may have `run_loop`, `start_loop` and `stop_loop` of its own. Raises ValueError for what is no coordinator.
    """

    def __init__(
        self,
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any] | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(coord, Coordinator):
            raise ValueError(f"'coord' argument must be a Coordinator: {coord!r}")
        if target is None and (args or kwargs):
            raise ValueError("'args' and 'kwargs' argument require that you also pass 'target'")
        super().__init__(daemon=True)
        self._coordinator = coord
        self._seconds = timer_interval_secs
        self._call = target, tuple(args or ()), dict(kwargs or {})
        coord.register_thread(self)

    @staticmethod
    def loop(
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> LooperThread:
        """A thread that is started already."""
        looper = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        looper.start()
        return looper

    def run(self) -> None:
        """What the thread does."""
        with self._coordinator.stop_on_exception():
            self.start_loop()
            due = time.monotonic()
            while not self._coordinator.wait_for_stop(max(due - time.monotonic(), 0) if self._seconds else 0):
                due += self._seconds or 0
                self.run_loop()
            self.stop_loop()

    def start_loop(self) -> None:
        """Called when the thread starts."""

    def stop_loop(self) -> None:
        """Called when the thread stops."""

    def run_loop(self) -> None:
        """Called every time."""
        target, args, kwargs = self._call
        if target is not None:
            target(*args, **kwargs)
