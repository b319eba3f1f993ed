"""Compiled moments and layer normalisation: the bits of the bodies, for rows of any length, and training without."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paraflow as pf
from paraflow import native
from paraflow.graph.node import records
from paraflow.kernels import normalization
from paraflow.kernels.numpy import KERNELS

RNG = np.random.default_rng(6)


@pytest.fixture(autouse=True)
def _compile_small(monkeypatch):
    monkeypatch.setattr(normalization, "COMPILE_FROM", 0)


@settings(max_examples=80, deadline=None)
@given(
    st.one_of(st.integers(1, 70), st.integers(1, 600)), st.sampled_from([1, 2, 63, 64, 65, 131]), st.integers(1, 3),
    st.integers(1, 2), st.sampled_from(["float32", "float64"]), st.sampled_from([None, np.nan, np.inf, -0.0]),
)  # fmt: skip
def test_it_has_the_bits_of_the_bodies(n, rows, repeated, axes, dtype, strange):
    attrs = {"axes": axes, "epsilon": 1e-6}
    x, dy = (RNG.normal(2, 3, size=(rows, repeated, n)).astype(dtype) for _ in range(2))
    gamma, beta = (RNG.normal(size=n).astype(dtype) for _ in range(2))
    if strange is not None:
        x[RNG.random(x.shape) < 0.01] = strange
        dy[0] = -0.0
    cases = {"layer_normalization": (x, gamma, beta), "layer_normalization_gradient": (dy, x, gamma)}
    with np.errstate(all="ignore"):
        for name, inputs in cases.items():
            expected = records[name].body(*inputs, **attrs)
            expected = expected if isinstance(expected, tuple) else (expected,)
            found = [np.full_like(e, 7) for e in expected]
            KERNELS[name].bind(attrs)(*inputs, *found)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.tobytes() == other.tobytes() or strange not in (None, -0.0)  # which NaN it is may differ


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 3, 16, 64, 65, 130]), min_size=2, max_size=3), st.integers(0, 5), st.booleans(),
    st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_moments_have_the_bits_of_the_body_and_the_values_of_float64(shape, choice, keepdims, dtype):
    rank = len(shape)
    axes = [(0,), (-1,), (0, 1)[: rank - 1], tuple(range(rank))[1:], (0, rank - 1), None][choice]
    x = np.asfortranarray(RNG.normal(50, 2, size=shape).astype(dtype))
    expected = records["moments_of"].body(x, axes, keepdims)
    found = [np.full_like(e, 7) for e in expected]
    KERNELS["moments_of"].bind({"axes": axes, "keepdims": keepdims})(x, *found)
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes()
    wide = x.astype(float)
    np.testing.assert_allclose(found[0], wide.mean(axes, keepdims=keepdims), rtol=1e-6)
    np.testing.assert_allclose(found[1], wide.var(axes, keepdims=keepdims), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("limit", [0, sys.maxsize])
def test_long_rows_far_from_zero_keep_their_digits(monkeypatch, limit):
    monkeypatch.setattr(normalization, "COMPILE_FROM", limit)
    x = RNG.normal(100, 1, size=(5, 50_001)).astype(np.float32)
    wide = x.astype(float)
    expected = (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True)
    with pf.Graph().as_default(), pf.Session() as session:
        y = pf.layers.layer_norm(pf.constant(x))
        session.run(pf.global_variables_initializer())
        np.testing.assert_allclose(session.run(y), expected, atol=2e-4)


@pytest.mark.parametrize(("center", "scale"), [(True, True), (False, True), (True, False), (False, False)])
@pytest.mark.parametrize("begin", [1, 2])
def test_the_layer_is_the_formula_over_its_axes(center, scale, begin):
    x = RNG.normal(2, 3, size=(4, 5, 33)).astype(np.float32)
    over = tuple(range(begin, 3))
    expected = (x - x.mean(over, keepdims=True)) / x.std(over, keepdims=True)
    with pf.Graph().as_default(), pf.Session() as session:
        y = pf.layers.layer_norm(pf.constant(x), center, scale, begin_norm_axis=begin)
        session.run(pf.global_variables_initializer())
        assert len(pf.trainable_variables()) == center + scale
        for variable in pf.trainable_variables():
            value = RNG.normal(size=33).astype(np.float32)
            session.run(variable.assign(value))
            expected = expected * value if "gamma" in variable.name else expected
        if center:
            offset = next(v for v in pf.trainable_variables() if "beta" in v.name)
            expected = expected + session.run(offset)
        np.testing.assert_allclose(session.run(y), expected, rtol=1e-4, atol=1e-4)


PROGRAM = """
import zlib, numpy as np, paraflow as pf
x = np.random.default_rng(0).normal(size=(130, 300)).astype("f4")
y = pf.layers.layer_norm(pf.layers.dense(pf.constant(x), 200))
step = pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(pf.square(y - 1)))
with pf.Session() as session:
    session.run([v.initializer for v in pf.global_variables()[2:]])
    session.run(pf.trainable_variables()[0].assign(np.ones((300, 200), "f4") * x[:1].T))
    session.run(pf.trainable_variables()[1].assign(np.arange(200, dtype="f4")))
    for _ in range(3): session.run(step)
    print(zlib.crc32(b"".join(v.tobytes() for v in session.run(pf.trainable_variables()))))
"""


def test_without_a_compiler_training_has_the_same_bits(tmp_path):
    def run(**environment):
        return subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | environment, capture_output=True,
                              text=True, check=True)  # fmt: skip

    compiled, plain = run(PARAFLOW_CACHE=str(tmp_path / "new")), run(PARAFLOW_NATIVE="0")
    assert (plain.stdout, plain.stderr) == (compiled.stdout, compiled.stderr) == (compiled.stdout, "")
    if native.compiler() is not None:
        assert any((tmp_path / "new").iterdir())
