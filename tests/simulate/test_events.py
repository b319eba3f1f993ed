"""Ranks in lockstep and ranks that average: closed forms without noise, order statistics with it."""

from dataclasses import replace

import numpy as np
import pytest

from paraflow.compiler.options import BUCKET_BYTES
from paraflow.experiment.schema import Parallel
from paraflow.parallel.gossip import neighbours
from paraflow.simulate.events import _partners
from paraflow.simulate.model import all_reduce, ring_all_reduce, world_all_gather, world_all_reduce
from paraflow.simulate.noise import Noise
from paraflow.simulate.predict import MODES, scaling
from paraflow.simulate.profile import Bucket, Compression, Overhead, Profile, Statistic

from .cases import LINK, machine, profile, run


@pytest.mark.parametrize("mode", MODES)
def test_one_rank_is_as_efficient_as_itself(mode):
    found = run(profile(update=1e-4), machine(1), Noise(0.3, seed=4), mode=mode)
    assert found.efficiency == pytest.approx(1)
    assert (found.wait_seconds, found.wire_bytes, found.memory_bytes) == (0, 0, 0)


def test_ranks_of_a_node_share_the_update_and_read_their_neighbours():
    # 4 ranks: post, flag, a quarter of the update, three neighbours' quarters of 1 MB at 10 GB/s, flag.
    found = run(profile(update=4e-4), machine(4))
    assert found.step_seconds == pytest.approx(1e-3 + 1e-6 + 1e-4 + 0.75e6 / 1e10 + 1e-6)
    assert found.wait_seconds == pytest.approx(2e-6)
    assert found.memory_bytes == pytest.approx(0.75e6)
    assert found.samples_per_second == pytest.approx(4 * 32 / found.step_seconds)
    assert found.efficiency == pytest.approx((1e-3 + 4e-4) / found.step_seconds)


def test_memory_is_shared_by_the_ranks_of_a_node():
    # 64 ranks read 63/64 MB each, all at once, at 1 TB/s together: more than a core's 10 GB/s would take.
    slow = replace(machine(64), memory=replace(machine(64).memory, node=1e11))
    found = run(profile(), slow)
    assert found.step_seconds == pytest.approx(1e-3 + 2e-6 + 63e6 / 1e11)


def test_more_ranks_than_cores_take_turns():
    crowded, roomy = run(profile(), machine(8, cores=2)), run(profile(), machine(8, cores=8))
    assert crowded.step_seconds == pytest.approx(4 * roomy.step_seconds)


def test_short_steps_take_whole_turns():
    """A rank cannot change its core within a step of a millisecond, so all wait for the core that has two."""
    short, long = profile(nbytes=0), profile(nbytes=0, compute=1e-2)
    assert run(short, machine(3, cores=2)).step_seconds == run(short, machine(4, cores=2)).step_seconds
    assert run(long, machine(3, cores=2)).step_seconds == pytest.approx(1.5 * 1e-2, rel=1e-3)


@pytest.mark.parametrize(("ranks", "worker"), [(1, 0), (2, 2e-4), (3, 3e-4), (4, 4e-4), (8, 8e-4)])
def test_overheads_lie_on_the_line_between_those_known(ranks, worker):
    known = profile(overheads={2: Overhead(2e-4), 4: Overhead(4e-4)})
    assert known.around(machine(ranks, cores=1).turns).worker == pytest.approx(worker)
    roomy = profile(overheads={1: Overhead(1e-4)})
    assert roomy.around(machine(ranks, cores=1).turns).worker == 1e-4


