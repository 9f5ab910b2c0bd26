"""NumPy's functions for traced values and arrays alike.

On traced values plain `np.f` works too: it dispatches here. The functions of this module are needed only where NumPy
itself does not dispatch, as in `array([x, y])` of traced values or `zeros(n)` of a symbolic size.
"""

from typing import Any

from graphc.numpy import linalg
from graphc.numpy.dispatch import apply_function, apply_ufunc, unsupported
from graphc.numpy.elementwise import (
    abs,
    absolute,
    add,
    astype,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    clip,
    copy,
    cos,
    divide,
    equal,
    exp,
    expm1,
    fabs,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    invert,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mod,
    multiply,
    nan_to_num,
    negative,
    not_equal,
    positive,
    power,
    power_operator,
    reciprocal,
    remainder,
    sign,
    sin,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    true_divide,
    where,
)
from graphc.numpy.indexing import diff, flip, getitem, take
from graphc.numpy.products import dot, inner, matmul, outer, tensordot, vdot
from graphc.numpy.reductions import all, amax, amin, any, cumsum, max, mean, min, prod, std, sum, var
from graphc.numpy.shaping import (
    arange,
    array,
    asarray,
    atleast_1d,
    atleast_2d,
    broadcast_arrays,
    broadcast_to,
    concatenate,
    empty,
    empty_like,
    expand_dims,
    full,
    full_like,
    hstack,
    matrix_transpose,
    moveaxis,
    ndim,
    ones,
    ones_like,
    ravel,
    reshape,
    shape,
    size,
    squeeze,
    stack,
    swapaxes,
    transpose,
    vstack,
    zeros,
    zeros_like,
)

_INTERNAL = {"apply_function", "apply_ufunc", "unsupported", "getitem", "power_operator", "Any"}
__all__ = [
    "linalg",
    *sorted(n for n, v in list(globals().items()) if callable(v) and not n.startswith("_") and n not in _INTERNAL),
]


def __getattr__(name: str) -> Any:
    """NumPy's constants and dtypes; its functions that cannot be traced are refused by name."""
    import numpy

    value = getattr(numpy, name)
    if callable(value) and not isinstance(value, type):
        raise unsupported(name)
    return value
