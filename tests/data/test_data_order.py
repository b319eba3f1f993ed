"""The order of samples against a Philox written out here, and its properties for any sizes."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraflow.data import global_batches, permutation, shard
from paraflow.data.order import hold_out, steps_per_epoch
from paraflow.errors import DataError, InvalidArgumentError

WORD = 2**64 - 1
words = st.integers(0, WORD)


def philox4x64(counter, key):
    """Ten rounds of Philox4x64 (Salmon et al. 2011) on a 256-bit counter, four 64-bit words out."""
    c = [(counter >> 64 * i) & WORD for i in range(4)]
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(p1 >> 64) ^ c[1] ^ k0, p1 & WORD, (p0 >> 64) ^ c[3] ^ k1, p0 & WORD]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & WORD, (k1 + 0xBB67AE8584CAA73B) & WORD
    return c


def digest(indices):
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


def test_the_philox_of_this_test_has_the_published_vector():
    # the known answer of the Random123 distribution for the zero counter and key
    assert philox4x64(0, (0, 0)) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]


@given(n=st.integers(0, 70), seed=words, epoch=words)
@settings(deadline=None)
def test_permutation_sorts_the_raw_philox_draws(n, seed, epoch):
    draws = [word for block in range(-(-n // 4)) for word in philox4x64(block + 1, (seed, epoch))][:n]
    assert permutation(n, seed, epoch).tolist() == sorted(range(n), key=lambda i: (draws[i], i))


def test_permutation_is_the_same_for_ever():
    assert permutation(10, 0, 0).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert digest(permutation(60000, 1, 2)) == "6100c641e706513ee62d1c9766c0675b13b9edbde099d05a2808eb2d8686340a"


def test_epochs_and_seeds_differ():
    orders = [permutation(50, seed, epoch).tolist() for seed in range(4) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 16


def test_every_position_is_as_likely_for_every_sample():
    # 6 samples, 6000 epochs: each (sample, position) count is binomial(6000, 1/6), standard deviation 29
    counts = np.zeros((6, 6), int)
    for epoch in range(6000):
        counts[np.arange(6), permutation(6, 3, epoch)] += 1
    assert abs(counts - 1000).max() < 5 * 29


@given(
    n=st.integers(1, 200),
    batch_size=st.integers(1, 60),
    seed=words,
    epoch=st.integers(0, 5),
    shuffle=st.booleans(),
    last=st.sampled_from(["keep", "drop"]),
)
@settings(deadline=None)
def test_batches_partition_the_order(n, batch_size, seed, epoch, shuffle, last):
    if last == "drop" and n < batch_size:
        with pytest.raises(DataError, match='last="keep"'):
            global_batches(n, batch_size, seed, epoch, shuffle, last)
        return
    batches = global_batches(n, batch_size, seed, epoch, shuffle, last)
    assert len(batches) == steps_per_epoch(n, batch_size, last)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    together = np.concatenate(batches)
    assert together.dtype == np.int64
    if last == "keep":
        assert sorted(together.tolist()) == list(range(n))
    else:
        assert len(batches[-1]) == batch_size
        assert len(together) == n - n % batch_size
        assert len(set(together.tolist())) == len(together)
    expected = permutation(n, seed, epoch) if shuffle else np.arange(n)
    assert together.tolist() == expected[: len(together)].tolist()


@given(n=st.integers(0, 100), size=st.integers(1, 20))
def test_shards_are_array_splits(n, size):
    indices = permutation(n, 5, 0)
    shards = [shard(indices, rank, size) for rank in range(size)]
    for part, expected in zip(shards, np.array_split(indices, size), strict=True):
        np.testing.assert_array_equal(part, expected)


@given(st.integers(0, 200), st.integers(1, 9), st.data())
def test_any_ranks_without_the_backup_have_a_whole_batch(n, size, data):
    backup = data.draw(st.integers(0, size - 1))
    indices = permutation(n, 5, 0)
    parts = [shard(indices, rank, size, backup) for rank in range(size)]
    for part, first in zip(parts, np.array_split(indices, size), strict=True):
        assert len(set(part)) == len(part)
        np.testing.assert_array_equal(part[: len(first)], first, "together they have all")
    sizes = sorted(map(len, parts))
    needed = size - backup
    assert n <= sum(sizes[:needed]) or not backup
    assert sum(sizes[backup:]) < n + needed


def test_a_backup_of_all_but_one_has_the_whole_batch():
    for rank, expected in enumerate([[0, 1, 2, 3], [2, 3, 0, 1]]):
        np.testing.assert_array_equal(shard(np.arange(4), rank, 2, backup=1), expected)


def test_hold_out_is_a_fixed_fifth():
    train, test = hold_out(1797)
    assert (len(train), len(test)) == (1438, 359)
    assert sorted([*train, *test]) == list(range(1797))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    assert digest(test) == "0239bb146c2821783df9b5b2aac129df88a0e82502339c56ec1115d36d9e1a99"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: permutation(3, -1, 0), InvalidArgumentError, r"seed -1 is not in 0\.\.2\^64-1"),
        (lambda: permutation(3, 0, 2**64), InvalidArgumentError, "epoch 18446744073709551616 is not in"),
        (lambda: permutation(3, 0.5, 0), TypeError, "float"),
        (lambda: global_batches(10, 0, 0, 0), InvalidArgumentError, "batch_size must be at least 1, not 0"),
        (lambda: global_batches(10, 4, 0, 0, last="pad"), InvalidArgumentError, "'pad'"),
        (lambda: global_batches(0, 4, 0, 0), DataError, "0 samples do not fill a batch of 4$"),
        (lambda: shard(np.arange(4), 4, 4), InvalidArgumentError, r"rank 4 is not in 0\.\.3"),
        (lambda: shard(np.arange(4), -1, 4), InvalidArgumentError, "rank -1"),
        (lambda: shard(np.arange(4), 0, 2, 2), InvalidArgumentError, "backup = 2 of 2 ranks"),
        (lambda: shard(np.arange(4), 0, 2, -1), InvalidArgumentError, "backup = -1 of 2 ranks"),
    ],
)
def test_impossible_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
