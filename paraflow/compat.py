"""Text and bytes, kinds of numbers, and ``v1``, as ``tf.compat`` has them.

``compat.v1`` is paraflow itself, whose language is TensorFlow 1's: ``tf.compat.v1.placeholder`` of a program whose
import was changed is `paraflow.placeholder`.
"""

import numbers
import os
import sys
from typing import Any

import numpy as np

from paraflow.graph.shape import dimension_at_index, dimension_value

__all__ = [
    "as_bytes", "as_str", "as_str_any", "as_text", "bytes_or_text_types", "complex_types", "dimension_at_index",
    "dimension_value", "integral_types", "path_to_str", "real_types", "v1",
]  # fmt: skip

v1 = sys.modules["paraflow"]

integral_types = (numbers.Integral, np.integer)
real_types = (numbers.Real, np.integer, np.floating)
complex_types = (numbers.Complex, np.number)
bytes_or_text_types = (bytes, str)


def as_bytes(bytes_or_text: Any, encoding: str = "utf-8") -> bytes:
    """Text in ``encoding``, bytes as they are; raises TypeError for anything else."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, (bytes, bytearray)):
        return bytes(bytes_or_text)
    raise TypeError(f"expected binary or unicode string, got {bytes_or_text!r}")


def as_text(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """Bytes decoded, text as it is; raises TypeError for anything else."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    raise TypeError(f"expected binary or unicode string, got {bytes_or_text!r}")


as_str = as_text


def as_str_any(value: Any, encoding: str = "utf-8") -> str:
    """Bytes decoded, and of anything else what ``str`` makes of it."""
    return as_text(value, encoding) if isinstance(value, bytes) else str(value)


def path_to_str(path: Any) -> str:
    """The text of a path that is an object, and anything else as `as_str_any` gives it."""
    return as_str_any(os.fspath(path)) if hasattr(path, "__fspath__") else as_str_any(path)
