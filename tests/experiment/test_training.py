"""Training under a real launcher: what comes out on 1 to 4 ranks, and what is left in the run directory."""

import functools

import numpy as np
import pytest

from .runs import CONFIGS, Results, Run, launch

DIGITS_SYNC, DIGITS_ASYNC = CONFIGS / "digits_sync.toml", CONFIGS / "digits_async.toml"
TRAINING_SAMPLES, STEPS_PER_EPOCH, EPOCHS = 1438, 23, 30


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """digits(ranks): the main job on that many ranks, run once."""

    @functools.cache
    def run(ranks: int) -> Run:
        return finished(launch(tmp_path_factory.mktemp(f"digits-{ranks}"), ranks, DIGITS_SYNC))

    return run


@pytest.fixture(scope="module")
def in_float64(tmp_path_factory):
    """in_float64(ranks): what three epochs of it leave where rounding is far below what a wrong batch would change."""

    @functools.cache
    def results(ranks: int) -> Results:
        overrides = ["experiment.dtype=float64", "train.epochs=3"]
        return finished(launch(tmp_path_factory.mktemp(f"float64-{ranks}"), ranks, DIGITS_SYNC, *overrides)).results

    return results


def finished(run: Run) -> Run:
    assert run.code == 0, run.err
    return run


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_digits_are_learnt_on_any_number_of_ranks(digits, ranks):
    assert digits(ranks).results.end["test_accuracy"] >= 0.96


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_train_on_the_batches_of_a_single_process(in_float64, ranks):
    """Losses are weighted by samples: the last batch of an epoch, 30 samples, is no multiple of 4."""
    several, single = in_float64(ranks), in_float64(1)
    np.testing.assert_allclose(several.losses(), single.losses(), rtol=1e-12)
    for name, value in several.parameters.items():
        np.testing.assert_allclose(value, single.parameters[name], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_two_runs_give_the_same_bytes(digits, tmp_path, ranks):
    again = finished(launch(tmp_path, ranks, DIGITS_SYNC)).results
    assert again.parameter_bytes == digits(ranks).results.parameter_bytes
    assert again.losses().tolist() == digits(ranks).results.losses().tolist()


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ("digits_local_sgd", []),
        ("digits_easgd", []),
        ("digits_gossip", ["parallel.topology=random"]),
        ("digits_servers", ["parallel.staleness=0"]),
        ("digits_backup", ["parallel.backup=0"]),
    ],
)
def test_two_runs_give_the_same_bytes_where_no_rank_overtakes_another(tmp_path, config, overrides):
    once, again = (
        finished(launch(tmp_path / name, 4, CONFIGS / f"{config}.toml", "train.epochs=2", *overrides)).results
        for name in ("once", "again")
    )
    assert once.parameter_bytes == again.parameter_bytes


def test_metrics_of_a_synchronous_run(digits):
    run, ranks = digits(3).results, 3
    training, evaluations = run.records("train"), run.records("evaluate")
    steps = EPOCHS * STEPS_PER_EPOCH
    assert [record["step"] for record in training] == list(range(10, steps + 1, 10))
    assert [record["epoch"] for record in evaluations] == list(range(1, EPOCHS + 1))
    assert [record["step"] for record in evaluations] == list(range(STEPS_PER_EPOCH, steps + 1, STEPS_PER_EPOCH))
    times = [record["time"] for record in training]
    assert times == sorted(times)
    for record in training:
        assert len(record["samples_per_second"]) == len(record["communication_seconds"]) == ranks
        assert min(record["samples_per_second"]) > 0
        assert min(record["communication_seconds"]) > 0
        assert sum(record["waited_seconds"]) == pytest.approx(sum(record["held_up_seconds"]))
        assert np.all(np.array(record["waited_seconds"]) <= np.array(record["communication_seconds"]) + 1e-9)
        assert 0 <= record["accuracy"] <= 1
    accounts = run.end["ranks"]
    assert sum(account["samples"] for account in accounts) == EPOCHS * TRAINING_SAMPLES
    for number, account in enumerate(accounts):
        shares = [record["communication_seconds"][number] for record in training]
        assert account["communication_seconds"] == pytest.approx(sum(shares))
        assert account["steps"] == steps
        assert account["waited_seconds"] == pytest.approx(sum(account["waited_for"].values()))
        assert account["waited_seconds"] == pytest.approx(sum(record["waited_seconds"][number] for record in training))
        held_up = sum(other["waited_for"].get(str(number), 0.0) for other in accounts)
        assert held_up == pytest.approx(sum(record["held_up_seconds"][number] for record in training))
        assert len(account["epoch_seconds"]) == EPOCHS
        assert account["seconds"] == pytest.approx(sum(account["epoch_seconds"]))
        assert account["communication_seconds"] < account["seconds"]
        assert account["samples_per_second"] == pytest.approx(account["samples"] / account["seconds"])
        assert account["first_step_unix_time"] < run.end["unix_time"]


