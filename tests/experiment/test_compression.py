"""``parallel.compress``, from the configuration to what a run learns and sends."""

import functools
import re

import pytest

from paraflow.errors import ConfigError
from paraflow.experiment.compressors import make_compressor
from paraflow.experiment.config import load_config
from paraflow.experiment.schema import Parallel

from .runs import CONFIGS, Run, launch

DIGITS = CONFIGS / "digits_compressed.toml"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """digits(method): the shipped configuration with another compressor on 2 ranks, run once."""

    @functools.cache
    def run(method: str) -> Run:
        done = launch(tmp_path_factory.mktemp(method), 2, DIGITS, f"parallel.compress={method}", "train.log_every=23")
        assert done.code == 0, done.err
        return done

    return run


@pytest.mark.parametrize("method", ["topk", "onebit"])
def test_a_twentieth_of_the_bytes_and_no_loss(digits, method):
    plain, compressed = digits("none").results, digits(method).results
    assert compressed.end["test_accuracy"] >= 0.95
    assert compressed.end["loss"] <= 1.01 * plain.end["loss"]
    for rank in compressed.end["ranks"]:
        assert 20 * rank["gradient_bytes"] < rank["uncompressed_gradient_bytes"]


@pytest.mark.parametrize("method", ["fp16", "bf16", "powersgd", "randomk"])
def test_the_other_methods_learn_the_digits_too(digits, method):
    assert digits(method).results.end["test_accuracy"] >= 0.95


@pytest.mark.parametrize("method", ["topk", "onebit"])
@pytest.mark.parametrize("mode", ["parameter_server", "backup_workers", "local_sgd", "easgd"])
def test_the_other_modes_learn_the_digits_with_a_tenth_of_the_bytes(tmp_path, mode, method):
    keys = f"parallel.mode={mode}", f"parallel.compress={method}", "train.evaluate_every=0", "train.log_every=23"
    run = launch(tmp_path, 3, DIGITS, *keys)
    assert run.code == 0, run.err
    assert run.results.end["test_accuracy"] >= 0.95
    workers = [rank for rank in run.results.end["ranks"] if rank["role"] == "worker"]
    for worker in workers:
        assert 10 * worker["gradient_bytes"] < worker["uncompressed_gradient_bytes"]
    who = "worker 0" if len(workers) < 3 else "rank 0"
    assert f"of uncompressed: {who} has sent {workers[0]['gradient_bytes'] / 1e6:.2f} of " in run.out


def test_gossip_learns_the_digits_by_changes(tmp_path):
    """1 % of their elements, and what is smaller than 1024 elements as it is."""
    run = launch(tmp_path, 4, CONFIGS / "digits_gossip.toml", "parallel.compress=topk", "train.log_every=23")
    assert run.code == 0, run.err
    assert run.results.end["test_accuracy"] >= 0.95
    assert "gradient traffic 0.034 of uncompressed: rank 0 has sent" in run.out


def test_traffic_is_told_in_the_records_and_on_the_screen(digits):
    sizes = [64 * 128, 128, 128 * 10, 10]
    plain = 4 * sum(sizes)  # two ranks: half of it to scatter, half to gather
    message = 8 + 8 * (82 + 13) + 4 * (128 + 10)
    record = digits("topk").results.records("train")[-1]
    for told in (record, *digits("topk").results.end["ranks"]):
        assert told["gradient_bytes"] == 690 * message
        assert told["uncompressed_gradient_bytes"] == 690 * plain
    megabytes = f"{690 * message / 1e6:.2f} of {690 * plain / 1e6:.2f} MB"
    line = f"gradient traffic {message / plain:.3f} of uncompressed: each rank has sent {megabytes}"
    assert digits("topk").out.splitlines()[-2] == line
    assert "traffic" not in digits("none").out
    assert "gradient_bytes" not in digits("none").results.end["ranks"][0]


def test_every_key_reaches_the_compressor():
    common = "error_feedback=False, warmup=7"
    expected = {
        "none": "None",
        "fp16": f"Float16({common})",
        "bf16": f"BFloat16({common})",
        "onebit": f"OneBit({common})",
        "topk": f"TopK({common}, ratio=0.25)",
        "randomk": f"RandomK({common}, ratio=0.25, seed=5)",
        "powersgd": f"PowerSGD({common}, rank=3, seed=5)",
    }
    for method, wanted in expected.items():
        keys = {"compress_ratio": 0.25} if "k" in method[-1:] else {"compress_rank": 3} if method == "powersgd" else {}
        table = Parallel(compress=method, compress_warmup=7, error_feedback=False, **keys)
        assert repr(make_compressor(table, 5)) == wanted


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (
            ["parallel.mode=gossip", "parallel.compress_warmup=2"],
            "compress_warmup = 2: gossip has no warm-up; set it to 0",
        ),
        (
            ["parallel.mode=gossip", "parallel.compress=none", "parallel.consensus=0.5"],
            "consensus = 0.5 is for compress other than 'none'",
        ),
        (
            ["parallel.mode=easgd", "parallel.error_feedback=false"],
            "error_feedback = false: easgd has to know what a message leaves out; set it to true",
        ),
        (["parallel.compress_rank=2"], "compress_rank is for compress = 'powersgd', not for 'topk'"),
        (
            ["parallel.compress=onebit", "parallel.compress_ratio=0.1"],
            "compress_ratio is for compress = 'topk' or 'randomk', not for 'onebit'",
        ),
        (["parallel.compress_ratio=0.0"], "parallel.compress_ratio = 0.0: must be greater than 0"),
        (["parallel.compress_ratio=1.5"], "parallel.compress_ratio = 1.5: must be less than or equal to 1"),
        (["parallel.compress=top"], "did you mean 'topk'?"),
    ],
)
def test_senseless_combinations_are_refused(overrides, fault):
    with pytest.raises(ConfigError, match=re.escape(fault)):
        load_config(DIGITS, overrides)


def test_no_compression_and_a_single_process_need_no_other_keys_changed():
    for override in ("parallel.compress=none", "parallel.mode=single"):
        load_config(DIGITS, [override, "parallel.compress_ratio=0.1"])
