"""``parallel.accumulate``, from the configuration to what is learnt."""

import pytest
from pydantic import ValidationError

from paraflow.comm import solo
from paraflow.experiment.config import load_config
from paraflow.experiment.schema import Parallel
from paraflow.experiment.strategies import MAKERS

from .runs import CONFIGS, launch

LAMB = CONFIGS / "digits_lamb.toml"


@pytest.mark.parametrize("ranks", [1, 2])
def test_four_batches_an_update_learn_the_digits(tmp_path, ranks):
    run = launch(tmp_path, ranks, LAMB, "train.epochs=20")
    assert run.code == 0, run.err
    assert run.results.end["test_accuracy"] >= 0.95
    assert run.results.records("train")[-1]["step"] == 460


def test_a_run_ends_with_a_whole_update(tmp_path):
    run = launch(tmp_path, 1, LAMB, "train.steps=11", "train.log_every=1")
    assert run.code == 0, run.err
    assert [record["step"] for record in run.results.records("train")] == list(range(1, 9))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.epochs=1"], ["parallel.accumulate = 4: the last 3 batches of 23 are left out, as an update takes 4"]),
        (["train.steps=9"], ["parallel.accumulate = 4: the last batch of 9 is left out, as an update takes 4"]),
        (["train.steps=8"], []),
        (["train.epochs=1", "parallel.accumulate=1"], []),
    ],
)
def test_batches_that_make_no_update_are_told_at_the_start(tmp_path, overrides, told):
    run = launch(tmp_path, 2, LAMB, *overrides)
    assert run.code == 0, run.err
    assert [line for line in run.out.splitlines() if "left out" in line] == told
    assert "not applied" not in run.err  # they are not added up either


def test_a_run_too_short_for_an_update_is_refused(tmp_path):
    run = launch(tmp_path, 1, LAMB, "train.steps=3")
    assert run.code == 2
    assert "parallel.accumulate = 4, but the run has only 3 batches" in run.err


def test_the_key_reaches_the_strategy():
    assert MAKERS["allreduce"](load_config(LAMB, []), solo(), {}).accumulate == 4
    with pytest.raises(ValidationError, match="accumulate = 2 is for mode = 'single' or 'allreduce', not for 'gossip'"):
        Parallel(mode="gossip", accumulate=2)
