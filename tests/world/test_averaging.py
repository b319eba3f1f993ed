"""The averaging strategies on worlds of threads and under a real mpirun, and what they refuse."""

import pytest
from mpirun import run_ranks

from paraflow.comm import run_threads, solo
from paraflow.errors import InvalidArgumentError
from paraflow.parallel import EASGD, Gossip, LocalSGD
from paraflow.parallel.gossip import mixing_weight, neighbours

from . import averaging_cases


def every_case():
    return [
        pytest.param(n, case, id=f"{n}-{case.__name__}") for n in (1, 2, 3, 4) for case in averaging_cases.cases_of(n)
    ]


@pytest.mark.parametrize(("size", "case"), every_case())
def test_on_threads(size, case):
    run_threads(size, case)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_under_mpirun(size):
    done = run_ranks(size, averaging_cases.__file__, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"mpi {size}: {case.__name__}" for case in averaging_cases.cases_of(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("topology", ["ring", "random", "complete"])
def test_neighbours_are_mutual(topology, size):
    met = {(a, a) for a in range(size)}
    for number in range(1, 80):
        pairs = {(a, b) for a in range(size) for b in neighbours(topology, 7, number, a, size)}
        assert pairs == {(b, a) for a, b in pairs}
        assert all(a != b for a, b in pairs)
        most = {"ring": 2, "random": 1, "complete": size - 1}[topology]
        assert all(len(neighbours(topology, 7, number, a, size)) <= most for a in range(size))
        if topology == "random":
            assert len(pairs) == size - size % 2
        met |= pairs
    if topology != "ring":
        assert len(met) == size * size, "everyone has met everyone"
    assert mixing_weight(topology, size) == 1 / (1 + min(most, size - 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocalSGD(solo(), period=0), "period is a number of steps, from 1; it is 0"),
        (lambda: LocalSGD(solo(), warmup=-1), "warmup is a number of steps, from 0; it is -1"),
        (lambda: LocalSGD(solo(), outer="adam"), "outer is 'average' or 'nesterov', not 'adam'"),
        (lambda: LocalSGD(solo(), outer_momentum=1.0), r"outer_momentum in \[0, 1\); they are 0.7 and 1.0"),
        (lambda: LocalSGD(solo(), outer_learning_rate=0.0), "outer_learning_rate has to be positive"),
        (lambda: EASGD(solo(), moving_rate=1.5), r"moving_rate has to be in \(0, 1\], but it is 1.5"),
        (lambda: Gossip(solo(), topology="star"), "topology is 'ring', 'random' or 'complete', not 'star'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()
