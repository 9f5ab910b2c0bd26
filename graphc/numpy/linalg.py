"""`graphc.numpy.linalg`: NumPy's linear algebra on traced values."""

from typing import Any

from numpy.linalg import LinAlgError

from graphc.numpy.decompositions import cholesky, eigh, eigvalsh, qr, svd, svdvals
from graphc.numpy.dispatch import outside_of
from graphc.numpy.equations import det, inv, pinv, slogdet, solve, tensorinv, tensorsolve
from graphc.numpy.norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from graphc.numpy.norms import linalg_cross as cross
from graphc.numpy.norms import linalg_diagonal as diagonal
from graphc.numpy.norms import linalg_matmul as matmul
from graphc.numpy.norms import linalg_matrix_transpose as matrix_transpose
from graphc.numpy.norms import linalg_outer as outer
from graphc.numpy.norms import linalg_tensordot as tensordot
from graphc.numpy.norms import linalg_trace as trace
from graphc.numpy.norms import linalg_vecdot as vecdot
from graphc.numpy.vectors import matrix_power, multi_dot

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]


def __getattr__(name: str) -> Any:
    """NumPy's other functions are refused by name."""
    return outside_of("linalg", name)
