"""Messages of the program by level, as ``tf.logging`` has them, over Python's ``logging``.

They go to the logger ``paraflow``: to standard error as ``LEVEL:paraflow:message``, or where the program has set up
Python's logging (``logging.basicConfig``) to its handlers. Every rank writes its own; under
``paraflow launch`` the launcher names the rank of a line, elsewhere the line does. What is below WARN is left out
unless ``set_verbosity`` says otherwise: ``if rank == 0: set_verbosity(INFO)`` has one rank speak for all.
"""

import logging
import os
import sys
from collections import Counter
from logging import DEBUG, ERROR, FATAL, INFO, WARN
from typing import Any

from paraflow.ops.python import STREAMS

__all__ = [
    "DEBUG", "ERROR", "FATAL", "INFO", "WARN", "TaskLevelStatusMessage", "debug", "error", "fatal", "flush",
    "get_logger", "get_verbosity", "info", "log", "log_every_n", "log_first_n", "log_if", "set_verbosity", "vlog",
    "warn", "warning",
]  # fmt: skip

_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")  # the innermost launcher first
_counts: Counter[tuple[str, int]] = Counter()


class _Stderr(logging.StreamHandler[Any]):
    """Writes to standard error where nobody else has been asked to write."""

    def __init__(self) -> None:
        super().__init__()
        rank = next((os.environ[name] for name in _RANKS if name in os.environ), None)
        place = "" if rank is None or "PARAFLOW_LAUNCH_DIR" in os.environ else f"[rank {rank}] "
        self.setFormatter(logging.Formatter(f"%(levelname)s:%(name)s:{place}%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless the root logger has handlers."""
        if not logging.root.handlers:
            self.stream = sys.stderr
            super().emit(record)


_logger = logging.getLogger("paraflow")
_logger.setLevel(WARN)
_logger.addHandler(_Stderr())


def get_logger() -> logging.Logger:
    """The logger that all messages go to."""
    return _logger


def set_verbosity(v: int) -> None:
    """Leave out what is below the level ``v``."""
    _logger.setLevel(v)


def get_verbosity() -> int:
    """The level below which messages are left out."""
    return _logger.getEffectiveLevel()


def log(level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
    """Say ``msg % args`` at ``level``; further keywords are those of Python's ``Logger.log``."""
    _logger.log(level, msg, *args, **{"stacklevel": 2, **kwargs})


def debug(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Say ``msg % args`` at level DEBUG."""
    _logger.debug(msg, *args, **{"stacklevel": 2, **kwargs})


def info(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Say ``msg % args`` at level INFO."""
    _logger.info(msg, *args, **{"stacklevel": 2, **kwargs})


def warning(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Say ``msg % args`` at level WARN."""
    _logger.warning(msg, *args, **{"stacklevel": 2, **kwargs})


def error(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Say ``msg % args`` at level ERROR."""
    _logger.error(msg, *args, **{"stacklevel": 2, **kwargs})


def fatal(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Say ``msg % args`` at level FATAL; the program goes on."""
    _logger.fatal(msg, *args, **{"stacklevel": 2, **kwargs})


warn, vlog = warning, log


def TaskLevelStatusMessage(msg: Any) -> None:  # noqa: N802
    """Say ``msg`` at level ERROR."""
    error(msg, stacklevel=3)


def flush() -> None:
    """Have what was said written."""
    for handler in (*_logger.handlers, *logging.root.handlers):
        handler.flush()


def log_every_n(level: int, msg: Any, n: int, *args: Any) -> None:
    """Say ``msg % args`` the first time that this line is reached, and then every ``n``-th time."""
    if _times_before() % n == 0:
        log(level, msg, *args, stacklevel=3)


def log_first_n(level: int, msg: Any, n: int, *args: Any) -> None:
    """Say ``msg % args`` the first ``n`` times that this line is reached."""
    if _times_before() < n:
        log(level, msg, *args, stacklevel=3)


def log_if(level: int, msg: Any, condition: Any, *args: Any) -> None:
    """Say ``msg % args`` where ``condition`` is true."""
    if condition:
        log(level, msg, *args, stacklevel=3)


def _times_before() -> int:
    """How often the line that calls the function that calls this one was reached before."""
    frame = sys._getframe(2)
    place = frame.f_code.co_filename, frame.f_lineno
    _counts[place] += 1
    return _counts[place] - 1


# Where `paraflow.print` may be told to write.
for _say in (debug, info, warning, error, fatal):
    STREAMS[f"log({_say.__name__})"] = _say
