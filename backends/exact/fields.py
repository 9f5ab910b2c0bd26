"""Exact fields: the scalar functions that the records' exact meanings are written in.

A field knows one kind of exact scalar (SymPy expressions, Arb balls, residues modulo a prime, ...). Scalars
combine with each other and with Python ints by `+ - * /`; everything else is a method here. Arrays of scalars
are NumPy object arrays whose boolean elements are plain `bool` and which hold no Python int or float: a Python
int divides to a float, and one float would let falsehoods be proved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from graphc.backends.exact.elementary import DERIVATIVES
from graphc.errors import GraphcError

Array = np.ndarray[Any, Any]
Scalar = Any


class ExactError(GraphcError, ValueError):
    """A value has no exact meaning: NaN, an infinity, or a float that arose inside exact arithmetic."""


class Undecided(Exception):
    """A comparison could not be decided at the sample point: a kink, a tie, or a value that is not finite."""


def as_array(value: Any) -> Array:
    """The value as an object array; a single scalar becomes an array without axes."""
    if isinstance(value, np.ndarray):
        return value if value.dtype == object else value.astype(object)
    result = np.empty((), object)
    result[()] = value
    return result


def empty(shape: Any) -> Array:
    """A new object array of a static shape."""
    result: Array = np.empty(shape, np.dtype(object))
    return result


def indices(shape: Any) -> Iterator[tuple[int, ...]]:
    """The positions of a static shape, row by row."""
    return np.ndindex(shape)


def fraction(value: Any) -> Fraction | bool:
    """The exact value of a NumPy or Python number; NaN and infinities have none.

    >>> fraction(0.5), fraction(0.1) == Fraction(1, 10)
    (Fraction(1, 2), False)
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, Fraction)):
        return Fraction(value)
    if isinstance(value, np.integer):
        return Fraction(int(value))
    number = float(value)
    if not np.isfinite(number):
        raise ExactError(f"{number} has no exact meaning", expected="finite numbers", actual=str(number))
    return Fraction(number)


def apply_each(function: Callable[..., Any], *arrays: Array) -> Array:
    """Apply a scalar function elementwise, with broadcasting."""
    return as_array(np.frompyfunc(function, len(arrays), 1)(*arrays))


