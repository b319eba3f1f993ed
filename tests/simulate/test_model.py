"""Costs of messages and collectives against their published formulas, and what the machine says of its ranks."""

from dataclasses import replace

import numpy as np
import pytest

from paraflow.errors import ConfigError
from paraflow.simulate.model import (
    Link,
    Memory,
    all_reduce,
    all_reduce_bytes,
    doubling_all_reduce,
    halving_all_reduce,
    ring_all_reduce,
    ring_all_reduce_bytes,
    world_all_gather,
    world_all_reduce,
    world_all_to_all,
)

from .cases import LINK, MEMORY, machine


@pytest.mark.parametrize("n", [1, 2, 3, 8, 512])
def test_a_ring_takes_2_n_minus_1_messages_of_an_nth(n):
    alpha, beta, nbytes = LINK.latency, LINK.bandwidth, 3e6
    assert ring_all_reduce(n, nbytes, LINK) == pytest.approx(2 * (n - 1) * alpha + 2 * (n - 1) / n * nbytes / beta)


def test_small_messages_double_and_large_ones_are_halved():
    assert doubling_all_reduce(8, 1000, LINK) == pytest.approx(3 * (1e-5 + 1e-6))
    assert all_reduce(8, 1000, LINK) == doubling_all_reduce(8, 1000, LINK)
    assert halving_all_reduce(8, 8e8, LINK) == pytest.approx(6e-5 + 2 * 7 / 8 * 0.8)
    assert all_reduce(8, 8e8, LINK) == halving_all_reduce(8, 8e8, LINK)
    assert all_reduce(1, 8e8, LINK) == all_reduce_bytes(1, 8e8) == 0


def test_ranks_beyond_a_power_of_two_hand_everything_to_others_and_get_everything():
    assert all_reduce(5, 10, LINK) == pytest.approx((1 + 2 + 1) * (1e-5 + 1e-8))
    assert all_reduce(5, 8e8, LINK) == pytest.approx(6e-5 + (1 + 2 * 3 / 4 + 1) * 0.8)
    assert all_reduce_bytes(5, 8e8) == pytest.approx((2 * 3 / 4 + 1) * 8e8)
    assert all_reduce_bytes(4, 8e8) == ring_all_reduce_bytes(4, 8e8) == pytest.approx(2 * 3 / 4 * 8e8)


def test_all_ranks_reduce_through_the_memory_of_their_nodes():
    # 2 of 3 parts copied, summed, and read: three times two thirds; then each node's 3 slices share the wire.
    inside = 2e-6 + 2 * 3e6 / 1e10
    assert world_all_reduce(machine(6, 2), 3e6) == pytest.approx(inside + all_reduce(2, 1e6, LINK.shared(3)))
    assert world_all_reduce(machine(2), 3e6) == pytest.approx(2e-6 + 2 * 3e6 / 1e10)
    assert world_all_reduce(machine(1), 3e6) == 0


def test_every_node_takes_the_parts_of_all_others():
    # 2 nodes of 2: a round inside and one between; three parts copied in and out, two over the wire.
    expected = 2e-6 + 3 * 1000 / 5e9 + 1e-5 + 2 * 1000 / 1e9
    assert world_all_gather(machine(4, 2), 1000) == pytest.approx(expected)
    # One message inside, two outside, where the wire has two ranks.
    assert world_all_to_all(machine(4, 2), 1000) == pytest.approx(2e-6 + 1000 / 5e9 + 2 * (1e-5 + 2 * 1000 / 1e9))


def test_uneven_nodes_have_their_ranks_in_blocks():
    uneven = machine(8, 3, cores=2)
    assert uneven.counts.tolist() == [3, 3, 2]
    assert uneven.starts.tolist() == [0, 3, 6]
    assert (uneven.node_size, uneven.lanes) == (3, 2)
    assert uneven.crowding.tolist() == [1.5] * 6 + [1] * 2
    assert replace(uneven, whole_turns=True).crowding.tolist() == [2] * 6 + [1] * 2
    assert uneven.node_max(np.arange(8.0)).tolist() == [2, 2, 2, 5, 5, 5, 7, 7]


def test_fewer_ranks_leave_nodes_as_full_as_they_are():
    large = machine(4096, 512)
    assert [(m.ranks, m.nodes) for m in map(large.scaled, (1, 8, 9, 2048))] == [(1, 1), (8, 1), (9, 2), (2048, 256)]


def test_ranks_apart_share_wire_and_cores():
    apart = machine(8, 2, cores=2).apart()
    assert (apart.nodes, apart.node_size) == (8, 1)
    assert apart.crowding.tolist() == [2] * 8
    assert apart.wire == Link(LINK.latency, LINK.bandwidth / 4)


@pytest.mark.parametrize(
    ("make", "text", "expected"),
    [
        (Link.parse, "10us,12.5GB/s", Link(1e-5, 1.25e10)),
        (Link.parse, "0.1ms, 100Mbit/s", Link(1e-4, 1.25e7)),
        (Memory.parse, "1us,8GB/s,60GB/s", Memory(1e-6, 8e9, 6e10)),
    ],
)
def test_numbers_have_units(make, text, expected):
    found = make(text)
    assert vars(found) == pytest.approx(vars(expected))


@pytest.mark.parametrize(
    "text", ["", "10us", "10,12.5GB/s", "10us,12.5GBs", "10us,1GB/s,2GB/s", "0us,1GB/s", "-1us,1GB/s"]
)
def test_a_link_without_units_is_refused(text):
    with pytest.raises(ConfigError, match="is not LATENCY,BANDWIDTH such as 10us"):
        Link.parse(text)


def test_a_machine_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="3 nodes for 2 ranks"):
        machine(2, 3)
    with pytest.raises(ConfigError, match="give --link LATENCY,BANDWIDTH"):
        machine(4, 2, link=None)
    assert machine(1).memory == MEMORY
