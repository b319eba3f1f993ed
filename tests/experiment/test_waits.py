"""What a run says of stragglers: accounts made up, and real runs with a slow rank."""

import re

import numpy as np
import pytest

from paraflow.experiment.waits import Waits
from paraflow.experiment.waits_picture import draw

from .runs import CONFIGS, Run, launch

STRAGGLER = CONFIGS / "digits_straggler.toml"
STEPS = 40


def worker(
    seconds: float, communication: float, waited_for: dict[int, float], steps: int = 10, finish: float = 0.0
) -> dict[str, object]:
    return {
        "role": "worker", "seconds": seconds, "communication_seconds": communication, "steps": steps,
        "finish_seconds": finish, "waited_for": waited_for,
    }  # fmt: skip


def test_the_rank_that_was_waited_for_is_named():
    """Ranks 0, 1 and 3 compute for 5, 4 and 6 s of 10 s, rank 2 for 9 s."""
    accounts = [
        worker(10, 5, {2: 4.0, 1: 0.5}),
        worker(10, 6, {2: 5.0}),
        worker(10, 1, {}),
        worker(10, 4, {2: 3.0, 0: 0.5}),
        {"role": "server"},
    ]
    waits = Waits(accounts)
    assert waits.share == pytest.approx(13 / 40)
    found = waits.straggler
    assert (found.rank, found.waited_seconds) == (2, 12.0)
    assert found.share == pytest.approx(12 / 40)
    assert found.slowdown == pytest.approx(9 / 5)
    np.testing.assert_allclose(waits.compute + waits.waited + waits.communication, 10)
    assert waits.remarks() == [
        "rank 2 held the others up: they waited 12.00 s for it, 30% of all ranks' time; its steps took 1.8 times the "
        "median of theirs",
        "seconds waited by  for rank 0  for rank 1  for rank 2  for rank 3",
        "           rank 0           -        0.50        4.00        0.00",
        "           rank 1        0.00           -        5.00        0.00",
        "           rank 2        0.00        0.00           -        0.00",
        "           rank 3        0.50        0.00        3.00           -",
    ]


def test_a_step_is_what_is_compared_where_one_rank_took_fewer():
    waits = Waits([worker(10, 2, {1: 2.0}, steps=40), worker(10, 0, {}, steps=10)])
    assert waits.straggler.slowdown == pytest.approx((10 / 10) / (8 / 40))


def test_those_who_are_done_early_have_waited_for_the_last_one():
    """Ranks 0 and 2 train for 4 s and communicate for 1 of them; rank 1 trains for 16 s."""
    waits = Waits([worker(4, 1, {1: 12.0}, finish=12.0), worker(16, 1, {}), worker(4, 1, {1: 11.5}, finish=12.0)])
    found = waits.straggler
    assert (found.rank, found.waited_seconds, found.share) == (1, 23.5, pytest.approx(23.5 / 48))
    assert found.slowdown == pytest.approx(15 / 3)
    np.testing.assert_allclose(waits.communication, [1, 1, 1.5])


@pytest.mark.parametrize(
    "accounts",
    [
        [worker(10, 0.0, {})],
        [worker(10, 0.5, {1: 0.2}), worker(10, 0.5, {0: 0.1}), worker(10, 0.5, {1: 0.2})],
        [worker(10, 0.5, {}), {"role": "server"}],
    ],
)
def test_nothing_is_said_where_little_was_waited(accounts):
    waits = Waits(accounts)
    assert not waits.noteworthy
    assert waits.straggler is None
    assert waits.remarks() == []


def test_nobody_is_named_where_all_waited_for_each_other():
    waits = Waits([worker(10, 2, {1: 1.0, 2: 1.0}), worker(10, 2, {0: 1.5}), worker(10, 2, {0: 0.5, 1: 1.0})])
    assert waits.straggler is None
    (sentence, *table) = waits.remarks()
    assert sentence == (
        "the ranks waited for each other, for no one in particular: 5.00 s, 17% of all ranks' time, as where ranks "
        "outnumber cores, or one evaluates for all"
    )
    assert len(table) == 4


