"""Functions of the user's own that a configuration names as ``PATH.py:FUNCTION``."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paraflow.errors import ConfigError
from paraflow.experiment.faults import did_you_mean


def load_builder(reference: str) -> Callable[..., Any]:
    """Return the function that ``reference`` names, after running its file as a module.

    As for a script, modules in the folder of the file can be imported by it. Raises ConfigError if the file
    has no such function; what the file itself raises passes through.
    """
    file, _, name = reference.rpartition(":")
    path = Path(file)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None, f"{path} does not end in .py, which the schema asks for"
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(path.parent))
    try:
        specification.loader.exec_module(module)
    except FileNotFoundError:
        raise ConfigError(f"{reference!r}: there is no file {file!r}") from None
    finally:
        sys.path.remove(str(path.parent))
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError(f"{file} has no function {name!r}{did_you_mean(name, known)}")
    return function  # type: ignore[no-any-return]
