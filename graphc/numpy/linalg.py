"""`graphc.numpy.linalg`: NumPy's linear algebra on traced values."""

from graphc.numpy.products import matmul, outer, tensordot
from graphc.numpy.reductions import norm

__all__ = ["matmul", "norm", "outer", "tensordot"]
