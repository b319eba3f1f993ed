"""What ranks do around their messages: taken from a trial of a few ranks, and counted where it belongs."""

import os
from dataclasses import replace

import pytest

from paraflow.experiment.config import load_config
from paraflow.simulate import trial
from paraflow.simulate.model import Link, Memory
from paraflow.simulate.profile import Compression, Overhead
from paraflow.simulate.ranks import RanksFailed, run_ranks
from paraflow.simulate.servers import at_work, busy
from paraflow.simulate.trial import Trial, overhead_of

from .cases import Machine, Parallel, machine, profile, run

DIGITS = "configs/digits_sync.toml"
HERE = machine(2, cores=2, link=None, messages=Link(1e-5, 1e9))
OVERHEAD = Overhead(3e-4, 1e-4)
TOPK = Compression("gathered", 1000, pack=1e-4, decode=1e-5)

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


@pytest.mark.parametrize("beyond", [5e-4, -2e-5])
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("table", TABLES, ids=str)
def test_with_the_overhead_the_ranks_take_what_the_trial_took(table, ranks, beyond):
    """Two ranks with a core each, and four on two cores; slower than the model, and faster."""
    here, turns = replace(HERE, ranks=ranks), ranks // 2
    # Small enough that the server of four ranks is not what all wait for: then their own overhead could not be found.
    own = profile(nbytes=1000, update=1e-5, compression=TOPK if "compress" in table else None)
    serves = table["mode"] in ("parameter_server", "backup_workers")
    alone = run(own, here, steps=200, **table)
    working = at_work(here, 1, alone.wait_seconds / alone.step_seconds) if serves else here
    push = busy(own, working, Parallel(**table)) + 1e-5 if serves else 0.0
    with_server = Overhead(0.0, 1e-5 / working.crowding[0])
    without = run(replace(own, overheads={turns: with_server} if serves else {}), here, steps=200, **table).step_seconds
    trial = Trial(without + beyond, push)
    found = overhead_of(trial, own, here, Parallel(**table))
    if serves:
        assert found.server == pytest.approx(with_server.server)
    predicted = run(replace(own, overheads={turns: found}), here, steps=200, **table).step_seconds
    assert predicted == pytest.approx(trial.step, rel=1e-4)


@pytest.mark.parametrize("late", ["drop", "add"])
def test_backup_workers_take_what_the_trial_took(late):
    """Three that train, of which a step does not wait for one."""
    here, own = replace(HERE, ranks=4), profile(nbytes=1000, update=1e-5)
    table = {"mode": "backup_workers", "backup": 1, "late": late}
    for beyond in (5e-4, -2e-5):
        trial = Trial(run(own, here, steps=200, **table).step_seconds + beyond, 1e-6)
        found = overhead_of(trial, own, here, Parallel(**table))
        predicted = run(replace(own, overheads={2: found}), here, steps=200, **table).step_seconds
        assert predicted == pytest.approx(trial.step, rel=1e-4)


def test_a_push_keeps_the_server_for_as_long_as_saturated_ones_do():
    # 8 workers of its node, which never let it wait.
    own, near = profile(update=1e-4, overheads={1: OVERHEAD}), replace(HERE, ranks=9, cores=9)
    table = Parallel(mode="parameter_server")
    seconds = busy(own, near, table)
    assert seconds == pytest.approx(busy(replace(own, overheads={}), near, table) + OVERHEAD.server)
    found = run(own, near, steps=80, mode="parameter_server")
    assert found.samples_per_second == pytest.approx(32 / seconds, rel=0.02)


def test_every_neighbour_costs_a_rank_its_overhead():
    def step(overheads, **table):
        return run(profile(overheads=overheads), machine(8), mode="gossip", **table).step_seconds

    for topology, neighbours in (("ring", 2), ("random", 1), ("complete", 7)):
        more = step({1: OVERHEAD}, topology=topology) - step({}, topology=topology)
        assert more == pytest.approx(neighbours * OVERHEAD.worker)


def test_a_rank_alone_has_none():
    for table in TABLES:
        assert run(profile(overheads={1: OVERHEAD}), machine(1), **table) == run(profile(), machine(1), **table)


def test_pushes_take_no_longer_than_the_step_that_they_are_in():
    # Their mean has moments of a busy machine in it that the median of the steps leaves out.
    table = Parallel(mode="parameter_server")
    found = overhead_of(Trial(1e-2, 5e-2), profile(), HERE, table)
    assert found.server == pytest.approx(1e-2 - busy(profile(), HERE, table))


def test_a_trial_takes_off_no_more_than_half_a_rank_s_work():
    found = overhead_of(Trial(1e-4, 1e-9), profile(), HERE, Parallel(mode="parameter_server"))
    assert found.server == 0
    assert found.worker == pytest.approx(-0.5 * profile().work, rel=1e-3)


