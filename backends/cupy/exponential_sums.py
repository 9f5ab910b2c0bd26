"""Sums of exponentials in one sweep: the largest exponent, which keeps them in range, is found on the way.

The method is that of M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax", 2018. Exponentials are
taken of distances from one of the first exponents, and the sum is rescaled when one comes that is larger by more than
1: so the distances of those that count are as exact as from the largest.
"""

from __future__ import annotations

import math
from dataclasses import replace

from graphc.kernels import Apply, Fixed, Kernel, Reduce, Value


def in_one_sweep(kernel: Kernel) -> Kernel:
    """The same kernel with sums of exp(x - top) as folds of x, top being the largest x where that is finite, else 0."""
    values: list[Value] = list(kernel.values)
    for i, value in enumerate(values):
        if isinstance(value, Reduce) and value.fold == "sum" and not value.across:
            operand = _exponents(kernel, value.operand)
            if operand is not None:
                values[i] = replace(value, fold="exp_sum", operand=operand)
    return replace(kernel, values=tuple(values)) if values != list(kernel.values) else kernel


def _exponents(kernel: Kernel, number: int) -> int | None:
    """x, if the value is exp(x - top); None otherwise."""
    difference = _operands(kernel, number, "exp")
    terms = difference and _operands(kernel, difference[0], "sub")
    if not terms:
        return None
    x, top = terms
    choice = _operands(kernel, top, "where")
    if not choice:
        return None
    finite, largest, zero = choice
    reduce, nothing = kernel.values[largest], kernel.values[zero]
    if not (isinstance(reduce, Reduce) and reduce.fold == "max" and reduce.operand == x and not reduce.across):
        return None
    bounded = _operands(kernel, finite, "lt")
    size = bounded and _operands(kernel, bounded[0], "abs")
    limit = bounded and kernel.values[bounded[1]]
    if not (
        isinstance(nothing, Fixed) and nothing.number == 0 and isinstance(limit, Fixed) and limit.number == math.inf
    ):
        return None
    return x if size == (largest,) else None


def _operands(kernel: Kernel, number: int, op: str) -> tuple[int, ...] | None:
    value = kernel.values[number]
    return value.operands if isinstance(value, Apply) and value.op == op else None
