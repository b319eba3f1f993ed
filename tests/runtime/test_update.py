"""Elementwise programs on registers: what they compute lies where it overwrites nothing that is still needed."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paraflow as pf
from paraflow.kernels.registers import allocate_registers
from paraflow.ops.update import Body, Node

F64 = np.dtype(np.float64)


def run_in_place(body, registers):
    """The registers after the allocated steps, with scratch behind them."""
    found = allocate_registers(body, [F64] * body.states)
    registers = [np.array(r) for r in registers] + [np.full(2, np.nan) for _ in found.scratch]
    for step in found.steps:
        step.function(*(registers[r] for r in step.inputs), registers[step.output])
    return registers


@st.composite
def bodies(draw):
    """States that become nodes, leaves, and one another."""
    states, leaves = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    nodes = []
    for i in range(draw(st.integers(0, 4))):
        operand = st.integers(0, states + leaves + i - 1)
        nodes.append(Node("subtract", (), (draw(operand), draw(operand)), "float64"))
    value = st.integers(0, states + leaves + len(nodes) - 1)
    return Body(states, leaves, 0, tuple(nodes), tuple((s, draw(value)) for s in draw(st.permutations(range(states)))))


@settings(max_examples=300, deadline=None)
@given(bodies())
def test_all_states_get_their_new_values_at_once(body):
    given_values = [np.array([3.0**i, -(2.0**i)]) for i in range(body.states + body.leaves)]
    values = list(given_values)
    for node in body.nodes:
        values.append(values[node.inputs[0]] - values[node.inputs[1]])
    found = run_in_place(body, given_values)
    for state, register in body.writes:
        np.testing.assert_array_equal(found[state], values[register])


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize("size", [3, 50_000])
def test_slots_may_change_places(size):
    """m, v := v, m beside a gradient step, with numpy's kernels and compiled."""
    w = pf.Variable(np.ones(size), name="w")
    m, v = (pf.Variable(np.full(size, x), trainable=False, slot_of="w") for x in (1.0, 2.0))
    ((gradient, _),) = pf.train.GradientDescentOptimizer(1.0).compute_gradients(pf.reduce_sum(w * w) * 0.5)
    old_m, old_v = m.value(), v.value()
    step = pf.group(m.assign(old_v), v.assign(old_m), w.assign_sub(gradient))
    with pf.Session() as session:
        session.run(pf.global_variables_initializer())
        assert "update" in {s.record.name for s in session.plan(step).steps}
        session.run(step)
        assert [float(x[0]) for x in session.run([m, v, w])] == [2.0, 1.0, 0.0]


@pytest.mark.usefixtures("graph")
def test_updates_may_be_longer_chains_than_python_can_recurse():
    """Of the gradient, and of a scalar that can be moved up to its operands."""
    length = 2 * sys.getrecursionlimit()
    w = pf.Variable(np.ones(2), name="w")
    rate = pf.placeholder(pf.float64, ())
    ((gradient, _),) = pf.train.GradientDescentOptimizer(1.0).compute_gradients(pf.reduce_sum(w * w) * 0.5)
    scale = rate
    for _ in range(length):
        gradient, scale = gradient + 1.0, scale + 1.0
    step = w.assign_sub(gradient * scale)
    with pf.Session() as session:
        session.run(w.initializer)
        session.run(step, {rate: 1.0})
        assert session.run(w).tolist() == [1 - (length + 1.0) ** 2] * 2


@pytest.mark.usefixtures("graph")
def test_a_value_read_before_another_assignment_is_not_the_state():
    w = pf.Variable(np.full(3, 5.0), name="w")
    ((gradient, _),) = pf.train.GradientDescentOptimizer(1.0).compute_gradients(pf.reduce_sum(w * w) * 0.5)
    old = w.value()
    between = w.assign(w * 10.0)
    step = pf.group(between, w.assign(old - gradient))
    with pf.Session() as session:
        session.run(w.initializer)
        session.run(step)
        assert session.run(w).tolist() == [5.0 - 5.0] * 3
