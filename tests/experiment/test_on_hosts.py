"""An experiment whose ranks are on two hosts, and what is found and measured there."""

import re

import numpy as np
import pytest
from hosts import INTERFACE

from .runs import CONFIGS, PARAFLOW, command, launch

DIGITS = [str(CONFIGS / "digits_sync.toml"), "train.epochs=10"]


@pytest.fixture
def on_hosts(hosts, tmp_path):
    """on_hosts(ranks, command, ...): a command of paraflow with that many ranks on each of two hosts."""

    def run(ranks, name, *arguments):
        options = ["-n", str(sum(ranks)), "--hosts", hosts.slots(ranks), "--launch-agent", str(hosts.agent)]
        return command(tmp_path / "apart", *hosts[0].command(PARAFLOW, name, *options, *arguments))

    return run


def test_two_hosts_learn_what_one_host_learns(on_hosts, tmp_path):
    run = on_hosts((2, 2), "launch", *DIGITS)
    assert run.code == 0, run.err
    apart, together = run.results, launch(tmp_path / "together", 4, *DIGITS).results
    assert apart.end["test_accuracy"] >= 0.95
    np.testing.assert_allclose(apart.losses(), together.losses(), rtol=1e-4)
    for name, value in together.parameters.items():
        np.testing.assert_allclose(apart.parameters[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_doctor_tells_what_ranks_on_two_hosts_find(on_hosts):
    run = on_hosts((1, 2), "doctor", "--interface", INTERFACE)
    assert run.code == 0, run.err
    places = re.findall(r"^rank (\d) +on (\S+), (\d) of its node", run.out, re.MULTILINE)
    assert places == [("0", "host-a", "0"), ("1", "host-b", "0"), ("2", "host-b", "1")]
    chosen = re.findall(r"^autotune +model of (.*?): .*; summed over nodes by (\w+): ", run.out, re.MULTILINE)
    assert [size for size, _ in chosen] == ["1 MiB", "8 MiB", "32 MiB"]
    assert {algorithm for _, algorithm in chosen} <= {"mpi", "ring"}
    assert list(run.folder.glob("runs/*")) == [], "the logs of what has worked are of no use"


def test_bench_measures_between_two_hosts(on_hosts):
    run = on_hosts((1, 1), "bench", "allreduce", "--sizes", "4KiB", "--rounds", "1")
    assert run.code == 0, run.err
    assert "2 ranks on 2 nodes" in run.out
    row = re.search(r"\n +4 KiB (.*)", run.out)[1].split()
    assert len(row) >= 2 * 5
    assert all(float(cell) > 0 for cell in row)