@pytest.mark.parametrize(
    ("accounts", "slowdown"),
    [
        # All waiting is for rank 0, whose steps take no longer than the others': it was waited for, but is not slow.
        ([worker(10, 7, {}), worker(10, 5, {0: 3.0}), worker(10, 5, {0: 3.0})], 0.6),
        ([worker(10, 4.5, {}), worker(10, 5, {0: 3.0}), worker(10, 5, {0: 3.0})], 1.1),
        # Rank 0 is slow, but what it cost is 2 % of the time; the rest was lost to ranks 1 and 2.
        ([worker(10, 2, {1: 0.3}), worker(10, 5, {0: 0.3, 2: 0.3}), worker(10, 5, {0: 0.33})], 1.6),
    ],
)
def test_nobody_is_named_who_is_not_slow_or_cost_little(accounts, slowdown):
    waits = Waits(accounts)
    steps = waits.compute / 10
    assert steps[0] / np.median(steps[1:]) == pytest.approx(slowdown)
    assert waits.noteworthy
    assert waits.straggler is None
    assert waits.remarks()[0].startswith("the ranks waited for each other, for no one in particular: ")


def test_who_is_clearly_slow_is_named():
    waits = Waits([worker(10, 4, {}), worker(10, 5, {0: 0.5}), worker(10, 5, {0: 0.5})])
    assert (waits.straggler.rank, waits.straggler.share) == (0, pytest.approx(1 / 30))
    assert waits.straggler.slowdown == pytest.approx(1.2)


def pushing(late: int, pushes: int, *account: object) -> dict[str, object]:
    return {**worker(*account, steps=pushes), "late_gradients": late, "pushes": pushes}


def test_a_worker_for_which_nobody_waits_is_named_by_its_late_gradients():
    """Ranks 0 and 2 wait for each other 1 s of 10; rank 1 takes 0.4 s for a step where they take 0.16 and 0.2."""
    others = pushing(1, 50, 10, 2, {2: 1.0}), pushing(0, 50, 10, 0, {})
    waits = Waits([others[0], pushing(18, 20, 10, 2, {}), others[1]])
    found = waits.straggler
    assert (found.rank, found.late_gradients, found.pushes, found.waited_seconds) == (1, 18, 20, 0.0)
    assert found.slowdown == pytest.approx(0.4 / 0.18)
    sentence, *table = waits.remarks()
    assert sentence == (
        "rank 1 was left behind: 18 of its 20 gradients came when their step was closed; its steps took 2.2 times the "
        "median of the others'"
    )
    assert len(table) == 4
    quick = Waits([pushing(0, 50, 10, 0, {}), pushing(18, 20, 10, 0, {}), pushing(0, 50, 10, 0, {})])
    assert quick.noteworthy
    assert quick.straggler.rank == 1
    assert len(quick.remarks()) == 1, "nobody waited"


def test_one_may_be_left_behind_and_another_be_waited_for():
    quick = pushing(0, 50, 10, 6, {2: 5.0})
    waits = Waits([quick, pushing(18, 20, 10, 0, {}), pushing(1, 50, 10, 0, {}), quick])
    assert waits.straggler.rank == 1
    assert [sentence.partition(":")[0] for sentence in waits.remarks()[:2]] == [
        "rank 1 was left behind", "rank 2 held the others up",
    ]  # fmt: skip


@pytest.mark.parametrize("late", [[10, 24, 8], [40, 40, 3], [1, 20, 0], [0, 0, 0]])
def test_nobody_is_named_where_gradients_are_late_by_turns(late):
    assert Waits([pushing(n, 50, 10, 0, {}) for n in late]).straggler is None


