"""The second data set, from its real files: conftest.py collects this only where they are."""

from .runs import CONFIGS, launch


def test_fashion_mnist_is_learnt_by_two_ranks(tmp_path):
    run = launch(tmp_path, 2, CONFIGS / "fashion_mnist_mlp_sync.toml")
    assert run.code == 0, run.err
    assert run.results.end["test_accuracy"] >= 0.88