def test_all_ranks_meet_for_statistics():
    """Each puts them together, from a row of every rank; the first time all see that they are in the same step."""
    normalised = profile(statistics=(Statistic(4e-4, 800, 1e-5), Statistic(9e-4, 80, 2e-5)))
    for a_machine, first in ((machine(4), 2e-6), (machine(6, 3), 2e-6 + all_reduce(3, 72, LINK))):
        sums = sum(world_all_reduce(a_machine, a_machine.ranks * nbytes) for nbytes in (800, 80))
        more = run(normalised, a_machine).step_seconds - run(profile(), a_machine).step_seconds
        assert more == pytest.approx(first + 3e-5 + sums)
    for table in ({"accumulate": 3}, {"shared_memory": False}):
        more = run(normalised, machine(4), **table).step_seconds - run(profile(), machine(4), **table).step_seconds
        assert more == pytest.approx(2e-6 + 3e-5 + sum(world_all_reduce(machine(4), n) for n in (3200, 320)))
    assert run(normalised, machine(1)) == run(profile(), machine(1))


def test_gradients_before_statistics_leave_early():
    """The sum over nodes of a bucket that is posted before the slowest rank comes to a meeting is over after it."""
    bucket = Bucket(500_000, 1e-4, 0.0, 0)
    meeting = Statistic(5e-4, 0, 5e-2)
    found = run(Profile(32, 0.0, 1e-3, (bucket,), (meeting,)), machine(2, 2, progress=True))
    first = 2e-6 + all_reduce(2, 48, LINK)
    assert found.step_seconds == pytest.approx(1e-3 + 5e-2 + first + world_all_reduce(machine(2, 2), 0))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_at_statistics_all_wait_for_the_slowest(accumulate):
    slow = Noise(slow=1, factor=3.0)
    normalised = profile(nbytes=0, statistics=(Statistic(1e-3, 0, 1e-9),))
    found = run(normalised, machine(8), slow, accumulate=accumulate)
    assert found.step_seconds == pytest.approx(3e-3, rel=0.01)
    assert found.wait_seconds == pytest.approx(7 / 8 * 2e-3, rel=0.01)


def test_autotune_chooses_the_buckets_of_the_faster_step():
    half = Bucket(2_000_000, 5e-3, 0.0, 0)
    late = Profile(32, 0.0, 5e-3, (replace(half, nbytes=4_000_000),))
    early = Profile(32, 0.0, 5e-3, (replace(half, after=2e-3), half))
    nodes = machine(2, 2, progress=True)
    found = run(replace(late, tried={1 << 18: early}), nodes)
    assert found == replace(run(early, nodes), bucket_bytes=1 << 18, algorithm="mpi")
    three = machine(3, 3, progress=True)
    assert run(replace(late, tried={1 << 18: early}), three) == replace(
        run(early, three, algorithm="ring"), bucket_bytes=1 << 18, algorithm="ring"
    )
    slightly = replace(late, compute=4.9e-3)
    assert run(replace(late, tried={1 << 18: slightly}), nodes).bucket_bytes == BUCKET_BYTES  # it has to be clear
    same = replace(late, compute=1e-3)  # equal buckets: what differs is chance
    assert run(replace(late, tried={1 << 18: same}), nodes).step_seconds == run(late, nodes).step_seconds


def test_nodes_all_reduce_each_slice():
    # 3 nodes of 2: each sums half of 1 MB of one neighbour, then two slices of 0.5 MB share the wire.
    wire = all_reduce(3, 5e5, LINK.shared(2))
    found = run(profile(), machine(6, 3))
    assert found.step_seconds == pytest.approx(1e-3 + 1e-6 + 5e5 / 1e10 + wire + 1e-6)
    assert found.wire_bytes == pytest.approx(2e6)  # two nodes halve it, and one of them answers the third
    found = run(profile(), machine(6, 3), algorithm="ring")
    wire = ring_all_reduce(3, 5e5, LINK.shared(2))
    assert found.step_seconds == pytest.approx(1e-3 + 1e-6 + 5e5 / 1e10 + wire + 1e-6)
    assert found.wire_bytes == pytest.approx(2 * 2 / 3 * 1e6)


