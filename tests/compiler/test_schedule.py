"""The order of a plan's steps: what the earliest bucket waits for comes first, and nothing is turned round."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import solo
from paraflow.runtime.context import RunContext
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.executable import Executable
from paraflow.runtime.store import VariableStore

from .checker import check_plan
from .plans import all_reduce_each_exchange, kinds, plan_of

pytestmark = pytest.mark.usefixtures("graph")


def schedules(fetches, feeds=None, bucket_bytes=1):
    """The plan of ranks that exchange gradients without and with the pass, checked."""
    plans = []
    for disable in (["schedule"], []):
        for parallel in (True, False):
            plan = plan_of(
                fetches, feeds, parallel=parallel, rewrite=all_reduce_each_exchange, bucket_bytes=bucket_bytes,
                disable=disable,
            )  # fmt: skip
            check_plan(plan, parallel)
        plans.append(plan)
    return plans


def test_what_no_bucket_waits_for_comes_after_the_last_one():
    v, w = pf.Variable(np.ones(3), name="v"), pf.Variable(np.ones(3), name="w")
    x = pf.placeholder(pf.float64, (3,))
    y = pf.exp(v * x)
    metric = pf.reduce_max(pf.sqrt(y))  # made between forward and backward
    loss = pf.reduce_sum(y * w)
    train = pf.train.GradientDescentOptimizer(1.0).minimize(loss)
    before, after = (kinds(plan) for plan in schedules([metric, train], {x: (3,)}))
    assert sorted(before) == sorted(after)
    assert before.index("sqrt") < before.index("start_exchange")
    assert len(after) - after[::-1].index("start_exchange") <= after.index("sqrt") < after.index("reduce_max")


def test_the_first_bucket_does_not_wait_for_what_only_later_ones_need():
    """Two branches: the gradient of the later variable, whose bucket is the first, needs nothing of the other's."""
    a, b = (pf.Variable(np.ones(3), name=name) for name in "ab")
    x = pf.placeholder(pf.float64, (3,))
    early = pf.cos(x)  # the first in the program, and needed for b alone
    gradients = [x * 2.0, pf.tanh(x) * early]
    train = pf.train.GradientDescentOptimizer(1.0).apply_gradients(zip(gradients, [a, b], strict=True))
    before, after = (kinds(plan) for plan in schedules([train], {x: (3,)}))
    assert before.index("cos") < before.index("start_exchange")
    assert after.index("start_exchange") < after.index("cos") < after.index("tanh")


def test_threads_take_on_first_what_the_earliest_bucket_waits_for():
    variables = [pf.Variable(np.ones(3), name=name) for name in "ab"]
    x = pf.placeholder(pf.float64, (3,))
    gradients = [pf.cos(x), pf.exp(pf.sqrt(pf.tanh(x)))]  # the chain for the later bucket is the dearer one
    metric = pf.sin(pf.sin(pf.sin(pf.sin(x))))
    train = pf.train.GradientDescentOptimizer(1.0).apply_gradients(zip(gradients, variables, strict=True))
    options = {"parallel": True, "rewrite": all_reduce_each_exchange, "bucket_bytes": 1}
    plan = plan_of([metric, train], {x: (3,)}, **options)
    store = VariableStore()
    store.allocate(train.graph.variables)
    executable = Executable(plan, RunContext(store, solo(), entropy=1, exchange=Exchange(solo(), store)))
    ranks = {step.record.name: rank for step, rank in reversed([*zip(executable.steps, executable.ranks, strict=True)])}
    assert ranks["cos"] > ranks["tanh"] > ranks["sqrt"] > ranks["sin"]


def test_effects_keep_the_order_of_the_program():
    v, w = pf.Variable(np.ones(3), name="v"), pf.Variable(np.zeros(3), name="w", trainable=False)
    first = w.assign(pf.exp(w + 1.0))
    read = pf.sqrt(w.read_value())
    second = w.assign(pf.cos(w))
    train = pf.train.GradientDescentOptimizer(1.0).minimize(pf.reduce_sum(v * v))
    _, after = schedules([first, read, second, train])
    names = kinds(after)
    assert names.index("exp") < names.index("sqrt") < names.index("cos")


def test_without_an_exchange_the_order_stays_as_it_is():
    x = pf.placeholder(pf.float64, (3,))
    fetches = [pf.exp(x), pf.cos(x)]
    plans = [plan_of(fetches, {x: (3,)}, disable=d).text() for d in ([], ["schedule"])]
    assert plans[0] == plans[1]
