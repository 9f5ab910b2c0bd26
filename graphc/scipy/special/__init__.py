"""`graphc.scipy.special`: SciPy's special functions on traced values and arrays alike.

Those of SciPy's functions that are ufuncs (`scipy.special.erf`, `gammaln`, `expit`, ...) also take traced values
themselves. The others (`softmax`, `log_softmax`, `logsumexp`, `polygamma`, `spherical_jn`) do not: they make plain
arrays of their arguments, so that inside a trace only the versions here will do.

>>> import numpy as np, graphc
>>> from graphc.scipy import special
>>> f = graphc.compile(lambda x: special.softmax(x, axis=-1), "f64[2]")
>>> f(np.array([1000.0, 1000.0]))
array([0.5, 0.5])
"""

from __future__ import annotations

from typing import Any

from graphc.scipy.alternatives import outside_of
from graphc.scipy.special import angles, bessel, elementary, entropies, gammas, orthogonal, sums
from graphc.scipy.special.angles import *
from graphc.scipy.special.bessel import *
from graphc.scipy.special.elementary import *
from graphc.scipy.special.entropies import *
from graphc.scipy.special.gammas import *
from graphc.scipy.special.orthogonal import *
from graphc.scipy.special.sums import *

_ROOMS = (angles, bessel, elementary, entropies, gammas, orthogonal, sums)

__all__ = [name for room in _ROOMS for name in room.__all__]


def __getattr__(name: str) -> Any:
    """SciPy's functions that cannot be traced are refused by name."""
    return outside_of("special", name)
