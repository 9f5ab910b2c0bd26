"""What every draw shares: keys, shapes and dtypes as users give them, and ops applied to arrays or traced values."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import numpy as np

from graphc.errors import DTypeError, GraphcError, ShapeError, TraceError
from graphc.ir import TensorType
from graphc.ops import lookup
from graphc.ops.meaning import evaluate
from graphc.ops.typing import Facts, broadcast, show
from graphc.tracing import SymbolicSize, Traced, as_size, lift, locate, world_of, wrap_size
from graphc.tracing.refusals import describe

Shape = tuple[int | SymbolicSize, ...]
F = TypeVar("F", bound=Callable[..., Any])
WORDS: Final = np.dtype(np.uint32)
HALF, SINGLE, DOUBLE = (np.dtype(t) for t in (np.float16, np.float32, np.float64))


def draws(function: F) -> F:
    """A public function: no floating-point warnings, errors with the user's line, scalars where there are no axes."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                result = function(*args, **kwargs)
        except GraphcError as error:
            locate(error)
            raise
        return result[()] if isinstance(result, np.ndarray) and not result.ndim else result

    return call  # type: ignore[return-value]


def emit(name: str, *operands: Any, **attrs: Any) -> Any:
    """Apply one op: as a node on traced values, or of a symbolic size; by its NumPy meaning on arrays, at once."""
    world = world_of([*operands, *(s for a in attrs.values() for s in (a if isinstance(a, tuple) else (a,)))])
    if world is None:
        return evaluate(lookup(name), [np.asarray(x) for x in operands], attrs)
    return world.apply(name, [lift(x, world) for x in operands], **{k: _sized(v) for k, v in attrs.items()})


def _sized(attr: Any) -> Any:
    if isinstance(attr, tuple):
        return tuple(map(_sized, attr))
    return as_size(attr) if isinstance(attr, SymbolicSize) else attr


def cast(x: Any, dtype: Any) -> Any:
    """A value in another dtype; not weak."""
    return x.world.convert(x, np.dtype(dtype)) if isinstance(x, Traced) else np.asarray(x).astype(dtype)


def type_of(x: Any) -> TensorType:
    return x.type if isinstance(x, Traced) else TensorType(np.shape(x), np.asarray(x).dtype)


def as_key(function: str, key: Any) -> Any:
    """One key, or an error that says what was given in its place."""
    if isinstance(key, Traced):
        dtype, shape = key.type.dtype, key.type.shape
    elif isinstance(key, (np.ndarray, np.generic)):
        dtype, shape = key.dtype, key.shape
    else:
        seed = isinstance(key, (int, SymbolicSize)) and not isinstance(key, bool)
        generator = isinstance(key, (np.random.Generator, np.random.RandomState, np.random.BitGenerator))
        raise DTypeError(
            f"random.{function}: {'a seed' if seed else f'a {type(key).__name__}'} is not a key",
            expected="a key: u32[4]",
            actual=repr(key) if seed else f"a {type(key).__name__}",
            fix=f"graphc.random.key({key})" if seed else _OF_GENERATOR if generator else _FROM_SEED,
        )
    if dtype != WORDS:
        raise DTypeError(
            f"random.{function}: an array of {dtype} is not a key",
            expected="a key: u32[4]",
            actual=_shown(key),
            fix="np.asarray(key, np.uint32) restores a key that was saved as numbers"
            if dtype.kind in "iu" and shape == (4,)
            else _FROM_SEED,
        )
    if shape != (4,):
        stacked = len(shape) > 1 and shape[-1] == 4
        name = describe(key) if isinstance(key, Traced) else "keys"
        raise ShapeError(
            f"random.{function}: {'a stack of keys where one is needed' if stacked else 'this is not a key'}",
            expected="one key: u32[4]",
            actual=_shown(key),
            fix=f"{name}[{', '.join('ijkl'[: len(shape) - 1])}] is one of them" if stacked else _FROM_SEED,
        )
    return key


_FROM_SEED: Final = "graphc.random.key(seed) makes a key, split(key) and fold_in(key, number) derive others"
_OF_GENERATOR: Final = "graphc.random.key(generator.integers(2**63)) makes a key"


def _shown(x: Any) -> str:
    try:
        return repr(type_of(x))
    except GraphcError:
        return f"an array of dtype {x.dtype}"


