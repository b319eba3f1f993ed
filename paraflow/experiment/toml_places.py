"""Where each key of a TOML document stands: tomllib gives values without their lines, and a fault names its line.

The text has been accepted by tomllib, so the scanner only finds the ends of things and checks nothing.
"""

import re
import tomllib
from typing import NamedTuple

KeyPath = tuple[str | int, ...]


class Place(NamedTuple):
    """A position in a text; both numbers count from 1, columns in characters."""

    line: int
    column: int


_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
# A multi-line string may end in five quotes, of which two belong to the text.
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?""""{0,2}|"(?:\\.|[^"\\\n])*"|\'\'\'.*?\'\'\'\'{0,2}|'[^'\n]*\'''', re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def locate(text: str) -> dict[KeyPath, Place]:
    """Map every key of ``text`` to its first place.

    Paths hold names of tables and keys, and indices of array elements: the key of the second layer in
    ``[model]`` / ``layers = [784, 10]`` is ``("model", "layers", 1)``. A table stands where its
    name first occurs. ``text`` is valid TOML.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.places


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.places: dict[KeyPath, Place] = {}
        self._line, self._line_start = 1, 0
        self._table_arrays: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        self._take(_BLANK)
        while self.position < len(self.text):
            if self._accept("[["):
                table = self._header(in_array=True)
                self.position += 2
            elif self._accept("["):
                table = self._header(in_array=False)
                self.position += 1
            else:
                self._key_value(table)
            self._take(_BLANK)

    def _header(self, in_array: bool) -> KeyPath:
        parts = self._key()
        path: KeyPath = ()
        for number, (part, start) in enumerate(parts, start=1):
            path = (*path, part)
            self._record(path, start)
            if in_array and number == len(parts):
                self._table_arrays[path] = self._table_arrays.get(path, 0) + 1
            if path in self._table_arrays:  # a name of an array of tables means its latest element
                path = (*path, self._table_arrays[path] - 1)
                self._record(path, start)
        return path

    def _key_value(self, table: KeyPath) -> None:
        path = table
        for part, start in self._key():
            path = (*path, part)
            self._record(path, start)
        self.position += 1  # the equals sign
        self._take(_SPACE)
        self._value(path)

    def _key(self) -> list[tuple[str, int]]:
        """The parts of a dotted key, each with its position; ends behind the blanks that follow."""
        parts = []
        while True:
            self._take(_SPACE)
            start = self.position
            parts.append((_unquoted(self._take(_KEY_PART)), start))
            self._take(_SPACE)
            if not self._accept("."):
                return parts

    def _value(self, path: KeyPath) -> None:
        if self._accept("["):
            index = 0
            while not self._closes("]"):
                self._record((*path, index), self.position)
                self._value((*path, index))
                index += 1
        elif self._accept("{"):
            while not self._closes("}"):
                self._key_value(path)
        elif self.text[self.position] in "\"'":
            self._take(_STRING)
        else:
            self._take(_SCALAR)

    def _closes(self, bracket: str) -> bool:
        self._take(_BLANK)
        if self._accept(","):
            self._take(_BLANK)
        return self._accept(bracket)

    def _accept(self, symbol: str) -> bool:
        if not self.text.startswith(symbol, self.position):
            return False
        self.position += len(symbol)
        return True

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        assert match is not None, f"not valid TOML: {self.text[self.position :][:20]!r}"
        self.position = match.end()
        return match.group()

    def _record(self, path: KeyPath, start: int) -> None:
        # Starts never decrease, so lines are counted in one pass over the text.
        self._line += self.text.count("\n", self._line_start, start)
        self._line_start = self.text.rfind("\n", 0, start) + 1
        self.places.setdefault(path, Place(self._line, start - self._line_start + 1))


def _unquoted(part: str) -> str:
    if part[0] == "'":
        return part[1:-1]
    return next(iter(tomllib.loads(f"{part} = 0"))) if part[0] == '"' else part
