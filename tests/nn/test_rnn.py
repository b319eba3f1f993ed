"""Recurrent networks: TensorFlow's names, initial values, values and gradients; what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import paraflow as pf

from .rnn_cases import CASES, results


def reference():
    """What TensorFlow makes of each case, by name."""
    stored = np.load(Path(__file__).with_name("tf_rnn_reference.npz"))
    values, start, found = stored["values"], 0, {}
    for name, case in json.loads(str(stored["index"])).items():
        found[name] = {"names": case["names"]}
        for key, shape in case["shapes"].items():
            size = int(np.prod(shape))
            found[name][key] = values[start : start + size].reshape(shape)
            start += size
    assert start == len(values)
    return found


REFERENCE = reference()


def test_the_reference_is_of_these_cases():
    assert set(REFERENCE) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_names_initial_values_values_and_gradients_are_tensorflows(graph, name):
    found, expected = results(pf, name), REFERENCE[name]
    assert found.pop("names").tolist() == expected["names"]
    assert found.keys() == expected.keys() - {"names"}
    for key, value in found.items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, expected[key], rtol=1e-9, atol=1e-12, err_msg=key)
