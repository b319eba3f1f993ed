"""Start real ranks for a test: ``run_ranks(3, "tests/comm/cases.py")``."""

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_GRACE = 10.0  # seconds that mpirun has to end its ranks
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def run_ranks(
    n: int, program: str | Path, *args: str, timeout: float = 60, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script (``*.py``) or module with this Python on ``n`` ranks of the MPI of this environment.

    ``env`` is added to the environment. More ranks than cores are allowed, as is running as root. Warnings are errors
    in the ranks. Returns whatever the exit code; raises subprocess.TimeoutExpired, with the output so far, and ends all
    ranks where they take longer than ``timeout`` seconds.
    """
    command = [*mpirun_command(), "-n", str(n), *python_command(program, *args)]
    return run_command(command, rank_environment(env), timeout)


def python_command(program: str | Path, *args: str) -> list[str]:
    """The command of one rank."""
    target = [str(program)] if str(program).endswith(".py") else ["-m", str(program)]
    return [sys.executable, "-W", "error", *target, *args]


def rank_environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """This process's environment and ``env``, with one thread for each rank and root allowed."""
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | dict(os.environ) | AS_ROOT | dict(env or {})


def with_tests() -> dict[str, str]:
    """A PYTHONPATH with tests/ on it, for programs that import cases from there."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))}


def run_command(command: list[str], environ: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run mpirun, or what starts it; returns and raises as run_ranks does."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            out, err = _end(process)
            error.add_note(f"standard output:\n{out}\nstandard error:\n{err}")
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    # On SIGTERM mpirun kills its ranks, which are in sessions of their own; on SIGKILL it would leave them.
    process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()


def mpirun_command() -> list[str]:
    """The mpirun of this environment, told to take more ranks than cores. Root needs ``AS_ROOT`` in the environment."""
    mpirun = _mpirun()
    return [mpirun, *_flags(mpirun)]


def _mpirun() -> str:
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None:
        raise FileNotFoundError("there is no mpirun beside this Python or on PATH: install paraflow[mpich]")
    return found


@functools.cache
def _flags(mpirun: str) -> tuple[str, ...]:
    version = subprocess.run([mpirun, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    return ("--map-by", ":OVERSUBSCRIBE") if "Open MPI" in version else ()
