"""Linear algebra, as ``tf.linalg`` has it."""

from paraflow.ops.clip import global_norm
from paraflow.ops.contraction import einsum, tensordot
from paraflow.ops.decompositions import matrix_rank, pinv, qr, svd
from paraflow.ops.decompositions import self_adjoint_eig as eigh
from paraflow.ops.decompositions import self_adjoint_eigvals as eigvalsh
from paraflow.ops.linalg import diag as tensor_diag
from paraflow.ops.linalg import diag_part as tensor_diag_part
from paraflow.ops.linalg import eye, trace
from paraflow.ops.linalg import matrix_band_part as band_part
from paraflow.ops.linalg import matrix_diag as diag
from paraflow.ops.linalg import matrix_diag_part as diag_part
from paraflow.ops.linalg import matrix_set_diag as set_diag
from paraflow.ops.matrix_functions import (
    logm,
    lu,
    lu_matrix_inverse,
    lu_reconstruct,
    lu_solve,
    sqrtm,
    tridiagonal_solve,
)
from paraflow.ops.nn import l2_normalize
from paraflow.ops.norms import norm, normalize
from paraflow.ops.products import adjoint, cross, matmul, matrix_transpose, matvec
from paraflow.ops.products import matrix_transpose as transpose
from paraflow.ops.solving import cholesky, cholesky_solve, expm, logdet, slogdet
from paraflow.ops.solving import matrix_determinant as det
from paraflow.ops.solving import matrix_inverse as inv
from paraflow.ops.solving import matrix_solve as solve
from paraflow.ops.solving import matrix_solve_ls as lstsq
from paraflow.ops.solving import matrix_triangular_solve as triangular_solve

# fmt: off
__all__ = [
    "adjoint", "band_part", "cholesky", "cholesky_solve", "cross", "det", "diag", "diag_part", "eigh", "eigvalsh",
    "einsum", "expm", "eye", "global_norm", "inv", "l2_normalize", "logdet", "logm", "lstsq", "lu",
    "lu_matrix_inverse", "lu_reconstruct", "lu_solve", "matmul", "matrix_rank", "matrix_transpose", "matvec", "norm",
    "normalize", "pinv", "qr", "set_diag", "slogdet", "solve", "sqrtm", "svd", "tensor_diag", "tensor_diag_part",
    "tensordot", "trace", "transpose", "triangular_solve", "tridiagonal_solve",
]
# fmt: on
