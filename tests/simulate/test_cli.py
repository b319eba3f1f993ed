"""The command line: what it prints and draws, what it measures, and what it refuses."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from mpirun import mpirun_command, rank_environment, run_command

from paraflow.errors import ConfigError, InvalidArgumentError
from paraflow.experiment.config import load_config
from paraflow.runtime.executors import ReadyQueueExecutor
from paraflow.simulate import profile
from paraflow.simulate.calibrate import measure_memory
from paraflow.simulate.cli import main
from paraflow.simulate.messages import measure_messages
from paraflow.simulate.profile import measure
from paraflow.simulate.ranks import RanksFailed

DIGITS = "configs/digits_sync.toml"
MACHINE = ["--memory", "1us,8GB/s,60GB/s", "--cores", "8"]
RANKS = ["ranks with a core each", "2 ranks that take turns on a core"]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def simulate(*arguments):
    assert main(["simulate", DIGITS, *MACHINE, *arguments]) == 0


def test_a_table_with_a_row_for_each_number_of_ranks(capsys):
    simulate("--ranks", "12", "--nodes", "3", "--link", "10us,1GB/s", "--steps", "5", "--noise", "0")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "allreduce on 12 ranks; nodes: 3, each of 4 ranks on 8 cores"
    assert lines[1].startswith("each worker: 6 samples a step; ")
    assert "38.4 kB of gradients in 1 buckets" in lines[1]
    assert lines[2] == "memory: 1 us, 8 GB/s a core, 60 GB/s a node; wire: 10 us, 1 GB/s a node"
    assert lines[3].startswith("exchanges of ranks with a core each: not measured, so short steps will take longer")
    rows = [line.split() for line in lines[6:12]]
    assert rows[0] == ["ranks", "nodes", "step", "samples/s", "efficiency", "wait", "longest", "wire", "memory"]
    assert [row[:2] for row in rows[1:]] == [["1", "1"], ["2", "1"], ["4", "1"], ["8", "2"], ["12", "3"]]
    assert "100.0%" in rows[1]


def test_messages_are_those_given_or_those_that_two_ranks_measure(capsys):
    server = ("--ranks", "2", "--steps", "5", "parallel.mode=parameter_server")
    simulate("--messages", "7us,13GB/s", *server)
    assert "messages on a node: 7 us, 13 GB/s" in capsys.readouterr().out
    found = measure_messages()
    assert 1e-7 < found.latency < 0.1
    assert 1e7 < found.bandwidth < 1e12


def test_what_exchanges_cost_is_measured_with_this_machines_memory(capsys):
    """The two lines are there where the ranks that they are about are; a memory that is given is another machine's."""
    server = ["simulate", DIGITS, "--ranks", "4", "--steps", "5", "--cores", "2", "parallel.mode=parameter_server"]
    assert main(server) == 0
    lines = capsys.readouterr().out.splitlines()
    time = r"\S+ .?s"
    assert re.fullmatch(rf"exchanges of ranks with a core each: {time} more of a rank(, {time} of a server)?", lines[3])
    assert lines[4].startswith("exchanges of 2 ranks that take turns on a core: ")
    assert "not measured" not in lines[3] + lines[4]
    simulate("--ranks", "4", "--cores", "2", "--steps", "5", "parallel.mode=parameter_server")
    lines = capsys.readouterr().out.splitlines()
    why = "not measured, so short steps will take longer than this: --memory is that of another machine"
    assert lines[3:6] == [f"messages on a node: {why}", *(f"exchanges of {ranks}: {why}" for ranks in RANKS)]
    simulate("--ranks", "1", "--steps", "5")
    assert "not measured" not in capsys.readouterr().out


def test_why_a_trial_has_failed_is_told(capsys, monkeypatch):
    def fails(*_):
        raise RanksFailed("2 ranks failed: DataError: gone")

    monkeypatch.setattr("paraflow.simulate.cli.measure_messages", fails)
    monkeypatch.setattr("paraflow.simulate.cli.measure_overhead", fails)
    gossip = ["simulate", DIGITS, "--ranks", "4", "--cores", "2", "--steps", "5", "parallel.mode=gossip"]
    assert main(gossip) == 0
    lines = capsys.readouterr().out.splitlines()
    why = "not measured, so short steps will take longer than this:"
    assert lines[3] == f"messages on a node: {why} 2 ranks failed: DataError: gone"
    trials = [f"exchanges of {ranks}: {why} in a trial 2 ranks failed: DataError: gone" for ranks in RANKS]
    assert lines[4:6] == trials
    assert main([*gossip, "--json", "--messages", "7us,13GB/s"]) == 0
    unmeasured = json.loads(capsys.readouterr().out)["unmeasured"]
    assert unmeasured == {f"exchanges of {ranks}": "in a trial 2 ranks failed: DataError: gone" for ranks in RANKS}


