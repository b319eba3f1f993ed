"""Dtypes and casts, as ``tf.dtypes`` has it."""

from typing import Any

from numpy import dtype as DType  # noqa: N812

from paraflow.graph import dtypes as elements
from paraflow.graph.dtypes import (
    as_dtype,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    is_bool,
    is_complex,
    is_floating,
    is_integer,
    limits,
    real_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from paraflow.graph.dtypes import bool_ as bool
from paraflow.graph.dtypes import float16 as half
from paraflow.graph.dtypes import float64 as double
from paraflow.ops.casting import saturate_cast
from paraflow.ops.complexes import complex
from paraflow.ops.sparse import cast

bfloat16: DType[Any]  # made by __getattr__

# fmt: off
__all__ = [
    "DType", "as_dtype", "bfloat16", "bool", "cast", "complex", "complex64", "complex128", "double", "float16",
    "float32", "float64", "half", "int8", "int16", "int32", "int64", "is_bool", "is_complex", "is_floating",
    "is_integer", "limits", "real_dtype", "saturate_cast", "uint8", "uint16", "uint32", "uint64",
]
# fmt: on


def __getattr__(name: str) -> DType[Any]:
    """``bfloat16``, which takes its time to be imported."""
    made: DType[Any] = getattr(elements, name)
    return made
