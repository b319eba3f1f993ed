"""load: what each data set holds, and an error that names file and fault for each way it can be wrong."""

import gzip
import hashlib
import zipfile
from contextlib import suppress
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraflow.data import load
from paraflow.data.order import hold_out
from paraflow.errors import DataError, InvalidArgumentError

DIGIT_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as the UCI repository states them


class TestDigits:
    def test_the_file_is_the_published_one(self):
        path = files("paraflow.data") / "digits.npz"
        assert len(path.read_bytes()) < 100_000
        with np.load(path) as arrays:
            features, labels = arrays["features"], arrays["labels"]
        assert (features.shape, features.dtype, labels.shape, labels.dtype) == ((1797, 64), "u1", (1797,), "u1")
        assert (features.min(), features.max()) == (0, 16)
        assert np.bincount(labels).tolist() == DIGIT_COUNTS
        table = np.column_stack([features, labels])
        digest = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
        assert hashlib.sha256(table.tobytes()).hexdigest() == digest
        notes = (files("paraflow.data") / "digits.txt").read_text()
        assert all(word in notes for word in ("Alpaydin", "Kaynak", "CC BY 4.0", digest))

    def test_the_two_parts_are_the_whole(self):
        train, test = load("digits")
        with np.load(files("paraflow.data") / "digits.npz") as arrays:
            features, labels = arrays["features"], arrays["labels"]
        for part, indices in zip((train, test), hold_out(1797), strict=True):
            assert (part.features.dtype, part.labels.dtype, part.classes) == (np.float32, np.int32, 10)
            np.testing.assert_array_equal(part.features * 16, features[indices])
            np.testing.assert_array_equal(part.labels, labels[indices])
            assert np.bincount(part.labels, minlength=10).min() > 20
        assert (train.name, train.licence) == ("digits", "CC BY 4.0")
        assert repr(test) == "Dataset('digits', 359 samples of (64,), 10 classes)"

    def test_takes_no_path(self):
        with pytest.raises(InvalidArgumentError, match=r"takes no path \(given: x\)"):
            load("digits", path="x")


def test_an_unknown_name_lists_the_known():
    with pytest.raises(InvalidArgumentError, match="'imagenet'; there are digits, fashion_mnist, mnist, npz"):
        load("imagenet")


def image_file(directory, name, content):
    """Replace one of the set's files by ``content``, keeping it gzipped if it was."""
    packed = (directory / f"{name}.gz").is_file()
    path = directory / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


