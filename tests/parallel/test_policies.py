"""When servers apply and answer, for any order of arrivals: nobody waits for ever, bounds hold, means are exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paraflow.parallel.server.messages import COUNTED, DROPPED, EMPTY, LATE, PushCount, summary
from paraflow.parallel.server.policies import Closing, Immediate
from paraflow.parallel.server.rows import Served, Target

# An event is (which of the workers that are not waiting, its samples); no samples and a high number: it leaves.
EVENTS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5)), max_size=60)


class Driver:
    """Workers that push what they have when they are answered; a worker waits from its push to its answer."""

    def __init__(self, policy, workers):
        self.policy = policy
        self.active = set(range(workers))
        self.waiting = set()
        self.version = dict.fromkeys(range(workers), 0)
        self.pushes = dict.fromkeys(range(workers), 0)

    def events(self, events):
        """Yield (worker, samples, answers) for each event that could take place; samples is None where it leaves."""
        for number, samples in events:
            free = sorted(self.active - self.waiting)
            if not free:
                return
            worker = free[number % len(free)]
            if number > 90 and not samples:
                self.active.discard(worker)
                yield worker, None, self.answered(self.policy.leave(worker))
            else:
                self.waiting.add(worker)
                self.pushes[worker] += 1
                yield worker, samples, self.answered(self.push(worker, samples))

    def push(self, worker, samples):
        gradient = np.full(2, 1.0 + worker + 10 * self.pushes[worker]) if samples else np.full(2, np.nan)
        return self.policy.push(worker, self.version[worker], samples, [gradient])

    def answered(self, answers):
        for answer in answers:
            self.waiting.remove(answer.worker)
            self.version[answer.worker] = self.policy.version
        return answers


@given(EVENTS, st.integers(1, 4), st.integers(1, 3))
def test_within_a_bound_the_slowest_never_waits_and_nobody_is_further_ahead(events, workers, bound):
    variable = np.zeros(2)
    served = Served([variable], lambda g: np.subtract(variable, g, out=variable), [Target(0)])
    driver = Driver(Immediate(workers, served, bound), workers)
    applied = np.zeros(2)
    for worker, samples, answers in driver.events(events):
        if samples:
            applied -= 1.0 + worker + 10 * driver.pushes[worker]
        clocks = {w: driver.pushes[w] for w in driver.active}
        slowest = min(clocks.values(), default=0)
        assert all(clocks[w] - slowest > bound for w in driver.waiting)
        assert all(clocks[answer.worker] - slowest <= bound for answer in answers)
    np.testing.assert_array_equal(variable, applied)


@given(EVENTS, st.integers(1, 4), st.data(), st.sampled_from(["drop", "add"]))
def test_steps_close_with_the_exact_mean_of_what_counts(events, workers, data, late):
    """``pool`` has (weight, gradient) of what has come for the step that is open, ``came`` who came in time for it."""
    backup = data.draw(st.integers(0, workers - 1))
    means = []
    driver = Driver(Closing(workers, lambda g: means.append(g.copy()), backup, late), workers)
    version, pool, came, empty = 0, [], set(), set()
    then = dict(driver.version)
    for worker, samples, answers in driver.events(events):
        outcomes = {answer.worker: (answer.staleness, answer.outcome) for answer in answers}
        lateness = version - then[worker]
        if samples is not None and lateness:
            expected = EMPTY if not samples else LATE if late == "add" else DROPPED
            assert outcomes == {worker: (lateness, expected)}, "who is late is answered at once, and nobody else"
        if samples and (not lateness or late == "add"):
            pool.append((samples / (1 + lateness), 1.0 + worker + 10 * driver.pushes[worker]))
        if samples is not None and not lateness:
            came.add(worker)
            if not samples:
                empty.add(worker)
        able = len(driver.active) - len(empty)
        enough = max(1, able - backup) if able else 0
        if came and len(came - empty) >= enough:
            assert {w: o for w, (_, o) in outcomes.items()} == {w: EMPTY if w in empty else COUNTED for w in came}
            if pool:
                weights, gradients = zip(*pool, strict=True)
                np.testing.assert_allclose(means.pop(), np.average(gradients, weights=weights), rtol=1e-12)
            version, pool, came, empty = version + 1, [], set(), set()
        assert not means
        assert driver.policy.version == version
        assert not driver.active or driver.waiting < driver.active, "all wait for each other"
        then = dict(driver.version)


@pytest.mark.parametrize(
    ("pushes", "text"),
    [
        ([[], []], "0 pushes of 2 workers, staleness 0.00 on average, 0 at most"),
        ([[(0, COUNTED, 0.0)], [(3, COUNTED, 0.0)]], "2 pushes of 2 workers, staleness 1.50 on average, 3 at most"),
        (
            [[(0, COUNTED, 0.25), (0, EMPTY, 0.5)], [(2, LATE, 0.0), (1, DROPPED, 0.0)]],
            "3 pushes of 2 workers, staleness 1.00 on average, 2 at most; 2 late, most by worker 1: 2 of its 2; "
            "1 dropped, 33% of all; waited 0.75 s, longest worker 0: 0.75 s",
        ),
    ],
)
def test_the_line_at_the_end_of_a_run(pushes, text):
    counts = [PushCount() for _ in pushes]
    for count, answers in zip(counts, pushes, strict=True):
        for staleness, outcome, waited in answers:
            count.add(staleness, outcome, waited)
    assert summary(counts) == text
