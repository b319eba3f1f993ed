"""Batches: the ranks' parts are the single process's batches, resume, edge cases, and the prefetch thread."""

import gc
import subprocess
import sys
import threading
import traceback
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraflow.data import Batches, Dataset, OwnBatches, global_batches, load
from paraflow.data.batches import prefetched
from paraflow.errors import DataError, InvalidArgumentError

WAIT = 30  # seconds until a test that hangs fails


def numbered(n):
    """n samples, each of which tells its index, so that a mix-up shows: features [i, -i], label i % 7."""
    index = np.arange(n)
    return Dataset("numbered", np.stack([index, -index], 1).astype(np.float32), (index % 7).astype(np.int32), 7)


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "paraflow-prefetch"]


@given(
    n=st.integers(1, 60),
    batch_size=st.integers(1, 30),
    size=st.integers(1, 7),
    shuffle=st.booleans(),
    last=st.sampled_from(["keep", "drop"]),
    epoch=st.integers(0, 3),
    prefetch=st.sampled_from([0, 1, 3]),
)
@settings(deadline=None)
def test_the_parts_of_the_ranks_are_the_batches_of_one_process(n, batch_size, size, shuffle, last, epoch, prefetch):
    dataset = numbered(n)
    options = {"batch_size": batch_size, "seed": 9, "shuffle": shuffle, "last": last}
    if batch_size < size or n < size or (last == "drop" and n < batch_size):
        with pytest.raises(DataError):
            Batches(dataset, rank=0, size=size, **options)
        return
    ranks = [Batches(dataset, rank=rank, size=size, prefetch=prefetch, **options) for rank in range(size)]
    expected = global_batches(n, batch_size, 9, epoch, shuffle, last)
    assert {batches.steps_per_epoch for batches in ranks} == {len(expected)}
    for indices, *parts in zip(expected, *(batches.epoch(epoch) for batches in ranks), strict=True):
        sizes = [len(part["labels"]) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        features = np.concatenate([part["features"] for part in parts])
        assert features.tolist() == [[i, -i] for i in indices]
        assert np.concatenate([part["labels"] for part in parts]).tolist() == (indices % 7).tolist()
        assert {(part["features"].dtype, part["labels"].dtype) for part in parts} == {(np.dtype("f4"), np.dtype("i4"))}


@given(start=st.integers(0, 6), prefetch=st.sampled_from([0, 2]))
@settings(deadline=None)
def test_resume_in_the_middle_of_an_epoch(start, prefetch):
    batches = Batches(numbered(23), 4, rank=1, size=3, seed=5, prefetch=prefetch)
    assert batches.steps_per_epoch == 6
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start=start))
    assert len(rest) == 6 - start
    for expected, batch in zip(whole[start:], rest, strict=True):
        assert {key: array.tobytes() for key, array in batch.items()} == {k: a.tobytes() for k, a in expected.items()}


def test_a_rank_may_have_no_samples_in_the_last_batch():
    *_, last = Batches(numbered(9), 4, rank=3, size=4).epoch(0)
    assert (last["features"].shape, last["labels"].shape) == ((0, 2), (0,))


def test_ranks_of_which_one_may_be_missing_take_larger_parts_that_overlap():
    """Three ranks share 8 samples, any two of which have a batch of 6, and so have the last one, of 2."""
    data, options = numbered(8), {"shuffle": False, "backup": 1}
    ranks = [Batches(data, 6, rank=rank, size=3, **options) for rank in range(3)]
    parts = [[batch["features"][:, 0].tolist() for batch in batches.epoch(0)] for batches in ranks]
    assert parts == [[[0, 1, 2], [6]], [[2, 3, 4], [7]], [[4, 5, 0], [6]]]


def test_ranks_with_data_of_their_own_take_as_much():
    own = [OwnBatches(numbered(n), 6, (8, 2, 7), rank, shuffle=False, backup=1) for rank, n in enumerate((8, 2, 7))]
    sizes = [[len(batch["labels"]) for batch in batches.epoch(0)] for batches in own]
    assert sizes == [[3, 3, 2], [2, 0, 0], [3, 3, 1]]
    assert own[0].seen(1) == 3 + 2 + 3


def test_batches_belong_to_the_caller():
    dataset = load("digits")[0]
    (batch,) = Batches(dataset, 2000, shuffle=False).epoch(0)
    batch["features"][:] = 7
    batch["labels"][:] = 7
    assert dataset.features.max() == 1
    assert set(dataset.labels.tolist()) == set(range(10))


