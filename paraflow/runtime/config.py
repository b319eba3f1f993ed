"""TensorFlow's records of a session's options: of all of them only the number of threads means something here."""

from __future__ import annotations

from typing import Any


class Record:
    """Named options, kept as attributes; one that was not given is None. Beside threads they change nothing."""

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class GPUOptions(Record):
    """Accepted, without effect: there are no GPUs."""


class RunOptions(Record):
    """Accepted, without effect: `Session.trace` records runs."""


class RunMetadata(Record):
    """Accepted, and left as it is: `Session.trace` records runs."""


class ConfigProto(Record):
    """``inter_op_parallelism_threads`` is a session's number of threads; all else is accepted, without effect."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"gpu_options": GPUOptions(), **options})
