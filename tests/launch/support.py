"""Launches of the tests' own scripts, for real: under the mpirun of the Python that runs the tests."""

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TIMEOUT = 60.0
PARAFLOW = str(Path(sys.executable).with_name("paraflow"))
SETTINGS = re.compile(r"(PARAFLOW_(?!TEST)\w+|(OMP|OPENBLAS|MKL)_NUM_THREADS)$")

# Ranks say through one named pipe that they are where the test wants them, and wait on another to go on.
_PIPES = """
import os
def ready(word=""):
    with open("ready", "w") as pipe:
        print(os.getpid(), word, file=pipe)
def wait():
    pipe = os.open("proceed", os.O_RDONLY)
    os.read(pipe, 1)
"""


def environment(**more: str) -> dict[str, str]:
    """The environment of the tests without what would settle their outcome."""
    return {name: value for name, value in os.environ.items() if not SETTINGS.match(name)} | more


def run(*command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with these variables added to environment()."""
    return subprocess.run(
        command, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


class Launch:
    """``paraflow launch`` of a script, under way in a directory of its own; the launch directory there is logs/."""

    def __init__(
        self,
        directory: Path,
        ranks: int,
        script: str,
        *arguments: str,
        options: Iterable[str] = (),
        env: dict[str, str] | None = None,
        through: Iterable[str] = (),
        **popen: Any,
    ) -> None:
        """Start, by way of the command ``through``; the script may call ready() and wait()."""
        self.directory = directory
        (directory / "script.py").write_text(_PIPES + textwrap.dedent(script))
        self._ready, self._proceed = (_pipe(directory / name) for name in ("ready", "proceed"))
        launch = [PARAFLOW, "launch", "-n", str(ranks), "--logs", "logs", *options, "script.py", *arguments]
        self.process = subprocess.Popen(
            [*through, *launch],
            cwd=directory,
            env=environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **{"stdout": subprocess.PIPE, **popen},
        )

    def wait_ready(self, ranks: int) -> dict[int, str]:
        """Wait until this many ranks have called ready(); return their words by process id."""
        text, deadline = "", time.monotonic() + TIMEOUT
        ended = os.pidfd_open(self.process.pid)
        while text.count("\n") < ranks:
            said, _, _ = select.select([self._ready, ended], [], [], max(0, deadline - time.monotonic()))
            if self._ready not in said:
                self.process.kill()
                raise AssertionError(f"only these ranks are ready: {text!r}; stderr: {self.end().err}")
            text += os.read(self._ready, 4096).decode()
        os.close(ended)
        return {int(pid): word for pid, _, word in (line.partition(" ") for line in text.splitlines())}

    def proceed(self, ranks: int) -> None:
        """Let this many ranks return from wait()."""
        os.write(self._proceed, b"." * ranks)

    def processes(self) -> set[int]:
        """The processes that the launcher has started, and all below them."""
        parents = {}
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                parents[int(status.parent.name)] = int(re.search(r"^PPid:\s+(\d+)", status.read_text(), re.M)[1])
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    def end(self) -> "Ended":
        """Wait for the launcher's end."""
        out, err = self.process.communicate(timeout=TIMEOUT)
        return Ended(self.directory, self.process.returncode, (out or b"").decode(), err.decode())

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        os.close(self._ready)
        os.close(self._proceed)
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=TIMEOUT)


def _pipe(path: Path) -> int:
    os.mkfifo(path)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


class Ended:
    """A launch that has ended."""

    def __init__(self, directory: Path, code: int, out: str, err: str) -> None:
        self.directory, self.code, self.out, self.err = directory, code, out, err

    @property
    def verdict(self) -> str:
        """What stderr ends with, from the first line of the launcher's own on."""
        return self.err[self.err.index("paraflow: ") :]

    def log(self, rank: int) -> str:
        return (self.directory / "logs" / f"rank-{rank}.log").read_text()

    def record(self, rank: int) -> dict[str, Any]:
        return json.loads((self.directory / "logs" / f"rank-{rank}.json").read_text())


def physical_cores(cpus: set[int]) -> int:
    """How many cores these logical CPUs are, by /proc/cpuinfo."""
    cores = set()
    for block in Path("/proc/cpuinfo").read_text().strip().split("\n\n"):
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if int(facts["processor"]) in cpus:
            cores.add((facts.get("physical id"), facts.get("core id", facts["processor"])))
    return len(cores)


def running(pids: Iterable[int]) -> set[int]:
    """Those of the processes that run now; one that has ended but was not reaped does not."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.add(pid)
    return found


def wait_end(pids: Iterable[int]) -> None:
    """Wait until all of these processes have ended; raises TimeoutError."""
    deadline = time.monotonic() + TIMEOUT
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            ended, _, _ = select.select([handle], [], [], max(0, deadline - time.monotonic()))
            os.close(handle)
            if not ended:
                raise TimeoutError(f"process {pid} still runs")
