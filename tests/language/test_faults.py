"""What TensorFlow refuses is refused, in time, and by an exception that an ``except`` written for TensorFlow catches."""

import builtins
from pathlib import Path

import pytest

import paraflow as pf

from .faults import FAULTS, outcome


def reference():
    lines = Path(__file__).with_name("tf_faults.txt").read_text().splitlines()
    return dict(line.split(" = ") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize(("name", "theirs"), reference().items())
def test_faults_are_caught_as_in_tensorflow(name, theirs):
    stage, kind = theirs.split()
    when, error = outcome(pf, FAULTS[name])
    expected = getattr(builtins, kind, None) or getattr(pf.errors, kind)
    assert isinstance(error, expected), f"{stage} {kind} in TensorFlow, here {when}: {error!r}"
    assert stage == "running" or when == "building", f"TensorFlow refuses it while building, paraflow's run does: {error!r}"


def test_every_fault_has_tensorflows_answer():
    assert list(reference()) == list(FAULTS)
