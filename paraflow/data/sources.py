"""The data sets that ``load`` knows: digits (shipped), Fashion-MNIST and MNIST (IDX files), the user's own .npz."""

import os
import zipfile
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paraflow.data.dataset import Dataset, Labels, Stored, check, check_labels
from paraflow.data.idx import read_idx
from paraflow.data.order import hold_out
from paraflow.errors import DataError, InvalidArgumentError

_SYSTEM_DATA = Path("/usr/share/datasets")
_IMAGE_SHAPE = (28, 28)


@dataclass(frozen=True)
class IdxSource:
    """A data set published as the four IDX files of MNIST: 28 x 28 uint8 images of 10 classes."""

    name: str
    folder: str
    source: str
    licence: str
    remedy: str


_IDX_SOURCES = {
    "fashion_mnist": IdxSource(
        "fashion_mnist",
        "fashion-mnist",
        "H. Xiao, K. Rasul, R. Vollgraf (2017), Fashion-MNIST, arXiv 1708.07747, Zalando SE",
        "MIT",
        "apt-get install dataset-fashion-mnist, or set data.path to the directory that holds it",
    ),
    "mnist": IdxSource(
        "mnist",
        "mnist",
        "Y. LeCun, C. Cortes, C. Burges (1998), The MNIST database of handwritten digits",
        "not stated by its authors",
        "set data.path to the directory that holds it",
    ),
}


