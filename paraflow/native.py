"""C compiled when it is first needed, and kept: the system's C compiler, or the one of the ``ziglang`` wheel.

Nothing depends on it. Where there is no compiler, or ``PARAFLOW_NATIVE=0`` is set, numpy does the work, with the same
bits: generated code uses only operations that IEEE 754 rounds exactly, and nothing may contract or reorder them.

Compiled libraries lie in ``$PARAFLOW_CACHE`` or ``~/.cache/paraflow``, named by a digest of source, flags, compiler and
processor, so that a home folder shared by different machines serves each with its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

# No fused multiply-add and no reordering: the bits are those of numpy. sqrt without errno is one instruction.
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")

_SECONDS = 60  # that a compilation may take


@functools.cache
def compiler() -> tuple[str, ...] | None:
    """The command of the C compiler: ``$CC``, cc, gcc, clang or zig; None where there is none, or it is not wanted."""
    if os.environ.get("PARAFLOW_NATIVE") == "0":
        return None
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return (path,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    return None


def load(source: str) -> ctypes.CDLL | None:
    """The library compiled from C ``source``; None where there is no compiler.

    A compiler that fails is reported once by a warning with its last words, and counts as none.
    """
    command = compiler()
    if command is None:
        return None
    try:
        return _library(source, command)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        _warn_once(f"{' '.join(command)} cannot compile for paraflow, so numpy does the work: {said.strip()[-500:]}")
        return None


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


@functools.cache
def _library(source: str, command: tuple[str, ...]) -> ctypes.CDLL:
    key = "\n".join([source, *FLAGS, _version(command), _processor()])
    folder = _folder()
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.so"
    if not path.exists():
        with _one_at_a_time(path):
            if not path.exists():
                _compile(source, command, path)
    return ctypes.CDLL(str(path))


def _compile(source: str, command: tuple[str, ...], path: Path) -> None:
    """Compile beside ``path`` and move it there when it is whole."""
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        subprocess.run(
            [*command, *FLAGS, "-x", "c", "-", "-o", str(unfinished), "-lm"],
            input=source, text=True, check=True, capture_output=True, timeout=_SECONDS,
        )  # fmt: skip
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class _one_at_a_time:  # noqa: N801 - reads as what it does
    """The ranks of a node want the same library at the same moment: one compiles, the others wait."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_suffix(".lock")

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        with suppress(OSError):  # a file system without locks: then all compile
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


@functools.cache
def _folder() -> Path:
    """Where libraries are kept: the user's cache, or a temporary folder where that cannot be written."""
    named = os.environ.get("PARAFLOW_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else base / "paraflow"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="paraflow-"))


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True)
    return done.stdout


@functools.cache
def _processor() -> str:
    """What -march=native depends on."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        found = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
        return "\n".join(sorted(found))
    return platform.processor() + platform.machine()
