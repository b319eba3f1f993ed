"""``paraflow bench`` and ``paraflow doctor``: what is computed, what is printed, and what is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from paraflow.comm import run_threads
from paraflow.errors import ConfigError
from paraflow.experiment.bench import Report, measure
from paraflow.experiment.cli import main
from paraflow.experiment.sizes import parse_sizes, size_text
from paraflow.experiment.timings import ExchangeOnly, latency, memory_bandwidth

PARAFLOW = str(Path(sys.executable).with_name("paraflow"))


def paraflow(*arguments, **env):
    return subprocess.run(
        [PARAFLOW, *arguments], capture_output=True, text=True, timeout=100, check=False, env={**os.environ, **env}
    )


def test_sizes():
    assert parse_sizes("1KiB..64KiB") == [1024, 4096, 16384, 65536]
    assert parse_sizes("1MiB..3MiB") == [2**20, 3 * 2**20]
    assert parse_sizes("8, 3 MiB,1GiB") == [8, 3 * 2**20, 2**30]
    assert [size_text(n) for n in (8, 1024, 3 * 2**20, 1536)] == ["8 B", "1 KiB", "3 MiB", "1536 B"]


@pytest.mark.parametrize("text", ["", "0", "6", "1KB", "-4", "2MiB..1MiB", "1KiB..", "4,,8"])
def test_sizes_that_are_none(text):
    with pytest.raises(ConfigError, match="--sizes"):
        parse_sizes(text)


@pytest.mark.parametrize("nodes", [1, 2])
def test_an_exchange_is_the_step_of_gradient_descent(nodes):
    def exchange(comm):
        exchange = ExchangeOnly(comm, 4 * 70_000)
        seconds = exchange(1)
        values = exchange.session.store["Variable"].copy()
        exchange.close()
        return seconds, values

    value = np.float64(1)
    for _ in range(2):  # once when it is made
        value -= 1e-3 * 1e-3 * value
    for seconds, values in run_threads(4, exchange, ranks_per_node=4 // nodes):
        assert seconds > 0
        np.testing.assert_allclose(values, np.full(70_000, value), rtol=1e-6)


def test_every_side_is_measured_at_every_size():
    for report in run_threads(3, measure, [1024, 4096], 2, timeout=60):
        assert (report.ranks, report.nodes) == (3, 1)
        assert set(report.seconds) == {1024, 4096}
        for row in report.seconds.values():
            assert set(row) >= {"exchange", "allreduce"}
            assert all(seconds > 0 for seconds in row.values())
        assert report.not_run["gloo"] == "the ranks are threads, and it takes processes"


def test_what_is_streamed_are_the_bytes_that_have_to_move():
    report = Report(ranks=4, nodes=2, load=0.0, stream_bytes_per_second={10**6: 4e10, 10**9: 8e9})
    assert report.streamed("exchange", 10**9) == 0.5  # 2 gradients read, parameters read and written
    assert report.streamed("allreduce", 10**9) == 0.5  # 2 buffers read and written
    assert report.streamed("allreduce", 10**6) == 1e-4  # at the rate of that size, which is in cache


@pytest.mark.parametrize("nbytes", [4, 8, 1 << 16])
def test_bandwidth_is_that_of_any_size(nbytes):
    assert all(rate > 0 for rate in run_threads(2, memory_bandwidth, nbytes, 1))


def test_latency_reaches_every_rank():
    first, *others = run_threads(3, latency, 3)
    assert set(first) == {1, 2}
    assert all(seconds > 0 for seconds in first.values())
    assert others == [{}, {}]


def test_bench_prints_json_and_draws(tmp_path):
    plot = tmp_path / "bench.svg"
    options = ["--sizes", "1KiB,64KiB", "--rounds", "1"]
    done = paraflow("bench", "allreduce", "-n", "2", *options, "--json", "--plot", str(plot))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["ranks"], list(report["seconds"])) == (2, ["1024", "65536"])
    assert set(report["seconds"]["1024"]) >= {"exchange", "allreduce", "mpi"}
    assert set(report["stream_bytes_per_second"]) == {"1024", "65536"}
    assert report["stream_bytes_per_second"]["65536"] > 1e8
    drawn = plot.read_text()
    for word in ("MPI_Allreduce", "64 KiB", "its bytes, streamed"):
        assert word in drawn


def test_bench_prints_a_table():
    done = paraflow("bench", "allreduce", "--sizes", "4KiB", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "2 ranks on 1 node" in done.stdout
    row = re.search(r"\n +4 KiB (.*)", done.stdout)[1].split()
    assert len(row) >= 2 * 5
    assert all(float(cell) > 0 for cell in row)


TORCH = {
    "__init__": """
