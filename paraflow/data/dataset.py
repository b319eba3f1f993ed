"""A data set in memory."""

import copy
import zlib
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from paraflow.errors import DataError

Features = NDArray[np.float32]
Labels = NDArray[np.int32] | NDArray[np.float32]
Stored = NDArray[np.float32] | NDArray[np.uint8]
_Array = TypeVar("_Array", bound=NDArray[Any])


class Dataset:
    """n labelled samples. Immutable: the arrays cannot be written through it.

    ``name``, ``source`` and ``licence`` say what it is; ``features`` is float32 [n, d...]. Labels are class numbers,
    int32 [n] below ``classes``, or with ``classes`` 0 numbers to predict, float32 [n, k...].

    Features given as uint8 stay uint8 in memory, and ``take`` divides them by ``full_scale``: a quarter of the memory,
    which every rank of a node holds, at the cost of a float32 gather (64 rows of 784 pixels: 15 µs either way, measured
    on one EPYC core). Features given as float32 are used as they are.

    Raises DataError for another dtype, for shapes that do not fit, for no samples, for class numbers outside
    0..classes-1 and for numbers that are not finite.
    """

    def __init__(
        self,
        name: str,
        features: Stored,
        labels: Labels,
        classes: int = 0,
        source: str = "",
        licence: str = "",
        full_scale: float = 1.0,
    ) -> None:
        check(f"data set {name!r}", features, labels, classes)
        self.name = name
        self.classes = classes
        self.source = source
        self.licence = licence
        self.labels = _read_only(labels)
        self._stored = _read_only(features)
        self._full_scale = np.float32(full_scale)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        labels = f"{self.classes} classes" if self.classes else f"labels of {self.labels.shape[1:]}"
        return f"Dataset({self.name!r}, {len(self)} samples of {self.sample_shape}, {labels})"

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape [d...] of one sample's features."""
        return self._stored.shape[1:]

    def with_classes(self, classes: int) -> "Dataset":
        """The same samples, of ``classes`` classes, some of which may have no sample here; at least as many as now."""
        other = copy.copy(self)
        other.classes = classes
        return other

    def checksum(self) -> int:
        """A CRC-32 of features and labels, by which ranks can tell that they have read different data."""
        return zlib.crc32(np.ascontiguousarray(self.labels).data, zlib.crc32(np.ascontiguousarray(self._stored).data))

    @cached_property
    def features(self) -> Features:
        """All features, float32 [n, d...]. Made at the first use if uint8 is stored, and kept from then on."""
        return _read_only(self._scaled(self._stored))

    def take(self, indices: NDArray[np.int64]) -> tuple[Features, Labels]:
        """Return copies of (features float32 [k, d...], labels) at ``indices`` int64 [k], in 0..n-1."""
        return self._scaled(self._stored.take(indices, axis=0)), self.labels.take(indices, axis=0)

    def _scaled(self, stored: Stored) -> Features:
        if stored.dtype == np.uint8:
            return np.divide(stored, self._full_scale, dtype=np.float32)
        return cast(Features, stored)


def check_labels(where: str, labels: NDArray[np.integer[Any]], classes: int) -> None:
    """Raise DataError, naming ``where``, unless all labels are in 0..classes-1."""
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        at = int(wrong.argmax())
        raise DataError(f"{where}: label {labels[at]} of sample {at} is not in 0..{classes - 1} ({classes} classes)")


def check(where: str, features: NDArray[Any], labels: NDArray[Any], classes: int) -> None:
    """Raise DataError, naming ``where``, unless the arrays are what a Dataset takes."""
    if features.dtype not in (np.float32, np.uint8):
        raise DataError(f"{where}: features must be float32 or uint8, not {features.dtype}")
    if classes < 0:
        raise DataError(f"{where}: classes must be at least 1, or 0 for float32 labels, not {classes}")
    if classes and (labels.dtype != np.int32 or labels.ndim != 1):
        raise DataError(f"{where}: labels of {classes} classes must be int32 [n], not {_form(labels)}")
    if not classes and (labels.dtype != np.float32 or not labels.ndim):
        raise DataError(f"{where}: labels without classes must be float32 [n, k...], not {_form(labels)}")
    if features.ndim < 1 or len(features) != len(labels):
        raise DataError(f"{where}: features {list(features.shape)} do not match {len(labels)} labels")
    if not len(labels):
        raise DataError(f"{where}: there are no samples")
    if classes:
        check_labels(where, labels, classes)
    for what, array in (("features", features), ("labels", labels)):
        if array.dtype == np.float32 and not np.isfinite(array).all():
            at = int(np.isfinite(array).reshape(len(array), -1).all(axis=1).argmin())
            raise DataError(f"{where}: the {what} of sample {at} are not finite as float32 (NaN or infinite)")


def _form(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _read_only(array: _Array) -> _Array:
    view = array.view()
    view.flags.writeable = False
    return view
