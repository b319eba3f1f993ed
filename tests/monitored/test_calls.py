"""What monitored sessions do, and in which order, against what TensorFlow's have done."""

from pathlib import Path

import pytest

import paraflow as pf

from .calls_cases import CASES, lines_of


def reference():
    """Case -> the lines that TensorFlow gave."""
    cases = {}
    for line in Path(__file__).with_name("tf_calls.txt").read_text().splitlines():
        if line.startswith("== "):
            cases[line.removeprefix("== ")] = lines = []
        elif not line.startswith("#"):
            lines.append(line)
    return cases


@pytest.mark.parametrize("name", CASES)
def test_the_calls_are_tensorflows(name, tmp_path):
    assert lines_of(pf, name, tmp_path) == reference()[name]


def test_the_reference_has_every_case():
    assert list(reference()) == list(CASES)
