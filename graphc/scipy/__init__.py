"""SciPy's functions for traced values and arrays alike."""

from graphc.scipy import special

__all__ = ["special"]
