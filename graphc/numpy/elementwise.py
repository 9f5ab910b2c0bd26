"""Ufuncs, selection and casts."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError, UnsupportedError
from graphc.numpy.checks import check_device, memory_order, real_dtype
from graphc.numpy.dispatch import common_world, refuse, strong, traceable
from graphc.numpy.into import Out, store
from graphc.numpy.universal import comparison, convert_operands, elementwise, universal
from graphc.ops import lookup
from graphc.ops.world import Operand
from graphc.tracing import Traced, copied, is_scalar, lift, placed, snapshot

__all__ = [
    "abs",
    "absolute",
    "add",
    "astype",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "clip",
    "copy",
    "cos",
    "divide",
    "equal",
    "exp",
    "expm1",
    "fabs",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "nan_to_num",
    "negative",
    "not_equal",
    "positive",
    "pow",
    "power",
    "reciprocal",
    "remainder",
    "sign",
    "sin",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "where",
]

add = elementwise(np.add, "add")
subtract = elementwise(np.subtract, "sub")
multiply = elementwise(np.multiply, "mul")
divide = true_divide = elementwise(np.true_divide, "div")
floor_divide = elementwise(np.floor_divide, "floor_divide")
mod = remainder = elementwise(np.remainder, "remainder")
negative = elementwise(np.negative, "neg")
fabs = elementwise(np.fabs, "abs")
sign = elementwise(np.sign, "sign")
exp = elementwise(np.exp, "exp")
expm1 = elementwise(np.expm1, "expm1")
log = elementwise(np.log, "log")
log1p = elementwise(np.log1p, "log1p")
logaddexp = elementwise(np.logaddexp, "logaddexp")
sqrt = elementwise(np.sqrt, "sqrt")
hypot = elementwise(np.hypot, "hypot")
sin = elementwise(np.sin, "sin")
cos = elementwise(np.cos, "cos")
tan = elementwise(np.tan, "tan")
tanh = elementwise(np.tanh, "tanh")
equal = comparison(np.equal, "eq")
not_equal = comparison(np.not_equal, "ne")
less = comparison(np.less, "lt")
less_equal = comparison(np.less_equal, "le")
greater = comparison(np.greater, "gt")
greater_equal = comparison(np.greater_equal, "ge")
maximum = elementwise(np.maximum, "maximum")
minimum = elementwise(np.minimum, "minimum")


@universal(np.absolute)
def absolute(x: Any, /) -> Any:
    """The size of a number without its sign; the derivative at 0 is 0."""
    world, (value,) = convert_operands(np.absolute, (x,))
    return value if value.type.dtype.kind == "b" else world.abs(value)


abs = absolute


@universal(np.square)
def square(x: Any, /) -> Any:
    """x times itself."""
    _, (value,) = convert_operands(np.square, (x,))
    return value * value


@universal(np.reciprocal)
def reciprocal(x: Any, /) -> Any:
    """1 / x.

    Integers are refused: at 0 NumPy's result depends on the platform.
    """
    _, (value,) = convert_operands(np.reciprocal, (x,))
    if value.type.dtype.kind != "f":
        raise UnsupportedError("np.reciprocal of integers depends on the platform at 0", fix="write 1 / x")
    return 1 / value


@universal(np.positive)
def positive(x: Any, /) -> Any:
    """The value itself, as a new array."""
    return convert_operands(np.positive, (x,))[1][0]


@universal(np.isnan)
def isnan(x: Any, /) -> Any:
    """Whether an element is NaN."""
    return not_equal(x, x)


@universal(np.isinf)
def isinf(x: Any, /) -> Any:
    """Whether an element is infinite."""
    value = strong(x, common_world(x))
    return equal(absolute(value), np.inf) if value.type.dtype.kind == "f" else not_equal(value, value)


@universal(np.isfinite)
def isfinite(x: Any, /) -> Any:
    """Whether an element is a number, neither infinite nor NaN."""
    value = strong(x, common_world(x))
    return less(absolute(value), np.inf) if value.type.dtype.kind == "f" else equal(value, value)


def truth(x: Any) -> Any:
    """A value as a boolean: whether it differs from 0."""
    if isinstance(x, Traced):
        return x if x.type.dtype.kind == "b" else x.world.convert(x, np.dtype(np.bool_))
    return x if isinstance(x, Operand) else np.asarray(x, bool)


def _logic(ufunc: np.ufunc, op: str) -> Any:
    record = lookup(op)

    def apply(*operands: Any) -> Any:
        world = common_world(*operands)
        return world.emit(record, [strong(truth(x), world) for x in operands], ())

    apply.__doc__ = record.doc
    return universal(ufunc)(apply)


logical_and = _logic(np.logical_and, "logical_and")
logical_or = _logic(np.logical_or, "logical_or")
logical_not = _logic(np.logical_not, "logical_not")


@universal(np.logical_xor)
def logical_xor(a: Any, b: Any, /) -> Any:
    """Whether exactly one of two elements is not 0."""
    return not_equal(truth(a), truth(b))


def _bits(ufunc: np.ufunc, on_bool: Any) -> Any:
    record = lookup(ufunc.__name__)

    def apply(*operands: Any) -> Any:
        world = common_world(*operands)
        values = [lift(x, world) for x in operands]
        if any(v.type.dtype.kind == "f" for v in values):
            raise DTypeError(
                f"{ufunc.__name__}: not defined for floats",
                expected="booleans or integers",
                actual=", ".join(repr(v.type) for v in values),
            )
        if all(v.type.dtype.kind == "b" for v in values):
            return on_bool(*values)
        world, values = convert_operands(ufunc, operands)
        return world.emit(record, values, ())

    apply.__doc__ = record.doc
    return universal(ufunc)(apply)


bitwise_and = _bits(np.bitwise_and, logical_and)
bitwise_or = _bits(np.bitwise_or, logical_or)
bitwise_xor = _bits(np.bitwise_xor, logical_xor)
invert = bitwise_not = bitwise_invert = _bits(np.invert, logical_not)


def power_operator(a: Any, b: Any) -> Any:
    """`a ** b`: NumPy's operator takes shortcuts for some scalar exponents, and so does this."""
    if _is_python_number(a) and _is_python_number(b):
        a, b = (common_world(a, b).python_number(x) for x in (a, b))
    if isinstance(b, (int, float, np.integer, np.floating)) and not isinstance(b, bool) and isinstance(a, Traced):
        exponent = b.item() if isinstance(b, np.generic) else b
        if a.type.dtype.kind == "b" and exponent != 2:
            return power(a, b)
        if isinstance(b, np.generic):
            world, (x, _) = convert_operands(np.power, (a, b))
        else:
            world, x = a.world, a
            if x.type.dtype.kind != "f" and isinstance(exponent, float):
                x = world.convert(x, np.result_type(x.type.dtype, 1.0), x.type.weak)
        floating = x.type.dtype.kind == "f"
        if exponent == 0.5 and floating:
            return world.sqrt(x)
        if _is_small_integer(exponent) and (floating or exponent >= 0):
            return _integer_power(x, int(exponent))
    if _is_python_number(a) and _is_python_number(b):
        # as in Python, where a number to the power of a number is no array: it widens no other operand's dtype
        return common_world(a, b).binary("pow", a, b)
    return power(a, b)


