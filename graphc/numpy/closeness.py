"""Comparisons of whole arrays, and what real values are as complex ones."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import absolute, isfinite, isnan, less_equal, logical_and, logical_or
from graphc.numpy.reductions import all
from graphc.numpy.shaping import broadcast_to
from graphc.numpy.ufuncs import arctan2
from graphc.numpy.universal import convert_operands, universal
from graphc.ops.typing import broadcast
from graphc.tracing import lift, placed, view_of

__all__ = [
    "allclose",
    "angle",
    "array_equal",
    "array_equiv",
    "conj",
    "conjugate",
    "imag",
    "isclose",
    "iscomplex",
    "iscomplexobj",
    "isreal",
    "isrealobj",
    "real",
    "real_if_close",
]


@traceable(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether |a - b| <= atol + rtol |b|, element by element; infinities are near themselves."""
    world = common_world(a, b, rtol, atol)
    x, y = lift(a, world), lift(b, world)
    (y, _) = world.promote((y, 1.0))
    near = less_equal(absolute(x - y), atol + rtol * absolute(y))
    close = logical_or(logical_and(near, isfinite(y)), x == y)
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


@traceable(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether all elements of two arrays are near each other, as a traced boolean: see `isclose`.

    Python's `if` cannot decide on it: use `numpy.where`.
    """
    return all(isclose(a, b, rtol, atol, equal_nan))


@traceable(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether two arrays have the same shape and the same elements, as a traced boolean.

    Shapes are compared when the graph is traced. Python's `if` cannot decide on the result: use `numpy.where`.
    """
    world = common_world(a1, a2)
    x, y = strong(a1, world), strong(a2, world)
    sizes = zip(x.type.shape, y.type.shape, strict=False)
    if x.ndim != y.ndim or not builtins.all(world.facts.equal(m, n) for m, n in sizes):
        return strong(np.bool_(False), world)
    equal = x == y
    return all(logical_or(equal, logical_and(isnan(x), isnan(y))) if equal_nan else equal)


@traceable(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether two arrays hold the same elements once they are broadcast, as a traced boolean.

    Whether the shapes broadcast is decided when the graph is traced.
    """
    world = common_world(a1, a2)
    x, y = strong(a1, world), strong(a2, world)
    try:
        shape = broadcast(world.facts, "array_equiv", x.type.shape, y.type.shape)
    except ShapeError:
        return strong(np.bool_(False), world)
    return all(broadcast_to(x == y, shape))


@universal(np.conjugate)
def conjugate(x: Any, /) -> Any:
    """The value itself: traced values are real."""
    return convert_operands(np.conjugate, (x,))[1][0]


conj = conjugate


@traceable(np.real, view=True)
def real(val: Any) -> Any:
    """The value itself: traced values are real."""
    return strong(val, common_world(val))


@traceable(np.imag, view=True)
def imag(val: Any) -> Any:
    """Zeros: traced values are real."""
    x = strong(val, common_world(val))
    zeros = x.world.full(0, x.type)
    return view_of(placed(zeros, "K", x), writeable=False) if x.ndim else zeros


@traceable(np.real_if_close, view=True)
def real_if_close(a: Any, tol: Any = 100) -> Any:
    """The value itself: traced values are real."""
    return real(a)


@traceable(np.isreal)
def isreal(x: Any) -> Any:
    """True everywhere: traced values are real."""
    value = strong(x, common_world(x))
    return placed(value.world.full(True, type(value.type)(value.type.shape, np.dtype(np.bool_))), "K", value)


@traceable(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """False everywhere: traced values are real."""
    value = strong(x, common_world(x))
    return value.world.full(False, type(value.type)(value.type.shape, np.dtype(np.bool_)))


@traceable(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """False: traced values are real."""
    return False


@traceable(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """True: traced values are real."""
    return True


@traceable(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """The angle of a number in the complex plane: of a real one 0, or half a turn where it is negative."""
    turned = arctan2(0, z)
    return turned * (180 / np.pi) if deg else turned
