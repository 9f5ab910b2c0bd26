"""NumPy's functions for traced values and arrays alike.

On traced values plain `np.f` works too: it dispatches here. The functions of this module are needed only
where NumPy itself does not dispatch, as in `array([x, y])` of traced values or `zeros(n)` of a symbolic size.
"""

from typing import Any

from graphc.numpy import (
    arranging,
    assignment,
    bits,
    calculus,
    closeness,
    covariance,
    diagonals,
    einstein,
    elementwise,
    fft,
    histograms,
    indexing,
    joining,
    linalg,
    making,
    mapping,
    masking,
    missing,
    padding,
    polynomials,
    positions,
    products,
    quantiles,
    queries,
    ranges,
    reductions,
    shaping,
    sorting,
    statistics,
    ufuncs,
    updates,
    vectors,
    windows,
)
from graphc.numpy.alternatives import is_method as is_method
from graphc.numpy.alternatives import method_advice as method_advice
from graphc.numpy.arranging import *
from graphc.numpy.assignment import *
from graphc.numpy.assignment import fill as fill
from graphc.numpy.assignment import flat as flat
from graphc.numpy.assignment import partition_in_place as partition_in_place
from graphc.numpy.assignment import set_shape as set_shape
from graphc.numpy.assignment import setitem as setitem
from graphc.numpy.assignment import sort_in_place as sort_in_place
from graphc.numpy.bits import *
from graphc.numpy.calculus import *
from graphc.numpy.closeness import *
from graphc.numpy.covariance import *
from graphc.numpy.diagonals import *
from graphc.numpy.dispatch import FUNCTIONS as FUNCTIONS
from graphc.numpy.dispatch import apply_function as apply_function
from graphc.numpy.dispatch import instead_of as instead_of
from graphc.numpy.dispatch import outside_of
from graphc.numpy.einstein import *
from graphc.numpy.elementwise import *
from graphc.numpy.elementwise import cast as cast
from graphc.numpy.elementwise import power_operator as power_operator
from graphc.numpy.histograms import *
from graphc.numpy.indexing import *
from graphc.numpy.indexing import getitem as getitem
from graphc.numpy.into import in_place as in_place
from graphc.numpy.joining import *
from graphc.numpy.making import *
from graphc.numpy.mapping import *
from graphc.numpy.masking import *
from graphc.numpy.missing import *
from graphc.numpy.padding import *
from graphc.numpy.polynomials import *
from graphc.numpy.positions import *
from graphc.numpy.products import *
from graphc.numpy.quantiles import *
from graphc.numpy.queries import *
from graphc.numpy.ranges import *
from graphc.numpy.reductions import *
from graphc.numpy.shaping import *
from graphc.numpy.sorting import *
from graphc.numpy.statistics import *
from graphc.numpy.ufuncs import *
from graphc.numpy.universal import apply_ufunc as apply_ufunc
from graphc.numpy.updates import *
from graphc.numpy.vectors import *
from graphc.numpy.windows import *

_ROOMS = (
    arranging,
    assignment,
    bits,
    calculus,
    closeness,
    covariance,
    diagonals,
    einstein,
    elementwise,
    histograms,
    indexing,
    joining,
    making,
    mapping,
    masking,
    missing,
    padding,
    polynomials,
    positions,
    products,
    quantiles,
    queries,
    ranges,
    reductions,
    shaping,
    sorting,
    statistics,
    ufuncs,
    updates,
    vectors,
    windows,
)

__all__ = [name for room in _ROOMS for name in room.__all__]
__all__ += ["fft", "linalg"]


def __getattr__(name: str) -> Any:
    """NumPy's constants and dtypes; its functions that cannot be traced are refused by name."""
    return outside_of("", name)
