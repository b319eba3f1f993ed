"""The element types of tensors: plain numpy dtypes under the names that TensorFlow gives them."""

from typing import Any

import numpy as np

DType = np.dtype[Any]

float16: DType = np.dtype("float16")
float32: DType = np.dtype("float32")
float64: DType = np.dtype("float64")
int8: DType = np.dtype("int8")
int16: DType = np.dtype("int16")
int32: DType = np.dtype("int32")
int64: DType = np.dtype("int64")
uint8: DType = np.dtype("uint8")
uint16: DType = np.dtype("uint16")
uint32: DType = np.dtype("uint32")
uint64: DType = np.dtype("uint64")
bool_: DType = np.dtype("bool")
# A list of arrays as one value: the elements of a TensorArray, or what a loop keeps of each turn.
items: DType = np.dtype("O")
complex64: DType = np.dtype("complex64")
complex128: DType = np.dtype("complex128")

# What an operation accepts, by the name used in its record.
KINDS = {
    "any": "biufc",
    "numeric": "iufc",
    "real": "iuf",
    "float": "f",
    "float or complex": "fc",
    "int": "iu",
    "bool": "b",
}

# Where TensorFlow's word means another dtype than numpy's.
_NAMES: dict[Any, DType] = {"float": float32, float: float32, "double": float64, "half": float16}


def as_dtype(value: Any) -> DType:
    """The numpy dtype that ``value`` (a dtype, a scalar type or a name such as ``"float32"``) stands for.

    As in TensorFlow, and other than in numpy, ``"float"`` and Python's ``float`` are float32.
    """
    dtype: DType = _NAMES[value] if isinstance(value, (str, type)) and value in _NAMES else np.dtype(value)
    return dtype


def sum_dtype(dtype: DType) -> DType:
    """The dtype in which numbers of ``dtype`` are summed up: sums of float16 soon pass its end, 65504."""
    return float32 if dtype == float16 else dtype


def is_differentiable(dtype: DType) -> bool:
    """Whether `gradients` goes through tensors of this dtype: floating point, and lists, which may hold that."""
    return dtype.kind in "fO"


def is_floating(dtype: DType) -> bool:
    """Whether gradients flow through tensors of this dtype; complex tensors are values only."""
    return dtype.kind == "f"
