"""Enclosures of a graph's results: of the exact ones, and of all that ops within their stated accuracy may give.

Arb balls hold both. Each node's ball may be widened by its record's `ulps`, so that the ball of an output holds
whatever any faithful executor gives: the stated errors, accumulated and scaled by the graph's own condition. What
cannot be decided inside a ball (a comparison of overlapping balls, a value that is not finite) becomes NaN and says
nothing; a branch of `where` that is not taken may be NaN without harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Final

import flint
import numpy as np

from graphc.backends.exact.fields import Array, Field, Undecided, apply_each, as_array
from graphc.backends.exact.reals import ball_function
from graphc.backends.exact.world import apply, bind, bind_sizes, bind_type
from graphc.ir import Graph, TensorType
from graphc.ops import lookup
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op
from tests.matrices import LINEAR

NAN: Final = flint.arb("nan")
PRECISION: Final = 192  # bits
# sums of terms of both signs: the last place that counts is that of the sum of magnitudes
SUMS: Final = frozenset({"reduce_sum", "cumsum", "matmul", "scatter_add"})
# functions whose rounding happens at the size of their operands, before the result is formed
AT_OPERAND: Final = frozenset({"logaddexp", "logsumexp", "log_softmax", "lerp"})
# SciPy's logistic function goes to 0 below the smallest normal number
FLUSHED: Final = frozenset({"sigmoid"})
# the operand whose sign counts: balls know one 0, floats two
SIGN_OF_ZERO: Final = {"signbit": 0, "copysign": 1, "arctan2": 0}


class Enclosures(Field):
    """Arb balls with three-valued truth: True, False, or NaN where a ball does not tell."""

    @contextmanager
    def working(self) -> Iterator[None]:
        with flint.ctx.workprec(PRECISION):
            yield

    def number(self, value: Fraction | int) -> Any:
        if isinstance(value, int):
            return flint.arb(value)
        return flint.arb(flint.fmpq(value.numerator, value.denominator))

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, float) and not np.isfinite(value):
            return NAN
        return super()._scalar(value)

    def pi(self) -> Any:
        return flint.arb.pi()

    def elementary(self, name: str, x: Any, *order: int) -> Any:
        return ball_function(name, self.lift(x), *order)

    def atan2(self, y: Any, x: Any) -> Any:
        return flint.arb.atan2(self.lift(y), self.lift(x))

    def stop_gradient(self, x: Any) -> Any:
        return x

    def equal(self, a: Any, b: Any) -> Any:
        difference = self.lift(a) - self.lift(b)
        if difference.is_zero():
            return True
        return NAN if not difference.is_finite() or difference.contains(0) else False

    def less(self, a: Any, b: Any) -> Any:
        difference = self.lift(a) - self.lift(b)
        if difference < 0:
            return True
        return False if difference >= 0 else NAN

    def logical_not(self, a: Any) -> Any:
        return not a if isinstance(a, bool) else NAN

    def logical_and(self, a: Any, b: Any) -> Any:
        if a is False or b is False:
            return False
        return True if a is True and b is True else NAN

    def logical_or(self, a: Any, b: Any) -> Any:
        return self.logical_not(self.logical_and(self.logical_not(a), self.logical_not(b)))

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        if isinstance(condition, bool):
            return x if condition else y
        if isinstance(x, bool) or isinstance(y, bool):
            return x if x is y else NAN
        return x.union(y)

    def maximum(self, a: Any, b: Any) -> Any:
        return self.logical_or(a, b) if isinstance(a, bool) and isinstance(b, bool) else self.lift(a).max(self.lift(b))

    def minimum(self, a: Any, b: Any) -> Any:
        return self.logical_and(a, b) if isinstance(a, bool) and isinstance(b, bool) else self.lift(a).min(self.lift(b))

    def abs(self, x: Any) -> Any:
        return abs(x)

    def sign(self, x: Any) -> Any:
        return x.sgn()

    def floor(self, x: Any) -> Any:
        if not x.is_finite():
            return NAN
        low, high = x.lower().floor(), x.upper().floor()
        return low if low == high else low.union(high)

    def integer(self, x: Any) -> int:
        whole = x.unique_fmpz() if x.is_finite() else None
        if whole is None:
            raise Undecided(f"the position {x}")
        return int(whole)

    def pow(self, a: Any, b: Any) -> Any:
        a, b = self.lift(a), self.lift(b)
        whole = b.unique_fmpz() if b.is_finite() and b.is_exact() and b.is_integer() else None
        if whole is not None and abs(int(whole)) < 1000:
            return self.integer_pow(a, int(whole))
        return self.number(0) if a.is_zero() and b > 0 else (b * a.log()).exp()

    def cast(self, x: Any, dtype: np.dtype[Any]) -> Any:
        if dtype.kind == "b":
            return x if isinstance(x, bool) else self.logical_not(self.equal(x, 0))
        if isinstance(x, bool) or dtype.kind == "f":
            return self.lift(x)
        if x > -1 and x < 1:
            return self.number(0)
        if dtype.kind == "u" and not x >= 0:
            return NAN
        return self.floor(x) if x >= 0 else -self.floor(-x) if x <= 0 else NAN


FIELD: Final = Enclosures()


def enclose(
    graph: Graph, inputs: Sequence[Array], computed: Mapping[int, Any] | None = None, widen: bool = False
) -> list[Array]:
    """Balls of the graph's outputs on NumPy inputs, NaN where nothing can be said.

    With `widen` each node is widened by its op's `ulps`. `computed` are the values that NumPy gave: what is not
    finite there, or wrapped round, lies outside every statement about accuracy, and so does what follows from it.
    """
    sizes = bind_sizes(graph, [np.shape(x) for x in inputs])
    with FIELD.working():
        values: dict[int, Any] = {i: FIELD.array(np.asarray(x)) for i, x in zip(graph.inputs, inputs, strict=True)}
        for i, data in graph._node.items():
            if i in values:
                continue
            op, type = lookup(data["op"]), bind_type(data["type"], sizes)
            attrs = {name: bind(value, sizes) for name, value in data["attrs"]}
            operands = [values[a] for a in data["args"]]
            if op.name in LINEAR:  # errors are those of whole matrices: nothing is said of one element
                values[i] = np.full(type.shape, NAN, object)
                continue
            result = apply(FIELD, op, operands, attrs, type)
            if not isinstance(type, TensorType):
                values[i] = result
                continue
            if op.name in SIGN_OF_ZERO:
                sign = np.broadcast_to(operands[SIGN_OF_ZERO[op.name]], result.shape)
                result = apply_each(lambda x, y: NAN if y.is_zero() else x, result, sign)
            found = None if computed is None else np.asarray(computed[i])
            if type.dtype.kind in "iu":
                result = apply_each(lambda x, t=type: x if _fits(x, t.dtype) else NAN, result)
            elif type.dtype.kind == "f" and widen:
                result = _widened(op, attrs, operands, result, type.dtype)
            if found is not None and found.dtype.kind == "f":
                result = apply_each(lambda x, v: x if np.isfinite(v) else NAN, result, found)
            values[i] = result
        return [as_array(values[o]) for o in graph.outputs]


def _fits(x: Any, dtype: np.dtype[Any]) -> bool:
    bounds = np.iinfo(dtype)
    return bool(x >= int(bounds.min) and x <= int(bounds.max))


def magnitude(x: Any) -> float:
    """The largest absolute value in a ball; NaN where it is not finite."""
    if isinstance(x, bool):
        return float(x)
    return float(x.abs_upper()) if x.is_finite() else float("nan")


def _widened(op: Op, attrs: Mapping[str, Any], operands: Sequence[Array], result: Array, dtype: np.dtype[Any]) -> Array:
    """The balls of one op's result, each with the op's stated error added."""
    sizes = np.array([magnitude(x) for x in result.ravel()]).reshape(result.shape)
    scale = sizes
    if op.name in SUMS or op.name in AT_OPERAND:
        given = [np.array([magnitude(x) for x in v.ravel()]).reshape(v.shape) for v in operands]
        if op.name in SUMS:
            scale = np.asarray(evaluate(op, [given[0], *operands_as_positions(op, operands, given)], attrs))
        elif op.name == "lerp":
            a, b, u = given
            scale = a + u * (a + b)
        elif op.name == "logaddexp":
            scale = np.maximum(sizes, np.maximum(*given))
        else:
            scale = np.maximum(sizes, np.max(given[0], initial=0.0))
    elif op.name == "softmax":
        # the shifted exponent is rounded at its own size, which scales the result
        shift = max((magnitude(x) for x in operands[0].ravel()), default=0.0)
        scale = sizes * (1 + shift)
    with np.errstate(all="ignore"):
        places = op.ulps * np.spacing(scale.astype(dtype)).astype(np.float64)
        if op.ulps:
            places = np.maximum(places, float(np.finfo(dtype).smallest_subnormal))
        if op.name in FLUSHED:
            places = places + float(np.finfo(dtype).tiny)

    def widen(x: Any, place: float) -> Any:
        if not x.is_finite() or (op.ulps <= 0.5 and _representable(x, dtype)):
            return x
        return x + flint.arb(0, place) if np.isfinite(place) else NAN

    return apply_each(widen, result, as_array(places))


def operands_as_positions(op: Op, operands: Sequence[Array], magnitudes: Sequence[Array]) -> list[Array]:
    """The operands after the first: magnitudes for a product, integer positions for a scatter."""
    return [FIELD.integers(v) for v in operands[1:]] if op.name == "scatter_add" else list(magnitudes[1:])


def _representable(x: Any, dtype: np.dtype[Any]) -> bool:
    """Whether the ball is one value of the dtype, which a correctly rounded op then gives without error."""
    return bool(x.is_exact() and x == float(dtype.type(float(x))))
