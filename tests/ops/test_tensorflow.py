"""Values and gradients equal TensorFlow's, at ties, zeros, infinities and NaN too (see tf_case.py)."""

from pathlib import Path

import numpy as np
import pytest

import paraflow
from paraflow.autodiff import gradients
from paraflow.graph.dtypes import as_dtype, is_bfloat16, is_differentiable
from paraflow.graph.graph import Graph
from paraflow.ops.array import make_constant, make_placeholder
from paraflow.testing import interpret

from .tf_case import FAMILIES, cases_of, weight

CASES = {name: case for family in FAMILIES for name, case in cases_of(family).items()}


def reference(family):
    """(case name, dtype, parts) for every line of the reference; a part is an array, or None for no gradient."""
    file = np.load(Path(__file__).with_name(f"tf_{family}_reference.npz"))
    values = file["values"]
    offset = 0
    for line in str(file["index"]).splitlines():
        name, dtype, kinds = line.split("|")
        parts = []
        for kind in kinds.split(";"):
            if kind == "None":
                parts.append(None)
                continue
            element, _, sizes = kind[:-1].partition("[")
            shape = tuple(int(n) for n in sizes.split(",") if n)
            count = int(np.prod(shape)) * (1 + element.startswith("complex"))
            part = values[offset : offset + count]
            part = part.view(np.complex128) if element.startswith("complex") else part
            parts.append(part.reshape(shape).astype(as_dtype(element)))
            offset += count
        yield name, dtype, parts
    assert offset == values.size


EXPECTED = [line for family in FAMILIES for line in reference(family)]


def parts_of(case, dtype):
    """Our outputs and gradients, as make_tf_reference.py collects TensorFlow's."""
    arrays = case.arrays(dtype)
    with Graph().as_default():
        inputs = [make_placeholder(a.dtype, a.shape) for a in arrays]
        feeds = dict(zip(inputs, arrays, strict=True))
        result = case.build(paraflow, *inputs)
        outputs = list(result) if isinstance(result, (list, tuple)) else [result]
        values = interpret(outputs, feeds)
        floating = [(y, v) for y, v in zip(outputs, values, strict=True) if is_differentiable(y.dtype)]
        sources = [x for x in inputs if is_differentiable(x.dtype)]
        if not case.gradients or not floating or not sources:
            return values
        ys, vs = zip(*floating, strict=True)
        found = gradients(ys, sources, [make_constant(weight(v.shape, v.dtype)) for v in vs])
        return values + [None if g is None else interpret(g, feeds) for g in found]


@pytest.mark.parametrize(("name", "dtype", "expected"), EXPECTED, ids=[f"{n}-{d}" for n, d, _ in EXPECTED])
def test_values_and_gradients_are_tensorflows(name, dtype, expected):
    actual = parts_of(CASES[name], dtype)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        if e is None or a is None:
            assert a is e
            continue
        assert (a.dtype, a.shape) == (e.dtype, e.shape)
        fine = CASES[name].tolerance
        single = e.dtype in (np.float32, np.complex64)
        tolerance = 0 if not is_differentiable(e.dtype) else max(3e-6, fine) if single else fine
        a, e = (x.astype(np.float64) if is_bfloat16(x.dtype) else x for x in (a, e))
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)


def test_every_case_is_in_the_reference():
    assert {(name, dtype) for name, dtype, _ in EXPECTED} == {(n, d) for n, c in CASES.items() for d in c.dtypes}
