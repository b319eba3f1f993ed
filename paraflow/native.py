"""C and C++ compiled when first needed, and kept: by the system's compiler, or the one of the ``ziglang`` wheel.

Nothing of paraflow's depends on it. Where there is no compiler, or ``PARAFLOW_NATIVE=0`` is set, numpy does the work,
with the same bits: generated code uses only operations that IEEE 754 rounds exactly, and nothing may contract or
reorder them.

Compiled libraries lie in ``$PARAFLOW_CACHE`` or ``~/.cache/paraflow``, named by a digest of source, flags, compiler,
processor and the headers that the source includes, so that a home folder shared by different machines serves each with
its own. What other users could have put there is not run: folder and libraries have to be the user's own, and writable
by nobody else.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import functools
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paraflow.errors import CompileError

# No fused multiply-add and no reordering: the bits are those of numpy. sqrt without errno is one instruction.
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC")

# Of gcc before 13 they add code to a library that flushes subnormal numbers to zero in all of the process.
_NOT_TO_THE_LINKER = ("-ffast-math", "-Ofast", "-funsafe-math-optimizations")

INCLUDE = Path(__file__).parent / "include"

# By language: the variable that names the compiler, the names it has by itself, and what zig calls it.
_COMPILERS = {"c": ("CC", ("cc", "gcc", "clang"), "cc"), "c++": ("CXX", ("c++", "g++", "clang++"), "c++")}


@dataclass(frozen=True)
class Source:
    """What is compiled: C or C++ (``language``), with flags beside `FLAGS`.

    ``folder`` is where the headers that it includes by relative paths lie; without one, it includes the system's only.
    ``seconds`` is what its compilation may take.
    """

    text: str
    language: str = "c"
    flags: tuple[str, ...] = ()
    folder: Path | None = None
    seconds: int = 60


@functools.cache
def compiler(language: str = "c") -> tuple[str, ...] | None:
    """The command of the compiler: ``$CC``, cc, gcc, clang or zig; None where there is none, or it is not wanted.

    Of C++ it is ``$CXX``, c++, g++, clang++ or zig.
    """
    if os.environ.get("PARAFLOW_NATIVE") == "0":
        return None
    variable, names, zig = _COMPILERS[language]
    for name in (os.environ.get(variable, ""), *names):
        if name and (path := shutil.which(name)):
            return (path,)
    wheel = importlib.util.find_spec("ziglang")
    if wheel is not None and wheel.origin is not None:
        return (str(Path(wheel.origin).with_name("zig")), zig)
    return None


@functools.cache
def load(source: str) -> ctypes.CDLL | None:
    """The library compiled from C ``source``; None where there is no compiler.

    A compiler that fails is reported once by a warning with its last words, and counts as none.
    """
    command = compiler()
    if command is None:
        return None
    try:
        return build(Source(source), command)
    except (OSError, CompileError) as error:
        said = str(error).strip()[-500:]
        _warn_once(f"{' '.join(command)} cannot compile for paraflow, so numpy does the work: {said}")
        return None


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def build(source: Source, command: tuple[str, ...]) -> ctypes.CDLL:
    """The library that ``command`` makes of ``source``, or has made before.

    Raises CompileError with what the compiler says, and OSError where the library cannot be loaded.
    """
    key = _digest(source.text, source.language, *FLAGS, *source.flags, _version(command), _processor())
    folder = _folder()
    path = _kept(source, folder, key)
    if path is not None and path.exists() and not _trusted(path):
        folder, path = _temporary_folder(), None
    if path is None or not path.exists():
        with _one_at_a_time(folder / key):
            path = _kept(source, folder, key)
            if path is None or not path.exists():
                path = _compile(source, command, folder, key)
    return ctypes.CDLL(str(path))


def _kept(source: Source, folder: Path, key: str) -> Path | None:
    """Where the library lies that belongs to the headers as they are now; None where no compilation has told them."""
    if source.folder is None:
        return folder / f"{key}.so"
    listed = folder / f"{key}.headers"
    try:
        if not _trusted(listed):
            return None
        headers = [Path(name).read_text(errors="replace") for name in listed.read_text().splitlines()]
    except OSError:
        return None
    return folder / f"{_digest(key, *headers)}.so"


def _compile(source: Source, command: tuple[str, ...], folder: Path, key: str) -> Path:
    """Compile beside the library's place and move it there when it is whole."""
    unfinished = folder / f"{key}.{os.getpid()}.tmp"
    compiled, found = unfinished.with_suffix(".o"), unfinished.with_suffix(".d")
    headers = () if source.folder is None else ("-MMD", "-MF", str(found))
    linked = [flag for flag in source.flags if flag not in _NOT_TO_THE_LINKER]
    try:
        _run(source, [*command, *FLAGS, *headers, *source.flags, "-x", source.language, "-c", "-", "-o", str(compiled)])
        _run(source, [*command, "-shared", str(compiled), "-o", str(unfinished), *linked, "-lm"])
        unfinished.chmod(0o700)
        if source.folder is not None:
            names = [str(source.folder / name) for name in _listed(found.read_text())]
            found.write_text("\n".join(name for name in names if Path(name).is_file()))
            found.chmod(0o600)
            found.replace(folder / f"{key}.headers")
        path = _kept(source, folder, key)
        if path is None:
            raise CompileError("a header disappeared while it was compiled")
        unfinished.replace(path)
        return path
    except subprocess.TimeoutExpired:
        raise CompileError(f"{' '.join(command)} did not come to an end within {source.seconds} s") from None
    finally:
        for path in (unfinished, compiled, found):
            path.unlink(missing_ok=True)


def _run(source: Source, command: list[str]) -> None:
    done = subprocess.run(
        command, input=source.text, text=True, check=False, capture_output=True, timeout=source.seconds,
        cwd=source.folder,
    )  # fmt: skip
    if done.returncode:
        raise CompileError(done.stderr.strip())


def _listed(rule: str) -> list[str]:
    """The files on the right of a rule of make, in which spaces are escaped and lines joined."""
    right = rule.partition(": ")[2].replace("\\\n", " ")
    return [re.sub(r"\\(.)", r"\1", name) for name in re.findall(r"(?:\\.|[^\s\\])+", right)]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:32]


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
    """Where libraries are kept: the user's cache, or a temporary folder where that cannot be written, or by others."""
    named = os.environ.get("PARAFLOW_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path(named) if named else base / "paraflow").absolute()
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and _trusted(folder):
            return folder
    return _temporary_folder()


@functools.cache
def _temporary_folder() -> Path:
    """A folder of this process alone, which goes with it."""
    folder = tempfile.mkdtemp(prefix="paraflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _trusted(path: Path) -> bool:
    """Whether only this user can have written what lies there; warns where it is not so."""
    status = path.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
        return True
    _warn_once(
        f"{path} belongs to another user or can be written by others, who could plant code there, so paraflow compiles "
        "anew in a temporary folder: remove it, or make it yours alone (chown, chmod 700), or name another "
        "folder in PARAFLOW_CACHE"
    )
    return False


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise CompileError(done.stderr.strip())
    return done.stdout


@functools.cache
def _processor() -> str:
    """What -march=native depends on."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        found = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
        return "\n".join(sorted(found))
    return platform.processor() + platform.machine()
