"""Vector mathematics: each function takes an emitter and values of one float dtype, and writes straight-line code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphc.backends.numpy.llvm.emit import Value
from graphc.backends.numpy.llvm.functions import (
    division,
    error,
    exponential,
    inverse,
    logarithmic,
    power,
    roots,
    trigonometric,
)
from graphc.backends.numpy.llvm.functions.power import integer_pow, pow_constant

__all__ = ["ACCURATE", "Function", "integer_pow", "pow_constant"]

Function = Callable[..., Value]  # of an emitter and one or more values

# To 2.5 units in the last place everywhere, special values as in NumPy.
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
    "softplus": logarithmic.softplus,
    "log_sigmoid": logarithmic.log_sigmoid,
    "logaddexp": logarithmic.logaddexp,
    "pow": power.pow,
    "cbrt": roots.cbrt,
    "hypot": roots.hypot,
    "erf": error.erf,
    "erfc": error.erfc,
    "erfcx": error.erfcx,
    "log_erfc": error.log_erfc,
    "ndtr": error.ndtr,
    "log_ndtr": error.log_ndtr,
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
