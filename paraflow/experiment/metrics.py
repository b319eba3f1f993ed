"""The numbers of a run over time: one JSON object a line."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from paraflow.errors import DataError


class MetricsWriter:
    """Appends records to a file of JSON lines; each is handed to the operating system before ``write`` returns.

    A killed run leaves whole lines, save perhaps the last; opening the file anew removes such a rest.
    """

    def __init__(self, path: Path) -> None:
        path.touch()
        with path.open("r+b") as existing:
            existing.truncate(existing.read().rfind(b"\n") + 1)
        self._file = path.open("ab")

    def write(self, record: Mapping[str, object]) -> None:
        """Append one record of numbers, strings, lists, mappings, numpy scalars and arrays.

        JSON has no NaN and no infinities: they are written as the strings "NaN", "Infinity" and "-Infinity",
        which ``float`` reads back. Raises TypeError for other values.
        """
        self._file.write(json.dumps(_plain(record), allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file, also of one that is being written: an unfinished last line is left out.

    Raises DataError, which names the line, for a line that is not a JSON object.
    """
    records = []
    *lines, _unfinished = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: not a JSON object: {line[:60]!r}")
        records.append(record)
    return records


def _plain(value: object) -> object:
    """``value`` in the types that JSON has."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
