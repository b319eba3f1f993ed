"""TOML text of plain values, and of configurations with the description of each key as a comment."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time

from pydantic import BaseModel


def toml_document(model: BaseModel) -> str:
    """``model`` as TOML: one table per nested model or mapping; keys that are None become comments."""
    return "\n".join(_table((), model)).lstrip("\n") + "\n"


def toml_value(value: object) -> str:
    """``value`` as it stands on the right of a TOML equals sign.

    Takes what tomllib returns (and tuples); raises TypeError for anything else.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case date() | time():
            return value.isoformat()
        case Mapping():
            return "{" + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
        case Sequence():
            return "[" + ", ".join(map(toml_value, value)) + "]"
    raise TypeError(f"TOML has no form for {value!r}")


def toml_key(name: str) -> str:
    """``name`` as one part of a TOML key, quoted where it has to be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def _table(path: tuple[str, ...], table: BaseModel | Mapping[str, object]) -> Iterable[str]:
    """The lines of a table: its own keys, then the tables in it (behind their headers, keys would be theirs)."""
    keys: list[str] = []
    tables: list[str] = []
    for name, description, value in _items(table):
        if isinstance(value, BaseModel | Mapping):
            header = "[" + ".".join(map(toml_key, (*path, name))) + "]"
            comment = [f"# {description}"] if description else []
            tables += ["", *comment, header, *_table((*path, name), value)]
        else:
            remark = f"  # {description}" if description else ""
            setting = f"# {name} = (not set)" if value is None else f"{toml_key(name)} = {toml_value(value)}"
            keys.append(setting + remark)
    return keys + tables


def _items(table: BaseModel | Mapping[str, object]) -> Iterable[tuple[str, str | None, object]]:
    if not isinstance(table, BaseModel):
        return [(name, None, value) for name, value in table.items()]
    # pydantic puts inherited keys first, but the key that tells a table's kind belongs there.
    own = type(table).__annotations__
    fields = sorted(type(table).model_fields.items(), key=lambda item: item[0] not in own)
    return [(name, field.description, getattr(table, name)) for name, field in fields]