def _is_python_number(operand: Any) -> bool:
    return operand.type.weak if isinstance(operand, Traced) else type(operand) in (bool, int, float)


def _is_small_integer(exponent: float) -> bool:
    return -64 <= exponent <= 64 and exponent == int(exponent)


def _integer_power(x: Any, exponent: int) -> Any:
    if x.type.dtype.kind == "b":
        x = x.world.convert(x, np.dtype(np.int8))
    if exponent == 2:
        return x * x
    if exponent == -1:
        return 1 / x
    if exponent == 1:
        return snapshot(x)
    return x.world.integer_pow(x, exponent=exponent)


@universal(np.power)
def power(a: Any, b: Any, /) -> Any:
    """a to the power of b."""
    if isinstance(b, (int, float)) and not isinstance(b, bool) and _is_small_integer(b) and isinstance(a, Traced):
        world, (x, _) = convert_operands(np.power, (a, b))
        if x.type.dtype.kind == "f":
            return _integer_power(x, int(b)) if b != -1 else world.integer_pow(x, exponent=-1)
        if b < 0:
            raise ValueError("Integers to negative integer powers are not allowed.")
        return _integer_power(x, int(b))
    world, values = convert_operands(np.power, (a, b))
    return world.emit(lookup("pow"), values, ())


pow = power


