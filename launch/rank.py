"""What every rank runs through: ``python -m paraflow_launch.rank TARGET args...`` and ``paraflow run``.

A rank settles its cores and threads, gives its output to its own log where a launcher supervises it, runs the
program, and when that fails records why and ends the whole world at once: ranks that wait in a collective for the
one that failed would wait for ever.
"""

import array
import contextlib
import ctypes
import faulthandler
import fcntl
import importlib
import io
import os
import runpy
import select
import signal
import stat
import sys
import termios
import time
import traceback
from collections.abc import Callable
from typing import Any, Literal, NoReturn

from . import guardian, node, results

COMMANDS = ("bench", "doctor")
"""Subcommands that a launch can have as its target."""

_ABORT_SECONDS = 3
_DEATH_SECONDS = 1
_ALIKE_SECONDS = 10, 0.5  # that ranks may come apart to the same error: on the way to MPI_Init, and behind it
_IOLBF = 1


def main(arguments: list[str]) -> int:
    """Run ``arguments`` (a target and what follows it) as this process's rank; return the exit code."""
    target, *rest = arguments
    if target in COMMANDS:
        return run_command(arguments)
    if target.endswith(".toml"):
        return run_command(["run", *arguments])
    return guarded(lambda: _run_script(target, rest))


def run_command(arguments: list[str]) -> int:
    """Run a subcommand of paraflow as this process's rank; return the exit code."""
    return guarded(lambda: _dispatch(arguments))


def _dispatch(arguments: list[str]) -> int:
    part = {"simulate": "simulate", "graph": "show"}.get(arguments[0], "experiment")
    try:
        code: int = importlib.import_module(f"paraflow.{part}.cli").main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        return 128 + signal.SIGPIPE
    return code


