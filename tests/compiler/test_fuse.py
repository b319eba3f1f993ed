"""Fusion: the bytes of the steps that it replaces, by numpy's kernels on blocks and by compiled loops."""

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import paraflow as pf
from paraflow.compiler import fuse
from paraflow.kernels import blocks

from .checker import check_plan
from .plans import kinds, plan_of

BY_NUMPY, COMPILED = sys.maxsize, 1
rng = np.random.default_rng(5)


@pytest.fixture
def small(monkeypatch):
    """Arrays of any size are fused, in blocks of a few elements."""
    monkeypatch.setattr(fuse, "FUSE_FROM", 1)
    monkeypatch.setattr(fuse, "_SMALL_BLOCK", 1)
    for module in (fuse, blocks):
        monkeypatch.setattr(module, "BLOCK", 24)


def values(outputs, feeds, monkeypatch, lowering=None, threads=1):
    """The values of ``outputs``, fused and lowered in one way, or not fused."""
    disable = ["fuse"] if lowering is None else []
    monkeypatch.setattr(blocks, "COMPILE_FROM", lowering)
    with pf.Session(threads=threads, compiler=pf.CompilerOptions(disable=disable)) as session:
        session.run(pf.global_variables_initializer())
        return session.run(outputs, feeds)


def assert_all_alike(outputs, feeds, monkeypatch):
    expected = values(outputs, feeds, monkeypatch)
    for lowering in (BY_NUMPY, COMPILED):
        for threads in (1, 2):
            found = values(outputs, feeds, monkeypatch, lowering, threads)
            for a, b, tensor in zip(found, expected, outputs, strict=True):
                assert a.tobytes() == b.tobytes(), (tensor, lowering, threads)


def network(x, row, column, mask):
    """Values that are needed inside and outside, several outputs, broadcasts, Booleans and reductions; gradients."""
    hidden = pf.nn.relu(x + row) * column
    gelu = pf.nn.gelu(hidden, approximate=True)
    exact = pf.nn.gelu(hidden)
    kept = pf.cast(pf.logical_and(mask, pf.greater(gelu, 0.25)), x.dtype)
    chosen = pf.where(mask, gelu - exact, pf.sqrt(pf.abs(hidden)))
    last = pf.reduce_sum(gelu * kept, axis=-1)
    mean = pf.reduce_mean(pf.square(chosen - 1.0), axis=-1, keepdims=True)
    scaled = (chosen - mean) / (1.0 + pf.abs(mean))
    loss = pf.reduce_sum(last) + pf.reduce_sum(scaled * exact)
    return [hidden, exact, kept, last, mean, scaled, *pf.gradients(loss, [x, row, column])]


@pytest.mark.usefixtures("graph", "small")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(7, 5), (3, 50), (40, 3), (1, 9), (9, 1), (2, 3, 4), (0, 4)])
def test_a_network_has_the_same_bytes(shape, dtype, monkeypatch):
    x = pf.placeholder(dtype, shape)
    row, column = pf.placeholder(dtype, shape[-1:]), pf.placeholder(dtype, (*shape[:-1], 1))
    mask = pf.placeholder(pf.bool, shape)
    feeds = {t: rng.normal(size=t.spec.shape) for t in (x, row, column)} | {mask: rng.random(shape) < 0.5}
    outputs = network(x, row, column, mask)
    for parallel in (False, True):
        plan = plan_of(outputs, feeds, parallel=parallel)
        check_plan(plan, parallel)
        assert ("fused" in kinds(plan)) == (0 not in shape)
    assert_all_alike(outputs, feeds, monkeypatch)


UNARY = [
    pf.negative, pf.square, pf.exp, pf.tanh, pf.abs, pf.nn.relu, pf.sigmoid, pf.erf, pf.nn.softplus,
    lambda x: pf.cast(pf.cast(x, pf.int32), x.dtype), lambda x: pf.cast(pf.cast(x, pf.float64), x.dtype),
    lambda x: x * 3.0, lambda x: pf.clip_by_value(x, -1.0, 1.5), pf.floor, lambda x: pf.cast(pf.equal(x, x), x.dtype),
]  # fmt: skip
BINARY = [
    pf.add, pf.subtract, pf.multiply, pf.divide, pf.maximum, pf.squared_difference, pf.math.multiply_no_nan,
    lambda x, y: pf.where(pf.less(x, y), x, x - y), lambda x, y: pf.nn.relu(x) * pf.cast(pf.greater(x, y), x.dtype),
]  # fmt: skip
OTHER = [
    lambda x: pf.reduce_sum(x, -1, keepdims=True), lambda x: pf.reduce_max(x, axis=-1, keepdims=True),
    pf.transpose, lambda x: x[::-1], lambda x: pf.reshape(x, [-1, x.shape[0]]), lambda x: pf.matmul(x, x, True),
]  # fmt: skip
STEPS = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=25)
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, 1.0])


