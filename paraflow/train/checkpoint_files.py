"""Files of arrays by name, and the file ``checkpoint`` that says which of them is the latest.

Arrays lie in safetensors files. Whatever is written is first written beside its place, brought to the disk, and then
renamed: whoever is killed meanwhile leaves the file of before, or the new one, whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from paraflow.errors import DataError, InvalidArgumentError, NotFoundError
from paraflow.graph.dtypes import as_dtype

SUFFIX = ".safetensors"
STATE_FILE = "checkpoint"
_UNFINISHED = ".unfinished"
_POLL_SECONDS = 0.2  # between two looks for a new checkpoint

# The dtypes of safetensors that tensors can have.
_DTYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "BOOL": "bool",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
}  # fmt: skip


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name as a safetensors file, whole or not at all: a file ``path`` is replaced at the end."""
    # safetensors reads raw memory from the address of an array, so strides other than C's would be saved wrong.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with Replacing(path) as unfinished:
        _safetensors().numpy.save_file(contiguous, unfinished)


class Replacing:
    """Context manager: a path beside ``path`` to write, which takes its place at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.name}.{os.urandom(4).hex()}{_UNFINISHED}")

    def __enter__(self) -> Path:
        return self._unfinished

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                _flush(self._unfinished)
                self._unfinished.replace(self._path)
        finally:
            self._unfinished.unlink(missing_ok=True)
        if kind is None:
            _flush(self._path.parent)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(directory: Path, *names: str) -> None:
    """Remove what killed writers of files ``names...`` have left; no other may be at work on such files."""
    beginnings = tuple(f".{name}" for name in names)
    for entry in os.scandir(directory):
        if entry.name.startswith(beginnings) and entry.name.endswith(_UNFINISHED):
            Path(entry.path).unlink(missing_ok=True)


def file_of(prefix: str) -> Path:
    """The file of a checkpoint, which is named by its path without the suffix."""
    return Path(prefix if prefix.endswith(SUFFIX) else prefix + SUFFIX)


class CheckpointReader:
    """Reads one checkpoint, named by its path without ``.safetensors``; arrays are read when they are asked for.

    Raises ValueError where there is none, and DataError for a file that is no safetensors file or not whole.
    """

    def __init__(self, filepattern: str) -> None:
        self.path = file_of(filepattern)
        if not self.path.is_file():
            raise InvalidArgumentError(
                f"the passed save_path is not a valid checkpoint: there is no file {self.path}; latest_checkpoint() of "
                "its directory says which one there is"
            )
        try:
            self._file = _safetensors().safe_open(self.path, framework="np")
        except Exception as error:
            raise DataError(f"{self.path} is no checkpoint, or not all of one: {error}; restore another one") from None
        self._names = set(self._file.keys())

    def has_tensor(self, tensor_str: str) -> bool:
        """Whether the checkpoint has an array of that name."""
        return tensor_str in self._names

    def get_tensor(self, tensor_str: str) -> NDArray[Any]:
        """The array of that name; raises NotFoundError naming the file and what else it has."""
        if tensor_str not in self._names:
            near = [name for name in sorted(self._names) if name.endswith(tensor_str.rpartition("/")[2])]
            has = ", ".join((near or sorted(self._names))[:5]) or "nothing"
            raise NotFoundError(f"there is no '{tensor_str}' in the checkpoint {self.path}, which has {has}, ...")
        self._dtype(tensor_str)  # safetensors makes arrays of bfloat16 where ml_dtypes is there already
        array: NDArray[Any] = self._file.get_tensor(tensor_str)
        return array

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Name -> shape of every array."""
        return {name: list(self._file.get_slice(name).get_shape()) for name in sorted(self._names)}

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype[Any]]:
        """Name -> dtype of every array."""
        return {name: self._dtype(name) for name in sorted(self._names)}

    def _dtype(self, name: str) -> np.dtype[Any]:
        code = self._file.get_slice(name).get_dtype()
        if code not in _DTYPES:
            raise InvalidArgumentError(f"'{name}' in {self.path} is {code}, which no tensor can have")
        return as_dtype(_DTYPES[code])


