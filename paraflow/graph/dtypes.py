"""The element types of tensors: plain numpy dtypes under the names that TensorFlow gives them.

numpy has no bfloat16. That of ml_dtypes is of numpy's kind "void", so what kind a dtype is of is asked here, of the
functions ``is_...``, and nowhere else. Few functions of numpy know it: bodies of records compute it in float32 and
their results are rounded once, to the nearest, of two equally near to the even one (see `record.body_of`).
"""

import functools
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
    "complex": "c",
    "int": "iu",
    "bool": "b",
}

# Where TensorFlow's word means another dtype than numpy's.
_NAMES: dict[Any, DType] = {"float": float32, float: float32, "double": float64, "half": float16}


bfloat16: DType  # made by __getattr__


@functools.cache
def _bfloat16() -> DType:
    import ml_dtypes

    made: DType = np.dtype(ml_dtypes.bfloat16)
    return made


def __getattr__(name: str) -> DType:
    """``bfloat16``, made when it is first asked for."""
    if name == "bfloat16":
        return _bfloat16()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def as_dtype(value: Any) -> DType:
    """The numpy dtype that ``value`` (a dtype, a scalar type or a name such as ``"float32"``) stands for.

    As in TensorFlow, and other than in numpy, ``"float"`` and Python's ``float`` are float32.
    """
    if isinstance(value, (str, type)):
        if value in _NAMES:
            return _NAMES[value]
        if value == "bfloat16":
            return _bfloat16()
    dtype: DType = np.dtype(value)
    return dtype


def is_bfloat16(dtype: DType) -> bool:
    """Whether this is bfloat16: the upper half of a float32."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def kind_of(dtype: DType) -> str:
    """The letter of `KINDS` for a dtype: b, i, u, f or c, and another for what makes no tensors."""
    return "f" if is_bfloat16(dtype) else dtype.kind


def is_bool(dtype: DType) -> bool:
    """Whether elements are True or False."""
    return dtype.kind == "b"


def is_integer(dtype: DType) -> bool:
    """Whether elements are integers, with or without a sign."""
    return dtype.kind in "iu"


def is_signed(dtype: DType) -> bool:
    """Whether elements are integers with a sign."""
    return dtype.kind == "i"


def is_floating(dtype: DType) -> bool:
    """Whether elements are real numbers in floating point."""
    return kind_of(dtype) == "f"


def is_complex(dtype: DType) -> bool:
    """Whether elements are complex numbers."""
    return dtype.kind == "c"


def is_real(dtype: DType) -> bool:
    """Whether elements are real numbers, True and False counted among them as 1 and 0."""
    return kind_of(dtype) in "fiub"


def is_differentiable(dtype: DType) -> bool:
    """Whether gradients flow through such tensors: floats, complex numbers, and lists, which may hold these."""
    return kind_of(dtype) in "fcO"


def is_element(dtype: DType) -> bool:
    """Whether tensors have elements of this dtype."""
    return kind_of(dtype) in KINDS["any"]


def is_short(dtype: DType) -> bool:
    """Whether this is a floating point dtype of 16 bits."""
    return dtype.itemsize == 2 and is_floating(dtype)


def sum_dtype(dtype: DType) -> DType:
    """The dtype in which numbers of ``dtype`` are summed up, float32 for those of 16 bits.

    Sums of float16 soon pass its end, 65504; to 256 in bfloat16 1 cannot be added.
    """
    return float32 if is_short(dtype) else dtype


def widened(array: Any) -> Any:
    """An array of floats of 16 bits in float32, others as they are."""
    return array.astype(np.float32) if is_short(array.dtype) else array


def real_dtype(dtype: DType) -> DType:
    """The dtype of the real and the imaginary part of complex numbers; of others their own."""
    return np.dtype(f"float{dtype.itemsize * 4}") if is_complex(dtype) else dtype


def limits(dtype: DType) -> Any:
    """What `numpy.finfo` says of a float dtype (``min``, ``max``, ``eps``, ``smallest_normal``), or `numpy.iinfo`."""
    if is_bfloat16(dtype):
        import ml_dtypes

        return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return np.iinfo(dtype) if is_integer(dtype) else np.finfo(dtype)