def test_many_ranks_have_a_sentence_and_a_picture(tmp_path):
    ranks = 40
    waits = Waits([worker(10, 5, {17: 5.0}) for _ in range(17)] + [worker(10, 5, {17: 5.0})] * (ranks - 17))
    assert len(waits.remarks()) == 1
    draw(waits, tmp_path / "waits.svg")
    draw(waits, tmp_path / "again.svg")
    assert (tmp_path / "waits.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()


def straggle(folder, *overrides: str, factor: float = 5.0, ranks: int = 3) -> Run:
    slow = f"data.options={{seconds=0.01, slow_rank=1, slow_factor={factor}}}"
    run = launch(folder, ranks, STRAGGLER, f"train.steps={STEPS}", "train.evaluate_every=0", slow, *overrides)
    assert run.code == 0, run.err
    return run


@pytest.mark.parametrize("memory", ["true", "false"])
def test_a_run_names_its_slow_rank(tmp_path, memory):
    """Each step, rank 1 sleeps for 40 ms more than the others."""
    run = straggle(tmp_path, f"parallel.shared_memory={memory}")
    end = run.results.end
    assert end["straggler"]["rank"] == 1
    assert end["straggler"]["slowdown"] > 2
    for rank in (0, 2):
        waited_for = end["ranks"][rank]["waited_for"]
        assert 0.6 * 0.04 * STEPS < waited_for["1"] <= end["ranks"][rank]["communication_seconds"] + 1e-9
        assert waited_for["1"] > 2 * sum(seconds for other, seconds in waited_for.items() if other != "1")
    assert end["ranks"][1]["waited_seconds"] < 0.25 * end["ranks"][0]["waited_seconds"]
    seconds = sum(account["seconds"] + account["finish_seconds"] for account in end["ranks"])
    assert end["waiting_share"] == pytest.approx(sum(a["waited_seconds"] for a in end["ranks"]) / seconds)
    record = run.results.records("train")[-1]
    assert record["held_up_seconds"][1] > 2 * (record["held_up_seconds"][0] + record["held_up_seconds"][2])
    assert f"\nrank 1 held the others up: they waited {end['straggler']['waited_seconds']:.2f} s for it, " in run.out
    picture = (run.results.directory / "waits.svg").read_text()
    assert "who waited for whom" in picture
    assert "rank 1 held the others up: they waited" in picture


def test_backup_workers_name_the_one_that_is_left_behind(tmp_path):
    run = straggle(tmp_path, "parallel.mode=backup_workers", ranks=5)
    end = run.results.end
    late, pushes = end["straggler"]["late_gradients"], end["straggler"]["pushes"]
    assert end["straggler"]["rank"] == 1
    assert end["straggler"]["slowdown"] > 2
    assert (late, pushes) == (end["ranks"][1]["late_gradients"], end["ranks"][1]["pushes"])
    sentence = f"rank 1 was left behind: {late} of its {pushes} gradients came when their step was closed; "
    assert f"\n{sentence}" in run.out
    assert "for no one in particular" not in run.out
    assert sentence in (run.results.directory / "waits.svg").read_text()
    assert "rank 0's own" not in run.out


def test_a_loss_of_long_ago_says_of_which_step_it_is(tmp_path):
    """Rank 0 trains on its first batch while the others take all steps."""
    run = straggle(tmp_path, "parallel.mode=backup_workers", "data.options.slow_rank=0", factor=400.0, ranks=5)
    (summary,) = (line for line in run.out.splitlines() if line.startswith(f"{STEPS} steps in "))
    step = int(re.search(r" \(rank 0's own, step (\d+)\), test loss ", summary)[1])
    assert step <= STEPS - 10


def test_an_asynchronous_run_names_the_rank_for_which_the_others_waited_at_its_end(tmp_path):
    run = straggle(tmp_path, "parallel.mode=parameter_server")
    end = run.results.end
    first, slow, _ = end["ranks"]
    assert end["straggler"]["rank"] == 1
    assert 0.6 * 0.04 * STEPS < first["waited_for"]["1"] <= first["finish_seconds"]
    assert slow["waited_seconds"] < 0.25 * first["waited_seconds"]
    assert f"\nrank 1 held the others up: they waited {end['straggler']['waited_seconds']:.2f} s for it, " in run.out
    assert "who waited for whom" in (run.results.directory / "waits.svg").read_text()


def test_a_ring_names_the_rank_for_which_not_all_wait_themselves(tmp_path):
    run = straggle(tmp_path, "parallel.mode=gossip", ranks=5)
    end = run.results.end
    assert end["straggler"]["rank"] == 1
    for rank in (0, 2, 3, 4):
        assert end["ranks"][rank]["waited_for"]["1"] > 0.6 * 0.04 * STEPS
    assert f"\nrank 1 held the others up: they waited {end['straggler']['waited_seconds']:.2f} s for it, " in run.out


def test_gossiping_ranks_that_are_done_early_have_waited_for_the_slow_one(tmp_path):
    """They meet only after their last step, and then on a ring of four not all have the slow one for a neighbour."""
    run = straggle(tmp_path, "parallel.mode=gossip", f"parallel.period={STEPS + 1}", ranks=4)
    end = run.results.end
    assert end["straggler"]["rank"] == 1
    assert end["ranks"][1]["waited_seconds"] < 0.25 * end["ranks"][0]["waited_seconds"]
    for rank in (0, 2, 3):
        account = end["ranks"][rank]
        assert 0.6 * 0.04 * STEPS < account["waited_for"]["1"] <= account["finish_seconds"]
    assert f"\nrank 1 held the others up: they waited {end['straggler']['waited_seconds']:.2f} s for it, " in run.out


def test_ranks_of_one_speed_wait_little(tmp_path):
    end = straggle(tmp_path, factor=1.0).results.end
    assert end["waiting_share"] < 0.4  # as it is above: there it would be 0.53
    assert end["straggler"] is None or 1.2 <= end["straggler"]["slowdown"] < 2
