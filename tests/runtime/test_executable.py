"""A plan in memory: what it holds on to, and what it returns."""

import weakref

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import solo
from paraflow.compiler.pipeline import compile_plan
from paraflow.runtime.context import RunContext
from paraflow.runtime.executable import Executable
from paraflow.runtime.executors import SerialExecutor
from paraflow.runtime.store import VariableStore

pytestmark = pytest.mark.usefixtures("graph")


class Alive(np.ndarray):
    """An array that can be watched."""


WATCHED = []


@pf.op
def watched(x):
    """x + 1, in memory of its own that is watched."""
    result = (x + 1).view(Alive)
    WATCHED.append(weakref.ref(result))
    return result


@watched.shape
def _(x):
    return pf.Spec(x.dtype, x.shape)


@pf.op
def count_alive(x):
    """How many watched arrays there are."""
    return np.array(sum(w() is not None for w in WATCHED), np.int64)


@count_alive.shape
def _(x):
    return pf.Spec(np.dtype(np.int64), ())


def load(fetches, feeds):
    store = VariableStore()
    store.allocate(fetches[0].graph.variables)
    _, plan = compile_plan(fetches[0].graph, fetches, [], {t: np.shape(v) for t, v in feeds.items()})
    executable = Executable(plan, RunContext(store, solo(), entropy=1, samples=1))
    executable.load([np.asarray(v, t.dtype) for t, v in feeds.items()])
    return executable


@pytest.mark.parametrize("use", [pf.exp, lambda x: pf.concat([x, x], 0), lambda x: pf.transpose(x)[::-1] * 2.0])
def test_a_body_s_result_goes_when_its_last_user_has_run(use):
    """The last user may be a kernel, another body, or a kernel that reads a view."""
    del WATCHED[:]
    x = pf.placeholder(pf.float64, (2, 2))
    last = use(watched(x))
    with pf.control_dependencies([last]):
        count = count_alive(last)
    executable = load([last, count], {x: np.zeros((2, 2))})
    SerialExecutor().execute(executable)
    assert len(WATCHED) == 1
    assert executable.results()[1] == 0


def test_runs_leave_nothing_of_one_another():
    x = pf.placeholder(pf.float64, (None,))
    y = pf.boolean_mask(x, pf.greater(x, 0.0))
    executable = load([y, pf.reduce_sum(y)], {x: [1.0, -1.0, 2.0]})
    for at in ([1.0, -1.0, 2.0], [-1.0, -1.0, -1.0], [3.0, 4.0, 5.0]):
        executable.load([np.array(at)])
        SerialExecutor().execute(executable)
        found, total = executable.results()
        assert found.tolist() == [v for v in at if v > 0]
        assert total == sum(v for v in at if v > 0)


def test_blocks_start_on_cache_lines():
    x = pf.placeholder(pf.float32, (3,))
    executable = load([pf.exp(x), pf.tanh(x), pf.sin(x)], {x: [1.0, 2.0, 3.0]})
    arrays = [executable.values[i] for i, slot in enumerate(executable.plan.slots) if slot.kind == "arena"]
    assert len(arrays) == 3
    assert all(array.ctypes.data % 64 == 0 for array in arrays)