def test_the_wire_works_beside_the_rest_of_backward():
    half = Bucket(500_000, 1e-3, 0.0, 0)
    early = Profile(32, 0.0, 5e-3, (half, replace(half, after=5e-3)))
    late = Profile(32, 0.0, 5e-3, (replace(half, after=5e-3), replace(half, after=5e-3)))
    wire = all_reduce(2, 5e5, LINK)
    by_itself = machine(2, 2, progress=True)
    assert run(early, by_itself).step_seconds == pytest.approx(5e-3 + wire)
    assert run(late, by_itself).step_seconds == pytest.approx(5e-3 + 2 * wire)
    # Without a thread of MPI's own the second half of a sum waits until a rank looks: at the end, or between steps.
    assert run(early, machine(2, 2)).step_seconds == pytest.approx(5e-3 + wire / 2 + wire)
    # On a ring of three that holds for the second, the third and the fourth round; what is left is that of the other.
    assert run(early, machine(3, 3), algorithm="ring").step_seconds == pytest.approx(
        5e-3 + (3 / 4 + 1) * ring_all_reduce(3, 5e5, LINK)
    )
    looking = replace(early, looks=(1.1e-3, 3e-3))
    assert run(looking, machine(2, 2)).step_seconds == pytest.approx(5e-3 + wire)
    too_late = replace(early, looks=(5e-3 - wire / 4,))
    assert run(too_late, machine(2, 2)).step_seconds == pytest.approx(5e-3 + wire / 4 + wire)


def test_ranks_without_shared_memory_send_everything():
    found = run(profile(), machine(4), shared_memory=False)
    inner = machine(4).inner
    assert found.step_seconds == pytest.approx(1e-3 + all_reduce(4, 1e6, inner))
    assert found.memory_bytes == 0


def test_a_step_waits_for_the_slowest_rank():
    noise = Noise(0.5, seed=7)
    found = run(profile(nbytes=0), machine(16), noise, steps=200)
    slowest = (noise.factors(200, 16) * 1e-3).max(axis=1)
    assert found.step_seconds == pytest.approx(slowest.mean() + 2e-6)
    assert found.wait_seconds == pytest.approx(slowest.mean() + 2e-6 - noise.factors(200, 16).mean() * 1e-3)


def test_slow_workers_hold_up_allreduce_but_not_gossip_at_once():
    slow = Noise(0.0, slow=1, factor=3.0)
    assert run(profile(nbytes=0), machine(8), slow).step_seconds == pytest.approx(3e-3 + 2e-6)
    own = run(profile(nbytes=0), machine(64), slow, steps=4, mode="gossip")
    assert own.step_seconds < 1.5e-3  # most have not heard of it yet
    assert own.longest_wait_seconds > 10 * own.wait_seconds / 2


def test_accumulated_batches_are_exchanged_once():
    found = run(profile(update=4e-4), machine(6, 3), accumulate=4)
    once = run(profile(update=4e-4), machine(6, 3))
    passes = 8 * 1e6 / 1e10
    assert found.step_seconds == pytest.approx((3e-3 + passes + once.step_seconds) / 4)
    assert found.wait_seconds == pytest.approx(once.wait_seconds / 4)
    assert found.wire_bytes == pytest.approx(once.wire_bytes / 4)
    alone = run(profile(update=4e-4), machine(1), Noise(0.2), accumulate=3)
    assert alone.efficiency == pytest.approx(1)


def test_averaging_meets_every_period():
    nodes = machine(8, 4)
    exchange = world_all_reduce(nodes, 1e6) + world_all_reduce(nodes, 16) + 5e6 / 1e10
    for mode in ("local_sgd", "easgd"):
        found = run(profile(update=1e-4), nodes, steps=40, mode=mode, period=8)
        assert found.step_seconds == pytest.approx(1.1e-3 + exchange / 8)
        assert found.wire_bytes == pytest.approx(2 * 3 / 4 * 1e6 / 8)


def test_a_longer_period_waits_less_for_noise():
    waits = [
        run(profile(nbytes=0), machine(64), Noise(0.3), steps=64, mode="local_sgd", period=p).wait_seconds
        for p in (1, 4, 16)
    ]
    assert waits[0] > 1.5 * waits[1] > 2 * waits[2]


