"""What ranks say of steps that differ."""

import pytest

from paraflow.runtime.ending import STEP_BYTES, difference

NAMES = [f"encoder/layer_{number}/weights/Adam" for number in range(STEP_BYTES // 30)]
SHORT, LONG = NAMES[:40], NAMES
UP_TO = LONG[len(", ".join(LONG)[:STEP_BYTES].split(", ")) - 2]  # the last one that ranks tell each other whole


def told(names: list[str]) -> str:
    """As much of a step's text as another rank gets to know."""
    return ", ".join(names)[:STEP_BYTES]


@pytest.mark.parametrize("names", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("other", [0, 5, 30])
def test_what_one_rank_has_beside_the_same_is_named_alone(names, other):
    more = [*names[:other], "extra/Adam", *names[other:]]
    assert difference(0, ", ".join(names), 1, told(more)) == "rank 1 alone has extra/Adam"
    assert difference(0, ", ".join(more), 1, told(names)) == "rank 0 alone has extra/Adam"
    found = difference(2, ", ".join([*more, "late"]), 1, told([*names, "later"]))
    assert found.startswith("rank 2 alone has extra/Adam")


def test_what_both_have_more_of_than_they_can_tell_may_differ_behind_it():
    assert difference(0, ", ".join([*LONG, "a"]), 1, told([*LONG, "b"])) == f"up to {UP_TO} these are the same on both"


def test_steps_that_are_the_same_say_so():
    assert difference(0, ", ".join(SHORT), 1, told(SHORT)).startswith("this step is the same on both")
