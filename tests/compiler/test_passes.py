"""Passes by name: leaving out an optional one changes no byte of a result, and what each makes can be read as text."""

import numpy as np
import pytest

import paraflow as pf
from paraflow.comm import run_threads
from paraflow.compiler import rematerialise
from paraflow.compiler.pipeline import OPTIONAL, PASSES, PLACING, STAGES
from paraflow.errors import InvalidArgumentError
from paraflow.parallel import AllReduce
from paraflow.runtime import control
from paraflow.runtime.executable import Executable

from .checker import check_plan
from .plans import kinds, plan_of

rng = np.random.default_rng(0)
FEATURES, LABELS = rng.normal(size=(11, 8)).astype(np.float32), rng.integers(0, 4, 11).astype(np.int32)


def network():
    """A small network with everything that passes look at: views, dropout, statistics, constants, clipping, slots, and
    a loop and branches that have some of that too."""
    pf.set_random_seed(1)
    x, labels = pf.placeholder(pf.float32, (None, 8)), pf.placeholder(pf.int32, (None,))
    training = pf.placeholder(pf.bool, ())
    hidden = pf.layers.dense(x * (pf.constant(2.0) - 1.0), 12, activation=pf.tanh)
    hidden = pf.layers.batch_normalization(hidden, training=training)
    hidden = pf.layers.dropout(pf.reshape(pf.reshape(hidden, [-1, 3, 4]), [-1, 12]), 0.3, training=training)
    w = pf.Variable(np.float32(0.3) * np.eye(12, dtype=np.float32))

    def turn(i, h):
        h = pf.nn.dropout(pf.tanh(pf.matmul(h, w) * (pf.constant(2.0) - 1.0)) + pf.tanh(pf.matmul(h, w)), rate=0.1)
        parts = pf.split(h, 2, 1)
        turned = lambda: pf.concat([parts[1] / 1.0, pf.negative(-parts[0])], 1)  # noqa: E731
        return i + 1, pf.cond(i > 0, turned, lambda: h + parts[0][0, 0])

    _, hidden = pf.while_loop(lambda i, h: i < 3, turn, (0, hidden))
    logits = pf.layers.dense(hidden, 4) / 1.0
    loss = pf.reduce_mean(pf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    optimizer = pf.train.AdamOptimizer(0.01)
    gradients, variables = zip(*optimizer.compute_gradients(loss), strict=True)
    clipped, norm = pf.clip_by_global_norm(gradients, 1.0)
    with pf.control_dependencies(pf.get_collection(pf.GraphKeys.UPDATE_OPS)):
        step = optimizer.apply_gradients(zip(clipped, variables, strict=True))
    return x, labels, training, loss, norm, step


def trained(ranks, disable, threads=1, **options):
    """Losses, norms and final variables of some steps, as bytes, of each rank."""

    def rank(comm):
        with pf.Graph().as_default():
            x, labels, training, loss, norm, step = network()
            rows = np.array_split(np.arange(11), ranks)[comm.rank]
            compiler = pf.CompilerOptions(disable=disable, **options)
            with pf.Session(strategy=AllReduce(comm), threads=threads, compiler=compiler) as session:
                session.run(pf.global_variables_initializer())
                feeds = {x: FEATURES[rows], labels: LABELS[rows]}
                seen = [session.run([loss, norm, step], {**feeds, training: True})[:2] for _ in range(3)]
                seen.append(session.run(loss, {**feeds, training: False}))
                values = session.run(pf.global_variables())
                return [np.asarray(v).tobytes() for v in (*seen, *values)]

    return run_threads(ranks, rank, timeout=60)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_training_has_the_same_bytes_without_an_optional_pass(ranks):
    expected = trained(ranks, ())
    for i, disable in enumerate((*((name,) for name in OPTIONAL), OPTIONAL)):
        assert trained(ranks, disable, threads=1 + i % 2) == expected, disable


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_training_has_the_same_bytes_with_results_computed_again(ranks, monkeypatch):
    monkeypatch.setattr(rematerialise, "SMALL", 0)
    for threads in (1, 2):
        assert trained(ranks, (), threads, rematerialise=True) == trained(ranks, ())


@pytest.mark.usefixtures("graph")
def test_each_optional_pass_does_what_its_name_says():
    x = pf.placeholder(pf.float32, (4, 4))
    v = pf.Variable(np.ones((4, 4), np.float32))
    y = pf.exp(x * 1.0) + pf.exp(x) + pf.constant(2.0) * 3.0
    made = v.assign(pf.tanh(y) + v)

    def plan(*disable):
        found = plan_of([made], {x: (4, 4)}, disable=disable)
        check_plan(found, parallel=False)
        return found

    assert kinds(plan()) == ["exp", "add", "add", "tanh", "add"]
    assert kinds(plan("fold")) == ["exp", "add", "multiply", "add", "tanh", "add"]
    assert kinds(plan("simplify")) == ["multiply", "exp", "exp", "add", "add", "tanh", "add"]
    assert kinds(plan("merge")) == ["exp", "exp", "add", "add", "tanh", "add"]
    assert kinds(plan("in_place")) == ["exp", "add", "add", "tanh", "add", "assign_variable"]
    assert plan().arena_bytes == 64
    assert plan("in_place").arena_bytes == 128
    assert plan("in_place", "reuse").arena_bytes == 5 * 64
    assert plan("reuse").arena_bytes == 64

    stages = {}
    plan_of([made], {x: (4, 4)}, observe=lambda number, name, result: stages.update({name: result}))
    assert [stages[name].arena_bytes for name in ("lower", "in_place", "reuse")] == [5 * 64, 64, 64]
    assert kinds(stages["lower"]) == ["exp", "add", "add", "tanh", "add", "assign_variable"]
    assert stages["reuse"].text() == plan().text()


@pytest.mark.usefixtures("graph")
def test_prune_leaves_out_what_loops_and_branches_make_for_nobody():
    x = pf.placeholder(pf.float32, (3,))
    folded = pf.foldl(lambda a, row: a * 0.5 + row * 2.0, x)
    chosen = pf.cond(x[0] > 0, lambda: (x * 2.0, pf.exp(x)), lambda: (x, x + 1.0))[1]
    (slope,) = pf.gradients(pf.reduce_sum(folded), x)

    def running(fetch, disable=()):
        plan = plan_of([fetch], {x: (3,)}, disable=disable)
        return [(s.record.name, len(s.outputs)) for s in plan.steps if s.record.name.startswith("stateless")]

    assert running(chosen) == [("stateless_cond", 1)]
    assert running(folded) == [("stateless_while", 2)]  # the result and the number of turns
    assert running(slope) == [("stateless_while", 3)]  # the backward one alone, once only a shape is used of the other
    assert running(chosen, ["prune"])[0][1] > 2
    assert [name for name, _ in running(slope, ["prune"])] == ["stateless_while", "stateless_while"]


@pytest.mark.usefixtures("graph")
def test_a_pass_that_is_left_out_is_left_out_in_branches_and_loops_too(monkeypatch):
    seen = []

    class Loaded(Executable):
        def __init__(self, plan, *args, **options):
            seen.append(kinds(plan))
            super().__init__(plan, *args, **options)

    monkeypatch.setattr(control, "Executable", Loaded)
    x = pf.placeholder(pf.float32, (4,))

    def body(i, y):
        inner = pf.while_loop(lambda j, z: j < 2, lambda j, z: (j + 1, z * 1.0), (0, y))[1]
        return i + 1, pf.cond(i < 1, lambda: pf.exp(inner) + pf.exp(inner), lambda: pf.negative(-inner))

    _, y = pf.while_loop(lambda i, y: i < 2, body, (0, x))
    inside = []
    for disable in ((), sorted({*OPTIONAL} - {"prune"})):
        with pf.Session(compiler=pf.CompilerOptions(disable)) as session:
            inside.append(session.run(y, {x: np.arange(4.0)}).tobytes())
        inside.append(sorted(seen))
        seen.clear()
    assert inside[0] == inside[2]
    whole, less = ([k for k in plans if "stateless_cond" not in k] for plans in inside[1::2])
    assert whole == [[], [], ["exp", "add"]]
    assert less == [["exp", "exp", "add"], ["multiply"], ["negative", "negative"]]


@pytest.mark.usefixtures("graph")
def test_a_pass_that_finds_nothing_to_do_copies_nothing():
    x, y = pf.placeholder(pf.float32, (None, 4)), pf.Variable(pf.ones([4]))
    stages = {}

    def observe(number, name, result):
        stages[number, name] = result

    plan_of([pf.exp(x) * y], {x: (3, 4)}, observe=observe)
    *programs, _, _, _ = stages.values()
    assert len(programs) == 15
    assert all(program is programs[0] for program in programs)

    twice = pf.exp(x)
    plan_of([pf.exp(x) + twice * 1.0], {x: (3, 4)}, observe=observe)
    copied = [name for (_, name), program, before in zip(
        list(stages)[1:-3], list(stages.values())[1:-3], stages.values(), strict=False
    ) if program is not before]  # fmt: skip
    assert copied == ["merge", "simplify"]


@pytest.mark.usefixtures("graph")
def test_parts_of_known_places_are_views():
    x = pf.placeholder(pf.float32, (4, 6))
    parts = [*pf.split(x, [1, 2, -1], 1), *pf.unstack(x, axis=1), *pf.split(x, 2)]
    assert kinds(plan_of(parts, {x: (4, 6)})) == []
    value = np.arange(24, dtype=np.float32).reshape(4, 6)
    expected = [*np.split(value, [1, 3], 1), *np.moveaxis(value, 1, 0), *np.split(value, 2)]
    with pf.Session() as session:
        for a, b in zip(session.run(parts, {x: value}), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("graph")
def test_each_plan_leaves_a_file_for_each_pass(tmp_path):
    x = pf.placeholder(pf.float32, (None,), name="x")
    y = pf.exp(pf.constant(2.0) * 3.0) * x
    compiler = pf.CompilerOptions(disable=["merge"], dump="all", directory=str(tmp_path / "plans"))
    with pf.Session(compiler=compiler) as session:
        for size in (1, 2):
            session.run(y, {x: np.ones(size)})
    names = ["specialise", *(name for name, _ in PASSES), "lower", *PLACING]
    numbered = [f"{i:02}-{name}.txt" for i, name in enumerate(names)]
    written = [name for name in numbered if "merge" not in name]
    plans = [tmp_path / "plans" / name for name in ("plan-000", "plan-001")]
    assert sorted((tmp_path / "plans").iterdir()) == plans
    for plan in plans:
        assert sorted(p.name for p in plan.iterdir()) == written
    before, after = (next(plans[1].glob(f"*-{name}.txt")).read_text() for name in ("strategy", "fold"))
    assert "exp = exp(multiply:0) -> float32()\n" in before
    assert "exp = constant(value=float32 403.4287" in after
    assert after.endswith("feeds x:0\nfetches multiply_1:0\ntargets \n")
    assert "kernel multiply" in (plans[1] / written[-1]).read_text()


def test_only_the_passes_that_are_named_are_written_and_by_rank_0_alone(tmp_path):
    trained(3, (), dump=["fold", "lower"], directory=str(tmp_path))
    names = {tuple(sorted(p.name[3:] for p in plan.iterdir())) for plan in tmp_path.iterdir()}
    assert names == {("fold.txt", "lower.txt")}
    assert len(list(tmp_path.iterdir())) == 5  # one of them made again, as variables become shared


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"disable": ["fodl"]}, f"disable: 'fodl' is no pass; known are {', '.join(OPTIONAL)}; did you mean 'fold'"),
        ({"disable": ["shard_updates"]}, f"disable: 'shard_updates' is not optional; known are {', '.join(OPTIONAL)}"),
        ({"disable": ["specialise"]}, r"'specialise' is not optional \(it takes from the graph what a run asks for"),
        ({"disable": "fold"}, f"disable: must be a list of names of passes, of {', '.join(OPTIONAL)}"),
        ({"dump": ["fuze"]}, f"dump: 'fuze' is no pass; known are {', '.join(STAGES)}"),
        ({"dump": "al"}, "dump: must be 'all' or a list of names of passes, of specialise, prune"),
    ],
)
def test_a_name_that_is_no_pass_is_refused_with_the_names_that_are(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        pf.CompilerOptions(**options)
