"""What is wrong with a configuration, in words: each fault with its place, key, value and remedy."""

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic_core import ErrorDetails

from paraflow.errors import ConfigError
from paraflow.experiment.schema import Clash, Config, variants
from paraflow.experiment.table import BUILDER_KEY
from paraflow.experiment.toml_places import KeyPath
from paraflow.experiment.toml_text import toml_key, toml_value

MAX_VALUE_CHARACTERS = 60


class Origin(NamedTuple):
    """Where a value was written. Sorts in reading order: the file, then the command line."""

    argument: int  # its number on the command line, 0 for the file
    line: int  # 0 for a file as a whole
    text: str


class Fault(NamedTuple):
    """One thing that is wrong."""

    origin: Origin
    key: KeyPath
    problem: str
    value: object = None

    def __str__(self) -> str:
        """Return ``place: key = value: problem``."""
        subject = f"{self.origin.text}: "
        if self.key:
            subject += _dotted(self.key)
            if self.value is not None and not isinstance(self.value, dict):
                text = toml_value(self.value)
                shown = text if len(text) <= MAX_VALUE_CHARACTERS else text[: MAX_VALUE_CHARACTERS - 3] + "..."
                subject += f" = {shown}"
            subject += ": "
        return subject + self.problem


def config_error(faults: Iterable[Fault]) -> ConfigError:
    """One error that lists all the faults in reading order."""
    lines = [str(fault) for fault in sorted(faults, key=lambda fault: fault.origin[:2])]
    return ConfigError(lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} faults:", *lines]))


def faults_of(errors: list[ErrorDetails], origin: Callable[[KeyPath], Origin]) -> list[Fault]:
    """The faults that pydantic found.

    ``origin`` tells where a key stands, or the table in which it is missing.
    """
    paths = [error["loc"] for error in errors]
    faults = []
    for error, path in zip(errors, paths, strict=True):
        # An array of wrong elements is also counted as too short: what its elements say is enough.
        if not any(other[: len(path)] == path for other in paths if len(other) > len(path)):
            key, problem, value = _in_words(error)
            faults.append(Fault(origin(key), key, problem, value))
    return faults


def similar_file(path: Path) -> str:
    """``; did you mean 'FILE'?`` for a file with a similar name in the same folder, or nothing."""
    if not path.parent.is_dir():
        return f"; there is no folder {str(path.parent)!r}"
    names = [entry.name for entry in path.parent.iterdir()]
    return did_you_mean(path.name, names, lambda name: str(path.parent / name))


def did_you_mean(word: str, known: Iterable[str], shown: Callable[[str], str] = str) -> str:
    """``; did you mean 'WORD'?`` for the nearest of the ``known`` words, or nothing where none is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.65)
    return f"; did you mean {shown(near[0])!r}?" if near else ""


def _in_words(error: ErrorDetails) -> tuple[KeyPath, str, object]:
    """The key that is wrong, what is wrong with it, and its value where that belongs in the message."""
    path, value, context = error["loc"], error["input"], error.get("ctx", {})
    variant = ""
    if len(path) > 1 and len(variants(str(path[0]))) > 1:  # behind its name stands the tag of the table
        variant, path = str(path[1]), path[:1] + path[2:]
    match error["type"]:
        case "extra_forbidden":
            return path, _unknown_key(path, variant), value
        case "missing":
            return path, f"missing: {_description(path, variant)}", None
        case "union_tag_not_found":
            return path, f"needs a key {_selectors(path)}", None
        case "union_tag_invalid":
            return (*path, "name"), _unknown_choice(context["tag"], variants(str(path[0]))), value["name"]
        case "literal_error" if isinstance(value, str):
            return path, _unknown_choice(value, re.findall("'([^']*)'", context["expected"])), value
        case "value_error" if isinstance(clash := context["error"], Clash):
            return clash.key, clash.problem, clash.value
        case "value_error":
            return path, str(context["error"]), value
        case "model_type" | "model_attributes_type" | "dict_type":
            return path, "must be a table", value
        case "tuple_type" if isinstance(value, str) and value.startswith("["):
            return path, "must be an array; strings in it need quotes, as in '[\"a\", \"b\"]'", value
        case "tuple_type":
            return path, "must be an array", value
    message = error["msg"].replace(" after validation", "")
    return path, re.sub("^(Input|String|Tuple) should ", "must ", message), value


def _unknown_choice(word: str, known: Iterable[str]) -> str:
    names = [name for name in known if name != BUILDER_KEY]
    expected = repr(names[0]) if len(names) == 1 else "one of " + ", ".join(map(repr, names))
    otherwise = f" (or a key {BUILDER_KEY!r} instead)" if BUILDER_KEY in known else ""
    return f"must be {expected}{otherwise}{did_you_mean(word, names)}"


def _unknown_key(path: KeyPath, variant: str) -> str:
    """What to say of a key that is not in the schema: where it belongs, or what it may be meant to be."""
    tables = {
        table: {key for model in variants(table).values() for key in model.model_fields}
        for table in Config.model_fields
    }
    key = str(path[-1])
    if len(path) == 1:
        here = list(tables)
    else:
        table = str(path[0])
        here = list(variants(table)[variant].model_fields)
        owners = [name for name, model in variants(table).items() if key in model.model_fields]
        if key == "name" and variant == BUILDER_KEY:
            return f"stands beside {BUILDER_KEY!r}: give only one of the two"
        if owners:
            others = " or ".join(map(_selector, owners))
            return f"no key of [{table}] with {_selector(variant)}, only with {others}"
    elsewhere = [f"{other}.{key}" for other, keys in tables.items() if key in keys]
    if elsewhere:
        return f"unknown key; did you mean {' or '.join(map(repr, elsewhere))}?"
    there = {name: f"{other}.{name}" for other, keys in tables.items() for name in keys}
    near = did_you_mean(key, here) or did_you_mean(key, there, there.__getitem__)
    return "unknown key" + (near or f"; known here: {', '.join(here)}")


def _selector(variant: str) -> str:
    return f"'{BUILDER_KEY}'" if variant == BUILDER_KEY else f"name = {toml_value(variant)}"


def _selectors(path: KeyPath) -> str:
    known = variants(str(path[0]))
    names = ", ".join(repr(name) for name in known if name != BUILDER_KEY)
    otherwise = f" or {BUILDER_KEY!r} (PATH.py:FUNCTION)" if BUILDER_KEY in known else ""
    return f"'name' (one of {names}){otherwise}"


def _description(path: KeyPath, variant: str) -> str | None:
    fields = Config.model_fields if len(path) == 1 else variants(str(path[0]))[variant].model_fields
    return fields[str(path[-1])].description


def _dotted(key: KeyPath) -> str:
    """``model.layers[1]`` for ``("model", "layers", 1)``."""
    parts = [f"[{part}]" if isinstance(part, int) else "." + toml_key(part) for part in key]
    return "".join(parts).lstrip(".")
