"""Building and planning take a time that grows with the graph, not with its square: counted in bytecode, not timed."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

import paraflow as pf

from .plans import plan_of


def chain(n):
    x = y = pf.placeholder(pf.float32, (None, 4))
    for _ in range(n):
        y = pf.tanh(y)
    return pf.gradients(pf.reduce_sum(y), x), x


def many_variables(n):
    x = pf.placeholder(pf.float32, (None, 4))
    variables = [pf.Variable(pf.ones([4])) for _ in range(n)]
    return pf.gradients(pf.add_n([x * variable for variable in variables]), variables), x


def many_layers(n):
    x = h = pf.placeholder(pf.float32, (None, 4))
    for _ in range(n):
        h = pf.nn.relu(pf.matmul(h, pf.Variable(pf.eye(4))) + pf.Variable(pf.zeros([4])))
    return [pf.train.GradientDescentOptimizer(0.1).minimize(pf.reduce_mean(h))], x


def one_variable(n):
    x = pf.placeholder(pf.float32, (None, 4))
    variable = pf.Variable(pf.zeros([4]))
    return [pf.assign_add(variable, variable * 0.5) for _ in range(n)], x


def instructions(work: Callable[[], object]) -> int:
    """The bytecode instructions that ``work`` executes."""
    count = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(outer)
    return count


@pytest.mark.parametrize(
    ("shape", "size"), [(chain, 50), (many_variables, 80), (many_layers, 15), (one_variable, 60)]
)
def test_effort_is_proportional_to_size(shape, size):
    def work(n):
        with pf.Graph().as_default():
            fetches, x = shape(n)
            plan_of(fetches, {x: (3, 4)}, parallel=True)

    work(2)  # what is done once only
    small, large = (instructions(lambda n=n: work(n)) for n in (size, 4 * size))
    assert large < 4.2 * small


@pytest.mark.parametrize(("shape", "size", "most"), [(chain, 200, 3500), (many_layers, 30, 3200)])
def test_planning_takes_few_instructions_for_each_operation(shape, size, most):
    with pf.Graph().as_default() as graph:
        fetches, x = shape(size)
        plan_of(fetches, {x: (3, 4)})  # what is done once only
        assert instructions(lambda: plan_of(fetches, {x: (2, 4)})) < most * len(graph.operations)
