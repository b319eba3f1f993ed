"""Files that a command is to draw: what can go wrong with them is said before anything is measured."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from paraflow.comm import Communicator
from paraflow.errors import ConfigError


def check_picture(option: str, path: Path, endings: Sequence[str], comm: Communicator) -> None:
    """See that rank 0 can write ``path``, which ``option`` names, and that it has one of the ``endings``.

    No ``endings``: any. Collective, as only rank 0 need have the folder. Raises ConfigError on every rank.
    """
    fault = comm.broadcast_object(_fault(path, endings) if comm.rank == 0 else None)
    if fault is not None:
        raise ConfigError(f"{option} {path}: {fault}")


def _fault(path: Path, endings: Sequence[str]) -> str | None:
    if endings and path.suffix.lower() not in endings:
        return f"it draws {_listed(ending[1:].upper() for ending in endings)}, so name a file {_listed(endings)}"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; make it, or name a file elsewhere"
    if path.is_dir():
        return "that is a folder; name a file"
    place = path if path.exists() else path.parent
    return None if os.access(place, os.W_OK) else f"{place} cannot be written; name a file elsewhere"


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else str(last)


def drawing(option: str, module: str) -> Callable[..., None]:
    """The ``draw`` of a module that needs matplotlib; raises ConfigError where that is not installed."""
    try:
        draw: Callable[..., None] = importlib.import_module(module).draw
    except ModuleNotFoundError as error:
        raise ConfigError(f"{option} needs {error.name}: pip install 'paraflow[report]'") from None
    return draw