@traceable(np.where, view=True)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """Elements of x where a condition holds, and of y where not.

    Both are computed. Without x and y it would give positions, whose number depends on values: it is refused then.
    """
    if x is None or y is None:
        raise UnsupportedError(
            "np.where with one argument gives a result whose size depends on values",
            expected="np.where(condition, x, y)",
            fix="select by mask: np.where(condition, x, 0)",
        )
    world = common_world(condition, x, y)
    # a Python scalar is weak here too, as in any NumPy 2 promotion
    values = [v if type(v) in (bool, int, float) else lift(v, world) for v in (x, y)]
    a, b = (strong(v, world) for v in world.promote(values))
    result = world.emit(lookup("where"), (strong(truth(condition), world), a, b), ())
    return result if result.ndim else placed(result)  # an array even without axes


@traceable(np.clip, out=Out(spread=True))
def clip(
    a: Any,
    a_min: Any = np._NoValue,
    a_max: Any = np._NoValue,
    out: Any = None,
    *,
    min: Any = np._NoValue,
    max: Any = np._NoValue,
    **kwargs: Any,
) -> Any:
    """Elements below a_min raised to it, and those above a_max lowered to it; None leaves a side open.

    The keywords of ufuncs are refused.
    """
    for name in kwargs:
        if name not in ("casting", "dtype", "order", "signature", "subok", "where"):
            raise TypeError(f"clip() got an unexpected keyword argument {name!r}")
    refuse("clip", **kwargs)
    missing = [n for n, v in (("a_min", a_min), ("a_max", a_max)) if v is np._NoValue]
    if len(missing) == 1:
        raise TypeError(f"clip() missing 1 required positional argument: {missing[0]!r}")
    if missing:
        a_min, a_max = (None if v is np._NoValue else v for v in (min, max))
    elif min is not np._NoValue or max is not np._NoValue:
        raise ValueError("clip takes either a_min and a_max, or min and max")
    return clipped(a, a_min, a_max)


def clipped(a: Any, low: Any, high: Any) -> Any:
    """Elements within bounds, each of which may be None."""
    if isinstance(a, Traced) and a.type.dtype.kind in "iu":
        # a Python integer beyond the dtype's range is no bound, as NumPy has it
        limits = np.iinfo(a.type.dtype)
        low = None if type(low) is int and low <= limits.min else low
        high = None if type(high) is int and high >= limits.max else high
    if isinstance(a, Traced) and a.type.dtype.kind == "f" and low is not None and high is not None:
        # between equal bounds the result is constant: its derivative is 0 at the bounds too
        plain = all(isinstance(b, (int, float, np.ndarray, np.generic)) for b in (low, high))
        alike = np.equal(low, high) if plain else equal(lift(low, a.world), lift(high, a.world))
        if isinstance(alike, Traced) or np.any(alike):
            a = where(alike, a.world.stop_gradient(a), a)
    result = a if low is None else maximum(a, low)
    return result if high is None else minimum(result, high)


@traceable(np.astype, view=True)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """The elements in another dtype. From float to integer the fraction is cut off, and the derivative is 0."""
    check_device(device)
    return cast(x, dtype, copy=copy)


def cast(x: Any, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True) -> Any:
    """As `numpy.ndarray.astype`."""
    target, order = real_dtype(dtype), memory_order(order)
    if not np.can_cast(x.type.dtype, target, casting):  # type: ignore[arg-type]
        raise DTypeError(f"astype: cannot cast {x.type.dtype} to {target} with casting={casting!r}")
    result = x.world.convert(x, target)
    if result is x:
        return copied(x, order) if copy else x
    return result if is_scalar(x) else placed(result, order, x)


@traceable(np.copy, view=True)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """The content as a new array, in the order in memory that is asked for."""
    return placed(strong(a, common_world(a)), memory_order(order), a)


@traceable(np.nan_to_num, view=True)
def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """NaN replaced by a number, 0 by default, and infinities by the largest finite ones or by those given."""
    value = strong(x, common_world(x))
    if not copy and (value is not x or is_scalar(value)):
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    if value.type.dtype.kind != "f":
        return copied(value) if copy else value
    top = np.finfo(value.type.dtype).max
    value = where(isnan(value), nan, value)
    value = where(equal(value, np.inf), top if posinf is None else posinf, value)
    value = where(equal(value, -np.inf), -top if neginf is None else neginf, value)
    return value if copy else store("np.nan_to_num", x, value)
