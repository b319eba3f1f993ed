"""``parallel.autotune``, from the configuration to a run that can be repeated."""

import pytest
from pydantic import ValidationError

from paraflow.experiment.config import load_config
from paraflow.experiment.schema import Parallel
from paraflow.experiment.sizes import size_text

from .runs import CONFIGS, launch

AUTOTUNE = CONFIGS / "digits_autotune.toml"


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_run_tells_what_it_has_chosen_and_its_configuration_repeats_it(tmp_path, nodes):
    """Ranks that share no memory are nodes, between which algorithms are tried too."""
    ranks, shared_memory = (2, "true") if nodes == 1 else (3, "false")
    run = launch(tmp_path / "first", ranks, AUTOTUNE, "train.epochs=1", f"parallel.shared_memory={shared_memory}")
    assert run.code == 0, run.err
    (record,) = run.results.records("autotune")
    assert record["step"] == 0
    assert set(record["buckets"]) == set(record["rounds"])
    assert len(set(record["buckets"].values())) == len(record["buckets"]) > 1
    chosen = record["bucket_bytes"]
    assert f"buckets of {size_text(chosen)}: a step takes with " in run.out.splitlines()[0]
    if nodes > 1:
        assert record["algorithm_rounds"].keys() == {"mpi", "ring"}
        assert f"; summed over nodes by {record['algorithm']}: a step takes with mpi " in run.out.splitlines()[0]

    config = run.results.directory / "config.toml"
    table = load_config(config).parallel
    assert (table.autotune, table.bucket_bytes) == (False, chosen)
    assert table.algorithm == (record["algorithm"] if nodes > 1 else None)
    again = launch(tmp_path / "again", ranks, config)
    assert again.code == 0, again.err
    assert again.results.records("autotune") == []
    assert again.results.parameter_bytes == run.results.parameter_bytes
    assert again.results.losses().tolist() == run.results.losses().tolist()


def test_one_process_has_nothing_to_choose(tmp_path):
    run = launch(tmp_path, 1, AUTOTUNE, "train.steps=2")
    assert run.code == 0, run.err
    assert run.results.records("autotune") == []
    assert load_config(run.results.directory / "config.toml").parallel.autotune


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"bucket_bytes": 4096}, "bucket_bytes, but bucket_bytes = 4096 is set: leave one of the two out"),
        ({"algorithm": "ring"}, 'algorithm, but algorithm = "ring" is set: leave one of the two out'),
        ({"compress": "topk"}, "bucket_bytes, but compress = 'topk' makes no buckets: leave one of the two out"),
    ],
)
def test_what_leaves_nothing_to_choose_is_refused(keys, fault):
    with pytest.raises(ValidationError, match=f"autotune = true chooses {fault}"):
        Parallel(autotune=True, **keys)
