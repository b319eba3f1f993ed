"""What ranks do around their messages: taken from a trial of two, and counted where it belongs."""

import os
from dataclasses import replace

import pytest

from paraflow.experiment.config import load_config
from paraflow.simulate import trial
from paraflow.simulate.model import Link, Memory
from paraflow.simulate.pair import run_pair
from paraflow.simulate.profile import Compression, Overhead
from paraflow.simulate.servers import busy
from paraflow.simulate.trial import Trial, overhead_of

from .cases import Machine, Parallel, machine, profile, run

DIGITS = "configs/digits_sync.toml"
HERE = machine(2, cores=2, link=None, messages=Link(1e-5, 1e9))
OVERHEAD = Overhead(3e-4, 1e-4)
TOPK = Compression("gathered", 1000, 1e-4, 1e-5)

TABLES = [
    {"mode": "parameter_server"},
    {"mode": "parameter_server", "staleness": 0},
    {"mode": "backup_workers", "backup": 0},
    {"mode": "gossip"},
    {"mode": "gossip", "period": 4},
    {"mode": "local_sgd"},
    {"mode": "easgd", "period": 5},
    {"mode": "allreduce", "compress": "topk"},
    {"mode": "allreduce", "compress": "topk", "accumulate": 4},
    {"mode": "allreduce", "shared_memory": False},
]


@pytest.mark.parametrize("here", [HERE, replace(HERE, cores=1)], ids=["cores", "one core"])
@pytest.mark.parametrize("table", TABLES, ids=str)
def test_with_the_overhead_two_ranks_take_what_the_trial_took(table, here):
    own = profile(update=1e-4, compression=TOPK if "compress" in table else None)
    without = run(own, here, **table).step_seconds
    serves = table["mode"] in ("parameter_server", "backup_workers")
    push = busy(own, here, Parallel(**table)) + 1e-4 if serves else 0.0
    real = Trial(without + 5e-4, push)
    found = overhead_of(real, without, own, here, Parallel(**table))
    known = {"crowded" if here.cores == 1 else "overhead": found}
    assert run(replace(own, **known), here, **table).step_seconds == pytest.approx(real.step)
    if serves:
        assert found.server == pytest.approx(1e-4 / here.crowding[0])


def test_a_push_keeps_the_server_for_as_long_as_saturated_ones_do():
    # 8 workers of its node, which never let it wait.
    own, near = profile(update=1e-4, overhead=OVERHEAD), replace(HERE, ranks=9, cores=9)
    table = Parallel(mode="parameter_server")
    seconds = busy(own, near, table)
    assert seconds == pytest.approx(busy(replace(own, overhead=None), near, table) + OVERHEAD.server)
    found = run(own, near, steps=80, mode="parameter_server")
    assert found.samples_per_second == pytest.approx(32 / seconds, rel=0.02)


def test_every_neighbour_costs_a_rank_its_overhead():
    def step(overhead, **table):
        return run(profile(overhead=overhead), machine(8), mode="gossip", **table).step_seconds

    for topology, neighbours in (("ring", 2), ("random", 1), ("complete", 7)):
        more = step(OVERHEAD, topology=topology) - step(None, topology=topology)
        assert more == pytest.approx(neighbours * OVERHEAD.worker)


def test_a_rank_alone_has_none():
    for table in TABLES:
        assert run(profile(overhead=OVERHEAD), machine(1), **table) == run(profile(), machine(1), **table)


def test_a_server_has_no_more_than_a_step_has():
    # Its mean has moments of a busy machine in it that the median of the steps leaves out.
    found = overhead_of(Trial(3e-3, 5e-3), 2e-3, profile(), HERE, Parallel(mode="parameter_server"))
    assert found == Overhead(0.0, pytest.approx(1e-3))


def test_a_trial_that_was_faster_than_the_model_costs_nothing():
    found = overhead_of(Trial(1e-3, 1e-9), 2e-3, profile(), HERE, Parallel(mode="parameter_server"))
    assert found == Overhead(0.0, 0.0)


@pytest.fixture
def trained(monkeypatch, request):
    """What is measured on digits by two ranks, of ``samples`` each; the model has steps below 0.1 ms."""
    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.setattr(trial, "_SECONDS", 0.03)

    def measured(mode, cores, samples=32):
        arguments = [DIGITS, f"parallel.mode={mode}", "train.epochs=1"]  # the trial is longer than that
        here = Machine(2, 1, cores, Memory(1e-7, 1e11, 1e11), messages=Link(1e-7, 1e11))
        own = replace(profile(38440, 1e-4 / 3), samples=samples)
        return trial.measure_overhead(arguments, load_config(arguments[0], arguments[1:]), own, here)

    return measured


@pytest.mark.parametrize(
    ("mode", "cores"), [("parameter_server", 2), ("gossip", 2), ("parameter_server", 1), ("allreduce", 1)]
)
def test_two_ranks_train_and_take_longer_than_a_model_of_next_to_nothing(trained, mode, cores):
    found = trained(mode, cores)
    assert found.worker + found.server > 0
    assert (found.server > 0) == (mode == "parameter_server")


def test_ranks_that_cannot_train_measure_nothing(trained):
    assert trained("gossip", 2, samples=1 << 20) is None  # more than there are


def test_a_pair_may_have_one_core(tmp_path):
    file = tmp_path / "cores.py"
    file.write_text("import os, sys; open(f'{sys.argv[1]}/{os.getpid()}', 'w').write(str(os.sched_getaffinity(0)))")
    before = os.sched_getaffinity(0)
    assert run_pair(tmp_path, str(file), str(tmp_path), one_core=True)
    assert [path.read_text() for path in tmp_path.iterdir() if path.name.isdigit()] == [str({min(before)})] * 2
    assert os.sched_getaffinity(0) == before
    assert not run_pair(tmp_path, str(tmp_path / "missing.py"))
