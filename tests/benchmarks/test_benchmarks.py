"""Every benchmark runs, in its smallest form and without peers; no time is judged."""

import json
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpirun import run_ranks

from paraflow.experiment.metrics import read_metrics

HERE = Path(__file__).resolve().parent
SECONDS = 120


def run(script: str, *arguments: str) -> str:
    """The standard output of a benchmark."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def results(tmp_path: Path, script: str, *arguments: str) -> tuple[str, Any]:
    """What a benchmark prints, and what it writes for --json."""
    file = tmp_path / "results.json"
    output = run(script, *arguments, "--json", str(file))
    return output, json.loads(file.read_text())


def assert_times(values: dict[str, list[float]], names: set[str], rounds: int) -> None:
    assert set(values) == names
    for times in values.values():
        assert len(times) == rounds
        assert all(time > 0 and math.isfinite(time) for time in times)


@pytest.mark.parametrize(
    "script",
    [
        "training_step.py", "sample_program.py", "startup.py", "executors.py", "profile_step.py", "stragglers.py",
        "compression.py", "simulate_check.py", "exchange.py", "autotune.py", "convolution.py",
        "fusion.py", "memory.py", "graph_building.py", "loops.py", "recurrent.py",
        "network_kernels.py", "modes.py",
    ],
)
def test_help_names_the_options(script: str) -> None:
    output = run(script, "--help")
    assert "--json" in output
    assert "default" in output


def test_chains_have_the_same_values_fused_and_not_and_by_hand(tmp_path: Path) -> None:
    output, written = results(tmp_path, "fusion.py", "--rounds", "1", "--calls", "1", "--peers", "none")
    assert written["missing"] == {}
    for result in written["results"]:
        assert_times(result["seconds"], {"paraflow", "not fused", "by hand"}, 1)
        if "dropout" not in result["case"]:
            assert result["sums"]["paraflow"] == result["sums"]["not fused"]
    assert output.count("gradient") == 3


def test_memory_is_that_of_activations_and_variables(tmp_path: Path) -> None:
    output, written = results(tmp_path, "memory.py", "--peers", "none")
    assert [each["model"] for each in written["results"]] == ["20-layer MLP", "convolutional network"]
    for each in written["results"]:
        assert each["arena"] + each["variables"] < each["bytes"] < 3 * (each["arena"] + each["variables"])
        assert each["model"] in output


def test_training_step_trains_the_same_on_one_rank_and_on_two(tmp_path: Path) -> None:
    options = ["--rounds", "2", "--steps", "3", "--warmup", "1", "--peers", "none", "--models", "9-4-3:6"]
    output, written = results(tmp_path, "training_step.py", *options)
    (model,) = written["models"]
    assert_times(model["seconds"], {"paraflow, 2 ranks", "paraflow, 1 rank"}, rounds=2)
    one, two = model["losses"]["paraflow, 1 rank"], model["losses"]["paraflow, 2 ranks"]
    assert one == pytest.approx(two, rel=1e-5)
    assert one < math.log(3)  # what guessing costs
    assert "MLP 9-4-3, global batch 6" in output


def test_training_step_times_epochs(tmp_path: Path) -> None:
    for part, count in (("train", 32), ("t10k", 8)):
        pixels = np.random.RandomState(0).randint(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        header = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    options = ["--rounds", "1", "--steps", "1", "--peers", "none", "--models", "784-4-10:8", "--no-scaling"]
    output, written = results(
        tmp_path, "training_step.py", *options, "--epochs", "2", "--data", str(tmp_path), "-n", "1"
    )
    assert_times(written["models"][0]["epochs"], {"paraflow, 1 rank"}, rounds=2)
    assert "32 samples" in output


def test_sample_program_reports_a_peer_that_does_not_run(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "no-python")
    options = ["--rounds", "1", "--steps", "3", "--peers", "jax", "--jax-python", nowhere]
    output, written = results(tmp_path, "sample_program.py", *options)
    assert_times(written["seconds"], {"paraflow, run", "paraflow, make_callable"}, rounds=1)
    for loss in written["losses"].values():
        assert loss == pytest.approx(0.016338509, rel=1e-5)  # what TensorFlow prints there
    assert nowhere in written["missing"]["jax"]
    assert "not run" in output


def test_startup_measures_imports_and_a_launch(tmp_path: Path) -> None:
    _, written = results(tmp_path, "startup.py", "--rounds", "1", "--launches", "1")
    assert_times(
        written["imports"],
        {"python", "import numpy", "import paraflow", "import paraflow, nothing compiled"},
        rounds=1,
    )
    assert_times(written["launches"], {"paraflow launch -n 2", "paraflow run"}, rounds=1)
    assert "paraflow" in dict(written["modules"])


def test_executors_measure_runs_and_chains(tmp_path: Path) -> None:
    _, written = results(tmp_path, "executors.py", "--rounds", "1", "--steps", "2", "--size", "8", "--products", "2")
    assert len(written["overhead"]) == 6
    assert_times(written["chains"], {"threads=1", "threads=2", "two plain threads, numpy"}, rounds=1)


def test_graph_building_times_every_part_of_each_shape(tmp_path: Path) -> None:
    _, written = results(tmp_path, "graph_building.py", "--rounds", "2", "--operations", "200", "--peers", "none")
    assert set(written["shapes"]) == {"chain", "wide", "deep"}
    for sides in written["shapes"].values():
        for found in sides["paraflow"]:
            assert 200 < found.pop("operations") < 1200
            assert all(value > 0 for value in found.values())
            assert found["second run"] < found["first run"]


@pytest.mark.parametrize("model", ["9-4-3:6", "sample"])
def test_profile_step_times_every_step_of_the_plan(tmp_path: Path, model: str) -> None:
    output, written = results(tmp_path, "profile_step.py", "--model", model, "--steps", "3")
    assert {"matmul", "sqrt"} <= {step["op"] for step in written["steps"]}
    assert all(step["seconds"] > 0 for step in written["steps"])
    assert f"{len(written['steps'])} steps" in output


def test_stragglers_runs_each_scenario(tmp_path: Path) -> None:
    options = ["--rounds", "1", "--steps", "10", "--step-ms", "1", "--workers", "2"]
    output, written = results(tmp_path, "stragglers.py", *options, "--modes", "backup_workers, drop;staleness")
    names = {f"{mode}: {s}" for mode in ("backup_workers, drop", "staleness") for s in ("healthy", "always", "passing")}
    assert_times(written["rates"], names, rounds=1)
    assert set(written["losses"]) == names
    assert "parameter_server, staleness = 48" in output


def loss_of_one_process(folder: Path, *overrides: str) -> float:
    """The mean loss of the first epoch on digits, as compression.py trains."""
    sync = Path(__file__).parents[2] / "configs" / "digits_sync.toml"
    optimizer = "optimizer={name='gradient_descent', learning_rate=0.5}"
    keys = ["train.epochs=1", "train.log_every=1", "data.last=drop", f"experiment.directory={folder}/one", optimizer]
    paraflow = Path(sys.executable).with_name("paraflow")
    subprocess.run([paraflow, "run", sync, *keys, *overrides], check=True, capture_output=True, timeout=60)
    (metrics,) = folder.glob("one/*/metrics.jsonl")
    return float(np.mean([record["loss"] for record in read_metrics(metrics) if record["event"] == "train"]))


def test_compression_counts_bytes_and_models_the_wire(tmp_path: Path) -> None:
    options = ["--data", "digits", "--methods", "none,onebit", "--epochs", "1", "--bandwidth", "8", "--latency", "1000"]
    same = ["experiment.seed=1", "model.activation=relu"]
    output, written = results(tmp_path, "compression.py", *options, *same)
    plain, onebit = written["results"]["digits"]
    assert (plain["bytes"], onebit["bytes"]) == (38440, 1784)
    assert plain["wire_seconds"] == pytest.approx(0.002 + 0.03844)
    assert onebit["wire_seconds"] == pytest.approx(0.001 + 0.001784)
    assert plain["loss"] == pytest.approx(loss_of_one_process(tmp_path, *same), rel=1e-5)
    assert 1.0 < onebit["loss"] / plain["loss"] < 1.1  # error feedback: what is left out of a step comes with the next
    assert "x fewer" in output


def test_simulate_check_predicts_what_it_runs(tmp_path: Path) -> None:
    options = ["--rounds", "1", "--seconds", "0.05", "--models", "64-8-10:8", "--ranks", "1,2", "--disturbed", "1"]
    output, written = results(tmp_path, "simulate_check.py", *options, "--modes", "allreduce,parameter_server")
    cases = "allreduce 1", "allreduce 2", "parameter_server 2"
    assert set(written["seconds"]) == {f"64-8-10:8 {case}" for case in cases}
    assert all(predicted > 0 and measured > 0 for [(predicted, measured)] in written["seconds"].values())
    assert "error" in output


def test_exchange_measures_each_side_at_each_size(tmp_path: Path) -> None:
    options = ["--rounds", "2", "--steps", "2", "--sizes", "1KiB,256KiB", "--peers", "none"]
    output, written = results(tmp_path, "exchange.py", *options)
    assert [size["bytes"] for size in written["sizes"]] == [1 << 10, 1 << 18]
    for size in written["sizes"]:
        names = {"exchange paraflow", "allreduce paraflow", "allreduce MPI_Allreduce", "memory"}
        assert_times(size["values"], names, rounds=2)
    assert "share" in output


@pytest.mark.parametrize(("mode", "ways"), [("allreduce", 1), ("parameter_server", 2)])
def test_embedding(tmp_path: Path, mode: str, ways: int) -> None:
    file = tmp_path / "results.json"
    options = ["--mode", mode, "--rows", "500", "--ids", "20", "--steps", "2", "--rounds", "2", "--json", str(file)]
    done = run_ranks(2, HERE / "embedding.py", *options)
    assert done.returncode == 0, done.stderr
    output, found = done.stdout, json.loads(file.read_text())
    assert ways * 500 * 64 * 4 <= found["bytes"]["dense"] <= ways * (500 * 64 * 4 + 200)
    assert found["bytes"]["rows"] <= ways * (20 * 65 * 4 + 300)
    assert found["difference"] < 1e-5
    assert_times(found["ms"], {"rows", "dense"}, 2)
    assert "fewer bytes" in output


def test_autotune_times_the_usual_size_and_the_chosen_one(tmp_path: Path) -> None:
    options = ["--rounds", "2", "--steps", "1", "--tries", "1", "--models", "9-300-300-3:6"]
    output, written = results(tmp_path, "autotune.py", *options)
    (found,) = written["tries"]
    assert set(found["step_seconds"]) == {str(4 << 20), str(256 << 10)}
    assert_times({name: found[name] for name in ("fixed", "chosen")}, {"fixed", "chosen"}, rounds=2)
    assert "9-300-300-3:6" in output


def test_convolution_times_every_part(tmp_path: Path) -> None:
    options = ["--rounds", "2", "--calls", "2", "--peers", "none", "--layers", "2x6x3:3x4", "--batches", "2"]
    output, written = results(tmp_path, "convolution.py", *options)
    for found in written["results"]:
        assert_times(found["seconds"], {"paraflow"}, rounds=2)
    parts = [found["part"] for found in written["results"]]
    assert parts == ["forward", "input gradient", "filter gradient", "pool", "pool gradient", "step"]
    assert "network, batch 2, step" in output


def test_network_kernels_have_the_same_results_in_both_formats(tmp_path: Path) -> None:
    options = ["--rounds", "2", "--calls", "1", "--peers", "none", "--share", "64", "--cases", "pool,conv2d,norm"]
    output, written = results(tmp_path, "network_kernels.py", *options)
    assert {found["part"] for found in written["results"]} == {"forward", "with gradients"}
    for found in written["results"]:
        assert_times(found["seconds"], {"paraflow, NHWC", "paraflow, NCHW"}, rounds=2)
        assert found["sums"]["paraflow, NHWC"] == pytest.approx(found["sums"]["paraflow, NCHW"], rel=1e-5)
    for name in ("depthwise_conv2d", "max_pool", "avg_pool", "batch_norm", "layer_norm"):
        assert name in output


def test_loops_times_each_loop(tmp_path: Path) -> None:
    options = ["--rounds", "2", "--calls", "1", "--turns", "5", "--samples", "2", "--width", "3", "--peers", "none"]
    output, written = results(tmp_path, "loops.py", *options)
    assert len(written["results"]) == 7
    for result in written["results"]:
        assert_times(result["seconds"], {"paraflow"}, rounds=2)
        assert result["sums"]["paraflow"] > 0
    assert "gradient of scan" in output


def test_recurrent_trains_the_same_in_a_loop_and_unrolled(tmp_path: Path) -> None:
    options = ["--rounds", "2", "--calls", "2", "--peers", "none", "--sizes", "3x4x2x5"]
    output, written = results(tmp_path, "recurrent.py", *options)
    (found,) = written["results"]
    assert_times(found["seconds"], {"paraflow, dynamic_rnn", "static_rnn"}, rounds=2)
    first, second = found["losses"].values()
    assert first == pytest.approx(second, rel=1e-5)
    assert "3 x 4 steps of 2, 5 units" in output
