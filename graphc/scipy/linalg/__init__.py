"""`graphc.scipy.linalg`: what of `scipy.linalg` can be traced, on traced values and arrays alike.

SciPy's own functions make plain arrays of their arguments, so that inside a trace only the versions here will do.
Arguments that say what may be overwritten, or how LAPACK goes about it, change nothing, and that elements are finite is
not checked.

>>> import numpy as np, graphc
>>> from graphc.scipy import linalg
>>> graphc.compile(linalg.toeplitz, "f64[2]")(np.array([1.0, 2.0]))
array([[1., 2.],
       [2., 1.]])
"""

from __future__ import annotations

from typing import Any

from graphc.scipy.alternatives import outside_of
from graphc.scipy.linalg import factorisations, structured, systems
from graphc.scipy.linalg.factorisations import *
from graphc.scipy.linalg.structured import *
from graphc.scipy.linalg.systems import *

_ROOMS = (factorisations, structured, systems)

__all__ = [name for room in _ROOMS for name in room.__all__]


def __getattr__(name: str) -> Any:
    """SciPy's other functions are refused by name; what takes no arrays is SciPy's own."""
    return outside_of("linalg", name)
