"""The arena, and the checker by which plans are judged."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import paraflow as pf
from paraflow.compiler.memory import ALIGNMENT, Arena

from .checker import check_plan
from .plans import plan_of

NEVER = frozenset().__contains__  # no step is over


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 15), st.integers(0, 15)), max_size=40))
def test_stretches_never_overlap_and_guards_are_kept(requests):
    """Blocks are given for the size and to a step before which some steps are over; released with a guard."""
    arena = Arena()
    held, freed = {}, []
    for number, (size, over, guard) in enumerate(requests):
        offset = arena.allocate(size, lambda step, over=over: over >> step & 1)
        end = offset + max(size, 1)
        assert offset % ALIGNMENT == 0
        assert end <= arena.bytes
        for first, last, _ in held.values():
            assert end <= first or last <= offset
        for first, last, needed in freed:
            if offset < last and first < end:
                assert not needed & ~over
        freed = [f for f in freed if not (offset < f[1] and f[0] < end)]
        held[number] = (offset, end, size)
        if guard % 3:
            chosen = list(held)[guard % len(held)]
            first, last, chosen_size = held.pop(chosen)
            arena.release(first, chosen_size, tuple(step for step in range(4) if guard >> step & 1))
            freed.append((first, last, guard))


def test_neighbours_that_are_free_become_one_stretch():
    arena = Arena()
    places = [arena.allocate(64, NEVER) for _ in range(4)]
    for place in (places[1], places[3], places[2]):
        arena.release(place, 64)
    assert arena.allocate(192, NEVER) == places[1]
    assert arena.bytes == 256


def test_the_smallest_stretch_that_fits_is_taken():
    arena = Arena()
    large, _, small, _ = (arena.allocate(size, NEVER) for size in (256, 64, 128, 64))
    arena.release(large, 256)
    arena.release(small, 128)
    assert arena.allocate(100, NEVER) == small


def test_what_is_guarded_is_passed_over_for_what_is_not():
    arena = Arena()
    guarded, _, free, _ = (arena.allocate(size, NEVER) for size in (64, 64, 128, 64))
    arena.release(guarded, 64, (7,))
    arena.release(free, 128)
    assert arena.allocate(128, NEVER) == free
    assert arena.allocate(64, {7}.__contains__) == guarded


@pytest.mark.usefixtures("graph")
def test_a_chain_needs_two_blocks_and_an_elementwise_chain_one():
    x = pf.placeholder(pf.float32, (16, 16))
    y = x
    for _ in range(10):
        y = pf.exp(y) + 1.0
    assert plan_of([y], {x: (16, 16)}).arena_bytes == 1024
    y = x
    for _ in range(10):
        y = pf.matmul(y, x)
    assert plan_of([y], {x: (16, 16)}).arena_bytes == 2048
    assert plan_of([y], {x: (16, 16)}, parallel=True).arena_bytes == 2048


@pytest.mark.usefixtures("graph")
def test_a_view_of_unknown_place_keeps_its_memory():
    """The slice begins where a feed says, so it is a view made while the plan runs."""
    x, start = pf.placeholder(pf.float32, (4, 4)), pf.placeholder(pf.int32, (2,))
    view = pf.slice(pf.exp(x), start, [2, 2])
    other = pf.matmul(x, x)
    total = view + other[:2, :2]
    feeds = {x: np.ones((4, 4)), start: [1, 1]}
    for parallel in (False, True):
        check_plan(plan_of([total], feeds, parallel=parallel), parallel)
    with pf.Session() as session:
        np.testing.assert_allclose(session.run(total, feeds), np.full((2, 2), np.e + 4), rtol=1e-6)


@pytest.mark.usefixtures("graph")
def test_a_kernel_does_not_overwrite_a_bound_that_it_still_reads():
    x = pf.placeholder(pf.float32, (3,))
    y = x + 0.0
    with pf.Session() as session:
        assert session.run(pf.clip_by_value(y, y, 2.0), {x: [1.0, 2.0, 3.0]}).tolist() == [1.0, 2.0, 3.0]
        assert session.run(pf.clip_by_value(x + 1.0, 5.0, x + 1.0), {x: [1.0, 2.0, 3.0]}).tolist() == [5.0, 5.0, 5.0]


@pytest.mark.usefixtures("graph")
def test_the_checker_finds_what_is_wrong():
    x = pf.placeholder(pf.float32, (4, 4))
    w = pf.Variable(np.ones((4, 4), np.float32))
    y = pf.matmul(pf.exp(x), x) + pf.exp(w)
    update = w.assign(w + y)
    for parallel in (False, True):
        plan = plan_of([update, y], {x: (4, 4)}, parallel=parallel)
        check_plan(plan, parallel)
        arena = [i for i, slot in enumerate(plan.slots) if slot.kind == "arena"]
        broken = replace(plan, slots=tuple(s._replace(where=0) if i in arena else s for i, s in enumerate(plan.slots)))
        with pytest.raises(AssertionError, match="overlap"):
            check_plan(broken, parallel)
    without = replace(plan, steps=tuple(step._replace(depends=()) for step in plan.steps))
    with pytest.raises(AssertionError, match="may run before its input"):
        check_plan(without, parallel=True)
    serial = plan_of([pf.exp(x) @ x, pf.exp(-x) @ x], {x: (4, 4)})
    with pytest.raises(AssertionError, match="overlap"):
        check_plan(serial, parallel=True)
