"""The process beside each rank that outlives it, and so can tell how it died.

mpirun answers the death of a rank by killing the others, and its report names one of those often enough (MPICH's in
one run of five). A guardian waits for its own rank alone and records the death before mpirun learns of it.
"""

import contextlib
import ctypes
import os
import signal
import time
from typing import NoReturn

from . import results

_PR_SET_PDEATHSIG = 1


def fork(directory: str, rank: int) -> None:
    """Fork: the child returns and is the rank, this process stays behind as its guardian and ends with it.

    To be called before MPI and threads exist. Neither process outlives its parent, and mpirun's request to stop
    (SIGUSR1) is handed on.
    """
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # what mpirun sends to the guardian's group arrives once, through the guardian
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    signal.signal(signal.SIGUSR1, lambda number, frame: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(OSError):
        _record_end(directory, rank, child, code)
    exit_world(code if code >= 0 else 128 - code)


def exit_world(code: int) -> NoReturn:
    """Exit, and have mpirun end the other ranks where ``code`` is not 0.

    Open MPI's mpirun does that by itself. Hydra (MPICH, Intel MPI) does not for a rank that has yet to initialise
    MPI: it is told in its own words, the abort command of the PMI-1 wire protocol (MPICH, src/pmi/src/pmi_wire.c).
    """
    if code != 0 and "PMI_FD" in os.environ:
        with contextlib.suppress(OSError):
            os.write(int(os.environ["PMI_FD"]), b"cmd=abort exitcode=%d\n" % code)
    os._exit(code)


def _record_end(directory: str, rank: int, pid: int, code: int) -> None:
    """Record how the rank ended, unless it has done so itself."""
    record = results.read(directory, rank)
    if record is not None and record.status == ("error" if code else "ok"):
        return
    how = _signal_name(-code) if code < 0 else f"exit code {code}" if code else ""
    ended = results.Result(
        rank=rank,
        status="died" if code else "ok",
        exit_code=code if code >= 0 else 128 - code,
        time=time.time(),
        host=os.uname().nodename,
        pid=pid,
        error=how,
        log_size=os.path.getsize(results.log_path(directory, rank)),
    )
    results.write(directory, ended)
    if code:
        os.write(2, f"paraflow: rank {rank} died: {how}\n".encode())


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name}, signal {number}"
    except ValueError:
        return f"signal {number}"