class Field:
    """What an exact meaning may call. Subclasses supply the scalars; arrays are handled here."""

    def number(self, value: Fraction | int) -> Scalar:
        """The scalar that equals a rational number."""
        raise NotImplementedError

    @contextmanager
    def working(self) -> Iterator[None]:
        """Where this field's arithmetic must run; some libraries keep their precision in a global."""
        yield

    def elementary(self, name: str, x: Scalar, *order: int) -> Scalar:
        """An elementary function at x; families such as `polygamma` take a whole order."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., Scalar]:
        """Each elementary function by its name: `s.sin(x)`, `s.polygamma(x, 1)`."""
        if name not in DERIVATIVES:
            raise AttributeError(name)
        return partial(self.elementary, name)

    def pi(self) -> Scalar:
        """The circle constant."""
        raise NotImplementedError

    def holds(self, condition: Any) -> bool:
        """Whether a condition is true, or Undecided where it stays open."""
        if not isinstance(condition, bool):
            raise Undecided(f"whether {condition}")
        return condition

    def stop_gradient(self, x: Scalar) -> Scalar:
        """The same value as a constant of differentiation."""
        raise NotImplementedError

    def lift(self, x: Any) -> Scalar:
        """A scalar of this field; a boolean counts 0 or 1."""
        if isinstance(x, (bool, int)):
            return self.number(int(x))
        return self.number(x) if isinstance(x, Fraction) else x

    def admit(self, x: Any) -> Any:
        """An array element as this field stores it; floats are refused."""
        if isinstance(x, np.bool_):
            return bool(x)
        if type(x) is int or isinstance(x, Fraction):
            return self.number(x)
        if isinstance(x, (float, np.number)) or x is None:
            raise ExactError(f"a {type(x).__name__} arose inside exact arithmetic", actual=repr(x))
        return x

    # arrays

    def array(self, value: Any) -> Array:
        """Numbers of a NumPy array as exact scalars; floats stand for their exact binary value."""
        if not isinstance(value, (np.ndarray, np.generic)):
            return as_array(value)
        values = np.asarray(value)
        if values.dtype == object:
            return apply_each(self.admit, values)
        return apply_each(self._scalar, values.astype(object))

    def _scalar(self, value: Any) -> Any:
        exact = fraction(value)
        return exact if isinstance(exact, bool) else self.number(exact)

    def each(self, name: str, x: Array) -> Array:
        """Apply one of this field's scalar functions to every element."""
        return apply_each(getattr(self, name), as_array(x))

    def fold(self, f: Callable[[Any, Any], Any], x: Any, axes: Sequence[int], keepdims: bool, initial: Any) -> Array:
        """Combine the elements along `axes`, first to last, by `f`."""
        x = as_array(x)
        axes = tuple(a % x.ndim for a in axes)
        kept = [i for i in range(x.ndim) if i not in axes]
        rows = x.transpose((*kept, *axes)).reshape((*(x.shape[i] for i in kept), -1) if x.size else (0,))
        shape = tuple(1 if i in axes else d for i, d in enumerate(x.shape) if keepdims or i not in axes)
        result = np.empty(shape, object)
        flat = result.reshape(-1)
        lines = rows.reshape(flat.size, -1) if x.size else [()] * flat.size
        for i, line in enumerate(lines):
            total = initial
            for element in line:
                total = element if total is None else f(total, element)
            flat[i] = total
        return flat.reshape(shape)

    def sum(self, x: Array, axes: Sequence[int], keepdims: bool) -> Array:
        return self.fold(lambda a, b: a + b, x, axes, keepdims, None if _count(x, axes) else self.number(0))

    def prod(self, x: Array, axes: Sequence[int], keepdims: bool) -> Array:
        return self.fold(lambda a, b: a * b, x, axes, keepdims, None if _count(x, axes) else self.number(1))

    def reduce(self, name: str, x: Array, axes: Sequence[int], keepdims: bool, initial: Any = None) -> Array:
        """Fold with one of this field's two-operand functions."""
        return self.fold(getattr(self, name), x, axes, keepdims, initial)

    def cumsum(self, x: Array, axis: int, reverse: bool) -> Array:
        """Running sums along an axis, from its end if `reverse`."""
        lines = np.flip(x, axis) if reverse else x
        sums = np.add.accumulate(lines, axis=axis, dtype=object)
        return np.flip(sums, axis) if reverse else sums

    # what fields decide in their own ways

    def less(self, a: Any, b: Any) -> Any:
        raise NotImplementedError

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        raise NotImplementedError

    def minimum(self, a: Any, b: Any) -> Any:
        raise NotImplementedError

    def maximum(self, a: Any, b: Any) -> Any:
        raise NotImplementedError

    def floor(self, x: Scalar) -> Scalar:
        raise NotImplementedError

    def matmul(self, a: Array, b: Array) -> Array:
        return self.sum(a[..., :, :, None] * b[..., None, :, :], (-2,), False)

    def cumprod(self, x: Array, axis: int, reverse: bool) -> Array:
        """Running products along an axis, from its end if `reverse`."""
        lines = np.flip(x, axis) if reverse else x
        products = np.multiply.accumulate(lines, axis=axis, dtype=object)
        return np.flip(products, axis) if reverse else products

    def sort(self, x: Array, axis: int) -> Array:
        """The elements in ascending order along an axis: a network of minima and maxima, which needs no decision."""
        lines = [as_array(line) for line in np.moveaxis(x, axis, 0)]
        for last in range(len(lines) - 1, 0, -1):
            for k in range(last):
                pair = lines[k], lines[k + 1]
                lines[k], lines[k + 1] = (apply_each(f, *pair) for f in (self.minimum, self.maximum))
        return np.moveaxis(np.stack(lines), 0, axis) if lines else x

    def along(self, f: Callable[[Any], Any], x: Array, axis: int, width: int) -> Array:
        """Apply a function of one line, which gives a line of size `width`, along an axis."""
        lines = np.moveaxis(as_array(x), axis, -1)
        result = empty((*lines.shape[:-1], width))
        for i in np.ndindex(lines.shape[:-1]):
            result[i] = f(list(lines[i]))
        return np.moveaxis(result, -1, axis)

    def argsort(self, line: list[Any]) -> list[Scalar]:
        """Positions of a line's elements in ascending order, the first of equals first."""
        order: list[int] = []
        for i, value in enumerate(line):
            place = len(order)
            while place and self.holds(self.less(value, line[order[place - 1]])):
                place -= 1
            order.insert(place, i)
        return [self.number(i) for i in order]

    def argbest(self, line: list[Any], better: Callable[[Any, Any], Any]) -> list[Scalar]:
        """The position of the first element of a line that no other is better than."""
        best = 0
        for i, value in enumerate(line):
            if i and self.holds(better(value, line[best])):
                best = i
        return [self.number(best)]

    def integers(self, x: Array) -> Array:
        """Exact whole numbers as an int64 array, for use as positions."""
        return np.array([self.integer(v) for v in x.ravel()], np.int64).reshape(x.shape)

    def integer(self, x: Scalar) -> int:
        """A scalar that is a whole number as a Python int."""
        raise NotImplementedError

    def wrap(self, x: Scalar, dtype: np.dtype[Any]) -> Scalar:
        """A whole number as an integer dtype holds it, modulo 2**bits; one that is not known stays as it is."""
        limits = np.iinfo(dtype)
        try:
            whole = self.integer(x)
        except Undecided:
            return x
        if limits.min <= whole <= limits.max:
            return x
        return self.number((whole - limits.min) % (1 << limits.bits) + limits.min)

    # scalars that follow from the others

    def rint(self, x: Scalar) -> Scalar:
        """The nearest whole number, the even one of two."""
        x = self.lift(x)
        quarter = (2 * x - 1) / 4
        return self.floor((2 * x + 1) / 2) - self.floor(quarter) - self.floor(-quarter) - 1

    def trunc(self, x: Scalar) -> Scalar:
        """x cut towards zero."""
        x = self.lift(x)
        return self.where(self.less(x, self.number(0)), -self.floor(-x), self.floor(x))

    def integer_pow(self, x: Scalar, exponent: int) -> Scalar:
        """x to a fixed whole power, by squaring."""
        if exponent < 0:
            return 1 / self.integer_pow(x, -exponent)
        result: Any = self.number(1)
        base, n = self.lift(x), exponent
        while n:
            if n & 1:
                result = base if n == exponent else result * base
            n >>= 1
            if n:
                base = base * base
        return result