@pytest.mark.parametrize(
    ("n", "options", "error", "message"),
    [
        (3, {"size": 4}, DataError, "'numbered' has 3 samples for 4 ranks that train: start at most 3"),
        (9, {"batch_size": 2, "size": 4}, DataError, "a batch of 2 .* 4 ranks that train: .* at least 4 or .* most 2"),
        (9, {"batch_size": 10, "last": "drop"}, DataError, "9 samples do not fill a batch of 10, so .* lower batch_"),
        (9, {"batch_size": 0, "size": 2}, InvalidArgumentError, "batch_size must be at least 1, not 0"),
        (9, {"last": "pad"}, InvalidArgumentError, 'last must be "keep" or "drop", not \'pad\''),
        (9, {"rank": 2, "size": 2}, InvalidArgumentError, r"rank 2 is not in 0\.\.1 \(size 2\)"),
        (9, {"prefetch": -1}, InvalidArgumentError, "prefetch .* is -1"),
    ],
)
def test_impossible_batches_are_refused(n, options, error, message):
    with pytest.raises(error, match=message):
        Batches(numbered(n), **({"batch_size": 4} | options))


@pytest.mark.parametrize("start", [-1, 4])
def test_a_start_outside_the_epoch_is_refused_at_once(start):
    with pytest.raises(InvalidArgumentError, match=f"step {start} is not in an epoch of 3 steps"):
        Batches(numbered(9), 4).epoch(0, start=start)


