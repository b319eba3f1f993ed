"""What TensorFlow refuses is refused, in time, and by what an ``except`` written for TensorFlow catches."""

import builtins
from pathlib import Path

import pytest

import paraflow as pf

from .faults import FAULTS, outcome


def reference():
    lines = Path(__file__).with_name("tf_faults.txt").read_text().splitlines()
    return dict(line.split(" = ") for line in lines if not line.startswith("#"))


DIFFERS = {
    "dtypes: range of bool": "an assertion inside of TensorFlow",
    "shapes: constant verified to have another shape": "a shape that does not fit is a ValueError here",
    "shapes: confusion_matrix out of range": "values are looked at in the run",
    "networks: conv2d with strides over the batch": "known while building, and no operation that is to come",
    "networks: max_pool of a window beyond a fed image": "an InvalidArgumentError, where TensorFlow's kernel aborts",
}


@pytest.mark.parametrize(("name", "theirs"), reference().items())
def test_faults_are_caught_as_in_tensorflow(name, theirs):
    stage, kind = theirs.split()
    when, error = outcome(pf, FAULTS[name])
    expected = getattr(builtins, kind, None) or getattr(pf.errors, kind)
    same = isinstance(error, expected) and (stage == "running" or when == "building")
    assert same is (name not in DIFFERS), f"TensorFlow, {stage}: {kind}; paraflow, {when}: {error!r}"
    assert error is not None or name in DIFFERS


def test_every_fault_has_tensorflows_answer():
    assert list(reference()) == list(FAULTS)
