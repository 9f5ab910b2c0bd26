"""What SciPy's functions have in common: how they are registered, their operands, and orders known in advance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import scipy.special

from graphc.errors import UnsupportedError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.universal import elementwise, universal
from graphc.tracing import Traced

F = TypeVar("F", bound=Callable[..., Any])


def of_scipy(name: str) -> Any:
    """SciPy's function of that name; where this SciPy lacks it, one that says so."""
    found = getattr(scipy.special, name, None)
    if found is not None:
        return found

    def missing(*_: Any, **__: Any) -> Any:
        raise UnsupportedError(
            f"SciPy {scipy.__version__} has no scipy.special.{name}", fix="another SciPy, or traced arguments"
        )

    missing.__name__ = name
    return missing


def special(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Register graphc's version of one of SciPy's functions, a ufunc or another."""
    own = of_scipy(name)
    return universal(own) if isinstance(own, np.ufunc) else traceable(own)


def one_op(name: str, op: str) -> Any:
    """graphc's version of a ufunc that is one op."""
    return elementwise(of_scipy(name), op)


def floating(ufunc: np.ufunc, x: Any) -> tuple[Any, Any]:
    """The operand in the dtype of the ufunc's loop."""
    world = common_world(x)
    value = strong(x, world)
    return world, world.convert(value, ufunc.resolve_dtypes((value.type.dtype, None))[0])


def double(x: Any) -> tuple[Any, Any]:
    """The operand as a float: integers in double precision."""
    world = common_world(x)
    value = strong(x, world)
    return world, value if value.type.dtype.kind == "f" else world.convert(value, np.dtype(np.float64))


def whole_order(name: str, n: Any) -> int:
    """An order that must be a whole number from 0 on, known when the graph is traced."""
    if isinstance(n, Traced) or np.ndim(n) or n != int(n) or n < 0:
        raise UnsupportedError(
            f"{name}: the order must be known when the graph is traced",
            expected="a whole number from 0 on",
            actual=repr(n),
            fix="make it a static argument",
        )
    return int(n)
