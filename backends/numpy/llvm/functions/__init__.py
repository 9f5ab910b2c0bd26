"""Vector mathematics: each function takes an emitter and values of one float dtype, and writes straight-line code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphc.backends.numpy.llvm.emit import Value
from graphc.backends.numpy.llvm.functions import exponential, logarithmic

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
    "log1p": logarithmic.log1p,
    "softplus": logarithmic.softplus,
    "log_sigmoid": logarithmic.log_sigmoid,
    "logaddexp": logarithmic.logaddexp,
}
