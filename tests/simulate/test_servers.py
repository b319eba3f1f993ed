"""Servers: throughput at saturation, bounds, staleness, and steps that close without the slowest workers."""

from dataclasses import replace

import numpy as np
import pytest

from paraflow.errors import ConfigError
from paraflow.simulate.model import Link
from paraflow.simulate.noise import Noise
from paraflow.simulate.predict import predict, scaling
from paraflow.simulate.profile import Compression
from paraflow.simulate.servers import Closing, Immediate

from .cases import LINK, SILENT, Parallel, machine, profile, run


def test_a_saturated_server_does_what_its_wire_and_core_allow():
    # 63 workers on other nodes; 1 MB takes the wire 1 ms each way, at the same time.
    found = run(profile(), machine(64, 64), mode="parameter_server", steps=80)
    assert found.samples_per_second == pytest.approx(32 / 1e-3, rel=0.02)
    # With a tiny wire time the core is the limit: update, three copies of the bytes.
    update = profile(nbytes=1000, update=1e-3, call=1e-5)
    found = run(update, machine(64, 64), mode="parameter_server", steps=80)
    assert found.samples_per_second == pytest.approx(32 / (1e-3 + 2e-5 + 6e3 / 1e10), rel=0.02)


def test_servers_share_the_work_out():
    halves = profile(nbytes=1000, update=1e-3, shares=(0.5, 0.5))
    one = run(profile(nbytes=1000, update=1e-3), machine(66, 66), mode="parameter_server", servers=1)
    two = run(halves, machine(66, 66), mode="parameter_server", servers=2)
    assert two.samples_per_second == pytest.approx(2 * one.samples_per_second, rel=0.02)


def test_a_lone_worker_waits_for_the_way_there_and_back():
    found = run(profile(update=1e-4), machine(2, 2), mode="parameter_server")
    copy = 2e6 / 1e10
    way = LINK.seconds(1e6)
    assert found.wait_seconds == pytest.approx(2 * way + 3 * copy + 1e-4)
    assert found.step_seconds == pytest.approx(1e-3 + 2 * copy + found.wait_seconds)
    assert found.staleness == {0: found.staleness[0]}


def test_pushes_are_compressed_and_answers_are_not():
    how = Compression("gathered", 1000, encode=2e-4, decode=5e-5)
    found = run(profile(update=1e-4, compression=how), machine(2, 2), mode="parameter_server", compress="topk")
    copy = 2e6 / 1e10
    assert found.wait_seconds == pytest.approx(LINK.seconds(1e3) + 5e-5 + 1e-4 + 2 * copy + LINK.seconds(1e6))
    assert found.step_seconds == pytest.approx(1e-3 + 2e-4 + copy + found.wait_seconds)
    near = machine(2, messages=LINK)
    found = run(profile(update=1e-4, compression=how), near, mode="parameter_server", compress="topk")
    assert found.wait_seconds == pytest.approx(LINK.seconds(1e3) + 5e-5 + 1e-4 + copy + LINK.seconds(1e6))


def test_on_a_node_both_ends_work_for_a_message():
    # Each end has half of the latency, and the server copies the gradients in and the answer out.
    near = machine(2, messages=Link(1e-5, 1e9))
    found = run(profile(update=1e-4), near, mode="parameter_server")
    copy, way = 2e6 / 1e10, 1e-5 + 1e-3
    assert found.wait_seconds == pytest.approx(2 * way + 2 * copy + 1e-4)
    # 8 workers keep the server busy, which has half of both latencies.
    found = run(profile(update=1e-4), replace(near, ranks=9), mode="parameter_server", steps=80)
    assert found.samples_per_second == pytest.approx(32 / (1e-5 + 2e-3 + 2 * copy + 1e-4), rel=0.02)


@pytest.mark.parametrize("mode", ["parameter_server", "backup_workers"])
def test_workers_that_wait_leave_the_server_their_cores(mode):
    busy = profile(nbytes=0, compute=1e-6, update=1e-3)  # of a server that all wait for
    crowded, free = (run(busy, machine(9, cores=cores), mode=mode, steps=80) for cores in (3, 9))
    assert crowded.step_seconds == pytest.approx(free.step_seconds, rel=0.02)
    own = profile(nbytes=0, compute=1e-3)  # of workers that wait for nobody
    crowded, free = (run(own, machine(9, cores=cores), mode=mode, steps=80) for cores in (3, 9))
    assert crowded.step_seconds == pytest.approx(3 * free.step_seconds, rel=0.02)


def test_staleness_is_what_others_did_meanwhile():
    found = run(profile(nbytes=0), machine(9), mode="parameter_server", steps=100)
    assert found.staleness == {7: sum(found.staleness.values())}  # in turn, all are as fast


