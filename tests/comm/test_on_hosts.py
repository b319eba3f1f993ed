"""Ranks on several hosts: the cases of every communicator, nodes, and a wire of a given width."""

import pytest
from hosts import run_ranks_on, start_hosts

from .test_mpi import EVERY_CASE, PROGRAMS, RUN_CASES


@pytest.mark.parametrize("ranks", [(1, 2), (2, 2)])
def test_cases(hosts, ranks):
    done = run_ranks_on(hosts, RUN_CASES, ranks=ranks)
    assert done.returncode == 0, done.stderr
    expected = [f"mpi {sum(ranks)}: {case.__name__}" for case in EVERY_CASE]
    assert done.stdout.splitlines() == expected


def test_the_ranks_of_a_host_are_a_node():
    with start_hosts(3) as hosts:
        done = run_ranks_on(hosts, PROGRAMS / "nodes.py", ranks=(1, 2, 1))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["host-a 0 of 1", "host-b 0 of 2", "host-b 1 of 2", "host-c 0 of 1"]


def test_memory_is_not_shared_between_hosts(hosts):
    done = run_ranks_on(hosts, PROGRAMS / "shares_between_hosts.py", ranks=(1, 2))
    assert done.returncode == 0, done.stderr
    assert "of the 3 ranks of this one only 1 are on the node" in done.stdout


def test_a_throttled_wire_is_slow(hosts):
    """A megabyte is 8 million bits; 20 KiB of them may pass at once."""
    hosts.throttle(megabits=40)
    done = run_ranks_on(hosts, PROGRAMS / "one_megabyte.py", ranks=(1, 1))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) >= (8e6 - 8 * 20480) / 40e6