def as_shape(function: str, shape: Any) -> Shape:
    """A shape as users write it: a size, or a sequence of sizes; each a number or a size of a traced array."""
    if isinstance(shape, Traced) or (isinstance(shape, (tuple, list)) and any(isinstance(d, Traced) for d in shape)):
        raise TraceError(
            f"random.{function}: a shape of traced values is known only when the graph runs",
            expected="sizes: numbers, or those of a traced array, as in x.shape",
            actual=repr(shape)[:60],
            fix="draw as many as the largest shape, and mask; or make the argument static",
        )
    sizes = shape if isinstance(shape, (tuple, list)) else [shape]
    if isinstance(shape, np.ndarray) and shape.ndim == 1:
        sizes = shape.tolist()
    for d in sizes:
        if isinstance(d, (bool, np.bool_)) or not isinstance(d, (int, np.integer, SymbolicSize)):
            raise DTypeError(
                f"random.{function}: this is not a shape",
                expected="whole numbers: 3, (2, 3), x.shape, or () for one number",
                actual=repr(shape)[:60],
                fix=f"the shape comes second: random.{function}(key, shape, ...)",
            )
        if not isinstance(d, SymbolicSize) and d < 0:
            raise ShapeError(f"random.{function}: a size is negative", expected="sizes from 0 on", actual=str(shape))
    return tuple(d if isinstance(d, SymbolicSize) else int(d) for d in sizes)


def float_dtype(function: str, dtype: Any) -> np.dtype[Any]:
    """The dtype of a float result."""
    found = _dtype(function, dtype)
    if found not in (HALF, SINGLE, DOUBLE):
        raise DTypeError(
            f"random.{function}: the result is a float",
            expected="float16, float32 or float64",
            actual=str(found),
            fix="graphc.random.integers draws integers" if found.kind in "iub" else None,
        )
    return found


def integer_dtype(function: str, dtype: Any, kinds: str = "iu") -> np.dtype[Any]:
    """The dtype of an integer result."""
    found = _dtype(function, dtype)
    if found.kind not in kinds:
        words = " or ".join({"i": "a signed integer", "u": "an unsigned integer", "f": "a float"}[k] for k in kinds)
        raise DTypeError(
            f"random.{function}: the result cannot have the dtype {found}",
            expected=words,
            actual=str(found),
            fix="graphc.random.bernoulli draws booleans" if found.kind == "b" else None,
        )
    return found


def _dtype(function: str, dtype: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise DTypeError(
            f"random.{function}: this is not a dtype",
            expected="np.float64, np.float32, ...",
            actual=repr(dtype)[:60],
            fix=f"the arguments are random.{function}(key, shape, dtype, ...)",
        ) from None
    return found


def parameter(function: str, name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """A parameter of a distribution in the dtype that it is computed in."""
    if isinstance(value, SymbolicSize):
        value = value.value()
    kind = value.type.dtype.kind if isinstance(value, Traced) else np.asarray(value).dtype.kind
    if kind not in "biuf":
        raise DTypeError(
            f"random.{function}: {name} is not a real number", expected="real numbers", actual=repr(value)[:60]
        )
    return cast(value, dtype)


def check(function: str, name: str, value: Any, holds: Callable[[Any], Any], expected: str) -> None:
    """Refuse a parameter outside its range, where it is known now."""
    if not isinstance(value, Traced) and not np.all(holds(value)):
        raise ValueError(f"graphc.random.{function}: {name} must be {expected}, not {str(value)[:60]}")


def result_shape(function: str, shape: Any, **parameters: Any) -> Shape:
    """The shape of a draw: the one given, into which the parameters must fit, or the one they broadcast to."""
    given = None if shape is None else as_shape(function, shape)
    shapes = [type_of(p).shape for p in parameters.values()]
    sizes = [*([] if given is None else [tuple(map(as_size, given))]), *shapes]
    if not any(sizes):
        return ()
    world = world_of([*(given or ()), *parameters.values()])
    facts = Facts({}) if world is None else world.facts
    try:
        found = broadcast(facts, f"random.{function}", *sizes)
    except ShapeError:
        raise _misfit(function, sizes, parameters) from None
    if given is not None and (len(found) != len(given) or not all(map(facts.equal, found, sizes[0]))):
        raise _misfit(function, sizes, parameters)
    return tuple(d if type(d) is int else wrap_size(world, d) for d in found)  # type: ignore[arg-type]


def _misfit(function: str, sizes: list[tuple[Any, ...]], parameters: dict[str, Any]) -> ShapeError:
    named = [f"{name} {show(type_of(value).shape)}" for name, value in parameters.items()]
    rest = sizes[: len(sizes) - len(named)]
    return ShapeError(
        f"random.{function}: the parameters do not fit the shape",
        expected="parameters that broadcast to the shape of the result",
        actual=", ".join([*(f"shape {show(s)}" for s in rest), *named]),
        fix="leave the shape out: it is then the one that the parameters broadcast to" if rest else None,
    )


def count(shape: Shape) -> int | SymbolicSize:
    """The number of elements."""
    return math.prod(shape, start=1)


def is_literal(value: Any, number: float) -> bool:
    """Whether a parameter is left at a number that changes nothing."""
    return type(value) in (int, float) and value == number


def scaled(x: Any, loc: Any, scale: Any, plain: tuple[bool, bool]) -> Any:
    """loc + scale * x, without what changes nothing."""
    if not plain[1]:
        x = x * scale
    return x if plain[0] else x + loc