class TestImageSets:
    @pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
    def test_reads_pixels_and_labels(self, name, idx_set):
        train, test = load(name, path=idx_set)
        images = np.random.default_rng(7).integers(0, 256, (30, 28, 28), np.uint8)
        assert (train.name, train.classes, len(train), len(test)) == (name, 10, 30, 12)
        assert (train.features.shape, train.features.dtype, train.labels.dtype) == ((30, 784), np.float32, np.int32)
        np.testing.assert_array_equal(train.features, (images.reshape(30, 784) / 255).astype(np.float32))
        assert test.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]

    def test_paraflow_data_is_searched(self, idx_set, monkeypatch, tmp_path_factory):
        root = tmp_path_factory.mktemp("root")
        idx_set.rename(root / "fashion-mnist")
        monkeypatch.setenv("PARAFLOW_DATA", str(root))
        assert len(load("fashion_mnist")[0]) == 30

    def test_a_missing_set_names_the_places_and_the_remedy(self, monkeypatch, tmp_path):
        with pytest.raises(DataError, match=f"no file train-images-idx3-ubyte or .*gz in {tmp_path}; apt-get"):
            load("fashion_mnist", path=tmp_path)
        monkeypatch.setenv("PARAFLOW_DATA", str(tmp_path))
        places = f"in {tmp_path}/mnist, /usr/share/datasets/mnist; set data.path"
        with pytest.raises(DataError, match=places):
            load("mnist")
        monkeypatch.setenv("PARAFLOW_DATA", "")
        with pytest.raises(DataError, match="in /usr/share/datasets/mnist; "):
            load("mnist")

    def test_a_missing_file_of_a_set_is_named(self, idx_set):
        (idx_set / "t10k-labels-idx1-ubyte").unlink()
        with pytest.raises(DataError, match=f"no file t10k-labels-idx1-ubyte or .*gz in {idx_set}; apt-get"):
            load("fashion_mnist", path=idx_set)

    @pytest.mark.parametrize(
        ("file", "array", "message"),
        [
            ("train-images-idx3-ubyte", np.zeros((30, 28), np.uint8), r"holds uint8 \[30, 28\], not .* \[n, 28, 28\]"),
            ("t10k-images-idx3-ubyte", np.zeros((12, 28, 32), np.uint8), r"holds uint8 \[12, 28, 32\]"),
            ("train-images-idx3-ubyte", np.zeros((30, 28, 28), np.int16), r"holds int16 \[30, 28, 28\]"),
            ("train-images-idx3-ubyte", np.zeros((0, 28, 28), np.uint8), r"holds uint8 \[0, 28, 28\].* n > 0"),
            ("train-labels-idx1-ubyte", np.zeros((30, 1), np.uint8), r"holds uint8 \[30, 1\], not uint8 \[n\]"),
            ("train-labels-idx1-ubyte", np.zeros((), np.uint8), r"holds uint8 \[\], not uint8 \[n\]"),
            ("train-labels-idx1-ubyte", np.array([3] * 29 + [10], np.uint8), r"label 10 of sample 29 is not in 0\.\.9"),
        ],
    )
    def test_a_file_that_does_not_fit_is_named(self, idx_set, idx_bytes, file, array, message):
        path = image_file(idx_set, file, idx_bytes(array))
        with pytest.raises(DataError, match=f"{path}: {message}"):
            load("fashion_mnist", path=idx_set)

    def test_unequal_counts_name_both_files(self, idx_set, idx_bytes):
        path = image_file(idx_set, "t10k-labels-idx1-ubyte", idx_bytes(np.zeros(11, np.uint8)))
        with pytest.raises(DataError, match=f"t10k-images-idx3-ubyte.gz has 12 images, but {path} has 11 labels"):
            load("mnist", path=idx_set)

    def test_a_truncated_file_is_named(self, idx_set):
        path = idx_set / "train-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(DataError, match=f"{path}: truncated gzip file"):
            load("fashion_mnist", path=idx_set)


FEATURES = np.random.default_rng(3).standard_normal((20, 4, 2))
LABELS = np.arange(20) % 3


