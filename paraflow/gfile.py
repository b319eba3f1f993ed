"""Files and directories, as ``tf.gfile`` has them.

What goes wrong raises TensorFlow's errors: NotFoundError, AlreadyExistsError, PermissionDeniedError, and
FailedPreconditionError for a file in the place of a directory, a directory that is not empty, and the like. Names come
in alphabetical order, the same on all ranks. Every rank does what it is told: guard with ``if rank == 0`` what one of
them makes or removes for all.
"""

import errno
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from paraflow.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)

__all__ = [
    "Copy", "DeleteRecursively", "Exists", "FastGFile", "GFile", "Glob", "IsDirectory", "ListDirectory", "MakeDirs",
    "MkDir", "Open", "Remove", "Rename", "Stat", "Walk",
]  # fmt: skip

Path = str | os.PathLike[str]

_KINDS = {
    errno.ENOENT: NotFoundError, errno.EEXIST: AlreadyExistsError, errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError, errno.EISDIR: FailedPreconditionError, errno.ENOTDIR: FailedPreconditionError,
    errno.ENOTEMPTY: FailedPreconditionError,
}  # fmt: skip


@contextmanager
def _errors() -> Iterator[None]:
    """Errors of files as TensorFlow's."""
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno or 0)
        if kind is None:
            raise
        raise kind(f"{error.filename}; {error.strerror}") from error


class GFile:
    """A file that is read (``"r"``), written (``"w"``) or written on at its end (``"a"``); with ``b`` as bytes.

    Text is UTF-8, and line ends stay as they are. ``+`` allows both reading and writing. It is a context manager, and
    iterates over lines. Raises InvalidArgumentError for another mode.
    """

    def __init__(self, name: Path, mode: str = "r") -> None:
        if mode not in ("r", "w", "a", "r+", "w+", "a+", "rb", "wb", "ab", "rb+", "wb+", "ab+", "r+b", "w+b", "a+b"):
            raise InvalidArgumentError(f"mode is not 'r' or 'w' or 'a', perhaps with '+' and 'b': {mode!r}")
        self._name, self._mode = os.fspath(name), mode
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
        with _errors():
            self._file: IO[Any] = open(self._name, mode, **text)  # type: ignore[call-overload]  # noqa: SIM115

    @property
    def name(self) -> str:
        """Where the file is."""
        return self._name

    @property
    def mode(self) -> str:
        """What it was opened for."""
        return self._mode

    def read(self, n: int = -1) -> Any:
        """What is left of the file, or the next ``n`` characters or bytes of it."""
        return self._file.read(n)

    def readline(self) -> Any:
        """The next line with its end; empty at the end of the file."""
        return self._file.readline()

    def readlines(self) -> list[Any]:
        """The lines that are left, with their ends."""
        return self._file.readlines()

    def write(self, file_content: Any) -> None:
        """Write text, or bytes where the mode says so."""
        self._file.write(file_content)

    def next(self) -> Any:
        """The next line with its end; raises StopIteration at the end of the file."""
        return next(self._file)

    def seek(self, offset: int | None = None, whence: int = 0, position: int | None = None) -> None:
        """Go to ``offset`` from the start, the place reached (``whence`` 1) or the end (2).

        ``position`` is its older name. Raises TypeError without either.
        """
        place = offset if position is None else position
        if place is None:
            raise TypeError("seek() requires offset argument")
        self._file.seek(place, whence)

    def seekable(self) -> bool:
        """Whether `seek` works."""
        return self._file.seekable()

    def tell(self) -> int:
        """The place reached."""
        return self._file.tell()

    def size(self) -> int:
        """The length of the file in bytes."""
        if self._file.writable():
            self._file.flush()
        return os.fstat(self._file.fileno()).st_size

    def flush(self) -> None:
        """Have what was written go to the system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # programs write GFile(path).read()
            self._file.close()

    def __enter__(self) -> "GFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._file)


Open = FastGFile = GFile


class FileStatistics(NamedTuple):
    """What `Stat` says: ``length`` in bytes, the time of the last change in nanoseconds, whether it is a directory."""

    length: int
    mtime_nsec: int
    is_directory: bool


def Exists(filename: Path) -> bool:  # noqa: N802
    """Whether there is a file or directory of that name."""
    return os.path.exists(filename)


def IsDirectory(dirname: Path) -> bool:  # noqa: N802
    """Whether there is a directory of that name."""
    return os.path.isdir(dirname)


def Stat(filename: Path) -> FileStatistics:  # noqa: N802
    """What is known of a file."""
    with _errors():
        found = os.stat(filename)
    return FileStatistics(found.st_size, found.st_mtime_ns, os.path.isdir(filename))


def Glob(filename: Path | list[Path]) -> list[str]:  # noqa: N802
    """The files that fit a pattern (``*``, ``?``, ``[...]``), or one of several."""
    patterns = filename if isinstance(filename, list) else [filename]
    return [name for pattern in patterns for name in sorted(glob.glob(os.fspath(pattern)))]


def ListDirectory(dirname: Path) -> list[str]:  # noqa: N802
    """The names in a directory."""
    with _errors():
        return sorted(os.listdir(dirname))


def Walk(top: Path, in_order: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:  # noqa: N802
    """(directory, names of directories in it, names of files) below ``top``, with ``in_order`` from the top down."""
    for directory, inner, files in os.walk(top, topdown=in_order):
        inner.sort()
        yield directory, inner, sorted(files)


def MkDir(dirname: Path) -> None:  # noqa: N802
    """Make a directory, whose parent has to be there."""
    with _errors():
        os.mkdir(dirname)


def MakeDirs(dirname: Path) -> None:  # noqa: N802
    """Make a directory and those that it lies in, where they are not there."""
    with _errors():
        try:
            os.makedirs(dirname, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", error.filename) from None


def Copy(oldpath: Path, newpath: Path, overwrite: bool = False) -> None:  # noqa: N802
    """Copy a file; one that is there already is an error unless ``overwrite``."""
    _check_free(newpath, overwrite)
    with _errors():
        shutil.copyfile(oldpath, newpath)


def Rename(oldname: Path, newname: Path, overwrite: bool = False) -> None:  # noqa: N802
    """Rename or move a file or directory; one that is there already is an error unless ``overwrite``."""
    _check_free(newname, overwrite)
    with _errors():
        os.replace(oldname, newname)


def Remove(filename: Path) -> None:  # noqa: N802
    """Remove a file."""
    with _errors():
        os.remove(filename)


def DeleteRecursively(dirname: Path) -> None:  # noqa: N802
    """Remove a directory with all that is in it, or a file."""
    with _errors():
        if os.path.isdir(dirname) and not os.path.islink(dirname):
            shutil.rmtree(dirname)
        else:
            os.remove(dirname)


def _check_free(path: Path, overwrite: bool) -> None:
    if not overwrite and os.path.exists(path):
        raise AlreadyExistsError(f"{os.fspath(path)}; file exists, and overwrite is false")
