"""Rows of the matrix operations; the oracles are numpy's einsum and sums over single elements."""

import numpy as np

from paraflow.ops import contraction, linalg, norms, products

from .oracles import NUMERIC, elements, ranked
from .rows import Row, nonzero, normal

KINDS = ("int32", "float32", "float64", "complex64")
FLOATS = ("float16", "bfloat16", "float32", "float64")


def product(equation):
    """An oracle for matmul: the flags are written into the equation."""
    return lambda a, b, **_: np.einsum(equation, a, b)


def flags(a, b):
    return {"transpose_a": a, "transpose_b": b}


def einsum(equation, ranks):
    """`contraction.einsum` of this equation, for tensors of known ranks."""

    def build(*tensors, **_):
        return contraction.einsum(equation, *tensors)

    build.__name__ = "einsum"
    return ranked(build, *ranks)


def einsum_row(equation, *shapes, **more):
    ranks = [len(shape) for shape in shapes]
    return Row(
        einsum(equation, ranks),
        tuple(normal(*s) for s in shapes),
        lambda *x: np.einsum(equation, *x),
        empty=None,
        **more,
    )


PRODUCTS = [
    Row(
        linalg.matmul,
        (normal(2, 3), normal(3, 4)),
        product("ij,jk->ik"),
        dtypes=NUMERIC,
        empty=(normal(2, 0), normal(0, 4)),
    ),
    Row(
        linalg.matmul,
        (normal(3, 2), normal(3, 4)),
        product("ji,jk->ik"),
        flags(True, False),
        dtypes=NUMERIC,
        empty=(normal(3, 0), normal(3, 4)),
    ),
    Row(
        linalg.matmul,
        (normal(2, 3), normal(4, 3)),
        product("ij,kj->ik"),
        flags(False, True),
        dtypes=NUMERIC,
        empty=(normal(0, 3), normal(4, 3)),
    ),
    Row(
        linalg.matmul, (normal(3, 2), normal(4, 3)), product("ji,kj->ik"), flags(True, True), dtypes=NUMERIC, empty=None
    ),
    Row(linalg.matmul, (normal(2, 2, 3), normal(2, 3, 2)), product("bij,bjk->bik"), dtypes=NUMERIC),
    Row(
        linalg.matmul,
        (normal(2, 1, 3, 2), normal(3, 3, 2)),
        product("bcji,cjk->bcik"),
        flags(True, False),
        empty=None,
        dtypes=("float32", "float64"),
    ),
    Row(
        linalg.matmul,
        (normal(2, 3), normal(2, 2, 3)),
        product("ij,bkj->bik"),
        flags(False, True),
        empty=None,
        dtypes=("float32", "float64"),
    ),
    Row(
        linalg.matmul,
        (normal(2, 2, 3), normal(1, 3, 2)),
        lambda a, b: np.einsum("bij,jk->bik", a, b[0]),
        empty=None,
        dtypes=("float32", "float64"),
    ),
    einsum_row("ij,jk->ik", (2, 3), (3, 4), dtypes=FLOATS),
    einsum_row("ij,kj", (2, 3), (4, 3), dtypes=FLOATS),
    einsum_row("bhqd,bkhd->bhqk", (2, 2, 3, 2), (2, 4, 2, 2), dtypes=FLOATS),
    einsum_row("abc,cbd->da", (2, 3, 2), (2, 3, 4), dtypes=FLOATS),
    einsum_row("i,j->ji", (2,), (3,)),
    einsum_row("bi,bj->bij", (2, 3), (2, 2)),
    einsum_row("ij,ij->", (2, 3), (2, 3)),
    einsum_row("ij,j->i", (2, 3), (3,)),
    einsum_row("ab,bc,cd->ad", (2, 3), (3, 2), (2, 2)),
    einsum_row("ijk->ki", (2, 3, 2)),
    einsum_row("ij,k->k", (2, 3), (2,)),
    einsum_row(",i->i", (), (3,)),
    einsum_row("...ij,jk->...ik", (2, 2, 3), (3, 4), dtypes=KINDS),
    einsum_row("...ij,...jk", (2, 1, 2, 3), (3, 3, 2), dtypes=KINDS),
    einsum_row("...ab,...cb->...ac", (1, 2, 3), (3, 2, 3)),
    einsum_row("i...->...i", (2, 3, 2)),
    einsum_row("...,...", (2, 1), (3,)),
    einsum_row("...->...", (2, 3)),
    einsum_row("...i,ij,...j->...", (2, 3), (3, 2), (2, 2)),
    einsum_row("ii", (3, 3), dtypes=KINDS),
    einsum_row("ii->i", (3, 3), dtypes=KINDS),
    einsum_row("i...i->...", (2, 3, 2), dtypes=KINDS),
    einsum_row("ijij->ij", (2, 3, 2, 3)),
    einsum_row("iij,jk->ik", (2, 2, 3), (3, 2)),
    einsum_row("iii->i", (2, 2, 2)),
    einsum_row(" b a ", (2, 3)),
    einsum_row("ij,jk", (2, 3), (3, 2), dtypes=KINDS),
    einsum_row("Ba", (2, 3)),
    einsum_row("ijk,ijl->kl", (2, 3, 2), (2, 3, 2), dtypes=KINDS),
    Row(
        ranked(contraction.tensordot, 3, 3),
        (normal(2, 3, 4), normal(4, 3, 2)),
        lambda a, b, axes: np.einsum("ijk,kjl->il", a, b),
        {"axes": [[1, 2], [1, 0]]},
        empty=None,
    ),
    Row(
        ranked(contraction.tensordot, 3, 2),
        (normal(2, 3, 4), normal(4, 3)),
        lambda a, b, axes: np.einsum("ijk,kl->ijl", a, b),
        {"axes": 1},
        empty=None,
    ),
    Row(
        ranked(contraction.tensordot, 1, 2),
        (normal(2), normal(3, 1)),
        lambda a, b, axes: np.einsum("i,jk->ijk", a, b),
        {"axes": 0},
        empty=None,
    ),
    Row(
        ranked(contraction.tensordot, 2, 2),
        (normal(2, 3), normal(2, 3)),
        lambda a, b, axes: np.einsum("ij,ij->", a, b),
        {"axes": 2},
        empty=None,
    ),
    Row(
        ranked(contraction.tensordot, 2, 1),
        (normal(2, 3), normal(2)),
        lambda a, b, axes: np.einsum("ij,i->j", a, b),
        {"axes": (0, -1)},
        empty=None,
    ),
]


