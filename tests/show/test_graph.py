"""``paraflow graph``: what it prints and draws of configurations and scripts."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from experiment.runs import launch
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import complete, read_trace

import paraflow as pf
from paraflow.errors import ConfigError, DataError
from paraflow.show.cli import main
from paraflow.show.items import SCOPE, Box, Chart, collapse
from paraflow.show.layout import lay_out

ROOT = Path(__file__).parents[2]
DIGITS = str(ROOT / "configs" / "digits_sync.toml")
SCRIPT = """
import sys
import paraflow as pf

print("hello", sys.argv[1:])
x = pf.placeholder(pf.float32, (None, 3), name="x")
w = pf.Variable([[1.0], [2.0], [3.0]], name="w")
with pf.name_scope("outer"):
    y = pf.reduce_sum(pf.exp(pf.matmul(x, w)))
with pf.Session() as session:
    session.run(pf.global_variables_initializer())
    for _ in range(4):
        session.run(y, {x: [[1.0, 2.0, 3.0]]})
"""


@pytest.fixture
def script(tmp_path):
    pf.reset_default_graph()
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


def shown(capsys, *arguments):
    assert main(["graph", *arguments]) == 0
    return capsys.readouterr().out


def texts(svg):
    return [e.text for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_graph_of_a_configuration_is_what_the_first_pass_makes(capsys):
    graph = shown(capsys, DIGITS, "model.layers=[64,7,10]", "data.batch_size=5")
    assert "features = placeholder(dtype=float32, shape=(5, 64))" in graph
    assert re.search(r"mlp/dense/kernel/read = read_variable\(.* -> float32\(64, 7\)", graph)
    assert "exchange(" in graph
    assert "start_exchange" not in graph


def test_passes_and_the_plan_are_shown_by_name(capsys):
    assert "all_reduce(" in shown(capsys, DIGITS, "--pass", "strategy")
    assert "start_exchange(" in shown(capsys, DIGITS, "--pass", "shard_updates")
    plan = shown(capsys, DIGITS, "--plan")
    assert plan == shown(capsys, DIGITS, "--pass", "reuse")
    assert re.search(r"^arena \d+ bytes$", plan, re.MULTILINE)
    assert re.search(r"^\d+: .* = kernel matmul\(", plan, re.MULTILINE)
    assert "start_exchange" not in shown(capsys, DIGITS, "--plan", "parallel.mode=single")


def test_a_memory_budget_is_kept_and_says_what_it_takes(capsys):
    deep = (DIGITS, "model.layers=[64,64,64,64,64,64,64,64,10]", "data.batch_size=512")
    budget = "compiler.memory_budget=700 KiB"
    before, after = (
        int(re.search(r"^arena (\d+) bytes$", shown(capsys, *deep, "--plan", *given), re.MULTILINE)[1])
        for given in ([], [budget])
    )
    assert after <= 700 << 10 < before
    assert shown(capsys, *deep, "--pass", "rematerialise", budget).startswith("# plan 0, run 0 times: ")
    assert "# computed again: " in shown(capsys, *deep, "--pass", "rematerialise", budget)
    with pytest.raises(ConfigError, match=r"compiler.memory_budget = \"700 KB\?\": must be a size such as '256 MiB'"):
        main(["graph", *deep, "compiler.memory_budget=700 KB?"])
    with pytest.raises(ConfigError, match="memory_budget says how much is computed again, so it does not go with"):
        main(["graph", *deep, budget, "compiler.rematerialise=true"])


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """The directory of a run on two ranks, four of whose steps were traced, and the events of that on rank 0."""
    folder = tmp_path_factory.mktemp("traced")
    run = launch(folder, 2, DIGITS, "train.steps=8", "train.trace=[3,6]", "parallel.bucket_bytes=8192")
    assert run.code == 0, run.err
    events = read_trace(run.results.directory / "trace.json")
    steps = [*complete(events, "step", pid=0), *complete(events, "exchange", pid=0)]
    return str(run.results.directory), steps


def test_the_times_of_a_run_are_shown_with_the_plan_that_ran(capsys, traced):
    directory, events = traced
    printed = shown(capsys, "--run", directory)
    assert printed.startswith("# plan 0, run 4 times: ")
    assert "float32(32, 64)" in printed  # half of a batch
    total = float(re.search(r"mean of 4 runs, ([\d.]+) µs in steps:", printed)[1])
    assert total == pytest.approx(sum(e["dur"] for e in events) / 4, rel=0.01, abs=1)
    rows = re.findall(r"^ +([\d.]+) µs +[\d.]+%  \d+: (\w+)  # (\S+)", printed, re.MULTILINE)
    assert len(rows) == len(events) / 4
    (product,) = (float(row[0]) for row in rows if row[2] == "mlp/dense/matmul")
    assert product == pytest.approx(sum(e["dur"] for e in events if e["name"] == "mlp/dense/matmul") / 4, abs=0.2)


def test_the_times_of_a_run_are_drawn(capsys, traced, tmp_path):
    directory, events = traced
    dot = shown(capsys, "--run", directory, "--format", "dot")
    assert len(re.findall(r" µs\"", dot)) == len(events) / 4
    names = dict(re.findall(r'^  (n\d+) \[label="(\w+)', dot, re.MULTILINE))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(n\d+) -> (n\d+)", dot)}
    assert {("features", "matmul"), ("matmul", "add"), ("add", "relu"), ("start_exchange", "update")} <= edges
    path = tmp_path / "run.svg"
    assert shown(capsys, "--run", directory, "--format", "svg", "-o", str(path)) == ""
    words = texts(path.read_text())
    assert {"features", "labels", "relu", "bucket 0", "bucket 1", "32 \u00d7 64", "mlp/dense/kernel"} <= set(words)
    assert sum(bool(re.fullmatch(r"[\d.]+ (µs|ms)", w)) for w in words) >= 25


def test_plans_of_operations_that_are_not_here_are_shown_too(capsys, traced, tmp_path):
    steps = json.loads((Path(traced[0]) / "steps.json").read_text())
    steps[0]["steps"][2]["op"] = "somebody_s_own"
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    assert ": somebody_s_own  # " in shown(capsys, "--run", str(tmp_path))
    (tmp_path / "steps.json").write_text("[{")
    with pytest.raises(DataError, match=r"steps\.json: no times of steps, or damaged"):
        main(["graph", "--run", str(tmp_path)])


def test_each_step_s_mean_time_stands_below_the_plan(capsys):
    printed = shown(capsys, DIGITS, "--time", "3")
    assert printed.startswith("# plan 0, run 4 times: ")
    total = float(re.search(r"mean of 3 runs, ([\d.]+) µs in steps:", printed)[1])
    rows = re.findall(r"^ +([\d.]+) µs +([\d.]+)%  (\d+): (\w+)  #", printed, re.MULTILINE)
    assert {"matmul", "update", "start_exchange", "sparse_softmax_cross_entropy"} <= {row[3] for row in rows}
    assert sum(float(row[0]) for row in rows) == pytest.approx(total, abs=0.1 * len(rows))
    assert [float(row[0]) for row in rows] == sorted((float(row[0]) for row in rows), reverse=True)


def test_a_picture_has_every_step_with_shapes_buckets_and_times(capsys, tmp_path):
    path = tmp_path / "plan.svg"
    out = shown(capsys, DIGITS, "--time", "2", "--format", "svg", "-o", str(path), "parallel.bucket_bytes=8192")
    assert out == ""
    words = texts(path.read_text())
    assert {"features", "labels", "relu", "start_exchange", "update", "bucket 0", "bucket 1"} <= set(words)
    assert {"64 \u00d7 128", "64 \u00d7 10", "1 gradient, 32 KiB", "mlp/dense/kernel", "gradients"} <= set(words)
    assert words[0].startswith("digits_sync.toml: plan of ")
    assert sum(bool(re.fullmatch(r"[\d.]+ (µs|ms)", w)) for w in words) >= 25


def test_a_picture_of_few_boxes_has_name_scopes_instead(capsys, tmp_path):
    path = tmp_path / "plan.svg"
    shown(capsys, DIGITS, "--plan", "--format", "svg", "-o", str(path), "--boxes", "14")
    words = texts(path.read_text())
    assert {"mlp", "gradients", "accuracy", "update", "settle", "start_exchange"} <= set(words)
    assert "relu" not in words
    assert any(re.fullmatch(r"\d+ operations", w) for w in words)


def test_dot_has_the_same_boxes_and_edges(capsys):
    dot = shown(capsys, DIGITS, "--plan", "--format", "dot")
    names = dict(re.findall(r'^  (n\d+) \[label="(\w+)', dot, re.MULTILINE))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(n\d+) -> (n\d+)", dot)}
    assert {("features", "matmul"), ("matmul", "add"), ("add", "relu"), ("start_exchange", "update")} <= edges


def test_a_script_runs_and_its_plans_are_shown(capsys, script):
    assert main(["graph", script, "--time", "1", "word"]) == 0
    out, err = capsys.readouterr()
    assert err == "hello ['word']\n"
    heads = [line for line in out.splitlines() if line.startswith("# plan")]
    assert heads == ["# plan 0, run 1 times: init, w/Assign", "# plan 1, run 4 times: outer/reduce_sum"]
    assert "no times: it has not run twice" in out
    assert "mean of 3 runs" in out
    pf.reset_default_graph()
    only = shown(capsys, script, "--number", "1", "--pass", "prune")
    assert "outer/exp = exp(outer/matmul:0) -> float32(1, 1)" in only
    assert "plan 0" not in only


def test_a_script_s_error_passes_through_and_its_end_does_not(tmp_path):
    path = tmp_path / "fails.py"
    path.write_text(SCRIPT + "\nsys.exit(3)\n")
    with pytest.raises(SystemExit):
        main(["graph", str(path)])
    path.write_text(SCRIPT + "\nsys.exit()\n")
    assert main(["graph", str(path)]) == 0
    path.write_text("import paraflow\n")
    with pytest.raises(ConfigError, match="has run no session"):
        main(["graph", str(path)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([DIGITS, "--format", "svg"], "--format svg needs -o FILE.svg"),
        ([DIGITS, "--pass", "fodl"], "invalid choice: 'fodl'"),
        ([DIGITS, "--pass", "fold", "--time", "2"], "--time measures the steps of the plan"),
        (["nothing.toml"], "there is no file 'nothing.toml'"),
        ([DIGITS, "--number", "1"], "has plans 0 to 0"),
        ([], "CONFIG.toml or SCRIPT.py is missing, or --run DIRECTORY"),
        (["--run", "/nowhere"], "--run /nowhere: no steps.json there, which a run leaves that is traced: run it with"),
        ([DIGITS, "--run", "/nowhere"], "leave out CONFIG, --plan, --pass and --time"),
        ([DIGITS, "model.layer=[1]"], "unknown key; did you mean 'layers'"),
        ([DIGITS, "--format", "dot", "-o", "/nowhere/x.dot"], "-o /nowhere/x.dot: there is no folder /nowhere; make "),
        (["missing.toml", "--format", "svg", "-o", "plan.png"], "-o plan.png: it draws SVG, so name a file .svg"),
    ],
)
def test_a_faulty_command_line_is_a_configuration_error(arguments, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        main(["graph", *arguments])


def test_it_is_a_command_of_paraflow(script):
    done = subprocess.run(
        [Path(sys.executable).parent / "paraflow", "graph", script, "--number", "1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "hello []\n")
    assert "outer/matmul = matmul(" in done.stdout


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40), st.integers(20, 24))
def test_boxes_do_not_overlap_and_edges_point_downward(pairs, count):
    edges = sorted({(min(p), max(p)) for p in pairs if p[0] != p[1]})
    widths, heights = [40.0 + 7 * (i % 5) for i in range(count)], [20.0 + 5 * (i % 3) for i in range(count)]
    layout = lay_out(widths, heights, edges)
    for i, j in combinations(range(count), 2):
        (x0, y0), (x1, y1) = layout.centres[i], layout.centres[j]
        apart = abs(x0 - x1) >= (widths[i] + widths[j]) / 2 or abs(y0 - y1) >= (heights[i] + heights[j]) / 2
        assert apart, (i, j)
    for a, b in edges:
        route = layout.routes[a, b]
        assert (route[0], route[-1]) == (layout.centres[a], layout.centres[b])
        assert all(lower > upper for (_, upper), (_, lower) in pairwise(route))
    assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in layout.centres)


def test_collapsing_keeps_sums_and_the_edges_between_scopes():
    names = ["a/b/c", "a/b/d", "a/e", "f/g", "f/h", "i"]
    chart = Chart([Box(name, name, cost=2**i, microseconds=1.0) for i, name in enumerate(names)])
    for source, target in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)]:
        chart.connect(source, target, f"{source}")
    found = {limit: collapse(chart, limit) for limit in (6, 5, 3)}
    assert [b.title for b in found[6].boxes] == names
    assert [b.title for b in found[5].boxes] == ["a/b", "a/e", "f/g", "f/h", "i"]
    small = found[3]
    assert [(b.title, b.kind, b.cost, b.members, b.microseconds) for b in small.boxes] == [
        ("a", SCOPE, 7, 3, 3.0), ("f", SCOPE, 24, 2, 2.0), ("i", "compute", 32, 1, 1.0)
    ]  # fmt: skip
    assert dict(small.edges) == {(0, 1): ["2"], (1, 2): ["4"], (0, 2): ["0"]}