class TestDataset:
    def test_bytes_are_scaled_as_division_rounds(self):
        pixels = np.arange(256, dtype=np.uint8).reshape(256, 1)
        dataset = Dataset("ramp", pixels, np.zeros(256, np.int32), 1, full_scale=255)
        expected = [[np.float32(value / 255)] for value in range(256)]
        assert dataset.features.tolist() == expected
        assert dataset.take(np.arange(256))[0].tolist() == expected

    def test_bytes_stay_bytes_while_an_epoch_is_read(self):
        n = 4000
        dataset = Dataset("grey", np.zeros((n, 784), np.uint8), np.zeros(n, np.int32), 1, full_scale=255)
        tracemalloc.start()
        for _ in Batches(dataset, 64).epoch(0):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < n * 784  # bytes; all features as float32 are four times that

    def test_labels_may_be_numbers(self):
        labels = np.arange(8, dtype=np.float32).reshape(4, 2)
        dataset = Dataset("numbers", np.zeros((4, 3), np.float32), labels)
        assert dataset.classes == 0
        assert repr(dataset) == "Dataset('numbers', 4 samples of (3,), labels of (2,))"
        assert dataset.take(np.array([2, 0]))[1].tolist() == [[4, 5], [0, 1]]
        batches = list(Batches(dataset, 3, rank=1, size=2, shuffle=False).epoch(0))
        assert [batch["labels"].tolist() for batch in batches] == [[[4, 5]], []]
        assert batches[1]["labels"].shape == (0, 2)

    def test_checksums_tell_data_apart(self):
        features, labels = np.zeros((4, 3), np.float32), np.arange(4, dtype=np.int32)
        checksum = Dataset("one", features, labels, 4).checksum()
        assert Dataset("other", features[::-1], labels.copy(), 5).checksum() == checksum
        assert Dataset("one", features, labels[::-1], 4).checksum() != checksum
        features[3, 2] = 1e-30
        assert Dataset("one", features, labels, 4).checksum() != checksum

    def test_arrays_are_read_only(self):
        dataset = load("digits")[1]
        for array in (dataset.features, dataset.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    @pytest.mark.parametrize(
        ("features", "labels", "classes", "message"),
        [
            (np.zeros((3, 2)), np.zeros(3, "i4"), 2, "'mine': features must be float32 or uint8, not float64"),
            (np.zeros((3, 2), "f4"), np.zeros(3, "i8"), 2, r"of 2 classes must be int32 \[n\], not int64 \[3\]"),
            (np.zeros((3, 2), "f4"), np.zeros((3, 1), "i4"), 2, r"classes must be int32 \[n\], not int32 \[3, 1\]"),
            (np.zeros((2, 3), "f4"), np.zeros(3, "i4"), 2, r"features \[2, 3\] do not match 3 labels"),
            (np.zeros((0, 3), "f4"), np.zeros(0, "i4"), 2, "there are no samples"),
            (np.zeros((3, 2), "f4"), np.zeros(3, "i4"), -1, "classes must be at least 1, or 0 for float"),
            (np.zeros((3, 2), "f4"), np.zeros(3, "i4"), 0, r"without classes must be float32 .*, not int32 \[3\]"),
            (np.zeros((3, 2), "f4"), np.float32(1), 0, r"without classes must be float32 .*, not float32 \[\]"),
            (np.zeros((2, 2), "f4"), np.array([0, np.nan], "f4"), 0, "labels of sample 1 are not finite"),
            (np.zeros((3, 2), "f4"), np.array([0, 2, 0], "i4"), 2, r"label 2 of sample 1 is not in 0\.\.1"),
            (np.array([[0, 0], [0, np.inf]], "f4"), np.zeros(2, "i4"), 2, "features of sample 1 are not finite"),
        ],
    )
    def test_arrays_that_do_not_fit_are_named(self, features, labels, classes, message):
        with pytest.raises(DataError, match=message):
            Dataset("mine", features, labels, classes)


class TestPrefetch:
    @pytest.fixture(autouse=True)
    def _no_thread_is_left(self):
        yield
        assert workers() == []

    @pytest.mark.parametrize("ahead", [1, 2, 5])
    def test_computes_as_many_items_ahead_as_it_is_told(self, ahead):
        computed, done = [], threading.Semaphore(0)

        def items():
            for i in range(100):
                computed.append(threading.current_thread().name)
                done.release()
                yield i

        iterator = prefetched(items(), ahead)
        assert [next(iterator), next(iterator)] == [0, 1]
        for _ in range(2 + ahead):
            assert done.acquire(timeout=WAIT)
        iterator.close()  # ends the thread: what it has not computed by now, it never will
        assert computed == ["paraflow-prefetch"] * (2 + ahead)

    def test_an_exception_comes_in_its_place_with_its_traceback(self):
        def items():
            yield 1
            yield 2
            raise OSError("disk gone")

        iterator = prefetched(items(), 5)
        assert [next(iterator), next(iterator)] == [1, 2]
        with pytest.raises(OSError, match="disk gone") as caught:
            next(iterator)
        assert "items" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    def test_a_failed_iterator_keeps_nothing_alive(self):
        class Large:
            pass

        def items(large):
            yield weakref.ref(large)
            raise OSError("disk gone")

        iterator = prefetched(items(Large()), 1)
        large = next(iterator)
        with pytest.raises(OSError, match="disk gone"):
            next(iterator)
        del iterator
        gc.collect()
        assert large() is None

    def test_the_thread_ends_at_the_end_on_close_and_when_dropped(self):
        batches = Batches(numbered(50), 5, prefetch=2)
        for _ in range(100):
            assert len(list(batches.epoch(0))) == 10
            closed = batches.epoch(0)
            next(closed)
            closed.close()
            assert workers() == []
            dropped = batches.epoch(0)
            next(dropped)
            del dropped
            assert workers() == []

    def test_an_iterator_that_is_never_read_starts_no_thread(self):
        iterator = Batches(numbered(50), 5, prefetch=2).epoch(0)
        assert workers() == []
        iterator.close()

    def test_a_cycle_collected_by_the_thread_itself_ends_it(self):
        collect, collected = threading.Event(), threading.Event()

        def items():
            yield 0
            assert collect.wait(WAIT)
            gc.collect()
            collected.set()
            yield 1

        class Owner:
            pass

        gc.disable()
        try:
            owner = Owner()
            owner.itself = owner
            owner.iterator = prefetched(items(), 1)
            next(owner.iterator)
            (worker,) = workers()
            del owner
            collect.set()
            assert collected.wait(WAIT)
            worker.join(WAIT)
        finally:
            gc.enable()

    def test_an_open_iterator_does_not_keep_the_interpreter(self):
        program = (
            "from paraflow.data import Batches, load\n"
            "iterator = Batches(load('digits')[0], 8, prefetch=2).epoch(0)\n"
            "holder = [iterator]; holder.append(holder)\n"
            "print(next(iterator)['labels'].shape)"
        )
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=WAIT, check=False
        )
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "(8,)\n", "")