@pytest.mark.usefixtures("small")
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
@given(STEPS, st.sampled_from(["float32", "float64"]), st.integers(0, 2**32))
def test_random_graphs_have_the_same_bytes(steps, dtype, seed):
    draw = np.random.default_rng(seed)
    with pf.Graph().as_default(), pytest.MonkeyPatch.context() as monkeypatch:
        feeds = {pf.placeholder(dtype, s): draw.normal(size=s) for s in [(6, 9), (6, 9), (9,), (6, 1), ()]}
        next(iter(feeds.values()))[0, :7] = SPECIAL
        variable = pf.Variable(draw.normal(size=(6, 9)).astype(dtype))
        found = [*feeds, variable.value()]
        for kind, first, second in steps:
            x, y = found[-1 - first % len(found)], found[-1 - second % len(found)]
            choices = [*UNARY, *BINARY, *BINARY, *OTHER]
            function = choices[kind % len(choices)]
            try:
                made = function(x, y) if function in BINARY else function(x)
            except (pf.errors.GraphError, ValueError, TypeError, IndexError):
                continue
            found.append(made)
            if kind % 7 == 0 and made.spec.shape == (6, 9):
                found.append(variable.assign(made))
        outputs = found[6:][::2] or found
        expected = values(outputs, feeds, monkeypatch)
        for lowering in (BY_NUMPY, COMPILED):
            for threads in (1, 2):
                again = values(outputs, feeds, monkeypatch, lowering, threads)
                for a, b in zip(again, expected, strict=True):
                    np.testing.assert_array_equal(a, b, strict=True)
                    np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))
        for parallel in (False, True):
            check_plan(plan_of(outputs, feeds, parallel=parallel), parallel)


@pytest.mark.usefixtures("graph")
def test_inputs_in_any_layout(monkeypatch):
    """Views and results of unknown place, of a size at which loops are compiled as a matter of course."""
    x = pf.placeholder(pf.float32, (300, 200))
    noise = pf.reverse(x, [1])
    outputs = []
    for shown in (pf.transpose(pf.reshape(x, [200, 300])), x[::-1], pf.slice(x, [0, 0], [300, 200]), noise):
        outputs += [pf.tanh(shown * 2.0 + 1.0) * shown - 0.5, (shown + 1.0) * shown]
    feeds = {x: rng.normal(size=(300, 200))}
    assert kinds(plan_of(outputs, feeds)).count("fused") == 8
    assert_all_alike(outputs, feeds, monkeypatch)


@pytest.mark.usefixtures("graph")
def test_small_arrays_are_left_and_large_ones_need_less_memory():
    for rows, fused in ((8, False), (512, True)):
        x = pf.placeholder(pf.float32, (rows, 64))
        w = pf.matmul(x, pf.ones([64, 64]))
        y = pf.matmul(pf.exp(w) * w + pf.tanh(w * 2.0) / (1.0 + pf.square(w)), pf.ones([64, 64]))
        plan, unfused = plan_of([y], {x: (rows, 64)}), plan_of([y], {x: (rows, 64)}, disable=["fuse"])
        assert ("fused" in kinds(plan)) == fused
        assert (plan.arena_bytes < unfused.arena_bytes) == fused


@pytest.mark.usefixtures("graph", "small")
def test_a_gradient_is_written_in_its_place_and_a_variable_by_what_computes_its_value():
    w = pf.Variable(np.ones((6, 6), np.float32))
    loss = pf.reduce_sum(pf.tanh(w * w) * 0.5)
    plan = plan_of([pf.train.GradientDescentOptimizer(0.1).minimize(loss)])
    made = {plan.slots[slot].kind: step.record.name for step in plan.steps for slot in step.outputs}
    assert made["gradient"] == "fused"
    plan = plan_of([w.assign(pf.tanh(w * w) * 0.5)])
    assert kinds(plan) == ["fused", "multiply"]
    assert plan.slots[plan.steps[-1].outputs[0]].kind == "variable"


@pytest.mark.usefixtures("graph", "small")
def test_what_others_need_in_between_is_not_moved_behind_them():
    x = pf.placeholder(pf.float32, (6, 6))
    v = pf.Variable(np.ones((6, 6), np.float32))
    first = pf.exp(x) * v
    between = pf.matmul(first, x)
    last = first * between + 1.0
    assert kinds(plan_of([last], {x: (6, 6)})) == ["fused", "matmul", "fused"]
    read = v.value() * 2.0
    write = v.assign(pf.matmul(x, x))
    late = read + x
    plan = plan_of([late, write], {x: (6, 6)})
    assert "copy" not in kinds(plan)


@pytest.mark.usefixtures("graph", "small")
def test_neighbours_are_compiled_and_the_others_numpy_s(monkeypatch):
    made = []
    original = blocks.compiled
    monkeypatch.setattr(blocks, "compiled", lambda body, *args, **kw: made.append(body) or original(body, *args, **kw))
    x = pf.placeholder(pf.float32, (4, 6))
    values([pf.tanh(x * x + 1.0) * 0.5 + x], {x: np.ones((4, 6))}, monkeypatch, COMPILED)
    assert {tuple(n.op for n in body.nodes) for body in made} == {("multiply", "add"), ("multiply", "add")}
    assert all(body.nodes[0].op != "tanh" for body in made)
