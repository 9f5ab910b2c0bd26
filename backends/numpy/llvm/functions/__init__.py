"""Vector mathematics: each function takes an emitter and values of one float dtype, and writes straight-line code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphc.backends.numpy.llvm.functions import (
    composed,
    division,
    error,
    exponential,
    fast,
    inverse,
    logarithmic,
    power,
    quantile,
    roots,
    trigonometric,
)
from graphc.backends.numpy.llvm.functions.power import integer_pow, pow_constant
from graphc.backends.numpy.llvm.values import Value

__all__ = ["ACCURATE", "FAST", "Function", "integer_pow", "pow_constant"]

Function = Callable[..., Value]  # of an emitter and one or more values

# To 2.5 units in the last place everywhere (ndtri 6, ndtr 2.8 in double precision, log_ndtr 3 without fused
# multiplication); special values as in NumPy.
ACCURATE: Final[dict[str, Function]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "sinh": exponential.sinh,
    "cosh": exponential.cosh,
    "tanh": exponential.tanh,
    "sigmoid": exponential.sigmoid,
    "log": logarithmic.log,
    "log2": logarithmic.log2,
    "log10": logarithmic.log10,
    "log1p": logarithmic.log1p,
    "softplus": composed.softplus,
    "log_sigmoid": composed.log_sigmoid,
    "logaddexp": composed.logaddexp,
    "logaddexp2": composed.logaddexp2,
    "log1mexp": composed.log1mexp,
    "log_cosh": composed.log_cosh,
    "logit": composed.logit,
    "xlogy": composed.xlogy,
    "xlog1py": composed.xlog1py,
    "sin_arctan": composed.sin_arctan,
    "cos_arctan": composed.cos_arctan,
    "sinc": composed.sinc,
    "pow": power.pow,
    "cbrt": roots.cbrt,
    "hypot": roots.hypot,
    "erf": error.erf,
    "erfc": error.erfc,
    "erfcx": error.erfcx,
    "log_erfc": error.log_erfc,
    "ndtr": error.ndtr,
    "log_ndtr": error.log_ndtr,
    "ndtri": quantile.ndtri,
    "fmod": division.fmod,
    "remainder": division.remainder,
    "floor_divide": division.floor_divide,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "arcsin": inverse.arcsin,
    "arccos": inverse.arccos,
    "arctan": inverse.arctan,
    "arctan2": inverse.arctan2,
    "arcsinh": inverse.arcsinh,
    "arccosh": inverse.arccosh,
    "arctanh": inverse.arctanh,
}

# For operands and results that are normal numbers: fewer instructions, errors of up to 5 units in the last place.
# Functions that are not named in the second part are those of the accurate tier.
FAST: Final[dict[str, Function]] = {
    **ACCURATE,
    "exp": fast.exp,
    "log": fast.log,
    "tanh": fast.tanh,
    "erf": fast.erf,
    "sigmoid": fast.sigmoid,
    "softplus": fast.softplus,
    "log_sigmoid": fast.log_sigmoid,
    "sin": fast.sin,
    "cos": fast.cos,
    "tan": fast.tan,
}
