"""SciPy's functions for traced values and arrays alike."""

from graphc.scipy import linalg, special

__all__ = ["linalg", "special"]
