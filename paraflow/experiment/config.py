"""Reads an experiment's configuration: a TOML file with ``key=value`` arguments laid over it.

All faults of both are reported at once.
"""

import os
import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from paraflow.errors import ConfigError
from paraflow.experiment.data_tables import RANK
from paraflow.experiment.faults import Fault, Origin, config_error, faults_of, similar_file
from paraflow.experiment.overrides import Override
from paraflow.experiment.run_directory import CONFIG_FILE
from paraflow.experiment.schema import INPUT_FILES, Config, variants
from paraflow.experiment.table import BUILDER_KEY
from paraflow.experiment.toml_places import KeyPath, locate


def config_file(path: str) -> str:
    """``path``, or the configuration in it where it is a run directory."""
    return os.path.join(path, CONFIG_FILE) if os.path.isdir(path) else path


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in the TOML file ``path``, with ``key=value`` arguments over it (a later one wins).

    Names of files to read become absolute: those in the file are relative to its folder, those in an
    argument to the working directory. Raises ConfigError, which lists all that is wrong, each with its place:
    ``file:line``, or ``command line, argument 2`` (the file is the first argument).
    """
    document = _Document.read(Path(path))
    faults = document.override(overrides)
    faults += document.anchor_files()
    try:
        config = Config.model_validate(document.values)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        faults += faults_of(errors, document.origin)
        faults += faults_of(_hidden_errors(document.values, errors), document.origin)
    if faults:
        raise config_error(faults)
    return config


def _hidden_errors(values: dict[str, Any], errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """What is wrong in tables whose ``name`` is wrong as well: with the nearest name they are checked again."""
    meant = {}
    for table, error in ((str(error["loc"][0]), error) for error in errors if error["type"] == "union_tag_invalid"):
        for name in get_close_matches(error["ctx"]["tag"], variants(table), n=1):
            meant[table] = {**values[table], "name": name}
    try:
        Config.model_validate({**values, **meant})
    except ValidationError as invalid:
        return [error for error in invalid.errors(include_url=False) if error["loc"] and error["loc"][0] in meant]
    return []


class _Document(NamedTuple):
    """The values of a configuration before they are checked, and where each was written."""

    path: Path
    values: dict[str, Any]
    origins: dict[KeyPath, Origin]

    @classmethod
    def read(cls, path: Path) -> "_Document":
        text = _text(path)
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(_syntax_error(path, text, str(error))) from None
        origins = {key: Origin(0, place.line, f"{path}:{place.line}") for key, place in locate(text).items()}
        return cls(path, values, origins)

    def origin(self, key: KeyPath) -> Origin:
        """Where ``key`` is written, or the innermost table around it that is written."""
        while key and key not in self.origins:
            key = key[:-1]
        return self.origins.get(key, Origin(0, 0, str(self.path)))

    def override(self, arguments: Sequence[str]) -> list[Fault]:
        faults = []
        for number, argument in enumerate(arguments, start=2):
            origin = Origin(number, 0, f"command line, argument {number}")
            try:
                override = Override.parse(argument)
                override.apply(self.values)
            except ValueError as error:
                faults.append(Fault(origin, (), f"{argument!r}: {error}"))
                continue
            for key in [key for key in self.origins if key[: len(override.path)] == override.path]:
                del self.origins[key]
            self.origins[override.path] = origin
        return faults

    def anchor_files(self) -> list[Fault]:
        """Make the names of files to read absolute; the faults are those that do not exist."""
        faults = []
        for key in INPUT_FILES:
            table = self.values.get(key[0])
            value = table.get(key[1]) if isinstance(table, dict) else None
            if not isinstance(table, dict) or not isinstance(value, str):
                continue
            name, colon, function = value.rpartition(":") if key[1] == BUILDER_KEY else (value, "", "")
            if not name:
                continue  # not a builder, which its own check reports
            origin = self.origin(key)
            base = Path.cwd() if origin.argument else self.path.parent
            file = Path(os.path.abspath(base / Path(name).expanduser()))
            first = Path(str(file).replace(RANK, "0"))
            if not first.exists():
                faults.append(Fault(origin, key, f"there is no file {str(first)!r}{similar_file(first)}", value))
            table[key[1]] = f"{file}{colon}{function}"
        return faults


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {str(path)!r}{similar_file(path)}") from None
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not valid UTF-8") from None


def _syntax_error(path: Path, text: str, message: str) -> str:
    """``path:line:column: what``, from tomllib's message, which ends in ``(at line 3, column 5)``."""
    problem, _, place = message.rpartition(" (at ")
    lines = text.split("\n")
    if numbers := re.findall(r"\d+", place):
        line, column = map(int, numbers)
    else:  # "at end of document"
        line, column = len(lines), len(lines[-1]) + 1
    return f"{path}:{line}:{column}: {problem} in {lines[line - 1].strip()!r}"
