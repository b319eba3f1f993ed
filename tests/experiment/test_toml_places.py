"""Places of TOML keys, against places known by construction and against the keys that tomllib finds."""

import json
import re
import tomllib
from datetime import date, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraflow.experiment.toml_places import locate


def key_paths(value, path=()):
    """Every key and index of a parsed document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from key_paths(item, (*path, name))


class Writer:
    """Writes a document in a style that ``draw`` chooses at each turn, and notes where each key begins."""

    def __init__(self, draw):
        self.draw = draw
        self.text = ""
        self.places = {}

    def choose(self, *options):
        return self.draw(st.sampled_from(options))

    def mark(self, path):
        line = self.text.count("\n") + 1
        self.places.setdefault(path, (line, len(self.text) - self.text.rfind("\n")))

    def space(self):
        self.text += self.choose("", "", " ", "\t ")

    def filler(self):
        """Blank lines and comments, as between lines and in arrays."""
        self.text += self.choose("", "", "\n", " # ]} = [a] 'b \"\"\"\n", "\n  # [[t]]\n\t")

    def key(self, name):
        forms = [json.dumps(name, ensure_ascii=False)]
        if re.fullmatch(r"[A-Za-z0-9_-]+", name):
            forms += [name] * 3
        if "'" not in name:
            forms.append(f"'{name}'")
        self.text += self.choose(*forms)

    def key_value(self, parts, value):
        for number, (name, path) in enumerate(parts):
            self.text += "." if number else ""
            self.space()
            self.mark(path)
            self.key(name)
            self.space()
        self.text += "="
        self.space()
        self.value(parts[-1][1], value)
        self.space()

    def value(self, path, value):
        if isinstance(value, list):
            self.text += "["
            for index, item in enumerate(value):
                self.filler()
                self.mark((*path, index))
                self.value((*path, index), item)
                self.filler()
                self.text += "," if index + 1 < len(value) else self.choose("", ",")
            self.filler()
            self.text += "]"
        elif isinstance(value, dict):
            self.text += "{"
            self.space()
            for number, (name, item) in enumerate(value.items()):
                self.text += "," if number else ""
                self.key_value([(name, (*path, name))], item)
            self.text += "}"
        elif isinstance(value, str):
            forms = [json.dumps(value), '"""' + json.dumps(value)[1:-1].replace("\\n", "\n") + '"""']
            if "'" not in value and "\n" not in value:
                forms.append(f"'{value}'")
            if "'''" not in value:
                forms.append(f"'''{value}'''")
            self.text += self.choose(*forms)
        elif isinstance(value, bool):
            self.text += str(value).lower()
        else:
            self.text += value.isoformat() if isinstance(value, date | time) else repr(value)

    def header(self, parts, index=None):
        self.text += "[" if index is None else "[["
        for number, (name, path) in enumerate(parts):
            self.text += "." if number else ""
            self.space()
            self.mark(path)
            if path[-1] != name:  # an element of an array of tables stands where its name does
                self.mark(path[:-1])
            self.key(name)
            self.space()
        self.text += "]" if index is None else "]]"
        self.text += self.choose("\n", " # [x]\n", "\n\n")

    def table(self, parts, table):
        path = parts[-1][1] if parts else ()
        later = []
        for name, value in table.items():
            inside = (*path, name)
            form = self.choose("here", "later", "dotted")
            if isinstance(value, dict) and form == "later":
                later.append((None, [*parts, (name, inside)], value))
            elif isinstance(value, list) and value and form == "later" and all(isinstance(v, dict) for v in value):
                later += [(i, [*parts, (name, (*inside, i))], item) for i, item in enumerate(value)]
            elif isinstance(value, dict) and value and form == "dotted":
                for inner, item in value.items():
                    self.key_value([(name, inside), (inner, (*inside, inner))], item)
                    self.text += "\n"
            else:
                self.key_value([(name, inside)], value)
                self.text += self.choose("\n", " # a = 1\n", "\n\n")
        for index, names, value in later:
            self.header(names, index)
            self.table(names, value)


KEYS = st.text(alphabet="abZ0-_ .\"'\\#[]{}=,é", max_size=4)
SCALARS = (
    st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text(alphabet="ab \"'\\#[]{}=,\n", max_size=8)
    | st.sampled_from([date(1979, 5, 27), time(7, 32), datetime(1979, 5, 27, 7, 32)])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(KEYS, inner, max_size=3)
    | st.lists(st.dictionaries(KEYS, inner, max_size=2), min_size=1, max_size=3),
    max_leaves=12,
)


@st.composite
def documents(draw):
    """A TOML text and the place of each of its keys."""
    writer = Writer(draw)
    writer.table([], draw(st.dictionaries(KEYS, VALUES, max_size=5)))
    return writer.text, writer.places


@settings(deadline=None)  # the machine may be busy
@given(documents(), st.booleans())
def test_places_are_those_where_keys_were_written(document, windows):
    text, places = document
    assert set(places) == set(key_paths(tomllib.loads(text))), "the test writes what it means to"
    if windows:
        text = text.replace("\n", "\r\n")
    assert locate(text) == places


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        ("a = 1", ("a",), (1, 1)),
        ("\n\n  a = 1\n", ("a",), (3, 3)),
        ("a.b = 1\na.c = 2", ("a", "c"), (2, 3)),
        ("a.b = 1\na.c = 2", ("a",), (1, 1)),
        ("[a.b]\nc = 1\n[a]\nd = 2", ("a",), (1, 2)),
        ("[a.b]\nc = 1\n[a]\nd = 2", ("a", "d"), (4, 1)),
        ("d = 1979-05-27 07:32:00\ne = 1", ("e",), (2, 1)),
        ("s = '''\n[a]\nb = 1'''\nc = 1", ("c",), (4, 1)),
        ('s = """x\\\n  y\\""" """\nc = 1', ("c",), (3, 1)),
        ('s = ["""a""""", "b"]\nc = 1', ("s", 1), (1, 17)),
        ("s = ''''a'''''\nc = 1", ("c",), (2, 1)),
        ("\"é\" = {'x y' = 1, \"q\\\"\" = 2}", ("é", 'q"'), (1, 19)),
        ("[[t]]\n[t.u]\nv = 1\n[[t]]\n[[t.w]]\nx = 1\n[[t.w]]\nx = 2", ("t", 1, "w", 1, "x"), (8, 1)),
    ],
)
def test_forms_of_keys(text, path, place):
    assert path in set(key_paths(tomllib.loads(text)))
    assert locate(text)[path] == place


@pytest.mark.parametrize("text", ["", "\n", "# a = 1", "   \n\t"])
def test_a_document_without_keys(text):
    assert locate(text) == {}
