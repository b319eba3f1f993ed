"""Random programs: the interpreter, the serial executor, the ready queue and random valid orders must agree exactly."""

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import paraflow as pf
from paraflow.comm import run_threads, solo
from paraflow.compiler import rematerialise
from paraflow.compiler.pipeline import OPTIONAL
from paraflow.runtime.context import RunContext
from paraflow.runtime.exchange import Exchange
from paraflow.runtime.executable import Executable
from paraflow.runtime.store import VariableStore
from paraflow.testing import interpret

from .checker import check_plan
from .plans import all_reduce_each_exchange, plan_of
from .programs import RECIPES, build

PASSES = st.sampled_from([(), *((name,) for name in OPTIONAL), OPTIONAL]) | st.sets(st.sampled_from(OPTIONAL))
WORLDS = [(2, 1), (2, 2), (3, 1), (3, 2), (3, 3)]  # ranks, and how many of them share memory

few = settings(max_examples=60, deadline=None, report_multiple_bugs=False, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def nothing_is_too_small(monkeypatch):
    """Random programs have small tensors, and these too are to be computed again."""
    monkeypatch.setattr(rematerialise, "SMALL", 0)


def choose(program, seed):
    """A random subset of what can be fetched, and of what can be run for its effect."""
    rng = random.Random(seed)
    tensors = rng.sample(program.tensors, min(len(program.tensors), rng.randint(1, 6)))
    targets = rng.sample(program.assignments, rng.randint(0, min(3, len(program.assignments))))
    return tensors, targets


def reference(program, tensors, targets, store):
    """What the interpreter finds; examples on which it fails (sizes that depend on values) are passed over."""
    try:
        return interpret([*tensors, *targets], program.feeds, {"store": store})[: len(tensors)]
    except ValueError:
        reject()


def assert_same(program, found, expected, store, expected_store):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    for v in program.variables:
        np.testing.assert_array_equal(store[v.spec.name], expected_store[v.spec.name])


def compiled(program, tensors, targets, parallel, rewrite=None, bucket_bytes=4 << 20, disable=(), again=False):
    options = {"parallel": parallel, "rewrite": rewrite, "bucket_bytes": bucket_bytes}
    options |= {"disable": disable, "rematerialise": again}
    return plan_of([*tensors, *targets], program.feeds, **options)


def loaded(program, plan):
    store = VariableStore()
    store.allocate(program.graph.variables)
    for name, value in program.initial_store().items():
        store[name][...] = value
        store.initialized.add(name)
    context = RunContext(store, solo(), entropy=1, samples=1, exchange=Exchange(solo(), store))
    executable = Executable(plan, context)
    executable.load(list(program.feeds.values()))
    return executable


def run_in_random_order(executable, rng):
    users, pending = executable.dependents
    pending = list(pending)
    ready = [i for i, n in enumerate(pending) if not n]
    while ready:
        number = ready.pop(rng.randrange(len(ready)))
        executable.calls[number]()
        for user in users[number]:
            pending[user] -= 1
            if not pending[user]:
                ready.append(user)
    assert not any(pending)


@few
@given(RECIPES, st.integers(0, 2**32), st.sampled_from([1, 2, 4]), PASSES, st.booleans())
def test_sessions_give_the_interpreter_s_values(recipe, seed, threads, disable, again):
    program = build(recipe)
    store = program.initial_store()
    compiler = pf.CompilerOptions(tuple(disable), rematerialise=again)
    with pf.Session(graph=program.graph, threads=threads, compiler=compiler) as session:
        for variable in program.variables:
            session.run(variable.initializer)
        for turn in range(3):
            tensors, targets = choose(program, seed + turn % 2)
            expected = reference(program, tensors, targets, store)
            found = session.run([tensors, targets], program.feeds)[0]
            assert_same(program, found, expected, session.store, store)


@few
@given(RECIPES, st.integers(0, 2**32), st.booleans(), st.sampled_from([None, 1, 100, 4 << 20]), PASSES, st.booleans())
def test_no_two_live_values_overlap(recipe, seed, parallel, bucket_bytes, disable, again):
    program = build(recipe)
    tensors, targets = choose(program, seed)
    rewrite = all_reduce_each_exchange if bucket_bytes else None
    check_plan(compiled(program, tensors, targets, parallel, rewrite, bucket_bytes or 1, disable, again), parallel)


@few
@given(RECIPES, st.integers(0, 2**32), st.sampled_from([None, 1, 100, 4 << 20]), PASSES, st.booleans())
def test_every_order_that_dependencies_allow_gives_the_same_values(recipe, seed, bucket_bytes, disable, again):
    program = build(recipe)
    tensors, targets = choose(program, seed)
    store = program.initial_store()
    expected = reference(program, tensors, targets, store)
    rewrite = all_reduce_each_exchange if bucket_bytes else None
    plan = compiled(program, tensors, targets, True, rewrite, bucket_bytes or 1, disable, again)
    for order in range(4):
        executable = loaded(program, plan)
        with np.errstate(all="ignore"):
            run_in_random_order(executable, random.Random(order))
        assert_same(program, executable.results(), expected, executable.context.store, store)


@settings(few, max_examples=25)
@given(
    RECIPES, st.integers(0, 2**32), st.sampled_from([1, 2]), st.sampled_from(WORLDS), st.sampled_from([1, 4 << 20]),
    PASSES, st.booleans(),
)  # fmt: skip
def test_ranks_that_share_variables_give_the_interpreter_s_values(
    recipe, seed, threads, world, bucket_bytes, disable, again
):
    """Ranks with the same data: the average of their gradients is the gradient of each, exactly."""
    size, ranks_per_node = world

    def rank(comm):
        program = build(recipe, unknown_rank=False)
        store = program.initial_store()
        compiler = pf.CompilerOptions(tuple(disable), rematerialise=again)
        options = {"threads": threads, "bucket_bytes": bucket_bytes, "compiler": compiler}
        with pf.Session(graph=program.graph, strategy=pf.parallel.AllReduce(comm), **options) as session:
            session.run([variable.initializer for variable in program.variables])
            for turn in range(3):
                tensors, targets = choose(program, seed + turn % 2)
                expected = reference(program, tensors, targets, store)
                found = session.run([tensors, targets], program.feeds)[0]
                comm.barrier()
                assert_same(program, found, expected, session.store, store)
                comm.barrier()

    run_threads(size, rank, ranks_per_node=ranks_per_node)