class TestNpz:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "mine.npz"

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_holds_out_a_fifth(self, path, save):
        save(path, features=FEATURES, labels=LABELS)
        for part, indices in zip(load("npz", path=path), hold_out(20), strict=True):
            np.testing.assert_array_equal(part.features, FEATURES[indices].astype(np.float32))
            np.testing.assert_array_equal(part.labels, LABELS[indices])
            assert (part.features.dtype, part.labels.dtype, part.classes) == (np.float32, np.int32, 3)
            assert (part.name, part.source) == ("mine", str(path))

    def test_takes_given_test_arrays(self, path):
        test_labels = np.array([0, 5], np.uint64)
        np.savez(path, features=FEATURES, labels=LABELS, test_features=FEATURES[:2], test_labels=test_labels)
        train, test = load("npz", path=path)
        assert (len(train), len(test), train.classes, test.classes) == (20, 2, 6, 6)
        assert test.labels.tolist() == [0, 5]

    @pytest.mark.parametrize("dtype", ["u1", "i8", ">i4", "f2", ">f4", "f8", "?"])
    def test_numbers_of_any_type_are_taken_unscaled(self, path, dtype):
        features = np.arange(40).reshape(20, 2).astype(dtype)
        np.savez(path, features=features, labels=LABELS)
        train, _ = load("npz", path=path)
        np.testing.assert_array_equal(train.features, features[hold_out(20)[0]].astype(np.float32))
        assert train.features.dtype == np.float32

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"labels": None}, r"holds the arrays \['features'\]; it takes features and labels"),
            ({"test_labels": LABELS}, "holds the arrays .* either both or none of test_features and test_labels"),
            ({"label": LABELS}, r"holds the arrays \['features', 'label', 'labels'\]"),
            ({"labels": LABELS[:19]}, r"features and labels: features \[20, 4, 2\] do not match 19 labels"),
            ({"labels": LABELS.astype(float)}, r"labels must be integers \[n\], not float64 \[20\]"),
            ({"labels": np.eye(20, dtype=int)}, r"labels must be integers \[n\], not int64 \[20, 20\] \(one-hot"),
            ({"labels": LABELS - 1}, r"labels: label -1 of sample 0 is not in 0\.\.1"),
            ({"labels": LABELS - 2**32 * (LABELS == 1)}, "labels: label -4294967295 of sample 1"),
            ({"labels": LABELS + 2**31}, "labels holds 2147483650, which is no class number"),
            ({"features": FEATURES.astype(complex)}, "features must be real numbers, not complex128"),
            ({"features": FEATURES.astype(str)}, "features must be real numbers, not <U"),
            ({"features": np.float64(3)}, r"features and labels: features \[\] do not match 20 labels"),
            ({"features": FEATURES.astype(object)}, "corrupt, or not made of plain arrays: Object arrays"),
            ({"features": np.where(np.arange(20) == 7, np.nan, 0)}, "features and labels: .* sample 7 are not finite"),
            ({"features": np.where(np.arange(20) == 8, 1e300, 0)}, "features and labels: .* sample 8 are not finite"),
            ({"features": FEATURES[:4], "labels": LABELS[:4]}, "4 samples, too few to hold out a fifth"),
            ({"features": FEATURES[:0], "labels": LABELS[:0]}, "features and labels: there are no samples"),
            (
                {"test_features": FEATURES[:2, :3], "test_labels": LABELS[:2]},
                r"test_features \[2, 3, 2\] and features \[20, 4, 2\] differ",
            ),
            (
                {"test_features": FEATURES[:3], "test_labels": LABELS[:2]},
                r"test_features and test_labels: features \[3, 4, 2\] do not match 2 labels",
            ),
        ],
    )
    def test_arrays_that_do_not_fit_are_named(self, path, changes, message):
        arrays = {"features": FEATURES, "labels": LABELS} | changes
        np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
        with pytest.raises(DataError, match=f"{path}: {message}"):
            load("npz", path=path)

    def test_needs_a_path_to_an_npz_file(self, path):
        with pytest.raises(InvalidArgumentError, match=r"set data\.path to it"):
            load("npz")
        with pytest.raises(DataError, match=f"{path}: there is no such file"):
            load("npz", path=path)
        np.save(path.with_suffix(".npy"), FEATURES)
        with pytest.raises(DataError, match=r"mine\.npy: not an \.npz file, or cut short; write it with numpy\.savez"):
            load("npz", path=path.with_suffix(".npy"))
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("features", b"1 2 3")
            archive.writestr("labels.npy", b"1 2 3")
        with pytest.raises(DataError, match=f"{path}: features is not an array"):
            load("npz", path=path)

    @given(position=st.integers(0, 10**6), flip=st.integers(1, 255), packed=st.booleans())
    @settings(deadline=None, max_examples=300)
    def test_damage_is_an_error_or_harmless(self, tmp_path_factory, position, flip, packed):
        path = tmp_path_factory.getbasetemp() / "damaged.npz"
        (np.savez_compressed if packed else np.savez)(path, features=FEATURES, labels=LABELS)
        content = bytearray(path.read_bytes())
        content[position % len(content)] ^= flip
        path.write_bytes(content)
        with suppress(DataError):
            train, _ = load("npz", path=path)
            indices = hold_out(20)[0]
            np.testing.assert_array_equal(train.features, FEATURES[indices].astype(np.float32))
            np.testing.assert_array_equal(train.labels, LABELS[indices])

    def test_a_header_that_claims_fewer_columns_is_an_error(self, path):
        np.savez(path, features=FEATURES, labels=LABELS)
        path.write_bytes(path.read_bytes().replace(b"(20, 4, 2)", b"(20, 4, 1)"))
        with pytest.raises(DataError, match=rf"{path}: features\.npy is corrupt \(its checksum differs\)"):
            load("npz", path=path)

    def test_every_truncation_is_an_error(self, path):
        np.savez_compressed(path, features=FEATURES[:, 0, 0], labels=LABELS)
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(DataError, match=str(path)):
                load("npz", path=path)
