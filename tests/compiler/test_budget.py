"""A budget for the memory of a training step: what is computed again so that results fall under it."""

import re

import numpy as np
import pytest

import paraflow as pf
from paraflow.compiler.budget import bytes_text, parse_bytes
from paraflow.errors import InvalidArgumentError

from .checker import check_plan
from .plans import all_reduce_each_exchange, kinds, plan_of
from .test_rematerialise import LAYER, network

pytestmark = pytest.mark.usefixtures("graph")


def fitted(x, loss, step, budget, **options):
    """The plan within a budget, and what the pass says of it."""
    seen = {}
    plan = plan_of(
        [loss, step], {x: (64, x.shape[1])}, memory_budget=budget,
        observe=lambda number, name, made: seen.update({name: made}), **options,
    )  # fmt: skip
    check_plan(plan, options.get("parallel", False))
    return plan, seen["rematerialise"].text().splitlines()[0]


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("rewrite", [None, all_reduce_each_exchange])
def test_a_smaller_budget_is_kept_by_computing_more_again(parallel, rewrite):
    x, loss, step = network(32)
    plain = plan_of([loss, step], {x: (64, 32)}, parallel=parallel, rewrite=rewrite)
    before = 32
    for share in (0.9, 0.7, 0.5):
        budget = int(plain.arena_bytes * share)
        plan, note = fitted(x, loss, step, budget, parallel=parallel, rewrite=rewrite)
        assert plan.arena_bytes <= budget
        assert before < kinds(plan).count("tanh") < 64
        assert f": {bytes_text(plan.arena_bytes)} for results, not {bytes_text(plain.arena_bytes)}" in note
        assert note.startswith("# computed again: ")
        again, total = map(int, re.search(r"again: (\d+) of (\d+) operations", note).groups())
        assert total > again >= kinds(plan).count("tanh") - 32
        before = kinds(plan).count("tanh")


def test_a_budget_that_is_kept_anyway_changes_nothing():
    x, loss, step = network(16)
    plain = plan_of([loss, step], {x: (64, 32)})
    plan, note = fitted(x, loss, step, plain.arena_bytes)
    assert plan.text() == plain.text()
    assert note.startswith(f"# nothing is computed again: {bytes_text(plain.arena_bytes)} for results are within")


def test_what_is_cheap_is_computed_again_rather_than_products():
    """Backward needs what each of these functions is given; the product that the first is given makes all others."""
    x = h = pf.placeholder(pf.float64, (None, 256))
    for _ in range(8):
        h = pf.cos(pf.sin(pf.cos(pf.sin(pf.matmul(h, pf.Variable(np.eye(256)))))))
    loss = pf.reduce_sum(h)
    step = pf.train.GradientDescentOptimizer(0.1).minimize(loss)
    plain = plan_of([loss, step], {x: (64, 256)})
    plan, note = fitted(x, loss, step, int(plain.arena_bytes * 0.6))
    assert kinds(plan).count("matmul") == kinds(plain).count("matmul")
    assert note.count("of the others what is cheap") == 1


def test_a_budget_that_cannot_be_kept_is_an_error_that_says_what_can():
    x, loss, step = network(32)
    with pytest.raises(InvalidArgumentError, match=r"cannot keep to 64 KiB: its results take .* raise the budget") as e:
        fitted(x, loss, step, 4 * LAYER)
    least = int(re.search(r"\((\d+) bytes\)", str(e.value))[1])
    plan, _ = fitted(x, loss, step, least)
    assert plan.arena_bytes <= least


def test_what_does_not_train_needs_no_budget():
    x, loss, _ = network(16)
    assert plan_of([loss], {x: (64, 32)}, memory_budget=1).text() == plan_of([loss], {x: (64, 32)}).text()


def test_uneven_ranks_that_compute_different_parts_again_train_the_same_bytes():
    rng = np.random.default_rng(3)
    batches = [rng.normal(size=(n, 32)) for n in (64, 24, 40)]

    def train(comm, budget):
        with pf.Graph().as_default():
            x, loss, step = network(16)
            strategy = pf.parallel.AllReduce(comm)
            compiler = pf.CompilerOptions(memory_budget=budget)
            with pf.Session(strategy=strategy, bucket_bytes=3 * 32 * 32 * 8, compiler=compiler) as session:
                session.run(pf.global_variables_initializer())
                losses = [session.run([loss, step], {x: batches[comm.rank]})[0] for _ in range(3)]
                return np.array([losses, *map(np.sum, session.run(pf.trainable_variables()))], object).tolist()

    kept = pf.comm.run_threads(3, lambda comm: train(comm, None))
    assert pf.comm.run_threads(3, lambda comm: train(comm, "190 KiB")) == kept


@pytest.mark.parametrize(
    ("text", "size"),
    [("256 MiB", 256 << 20), ("1.5GB", 1_500_000_000), (" 4096 ", 4096), (4096, 4096), ("3 KiB", 3072), ("12 B", 12)],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size
    assert pf.CompilerOptions(memory_budget=text).budget == size


@pytest.mark.parametrize("text", ["much", "", "256 MiBs", "-1", 0, "0.1 B", True, 1.5j])
def test_what_is_no_size(text):
    with pytest.raises(InvalidArgumentError, match=r"memory_budget: must be a size such as '256 MiB'"):
        pf.CompilerOptions(memory_budget=text)


@pytest.mark.parametrize("other", [{"rematerialise": True}, {"disable": ["rematerialise"]}])
def test_a_budget_goes_with_nothing_else_that_says_what_is_computed_again(other):
    with pytest.raises(InvalidArgumentError, match="leave one of the two out"):
        pf.CompilerOptions(memory_budget="1 GiB", **other)