@pytest.mark.parametrize("bound", [1, 3])
def test_no_worker_passes_the_bound(bound):
    rng = np.random.default_rng(0)
    policy, clocks = Immediate(5, bound), np.zeros(5, int)
    free = set(range(5))
    for _ in range(2000):
        worker = int(rng.choice(sorted(free), p=_fast_first(sorted(free))))
        assert clocks[worker] - clocks.min() <= bound  # it was let go on, so it is within
        free.remove(worker)
        clocks[worker] += 1
        free.update(answer.worker for answer in policy.push(worker))
        assert free  # the slowest is never held
        assert {int(w) for w in np.flatnonzero(clocks - clocks.min() <= bound)} >= free
    assert clocks.min() > 100


def _fast_first(workers):
    weights = np.array([2.0**-w for w in workers])
    return weights / weights.sum()


def test_a_bound_waits_for_a_slow_worker_and_none_does_not():
    slow = Noise(slow=1, factor=4.0)
    free = run(profile(nbytes=0), machine(9), slow, mode="parameter_server", steps=100)
    bound = run(profile(nbytes=0), machine(9), slow, mode="parameter_server", staleness=2, steps=100)
    assert free.samples_per_second == pytest.approx(32 * (7 + 0.25) / 1e-3, rel=0.05)
    assert bound.samples_per_second == pytest.approx(32 * 8 * 0.25 / 1e-3, rel=0.05)
    assert bound.wait_seconds > 2e-3


@pytest.mark.parametrize("backup", [0, 1, 5])
def test_a_step_takes_as_long_as_its_last_counted_worker(backup):
    # Late workers begin anew when they are answered, so only the first step is a plain order statistic.
    noise = Noise(0.5, seed=2)
    policy = Closing(16, backup, adds=False)
    order = np.argsort(noise.factors(1, 16)[0])
    answers = [policy.push(int(worker)) for worker in order]
    closed = [i for i, found in enumerate(answers) if len(found) > 1 or (found and not found[0].staleness)]
    assert closed == [15 - backup]
    assert {a.worker for a in answers[15 - backup]} == set(order[: 16 - backup].tolist())
    assert [(a.staleness, a.useful) for found in answers[16 - backup :] for a in found] == [(1, False)] * backup


def test_waiting_for_all_takes_the_maximum_of_each_step():
    noise = Noise(0.5, seed=2)
    found = run(profile(nbytes=0), machine(17), noise, mode="backup_workers", backup=0, steps=400)
    slowest = np.sort(noise.factors(400, 16), axis=1)[:, -1] * 1e-3
    assert found.step_seconds == pytest.approx(slowest[100:].mean(), rel=0.02)
    assert found.useful == pytest.approx(1, rel=0.01)


def test_backup_workers_do_not_wait_for_a_slow_one():
    slow = Noise(slow=1, factor=10.0)
    found = run(profile(nbytes=0), machine(9), slow, mode="backup_workers", steps=100)
    assert found.step_seconds == pytest.approx(1e-3, rel=0.05)
    assert found.useful == pytest.approx(7 / 8, rel=0.02)
    added = run(profile(nbytes=0), machine(9), slow, mode="backup_workers", late="add", steps=100)
    assert added.useful > found.useful


@pytest.mark.parametrize("mode", ["parameter_server", "backup_workers"])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("cores", [1, 64])
def test_a_single_step_has_as_many_beside_it_as_tell_its_time(mode, workers, cores):
    """Steps of no noise, whose time more of them do not change much."""
    table = {"mode": mode, "backup": 0}
    few, many = (run(profile(), machine(workers + 1, cores=cores), steps=n, **table) for n in (1, 100))
    assert few.step_seconds == pytest.approx(many.step_seconds, rel=0.1)


def test_staleness_0_is_synchronous():
    noise = Noise(0.3, seed=1)
    closed = run(profile(), machine(9), noise, mode="parameter_server", staleness=0)
    waited = run(profile(), machine(9), noise, mode="backup_workers", backup=0)
    assert closed.step_seconds == waited.step_seconds
    assert set(closed.staleness) == {0}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"mode": "single"}, "parallel.mode = 'single' is for one process"),
        ({"mode": "parameter_server", "servers": 4}, "leaves no worker among 4 ranks"),
        ({"mode": "backup_workers", "backup": 3}, "one of 4 ranks collects"),
    ],
)
def test_a_mode_that_cannot_be_is_refused(table, message):
    with pytest.raises(ConfigError, match=message):
        run(profile(), machine(4), **table)


def test_a_curve_leaves_out_what_cannot_be():
    table, halves = Parallel(mode="parameter_server", servers=2), profile(shares=(0.5, 0.5))
    found = scaling(halves, machine(24, 3), table, SILENT, 20)
    sizes = [(one.ranks, one.nodes, one.workers) for one in found]
    assert sizes == [(1, 1, 1), (4, 1, 2), (8, 1, 6), (16, 2, 14), (24, 3, 22)]
    assert found[-1] == predict(halves, machine(24, 3), table, SILENT, 20)
