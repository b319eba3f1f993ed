"""Every example runs as its own text says, and prints what it is there to show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PARAFLOW = Path(sys.executable).with_name("paraflow")


def run(*command, cwd, **environment):
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(name, cwd):
    return run(sys.executable, "-W", "error", EXAMPLES / name, cwd=cwd)


def numbers(text):
    return np.array([float(n) for n in re.findall(r"-?\d+\.\d*(?:e-?\d+)?", text)])


def test_every_example_is_tested_here():
    text = Path(__file__).read_text()
    assert [p.name for p in sorted(EXAMPLES.glob("*.py")) if p.name not in text] == []


def test_matrix_product(tmp_path):
    out = python("01_matrix_product.py", tmp_path)
    assert "shape=(2, 1) dtype=float32" in out
    assert "[[12.]\n [34.]]" in out


def test_sample_program_prints_tensorflows_numbers(tmp_path):
    # TensorFlow 2.21, tf.compat.v1, on CPU.
    initial = [[-0.8113182, 1.4845988, 0.06532937], [-2.4427042, 0.0992484, 0.5912243]]
    final = [[-1.9618274, 2.582354, 1.6820376], [-3.4681718, 1.0698231, 2.11789]], [-1.8247148, 2.6854665, 1.418195]
    before, _, after = python("02_sample_program.py", tmp_path).partition("after 0 ")
    losses = [float(line.rpartition(" ")[2]) for line in after.splitlines() if "cross entropy" in line]
    np.testing.assert_allclose(numbers(before), np.append(initial, initial[0]), rtol=1e-7)
    np.testing.assert_allclose(losses, [0.067492485, 0.016338509, 0.009075473, 0.0071443617, 0.0057847085], rtol=1e-4)
    weights = numbers("\n".join(line for line in after.splitlines() if "cross entropy" not in line))
    np.testing.assert_allclose(weights, np.append(*final), atol=1e-3)


def test_composite_operation(tmp_path):
    rows = numbers(python("03_composite_operation.py", tmp_path)).reshape(7, 4)
    x = rows[:, 0]
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    # gelu'' (x) = (2 - x^2) * density(x)
    np.testing.assert_allclose(rows[:, 3], (2 - x**2) * density, atol=2e-6)


def test_heat_equation(tmp_path):
    out = python("04_heat_equation.py", tmp_path)
    # The centre of a square with one edge at 100 and three at 0 has 25 degrees, by symmetry; point (20, 20) of 40 lies
    # half a cell beyond it.
    assert 23 < float(re.search(r"centre has ([\d.]+)", out)[1]) < 25
    assert "@@@@" in out


def test_kmeans(tmp_path):
    out = python("05_kmeans.py", tmp_path)
    inertia = [float(n) for n in re.findall(r"inertia ([\d.]+)", out)]
    assert inertia == sorted(inertia, reverse=True)
    found = np.array(eval(out.rpartition("centres: ")[2]))
    np.testing.assert_allclose(found, [[0, 0], [5, 5], [0, 6]], atol=0.3)


@pytest.mark.parametrize("ranks", [1, 3])
def test_data_parallel(ranks, tmp_path):
    out = run(PARAFLOW, "launch", "-n", ranks, EXAMPLES / "06_data_parallel.py", cwd=tmp_path)
    assert float(re.fullmatch(rf"ranks: {ranks}, test accuracy ([\d.]+)\n", out)[1]) > 0.95


@pytest.mark.parametrize(("ranks", "pushes"), [(1, []), (3, [("0", "230"), ("1", "230")])])
def test_parameter_server(ranks, pushes, tmp_path):
    out = run(PARAFLOW, "launch", "-n", ranks, EXAMPLES / "07_parameter_server.py", cwd=tmp_path)
    assert float(re.search(r"test accuracy ([\d.]+)", out)[1]) > 0.93
    assert re.findall(r"worker (\d): (\d+) pushes", out) == pushes


@pytest.mark.parametrize("way", ["accumulate", "topk", "backup_workers", "stale_synchronous", "diloco", "gossip"])
def test_every_strategy(way, tmp_path):
    out = run(PARAFLOW, "launch", "-n", 3, EXAMPLES / "19_every_strategy.py", way, cwd=tmp_path)
    assert float(re.fullmatch(rf"{way}: test accuracy ([\d.]+), ranks that trained: \d\n", out)[1]) > 0.93


@pytest.mark.parametrize("ranks", [1, 3])
def test_flags_and_logging(ranks, tmp_path):
    script = EXAMPLES / "20_flags_and_logging.py"
    command = [PARAFLOW, "launch", "-n", ranks, script, "--epochs=2", "--layers=64,32", "--activation", "tanh"]
    first, second = (run(*command, cwd=tmp_path) for _ in range(2))  # the second starts where the first ended
    told = r"INFO:paraflow:epoch 0: accuracy [\d.]+\nINFO:paraflow:epoch 1: accuracy [\d.]+\n"
    before = re.fullmatch(rf"{told}accuracy of 359 digits: ([\d.]+)\n", first)[1]
    after = re.fullmatch(rf"INFO:paraflow:starts with .*model\n{told}accuracy of 359 digits: ([\d.]+)\n", second)[1]
    assert 0.9 < float(after) > float(before)
    assert (tmp_path / "runs" / "flags" / "model.safetensors").is_file()
    assert "--[no]verbose" in run(sys.executable, script, "--help", cwd=tmp_path)


def test_monitored_session(tmp_path):
    """Each run goes on where the last one was, on another number of ranks."""
    script = EXAMPLES / "21_monitored_session.py"
    scores = []
    for first, ranks in ((0, 2), (150, 1)):
        out = run(PARAFLOW, "launch", "-n", ranks, script, cwd=tmp_path)
        told, _, result = out.rpartition("ranks: ")
        assert len(re.findall(r"INFO:paraflow:loss = [\d.]+, step = \d*1\b", told)) == 3  # rank 0 speaks for all
        wanted = rf"{ranks}, steps {first} to {first + 150}, test accuracy ([\d.]+)\n"
        scores.append(float(re.fullmatch(wanted, result)[1]))
        assert (tmp_path / "runs" / "monitored" / f"model.ckpt-{first + 150}.safetensors").is_file()
    assert 0.9 < scores[0] < scores[1]


def test_own_operation(tmp_path):
    out = python("08_own_operation.py", tmp_path)
    assert float(out.rpartition(" ")[2]) < 1e-8


def test_plot_runs(tmp_path):
    run(PARAFLOW, "run", EXAMPLES.parent / "configs" / "digits_sync.toml", "train.epochs=2", cwd=tmp_path)
    runs = list((tmp_path / "runs").iterdir())
    out = run(sys.executable, EXAMPLES / "09_plot_runs.py", *runs, "-o", tmp_path / "runs.svg", cwd=tmp_path)
    assert out == f"1 runs drawn in {tmp_path / 'runs.svg'}\n"
    assert runs[0].name.encode() in (tmp_path / "runs.svg").read_bytes()


def test_straggler(tmp_path):
    # examples/10_straggler.py holds the builder of this configuration.
    config = EXAMPLES.parent / "configs" / "digits_straggler.toml"
    options = ["train.steps=30", "train.evaluate_every=0", "data.options.slow_rank=0", "data.options.slow_factor=5.0"]
    out = run(PARAFLOW, "launch", "-n", 2, config, *options, cwd=tmp_path)
    assert "\nrank 0 held the others up: they waited " in out
    assert "who waited for whom" in next(tmp_path.glob("runs/*/waits.svg")).read_text()


@pytest.mark.parametrize("ranks", [1, 2])
def test_embeddings(ranks, tmp_path):
    out = run(PARAFLOW, "launch", "-n", ranks, EXAMPLES / "11_embeddings.py", cwd=tmp_path)
    accuracy, rows = re.fullmatch(rf"ranks: {ranks}, test accuracy ([\d.]+), (\d+) of 2000 rows a step\n", out).groups()
    assert float(accuracy) > 0.7
    assert 250 < int(rows) < 320


@pytest.mark.parametrize("ranks", [1, 2])
def test_convolutions(ranks, tmp_path):
    out = run(PARAFLOW, "launch", "-n", ranks, EXAMPLES / "13_convolutions.py", cwd=tmp_path)
    assert float(re.fullmatch(rf"ranks: {ranks}, test accuracy ([\d.]+)\n", out)[1]) > 0.97


def test_recurrent(tmp_path):
    out = run(PARAFLOW, "launch", "-n", 2, EXAMPLES / "16_recurrent.py", cwd=tmp_path)
    own, whole = map(float, re.fullmatch(r"rank 0: test accuracy ([\d.]+), over all ranks ([\d.]+)\n", out).groups())
    assert whole > 0.95
    assert own == pytest.approx(whole, abs=0.02)


def test_checkpoints(tmp_path):
    """Killed between runs or not: each goes on where the last one was, on another number of ranks."""
    script = EXAMPLES / "14_checkpoints.py"
    scores = []
    for first, ranks in ((1, 2), (4, 3), (7, 1)):
        out = run(PARAFLOW, "launch", "-n", ranks, script, cwd=tmp_path)
        path, score = re.fullmatch(
            rf"epochs {first} to {first + 2}, ranks: {ranks}, saved as (runs/checkpoints/digits-\d+)\n"
            r"test accuracy of the averages ([\d.]+)\n", out
        ).groups()  # fmt: skip
        steps = 23 * (first + 2)
        assert path == f"runs/checkpoints/digits-{steps}"
        kept = [f"digits-{steps - 23}.safetensors", f"digits-{steps}.safetensors"]
        assert set(kept) <= {p.name for p in (tmp_path / "runs/checkpoints").iterdir()}
        assert len(list((tmp_path / "runs/checkpoints").iterdir())) == 5  # each with its graph
        scores.append(float(score))
        assert [p.name for p in tmp_path.iterdir()] == ["runs"]  # which git ignores
    assert scores[0] > 0.85
    assert scores[-1] > 0.95


@pytest.mark.parametrize("ranks", [1, 2])
def test_loops(ranks, tmp_path):
    out = run(PARAFLOW, "launch", "-n", ranks, EXAMPLES / "15_loops.py", cwd=tmp_path)
    assert out.endswith("length 1.200, friction 0.300\n")


@pytest.mark.parametrize("ranks", [1, 3])
def test_kernel_in_c(ranks, tmp_path):
    """Ranks that all come to compile at once leave one library, and nothing unfinished."""
    cache = tmp_path / "cache"
    out = run(PARAFLOW, "launch", "-n", ranks, EXAMPLES / "17_kernel_in_c.py", cwd=tmp_path, PARAFLOW_CACHE=str(cache))
    assert "ok           the kernel in " in out
    assert "FAILED" not in out
    assert float(re.search(rf"\nranks: {ranks}, test accuracy ([\d.]+)\n", out)[1]) > 0.95
    assert len(list(cache.glob("*.headers"))) == 1
    assert [path.name for path in cache.iterdir() if path.suffix not in (".so", ".headers")] == []


def test_kernel_in_cpp(tmp_path):
    report, _, centres = python("17_kernel_in_cpp.py", tmp_path).partition("mean squared distance")
    assert "ok           the kernel in " in report
    np.testing.assert_allclose(numbers(centres), [0.18, 0, 0, 5, 5, 0, 6], atol=0.1)


@pytest.mark.parametrize("ranks", [1, 2])
def test_export_and_serve(ranks, tmp_path):
    out = run(PARAFLOW, "launch", "-n", ranks, EXAMPLES / "18_export_and_serve.py", cwd=tmp_path)
    written, all_operations = map(int, re.fullmatch(r"(\d+) of (\d+) operations written\n", out).groups())
    assert written < all_operations / 3
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]  # which git ignores
    out = run(sys.executable, "-W", "error", EXAMPLES / "18_export_and_serve.py", "runs/served/digits", cwd=tmp_path)
    assert float(re.fullmatch(r"first answers \[\d(?:, \d){7}\], accuracy ([\d.]+)\n", out)[1]) > 0.95


def test_sample_experiment(tmp_path):
    # examples/sample_experiment.py holds the builders of this configuration.
    config = EXAMPLES.parent / "configs" / "sample_program.toml"
    out = run(PARAFLOW, "run", config, "train.steps=1000", cwd=tmp_path)
    assert "1000 steps" in out


@pytest.mark.parametrize("ranks", [1, 3])
def test_uneven(ranks, tmp_path):
    out = run(PARAFLOW, "launch", "-n", ranks, EXAMPLES / "12_uneven.py", cwd=tmp_path)
    assert "rank 0: 240 samples, 150 of 230 batches were empty\n" in out or ranks == 1
    assert float(out.rpartition("accuracy ")[2]) > 0.93