def test_that_a_rank_was_faster_than_the_model_is_not_due_to_its_neighbours():
    faster = profile(overheads={1: Overhead(-1e-4)})
    for topology in ("ring", "random", "complete"):
        steps = [run(one, machine(8), mode="gossip", topology=topology).step_seconds for one in (profile(), faster)]
        assert steps[0] - steps[1] == pytest.approx(1e-4)


@pytest.fixture
def trained(monkeypatch, request):
    """What is measured on digits by ranks with ``samples`` each; the model has steps below 0.1 ms."""
    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.setattr(trial, "_SECONDS", 0.03)

    def measured(mode, ranks, samples=32, keys=()):
        # The trial is longer than an epoch.
        config = load_config(DIGITS, [f"parallel.mode={mode}", "train.epochs=1", *keys])
        here = Machine(ranks, 1, 2, Memory(1e-7, 1e11, 1e11), messages=Link(1e-7, 1e11))
        own = replace(profile(38440, 1e-4 / 3), samples=samples)
        return trial.measure_overhead(config, 2 * ranks, own, here)

    return measured


@pytest.mark.parametrize(
    ("mode", "ranks"), [("parameter_server", 2), ("gossip", 2), ("parameter_server", 4), ("allreduce", 4)]
)
def test_ranks_train_and_take_longer_than_a_model_of_next_to_nothing(trained, mode, ranks):
    found = trained(mode, ranks)
    assert found.worker + found.server > 0
    assert (found.server > 0) == (mode == "parameter_server")


def test_as_many_of_the_trial_s_workers_are_backup(trained, monkeypatch):
    configs = []

    def started(ranks, folder, file, *arguments, cores):
        configs.append(load_config(file))
        run_ranks(ranks, folder, file, *arguments, cores=cores)

    monkeypatch.setattr(trial, "run_ranks", started)
    for ranks, keys in ((3, ["parallel.backup=1"]), (4, ["parallel.backup=4"]), (4, ["parallel.backup=2"])):
        trained("backup_workers", ranks, keys=keys)
    # Of 5, 7 and 7 workers of the user's; and the part of the batch that each has stays as large.
    assert [config.parallel.backup for config in configs] == [0, 1, 0]
    assert [config.data.batch_size for config in configs] == [64, 64, 96]


def test_a_trial_does_not_do_what_the_experiment_does_beside_training(trained, monkeypatch):
    """It has no steps that late, either."""
    written = set()

    def started(ranks, folder, *arguments, cores):
        run_ranks(ranks, folder, *arguments, cores=cores)
        written.update(path.name.partition(".")[0] for path in folder.glob("runs/*/*"))

    monkeypatch.setattr(trial, "run_ranks", started)
    for steps in ("[1,2]", "[1000000,1000001]"):
        trained(
            "gossip", 2, keys=[f"train.trace={steps}", "experiment.tensorboard=true", "compiler.dump=['lower']"]
        )
    assert "metrics" in written
    assert written.isdisjoint({"trace", "steps", "events", "plans"})


def test_ranks_that_cannot_train_say_why(trained):
    with pytest.raises(RanksFailed, match="2 ranks failed: DataError: no batch to train on: 1438 samples"):
        trained("gossip", 2, samples=1 << 20)  # more than there are


def test_ranks_may_have_one_core(tmp_path):
    file = tmp_path / "cores.py"
    file.write_text("import os, sys; open(f'{sys.argv[1]}/{os.getpid()}', 'w').write(str(os.sched_getaffinity(0)))")
    before = os.sched_getaffinity(0)
    run_ranks(2, tmp_path, str(file), str(tmp_path), cores=1)
    assert [path.read_text() for path in tmp_path.iterdir() if path.name.isdigit()] == [str({min(before)})] * 2
    assert os.sched_getaffinity(0) == before


def test_why_ranks_have_failed_is_told_in_a_line(tmp_path, monkeypatch):
    def told(text):
        file = tmp_path / "fails.py"
        file.write_text(text)
        with pytest.raises(RanksFailed) as caught:
            run_ranks(2, tmp_path, str(file))
        return str(caught.value)

    assert told("raise ZeroDivisionError('one\\ntwo')") == "2 ranks failed: ZeroDivisionError: one two"
    assert told("import os; os.kill(os.getpid(), 9)") == "2 ranks failed: SIGKILL, signal 9"
    with pytest.raises(RanksFailed, match=r"2 ranks failed: there is no file '\S+missing\.py' \(looked in"):
        run_ranks(2, tmp_path / "other", str(tmp_path / "missing.py"))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(RanksFailed, match=r"2 ranks cannot be started: .*No such file"):
        run_ranks(2, tmp_path, str(tmp_path / "missing.py"))
