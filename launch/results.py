"""The record that each rank leaves in the launch directory, and the names of the files there."""

import json
import os
import re
from typing import Literal, NamedTuple

# Exit codes of usage and environment errors: their messages say what to do, and a traceback would bury them.
PLAIN_ERRORS = (2, 6)

# Errors that all ranks run into alike, when what all read is wrong.
_COMMON = ("ConfigError", "DataError")


class Result(NamedTuple):
    """How a rank stands (``running``), or how it ended: ``ok``, by an ``error`` it caught, or ``died`` without one."""

    rank: int
    status: Literal["running", "ok", "error", "died"]
    exit_code: int | None
    time: float
    """Seconds since the epoch, by the clock of the rank's host."""
    host: str
    pid: int
    error: str = ""
    """Name of the exception's type, empty where the program returned its exit code; how the rank died."""
    message: str = ""
    traceback: str = ""
    secondary: bool = False
    """True when the rank only ended because another one had failed."""
    log_size: int = 0
    """Bytes in the rank's log when its program ended: what follows is the report of its end."""

    @property
    def common(self) -> bool:
        """Whether the rank's error may be one that all ranks have alike, and its message says it all."""
        return self.error in _COMMON and not self.traceback


def log_path(directory: str, rank: int) -> str:
    """Return where the output of ``rank`` goes, both stdout and stderr."""
    return os.path.join(directory, f"rank-{rank}.log")


def is_rank_file(name: str) -> bool:
    """Tell whether a file of this name is the log or the record of some rank, or was about to be."""
    return re.fullmatch(r"rank-\d+\.(log|json(\.\d+)?)", name) is not None


def _path(directory: str, rank: int) -> str:
    return os.path.join(directory, f"rank-{rank}.json")


def write(directory: str, result: Result) -> None:
    """Write the record of a rank; a reader sees the former one or this one, never a part."""
    path = _path(directory, result.rank)
    with open(f"{path}.{result.pid}", "w", encoding="utf-8") as file:
        json.dump(result._asdict(), file)
    os.replace(file.name, path)


def read(directory: str, rank: int) -> Result | None:
    """Return the record of a rank, or None where there is none to read."""
    try:
        with open(_path(directory, rank), encoding="utf-8") as file:
            return Result(**json.load(file))
    except OSError:
        return None
