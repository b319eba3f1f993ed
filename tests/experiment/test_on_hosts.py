"""An experiment whose ranks are on two hosts."""

import numpy as np

from .runs import CONFIGS, PARAFLOW, command, launch

DIGITS = [str(CONFIGS / "digits_sync.toml"), "train.epochs=10"]


def test_two_hosts_learn_what_one_host_learns(hosts, tmp_path):
    options = ["-n", "4", "--hosts", hosts.slots((2, 2)), "--launch-agent", str(hosts.agent)]
    run = command(tmp_path / "apart", *hosts[0].command(PARAFLOW, "launch", *options, *DIGITS))
    assert run.code == 0, run.err
    apart, together = run.results, launch(tmp_path / "together", 4, *DIGITS).results
    assert apart.end["test_accuracy"] >= 0.95
    np.testing.assert_allclose(apart.losses(), together.losses(), rtol=1e-4)
    for name, value in together.parameters.items():
        np.testing.assert_allclose(apart.parameters[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