@pytest.mark.parametrize("ranks", [2, 3, 8, 9])
@pytest.mark.parametrize("topology", ["ring", "random"])
def test_neighbours_are_those_of_the_strategy(topology, ranks):
    for number in range(1, 4):
        found = _partners(topology, number, ranks)
        for rank in range(ranks):
            assert sorted({p for p in found[rank].tolist() if p >= 0}) == neighbours(topology, 0, number, rank, ranks)


def test_complete_gossip_costs_more_than_a_ring():
    ring, complete = (run(profile(), machine(64, 8), mode="gossip", topology=t) for t in ("ring", "complete"))
    assert ring.wire_bytes == 2e6
    assert complete.wire_bytes == 8 * 56 * 1e6
    assert complete.step_seconds > 10 * ring.step_seconds


def test_a_rank_computes_while_another_of_its_node_has_the_wire():
    # Two of the four links of the ring cross, 10 ms each way; computation and mixing take less.
    found = run(profile(nbytes=10_000_000), machine(4, 2), mode="gossip", steps=400)
    assert found.step_seconds == pytest.approx(20e-3, rel=0.02)
    lone = run(profile(nbytes=10_000_000), machine(2, 2), mode="gossip")
    assert lone.step_seconds > 11e-3


def test_compression_sends_fewer_bytes_and_unpacks_every_message():
    how = Compression("gathered", 1000, pack=2e-4, decode=1e-5)
    found = run(profile(update=1e-4, compression=how), machine(4, 2), compress="topk")
    exchange = world_all_gather(machine(4, 2), 1000) + world_all_reduce(machine(4, 2), 8)
    assert found.step_seconds == pytest.approx(1.3e-3 + 4e-5 + exchange)
    assert found.wire_bytes == 2 * 1000
    halves = Compression("swapped", 500_000, pack=2e-4)
    assert run(profile(compression=halves), machine(2, 2), compress="fp16").wire_bytes == pytest.approx(5e5)


@pytest.mark.parametrize("mode", ["local_sgd", "easgd"])
def test_averagings_are_compressed(mode):
    how = Compression("gathered", 1000, pack=2e-4, decode=1e-5)
    found = run(profile(compression=how), machine(4, 2), mode=mode, period=5, compress="topk")
    exchange = world_all_gather(machine(4, 2), 1000) + world_all_reduce(machine(4, 2), 16)
    own = 5e6 / 1e10 + 2e-4 + 4 * 1e-5
    assert found.step_seconds == pytest.approx(1e-3 + (exchange + own) / 5)
    assert found.wire_bytes == 2 * 1000 / 5


def test_gossip_packs_for_each_neighbour():
    how = Compression("gathered", 1000, encode=2e-4, decode=5e-5)
    found = run(profile(compression=how), machine(2, 2), mode="gossip", compress="topk")
    assert found.step_seconds == pytest.approx(1e-3 + LINK.seconds(1e3) + 3e6 / 1e10 + 2e-4 + 2 * 5e-5)
    assert found.wire_bytes == 1000


def test_noise_is_the_same_for_a_seed_and_a_worker():
    one, other = Noise(0.2, seed=3), Noise(0.2, seed=4)
    assert run(profile(), machine(8), one) == run(profile(), machine(8), one)
    assert run(profile(), machine(8), one) != run(profile(), machine(8), other)
    np.testing.assert_array_equal(one.factors(10, 16)[:, :4], one.factors(10, 4))
    assert np.log(one.factors(2000, 8)).std() == pytest.approx(0.2, rel=0.05)


def test_slow_workers_are_in_every_row_and_efficiency_is_by_the_others_where_there_are_any():
    """Two workers are slow, which in the rows of 1 and 2 ranks are all."""
    rows = scaling(profile(nbytes=0), machine(4), Parallel(), Noise(slow=2, factor=5.0), 40)
    assert [one.ranks for one in rows] == [1, 2, 4]
    assert [one.step_seconds for one in rows] == pytest.approx([5e-3] * 3, rel=0.1)
    assert [one.efficiency for one in rows] == pytest.approx([1, 1, 1 / 5], rel=0.1)