def diagonal_tensor(x):
    half = x.ndim
    return elements(x.shape * 2, x.dtype, lambda i: x[i[:half]] if i[:half] == i[half:] else 0)


MATRICES = [
    Row(
        linalg.matrix_transpose,
        (normal(2, 3, 4),),
        lambda x: elements((len(x), 4, 3), x.dtype, lambda i: x[i[0], i[2], i[1]]),
    ),
    Row(
        linalg.matrix_diag_part,
        (normal(2, 3, 2),),
        lambda x: elements((len(x), 2), x.dtype, lambda i: x[i[0], i[1], i[1]]),
    ),
    Row(linalg.matrix_diag_part, (normal(2, 2),), lambda x: np.array([x[0, 0], x[1, 1]], x.dtype), empty=None),
    Row(
        linalg.diagonal_matrix,
        (normal(2, 2), np.array(2, np.int32), np.array(3, np.int32)),
        lambda d, m, n: elements((len(d), 2, 3), d.dtype, lambda i: d[i[:2]] if i[1] == i[2] else 0),
        constant=(1, 2),
    ),
    Row(
        linalg.diagonal_matrix,
        (normal(2), np.array(3, np.int32), np.array(2, np.int32)),
        lambda d, m, n: elements((3, 2), d.dtype, lambda i: d[i[0]] if i[0] == i[1] else 0),
        exact=False,
        differentiable=(),
        empty=None,
    ),
    Row(
        ranked(linalg.matrix_diag, 2),
        (normal(2, 3),),
        lambda d: elements((*d.shape, 3), d.dtype, lambda i: d[i[:2]] if i[1] == i[2] else 0),
    ),
    Row(ranked(linalg.diag, 1), (normal(3),), diagonal_tensor),
    Row(ranked(linalg.diag, 2), (normal(2, 3),), diagonal_tensor),
    Row(
        ranked(linalg.diag_part, 2),
        (normal(3, 3),),
        lambda x: elements(x.shape[:1], x.dtype, lambda i: x[i * 2]),
        empty=None,
    ),
    Row(
        ranked(linalg.diag_part, 4),
        (normal(2, 3, 2, 3),),
        lambda x: elements((2, 3), x.dtype, lambda i: x[i * 2]),
        empty=None,
    ),
    Row(
        linalg.matrix_band_part,
        (normal(2, 3, 4),),
        lambda x, num_lower: elements(x.shape, x.dtype, lambda i: x[i] if i[1] - i[2] <= 1 else 0),
        {"num_lower": 1},
    ),
    Row(
        linalg.matrix_band_part,
        (normal(3, 3),),
        lambda x, **_: elements(x.shape, x.dtype, lambda i: x[i] if -1 <= i[0] - i[1] <= 0 else 0),
        {"num_lower": 0, "num_upper": 1},
    ),
    Row(
        linalg.identity_matrix,
        (np.array(2, np.int32), np.array(3, np.int32)),
        lambda m, n: np.array([[1, 0, 0], [0, 1, 0]]),
        constant=(0, 1),
    ),
    Row(
        linalg.eye,
        (np.array(2, np.int32),),
        lambda n, dtype: np.array([[1, 0], [0, 1]]),
        {"dtype": "int64"},
        exact=False,
    ),
    Row(
        linalg.eye,
        (np.array(2, np.int32),),
        lambda n, **_: np.array([[[1, 0, 0], [0, 1, 0]]] * 2, float),
        {"num_columns": 3, "batch_shape": [2]},
        constant=(0,),
    ),
    *(
        Row(
            linalg.matrix_diag_part,
            (normal(2, 3, 4),),
            lambda x, k: np.stack([x[:, i, i + k] for i in range(3) if 0 <= i + k < 4], 1),
            {"k": k},
            dtypes=FLOATS,
        )
        for k in (1, -2, 3)
    ),
    *(
        Row(
            ranked(linalg.matrix_diag, 2),
            (normal(2, 2),),
            lambda d, k, num_cols=3, padding_value=0, **_: elements(
                (len(d), 3, num_cols), d.dtype, lambda i: d[i[0], min(i[1:])] if i[2] - i[1] == k else padding_value
            ),
            attrs,
            dtypes=FLOATS,
        )
        for attrs in ({"k": 1}, {"k": -1, "num_cols": 4}, {"k": 0, "num_rows": 3, "num_cols": 2, "padding_value": 7})
    ),
    *(
        Row(
            linalg.matrix_set_diag,
            (normal(2, 3, 4), normal(2, 3)),
            lambda x, d, k: elements(
                x.shape, x.dtype, lambda i: d[i[0], min(i[1:])] if i[2] - i[1] == k else x[i]
            ),
            {"k": k},
        )
        for k in (0, 1)
    ),
    Row(ranked(products.cross, 2, 2), (normal(2, 3), normal(2, 3)), lambda x, y: np.stack(
        [x[:, 1] * y[:, 2] - x[:, 2] * y[:, 1], x[:, 2] * y[:, 0] - x[:, 0] * y[:, 2],
         x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]], 1), dtypes=FLOATS),
    Row(products.adjoint, (normal(2, 3),), lambda x: np.conj(x.T), dtypes=("float64", "complex64"), empty=None),
    Row(products.transpose, (normal(2, 3),), lambda x, conjugate: np.conj(x.T), {"conjugate": True},
        ("float64", "complex64"), empty=None),
    Row(products.matvec, (normal(2, 3), normal(2)), lambda a, b, adjoint_a: np.conj(a.T) @ b, {"adjoint_a": True},
        ("float32", "float64", "complex64"), empty=None),
    Row(products.matmul, (normal(3, 2), normal(4, 3)), lambda a, b, **_: np.conj(a.T) @ np.conj(b.T),
        {"adjoint_a": True, "adjoint_b": True}, ("float64", "complex64"), empty=None),
    Row(norms.normalize, (nonzero(2, 3),), lambda x, axis: (
        x / np.sqrt((x * x).sum(1, keepdims=True)), np.sqrt((x * x).sum(1, keepdims=True))), {"axis": 1}, FLOATS,
        empty=None),
    Row(linalg.trace, (normal(2, 3, 3),), lambda x: np.einsum("bii->b", x), dtypes=FLOATS),
]