def _count(x: Array, axes: Sequence[int]) -> int:
    return int(np.prod([x.shape[a] for a in axes], dtype=np.int64))


class Branching(Field):
    """A field whose comparisons are decided at once, so that a choice is the branch taken."""

    def sign_of(self, x: Scalar) -> int:
        """-1, 0 or 1, or Undecided."""
        raise NotImplementedError

    def floor_of(self, x: Scalar) -> int:
        """The largest int not above x, or Undecided."""
        raise NotImplementedError

    def equal(self, a: Any, b: Any) -> bool:
        return a is b or self.sign_of(self.lift(a) - self.lift(b)) == 0

    def less(self, a: Any, b: Any) -> bool:
        return a is not b and self.sign_of(self.lift(a) - self.lift(b)) < 0

    def logical_and(self, a: bool, b: bool) -> bool:
        return a and b

    def logical_or(self, a: bool, b: bool) -> bool:
        return a or b

    def logical_not(self, a: bool) -> bool:
        return not a

    def where(self, condition: bool, x: Any, y: Any) -> Any:
        return x if condition else y

    def maximum(self, a: Any, b: Any) -> Any:
        return b if self.less(a, b) else a

    def minimum(self, a: Any, b: Any) -> Any:
        return b if self.less(b, a) else a

    def abs(self, x: Scalar) -> Scalar:
        return -x if self.sign_of(x) < 0 else x

    def sign(self, x: Scalar) -> Scalar:
        return self.number(self.sign_of(x))

    def floor(self, x: Scalar) -> Scalar:
        return self.number(self.floor_of(x))

    def integer(self, x: Scalar) -> int:
        return self.floor_of(self.lift(x))

    def cast(self, x: Any, dtype: np.dtype[Any]) -> Any:
        """Truth for bool, the value cut towards zero for integers, the value itself for floats."""
        if dtype.kind == "b":
            return x if isinstance(x, bool) else self.sign_of(x) != 0
        if isinstance(x, bool) or dtype.kind == "f":
            return self.lift(x)
        return self.floor(x) if self.sign_of(x) >= 0 else -self.floor(-x)