def set_num_threads(number):
    pass
def from_numpy(buffer):
    return buffer
""",
    "distributed": """
from paraflow.comm import world
class TCPStore:
    port = 1
    def __init__(self, *where, **options):
        pass
def step(name):
    if name == "{step}" and world().rank == 1:
        raise RuntimeError("Connection closed by peer\\nand more")
def init_process_group(*where, **options):
    step("start")
def all_reduce(tensor):
    step("sum")
def is_initialized():
    return True
def destroy_process_group():
    pass
""",
}


@pytest.mark.parametrize("step", ["start", "sum"])
def test_a_gloo_that_fails_on_one_rank_costs_its_column(tmp_path, step):
    (tmp_path / "torch").mkdir()
    for name, text in TORCH.items():
        (tmp_path / f"torch/{name}.py").write_text(text.format(step=step))
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = paraflow("bench", "allreduce", "--sizes", "4KiB,64KiB", "--rounds", "2", "--json", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["not_run"] == {"gloo": "on rank 1, RuntimeError: Connection closed by peer"}
    assert [set(row) for row in report["seconds"].values()] == [{"exchange", "allreduce", "mpi"}] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["allreduce", "-n", "1"], "start two or more with -n"),
        (["allreduce", "-n", "0"], "not a number of ranks"),
        (["allreduce", "--hosts", "a:1,b:2"], "--hosts a:1,b:2 add up to 3: say"),
        (["allreduce", "--sizes", "1KB"], "'1KB' is not a size"),
        (["allreduce", "--sizes", "1KiB", "--rounds", "0"], "at least one"),
        (["broadcast"], "invalid choice: 'broadcast'"),
        (["allreduce", "--plot", "/nowhere/a.svg"], "--plot /nowhere/a.svg: there is no folder /nowhere; make it, or "),
        (["allreduce", "--plot", "a.foo"], "--plot a.foo: it draws SVG, PNG or PDF, so name a file .svg, .png or .pdf"),
        (["allreduce", "--plot", "a"], "--plot a: it draws SVG, PNG or PDF, so name a file .svg, .png or .pdf"),
    ],
)
def test_bench_refuses(arguments, message):
    done = paraflow("bench", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    for word in ("Traceback", "first (host", "run again"):
        assert word not in done.stderr


def test_what_fails_can_be_run_again_as_it_was_typed(tmp_path):
    full = tmp_path / "full.svg"
    full.symlink_to("/dev/full")
    typed = ["bench", "allreduce", "--sizes", "1KiB", "--rounds", "1", "-n", "2", "--plot", str(full)]
    done = paraflow(*typed)
    assert done.returncode == 1
    assert done.stderr.endswith(f"run again: paraflow {' '.join(typed)}\n")
    shutil.rmtree(re.search(r"\nlogs: (.*)\n", done.stderr)[1])


@pytest.mark.parametrize("command", ["bench", "doctor"])
def test_help_starts_no_ranks(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "-n RANKS" in capsys.readouterr().out
    told = paraflow(command, "-n", "2", "--help").stdout
    assert f"usage: paraflow {command}" in told
    for option in ("-n RANKS", "--hosts A:2,B:2", "--launch-agent PROGRAM", "--interface NAME", "--logs DIR"):
        assert f"\n  {option}" in told


def test_doctor_tells_what_ranks_find():
    done = paraflow("doctor", "-n", "3")
    assert done.returncode == 0, done.stderr
    found = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert found["mpirun"].startswith(("/", "."))
    assert ("Open MPI" if "Open MPI" in found["mpirun"] else "MPICH") in found["MPI"]
    for name in ("paraflow", "BLAS", "load", "cgroup", "/dev/shm", "memory", "latency", "autotune"):
        assert name in found
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("rank")] == ["0", "1", "2"]
    assert "works between the 3 ranks" in done.stdout
    tuned = [line.split()[3:8] for line in done.stdout.splitlines() if line.startswith("autotune")]
    assert [" ".join(words[:2]) for words in tuned] == ["1 MiB:", "8 MiB:", "32 MiB:"]
    assert all(words[2:4] == ["buckets", "of"] for words in tuned)


def test_doctor_tells_what_is_wrong_with_the_mpi():
    done = paraflow("doctor", PARAFLOW_MPIRUN="/nowhere/mpirun")
    assert done.returncode == 6
    assert "names '/nowhere/mpirun', which is not an executable file" in done.stderr
    assert "MPI             does not work" in done.stdout
    assert re.search("^shared memory +works$", done.stdout, re.MULTILINE)