NORMS = [
    Row(norms.norm, (normal(2, 3),), lambda x: np.sqrt(sum(v * v for v in x.ravel())), dtypes=FLOATS, empty=None),
    Row(
        norms.norm, (nonzero(2, 3),), lambda x, axis: np.sqrt(x[:, 0] ** 2 + x[:, 1] ** 2 + x[:, 2] ** 2), {"axis": 1}
    ),
    Row(
        norms.norm,
        (nonzero(2, 3),),
        lambda x, **_: np.abs(x[:1]) + np.abs(x[1:]),
        {"ord": 1, "axis": 0, "keepdims": True},
        empty=None,
    ),
    Row(norms.norm, (nonzero(2, 3),), lambda x, ord: max(abs(v) for v in x.ravel()), {"ord": np.inf}, empty=None),
    Row(norms.norm, (nonzero(2, 3),), lambda x, ord: sum(abs(v) ** 3 for v in x.ravel()) ** (1 / 3), {"ord": 3}),
    Row(
        norms.norm,
        (nonzero(3, 2, 2),),
        lambda x, **_: np.sqrt(np.einsum("bij,bij->b", x, x)),
        {"ord": "fro", "axis": (1, 2)},
    ),
    Row(norms.norm, (nonzero(2, 3),), lambda x, **_: np.abs(x).sum(0).max(), {"ord": 1, "axis": (0, 1)}, empty=None),
    Row(
        norms.norm,
        (nonzero(2, 3),),
        lambda x, **_: np.abs(x).sum(1).max(),
        {"ord": np.inf, "axis": [0, -1]},
        empty=None,
    ),
    Row(
        ranked(norms.norm, 3),
        (nonzero(2, 3, 2),),
        lambda x, **_: np.array([[[np.sqrt(np.linalg.eigvalsh(x[:, i].T @ x[:, i])[-1])] for i in range(3)]]),
        {"ord": 2, "axis": (0, -1), "keepdims": True},
        dtypes=FLOATS[1:],
        tolerance=64,
        empty=None,
    ),
]

def gram_schmidt(a):
    q = np.zeros(a.shape)
    for i, column in enumerate(a.T):
        rest = column - q[:, :i] @ (q[:, :i].T @ column)
        q[:, i] = rest / np.sqrt(np.sum(rest**2))
    return q


ROWS = [
    Row(linalg.orthonormal, (normal(5, 3),), gram_schmidt, tolerance=64, empty=(normal(3, 0),)),
    *PRODUCTS,
    *MATRICES,
    *NORMS,
]
