"""``key=value`` arguments of the command line, laid over the values of a configuration file."""

import tomllib
from typing import Any, NamedTuple


class Override(NamedTuple):
    """A value for one key; a table replaces the whole table of that name."""

    path: tuple[str, ...]
    value: object

    @classmethod
    def parse(cls, argument: str) -> "Override":
        """Read ``table.key=value``.

        The value is read as TOML; text that is not TOML is taken as a string, so that
        ``parallel.mode=single`` needs no quotes. Raises ValueError for anything but a key and a value.
        """
        key, equals, text = argument.partition("=")
        if not equals:
            raise ValueError("not of the form key=value")
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ValueError("not valid UTF-8") from None
        return cls(_key_path(key), _value(text))

    def apply(self, values: dict[str, Any]) -> None:
        """Set the value in the nested tables ``values``.

        Raises ValueError where the key leads through something that is not a table.
        """
        for depth, name in enumerate(self.path[:-1], start=1):
            values = values.setdefault(name, {})
            if not isinstance(values, dict):
                raise ValueError(f"{'.'.join(self.path[:depth])!r} is a value, not a table")
        values[self.path[-1]] = self.value


def _key_path(key: str) -> tuple[str, ...]:
    try:
        table: object = tomllib.loads(f"{key.strip()} = 0")
        if "\n" in key:
            raise ValueError
    except ValueError:
        raise ValueError(f"{key!r} is not a key of the form table.key") from None
    path = []
    while isinstance(table, dict):
        ((name, table),) = table.items()
        path.append(name)
    return tuple(path)


def _value(text: str) -> object:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text
