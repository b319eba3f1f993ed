"""``train.trace``: the traced steps of a run's ranks, in one file."""

import pytest
from traces import assert_nested, complete, flights, read_trace

from .runs import CONFIGS, launch


def test_all_ranks_of_a_synchronous_run_are_in_the_trace(tmp_path):
    run = launch(tmp_path, 3, CONFIGS / "digits_sync.toml", "train.epochs=1", "train.trace=[3,6]")
    assert run.code == 0, run.err
    events = read_trace(run.results.directory / "trace.json")
    assert_nested(events)
    assert {e["pid"] for e in events} == {0, 1, 2}
    for rank in range(3):
        assert [e["name"] for e in complete(events, "run", pid=rank)] == ["data", "run"] * 4
        assert len([e for e in complete(events, "step", pid=rank) if e["name"] == "mlp/dense/matmul"]) == 4
    assert len(flights(events)) == 3 * 4
    ends = [[e for e in complete(events, "exchange", pid=r) if e["args"]["op"] == "settle"] for r in range(3)]
    for together in zip(*ends, strict=True):
        entered, left = max(e["ts"] for e in together), min(e["ts"] + e["dur"] for e in together)
        assert left >= entered - 1000


def test_a_traced_run_gives_the_same_bytes(tmp_path):
    runs = [
        launch(tmp_path / name, 2, CONFIGS / "digits_sync.toml", "train.steps=8", *more)
        for name, more in (("with", ["train.trace=[2,5]"]), ("without", []))
        if (tmp_path / name).mkdir() is None
    ]
    assert runs[0].results.parameter_bytes == runs[1].results.parameter_bytes
    assert not (runs[1].results.directory / "trace.json").exists()


def test_workers_of_a_server_are_in_the_trace(tmp_path):
    run = launch(tmp_path, 3, CONFIGS / "digits_async.toml", "train.epochs=1", "train.trace=[2,4]")
    assert run.code == 0, run.err
    events = read_trace(run.results.directory / "trace.json")
    assert_nested(events)
    for rank in (0, 1):
        assert complete(events, "run", pid=rank)
    assert {e["name"] for e in complete(events, "wait")} == {"communication"}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[5,3]", "the first step comes after the last one"),
        ("[5,9999]", "train.trace = [5, 9999], but the run has only 6 steps"),
        ("[5]", "train.trace"),
    ],
)
def test_steps_that_there_are_not(tmp_path, steps, message):
    run = launch(tmp_path, 1, CONFIGS / "digits_sync.toml", "train.steps=6", f"train.trace={steps}")
    assert run.code == 2
    assert message in run.err
