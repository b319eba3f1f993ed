"""The exception that ends a rank of an MPI world, and with it the world: what is printed, and in which order."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import termios
import time
from array import array
from contextlib import suppress
from types import TracebackType

from mpi4py import MPI

from paraflow.comm.communicator import Communicator
from paraflow.errors import ParaflowError

_SECONDS = 1.0


def abort_on_exception(communicator: Communicator) -> None:
    """Let the exception that ends this process end the world: the other ranks would wait for it forever.

    Its traceback, with the rank, comes last, but for what Open MPI's mpirun adds. What MPI raises where another rank
    has died is not told before mpirun has had time to tell that.
    """
    report = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if _comes_of_mpi(error):
            time.sleep(_SECONDS)
        error.add_note(f"raised on rank {communicator.rank} of {communicator.size}")
        report(kind, error, trace)
        hand_over_output()
        if "Open MPI" not in communicator.mpi_library:  # of others the rank itself prints that it aborts
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
        communicator.abort(error.exit_code if isinstance(error, ParaflowError) else 1)

    sys.excepthook = hook


def _comes_of_mpi(error: BaseException | None) -> bool:
    """Whether MPI has raised ``error``, or one that it was raised from: a step's error names its operation."""
    while error is not None and not isinstance(error, MPI.Exception):
        error = error.__cause__ or error.__context__
    return error is not None


def hand_over_output() -> None:
    """Have mpirun take what this rank has printed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a closed stream must not keep the world alive
            stream.flush()
            _drain(stream.fileno())


def _drain(pipe: int) -> None:
    """Wait, for at most ``_SECONDS``, until the reader of ``pipe`` has read it: MPICH's mpirun drops the rest."""
    deadline = time.monotonic() + _SECONDS
    unread = array("i", [1])
    while stat.S_ISFIFO(os.fstat(pipe).st_mode) and unread[0] and time.monotonic() < deadline:
        fcntl.ioctl(pipe, termios.FIONREAD, unread)
        time.sleep(0.001)
