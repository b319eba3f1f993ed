"""mpirun and everything it starts, held as one thing that can be signalled and leaves nothing behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from types import TracebackType
from typing import BinaryIO, Self

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TICK_SECONDS = 0.05
_SWEEP_SECONDS = 10.0
_FOREVER = float("inf")
# How a request to stop is carried out: a signal to mpirun, and the time in seconds until the next one. SIGUSR1 is the
# one signal that both Open MPI and MPICH pass on and that leaves ranks time to act (Open MPI kills them half a second
# after SIGINT or SIGTERM, before a handler has run); they take it as KeyboardInterrupt. The sum stays below the ten
# seconds after which container runtimes kill.
_STOP: tuple[tuple[signal.Signals, float], ...] = (
    (signal.SIGUSR1, 5.0),
    (signal.SIGTERM, 2.0),
    (signal.SIGKILL, _FOREVER),
)
# A rank that failed ends the others by itself; this is for the case that it cannot.
_FAILURE_SECONDS = 5.0


class Processes:
    """A child process in a session of its own, and all of its descendants on this host."""

    def __init__(self, command: list[str], environ: dict[str, str], output: BinaryIO) -> None:
        """Start ``command`` with no input and its output in ``output``; raises OSError when it cannot start."""
        self._prctl = ctypes.CDLL(None).prctl
        # Orphaned descendants become our children, so that whatever survives mpirun is found below us.
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1)
        requests = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._watched = {signal.SIGCHLD, *(n for n in requests if signal.getsignal(n) != signal.SIG_IGN)}
        # Blocked signals are taken one by one in tick(); none breaks in anywhere else.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._watched)
        self._steps = iter(_STOP)
        self._deadline = _FOREVER
        self.stopped_by: signal.Signals | None = None
        self.stopped_at = _FOREVER
        self._child = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which passes it on
            preexec_fn=self._in_child,  # noqa: PLW1509 - the launcher has one thread
        )

    def _in_child(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # a launcher that is killed takes mpirun along

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._child.wait()
        _sweep()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def tick(self) -> int | None:
        """Wait 50 ms or until something happens; return the child's exit status (-n for signal n) once it ended."""
        received = signal.sigtimedwait(self._watched, _TICK_SECONDS)
        if received is not None and received.si_signo != signal.SIGCHLD:
            self._stop(signal.Signals(received.si_signo))
        if time.monotonic() >= self._deadline:
            self._escalate()
        return self._child.poll()

    def _stop(self, request: signal.Signals) -> None:
        if self.stopped_by is None:
            self.stopped_by, self.stopped_at = request, time.time()
        else:  # asked twice
            self._steps = iter(_STOP[-1:])
        self._escalate()

    def expect_end(self) -> None:
        """Say that a rank has failed: mpirun is given some seconds to end, and is then stopped."""
        if self._deadline == _FOREVER and self.stopped_by is None:
            self._steps = iter(_STOP[1:])
            self._deadline = time.monotonic() + _FAILURE_SECONDS

    def _escalate(self) -> None:
        number, patience = next(self._steps)
        self._deadline = time.monotonic() + patience
        self._child.send_signal(number)


def _sweep() -> None:
    """Kill every process below this one, giving up on those that the kernel does not let go."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while _has_children() and time.monotonic() < deadline:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _has_children() -> bool:
    """Reap what has ended; without children there are no descendants either, for a subreaper inherits orphans."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
            parent = int(stat.read().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]
