"""NumPy's generalised ufuncs, which work on core axes: their keywords are the same for all."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from graphc.numpy.checks import memory_order
from graphc.numpy.dispatch import any_traced, common_world, given, newer, refuse, strong, traceable
from graphc.numpy.into import Out
from graphc.numpy.shaping import expand_dims, moveaxis
from graphc.numpy.universal import in_order, is_given, loop_of_call, store_all, with_methods
from graphc.ops.typing import normalise_axis


def generalised(name: str, signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Register graphc's version of a ufunc with core axes, given as a function that has them last.

    `signature` is NumPy's own; a `?` marks core axes that an operand may lack.
    """
    inputs, _, result = signature.partition("->")
    cores = [_letters(part) for part in (*inputs.split("),("), result)]
    shared = len({letter for letters in cores for letter in letters}) == 1

    def decorate(function: Callable[..., Any]) -> Any:
        ufunc: Any = newer(name)

        @wraps(function)
        def apply(
            x1: Any,
            x2: Any,
            /,
            out: Any = None,
            *,
            axes: Any = np._NoValue,
            axis: Any = np._NoValue,
            keepdims: Any = False,
            casting: Any = "same_kind",
            order: str = "K",
            dtype: Any = None,
            subok: bool = True,
            signature: Any = None,
        ) -> Any:
            order = memory_order(order)
            if is_given(out):
                options = {"axes": axes, "axis": axis, "casting": casting, "dtype": dtype, "signature": signature}
                if shared:
                    options["keepdims"] = keepdims
                options = {name: value for name, value in options.items() if given(value)}
                compute: Any = apply if any_traced((x1, x2), {}) else ufunc
                return store_all(f"np.{name}", out, compute(x1, x2, **options), Out(casting, spread=True))
            world = common_world(x1, x2)
            operands = [strong(x, world) for x in (x1, x2)]
            if dtype is not None or signature is not None or casting != "same_kind":
                if not isinstance(ufunc, np.ufunc):
                    refuse(name, dtype=dtype, signature=signature, casting=casting)
                operands = loop_of_call(ufunc, tuple(operands), dtype, signature, casting)
            if given(axis) and not shared:
                raise TypeError(f"{name}: axis can only be used with a single shared core dimension")
            if given(axis) and given(axes):
                raise TypeError("cannot specify both 'axis' and 'axes'")
            if keepdims and not shared:
                raise TypeError(f"{name} does not support keepdims")
            if given(axis):
                axes = [axis, axis, *([axis] if keepdims else [])]
            if not given(axes):
                value = function(*operands)
                return in_order(expand_dims(value, -1) if keepdims else value, order)
            places = _places(name, axes, [*cores[:2], "n" if keepdims else cores[2]], operands)
            value = function(*(moveaxis(x, p, _last(p)) for x, p in zip(operands, places, strict=False)))
            if keepdims:
                value = expand_dims(value, -1)
            return in_order(moveaxis(value, _last(places[2]), places[2]) if places[2] else value, order)

        apply.__signature__ = inspect.signature(apply, follow_wrapped=False)  # type: ignore[attr-defined]
        call = traceable(name)(apply)
        return with_methods(call, ufunc) if isinstance(ufunc, np.ufunc) else call

    return decorate


def _letters(core: str) -> str:
    return core.strip("()").replace(",", "")


def _last(places: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes, as many as there are places."""
    return tuple(range(-len(places), 0))


def _places(name: str, axes: Any, cores: list[str], operands: list[Any]) -> list[tuple[int, ...]]:
    """Which axes of the operands and of the result are the core ones."""
    if not isinstance(axes, list):
        raise TypeError("axes should be a list.")
    if len(axes) == 2 and not cores[2]:
        axes = [*axes, ()]
    elif len(axes) == 2 and cores[2] == "n":
        axes = [*axes, -1]  # of a result that keeps its core axis
    if len(axes) != 3:
        raise ValueError("axes should be a list with an entry for all 3 inputs and outputs")
    result: list[tuple[int, ...]] = []
    lacking = 0
    for k, (given_axes, core) in enumerate(zip(axes, cores, strict=True)):
        optional = core.count("?")
        places = tuple(map(operator.index, given_axes if isinstance(given_axes, tuple) else (given_axes,)))
        letters = len(core) - optional
        if k < 2 and optional and operands[k].ndim == 1:
            lacking, letters = lacking + 1, 1
        if k == 2 and optional:
            letters -= lacking
        if len(places) != letters:
            raise ValueError(f"{name}: operand {k} requires a tuple of length {letters} in axes")
        if k < 2:
            places = tuple(normalise_axis(name, p, operands[k].ndim) for p in places)
        result.append(places)
    return result