def test_that_there_is_no_trial_under_an_mpirun_is_told():
    program = str(Path(sys.executable).with_name("paraflow"))
    command = [*mpirun_command(), "-n", "2", program, "simulate", DIGITS, "--ranks", "2", "--steps", "5"]
    done = run_command(command, rank_environment(None), timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[3] == (
        "exchanges of ranks with a core each: not measured, so short steps will take longer than this: under an mpirun "
        "no ranks are started for it"
    )


def test_json_has_the_assumptions_and_a_picture_is_drawn(capsys, tmp_path):
    picture = tmp_path / "scaling.svg"
    simulate("--ranks", "4", "--json", "--plot", str(picture), "--slow", "1:2", "--seed", "5", "optimizer.name=adam")
    found = json.loads(capsys.readouterr().out)
    assert found["noise"] | {"sigma": 0} == {"sigma": 0, "slow": 1, "factor": 2.0, "seed": 5}
    assert found["machine"]["memory"] == {"latency": 1e-6, "core": 8e9, "node": 6e10}
    assert [one["ranks"] for one in found["predictions"]] == [1, 2, 4]
    assert found["profile"]["seconds"] > 0
    assert "<svg" in picture.read_text()


def test_the_profile_has_the_plans_buckets():
    servers = ["parallel.mode=parameter_server", "parallel.servers=2"]
    config = load_config(DIGITS, ["parallel.bucket_bytes=33280", *servers])
    found = measure(config, 3)
    assert found.samples == 22  # of 64
    assert [bucket.nbytes for bucket in found.buckets] == [4 * (1290 + 128), 4 * 8192]
    posts = [bucket.after for bucket in found.buckets]
    assert 0 < posts[0] < posts[1] <= found.compute
    assert list(found.looks) == sorted(found.looks)
    assert 0 < found.looks[0] < found.looks[-1] <= found.compute  # matrix products are long steps
    # Adam reads and writes a variable and its two moments.
    assert [bucket.touched for bucket in found.buckets] == [6 * bucket.nbytes for bucket in found.buckets]
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares[0] == pytest.approx(8192 / 9610)
    assert found.update > 0
    assert found.compression is None


@pytest.fixture
def briefly(monkeypatch):
    """Profiles of a few steps: what they are made of counts."""
    monkeypatch.setattr(profile, "_SHORTEST", 0.0)
    monkeypatch.setattr(profile, "_WARMUP", 1)
    monkeypatch.setattr(profile, "_STEPS", 9)


@pytest.mark.usefixtures("briefly")
def test_the_profile_has_the_plan_that_the_compiler_is_asked_for():
    def products(*keys):
        return len(measure(load_config(DIGITS, ["model.layers=[64,256,256,256,256,10]", *keys]), 1).looks)

    assert products("compiler.rematerialise=true") > products()
    assert products("compiler.disable=['fuse']") > products()
    with pytest.raises(InvalidArgumentError, match="memory_budget: a training step cannot keep to 1 KiB"):
        products("compiler.memory_budget=1 KiB")


@pytest.mark.usefixtures("briefly")
def test_the_profile_has_the_time_of_as_many_threads_as_are_asked_for(monkeypatch):
    """Here they run a training step as if there were no end of them, in next to no time."""
    execute = ReadyQueueExecutor.execute
    monkeypatch.setattr(
        ReadyQueueExecutor, "execute", lambda self, loaded: None if loaded.synchronises else execute(self, loaded)
    )
    wide = ["model.layers=[64,1024,1024,10]"]
    threads = measure(load_config(DIGITS, [*wide, "experiment.threads=2"]), 1)
    assert threads.seconds < measure(load_config(DIGITS, wide), 1).seconds / 2


def test_the_profile_has_the_statistics_of_synchronised_batch_normalisation():
    """Mean and variance of two layers, for which all ranks meet forward and backward."""
    found = measure(load_config("configs/digits_batch_norm.toml", []), 4, [4])
    for one in (found, found.on_node[4]):
        assert [s.nbytes for s in one.statistics] == [8 * (3 + 2 * width) for width in (128, 64, 64, 128)]
        assert 0 < one.statistics[0].after < one.statistics[-1].after <= one.compute
        assert all(s.seconds > 0 for s in one.statistics)
    own = measure(load_config("configs/digits_batch_norm.toml", ["model.normalization=batch"]), 4)
    assert own.statistics == ()


def test_autotunes_buckets_are_measured_and_chosen(capsys):
    arguments = ["--ranks", "2", "--nodes", "2", "--link", "1us,1GB/s", "--steps", "5", "--noise", "0"]
    assert main(["simulate", "configs/digits_autotune.toml", *MACHINE, *arguments]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    size = "(262144|1048576|4194304|16777216)"
    assert re.fullmatch(f"autotune would choose bucket_bytes = {size}, algorithm = 'mpi'", last)
    simulate(*arguments)
    assert "autotune" not in capsys.readouterr().out


def test_ranks_that_share_planes_are_measured_by_their_slices():
    config = load_config(DIGITS, ["model.layers=[64,4096,10]", "optimizer.learning_rate=1e-6"])
    found = measure(config, 4, [2, 8])
    assert set(found.on_node) == {2, 8}
    assert found.sharing(8).nbytes == found.nbytes
    assert found.sharing(8).update == found.on_node[8].update > 0  # measured, and not divided as that of 4
    assert found.sharing(4).update == pytest.approx(found.update / 4)
    assert found.on_node[8].samples == found.samples == 16


@pytest.mark.parametrize(
    ("method", "kind", "nbytes"),
    [("topk", "gathered", 1312), ("fp16", "swapped", 2 * 9610), ("powersgd", "reduced", None)],
)
def test_compression_is_measured(method, kind, nbytes):
    found = measure(load_config("configs/digits_compressed.toml", [f"parallel.compress={method}"]), 2).compression
    assert found.kind == kind
    assert found.nbytes == nbytes or nbytes is None or abs(found.nbytes - nbytes) < 32
    assert found.nbytes < 4 * 9610
    assert min(found.pack, found.encode, found.decode) > 0
    assert (found.unpack > 0) == (kind == "gathered")


def test_memory_is_measured():
    found = measure_memory(1 << 20)
    assert 1e-8 < found.latency < 1e-2
    assert 1e7 < found.core < 1e12
    assert 1e7 < found.node < 1e13
    assert np.isfinite([found.latency, found.core, found.node]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --ranks"),
        (["--ranks", "0"], "'0' is not a number from 1"),
        (["--ranks", "4", "--nodes", "5", "--link", "1us,1GB/s"], "5 nodes for 4 ranks"),
        (["--ranks", "4", "--nodes", "2"], "give --link LATENCY,BANDWIDTH"),
        (["--ranks", "4", "--nodes", "2", "--link", "fast"], "--link 'fast' is not LATENCY,BANDWIDTH"),
        (["--ranks", "4", "--slow", "1:x"], "'x' is not a number from 0"),
        (["--ranks", "7", "--slow", "9:4"], "--slow 9:4: more workers than --ranks 7 has, which is 7; name fewer"),
        (["--ranks", "7", "--slow", "7:1.5", "parallel.mode=parameter_server"], "than --ranks 7 has, which is 6"),
        (["--ranks", "4", "--plot", "scaling.png"], "--plot scaling.png: it draws SVG, so name a file .svg"),
        (["--ranks", "4", "--plot", "/nowhere/a.svg"], "--plot /nowhere/a.svg: there is no folder /nowhere; make it"),
        (["--ranks", "4", "parallel.mode=alreduce"], "did you mean 'allreduce'?"),
        (["--ranks", "4", "parallel.mode=single"], "parallel.mode = 'single' is for one process"),
        (["--ranks", "100"], "data.batch_size = 64, but 100 of 100 ranks share out each batch"),
        (
            ["--ranks", "12", "parallel.mode=parameter_server", "parallel.servers=8"],
            "parallel.servers = 8, but the model trains 4 variables",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ConfigError) as caught:
        simulate(*arguments)
    assert message in str(caught.value)


def test_a_plot_is_refused_before_anything_is_measured(monkeypatch):
    def no_time(*_):
        raise AssertionError("measured")

    monkeypatch.setattr("paraflow.simulate.cli.measure", no_time)
    with pytest.raises(ConfigError, match="there is no folder /nowhere"):
        simulate("--ranks", "2", "--plot", "/nowhere/a.svg")
    with pytest.raises(AssertionError, match="measured"):
        simulate("--ranks", "2")


def test_a_plot_that_cannot_be_written_in_the_end_costs_no_result(capsys, tmp_path):
    full = tmp_path / "full.svg"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        simulate("--ranks", "2", "--steps", "5", "--noise", "0", "--plot", str(full))
    assert capsys.readouterr().out.startswith("allreduce on 2 ranks; ")


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "paraflow.simulate.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"--plot needs matplotlib: pip install 'paraflow\[report\]'"):
        simulate("--ranks", "1", "--plot", str(tmp_path / "a.svg"))