def load(name: str, path: str | PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """Load a data set by name; returns (training, test).

    - "digits", shipped with paraflow: 1,438 + 359 images of 8 x 8, features [n, 64] = pixel / 16. The test samples are
      a fixed hold-out (``paraflow.data.order.hold_out``).
    - "fashion_mnist", "mnist": 60,000 + 10,000 images of 28 x 28, features [n, 784] = pixel / 255. The four IDX files,
      plain or .gz, lie in the directory ``path``, else in the first of $PARAFLOW_DATA/NAME and
      /usr/share/datasets/NAME that has the first of them (NAME: fashion-mnist, mnist).
    - "npz": the user's own arrays in the file ``path``, as numpy.savez writes it: ``features`` [n, d...], numbers,
      taken unscaled as float32, and ``labels`` [n], integers from 0; ``test_features`` and ``test_labels`` too, or
      the same hold-out as for digits is cut off. The number of classes is the highest label plus one.

    Features are float32, labels int32. Raises InvalidArgumentError for an unknown name or a missing or needless path,
    and DataError, naming file and fault, if a file is missing, damaged or not what it should be.
    """
    if name in _IDX_SOURCES:
        return _load_idx(_IDX_SOURCES[name], path)
    if name == "digits":
        if path is not None:
            raise InvalidArgumentError(f"data set 'digits' ships with paraflow and takes no path (given: {path})")
        return _load_digits()
    if name == "npz":
        if path is None:
            raise InvalidArgumentError("data set 'npz' is the user's own file: set data.path to it")
        return _load_npz(Path(path))
    known = ", ".join(["digits", *_IDX_SOURCES, "npz"])
    raise InvalidArgumentError(f"there is no data set {name!r}; there are {known}")


def _load_digits() -> tuple[Dataset, Dataset]:
    arrays = _read_npz(Path(__file__).with_name("digits.npz"))
    source = "E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI ML Repository, test set"
    labels = arrays["labels"].astype(np.int32)
    train, test = (
        Dataset("digits", arrays["features"][part], labels[part], 10, source, "CC BY 4.0", full_scale=16)
        for part in hold_out(len(labels))
    )
    return train, test


def _load_idx(source: IdxSource, path: str | PathLike[str] | None) -> tuple[Dataset, Dataset]:
    directory = find_idx_directory(source.name, path)
    return _read_idx_pair(source, directory, "train"), _read_idx_pair(source, directory, "t10k")


def find_idx_directory(name: str, path: str | PathLike[str] | None = None) -> Path:
    """Return the directory with the IDX files of data set ``name``: ``path`` if given, else the first default place.

    Raises DataError, naming the file, the places searched and the remedy, if none has the training images.
    """
    source = _IDX_SOURCES[name]
    if path is not None:
        places = [Path(path)]
    else:
        roots = [Path(os.environ["PARAFLOW_DATA"])] if os.environ.get("PARAFLOW_DATA") else []
        places = [root / source.folder for root in [*roots, _SYSTEM_DATA]]
    for place in places:
        if _existing(place, "train-images-idx3-ubyte"):
            return place
    raise _missing(source, "train-images-idx3-ubyte", places)


def _existing(directory: Path, file: str) -> Path | None:
    return next((p for p in (directory / file, directory / f"{file}.gz") if p.is_file()), None)


def _missing(source: IdxSource, file: str, places: list[Path]) -> DataError:
    searched = ", ".join(map(str, places))
    return DataError(f"{source.name}: no file {file} or {file}.gz in {searched}; {source.remedy}")


def _read_idx_pair(source: IdxSource, directory: Path, part: str) -> Dataset:
    images_path, images = _read_idx_file(source, directory, f"{part}-images-idx3-ubyte", "[n, 28, 28]")
    labels_path, labels = _read_idx_file(source, directory, f"{part}-labels-idx1-ubyte", "[n]")
    if len(images) != len(labels):
        raise DataError(f"{images_path} has {len(images)} images, but {labels_path} has {len(labels)} labels")
    check_labels(str(labels_path), labels, 10)
    features = images.reshape(len(images), -1)
    return Dataset(source.name, features, labels.astype(np.int32), 10, source.source, source.licence, full_scale=255)


def _read_idx_file(source: IdxSource, directory: Path, file: str, form: str) -> tuple[Path, NDArray[np.uint8]]:
    path = _existing(directory, file)
    if path is None:
        raise _missing(source, file, [directory])
    array = read_idx(path)
    inner = _IMAGE_SHAPE if "images" in file else ()
    if array.dtype != np.uint8 or not len(array.shape) or array.shape[1:] != inner or not len(array):
        raise DataError(f"{path}: holds {array.dtype} {list(array.shape)}, {source.name} takes uint8 {form}, n > 0")
    return path, array


def _load_npz(path: Path) -> tuple[Dataset, Dataset]:
    arrays = _read_npz(path)
    required = {"features", "labels"}
    tests = {"test_features", "test_labels"}
    present = set(arrays)
    if not (present == required or present == required | tests):
        raise DataError(
            f"{path}: holds the arrays {sorted(present)}; it takes features and labels, "
            "and either both or none of test_features and test_labels"
        )
    classes = 1 + max(_highest_label(path, key, arrays[key]) for key in sorted(present) if key.endswith("labels"))
    features, labels = _sample_arrays(path, "", arrays, classes)
    if tests <= present:
        test_features, test_labels = _sample_arrays(path, "test_", arrays, classes)
        if features.shape[1:] != test_features.shape[1:]:
            raise DataError(
                f"{path}: test_features {list(test_features.shape)} and features {list(features.shape)} differ in "
                "the shape of a sample"
            )
    else:
        train_part, test_part = hold_out(len(labels))
        if not len(test_part):
            raise DataError(f"{path}: {len(labels)} samples are too few to hold out a fifth; add test_features and test_labels")
        test_features, test_labels = features[test_part], labels[test_part]
        features, labels = features[train_part], labels[train_part]
    name = path.stem
    return Dataset(name, features, labels, classes, str(path)), Dataset(name, test_features, test_labels, classes, str(path))


def _highest_label(path: Path, key: str, labels: NDArray[Any]) -> int:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"{path}: {key} must be integers [n], not {labels.dtype} {list(labels.shape)} "
            "(one-hot rows: argmax(axis=1); a column: ravel())"
        )
    highest = int(labels.max(initial=0))
    if highest >= 2**31 - 1:
        raise DataError(f"{path}: {key} holds {highest}, which is no class number")
    return highest


def _sample_arrays(path: Path, prefix: str, arrays: dict[str, NDArray[Any]], classes: int) -> tuple[Stored, Labels]:
    """Return ``prefix``features as float32 (uint8 stays) and ``prefix``labels as int32, both checked."""
    features, labels = arrays[f"{prefix}features"], arrays[f"{prefix}labels"]
    if features.dtype.kind not in "fiub":
        raise DataError(f"{path}: {prefix}features must be real numbers, not {features.dtype}")
    check_labels(f"{path}: {prefix}labels", labels, classes)
    if features.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what overflows is infinite then, and the check says so
            features = features.astype(np.float32, copy=False)
    labels = labels.astype(np.int32)
    check(f"{path}: {prefix}features and {prefix}labels", features, labels, classes)
    return features, labels


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not an .npz file, or cut short; write it with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as archive:
            damaged = archive.zip.testzip()  # numpy.load alone does not read to the checksum if a header is damaged
            if damaged is not None:
                raise DataError(f"{path}: {damaged} is corrupt (its checksum differs)")
            return dict(archive)
    except (OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: corrupt, or not made of plain arrays: {error}") from error
