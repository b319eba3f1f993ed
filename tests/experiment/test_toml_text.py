"""TOML text, against tomllib, which reads it back."""

import tomllib
from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from paraflow.experiment.toml_text import toml_document, toml_key, toml_value

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    TEXT
    | st.integers()
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.just(UTC) | st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


def same(one, other):
    return one == other and type(one) is type(other)


@settings(deadline=None)  # the machine may be busy
@given(VALUES)
def test_values_are_read_back(value):
    assert same(tomllib.loads(f"x = {toml_value(value)}")["x"], value)


@settings(deadline=None)  # the machine may be busy
@given(TEXT)
def test_keys_are_read_back(name):
    assert tomllib.loads(f"{toml_key(name)} = 1") == {name: 1}


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_mappings_in_models_are_read_back_as_tables(options):
    assert tomllib.loads(toml_document(Outer(options=options))) == {"number": 1.0, "options": options}


class Inner(BaseModel):
    shared: int = Field(default=1, description="what all have")


class Kind(Inner):
    name: str = Field(default="x", description="what it is")


class Outer(BaseModel):
    options: dict[str, object] = {}
    number: float = 1.0
    absent: int | None = Field(default=None, description="not there")
    kind: Kind | None = Field(default=None, description="A table.")


def test_a_document_is_laid_out_for_readers():
    assert toml_document(Outer(kind=Kind(), options={"z": {"y": (1, 2)}, "a b": date(1979, 5, 27)})) == (
        "number = 1.0\n"
        "# absent = (not set)  # not there\n"
        "\n"
        "[options]\n"
        '"a b" = 1979-05-27\n'
        "\n"
        "[options.z]\n"
        "y = [1, 2]\n"
        "\n"
        "# A table.\n"
        "[kind]\n"
        'name = "x"  # what it is\n'
        "shared = 1  # what all have\n"
    )


def test_extreme_values():
    numbers = [float("inf"), float("-inf"), 1e-300, 1e22, -0.0, 2**63 - 1]
    values = [*numbers, "\x00\x1f\x7f\\\"'\r\n\u2028", time(1, 2, 3, 4)]
    assert list(map(repr, tomllib.loads(f"x = {toml_value(values)}")["x"])) == list(map(repr, values))
    assert toml_value(datetime(1979, 5, 27, 7, 32)) == "1979-05-27T07:32:00"


def test_what_toml_cannot_say_is_refused():
    with pytest.raises(TypeError, match="no form for None"):
        toml_value([1, None])
