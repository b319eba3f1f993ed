"""Results that are computed again instead of being kept: the same bytes from less memory."""

import numpy as np
import pytest

import paraflow as pf

from .checker import check_plan
from .plans import all_reduce_each_exchange, kinds, plan_of

pytestmark = pytest.mark.usefixtures("graph")

LAYER = 64 * 32 * 8  # bytes of one layer's result


def layers(x, number, name):
    for i in range(number):
        w = pf.Variable(np.eye(32) * 0.9 + 0.01 * i, name=f"{name}{i}")
        x = pf.tanh(pf.matmul(x, w))
    return x


def network(depth, wrap=lambda f: f):
    """A chain of layers, four of them a function that ``wrap`` may change; tanh's gradient needs its result."""
    x = pf.placeholder(pf.float64, (None, 32))
    y = x
    for i in range(depth // 4):
        y = wrap(lambda h, i=i: layers(h, 4, f"w{i}_"))(y)
    loss = pf.reduce_mean(pf.square(y))
    return x, loss, pf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)


def plans(x, loss, step, **options):
    for rewrite in (None, all_reduce_each_exchange):
        for parallel in (True, False):
            plan = plan_of([loss, step], {x: (64, 32)}, parallel=parallel, rewrite=rewrite, **options)
            check_plan(plan, parallel)
            yield parallel, plan


def test_a_training_step_keeps_about_the_root_of_its_results():
    x, loss, step = network(64)
    both = zip(plans(x, loss, step), plans(x, loss, step, rematerialise=True), strict=True)
    for (parallel, plain), (_, again) in both:
        assert plain.arena_bytes >= (128 if parallel else 64) * LAYER
        # 8 between segments, 8 of a segment and what backward makes of these, which steps in any order keep longer.
        assert again.arena_bytes <= (36 if parallel else 20) * LAYER
        assert kinds(plain).count("tanh") == 64
        assert 64 < kinds(again).count("tanh") < 128  # each once more at most, and the last segment not at all


def test_recompute_grad_keeps_only_the_results_of_a_function():
    x, loss, step = network(32, pf.recompute_grad)
    plain = list(plans(x, loss, step, disable=["rematerialise"]))
    for (parallel, kept), (_, again) in zip(plain, plans(x, loss, step), strict=True):
        assert kept.arena_bytes >= (64 if parallel else 32) * LAYER
        assert again.arena_bytes <= (25 if parallel else 14) * LAYER  # 8 results, 3 inside a function, and backward's
        assert kinds(again).count("tanh") == 32 + 8 * 3


def test_values_gradients_and_steps_have_the_same_bytes():
    data = np.random.default_rng(0).normal(size=(64, 32))
    found = []
    plain = lambda f: f  # noqa: E731
    again = [{"rematerialise": True}, {"memory_budget": 20 * LAYER}]
    for wrap, options in [(plain, {}), *((plain, each) for each in again), (pf.recompute_grad, {})]:
        with pf.Graph().as_default():
            x, loss, step = network(16, wrap)
            variables = pf.trainable_variables()
            gradients = pf.gradients(loss, variables)
            for threads in (1, 2):
                compiler = pf.CompilerOptions(**options)
                with pf.Session(threads=threads, compiler=compiler) as session:
                    session.run(pf.global_variables_initializer())
                    seen = [session.run([loss, *gradients, step], {x: data})[:-1] for _ in range(3)]
                    values = [*(v for run in seen for v in run), *session.run(variables)]
                    found.append([np.asarray(v).tobytes() for v in values])
    assert all(other == found[0] for other in found)


def test_random_numbers_are_kept():
    pf.set_random_seed(3)
    x = pf.placeholder(pf.float64, (64, 32))
    w = pf.Variable(np.ones((32, 32)))

    @pf.recompute_grad
    def noisy(h):
        return pf.tanh(pf.tanh(pf.matmul(h, w) * pf.random_uniform((64, 32), dtype=pf.float64, seed=5)))

    loss = pf.reduce_sum(noisy(x))
    (gradient,) = pf.gradients(loss, [w])
    plan = plan_of([gradient], {x: (64, 32)})
    assert kinds(plan).count("random_standard_uniform") == 1
    assert kinds(plan).count("matmul") == 3
    data = np.linspace(0, 0.01, 64 * 32).reshape(64, 32)
    with pf.Session() as session, pf.Session(compiler=pf.CompilerOptions(disable=["rematerialise"])) as other:
        for each in (session, other):
            each.run(w.initializer)
        expected = other.run(gradient, {x: data})
        assert session.run(gradient, {x: data}).tobytes() == expected.tobytes()


def test_a_function_that_returns_nested_results_and_reads_variables_of_its_own():
    @pf.recompute_grad
    def pair(h):
        """Two results."""
        inner = pf.exp(pf.sin(h))
        return {"sum": pf.reduce_sum(inner), "both": [pf.cos(inner), inner]}

    x = pf.placeholder(pf.float64, (200,))
    made = pair(x)
    (gradient,) = pf.gradients(pf.reduce_sum(made["both"][0]) + made["sum"], [x])
    data = np.linspace(-1, 1, 200)
    with pf.Session() as session:
        found = session.run(gradient, {x: data})
    inner = np.exp(np.sin(data))
    np.testing.assert_allclose(found, (1 - np.sin(inner)) * inner * np.cos(data), rtol=1e-12)
    assert pair.__doc__ == "Two results."


def test_what_runs_without_gradients_is_not_changed():
    x, loss, _ = network(16, pf.recompute_grad)
    texts = [plan_of([loss], {x: (64, 32)}, rematerialise=again).text() for again in (False, True)]
    assert texts[0] == texts[1]
    assert kinds(plan_of([loss], {x: (64, 32)})).count("tanh") == 16
