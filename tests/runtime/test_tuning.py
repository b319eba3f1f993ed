"""Which sizes of buckets are tried, and which measurements decide for another one than the usual."""

import pytest

import paraflow as pf
from paraflow.runtime.tuning import candidates, choose

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("exchanged", "sizes"),
    [
        (0, []),
        (256 * KIB, []),
        (257 * KIB, [256 * KIB]),
        (MIB, [256 * KIB]),
        (MIB + 1, [256 * KIB, MIB, 16 * MIB]),
        (9 * MIB, [MIB, 16 * MIB, 64 * MIB]),
        (400 * MIB, [16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB, 4096 * MIB]),
    ],
)
def test_sizes_reach_from_many_buckets_to_one(exchanged, sizes):
    assert candidates(exchanged) == sizes


@pytest.mark.parametrize(
    ("rounds", "chosen"),
    [
        ({}, 4 * MIB),
        ({4 * MIB: [1.0, 1.1], MIB: [0.8, 0.9], 16 * MIB: [0.7, 0.95]}, 16 * MIB),
        ({4 * MIB: [1.0], MIB: [0.96]}, 4 * MIB),  # too little to tell from chance
        ({4 * MIB: [1.0, 1.0, 2.0], MIB: [0.99, 0.99, 0.99], 16 * MIB: [3.0, 0.1, 3.0]}, 4 * MIB),
        ({4 * MIB: [0.5, 2.0, 2.0], MIB: [0.9, 0.9, 0.9]}, 4 * MIB),  # other work came between
    ],
)
def test_another_size_than_the_usual_has_to_be_clearly_faster(rounds, chosen):
    assert choose(rounds, 4 * MIB) == chosen


def test_what_is_given_is_not_measured():
    with pytest.raises(pf.errors.InvalidArgumentError, match=r"autotune chooses bucket_bytes, which is 4096"):
        pf.Session(bucket_bytes=4096, autotune=True)
    with pytest.raises(pf.errors.InvalidArgumentError, match=r"bucket_bytes must be at least 1, not 0"):
        pf.Session(bucket_bytes=0)
    with pytest.raises(pf.errors.InvalidArgumentError, match=r"autotune chooses algorithm, which is 'mpi'"):
        pf.Session(algorithm="mpi", autotune=True)
    with pytest.raises(pf.errors.InvalidArgumentError, match=r"algorithm is one of 'mpi', 'ring', not 'tree'"):
        pf.Session(algorithm="tree")
