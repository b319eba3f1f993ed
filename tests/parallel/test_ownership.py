"""Which server keeps which variable."""

import numpy as np
import pytest

from paraflow.errors import InvalidArgumentError
from paraflow.graph.graph import VariableSpec
from paraflow.parallel.server.ownership import share_out


def specs(*sizes):
    return [VariableSpec(f"v{i}", np.dtype("float32"), (size,), True) for i, size in enumerate(sizes)]


def loads(sizes, servers):
    owners = share_out(specs(*sizes), servers)
    return [sum(n for i, n in enumerate(sizes) if owners[f"v{i}"] == s) for s in range(servers)]


def test_the_largest_go_first_to_the_lightest():
    assert share_out(specs(10, 40, 30, 20, 40), 2) == {"v1": 0, "v4": 1, "v2": 0, "v3": 1, "v0": 1}
    assert loads([10, 40, 30, 20, 40], 2) == [70, 70]


@pytest.mark.parametrize("servers", [1, 2, 3, 5])
def test_shares_are_near_the_best(servers):
    """Graham 1969: at most 4/3 - 1/(3 m) of the best, which is at least the mean and the largest variable."""
    sizes = np.random.default_rng(3).integers(1, 1000, 23).tolist()
    best = max(sum(sizes) / servers, *sizes)
    assert max(loads(sizes, servers)) <= (4 / 3) * best
    assert sum(loads(sizes, servers)) == sum(sizes)


def test_every_server_has_a_variable():
    """Empty ones and equal ones too."""
    for sizes in ((0, 0, 0), (7, 0, 0), (5, 5, 5), (9, 1, 1)):
        assert set(share_out(specs(*sizes), 3).values()) == {0, 1, 2}


def test_too_few_variables_are_refused():
    with pytest.raises(InvalidArgumentError, match="servers = 3, but there are 2 trained variables"):
        share_out(specs(1, 2), 3)
