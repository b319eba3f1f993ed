"""Products and transposes with all the arguments that TensorFlow gives them."""

from __future__ import annotations

from typing import Any

from paraflow.errors import GraphError
from paraflow.graph.dtypes import is_complex
from paraflow.graph.graph import name_scope
from paraflow.graph.node import Tensor
from paraflow.graph.record import at_user_line, convert
from paraflow.graph.shape import compatible
from paraflow.ops import linalg, rearrange
from paraflow.ops.complexes import conj
from paraflow.ops.joining import stack
from paraflow.ops.rearrange import expand_dims, squeeze


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The matrix product of the last two axes, of ``a`` and ``b`` or their transposes or adjoints.

    Leading axes are a batch and broadcast. ``a_is_sparse`` and ``b_is_sparse`` say that many elements are 0, which
    makes no difference here. Raises GraphError where one operand is to be both transposed and conjugated twice.
    """
    if (transpose_a and adjoint_a) or (transpose_b and adjoint_b):
        raise GraphError(f"matmul: an operand is transposed or an adjoint, not both{at_user_line()}")
    typed = next((v for v in (a, b) if hasattr(v, "dtype")), None)
    x, y = (convert(v, None if typed is None else typed.dtype) for v in (a, b))
    left, right = (conj(v) if adjoint and is_complex(v.dtype) else v for v, adjoint in ((x, adjoint_a), (y, adjoint_b)))
    product: Tensor = linalg.matmul(left, right, transpose_a or adjoint_a, transpose_b or adjoint_b, name=name)
    return product


def matvec(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    adjoint_a: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The products of matrices [..., m, n] and vectors [..., n]: [..., m]; arguments as in `matmul`."""
    with name_scope(name or "matvec"):
        column = expand_dims(convert(b), -1)
        product = matmul(a, column, transpose_a, adjoint_a=adjoint_a, a_is_sparse=a_is_sparse)
        return squeeze(product, -1)


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """The axes in the order ``perm``, reversed when it is left out; of complex numbers the conjugates if wanted."""
    x = convert(a)
    turned: Tensor = rearrange.transpose(conj(x) if conjugate and is_complex(x.dtype) else x, perm, name=name)
    return turned


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """The last two axes exchanged; of complex numbers the conjugates if wanted."""
    x = convert(a)
    turned: Tensor = linalg.matrix_transpose(conj(x) if conjugate and is_complex(x.dtype) else x, name=name)
    return turned


def adjoint(matrix: Any, name: str | None = None) -> Tensor:
    """The conjugate transposes of matrices."""
    return matrix_transpose(matrix, name or "adjoint", conjugate=True)


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """The cross products of vectors of 3 elements, the last axis of two tensors of one shape."""
    with name_scope(name or "Cross") as scope:
        x = convert(a)
        y = convert(b, x.dtype)
        if any(not compatible(t.spec.shape and t.spec.shape[-1:], (3,)) for t in (x, y)):
            raise GraphError(f"cross: vectors have 3 elements, not shapes {x.shape} and {y.shape}{at_user_line()}")
        (x0, x1, x2), (y0, y1, y2) = ([t[..., i] for i in range(3)] for t in (x, y))
        parts = [x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]
        return stack(parts, -1, name=scope)
