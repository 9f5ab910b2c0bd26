"""Ops on sample operands, at random points of their domains."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, apply_each
from graphc.ir import TensorType
from graphc.ops.record import Op, Sample
from graphc.ops.typing import Facts
from graphc.verification import points

F64: Final = np.dtype(np.float64)
BOOL: Final = np.dtype(np.bool_)
SHAPES: Final[dict[int, tuple[tuple[tuple[int, ...], ...], ...]]] = {
    1: (((3,),), ((),)),
    2: (((2, 3), (3,)), ((), (2,)), ((2,), (2,))),
    3: (((2, 3), (3,), (2, 1)), ((), (), ())),
}


@dataclass(frozen=True, slots=True)
class Case:
    """An op on one sample: exact operand values, and the float64 (or bool, int) types they stand for."""

    op: Op
    operands: tuple[Array, ...]  # of Fraction, bool
    types: tuple[TensorType, ...]
    attrs: dict[str, Any]

    @property
    def floats(self) -> tuple[int, ...]:
        """Positions of the operands that can vary."""
        return tuple(k for k, t in enumerate(self.types) if t.differentiable)

    @property
    def result(self) -> TensorType:
        """The result's type by the op's rule."""
        return self.op.type(Facts({}), *self.types, **self.attrs)  # type: ignore[return-value]

    def with_operands(self, operands: Sequence[Array]) -> Case:
        """The same op, types and attributes on other values."""
        return Case(self.op, tuple(operands), self.types, self.attrs)

    def __str__(self) -> str:
        shown = "".join(f", {k}={v}" for k, v in self.attrs.items())
        return f"{self.op.name}({', '.join(map(str, self.types))}{shown})"


def samples(op: Op) -> tuple[Sample, ...]:
    """The record's samples; an elementwise op without any gets shapes that broadcast."""
    return op.samples or tuple(Sample(shapes) for shapes in SHAPES.get(len(op.domains), ()))


def cases(op: Op) -> Iterator[Case]:
    """The op on each of its samples, at random points of its domains."""
    for number, sample in enumerate(samples(op)):
        rng = random.Random(f"{op.name} {number}")
        operands, types = [], []
        seen: set[Fraction | bool] = set()
        for k, operand in enumerate(sample.operands):
            domain = domain_of(op, k)
            if isinstance(operand, np.ndarray):
                operands.append(exactly(operand))
                types.append(TensorType(operand.shape, operand.dtype))
            else:
                operands.append(points.draw(domain, operand, rng, seen))
                types.append(TensorType(operand, BOOL if domain == "bool" else F64))
        yield Case(op, tuple(operands), tuple(types), dict(sample.attrs))


def domain_of(op: Op, position: int) -> str:
    """The domain of an operand; the last one named serves for all that follow."""
    return op.domains[min(position, len(op.domains) - 1)]


def exactly(array: Array) -> Array:
    """A NumPy array as Fractions, bools kept."""
    return apply_each(lambda v: v if isinstance(v, bool) else Fraction(v), array.astype(object))


def rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    """Fractions as an array of the dtype."""
    number = {"f": float, "b": bool}.get(dtype.kind, int)
    return np.array([number(v) for v in array.ravel()], dtype).reshape(array.shape)