class CheckpointState(NamedTuple):
    """What the file ``checkpoint`` of a directory says: the latest checkpoint, and all that are kept, oldest first."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: tuple[str, ...]


def get_checkpoint_state(checkpoint_dir: str, latest_filename: str | None = None) -> CheckpointState | None:
    """What the file ``latest_filename`` (default: ``checkpoint``) of a directory says, or None where there is none."""
    path = Path(checkpoint_dir) / (latest_filename or STATE_FILE)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        if value[:1] == value[-1:] == '"' and len(value) > 1:
            name = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
            found.setdefault(key, []).append(os.path.join(checkpoint_dir, name))
    if "model_checkpoint_path" not in found:
        return None
    (latest,) = found["model_checkpoint_path"][:1]
    return CheckpointState(latest, tuple(found.get("all_model_checkpoint_paths", ())))


def update_checkpoint_state(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
) -> None:
    """Write the file ``checkpoint`` of a directory; a path below the directory is written relative to it.

    The form is that of TensorFlow, which reads it too. So the directory may be moved.
    """
    paths = list(all_model_checkpoint_paths or ())
    if model_checkpoint_path not in paths[-1:]:
        paths.append(model_checkpoint_path)
    lines = [f"model_checkpoint_path: {_quoted(model_checkpoint_path, save_dir)}"]
    lines += [f"all_model_checkpoint_paths: {_quoted(path, save_dir)}" for path in paths]
    with Replacing(Path(save_dir) / (latest_filename or STATE_FILE)) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(path: str, directory: str) -> str:
    name = os.path.relpath(path, directory or ".")
    name = os.path.abspath(path) if name.startswith(os.pardir) else name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Whether there is a checkpoint of that path."""
    return file_of(checkpoint_prefix).is_file()


def remove_checkpoint(
    checkpoint_prefix: str, checkpoint_format_version: int = 2, meta_graph_suffix: str = "meta"
) -> None:
    """Remove the checkpoint of that path, and its graph, where they are there."""
    file_of(checkpoint_prefix).unlink(missing_ok=True)
    Path(f"{checkpoint_prefix}.{meta_graph_suffix}").unlink(missing_ok=True)


def latest_checkpoint(checkpoint_dir: str, latest_filename: str | None = None) -> str | None:
    """The path of the latest checkpoint of a directory, for `Saver.restore`; None where there is none."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    return state.model_checkpoint_path if state and checkpoint_exists(state.model_checkpoint_path) else None


def get_checkpoint_mtimes(checkpoint_prefixes: Sequence[str]) -> list[float]:
    """When the checkpoints were written, in seconds since 1970; those that are not there are left out."""
    return [file_of(prefix).stat().st_mtime for prefix in checkpoint_prefixes if checkpoint_exists(prefix)]


def checkpoints_iterator(
    checkpoint_dir: str,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], Any] | None = None,
) -> Iterator[str]:
    """The latest checkpoint of a directory whenever there is a new one: for a program that evaluates beside training.

    Between two lie ``min_interval_secs`` seconds at least. Where there is none for ``timeout`` seconds it ends, or with
    ``timeout_fn`` goes on unless that returns true.
    """
    last: str | None = None
    while True:
        end = None if timeout is None else time.monotonic() + timeout
        while (path := latest_checkpoint(checkpoint_dir)) is None or path == last:
            if end is not None and time.monotonic() + _POLL_SECONDS > end:
                break
            time.sleep(_POLL_SECONDS)
        if path is None or path == last:
            if timeout_fn is None or timeout_fn():
                return
            continue
        last, start = path, time.monotonic()
        yield path
        time.sleep(max(start + min_interval_secs - time.monotonic(), 0))


def load_checkpoint(ckpt_dir_or_file: str) -> CheckpointReader:
    """A reader of a checkpoint, or of the latest one of a directory; raises ValueError where there is none."""
    path: str | None = ckpt_dir_or_file
    if os.path.isdir(ckpt_dir_or_file):
        path = latest_checkpoint(ckpt_dir_or_file)
    if path is None:
        raise InvalidArgumentError(f"there is no checkpoint in the directory {ckpt_dir_or_file}")
    return CheckpointReader(path)


def list_variables(ckpt_dir_or_file: str) -> list[tuple[str, list[int]]]:
    """(name, shape) of what a checkpoint has, by name."""
    return list(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file: str, name: str) -> NDArray[Any]:
    """The value of one variable in a checkpoint, or in the latest one of a directory."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def _safetensors() -> Any:
    import safetensors.numpy

    return safetensors
