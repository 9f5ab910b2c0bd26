"""graphc: NumPy code compiled to static graphs, with derivatives of any order that can be proved.

Write a function with NumPy; `trace` it to a graph you can read, `compile` or `jit` it to a fast function,
differentiate it with `grad` and its kin, and `verify` the derivatives against exact mathematics.
"""

# In a checkout, passes/ and backends/ lie beside this package: look there too, so that it runs uninstalled.
import gc as _gc
from importlib import import_module as _import_module
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any
from typing import Final as _Final

_root = _Path(__file__).resolve().parents[1]
if (_root / "pyproject.toml").is_file() and (_root / "passes").is_dir():
    __path__.append(str(_root))

# What an import makes stays: looking for garbage meanwhile takes a third of its time, and finds none.
_collects = _gc.isenabled()
_gc.disable()
try:
    from graphc import numpy, random
    from graphc.callbacks import pure_callback
    from graphc.compiler import Compiled, Spec, compile, jit, parse, trace
    from graphc.compiler import preload as _preload
    from graphc.printing import debug_print
    from graphc.text import dump
    from graphc.tracing import Traced, is_traced
    from graphc.transforms import (
        grad,
        gradients,
        hessian,
        hvp,
        jacfwd,
        jacobian,
        jacrev,
        jvp,
        linearize,
        stop_gradient,
        symbol,
        value_and_grad,
        vjp,
        vmap,
    )

    _preload()
finally:
    if _collects:
        _gc.enable()

if _TYPE_CHECKING:
    from graphc.inspection import cost
    from graphc.verification import verify

# What is loaded when it is first asked for: SciPy's functions, since they load SciPy, and tools.
_LATER: _Final = {"cost": "graphc.inspection", "scipy": "graphc", "verify": "graphc.verification"}


def __getattr__(name: str) -> _Any:
    """A name of `_LATER`."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "scipy":
        return _import_module("graphc.scipy")
    found = globals()[name] = getattr(_import_module(_LATER[name]), name)
    return found


def __dir__() -> list[str]:
    """What completion offers: names that are not loaded yet too."""
    return sorted({*globals(), *_LATER})


__version__ = "0.1.0"

__all__ = [
    "Compiled",
    "Spec",
    "Traced",
    "compile",
    "cost",
    "debug_print",
    "dump",
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "is_traced",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "numpy",
    "parse",
    "pure_callback",
    "random",
    "scipy",
    "stop_gradient",
    "symbol",
    "trace",
    "value_and_grad",
    "verify",
    "vjp",
    "vmap",
]
