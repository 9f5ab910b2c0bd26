"""Results written into arrays that are there already: the argument `out` of NumPy's functions, and `x += y`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from graphc.errors import DTypeError, ShapeError, UnsupportedError
from graphc.ops.typing import broadcast, show
from graphc.tracing import WRITABLE, Traced, deepest, is_scalar, lift, user_locs, variable_name, write


@dataclass(frozen=True, slots=True)
class Out:
    """What a function of NumPy's allows of the array `out`.

    casting: the casts that results may undergo.
    computes: whether it is computed in a dtype that also holds what `out` does, if no other is named.
    spread: whether the result is broadcast to the array, as that of a ufunc is. The array never is to the result.
    """

    casting: Any = "same_kind"
    computes: bool = False
    spread: bool = False


UFUNC: Final = Out(spread=True)


def store(what: str, out: Any, result: Any, rule: Out = UFUNC, where: Any = True) -> Any:
    """Write a result into the array `out` and return it; `what` is the operation, as errors show it."""
    if not isinstance(out, Traced):
        refuse_plain(what)
    operands = [x for x in (out, result, where) if isinstance(x, Traced)]
    world = deepest(operands)
    value = lift(result, world)
    target = out.type
    fits = _fits(world, value.type.shape, target.shape, rule.spread)
    if not fits:
        raise ShapeError(
            f"{what}: the result does not fit the array it is written into",
            expected=f"a result of shape {show(target.shape)}"
            + (", or one that broadcasts to it" if rule.spread and target.shape else ""),
            actual=show(value.type.shape),
            loc=_here(),
            fix="write into an array of the result's shape, or give the result a name of its own",
        )
    # a Python number is of whatever dtype the array has, as long as its kind is
    if not np.can_cast(value.type.dtype, target.dtype, rule.casting):
        raise DTypeError(
            f"{what}: a result of dtype {value.type.dtype} cannot be stored in an array of dtype {target.dtype}",
            expected=f"a result that casting={str(rule.casting)!r} allows to cast to {target!r}",
            actual=repr(value.type),
            loc=_here(),
            fix=f"give the result a name of its own, or cast it: .astype(np.{target.dtype.name})",
        )
    value = world.convert(value, target.dtype)
    if value.type.shape != target.shape:
        value = world.broadcast_to(value, shape=target.shape)
    if where is not True:
        mask = lift(where, world)
        if mask.type.dtype.kind != "b":
            raise DTypeError(f"{what}: where= must be boolean", expected="a mask", actual=repr(mask.type), loc=_here())
        if not _fits(world, mask.type.shape, target.shape, True):
            raise ShapeError(
                f"{what}: the mask does not fit the array",
                expected=f"a mask that broadcasts to {show(target.shape)}",
                actual=show(mask.type.shape),
                loc=_here(),
            )
        value = world.where(mask, value, out)
    write(out, value, what)
    return out


def _fits(world: Any, shape: tuple[Any, ...], target: tuple[Any, ...], spread: bool) -> bool:
    if not spread:
        return len(shape) == len(target) and all(world.facts.equal(a, b) for a, b in zip(shape, target, strict=True))
    try:
        joined = broadcast(world.facts, "out", shape, target)
    except ShapeError:
        return False
    return joined == target


def in_place(target: Traced, operator: str, result: Any) -> Any:
    """What `target operator= other` leaves under the name: the array, written to; a number gets a new value."""
    if target.type.weak or is_scalar(target) or result is NotImplemented:
        return result
    return store(f"{variable_name(target) or 'x'} {operator} ...", target, result)


def refuse_plain(what: str) -> NoReturn:
    """Raise UnsupportedError for a plain array that a traced value would be written into."""
    raise UnsupportedError(
        f"{what} would write a traced value into a plain NumPy array",
        expected="an array made in the trace",
        actual="an array of numbers that are known now",
        loc=_here(),
        fix=f"{WRITABLE}; or assign the result: y = y + x",
    )


def _here() -> Any:
    return (user_locs() or (None,))[0]