def test_the_screen_tells_how_it_went(digits):
    lines = digits(2).out.splitlines()
    assert lines[0].startswith(f"epoch 1/{EPOCHS}  step {STEPS_PER_EPOCH}/{EPOCHS * STEPS_PER_EPOCH}  loss ")
    assert "test accuracy" in lines[0]
    results = digits(2).results
    assert f"{EPOCHS * STEPS_PER_EPOCH} steps in" in lines[EPOCHS]
    assert f"test accuracy {results.end['test_accuracy']:.2%}" in lines[EPOCHS]
    told = results.end["waiting_share"] >= 0.03  # with a table: a line of names and one for each rank
    assert len(lines) == EPOCHS + 2 + (1 + 1 + 2 if told else 0)
    assert lines[-1] == f"run directory: {results.directory}"


def test_digits_are_learnt_asynchronously(tmp_path):
    run = finished(launch(tmp_path, 4, DIGITS_ASYNC)).results
    assert run.end["test_accuracy"] >= 0.95
    *workers, server = run.end["ranks"]
    pushes = EPOCHS * STEPS_PER_EPOCH
    assert server["role"] == "server"
    assert server["pushes"] == 3 * pushes
    assert 0 < server["busy_seconds"] < max(worker["seconds"] for worker in workers)
    assert [worker["pushes"] for worker in workers] == [pushes] * 3
    assert sum(worker["samples"] for worker in workers) == EPOCHS * TRAINING_SAMPLES
    for worker in workers:
        histogram = {int(staleness): count for staleness, count in worker["staleness_histogram"].items()}
        assert sum(histogram.values()) == pushes
        assert sum(k * n for k, n in histogram.items()) == pytest.approx(pushes * worker["staleness_mean"])
        assert max(histogram) == worker["staleness_max"]
        # As stale as others pushed meanwhile, which they did 2 * pushes times in all.
        assert 0 < worker["staleness_mean"] <= 2
    training = run.records("train")
    assert [record["pushes"] for record in training] == [record["step"] for record in training]
    assert all(record["staleness_mean"] <= record["staleness_max"] for record in training)


@pytest.mark.parametrize("name", ["digits_ssp", "digits_servers", "digits_backup"])
def test_digits_are_learnt_through_servers(tmp_path, name):
    run = finished(launch(tmp_path, 4, CONFIGS / f"{name}.toml", "train.evaluate_every=0"))
    end = run.results.end
    assert end["test_accuracy"] >= 0.95
    workers = [account for account in end["ranks"] if account["role"] == "worker"]
    assert sum(worker["pushes"] for worker in workers) <= len(workers) * EPOCHS * STEPS_PER_EPOCH
    assert f"{sum(worker['pushes'] for worker in workers)} pushes of {len(workers)} workers, staleness" in run.out
    for worker in workers:
        assert (worker["late_gradients"] > 0) <= (name == "digits_backup")
        assert worker["dropped_gradients"] == 0
        if name == "digits_ssp":  # from 4 steps behind to 4 ahead, and a push that then waits, by each of two others
            assert worker["staleness_max"] <= 2 * (4 + 4 + 1)


@pytest.mark.parametrize("name", ["local_sgd", "diloco", "easgd", "gossip"])
def test_digits_are_learnt_by_averaging_parameters(tmp_path, name):
    run = finished(launch(tmp_path, 4, CONFIGS / f"digits_{name}.toml")).results
    assert run.end["test_accuracy"] >= 0.95
    # What ranks have in common, or rank 0 on a ring, is evaluated on the way and has learnt as well.
    assert min(record["accuracy"] for record in run.records("evaluate")[10:]) >= 0.9
    assert [rank["samples"] for rank in run.end["ranks"]] == [EPOCHS * 360] * 2 + [EPOCHS * 359] * 2


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_convolutional_network_learns_digits(tmp_path, ranks):
    run = finished(launch(tmp_path, ranks, CONFIGS / "digits_cnn.toml", "train.evaluate_every=0")).results
    assert run.end["test_accuracy"] >= 0.97
    assert run.parameters["conv2d_1/kernel"].shape == (3, 3, 16, 32)


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_sample_program_comes_to_tensorflows_weights(tmp_path, ranks):
    """Weights after 5000 steps of TensorFlow 2.21 (tf.compat.v1) on a CPU."""
    parameters = finished(launch(tmp_path, ranks, CONFIGS / "sample_program.toml")).results.parameters
    w1 = [[-1.9618274, 2.582354, 1.6820376], [-3.4681718, 1.0698231, 2.11789]]
    w2 = [[-1.8247148], [2.6854665], [1.418195]]
    np.testing.assert_allclose(parameters["w1"], w1, rtol=1e-3)
    np.testing.assert_allclose(parameters["w2"], w2, rtol=1e-3)