def _is_unread() -> bool:
    """Tell whether whoever read stdout has gone, as ``head`` does; nothing is written there any more then."""
    reader = select.poll()
    reader.register(1, 0)
    gone = any(event & select.POLLERR for _, event in reader.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return gone


def _run_script(path: str, arguments: list[str]) -> int:
    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    runpy.run_path(path, run_name="__main__")
    return 0


def guarded(program: Callable[[], int]) -> int:
    """Run ``program`` and return its exit code; where there are other ranks, end them all when it is not 0.

    An uncaught exception gives its ``exit_code`` attribute, else 1; KeyboardInterrupt gives 130, SystemExit its own.
    """
    node.settle(os.environ)
    faulthandler.enable()
    rank = _Rank()
    if rank.directory is not None:
        try:
            rank.attach(rank.directory)
        except OSError as failure:
            print(
                f"paraflow: rank {rank.number} on host {os.uname().nodename} cannot write to the launch directory "
                f"({failure}): name one on a file system that all hosts share, with --logs DIR",
                file=sys.stderr,
                flush=True,
            )
            _end_world(6, failure)
    error: BaseException | None = None
    try:
        code = program()
    except BaseException as exception:
        code, error = _exit_code(exception), exception
    if code == 0:
        rank.record("ok", 0)
        return 0
    if not rank.alone:  # nothing may interrupt the way to the abort
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # A full disk is a frequent cause of failures: a report that cannot be written must not stop the abort.
    with contextlib.suppress(Exception):
        rank.record("error", code, error)
    with contextlib.suppress(Exception):
        rank.report(code, error)
    if not rank.alone:
        with contextlib.suppress(Exception):
            rank.await_alike()
        _end_world(code, error)
    return code


def _exit_code(exception: BaseException) -> int:
    """Return the exit code of a program that ended by this exception, as Python gives it for SystemExit."""
    if isinstance(exception, KeyboardInterrupt):
        return 128 + signal.SIGINT
    code = exception.code if isinstance(exception, SystemExit) else getattr(exception, "exit_code", 1)
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def _is_secondary(error: BaseException | None) -> bool:
    return any(ancestor.__name__ == "WorldAborted" for ancestor in type(error).__mro__)


def _is_by_mpi(error: BaseException | None) -> bool:
    """Tell whether the error is one of MPI's, or was raised on account of one."""
    while error is not None and type(error).__module__ != "mpi4py.MPI":
        error = error.__cause__ or error.__context__
    return error is not None


def _is_plain(error: BaseException, code: int) -> bool:
    """Tell whether the error's message says all there is to say, so that a traceback would only bury it."""
    return code in results.PLAIN_ERRORS or bool(getattr(error, "plain", False))


def _formatted(error: BaseException) -> str:
    """Return the traceback from the program's first frame on."""
    ours = (_run_script, runpy.run_path, importlib.import_module)
    ways = {"<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"}
    ways |= {function.__code__.co_filename for function in ours}
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in ways:
        frames = frames.tb_next
    return "".join(traceback.format_exception(error.with_traceback(frames)))


class _Rank:
    """This process's place in the world, and its log and record where a launcher supervises it."""

    def __init__(self) -> None:
        rank = node.first_of(node.RANK, os.environ)
        self.alone = rank is None
        self.number = rank or 0
        self.directory = os.environ.get("PARAFLOW_LAUNCH_DIR")

    def attach(self, directory: str) -> None:
        """Send stdout and stderr to the rank's log and split off the rank's guardian.

        File descriptors 1 and 2 become the log file itself, with nothing in between: whatever reached write(2)
        is kept, C code's output too, whichever way the process ends, and a slow terminal never holds up a rank.
        Raises OSError where the launcher's directory is not seen.
        """
        log = os.open(results.log_path(directory, self.number), os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        guardian.fork(directory, self.number)
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(line_buffering=True)
        libc = ctypes.CDLL(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _IOLBF, io.DEFAULT_BUFFER_SIZE)
        signal.signal(signal.SIGUSR1, signal.default_int_handler)  # the launcher's request to stop
        self.record("running", None)

    def record(
        self, status: Literal["running", "ok", "error"], code: int | None, error: BaseException | None = None
    ) -> None:
        """Write the rank's result file, where a launcher asked for it."""
        if self.directory is None:
            return
        sys.stdout.flush()
        result = results.Result(
            rank=self.number,
            status=status,
            exit_code=code,
            time=time.time(),
            host=os.uname().nodename,
            pid=os.getpid(),
            error="" if error is None else "an error of MPI" if _is_by_mpi(error) else type(error).__name__,
            message="" if error is None else str(error),
            traceback="" if error is None or _is_plain(error, code or 0) else _formatted(error),
            secondary=_is_secondary(error),
            log_size=os.path.getsize(results.log_path(self.directory, self.number)),
        )
        results.write(self.directory, result)

    def await_alike(self) -> None:
        """Where all ranks may have this error, leave them a moment to record it: the verdict then names no rank.

        Rank 0 waits for all of them, and they wait for rank 0, which then ends them.
        """
        if self.directory is None:
            return
        own = results.read(self.directory, self.number)
        if own is None or not own.common:
            return
        ranks = int(os.environ["PARAFLOW_RANKS"])
        seconds = _ALIKE_SECONDS[_mpi() is not None]
        deadline = time.monotonic() + seconds
        for other in range(1, ranks) if self.number == 0 else [0]:
            while (record := results.read(self.directory, other)) is None or record.status == "running":
                if time.monotonic() > deadline:
                    return
                time.sleep(0.01)
        if self.number:
            time.sleep(seconds)

    def report(self, code: int, error: BaseException | None) -> None:
        """Print on stderr what ended the program, with its traceback where that helps."""
        if error is None:
            return
        if isinstance(error, SystemExit):
            text = "" if isinstance(error.code, int) else f"{error}\n"
        elif isinstance(error, KeyboardInterrupt) or _is_plain(error, code) or _is_secondary(error):
            place = "" if self.alone else f"rank {self.number}: "
            text = f"paraflow: {place}{str(error) or 'interrupted'}\n"
        else:
            text = _formatted(error)
        sys.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()


def _end_world(code: int, error: BaseException | None) -> NoReturn:
    """End this process and, through MPI or mpirun, all the other ranks, with this exit code."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    if _is_secondary(error):  # the rank that failed first is about to end us, with its own exit code
        time.sleep(_ABORT_SECONDS)
    elif _is_by_mpi(error):
        # MPI fails on a peer's death at once: its guardian must have put that on record before we end it.
        time.sleep(_DEATH_SECONDS)
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # the program may have closed it
            _await_reader(descriptor)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_ABORT_SECONDS)  # MPI_Abort can wait for a lock that another thread holds for ever
    silence = os.open(os.devnull, os.O_WRONLY)  # MPI's own words must not follow the traceback
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if (mpi := _mpi()) is not None:
        mpi.COMM_WORLD.Abort(code)
    guardian.exit_world(code)


def _mpi() -> Any:
    """Return the module of MPI where that is initialised, else None."""
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized() else None


def _await_reader(descriptor: int) -> None:
    """Wait, for a second at most, until a pipe is empty: what mpirun has not read when it ends us is lost."""
    unread = array.array("i", [0])
    deadline = time.monotonic() + 1
    while stat.S_ISFIFO(os.fstat(descriptor).st_mode) and time.monotonic() < deadline:
        fcntl.ioctl(descriptor, termios.FIONREAD, unread)
        if not unread[0]:
            return
        time.sleep(0.001)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
