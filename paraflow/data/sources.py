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


@dataclass(frozen=True)
class IdxSource:
    """A data set published as the four IDX files of MNIST: 28 x 28 uint8 images of 10 classes."""

    name: str
    folder: str
    source: str
    licence: str
    remedy: str


_FASHION_MNIST = IdxSource(
    name="fashion_mnist",
    folder="fashion-mnist",
    source="H. Xiao, K. Rasul, R. Vollgraf (2017), Fashion-MNIST, arXiv 1708.07747, Zalando SE",
    licence="MIT",
    remedy="apt-get install dataset-fashion-mnist, or set data.path to the directory that holds it",
)
_MNIST = IdxSource(
    name="mnist",
    folder="mnist",
    source="Y. LeCun, C. Cortes, C. Burges (1998), The MNIST database of handwritten digits",
    licence="CC BY-SA 3.0",
    remedy="set data.path to the directory that holds it",
)
_IDX_SOURCES = {source.name: source for source in (_FASHION_MNIST, _MNIST)}


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
        directory = find_idx_directory(name, path)
        train, test = (_load_idx(_IDX_SOURCES[name], directory, part) for part in ("train", "t10k"))
        return train, test
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
    return _find(source, "train-images-idx3-ubyte", places).parent


def _find(source: IdxSource, file: str, places: list[Path]) -> Path:
    for place in places:
        for path in (place / file, place / f"{file}.gz"):
            if path.is_file():
                return path
    searched = ", ".join(map(str, places))
    raise DataError(f"{source.name}: no file {file} or {file}.gz in {searched}; {source.remedy}")


def _load_idx(source: IdxSource, directory: Path, part: str) -> Dataset:
    images_path = _find(source, f"{part}-images-idx3-ubyte", [directory])
    labels_path = _find(source, f"{part}-labels-idx1-ubyte", [directory])
    images = _read_idx_bytes(images_path, (28, 28))
    labels = _read_idx_bytes(labels_path, ())
    if len(images) != len(labels):
        raise DataError(f"{images_path} has {len(images)} images, but {labels_path} has {len(labels)} labels")
    check_labels(str(labels_path), labels, 10)
    features = images.reshape(len(images), -1)
    return Dataset(source.name, features, labels.astype(np.int32), 10, source.source, source.licence, full_scale=255)


def _read_idx_bytes(path: Path, inner: tuple[int, ...]) -> NDArray[np.uint8]:
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != 1 + len(inner) or array.shape[1:] != inner or not array.size:
        form = ", ".join(map(str, ("n", *inner)))
        raise DataError(f"{path}: holds {array.dtype} {list(array.shape)}, not uint8 [{form}] with n > 0")
    return array


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
            raise DataError(f"{path}: {len(labels)} samples, too few to hold out a fifth: add test arrays")
        test_features, test_labels = features[test_part], labels[test_part]
        features, labels = features[train_part], labels[train_part]
    return (
        Dataset(path.stem, features, labels, classes, str(path)),
        Dataset(path.stem, test_features, test_labels, classes, str(path)),
    )


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
    check_labels(f"{path}: {prefix}labels", labels, classes)  # before int32 can wrap one into the range
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
        # Opened here because numpy.load leaves its file open if the archive's directory is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            damaged = archive.zip.testzip()  # numpy.load alone does not read to the checksum if a header is damaged
            if damaged is not None:
                raise DataError(f"{path}: {damaged} is corrupt (its checksum differs)")
            arrays = dict(archive)
    except (OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: corrupt, or not made of plain arrays: {error}") from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy.load returns a member that is no array as bytes
            raise DataError(f"{path}: {key} is not an array; write the file with numpy.savez")
    return arrays
