"""Whom ranks blame for their waiting: rounds of gossip on made-up clocks, and what a run's end says of them."""

import numpy as np
import pytest

from paraflow.experiment.waits import Waits
from paraflow.parallel.delays import Delays
from paraflow.parallel.gossip import neighbours

ROUNDS = 40


def judged(costs, topology="ring"):
    """What is said after rounds in each of which rank r computes for ``costs[round, r]`` seconds."""
    rounds, size = costs.shape
    now = np.zeros(size)
    ranks = [Delays(rank, size) for rank in range(size)]
    for number, cost in enumerate(costs):
        now = now + cost
        partners = [neighbours(topology, 7, number, rank, size) for rank in range(size)]
        told = [delays.seconds.copy() for delays in ranks]
        came = now.copy()
        for rank, delays in enumerate(ranks):
            for other in partners[rank]:
                waited = max(came[other] - now[rank], 0.0)
                now[rank] += waited
                delays.wait(waited, other, told[other])
    waited = [sum(delays.waits.values()) for delays in ranks]
    np.testing.assert_allclose(waited, now - costs.sum(axis=0), err_msg="all waiting is someone's fault", atol=1e-9)
    return Waits(
        [
            {
                "role": "worker", "seconds": now[rank], "communication_seconds": waited[rank], "steps": rounds,
                "finish_seconds": 0.0, "waited_for": delays.waits,
            }
            for rank, delays in enumerate(ranks)
        ]
    )  # fmt: skip


@pytest.mark.parametrize("topology", ["ring", "random", "complete"])
@pytest.mark.parametrize(("size", "slow"), [(2, 1), (4, 0), (5, 2), (9, 8)])
def test_the_slow_rank_is_blamed_along_the_chain_of_those_who_wait(topology, size, slow):
    costs = np.ones((ROUNDS, size))
    costs[:, slow] = 5
    waits = judged(costs, topology)
    assert waits.straggler.rank == slow
    assert waits.straggler.slowdown == pytest.approx(5)
    np.testing.assert_allclose(np.delete(waits.seconds, slow, axis=1), 0, atol=1e-9)
    if topology != "random":  # lateness needs a round for each rank on its way, of which there are half of the ring
        assert (np.delete(waits.seconds[:, slow], slow) >= 4 * (ROUNDS - size // 2)).all()


def test_each_is_blamed_for_its_part_where_two_are_late():
    """Rank 2 of 6 takes a second more in each round, and rank 5, opposite, holds all up once, for 30 s."""
    costs = np.ones((ROUNDS, 6))
    costs[:, 2] += 1
    costs[20, 5] += 30
    waits = judged(costs)
    others = [0, 1, 3, 4]
    assert waits.seconds[:, others].sum() <= 2  # of some 300
    # They have waited a little for rank 2 when rank 5's delay reaches them; rank 2 has not, and is two seconds later.
    assert ((waits.seconds[others, 5] >= 25) & (waits.seconds[others, 5] <= 30)).all()
    assert waits.seconds[2].tolist() == [0, 0, 0, 0, 0, 25]
    assert (waits.seconds[others, 2] >= ROUNDS - 5).all()


def test_an_old_delay_excuses_nobody_again():
    """Rank 2 held up rank 1 when rank 0 was as late itself; for what rank 1 is late later there is no such excuse."""
    delays = Delays(0, 3)
    delays.wait(0.0, 1, np.array([0.0, 0.0, 10.0]))
    delays.wait(3.0, 1, np.array([0.0, 0.0, 10.0]))
    assert delays.waits == {1: 3.0}
    delays.wait(4.0, 1, np.array([7.0, 0.0, 11.0]))
    assert delays.waits == {1: 6.0, 2: 1.0}
    delays.wait(2.0, 2, np.array([0.0, 9.0, 0.0]))
    assert delays.waits == {1: 8.0, 2: 1.0}
    np.testing.assert_array_equal(delays.seconds, [0, 8, 1])


def test_a_farewell_that_is_read_late_makes_no_old_delay_new():
    """Rank 1 said what it had waited by then, and more in messages that were read before."""
    delays = Delays(0, 3)
    delays.wait(5.0, 1, np.array([0.0, 0.0, 5.0]))
    delays.wait(0.0, 1, np.array([0.0, 0.0, 2.0]), farewell=True)
    delays.wait(1.0, 1, np.array([0.0, 0.0, 5.0]))
    assert delays.waits == {1: 1.0, 2: 5.0}


@pytest.mark.parametrize("size", [4, 6])
def test_nobody_is_named_where_steps_take_longer_here_and_there(size):
    waits = judged(1 + np.random.default_rng(5).exponential(1.0, (ROUNDS, size)))
    assert waits.noteworthy
    assert waits.straggler is None
    assert waits.remarks()[0].startswith("the ranks waited for each other, for no one in particular")
